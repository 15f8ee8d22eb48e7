//! How the local Batch is set up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bus::Chaos;

/// How the local Batch is set up.
#[derive(Clone, Debug)]
pub struct BatchConfig {
    /// The queue's name.
    pub queue: String,
    /// Attempts under way at once; at least 1, and at most a few hundred: each holds a thread
    /// that waits for its end.
    pub slots: usize,
    /// Program and arguments of every attempt, as an image's entry point; the definition's
    /// command follows them.
    pub program: Vec<String>,
    /// Environment of every attempt, on top of this process's own; the definition's and the
    /// job's come on top of it.
    pub environment: BTreeMap<String, String>,
    /// Output goes to `<logs>/<job id>/<attempt>.log`.
    pub logs: PathBuf,
    /// Duplicates and reorders the events for report, in tests.
    pub chaos: Option<Chaos>,
    /// How many real seconds AWS's second lasts: 1.0, and less in tests. Applies to attempts'
    /// time limits, the time between SIGTERM and SIGKILL, and the rate of SubmitJob.
    pub clock_scale: f64,
}
