//! A running program: its pipes, its last words, its end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowmill_domain::config::{BATCH_FILE_S3_URL, BATCH_FILE_TYPE, ROWMILL_PROGRAM, SECRET_PREFIX};
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::Fetch;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::redacting::redact;
use crate::{SetupError, brief};

/// Lines of stderr kept, the last ones.
const WORDS_LINES: usize = 8;
/// Characters of them that a cell gets.
const WORDS_MAX: usize = 500;
/// Bytes of a line of stderr; what is beyond is dropped.
const WORDS_LINE_MAX: u64 = 2000;
/// How long a dead program's stderr is waited for: another process may hold it open.
const WORDS_WAIT: Duration = Duration::from_millis(500);
/// How long a dead program's stdout is read for the same reason. What the program itself wrote is
/// there at once; the rest is for a helper at its end, as `tee`.
const STDOUT_WAIT: Duration = Duration::from_millis(250);
/// How often it is looked for what a killed program's processes had started meanwhile.
const SWEEPS: usize = 10;
/// The pause before those that may be another program's by now are looked at again.
const UNSURE_WAIT: Duration = Duration::from_millis(2);

/// How a program is started; found at setup.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    path: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    memory_mib: Option<u32>,
    secrets: Arc<Secrets>,
    /// Further variables of its environment.
    environment: Vec<(&'static str, String)>,
}

/// A program at work.
pub(super) struct Process {
    pub(super) child: Child,
    /// `None` once the program's input is ended.
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    words: Arc<Mutex<VecDeque<String>>>,
    listener: JoinHandle<()>,
    secrets: Arc<Secrets>,
    /// In its environment, as `NAME=value`.
    mark: String,
    killed: bool,
}

impl Launch {
    /// Finds the program: a path is relative to `directory`, a bare name is looked for in PATH.
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH is the system's, and no setting of ours"
    )]
    pub(super) fn find(
        program: &[String],
        directory: &Path,
        memory_mib: Option<u32>,
        secrets: &Arc<Secrets>,
    ) -> Result<Launch, SetupError> {
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
        Ok(Launch {
            path: std::path::absolute(&path).unwrap_or(path),
            arguments: program[1..].to_vec(),
            directory: directory.to_path_buf(),
            memory_mib,
            secrets: secrets.clone(),
            environment: Vec::new(),
        })
    }

    /// The same, told where it was fetched from.
    pub(super) fn with_fetched(mut self, fetch: Option<&Fetch>) -> Launch {
        if let Some(fetch) = fetch {
            self.environment = vec![
                (BATCH_FILE_TYPE, fetch.kind.name().to_owned()),
                (BATCH_FILE_S3_URL, fetch.url.clone()),
            ];
        }
        self
    }

    /// Takes the values that the program was given out of what it wrote.
    pub(super) fn redact(&self, text: &mut String) {
        redact(&self.secrets, text);
    }

    /// The program's name for reasons.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Starts it. It stays in our process group: whoever kills that, as the local Batch does when
    /// a child ends, kills the program too.
    pub(super) fn start(&self) -> std::io::Result<Process> {
        let mut command = tokio::process::Command::new(&self.path);
        for (name, value) in self.secrets.iter() {
            // By its own name, once.
            command.env_remove(format!("{SECRET_PREFIX}{name}"));
            command.env(name, value);
        }
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
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let listener = tokio::spawn(listen(BufReader::new(stderr), words.clone()));
        Ok(Process {
            secrets: self.secrets.clone(),
            child,
            stdin: Some(stdin),
            stdout,
            words,
            listener,
            mark: format!("{ROWMILL_PROGRAM}={mark}"),
            killed: false,
        })
    }
}

/// Keeps the last lines of stderr; reads to its end, so that the program never blocks on it.
async fn listen(
    mut stderr: BufReader<tokio::process::ChildStderr>,
    words: Arc<Mutex<VecDeque<String>>>,
) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut stderr)
            .take(WORDS_LINE_MAX)
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
        if let Ok(mut words) = words.lock() {
            if words.len() == WORDS_LINES {
                words.pop_front();
            }
            words.push_back(text.to_owned());
        }
    }
}

impl Process {
    /// The last lines of stderr so far, newest last, for a cell; empty where there are none.
    pub(super) fn words(&self) -> String {
        let lines: Vec<String> = match self.words.lock() {
            Ok(words) => words.iter().cloned().collect(),
            Err(_) => Vec::new(),
        };
        // Before it is cut to size, and in the middle of a secret perhaps.
        let mut text = lines.join(" | ");
        redact(&self.secrets, &mut text);
        // The end says most: a Python traceback ends in the error.
        let skip = text.chars().count().saturating_sub(WORDS_MAX);
        brief(&text.chars().skip(skip).collect::<String>(), WORDS_MAX)
    }

    /// Kills what still runs of the program and of what it started, reaps it, and gives how it
    /// ended and its last words.
    pub(super) async fn end(mut self) -> (Option<ExitStatus>, String) {
        self.kill();
        drop(self.stdin.take());
        let status = self.child.wait().await.ok();
        if tokio::time::timeout(WORDS_WAIT, &mut self.listener)
            .await
            .is_err()
        {
            self.listener.abort();
        }
        (status, self.words())
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
            // First the program, so that it cannot start more, then what it had started.
            let offspring = self.child.id().map(descendants).unwrap_or_default();
            let _ = self.child.start_kill();
            offspring.into_iter().for_each(kill);
        }
        let mut known = Vec::new();
        for _ in 0..SWEEPS {
            let Marked { mut found, unsure } = marked(&self.mark);
            found.retain(|pid| !known.contains(pid));
            if found.is_empty() {
                if !unsure {
                    break;
                }
                std::thread::sleep(UNSURE_WAIT);
            }
            found.iter().copied().for_each(kill);
            known.extend(found);
        }
    }
}

impl Drop for Process {
    /// Where nobody waits for its end, as where the step is dropped at its work.
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns once the program has ended and what it wrote can be read.
pub(super) async fn gone(child: &mut Child) {
    // An error says that there is nothing to wait for.
    let _ = child.wait().await;
    tokio::time::sleep(STDOUT_WAIT).await;
}

/// What is known of the processes of a program.
struct Marked {
    found: Vec<i32>,
    /// Whether some process shows an empty environment, as one does for a moment when another
    /// program begins in it.
    unsure: bool,
}

/// The processes with `mark` in their environment, of whatever group, session or parent they are.
/// Linux tells; elsewhere none.
fn marked(mark: &str) -> Marked {
    let (mut found, mut unsure) = (Vec::new(), false);
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(Ok(pid)) = process.file_name().to_str().map(str::parse) else {
            continue;
        };
        // Others' processes do not show theirs, and are none of ours.
        let Ok(environment) = std::fs::read(process.path().join("environ")) else {
            continue;
        };
        if environment.is_empty() {
            // What has ended has no program, and neither have the kernel's threads.
            unsure |= std::fs::read_link(process.path().join("exe")).is_ok();
        } else if memchr::memmem::find(&environment, mark.as_bytes()).is_some() {
            found.push(pid);
        }
    }
    Marked { found, unsure }
}

/// The processes that `pid` started, and those that they did. Linux tells; elsewhere none.
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

/// Limits the address space of a process and of what it starts from now on: what it asks for
/// beyond is refused to it, which most programs end on and say so.
#[cfg(target_os = "linux")]
fn limit_memory(pid: u32, bytes: u64) -> std::io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match prlimit(pid, Resource::As, limit) {
        // It has ended already.
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
