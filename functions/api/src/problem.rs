//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowmill_ports::{ErrorKind, PortError};
use serde_json::{Map, Value, json};

/// Why a request is not answered with what it asks for. Its body is `application/problem+json` with
/// `type`, `title`, `status` and `detail`.
///
/// ```
/// use rowmill_api::Problem;
///
/// let problem = Problem::invalid("`limit` must be a number from 1 to 100");
/// assert_eq!(problem.status(), 400);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// Further members.
    more: Map<String, Value>,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            title,
            detail: detail.into(),
            more: Map::new(),
        }
    }

    /// 400: the request is invalid, and how to fix it.
    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "Invalid request", detail)
    }

    /// 401: the token is missing or wrong.
    pub(crate) fn unauthorized() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "Sign in first",
            "Send the token as `Authorization: Bearer TOKEN`. `rowmill serve` prints it with its address.",
        )
    }

    /// 403: the caller may not do this.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "Not allowed", detail)
    }

    /// 404: what does not exist, and what to do.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "Not found", detail)
    }

    /// 405
    pub(crate) fn method() -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            "This address exists, but not with this method. /openapi.json lists the methods.",
        )
    }

    /// 409: the request does not fit the present state.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    /// 409: the result is archived.
    pub(crate) fn archived() -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "Archived",
            "The result is archived, and cannot be read before it is restored.",
        )
    }

    /// 413
    pub(crate) fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail)
    }

    /// 415
    pub(crate) fn media_type(detail: impl Into<String>) -> Problem {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Problem::new(status, "Unsupported media type", detail)
    }

    /// 500: the program or its data is wrong. The reason is in the log.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%error, "cannot answer a request");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Error in Rowmill",
            "The request could not be answered. The log has the reason.",
        )
    }

    /// 503: a service does not answer.
    pub(crate) fn unavailable() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not available right now",
            "A service that Rowmill uses does not answer. Try again in a few seconds.",
        )
    }

    /// The same problem with a further member.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Problem {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The status of the response.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// What is wrong, and what to do.
    #[cfg(any(feature = "lambda", test))]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut json {
            members.extend(self.more.clone());
        }
        json
    }
}

impl From<PortError> for Problem {
    /// Without the message of the service, which may name resources that the caller must not see.
    fn from(error: PortError) -> Problem {
        match error.kind {
            ErrorKind::NotFound => Problem::not_found("It does not exist, or it was deleted."),
            ErrorKind::Conflict => {
                Problem::conflict("It was changed at the same time. Load it again.")
            }
            ErrorKind::Archived => Problem::archived(),
            ErrorKind::Throttled | ErrorKind::Unavailable => {
                tracing::error!(%error, "a service does not answer");
                Problem::unavailable()
            }
            ErrorKind::Invalid | ErrorKind::Denied => Problem::internal(&error),
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        Problem::internal(&error)
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Problem {
        Problem::internal(&error)
    }
}

impl From<tokio::task::JoinError> for Problem {
    fn from(error: tokio::task::JoinError) -> Problem {
        Problem::internal(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
