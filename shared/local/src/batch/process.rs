//! One attempt as a process: started as a container is, ended as a container is.
//!
//! **Process groups and reused ids.** Each attempt leads a process group of its own, whose
//! number is its process id. The kernel gives a process id to no other process while the process
//! is not reaped, nor while a process of its group lives. So the group is killed after the
//! leader has ended and *before* it is reaped ([`wait_for_exit`] looks without reaping): the
//! number is then surely ours. Nothing here signals a group whose leader was reaped.
//!
//! **Hosts that die.** An attempt's standard input is a pipe whose other end this process holds;
//! a program that reads end of file there knows that its host is gone. Programs that do not look
//! are found by [`super::orphans`].

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
use super::exit::AttemptEnd;
use super::job::Launch;

/// Batch's variables that not every job has: one inherited from around must not be seen.
const INHERITED: [&str; 2] = [
    config::AWS_BATCH_JOB_ARRAY_INDEX,
    config::AWS_BATCH_JOB_ARRAY_SIZE,
];

/// What the scheduler tells an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// SIGTERM, and SIGKILL when the grace is over.
    Stop,
    /// Go as if the host were taken away.
    LoseHost,
}

/// An attempt under way. Dropped, it is killed with all it started.
#[derive(Debug)]
pub(super) struct Attempt {
    child: Child,
    group: Pid,
    reaped: bool,
    /// Held open for as long as the attempt runs.
    _stdin: Option<ChildStdin>,
}

impl Attempt {
    /// Starts the program.
    pub(super) fn start(config: &BatchConfig, launch: &Launch) -> io::Result<Attempt> {
        let mut words = config.program.iter().chain(&launch.spec.command);
        let program = words.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the job has no program to run")
        })?;
        let log = open_log(&config.logs.join(&launch.id), launch.attempt)?;
        let mut command = Command::new(program);
        for name in INHERITED {
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

    /// Waits for the end: by itself, after `limit`, or by order. `grace` lies between SIGTERM
    /// and SIGKILL.
    pub(super) async fn attend(
        mut self,
        limit: Option<Duration>,
        grace: Duration,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) -> AttemptEnd {
        let group = self.group;
        let mut exit = tokio::task::spawn_blocking(move || wait_for_exit(group));
        let mut stop_at = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut kill_at = None;
        let (mut timed_out, mut host_lost) = (false, false);
        loop {
            tokio::select! {
                _ = &mut exit => break,
                () = until(stop_at) => {
                    timed_out = true;
                    stop_at = None;
                    self.signal(Signal::TERM);
                    kill_at = Some(Instant::now() + grace);
                }
                () = until(kill_at) => {
                    kill_at = None;
                    self.kill_group();
                }
                Some(order) = orders.recv() => match order {
                    Order::Stop => {
                        stop_at = None;
                        self.signal(Signal::TERM);
                        kill_at.get_or_insert_with(|| Instant::now() + grace);
                    }
                    Order::LoseHost => {
                        host_lost = true;
                        self.kill_group();
                    }
                }
            }
        }
        // The leader has ended and is not reaped: what is left of its group ends now, as the
        // other processes of a container do.
        self.kill_group();
        let code = self.child.wait().await.map_or(UNKNOWN_CODE, code);
        self.reaped = true;
        match (host_lost, timed_out) {
            (true, _) => AttemptEnd::HostTerminated,
            (false, true) => AttemptEnd::TimedOut(code),
            (false, false) => AttemptEnd::Exited(code),
        }
    }

    /// To the leader alone, as `docker stop` does.
    fn signal(&self, signal: Signal) {
        // It may have ended already, which is as good.
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

/// Where the system does not say how a process ended.
const UNKNOWN_CODE: i32 = 255;

/// The exit code, or 128 + the signal's number, as a shell and a container tell it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(UNKNOWN_CODE)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until a child of this process has ended, and leaves it to be reaped. Blocks.
fn wait_for_exit(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
}

fn open_log(directory: &Path, attempt: u32) -> io::Result<File> {
    let path = directory.join(format!("{attempt}.log"));
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    std::fs::create_dir_all(directory).map_err(named)?;
    // A lost attempt is made again under the same number.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(named)
}
