//! The whole system in one process, in memory and in virtual time, under faults. A storm is one seed:
//! it replays call by call.
//!
//! | module | content |
//! |---|---|
//! | `memory` | the adapters of all ports in memory |
//! | `network` | the order of all calls, and what happens to each |
//! | `process` | what makes a call: an invocation of a stage, or an attempt of a child |
//! | `source` | the service that the runs send requests to |
//! | `world` | the stages, Batch and the events between them |
//! | `upload` | the workbooks that are processed |
//! | `verdict` | whether a run did what it should |
//! | `storm` | a world, uploads and faults from a seed |
//!
//! Children are futures and not processes, which is an exception for storms only
//! (`docs/decisions/0008-storms-in-one-process.md`).
//!
//! The terms are defined in `docs/glossary.md`.

pub mod memory;
pub mod network;
pub mod process;
pub mod source;
pub mod storm;
pub mod upload;
pub mod verdict;
pub mod world;
