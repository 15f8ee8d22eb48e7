//! The HTTP interface: health, and the links to results in emails.
//!
//! API Gateway hands requests to [`invoke`], which passes them to [`router`]. The router is a plain
//! function of its state, so the same routes can answer on Lambda and on one machine.
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the routes, and the events of API Gateway |
//! | `stage.rs` | what the routes use, and `/health` |
//! | `download.rs` | `/d/{token}`: the result that a link in an email names |
//! | `page.rs` | the short HTML pages |
//! | `main.rs` | the Lambda function |
//!
//! # Guarantees
//!
//! - The only routes that need no sign-in are `/health`, and `/d/{token}`, whose token is signed.
//! - An answer to a link is never cached, and its address is never sent to another site.
//!
//! The terms are defined in `docs/glossary.md`.

mod download;
mod entry;
#[cfg(feature = "lambda")]
mod error;
mod page;
mod stage;

pub use entry::router;
pub use stage::Api;
#[cfg(feature = "lambda")]
pub use {entry::invoke, error::ApiError};

#[cfg(test)]
mod tests;
