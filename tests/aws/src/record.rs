//! Records the requests of the SDK, as `tests/python/record.py` does for the emulators. CI checks all of
//! them against AWS's own models and the roles of the template.

use std::fs::{File, create_dir_all};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use aws_smithy_types::base64;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

/// The variable with the name that a program gives to the SDK, which is part of each request: for a
/// function its name in the template, for a job [`JOB`].
pub const APP: &str = "AWS_SDK_UA_APP_ID";
/// The value of [`APP`] for jobs.
pub const JOB: &str = "JobRole";

/// The folder of the recorded requests, `requests` in cargo's target directory.
pub fn folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("requests")
}

/// A layer for axum that records each request before it is served.
pub(crate) async fn record(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let target = parts.uri.to_string();
    write(parts.method.as_str(), &target, &parts.headers, &body);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

fn write(method: &str, target: &str, headers: &HeaderMap, body: &[u8]) {
    static FILE: OnceLock<Mutex<File>> = OnceLock::new();
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let agent = header("x-amz-user-agent").unwrap_or_default();
    if !agent.contains("aws-sdk-rust") {
        return;
    }
    let app = agent.split(' ').find_map(|part| part.strip_prefix("app/"));
    let kept = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let kept = name.starts_with("x-amz-") || name.starts_with("content-");
        Some((name.to_owned(), value.to_str().ok()?.to_owned())).filter(|_| kept)
    });
    let record = json!({
        "app": app,
        "service": "batch",
        "method": method,
        "target": target,
        "headers": kept.collect::<std::collections::BTreeMap<_, _>>(),
        "body": base64::encode(body),
    });
    let file = FILE.get_or_init(|| {
        create_dir_all(folder()).unwrap();
        let name = format!("batch-{}.jsonl", std::process::id());
        Mutex::new(File::create(folder().join(name)).unwrap())
    });
    let line = format!("{record}\n");
    file.lock().unwrap().write_all(line.as_bytes()).unwrap();
}
