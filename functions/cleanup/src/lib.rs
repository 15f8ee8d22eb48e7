//! Stage cleanup: removes everything temporary, and sweeps for runs that stand still.
//!
//! Entered by what report answers, one run at a time ([`Cleanup::handle`]), by the time set for a
//! run ([`Cleanup::due`]), and by a schedule ([`Cleanup::sweep`]).

mod definitions;
mod entry;
mod error;
mod stage;
mod stalled;
mod sweep;

pub use error::CleanupError;
pub use stage::{Cleanup, CleanupConfig, LEASE};
pub use sweep::{SweepAction, Swept};
