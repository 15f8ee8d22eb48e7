//! Stage split: turns an uploaded workbook into chunks of records.
//!
//! Split is entered by the event of an upload ([`Split::invoke`]). It finds the pipeline that the
//! inbox folder names, reads, cleans and profiles the workbook, and stores the records in chunks
//! that enrich can work on in parallel. A workbook that cannot be processed is refused: the run
//! fails with a reason and advice, and report emails both.
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the events |
//! | `stage.rs` | the work on one upload, from the claim to the message for submit |
//! | `resolve.rs` | which pipeline an upload is for |
//! | `upload_options.rs` | what the metadata of an upload asks for |
//! | `limits.rs` | the limits that a pipeline sets for its runs, and a tier for its submitters |
//! | `cut.rs`, `cut/` | the core: a workbook on disk becomes cleaned records in temporary files |
//! | `read_options.rs` | how the pipeline sets the options of the workbook reader |
//! | `clean.rs` | the cleaning rules: what is trimmed, converted and rejected |
//! | `line.rs`, `profile.rs` | writing a record's line; the profile of a column |
//! | `main.rs` | the Lambda function |
//!
//! # Guarantees
//!
//! - Every data row becomes either a record or a rejected row with a reason.
//! - Split can stop anywhere and run again. It writes in an order that allows this: the chunks, the
//!   rejected rows and the run's table in any order, then the manifest, then the run's state, then
//!   the message to submit. The manifest is the commit point: once written it never changes.
//!
//! The terms are defined in `docs/glossary.md`.

mod archived;
mod cell;
mod clean;
mod cut;
mod elsewhere;
mod entry;
mod error;
mod limits;
mod line;
mod profile;
mod read_options;
mod reevaluate;
mod resolve;
mod retry;
mod stage;
mod upload_options;

pub use clean::convert;
pub use cut::{Cut, RunDetails, cut};
pub use elsewhere::elsewhere;
pub use error::{CutError, Refusal, SplitError};
pub use read_options::read_options;
pub use reevaluate::{Processing, Reevaluation};
pub use retry::RetryPlan;
pub use stage::{Split, run_id};
pub use upload_options::{
    LIMIT_METADATA, NOTIFY_METADATA, PARAMETER_METADATA, REEVALUATE_METADATA, SUBMITTER_METADATA,
};
