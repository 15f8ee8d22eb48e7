//! Writes result workbooks.

mod error;
mod formats;
mod links;
mod package;
mod review;
mod row;
mod sheets;
mod spec;
mod stream;
mod summary;
mod widths;
mod writer;

/// The custom property of a result workbook that has the ID of its run.
pub(crate) const RUN_PROPERTY: &str = "Run";
/// The start of the names of the custom properties that have the names of its added columns.
pub(crate) const ADDED_PROPERTY: &str = "Added column ";
/// The custom property that has the name of the column for corrections, if the result has one.
pub(crate) const REVIEW_PROPERTY: &str = "Review column";

pub use error::WriteError;
pub use spec::{Chart, ColumnSpec, Fact, ResultSpec, ReviewSpec, StepFigures, Summary};
pub use writer::{ResultWriter, WriteSummary};
