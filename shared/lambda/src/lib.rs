//! Shared by the `main` of every function.
//!
//! [`run`] sets up a stage and passes Lambda's events to it. [`log`] configures JSON logs, in which
//! every line has the run, the chunk and the request that it belongs to. `leftovers` removes
//! temporary files of killed processes.
//!
//! The terms are defined in `docs/glossary.md`.

mod leftovers;
mod log;
mod run;

pub use log::log;
pub use run::run;
