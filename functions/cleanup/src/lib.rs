//! Stage cleanup: removes everything temporary, and sweeps for runs that stand still.
//!
//! Entered by what report answers, one run at a time ([`Cleanup::handle`]), and by a schedule
//! ([`Cleanup::sweep`]).

mod definitions;
mod entry;
mod error;
mod stage;
mod sweep;

pub use error::CleanupError;
pub use stage::{Cleanup, CleanupConfig, LEASE};
pub use sweep::{SweepAction, Swept};
