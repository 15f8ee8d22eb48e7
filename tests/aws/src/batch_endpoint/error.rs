//! Errors with the wording of AWS Batch.

use axum::Json;
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rowmill_ports::{ErrorKind, PortError};
use serde_json::json;

/// A refused request or a failure of the service.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Fault {
    /// An error of the caller: status 400.
    pub(super) fn client(message: impl Into<String>) -> Fault {
        Fault {
            status: StatusCode::BAD_REQUEST,
            kind: "ClientException",
            message: message.into(),
        }
    }
}

impl From<PortError> for Fault {
    fn from(error: PortError) -> Fault {
        let (status, kind) = match error.kind {
            ErrorKind::Throttled => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
            ErrorKind::Unavailable => (StatusCode::INTERNAL_SERVER_ERROR, "ServerException"),
            _ => (StatusCode::BAD_REQUEST, "ClientException"),
        };
        // The kind is in the header, so the text does not repeat it.
        let message = match error.message.split_once("Exception: ") {
            Some((_, message)) => message.to_owned(),
            None => error.message,
        };
        Fault {
            status,
            kind,
            message,
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Fault {
        Fault::client(format!("Error executing request, Exception : {error}"))
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let kind = (HeaderName::from_static("x-amzn-errortype"), self.kind);
        let id = format!("{:032x}", rand::random::<u128>());
        let id = (HeaderName::from_static("x-amzn-requestid"), id);
        let body = Json(json!({ "message": self.message }));
        (self.status, [kind], [id], body).into_response()
    }
}

/// A call that this endpoint does not implement.
pub(super) async fn unknown(uri: Uri) -> Fault {
    Fault::client(format!("{} is not served here", uri.path()))
}
