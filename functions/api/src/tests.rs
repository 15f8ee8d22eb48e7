use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use rowmill_domain::link::{Link, LinkKey};
use rowmill_domain::{RunId, keys};
use rowmill_local::{Bucket, DirObjects};
use rowmill_ports::{Envelope, ErrorKind, Mailer, Objects, Put, Result};
use rowmill_runs::WorkBucket;
use serde_json::json;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;

mod authorization;

const WORK: &str = "work";

/// A sender that is not verified, and the number of times that was asked.
#[derive(Default)]
struct Sender(AtomicUsize);

#[async_trait]
impl Mailer for Sender {
    async fn send(&self, envelope: &Envelope, _mime: &[u8]) -> Result<String> {
        Err(envelope.error(ErrorKind::Denied, "not verified"))
    }

    async fn is_verified(&self, identity: &str) -> Result<bool> {
        assert_eq!(identity, "example.com");
        assert_eq!(
            self.0.fetch_add(1, Ordering::SeqCst),
            0,
            "SES is asked once"
        );
        Ok(false)
    }
}

/// The routes, with a bucket that has one result.
struct Bench {
    router: Router,
    link: Link,
    key: LinkKey,
    _directory: TempDir,
}

struct Answer {
    status: StatusCode,
    location: Option<String>,
    private: bool,
    body: String,
}

impl Bench {
    async fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Bucket {
            name: WORK.into(),
            path: directory.path().join("work"),
            versioned: false,
        };
        let objects = DirObjects::open(vec![bucket]).unwrap();
        let run: RunId = "20261121-reviews-0a1b2c3d4e5f".parse().unwrap();
        let object = keys::result(&run, "reviews/my file (1)+ü.xlsx");
        objects
            .put(WORK, &object, Bytes::from_static(b"PK"), Put::default())
            .await
            .unwrap();
        let key = LinkKey::new(vec![7; 32]).unwrap();
        let router = router(Arc::new(Api {
            work: WorkBucket::new(WORK, Arc::new(objects)),
            link_key: key.clone(),
            mailer: Arc::new(Sender::default()),
            identity: "example.com".into(),
            sender: Default::default(),
        }));
        let expires = Utc::now() + TimeDelta::days(14);
        Bench {
            router,
            link: Link {
                run,
                object,
                expires,
            },
            key,
            _directory: directory,
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let headers = response.headers();
        let header = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        let private = header(header::CACHE_CONTROL).as_deref() == Some("no-store")
            && header(header::REFERRER_POLICY).as_deref() == Some("no-referrer");
        let (status, location) = (response.status(), header(header::LOCATION));
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        Answer {
            status,
            location,
            private,
            body: String::from_utf8(body.unwrap().to_vec()).unwrap(),
        }
    }

    async fn get(&self, link: &Link, key: &LinkKey) -> Answer {
        let path = format!("/d/{}", link.sign(key));
        self.ask(Method::GET, &path).await
    }
}

#[tokio::test]
async fn a_link_redirects_to_its_object() {
    let bench = Bench::new().await;
    let answer = bench.get(&bench.link, &bench.key).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert!(answer.private);
    let location = answer.location.unwrap();
    let file = location.strip_prefix("file://").unwrap();
    assert!(file.ends_with("-result.xlsx"), "{location}");
    // Programs that check links in emails send HEAD requests.
    let path = format!("/d/{}", bench.link.sign(&bench.key));
    let head = bench.ask(Method::HEAD, &path).await;
    assert_eq!(head.status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_link_that_does_not_work_says_why() {
    let bench = Bench::new().await;
    let expired = Link {
        expires: Utc::now() - TimeDelta::seconds(1),
        ..bench.link.clone()
    };
    let removed = Link {
        object: keys::result(&bench.link.run, "reviews/other.xlsx"),
        ..bench.link.clone()
    };
    let theirs = LinkKey::new(vec![8; 32]).unwrap();
    let whole = format!("/d/{}", bench.link.sign(&bench.key));
    let cases = [
        (bench.get(&expired, &bench.key).await, 410, "expired"),
        (bench.get(&bench.link, &theirs).await, 403, "not valid"),
        (
            bench.get(&removed, &bench.key).await,
            404,
            "no longer exists",
        ),
        (
            bench.ask(Method::GET, &whole[..whole.len() / 2]).await,
            404,
            "not a Rowmill link",
        ),
        (
            bench.ask(Method::GET, "/d/%FF").await,
            404,
            "not a Rowmill link",
        ),
        (bench.ask(Method::GET, "/d/").await, 404, "Page not found"),
        (bench.ask(Method::GET, "/").await, 404, "Page not found"),
    ];
    for (answer, status, says) in cases {
        assert_eq!(answer.status.as_u16(), status, "{says}");
        assert!(answer.private, "{says}");
        assert_eq!(answer.location, None);
        assert!(
            answer.body.starts_with("<!DOCTYPE html>") && answer.body.contains(says),
            "{}",
            answer.body
        );
    }
    let posted = bench.ask(Method::POST, &whole).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn health_has_the_version_and_the_state_of_the_bucket() {
    let bench = Bench::new().await;
    let answer = bench.ask(Method::GET, "/health").await;
    assert_eq!(answer.status, StatusCode::OK);
    let version = env!("CARGO_PKG_VERSION");
    let again = bench.ask(Method::GET, "/health").await;
    assert_eq!(again.body, answer.body);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        json,
        json!({
            "version": version,
            "work_bucket": "answers",
            "sender": "not verified: no mail can be sent",
        })
    );

    let directory = tempfile::tempdir().unwrap();
    let elsewhere = DirObjects::open(vec![Bucket {
        name: "other".into(),
        path: directory.path().join("other"),
        versioned: false,
    }]);
    let router = router(Arc::new(Api {
        work: WorkBucket::new(WORK, Arc::new(elsewhere.unwrap())),
        link_key: bench.key.clone(),
        mailer: Arc::new(Sender::default()),
        identity: "example.com".into(),
        sender: Default::default(),
    }));
    let bench = Bench { router, ..bench };
    let answer = bench.ask(Method::GET, "/health").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("does not answer"), "{}", answer.body);
}

/// A request as API Gateway sends it, and what is read from it.
#[tokio::test]
async fn a_request_from_api_gateway_is_answered() {
    let file = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
        let text = std::fs::read_to_string(path.join(name)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let (mut payload, expected) = (
        file("api-download.json"),
        file("api-download.expected.json"),
    );
    let bench = Bench::new().await;
    let token = payload["rawPath"].as_str().unwrap().strip_prefix("/d/");
    let now = "2026-11-21T10:00:00Z"
        .parse::<chrono::DateTime<Utc>>()
        .unwrap();
    let link = Link::verify(token.unwrap(), &bench.key, now).unwrap();
    let read = json!({ "run": link.run, "object": link.object, "expires": link.expires });
    assert_eq!(read, expected);
    assert_eq!(link.object, bench.link.object);

    let cx = rowmill_domain::event::Invocation {
        owner: "r-1".into(),
        now,
    };
    // The token in the payload expires some day; a token made now does not.
    payload["rawPath"] = json!(format!("/d/{}", bench.link.sign(&bench.key)));
    let answer = crate::entry::invoke(&bench.router, &payload, &cx)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer["statusCode"], 302);
    assert_eq!(answer["headers"]["cache-control"], "no-store");
    let location = answer["headers"]["location"].as_str().unwrap();
    assert!(location.starts_with("file://"), "{location}");

    let error = crate::entry::invoke(&bench.router, &json!({ "Records": [] }), &cx).await;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("invalid request"), "{error}");
}
