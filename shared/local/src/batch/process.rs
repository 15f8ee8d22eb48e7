//! An attempt as a process, which starts and ends like a container.
//!
//! **Process groups and reused ids.** Each attempt leads its own process group, whose id is the
//! process id of the leader. The kernel does not reuse that id until the leader is reaped and the
//! group is empty. So the group is killed after the leader has ended and *before* the leader is
//! reaped ([`wait_for_exit`] does not reap): the id cannot belong to another group then. Nothing
//! here signals a group whose leader was reaped.
//!
//! **Killed hosts.** The standard input of an attempt is a pipe whose other end this process holds.
//! A program that reads end of file knows that its host has ended. [`super::orphans`] finds the
//! programs that do not read it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rowmill_domain::config;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::config::BatchConfig;
use super::exit::AttemptExit;
use super::job::Launch;
use super::memory;

/// Variables that a job must not inherit from this process: those of AWS Batch that only some jobs
/// have, and the password of the mail relay.
const WITHHELD: [&str; 3] = [
    config::AWS_BATCH_JOB_ARRAY_INDEX,
    config::AWS_BATCH_JOB_ARRAY_SIZE,
    config::ROWMILL_SMTP,
];

/// A request of the scheduler to a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Send SIGTERM, and SIGKILL after the grace period.
    Terminate,
    /// End as if the host were terminated.
    LoseHost,
}

/// A running attempt. Dropping it kills it with all processes of its group.
#[derive(Debug)]
pub(super) struct Attempt {
    child: Child,
    group: Pid,
    reaped: bool,
    /// Open as long as the attempt runs.
    _stdin: Option<ChildStdin>,
}

impl Attempt {
    /// Starts the program.
    pub(super) fn start(config: &BatchConfig, launch: &Launch) -> io::Result<Attempt> {
        let mut words = config.program.iter().chain(&launch.spec.command);
        let program = words
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the job has no program"))?;
        let log = open_log(&config.logs.join(&launch.id), launch.attempt)?;
        let mut command = Command::new(program);
        for name in WITHHELD {
            command.env_remove(name);
        }
        command
            .args(words)
            .envs(&config.environment)
            .envs(&launch.spec.environment)
            .env(config::AWS_BATCH_JOB_ID, &launch.id)
            .env(config::AWS_BATCH_JOB_ATTEMPT, launch.attempt.to_string())
            .env(config::AWS_BATCH_JQ_NAME, &config.queue)
            .env(config::AWS_BATCH_CE_NAME, "local")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        if let (Some(index), Some(size)) = (launch.unit.index, launch.spec.size) {
            command
                .env(config::AWS_BATCH_JOB_ARRAY_INDEX, index.to_string())
                .env(config::AWS_BATCH_JOB_ARRAY_SIZE, size.to_string());
        }
        let mut child = command
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| io::Error::other("the program has no process id"))?;
        let stdin = child.stdin.take();
        Ok(Attempt {
            child,
            group,
            reaped: false,
            _stdin: stdin,
        })
    }

    /// Waits until the attempt exits, exceeds `limit` or its memory, or is interrupted. `grace` is the
    /// time between SIGTERM and SIGKILL.
    pub(super) async fn supervise(
        mut self,
        limit: Option<Duration>,
        memory_mib: Option<u32>,
        grace: Duration,
        mut interrupts: mpsc::UnboundedReceiver<Interrupt>,
    ) -> AttemptExit {
        let group = self.group;
        let mut exit = tokio::task::spawn_blocking(move || wait_for_exit(group));
        let mut left = limit.map(TimeLeft::new);
        let mut kill_at = None;
        let mut look_at_memory = memory_mib.map(|mib| (Instant::now() + LOOK_AT_MEMORY, mib));
        let (mut timed_out, mut host_lost, mut out_of_memory) = (false, false, false);
        loop {
            tokio::select! {
                biased;
                _ = &mut exit => break,
                () = until(left.as_ref().map(TimeLeft::look_at)) => {
                    if left.as_mut().is_some_and(|left| !left.is_over()) {
                        continue;
                    }
                    left = None;
                    // It may have ended while this process was stopped. The thread that waits for
                    // it was stopped too, and may report it only after the timer.
                    if has_exited(group) {
                        continue;
                    }
                    timed_out = true;
                    self.signal(Signal::TERM);
                    kill_at = Some(Instant::now() + grace);
                }
                () = until(look_at_memory.map(|(at, _)| at)) => {
                    let Some((at, mib)) = look_at_memory.as_mut() else {
                        continue;
                    };
                    *at = Instant::now() + LOOK_AT_MEMORY;
                    if memory::exceeds(group, *mib) && !has_exited(group) {
                        look_at_memory = None;
                        out_of_memory = true;
                        self.kill_group();
                    }
                }
                () = until(kill_at) => {
                    kill_at = None;
                    self.kill_group();
                }
                Some(interrupt) = interrupts.recv() => match interrupt {
                    Interrupt::Terminate => {
                        left = None;
                        self.signal(Signal::TERM);
                        kill_at.get_or_insert_with(|| Instant::now() + grace);
                    }
                    Interrupt::LoseHost => {
                        host_lost = true;
                        self.kill_group();
                    }
                }
            }
        }
        // The leader has ended and is not reaped. End the rest of its group, as in a container.
        self.kill_group();
        let code = self.child.wait().await.map_or(UNKNOWN_CODE, code);
        self.reaped = true;
        match (host_lost, out_of_memory, timed_out) {
            (true, ..) => AttemptExit::HostTerminated,
            (_, true, _) => AttemptExit::OutOfMemory,
            (_, _, true) => AttemptExit::TimedOut(code),
            _ => AttemptExit::Exited(code),
        }
    }

    /// Signals only the leader, like `docker stop`.
    fn signal(&self, signal: Signal) {
        // It may have ended already, which is fine.
        let _ = kill_process(self.group, signal);
    }

    fn kill_group(&self) {
        // As above.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill_group();
        }
    }
}

/// The code if the system does not report how a process ended.
const UNKNOWN_CODE: i32 = 255;

/// The exit code, or 128 + the number of the signal, as in shells and containers.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(UNKNOWN_CODE)
}

/// How often the memory of an attempt is looked at.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(200);

/// How often the time that is left is counted down.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The time that an attempt has left. Time during which this process was suspended (Ctrl-Z, a frozen
/// virtual machine) does not count.
struct TimeLeft {
    left: Duration,
    since: Instant,
}

impl TimeLeft {
    fn new(left: Duration) -> TimeLeft {
        TimeLeft {
            left,
            since: Instant::now(),
        }
    }

    /// When to count down next.
    fn look_at(&self) -> Instant {
        self.since + self.left.min(COUNT_EVERY)
    }

    /// Counts the time since the last call. Returns whether none is left.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        // More than one period means that this process did not run in between.
        let ran = (now - self.since).min(COUNT_EVERY);
        self.since = now;
        self.left = self.left.saturating_sub(ran);
        self.left.is_zero()
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until a child of this process has ended, without reaping it. Blocks.
fn wait_for_exit(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
}

/// Whether a child of this process has ended. It is not reaped.
fn has_exited(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

fn open_log(directory: &Path, attempt: u32) -> io::Result<File> {
    let path = directory.join(format!("{attempt}.log"));
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    std::fs::create_dir_all(directory).map_err(named)?;
    // A lost attempt is repeated with the same number.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(named)
}
