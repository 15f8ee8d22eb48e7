//! The HTTP interface: the API, the page that uses it, health, and the links to results in emails.
//!
//! On AWS, API Gateway hands requests to [`Deployed::invoke`], which passes them to [`deployed_router`]. On one machine,
//! `rowmill serve` serves [`local_router`].
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the routes, and the events of API Gateway |
//! | `service.rs` | what the routes of the API use |
//! | `indexed.rs`, `reviewed.rs` | the rows of a run through their index; their reviews |
//! | `export.rs`, `export/` | the rows of a run with their reviews, as files |
//! | `routes/` | the routes of the API, by subject |
//! | `access.rs`, `claims.rs` | who calls, and what they may do, on one machine and on AWS |
//! | `request.rs`, `problem.rs` | what routes read from a request, and how they refuse one |
//! | `answer.rs` | answers with an ETag, and files |
//! | `assets.rs` | the files of the page |
//! | `stage.rs` | what the public routes use, and `/health` |
//! | `download.rs` | `/d/{token}`: the result that a link in an email names |
//! | `page.rs` | the short HTML pages |
//! | `openapi.rs` | the OpenAPI document, with the feature `openapi` |
//! | `main.rs`, `amazon.rs` | the Lambda function, and what the API needs from AWS |
//!
//! # Guarantees
//!
//! - The only routes that need no sign-in are the files of the page, `/health`, and `/d/{token}`, whose
//!   token is signed.
//! - An answer to a link is never cached, and its address is never sent to another site.
//! - Each answer has a strict Content-Security-Policy. Errors are problem details (RFC 9457).
//! - A write can be repeated: with the same `Idempotency-Key` it takes effect once.
//!
//! The terms are defined in `docs/glossary.md`.

mod access;
mod answer;
mod assets;
mod built;
#[cfg(any(feature = "lambda", test))]
mod claims;
mod download;
mod entry;
#[cfg(any(feature = "lambda", test))]
mod error;
mod export;
mod indexed;
#[cfg(feature = "openapi")]
mod openapi;
mod page;
mod problem;
mod request;
mod reviewed;
mod routes;
mod service;
mod stage;

pub use access::{Caller, LocalAccess, Role};
pub use built::{Background, ExportAsked, build_export};
#[cfg(feature = "lambda")]
pub use entry::{Deployed, export_event};
pub use entry::{local_router, router};
pub use indexed::Indexes;
pub use problem::Problem;
pub use request::BODY_BYTES;
pub use routes::uploads::{METADATA, UPLOAD_BYTES};
pub use service::{Host, InvalidPipeline, NewObject, Rates, Service, Stuck, UploadForm};
pub use stage::Api;
#[cfg(any(feature = "lambda", test))]
pub use {
    claims::{ClaimsAccess, SignIn},
    entry::deployed_router,
    error::ApiError,
};

#[cfg(test)]
mod tests;
