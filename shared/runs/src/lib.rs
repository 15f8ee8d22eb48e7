//! Functionality that all stages share, implemented once.
//!
//! | module | content |
//! |---|---|
//! | `claim` | [`with_claim`]: one invocation at a time does a piece of a run's work |
//! | `transition` | [`Transition`]: the table of legal changes to a run; every change goes through it |
//! | `result_transition` | [`ResultTransition`]: the same for the result of a run |
//! | `failure` | [`fail`]: records why a run failed and publishes it |
//! | `stop` | [`stop`]: ends a run early, for any reason |
//! | `manifest` | [`find_manifest`], [`load_manifest`]: one error type for a run's manifest |
//! | `work_bucket` | [`WorkBucket`]: the work bucket's name together with its store |
//! | `measured` | [`measured_run`]: the times that earlier runs of a pipeline measured |
//! | `named` | [`find_named`]: a run by the start of its id |
//! | `paging` | paged listings as streams |
//! | `place` | [`place_job`]: one job for each name, whatever stops in between |
//! | `rate` | [`RateLimiter`]: keeps to the rate of a service |
//! | `retries` | [`retries_of`]: the retries of a run |
//! | `retry` | repeating calls after transient errors |
//! | `scratch` | [`scratch_folder`]: temporary folders that only the user can read |
//!
//! The crate depends only on the domain and the ports. It reads no clock: callers pass the
//! [`Invocation`](rowmill_domain::event::Invocation), which has the time and the owner of claims.
//!
//! A stage is built from these like this:
//!
//! ```
//! use rowmill_domain::RunId;
//! use rowmill_domain::event::Invocation;
//! use rowmill_domain::run::Work;
//! use rowmill_ports::{Coordination, PortError, RunPatch, Runs};
//! use rowmill_runs::{Transition, with_claim};
//!
//! async fn clean(
//!     runs: &dyn Runs,
//!     coordination: &dyn Coordination,
//!     run: &RunId,
//!     cx: &Invocation,
//! ) -> Result<(), PortError> {
//!     with_claim(coordination, run, Work::Cleanup, cx, async |_resumed| {
//!         // ... remove what is temporary ...
//!         let cleaned = RunPatch {
//!             cleaned: Some(cx.now),
//!             ..RunPatch::default()
//!         };
//!         Transition::Clean.apply(runs, run, cleaned, cx.now).await
//!     })
//!     .await?;
//!     Ok(())
//! }
//! ```
//!
//! The terms are defined in `docs/glossary.md`.

mod claim;
mod failure;
mod manifest;
mod measured;
mod named;
mod paging;
mod place;
mod rate;
mod result_transition;
mod retries;
mod retry;
mod scratch;
mod stop;
mod transition;
mod work_bucket;

pub use claim::{Claimed, complete_claim, with_claim};
pub use failure::{fail, publish_failure, record_failure};
pub use manifest::{ManifestLoadError, find_manifest, load_manifest};
pub use measured::{MeasuredRun, measured_run};
pub use named::{Named, find_named};
pub use paging::{all_jobs, all_runs, describe_jobs, open_runs, pages};
pub use place::{JobRequest, Submission, SubmissionError, place_job};
pub use rate::RateLimiter;
pub use result_transition::ResultTransition;
pub use retries::{Retries, retries_of, retries_of_upload, uploads_with_prefix};
pub use retry::{Transient, retry_throttled, retry_transient};
pub use scratch::{scratch_folder, scratch_folder_in};
pub use stop::{Stopped, publish_stop, record_stop, request_stop, stop};
pub use transition::Transition;
pub use work_bucket::WorkBucket;
