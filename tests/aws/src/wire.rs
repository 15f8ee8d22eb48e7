//! An HTTP client for the SDK that records requests and injects the errors with which AWS throttles.
//!
//! Waiting takes no time: the SDK gets a clock that its own waits advance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{AsyncSleep, HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_async::rt::sleep::Sleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

/// The connection to a service.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

/// Returns the status and body of a scripted answer, or `None` to ask the service.
type Script = dyn Fn(&Sent) -> Option<(u16, String)> + Send + Sync;

struct Inner {
    client: SharedHttpClient,
    /// One call in this many is refused; 0 refuses none.
    refuse_every: AtomicU64,
    script: Box<Script>,
    calls: AtomicU64,
    refused: AtomicU64,
    /// The number of batch items that were returned unprocessed.
    unprocessed: AtomicU64,
    sent: Mutex<Vec<Sent>>,
    clock: Clock,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The URI with its query.
    pub uri: String,
    /// The header `x-amz-target`, such as `DynamoDB_20120810.CreateTable`; empty if missing.
    pub target: String,
    /// The header `if-none-match`.
    pub if_none_match: Option<String>,
    /// The body if it is JSON, else null.
    pub body: Value,
}

impl Wire {
    /// A connection that refuses every `refuse_every`th call (0 for none). S3 answers 503 SlowDown;
    /// DynamoDB alternates between its two codes and processes only the first half of a batch; Batch,
    /// SES and EventBridge Scheduler answer 429; SNS answers 400 Throttling.
    pub fn new(refuse_every: u64) -> Wire {
        Wire::make(refuse_every, Box::new(|_| None))
    }

    /// A connection on which `script` answers some requests with known answers of AWS, for behavior
    /// that the emulators do not have.
    pub fn replay(script: impl Fn(&Sent) -> Option<(u16, String)> + Send + Sync + 'static) -> Wire {
        Wire::make(0, Box::new(script))
    }

    fn make(refuse_every: u64, script: Box<Script>) -> Wire {
        Wire(Arc::new(Inner {
            client: aws_smithy_http_client::Builder::new().build_http(),
            refuse_every: AtomicU64::new(refuse_every),
            script,
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unprocessed: AtomicU64::new(0),
            sent: Mutex::default(),
            clock: Clock::default(),
        }))
    }

    /// Refuses every `calls`th call from now on.
    pub fn refuse_every(&self, calls: u64) {
        self.0.refuse_every.store(calls, Ordering::SeqCst);
    }

    /// The configuration with this connection.
    pub fn on(&self, config: &SdkConfig) -> SdkConfig {
        let mut config = config.to_builder();
        config.set_http_client(Some(SharedHttpClient::new(self.clone())));
        config
            .time_source(self.0.clock.clone())
            .sleep_impl(self.0.clock.clone())
            // With this clock, all timeouts would expire immediately.
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    /// The number of refused calls and of unprocessed batch items.
    pub fn refused(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::SeqCst);
        (load(&self.0.refused), load(&self.0.unprocessed))
    }

    /// The total time that the SDK would have waited.
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.0.clock.0.load(Ordering::SeqCst))
    }

    /// The requests so far; only those with this target if it is not empty.
    pub fn sent(&self, target: &str) -> Vec<Sent> {
        let sent = self.0.sent.lock().unwrap();
        let wanted = |sent: &&Sent| target.is_empty() || sent.target == target;
        sent.iter().filter(wanted).cloned().collect()
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("calls", &self.0.calls)
            .finish_non_exhaustive()
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            wire: self.clone(),
            next: self.0.client.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct Connector {
    wire: Wire,
    next: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let inner = &self.wire.0;
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let target = target.to_owned();
        let body = request.body().bytes().unwrap_or_default();
        let body = serde_json::from_slice(body).unwrap_or_default();
        let sent = Sent {
            method: request.method().to_owned(),
            uri: request.uri().to_owned(),
            target,
            if_none_match: request.headers().get("if-none-match").map(str::to_owned),
            body,
        };
        inner.sent.lock().unwrap().push(sent.clone());
        if let Some((status, body)) = (inner.script)(&sent) {
            return HttpConnectorFuture::ready(Ok(response(status, &body)));
        }
        let call = inner.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if !call.is_multiple_of(inner.refuse_every.load(Ordering::SeqCst)) {
            return self.next.call(request);
        }
        let refused = inner.refused.fetch_add(1, Ordering::SeqCst);
        if sent.target.ends_with(".BatchWriteItem") {
            let (wire, next) = (self.wire.clone(), self.next.clone());
            return HttpConnectorFuture::new(wire.half(next, request, sent.body));
        }
        let headers = request.headers();
        let path = request.uri().split_once("://").map_or("", |(_, rest)| rest);
        let path = path.find('/').map_or("", |at| &path[at..]);
        let answer = match headers.get("content-type").unwrap_or_default() {
            _ if !sent.target.is_empty() => throttled(refused),
            // DeleteSchedule has no body.
            "application/json" => too_many(path),
            _ if path.starts_with("/schedules/") => too_many(path),
            "application/x-www-form-urlencoded" => throttling(),
            _ => slow_down(request.method()),
        };
        HttpConnectorFuture::ready(Ok(answer))
    }
}

impl Wire {
    /// Sends the first half of a batch and returns the rest as unprocessed, as DynamoDB does when a
    /// partition is throttled. A batch of one item is refused.
    async fn half(
        self,
        next: SharedHttpConnector,
        mut request: HttpRequest,
        mut body: Value,
    ) -> Result<HttpResponse, ConnectorError> {
        let tables = body["RequestItems"].as_object_mut().unwrap();
        assert_eq!(tables.len(), 1, "a batch writes to one table");
        let (table, items) = tables.iter_mut().next().unwrap();
        let (table, items) = (table.clone(), items.as_array_mut().unwrap());
        let rest = items.split_off(items.len() / 2);
        if items.is_empty() {
            return Ok(throttled(0));
        }
        let bytes = serde_json::to_vec(&body).unwrap();
        // The signature covers the whole batch, but ministack does not check it.
        let headers = request.headers_mut();
        headers.insert("content-length", bytes.len().to_string());
        *request.body_mut() = SdkBody::from(bytes);
        let answer = next.call(request).await?;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        let back = rest.len() as u64;
        self.0.unprocessed.fetch_add(back, Ordering::SeqCst);
        let body = json!({ "UnprocessedItems": { table: rest } });
        Ok(response(200, &body.to_string()))
    }
}

fn response(status: u16, body: &str) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    let headers = response.headers_mut();
    headers.insert("x-amz-request-id", "WIRE0123456789AB");
    headers.insert("x-amz-id-2", "wire/extended=");
    response
}

/// S3 user guide, "Best practices design patterns": 503 Slow Down. The answer to HEAD has no body.
fn slow_down(method: &str) -> HttpResponse {
    let body = match method {
        "HEAD" => "",
        _ => {
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
             <Message>Please reduce your request rate.</Message></Error>"
        }
    };
    response(503, body)
}

/// DynamoDB developer guide, "Error handling": throttling of a table and of the control plane.
fn throttled(n: u64) -> HttpResponse {
    let (code, message) = match n % 2 {
        0 => (
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded.",
        ),
        _ => ("ThrottlingException", "Rate exceeded"),
    };
    let code = format!("com.amazonaws.dynamodb.v20120810#{code}");
    response(
        400,
        &json!({ "__type": code, "message": message }).to_string(),
    )
}

/// AWS Batch API and SES API v2, "TooManyRequestsException"; EventBridge Scheduler API,
/// "ThrottlingException": HTTP 429.
fn too_many(path: &str) -> HttpResponse {
    let code = match path.starts_with("/schedules/") {
        true => "ThrottlingException",
        false => "TooManyRequestsException",
    };
    let mut response = response(429, &json!({ "message": "Too Many Requests" }).to_string());
    let headers = response.headers_mut();
    headers.insert("x-amzn-errortype", code);
    headers.insert("content-type", "application/json");
    response
}

/// SNS API, "Common errors": Throttling.
fn throttling() -> HttpResponse {
    let body = "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
                <Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>\
                <RequestId>WIRE0123456789AB</RequestId></ErrorResponse>";
    response(400, body)
}

/// A clock that each wait advances by its duration. Holds the milliseconds ahead of the system clock.
#[derive(Clone, Debug, Default)]
struct Clock(Arc<AtomicU64>);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl AsyncSleep for Clock {
    fn sleep(&self, time: Duration) -> Sleep {
        let ahead = Arc::clone(&self.0);
        Sleep::new(async move {
            ahead.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
            tokio::task::yield_now().await;
        })
    }
}
