//! Writes result workbooks.

mod error;
mod formats;
mod links;
mod package;
mod row;
mod sheets;
mod spec;
mod stream;
mod summary;
mod writer;

pub use error::WriteError;
pub use spec::{Chart, ColumnSpec, ResultSpec, StepFigures, Summary};
pub use writer::{ResultWriter, WriteSummary};
