//! What every function's `main` shares: logs, the invocation, the loop over events.

mod leftovers;
mod log;
mod run;

pub use log::log;
pub use run::run;
