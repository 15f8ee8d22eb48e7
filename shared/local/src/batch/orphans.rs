//! Attempts that outlived a killed host.

/// Kills the processes that a killed host left behind. A process belongs to the job whose id is in its
/// environment as `AWS_BATCH_JOB_ID`; `ours` decides whether to kill it.
///
/// No other process can be killed. Job ids are unique, so a process that reuses an old process id
/// does not match. Each process is signaled through a descriptor that was opened before its
/// environment was read, so the signal reaches the process that was read.
///
/// Does nothing on systems other than Linux, which do not show the environment of a process. Programs
/// there end when they read end of file on their standard input.
pub(super) fn kill_orphans(ours: impl Fn(&str) -> bool) {
    #[cfg(target_os = "linux")]
    linux::kill_orphans(ours);
    #[cfg(not(target_os = "linux"))]
    let _ = ours;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use rowmill_domain::config;
    use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

    /// Longest wait for killed processes to end. They end at once unless the disk stalls.
    const END_WAIT: Duration = Duration::from_secs(5);

    pub(super) fn kill_orphans(ours: impl Fn(&str) -> bool) {
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return;
        };
        let mut killed = Vec::new();
        for process in processes.flatten() {
            let name = process.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Some(pid) = Pid::from_raw(pid).filter(|pid| *pid != getpid()) else {
                continue;
            };
            let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            if job_of(&process.path()).is_some_and(|id| ours(&id)) {
                tracing::info!(pid = pid.as_raw_nonzero().get(), "killing a leftover child");
                if pidfd_send_signal(&descriptor, Signal::KILL).is_ok() {
                    killed.push(process.path());
                }
            }
        }
        let deadline = Instant::now() + END_WAIT;
        for process in killed {
            // A process that has ended has no environment, even before it is reaped.
            while job_of(&process).is_some_and(|id| ours(&id)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// The id of the job that a process belongs to. `None` also if its environment cannot be read.
    fn job_of(process: &Path) -> Option<String> {
        let environment = std::fs::read(process.join("environ")).ok()?;
        environment.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable
                .strip_prefix(config::AWS_BATCH_JOB_ID.as_bytes())?
                .strip_prefix(b"=")?;
            String::from_utf8(value.to_vec()).ok()
        })
    }
}
