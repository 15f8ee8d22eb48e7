//! Starts a program, keeps the end of its stderr, and ends it with all its processes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowmill_domain::config::{BATCH_FILE_S3_URL, BATCH_FILE_TYPE, ROWMILL_PROGRAM};
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::Fetch;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::redacting::redact;
use crate::{SetupError, truncate};

/// Last lines of stderr that are kept.
const STDERR_LINES: usize = 8;
/// Lines of stderr that are logged, for each start of a program: a log must not fill a disk.
const LOGGED_LINES: u64 = 10_000;
/// Characters of them that an error message contains.
const STDERR_MAX: usize = 500;
/// Bytes read of a line of stderr at a time. The rest counts as the next line.
const STDERR_LINE_MAX: u64 = 2000;
/// How long stderr is read after the program has ended: another process may keep it open.
const STDERR_WAIT: Duration = Duration::from_millis(500);
/// How long stdout is read after the program has ended. What the program itself wrote can be read
/// at once; the wait is for a helper behind it, such as `tee`.
const STDOUT_WAIT: Duration = Duration::from_millis(250);
/// How often to search for processes that a killed program started in the meantime.
const SWEEPS: usize = 10;
/// The pause before processes that are just starting another program are read again.
const EXEC_WAIT: Duration = Duration::from_millis(2);

/// How to start a program. Found when the step is set up.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    memory_mib: Option<u32>,
    secrets: Arc<Secrets>,
    /// Additional environment variables.
    environment: Vec<(&'static str, String)>,
    /// Environment variables that the program does not inherit.
    withheld: Vec<OsString>,
}

/// A running program.
pub(super) struct Process {
    pub(super) child: Child,
    /// `None` after the input is closed.
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    stderr: Arc<Mutex<VecDeque<String>>>,
    stderr_reader: JoinHandle<()>,
    secrets: Arc<Secrets>,
    /// `NAME=value` in the environment of the program and of all processes that it starts.
    mark: String,
    killed: bool,
}

impl Program {
    /// Finds the program: a path is relative to `directory`, a bare name is looked up in PATH.
    ///
    /// # Errors
    /// There is no such program.
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH belongs to the system; it is not a setting of Rowmill"
    )]
    pub(super) fn find(
        program: &[String],
        directory: &Path,
        memory_mib: Option<u32>,
        secrets: &Arc<Secrets>,
    ) -> Result<Program, SetupError> {
        let name = program.first().map_or("", String::as_str);
        let path = if name.contains('/') {
            Some(directory.join(name)).filter(|p| is_executable(p))
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .map(|d| d.join(name))
                .find(|p| !name.is_empty() && is_executable(p))
        };
        let Some(path) = path else {
            return Err(SetupError::ProgramNotFound {
                program: name.to_owned(),
                searched: if name.contains('/') {
                    directory.display().to_string()
                } else {
                    "PATH".to_owned()
                },
                directory: directory.display().to_string(),
            });
        };
        Ok(Program {
            path: std::path::absolute(&path).unwrap_or(path),
            arguments: program[1..].to_vec(),
            directory: directory.to_path_buf(),
            memory_mib,
            secrets: secrets.clone(),
            environment: Vec::new(),
            withheld: Vec::new(),
        })
    }

    /// Sets environment variables that say where the program was fetched from.
    pub(super) fn with_fetched(mut self, fetch: Option<&Fetch>) -> Program {
        if let Some(fetch) = fetch {
            self.environment = vec![
                (BATCH_FILE_TYPE, fetch.kind.name().to_owned()),
                (BATCH_FILE_S3_URL, fetch.url.clone()),
            ];
        }
        self
    }

    /// Keeps variables of this process from the program.
    pub(super) fn without(mut self, withheld: Vec<OsString>) -> Program {
        self.withheld = withheld;
        self
    }

    /// Removes the values of secrets from text that the program wrote.
    pub(super) fn redact(&self, text: &mut String) {
        redact(&self.secrets, text);
    }

    /// The program's name for error messages.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Starts the program. It stays in our process group, so that the local Batch kills it with the
    /// group when a child ends.
    pub(super) fn start(&self) -> std::io::Result<Process> {
        let mut command = tokio::process::Command::new(&self.path);
        for name in &self.withheld {
            command.env_remove(name);
        }
        // Under their own names.
        command.envs(self.secrets.iter());
        let mark = format!("{:032x}", rand::random::<u128>());
        let mut child = command
            .env(ROWMILL_PROGRAM, &mark)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let (Some(mib), Some(pid)) = (self.memory_mib, child.id()) {
            limit_memory(pid, u64::from(mib) * 1024 * 1024)?;
        }
        let closed = || std::io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(closed)?;
        let stdout = child.stdout.take().ok_or_else(closed)?;
        let stderr = child.stderr.take().ok_or_else(closed)?;
        let stderr_lines = Arc::new(Mutex::new(VecDeque::new()));
        let log = ProgramLog {
            program: self.name(),
            secrets: self.secrets.clone(),
            lines: 0,
        };
        let stderr_reader = read_stderr(BufReader::new(stderr), stderr_lines.clone(), log);
        let stderr_reader = tokio::spawn(stderr_reader);
        Ok(Process {
            secrets: self.secrets.clone(),
            child,
            stdin: Some(stdin),
            stdout,
            stderr: stderr_lines,
            stderr_reader,
            mark: format!("{ROWMILL_PROGRAM}={mark}"),
            killed: false,
        })
    }
}

/// Logs what a program writes to stderr.
struct ProgramLog {
    program: String,
    secrets: Arc<Secrets>,
    /// The number of lines so far.
    lines: u64,
}

impl ProgramLog {
    fn line(&mut self, text: &str) {
        self.lines += 1;
        if self.lines > LOGGED_LINES {
            return;
        }
        let mut text = text.to_owned();
        redact(&self.secrets, &mut text);
        tracing::info!(program = self.program, "{text}");
        if self.lines == LOGGED_LINES {
            let lines = self.lines;
            tracing::warn!(
                program = self.program,
                lines,
                "further lines are not logged"
            );
        }
    }
}

/// Logs stderr and keeps its last lines. Reads to the end, so that the program never blocks on a full
/// pipe.
async fn read_stderr(
    mut stderr: BufReader<tokio::process::ChildStderr>,
    lines: Arc<Mutex<VecDeque<String>>>,
    mut log: ProgramLog,
) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut stderr)
            .take(STDERR_LINE_MAX)
            .read_until(b'\n', &mut line)
            .await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        log.line(text);
        if let Ok(mut lines) = lines.lock() {
            if lines.len() == STDERR_LINES {
                lines.pop_front();
            }
            lines.push_back(text.to_owned());
        }
    }
}

impl Process {
    /// The last lines of stderr, newest last, for an error message. Empty if there are none.
    pub(super) fn stderr(&self) -> String {
        let lines: Vec<String> = match self.stderr.lock() {
            Ok(lines) => lines.iter().cloned().collect(),
            Err(_) => Vec::new(),
        };
        // Redact before truncating, which could cut a secret in two.
        let mut text = lines.join(" | ");
        redact(&self.secrets, &mut text);
        // The end is the most useful part: a Python traceback ends with the error.
        let skip = text.chars().count().saturating_sub(STDERR_MAX);
        truncate(&text.chars().skip(skip).collect::<String>(), STDERR_MAX)
    }

    /// Kills the program and all processes that it started, and reaps it. Returns its exit status and
    /// the end of its stderr.
    pub(super) async fn end(mut self) -> (Option<ExitStatus>, String) {
        self.kill();
        drop(self.stdin.take());
        let status = self.child.wait().await.ok();
        if tokio::time::timeout(STDERR_WAIT, &mut self.stderr_reader)
            .await
            .is_err()
        {
            self.stderr_reader.abort();
        }
        (status, self.stderr())
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.killed, true) {
            return;
        }
        let kill = |pid: i32| {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        };
        if let Ok(None) = self.child.try_wait() {
            // Kill the program first, so that it cannot start more processes.
            let children = self.child.id().map(descendants).unwrap_or_default();
            let _ = self.child.start_kill();
            children.into_iter().for_each(kill);
        }
        let mut known = Vec::new();
        for _ in 0..SWEEPS {
            let Marked {
                mut found,
                starting,
            } = marked(&self.mark);
            found.retain(|pid| !known.contains(pid));
            if found.is_empty() {
                if !starting {
                    break;
                }
                std::thread::sleep(EXEC_WAIT);
            }
            found.iter().copied().for_each(kill);
            known.extend(found);
        }
    }
}

impl Drop for Process {
    /// If nothing waits for the end, for example because the step is dropped.
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns when the program has ended and its output had time to arrive.
pub(super) async fn wait_for_end(child: &mut Child) {
    // An error means that there is nothing to wait for.
    let _ = child.wait().await;
    tokio::time::sleep(STDOUT_WAIT).await;
}

/// The processes of a program.
struct Marked {
    found: Vec<i32>,
    /// Whether a process has an empty environment, as it does for a moment while it starts another
    /// program.
    starting: bool,
}

/// The processes with `mark` in their environment, in any group or session and with any parent. Only
/// Linux shows environments; elsewhere none are found.
fn marked(mark: &str) -> Marked {
    let (mut found, mut starting) = (Vec::new(), false);
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(Ok(pid)) = process.file_name().to_str().map(str::parse) else {
            continue;
        };
        // Processes of other users cannot be read, and are not ours.
        let Ok(environment) = std::fs::read(process.path().join("environ")) else {
            continue;
        };
        if environment.is_empty() {
            // Ended processes and kernel threads have no executable.
            starting |= std::fs::read_link(process.path().join("exe")).is_ok();
        } else if memchr::memmem::find(&environment, mark.as_bytes()).is_some() {
            found.push(pid);
        }
    }
    Marked { found, starting }
}

/// The children of `pid`, their children, and so on. Only Linux lists them; elsewhere none are found.
fn descendants(pid: u32) -> Vec<i32> {
    let mut all = Vec::new();
    let mut next = vec![i64::from(pid)];
    while let Some(pid) = next.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            for child in children.unwrap_or_default().split_ascii_whitespace() {
                if let Ok(child) = child.parse::<i32>() {
                    all.push(child);
                    next.push(i64::from(child));
                }
            }
        }
    }
    all
}

/// Limits the address space of a process and of all processes that it starts from now on.
/// Allocations beyond the limit fail; most programs then exit with an error message.
#[cfg(target_os = "linux")]
fn limit_memory(pid: u32, bytes: u64) -> std::io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match prlimit(pid, Resource::As, limit) {
        // The process has already ended.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map(drop).map_err(Into::into),
    }
}

#[cfg(not(target_os = "linux"))]
fn limit_memory(_: u32, _: u64) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}
