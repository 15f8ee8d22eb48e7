//! The settings of the local Batch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bus::Chaos;

/// The settings of the local Batch.
#[derive(Clone, Debug)]
pub struct BatchConfig {
    /// The name of the job queue.
    pub queue: String,
    /// Attempts that run at the same time, at least 1. Each occupies a thread, so use at most a few
    /// hundred.
    pub slots: usize,
    /// Program and arguments of every attempt, like the entry point of an image. The command of the
    /// job definition follows them.
    pub program: Vec<String>,
    /// Environment of every attempt. It extends the environment of this process; the variables of
    /// the job definition and of the job take precedence over it.
    pub environment: BTreeMap<String, String>,
    /// The directory of the logs: `<logs>/<job id>/<attempt>.log`.
    pub logs: PathBuf,
    /// Duplicates and reorders the events for report. For tests.
    pub chaos: Option<Chaos>,
    /// Real seconds per second of AWS: 1.0, or less in tests. Applies to the time limits of
    /// attempts, the time between SIGTERM and SIGKILL, and the rate of SubmitJob.
    pub clock_scale: f64,
}
