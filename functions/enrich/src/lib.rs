//! Stage enrich: one child's slice of a chunk, one outcome per record.
//!
//! A child of a Batch job reads the run's manifest and its chunk, skips the rows that an earlier
//! attempt has done, works on several records at once, and stores their outcomes in batches
//! ([`Enrich::run`]). The same code previews a pipeline on a few rows, in memory ([`preview()`]).
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the environment of a child, and preview requests on Lambda |
//! | `stage.rs` | the work of one child |
//! | `child.rs` | which part of a run a child works on, and what it did |
//! | `slice.rs` | the records of a child, and which are left to do |
//! | `record.rs` | steps, checks and derived columns of one record |
//! | `steps.rs` | the steps, ready to run |
//! | `store.rs` | outcomes, stored in batches |
//! | `host.rs` | what a host offers to the steps |
//! | `fetch.rs`, `unpack.rs` | programs of `command` steps, fetched and unpacked |
//! | `permits.rs`, `answers.rs` | request rates and answers that all children of a run share |
//! | `preview.rs`, `preview/` | previews |
//! | `main.rs` | the container, and the Lambda function from the same image |
//!
//! # Guarantees
//!
//! - A record never fails a child: whatever goes wrong with it becomes its outcome. A child fails
//!   only when the machine or a service does ([`EnrichError`], whose [`EnrichError::exit_code`]
//!   tells Batch whether to try again).
//! - A child may be killed at any time. What is stored stays, and the next attempt does the rest.
//!
//! The terms are defined in `docs/glossary.md`.

mod answers;
mod child;
mod control;
mod entry;
mod error;
mod fetch;
mod host;
mod permits;
mod preview;
mod record;
mod slice;
mod stage;
mod steps;
mod store;
mod unpack;

pub use child::{Child, ChildReport};
pub use error::{EnrichError, PreviewError};
pub use fetch::{ProgramFetcher, check_local};
pub use host::HostResources;
pub use preview::{Previews, preview, preview_json};
pub use stage::Enrich;
