//! Converts errors of the SDK to errors of a port.

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use rowmill_ports::{ErrorKind, PortError};

/// The name of the second half of S3's request id (`x-amz-id-2`) in its errors. AWS support asks
/// for it.
const EXTENDED_ID: &str = "s3_extended_request_id";

/// For `map_err`: the error of a call of `operation` on `resource`.
///
/// Its kind follows from the service's error code, or from the HTTP status if there is no known
/// code. Its message has both and the request id. If there was no response (no connection, no
/// credentials, timeout), the kind is [`ErrorKind::Unavailable`].
pub(crate) fn failed<E>(
    operation: &'static str,
    resource: impl Into<String>,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    move |error| {
        let (kind, message) = explain(&error);
        PortError::new(operation, resource, kind, message)
    }
}

fn explain<E>(error: &SdkError<E, HttpResponse>) -> (ErrorKind, String)
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
        let kind = match error {
            // The arguments do not make a valid request.
            SdkError::ConstructionFailure(_) => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        return (kind, DisplayErrorContext(error).to_string());
    };
    let status = response.status().as_u16();
    let refused = error.as_service_error();
    let code = refused.and_then(ProvideErrorMetadata::code);
    let said = match refused {
        // The response did not come from the service.
        None => Some(DisplayErrorContext(error).to_string()),
        // The response could not be parsed.
        Some(_) if response.status().is_success() => Some(DisplayErrorContext(error).to_string()),
        Some(refused) => refused.message().map(str::to_owned),
    };
    let mut message = code.unwrap_or("no code").to_owned();
    if let Some(said) = said {
        message += &format!(": {said}");
    }
    message += &format!(" (HTTP {status}");
    if let Some(id) = error.request_id() {
        message += &format!(", request id {id}");
    }
    if let Some(id) = refused.and_then(|refused| refused.meta().extra(EXTENDED_ID)) {
        message += &format!(", extended request id {id}");
    }
    message.push(')');
    (kind(code, status), message)
}

/// The kind of an error response. Services differ in codes and statuses: DynamoDB answers almost
/// everything with 400, and S3's responses to HEAD have no code.
pub(crate) fn kind(code: Option<&str>, status: u16) -> ErrorKind {
    match code {
        Some(code) if THROTTLING_ERRORS.contains(&code) => ErrorKind::Throttled,
        Some(code) if TRANSIENT_ERRORS.contains(&code) => ErrorKind::Unavailable,
        Some(
            "NoSuchKey"
            | "NoSuchBucket"
            | "NoSuchVersion"
            | "NoSuchUpload"
            | "NotFound"
            | "NotFoundException"
            | "ResourceNotFoundException"
            | "TableNotFoundException",
        ) => ErrorKind::NotFound,
        Some(
            "PreconditionFailed"
            | "ConditionalRequestConflict"
            | "ConditionalCheckFailedException"
            | "ConflictException"
            | "ResourceInUseException"
            | "TableInUseException",
        ) => ErrorKind::Conflict,
        // Read without a restore, or after the restored copy was removed.
        Some("InvalidObjectState" | "ObjectNotInActiveTierError") => ErrorKind::Archived,
        // The credentials expired during the call, or the clock is wrong. The next call uses new
        // ones.
        Some("ExpiredToken" | "ExpiredTokenException" | "RequestTimeTooSkewed") => {
            ErrorKind::Unavailable
        }
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            | "AuthorizationError"
            | "AuthorizationErrorException"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException",
        ) => ErrorKind::Denied,
        _ => match status {
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 | 412 => ErrorKind::Conflict,
            429 => ErrorKind::Throttled,
            // A successful response that was read as an error: it is incomplete.
            200..=399 | 500.. => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_otherwise_the_status() {
        use ErrorKind::*;
        for (code, status, expected) in [
            (Some("SlowDown"), 503, Throttled),
            (
                Some("ProvisionedThroughputExceededException"),
                400,
                Throttled,
            ),
            (Some("ThrottlingException"), 400, Throttled),
            (Some("TooManyRequestsException"), 429, Throttled),
            (Some("RequestTimeout"), 400, Unavailable),
            (Some("InternalError"), 500, Unavailable),
            (Some("ServiceUnavailable"), 503, Unavailable),
            (Some("NoSuchKey"), 404, NotFound),
            (Some("ResourceNotFoundException"), 400, NotFound),
            (Some("ConditionalCheckFailedException"), 400, Conflict),
            (Some("PreconditionFailed"), 412, Conflict),
            (Some("ExpiredToken"), 400, Unavailable),
            (Some("AccessDenied"), 403, Denied),
            (Some("AccessDeniedException"), 400, Denied),
            (Some("ValidationException"), 400, Invalid),
            (Some("KeyTooLongError"), 400, Invalid),
            (Some("InvalidObjectState"), 403, Archived),
            (None, 404, NotFound),
            (None, 403, Denied),
            (None, 412, Conflict),
            (None, 503, Unavailable),
            (None, 200, Unavailable),
            (None, 400, Invalid),
        ] {
            assert_eq!(kind(code, status), expected, "{code:?} {status}");
        }
    }
}
