//! The traits between the stages and their surroundings, and one conformance suite
//! ([`conformance`]) that every adapter passes.
//!
//! Each port has two real adapters: AWS's service, and one machine's stand-in for it.

pub mod conformance;
mod error;
pub mod faulty;
mod jobs;
mod ledger;
mod mailer;
mod objects;
mod scheduler;
mod topic;

pub use error::{ErrorKind, Optional, PortError, Result};
pub use jobs::{JobFilter, Jobs};
pub use ledger::{Asked, Claim, JobRecord, Ledger, RunPatch, TablePlan};
pub use mailer::{Envelope, Mailer};
pub use objects::{Location, Object, ObjectInfo, Objects, Page, Put};
pub use scheduler::{Scheduler, check_schedule_name};
pub use topic::{Topic, message_text};
