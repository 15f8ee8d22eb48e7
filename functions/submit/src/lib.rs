//! Stage submit: one Batch job per chunk and phase.
//!
//! Submit is entered by the message that a run is split ([`Submit::invoke`]). It registers the job
//! definitions that the run needs and submits its jobs, each dependent on the one before it.
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the events |
//! | `stage.rs` | the work on one run |
//! | `definition.rs` | job definitions: image, resources, environment, when a child is retried |
//! | `requirements.rs` | what a pipeline needs from the deployment |
//! | `main.rs` | the Lambda function |
//!
//! # Guarantees
//!
//! - Each chunk and phase has one job. SubmitJob has no idempotency token, so the name of a job is
//!   a function of run, chunk and phase, its id is recorded as soon as it is known, and a submit
//!   that resumes looks for a job of that name before it submits one. If two invocations submit the
//!   same job at the same time, one of the two is terminated.
//! - A run that Batch permanently rejects fails with the reason: its jobs are terminated, and report
//!   sends the email.
//!
//! The terms are defined in `docs/glossary.md`.

mod definition;
mod entry;
mod error;
mod requirements;
mod stage;

pub use definition::{definition, retry_strategy};
pub use error::SubmitError;
pub use stage::{Submit, SubmitConfig};
