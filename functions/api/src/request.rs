//! What routes read from a request. Whatever is wrong with it becomes a [`Problem`].

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use rowmill_domain::RunId;
use serde::de::DeserializeOwned;

use crate::access::Caller;
use crate::problem::Problem;

/// The largest body of a request, in bytes, except for a workbook that is uploaded. A batch of 100
/// verdicts has less than 20 KiB.
pub const BODY_BYTES: usize = 64 * 1024;

/// The longest idempotency key, in bytes.
const KEY_BYTES: usize = 200;

/// A body of JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::media_type(
                "The body must be JSON with `Content-Type: application/json`.",
            ));
        }
        let body = axum::body::to_bytes(request.into_body(), BODY_BYTES).await;
        let body = body
            .map_err(|_| Problem::too_large(format!("A body has at most {BODY_BYTES} bytes.")))?;
        let value = serde_json::from_slice(&body);
        value
            .map(Body)
            .map_err(|error| Problem::invalid(format!("The body is not as expected: {error}")))
    }
}

/// The parameters after `?`.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Parameters(value))
            .map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// Parts of the path.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(InPath(value)),
            Err(error) if error.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                Err(Problem::internal(&error))
            }
            Err(_) => Err(Problem::not_found("This address does not exist.")),
        }
    }
}

/// Reads the id of a run.
pub(crate) fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| unknown_run(text))
}

pub(crate) fn unknown_run(run: impl std::fmt::Display) -> Problem {
    Problem::not_found(format!("There is no run {run}. GET /runs lists all runs."))
}

/// A name for what a write creates: the same for each repetition with the same `Idempotency-Key` and
/// the same content, and a random one without a key. 32 hex digits.
pub(crate) fn write_id(
    headers: &HeaderMap,
    caller: &Caller,
    content: &[&str],
) -> Result<String, Problem> {
    let Some(key) = idempotency_key(headers)? else {
        return random_id();
    };
    let mut hasher = blake3::Hasher::new();
    for part in [key, &caller.name].iter().chain(content) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

/// The header `Idempotency-Key`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if (1..=KEY_BYTES).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Problem::invalid(format!(
            "An `Idempotency-Key` has 1 to {KEY_BYTES} ASCII characters."
        ))),
    }
}

/// 32 random hex digits.
pub(crate) fn random_id() -> Result<String, Problem> {
    let mut bytes = [0; 16];
    let mut random = std::fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
