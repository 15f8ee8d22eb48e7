//! CPU time, for tests of how long work takes: on a busy machine, wall time says little.

use std::time::Duration;

/// The CPU time of this thread so far, to a few milliseconds. On systems other than Linux, time that passed.
pub(crate) fn cpu_time() -> Duration {
    match std::fs::read_to_string("/proc/thread-self/schedstat") {
        Ok(text) => {
            let on_cpu = text.split(' ').next().unwrap();
            Duration::from_nanos(on_cpu.parse().unwrap())
        }
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap(),
    }
}
