//! Who calls, and what they may do.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rowmill_pipeline::ReviewSpec;
use serde::Serialize;

use crate::problem::Problem;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads runs.
    Viewer,
    /// Also reviews rows.
    Reviewer,
    /// Also starts, stops and deletes runs.
    Operator,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name under which reviews are stored.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

impl Caller {
    /// Refuses a caller with a lower role.
    pub(crate) fn require(&self, role: Role) -> Result<(), Problem> {
        match self.role >= role {
            true => Ok(()),
            false => Err(Problem::forbidden(
                "Your role does not allow this. Ask the person who operates Rowmill.",
            )),
        }
    }
}

impl Caller {
    /// Refuses a caller who may not review what the pipeline produces.
    pub(crate) fn require_reviewer(&self, review: Option<&ReviewSpec>) -> Result<(), Problem> {
        self.require(Role::Reviewer)?;
        let reviewers = review.map_or(&[][..], |review| &review.reviewers);
        let named = reviewers.is_empty() || reviewers.contains(&self.name);
        match named || self.role == Role::Operator {
            true => Ok(()),
            false => Err(Problem::forbidden(
                "The pipeline names its reviewers, and you are not among them.",
            )),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>();
        caller.cloned().ok_or_else(Problem::unauthorized)
    }
}

/// Access on one machine: whoever has the token is the operator.
///
/// A page of another site can send requests to this machine, but it cannot know the token, and its
/// requests have another `Origin`. A host name that an attacker points at this machine (DNS rebinding)
/// is another `Host`.
#[derive(Clone)]
pub struct LocalAccess {
    token: blake3::Hash,
    hosts: [String; 3],
}

impl LocalAccess {
    /// Access with this token to the server on this port.
    pub fn new(token: &str, port: u16) -> LocalAccess {
        LocalAccess {
            token: blake3::hash(token.as_bytes()),
            hosts: ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")),
        }
    }

    fn is_own_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Refuses requests to another host and from pages of other sites.
    fn check_site(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| {
            headers
                .get(name)
                .map(|value: &header::HeaderValue| value.to_str())
        };
        match text(header::HOST) {
            Some(Ok(host)) if self.is_own_host(host) => {}
            _ => {
                return Err(Problem::forbidden(
                    "This server answers only to the address that `rowmill serve` printed.",
                ));
            }
        }
        match text(header::ORIGIN) {
            None => Ok(()),
            Some(Ok(origin))
                if origin
                    .strip_prefix("http://")
                    .is_some_and(|host| self.is_own_host(host)) =>
            {
                Ok(())
            }
            Some(_) => Err(Problem::forbidden(
                "Pages of other sites may not call this server.",
            )),
        }
    }

    /// Whether the header has the token. Compares hashes, in constant time.
    fn has_token(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION);
        let value = value.and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        token.is_some_and(|token| blake3::hash(token.as_bytes()) == self.token)
    }
}

/// Refuses requests of other sites, for every route.
pub(crate) async fn own_site(
    State(access): State<LocalAccess>,
    request: Request,
    next: Next,
) -> Response {
    match access.check_site(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses requests without the token, for the routes that need one.
pub(crate) async fn with_token(
    State(access): State<LocalAccess>,
    mut request: Request,
    next: Next,
) -> Response {
    if !access.has_token(request.headers()) {
        return Problem::unauthorized().into_response();
    }
    request.extensions_mut().insert(Caller {
        name: "operator".to_owned(),
        role: Role::Operator,
    });
    next.run(request).await
}
