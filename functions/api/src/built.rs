//! Exports on AWS: another invocation of the function writes the file to the work bucket, because an answer
//! of Lambda has at most 6 MB and API Gateway waits at most 30 seconds.

use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use rowmill_domain::{RunId, keys};
use rowmill_ports::{PortError, Put};
use rowmill_runs::scratch_folder;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::answer::file_in_bucket;
use crate::export::{Export, ExportFormat, TextForm};
use crate::problem::Problem;
use crate::request::random_id;
use crate::service::Service;

/// What runs outside of a request.
#[async_trait]
pub trait Background: Send + Sync {
    /// Starts to build an export, which calls [`build_export`].
    async fn export(&self, asked: &ExportAsked) -> Result<(), PortError>;
}

/// An export to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportAsked {
    /// Its id.
    id: String,
    /// The run.
    run: RunId,
    /// The kind of file.
    format: ExportFormat,
    /// Whether it has all rows, or only those with a verdict.
    all: bool,
    /// Whether it has the texts with feedback, too.
    feedback: bool,
}

/// How often a request looks for its export, and the pause between. Most are there before the caller has to
/// ask again.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(400);

/// When an export that is not there has failed. Lambda ends an invocation after 15 minutes at the latest, and
/// repeats it twice.
const FAILED_AFTER: i64 = 50 * 60;

/// Seconds after which the caller asks again.
const AGAIN: &str = "2";

impl ExportAsked {
    /// A new export.
    pub(crate) fn new(
        run: RunId,
        format: ExportFormat,
        all: bool,
        feedback: bool,
    ) -> Result<ExportAsked, Problem> {
        // The time in the id says how long the export takes.
        let id = format!("{:08x}{}", Utc::now().timestamp(), random_id()?);
        Ok(ExportAsked {
            id,
            run,
            format,
            all,
            feedback,
        })
    }
}

/// Starts an export and waits for it for some seconds.
pub(crate) async fn start(
    service: &Service,
    background: &dyn Background,
    headers: &HeaderMap,
    asked: &ExportAsked,
) -> Result<Response, Problem> {
    background.export(asked).await?;
    for _ in 0..LOOKS {
        sleep(PAUSE).await;
        if let Some(key) = find(service, &asked.run, &asked.id).await? {
            return file_in_bucket(service, headers, &key).await;
        }
    }
    Ok(later(asked.format, &asked.run, &asked.id))
}

/// Looks for an export that was started before.
pub(crate) async fn look(
    service: &Service,
    headers: &HeaderMap,
    run: &RunId,
    format: ExportFormat,
    id: &str,
) -> Result<Response, Problem> {
    let started = id
        .get(..8)
        .and_then(|text| i64::from_str_radix(text, 16).ok());
    let is_id = id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let age = started
        .filter(|_| is_id)
        .map(|at| Utc::now().timestamp() - at);
    let unknown = || {
        Problem::not_found(
            "This export failed or was removed, as all are after a day. Start it again.",
        )
    };
    let age = age.ok_or_else(unknown)?;
    match find(service, run, id).await? {
        Some(key) => file_in_bucket(service, headers, &key).await,
        None if age < FAILED_AFTER => Ok(later(format, run, id)),
        None => Err(unknown()),
    }
}

async fn find(service: &Service, run: &RunId, id: &str) -> Result<Option<String>, Problem> {
    let (found, _) = service
        .work
        .list(&keys::export_prefix(run, id), None)
        .await?;
    Ok(found.into_iter().next().map(|object| object.key))
}

/// 202: ask again at this address.
fn later(format: ExportFormat, run: &RunId, id: &str) -> Response {
    let address = format!("/runs/{run}/export.{}?export={id}", format.extension());
    let headers = [
        (header::LOCATION, address),
        (header::RETRY_AFTER, AGAIN.to_owned()),
    ];
    (StatusCode::ACCEPTED, headers, Json(json!({ "export": id }))).into_response()
}

/// Builds an export. Safe to repeat.
///
/// # Errors
/// The run has no rows to export, or a service failed.
pub async fn build_export(service: &Service, asked: &ExportAsked) -> Result<(), Problem> {
    let run = service.runs.find_run(&asked.run).await?;
    let run = run.ok_or_else(|| Problem::not_found("The run was deleted."))?;
    let export = Export::new(service, &run, asked.all, asked.feedback).await?;
    let folder = scratch_folder("rowmill-export-")?;
    let path = folder.path().join("export");
    match asked.format.text() {
        None => export.save_workbook(service, &path).await?,
        Some(format) => {
            let (send, mut receive) = mpsc::channel(2);
            let mut file = tokio::fs::File::create(&path).await?;
            let form = TextForm::new(format, &export.index, send);
            let write = async {
                while let Some(part) = receive.recv().await {
                    file.write_all(&part?).await?;
                }
                file.flush().await
            };
            let make = async { export.walk(service, form).await?.finish().await };
            tokio::try_join!(make, write)?;
        }
    }
    let name = export_name(&run.source.key, asked.format);
    let key = format!("{}{name}", keys::export_prefix(&run.id, &asked.id));
    service.work.upload(&key, &path, Put::default()).await?;
    tracing::info!(run = %run.id, export = asked.id, "export built");
    Ok(())
}

/// The name of the file of an export.
pub(crate) fn export_name(source: &str, format: ExportFormat) -> String {
    format!("{}-reviewed.{}", keys::stem(source), format.extension())
}
