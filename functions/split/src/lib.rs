//! Stage split: reads a workbook, cleans and profiles it, writes chunks and the manifest.
//!
//! [`cut`] is the core, for a file on the machine; [`Split`] is the stage around it, entered by the
//! event of an upload. Everything split leaves is written in an order that lets it be run again
//! from any point: chunks, rejected rows and the run's table beside each other, the manifest (the
//! commit point: one that exists is never written again), the run's state, the message to submit.

mod clean;
mod cut;
mod entry;
mod error;
mod line;
mod order;
mod profile;
mod recipe;
mod stage;

pub use clean::convert;
pub use cut::{About, Cut, CutOptions, cut};
pub use error::{CutError, Refusal, SplitError};
pub use order::{LIMIT_METADATA, NOTIFY_METADATA, PARAMETER_METADATA};
pub use stage::{LEASE, Split, run_id};
