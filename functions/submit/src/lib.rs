//! Stage submit: one Batch job per chunk and stage.
//!
//! SubmitJob takes no client token, so a job's name is a function of run, chunk and stage, its id
//! is recorded as soon as it is given, and a submit that resumes another's work looks for a job of
//! the name before it submits one.

mod definition;
mod entry;
mod error;
mod pace;
mod stage;

pub use definition::{definition, retry_strategy};
pub use error::SubmitError;
pub use stage::{LEASE, Submit, SubmitConfig};
