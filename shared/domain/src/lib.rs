//! The values that all crates share: what a run, a manifest, a record, an outcome and a job are, and
//! how they are written.
//!
//! Everything here is pure: no clock, file, network or environment. The crate builds without the
//! parsers of pipeline files, which are in `rowmill-pipeline`.
//!
//! | module | content |
//! |---|---|
//! | [`run`], [`pipeline_name`] | run ids, states, counts, failures |
//! | [`tally`], [`cost`] | what the children of a run have done so far, and what that costs |
//! | [`manifest`] | split's commit point: columns, chunks and the embedded pipeline |
//! | [`sheet`], [`value`], [`record`] | references to sheets, delimiters, cell values, records, the chunk format |
//! | [`outcome`], [`reason`], [`mod@archive`] | the result of a record; why rows have none; records and outcomes kept with the result |
//! | [`index`], [`review`] | the index of archived rows; what people decided about them |
//! | [`job`] | AWS Batch jobs: definitions, requests, the job graph of a run, Batch's own rules |
//! | [`event`], [`message`] | events that trigger stages, messages on the topic |
//! | [`storage`], [`result_storage`] | storage classes of archived results, and how fast they are restored; how a result is stored |
//! | [`colors`] | the colors of workbook, mail and page |
//! | [`keys`] | object keys in the work bucket |
//! | [`limits`] | limits of AWS and Excel, each with its source |
//! | [`config`], [`environment`] | environment variables, and reading them |
//! | [`secret`], [`link`] | values of secrets and their redaction; signed links in mail |
//!
//! The terms are defined in `docs/glossary.md`.

pub mod archive;
pub mod colors;
pub mod config;
pub mod cost;
pub mod environment;
pub mod event;
pub mod index;
pub mod job;
pub mod keys;
pub mod limits;
pub mod link;
pub mod manifest;
pub mod message;
pub mod outcome;
pub mod pipeline_name;
pub mod preview;
pub mod quantity;
pub mod reason;
pub mod record;
pub mod rejected;
pub mod result_storage;
pub mod review;
pub mod run;
pub mod second_round;
pub mod secret;
pub mod sheet;
pub mod storage;
pub mod submitter;
pub mod tally;
pub mod value;

pub use manifest::Manifest;
pub use outcome::{Outcome, Status};
pub use pipeline_name::PipelineName;
pub use reason::Reason;
pub use record::{Columns, Record, Row};
pub use rejected::Rejected;
pub use run::{RunId, RunItem, RunState};
pub use sheet::{Delimiter, SheetRef};
pub use submitter::Submitter;
pub use value::{Kind, Value};
