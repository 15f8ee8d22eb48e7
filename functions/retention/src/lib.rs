//! Stage retention: archives, restores and deletes the results of runs.
//!
//! A result is all objects under `results/<run>/`. Its state is in the run's item, and changes only
//! through [`ResultTransition`](rowmill_runs::ResultTransition). Retention first records the state that a
//! result is to have, and then moves its objects, so that whoever finds the state can continue
//! ([`Retention::resume`]).
//!
//! Retention is entered ([`Retention::invoke`]) by requests to restore a result, by the events of S3 that a
//! copy of an archived object is complete or has expired, and by the scheduled check of a restore.
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the events |
//! | `stage.rs` | the changes of a result, and resuming them |
//! | `objects.rs` | archiving, restoring and deleting the objects of a result |
//!
//! # Guarantees
//!
//! - An object is moved only by a copy that is verified, so nothing is lost.
//! - A result is recorded as archived, or as restored, only when all its objects are. `about.json`, which
//!   describes it, is never archived.
//! - Retention can stop anywhere and run again, and several invocations can work on one result: the state
//!   that was recorded last wins.
//! - Not every event has to arrive: a restore is checked after the longest time that it usually takes.
//!
//! The terms are defined in `docs/glossary.md`.

mod entry;
mod error;
mod objects;
mod stage;

pub use error::RetentionError;
pub use stage::{COPY_DAYS, Retention, schedule_name};
