//! The traits between the stages and external services, one conformance suite per trait
//! ([`conformance`]), and a wrapper that injects faults ([`faulty`]).
//!
//! | trait | subject | on AWS | on one machine |
//! |---|---|---|---|
//! | [`Objects`] | files in buckets | S3 | a directory |
//! | [`Archive`] | storage classes of objects | S3 | a directory |
//! | [`Runs`] | runs and their jobs' ids | DynamoDB | SQLite |
//! | [`Outcomes`] | one outcome per record | DynamoDB, a table per run | SQLite, a file per run |
//! | [`Coordination`] | claims, rate permits, shared answers | DynamoDB | SQLite |
//! | [`Reviews`] | what people decided about rows | DynamoDB | SQLite |
//! | [`Submitters`] | tiers and runs of submitters | DynamoDB | SQLite |
//! | [`Jobs`] | container jobs | Batch | child processes |
//! | [`Topic`] | messages between stages | SNS | SQLite |
//! | [`Scheduler`] | messages for later | EventBridge Scheduler | SQLite |
//! | [`Mailer`] | mail | SES | `.eml` files, or an SMTP relay |
//!
//! A port exists only where two real adapters do. The clock, configuration and parsers are plain
//! values.
//!
//! The docstrings of a trait state its guarantees, and its conformance suite checks them. An
//! adapter is correct if it passes the suite.
//!
//! The terms are defined in `docs/glossary.md`.

mod archive;
pub mod conformance;
mod coordination;
mod error;
pub mod faulty;
mod jobs;
mod mailer;
mod objects;
mod outcomes;
pub mod reviews;
mod runs;
mod scheduler;
pub mod submitters;
mod topic;

pub use archive::{Archive, ArchivePage, ArchiveStatus, ArchivedCopy, RestoreAnswer, StoredObject};
pub use coordination::{Asked, Claim, Coordination, Holder};
pub use error::{ErrorKind, Optional, PortError, Result};
pub use jobs::{JobFilter, Jobs};
pub use mailer::{Envelope, Mailer};
pub use objects::{FileRange, Location, Object, ObjectInfo, Objects, Page, Put};
pub use outcomes::{Outcomes, OutcomesPage, TablePlan};
pub use reviews::Reviews;
pub use runs::{JobRecord, RunPatch, Runs};
pub use scheduler::{Scheduler, check_schedule_name};
pub use submitters::Submitters;
pub use topic::{Topic, message_text};
