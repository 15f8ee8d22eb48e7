//! Values and pure functions: what a run, a manifest, a record, an outcome and a job are.
//!
//! Nothing here reads a clock, a file, a network or the environment.

pub mod archive;
pub mod config;
pub mod environment;
pub mod event;
pub mod job;
pub mod keys;
pub mod limits;
pub mod link;
pub mod manifest;
pub mod message;
pub mod outcome;
pub mod pipeline_name;
pub mod record;
pub mod run;
pub mod secret;
pub mod sheet;
pub mod value;

pub use manifest::Manifest;
pub use outcome::{Outcome, Status};
pub use pipeline_name::PipelineName;
pub use record::{Columns, Record, Row};
pub use run::{RunId, RunItem, RunState};
pub use sheet::SheetRef;
pub use value::{Kind, Value};
