//! Workbooks: foreign bytes to records, results to bytes.
//!
//! Reading is hostile ground: what a file is, is told by its content; every size is checked
//! against a named limit ([`ReadLimits`]) before memory is spent on it; and the readers run on a
//! thread of their own, so that a panic or a hang in one of them becomes an error. Rows are handed
//! on as they are read ([`RowSink`]).
//!
//! Writing takes constant memory ([`ResultWriter`]): a row is on disk before the next one comes.

mod read;
mod write;

pub use read::{
    Cell, Format, Header, ReadError, ReadLimits, ReadOptions, ReadSummary, RowSink, detect,
    read_header, read_rows,
};
pub use write::{
    Chart, ColumnSpec, ResultSpec, ResultWriter, StepFigures, Summary, WriteError, Written,
};
