//! Stage cleanup: removes everything temporary, and resumes stalled runs.
//!
//! Cleanup is entered ([`Cleanup::invoke`]) by what report answers, once a run's mail is sent
//! ([`Cleanup::handle`]); by the time that is set for each run ([`Cleanup::due`]); and by a
//! schedule ([`Cleanup::sweep`]).
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the events |
//! | `stage.rs` | removing what one run left |
//! | `stalled.rs` | a run without progress: which stage can move it on |
//! | `waiting.rs` | jobs that wait although the queue runs nothing |
//! | `sweep.rs` | all open runs, and what belongs to no run |
//! | `uploads.rs` | uploads that started no run |
//! | `definitions.rs` | job definitions that no live run uses |
//! | `finding.rs` | what a sweep finds, and what repairs it |
//! | `main.rs` | the Lambda function |
//!
//! # Guarantees
//!
//! - Nothing of a run is removed before its email is sent. Results stay.
//! - A lost event loses nothing: a run without progress is handed to the stage that can move it on,
//!   or fails, so that every run ends with an email.
//! - Cleanup can stop anywhere and run again.
//!
//! The terms are defined in `docs/glossary.md`.

mod definitions;
mod entry;
mod error;
mod finding;
mod stage;
mod stalled;
mod sweep;
mod uploads;
mod waiting;

pub use error::CleanupError;
pub use finding::{Finding, Swept};
pub use stage::{Cleanup, CleanupConfig};
pub use sweep::Mode;
