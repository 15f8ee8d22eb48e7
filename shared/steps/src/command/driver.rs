//! Who waits for what, and whose fault it is when the program crashes or hangs.
//!
//! Records go to the program as they come, several at once, so that it never waits for us. The
//! price is that a crash does not say which record was at fault. So all that were with the
//! program become suspects and go to it again one at a time: the one that ends a fresh program
//! is the culprit and gets the crash as an attempt, and the rest goes on at full speed. A record
//! may therefore reach the program more than once; an innocent one is never failed for another.
//!
//! The time limit counts from when the record was the program's turn: while the program answers
//! others, a record waits; where it answers nothing for that long, it is stopped, and the suspects
//! are tried alone, where the limit is exactly the record's own. A record that stays unanswered
//! although all that could be before it are done is stopped for itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::LINE_MAX;
use super::breaker::Breaker;
use super::process::{Launch, Process, gone};
use super::wire::{self, Said};
use crate::{StepResult, brief};

/// Records taken from the callers at a time.
const MANY: usize = 256;
/// Bytes made ready for the program ahead of its reading.
const AHEAD: usize = 256 * 1024;
/// A program that takes less than this for an answer is fast: it is fed in batches, since a line
/// at a time would cost it and us a system call each.
const FAST: Duration = Duration::from_micros(50);
/// Longest time that a record is held back for a batch.
const HOLD: Duration = Duration::from_millis(1);
/// How long a program may take to end by itself after its input has ended.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// A record for the program.
pub(super) struct Job {
    row: u32,
    line: Vec<u8>,
    reply: oneshot::Sender<StepResult>,
    /// How often it is known to have ended the program.
    faults: u32,
    /// Its place in the order of writing; the time, and how many were before it.
    order: u64,
    given: Instant,
    before: u32,
}

impl Job {
    pub(super) fn new(row: u32, line: Vec<u8>, reply: oneshot::Sender<StepResult>) -> Job {
        Job {
            row,
            line,
            reply,
            faults: 0,
            order: 0,
            given: Instant::now(),
            before: 0,
        }
    }
}

pub(super) struct Driver {
    launch: Launch,
    outputs: Vec<Arc<str>>,
    timeout: Duration,
    attempts: u32,
    /// Not with the program.
    waiting: VecDeque<Job>,
    /// Not with the program, and only to be given to it alone.
    suspects: VecDeque<Job>,
    /// With the program, by row.
    flight: HashMap<u32, Job>,
    /// Records given to this process, and whether it answered any.
    given: u64,
    answered: bool,
    /// When the program last got to work or answered.
    progress: Instant,
    /// Mean time for an answer lately.
    pace: Duration,
    /// The last line of the program's that is no answer.
    chatter: String,
    breaker: Breaker,
}

/// Why a conversation with a process ended.
enum End {
    /// There are no more records.
    Closed,
    /// The program has ended, or closed its output and is as good as ended.
    Gone,
    /// It answered nothing within the time limit.
    Silent,
    /// It answers others, but not this row.
    Stuck(u32),
    /// It wrote more than [`LINE_MAX`] bytes without a line end.
    Overlong,
}

impl Driver {
    pub(super) fn new(
        launch: Launch,
        outputs: Vec<Arc<str>>,
        timeout: Duration,
        attempts: u32,
    ) -> Driver {
        Driver {
            launch,
            outputs,
            timeout,
            attempts,
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            flight: HashMap::new(),
            given: 0,
            answered: false,
            progress: Instant::now(),
            pace: Duration::MAX,
            chatter: String::new(),
            breaker: Breaker::default(),
        }
    }

    /// Works until `jobs` or `close` ends, and leaves no process behind.
    pub(super) async fn run(
        mut self,
        mut jobs: mpsc::UnboundedReceiver<Job>,
        mut close: oneshot::Receiver<()>,
    ) {
        loop {
            if self.waiting.is_empty() && self.suspects.is_empty() {
                let job = tokio::select! {
                    biased;
                    _ = &mut close => None,
                    job = jobs.recv() => job,
                };
                match job {
                    Some(job) => self.waiting.push_back(job),
                    None => return,
                }
            }
            if let Some(why) = self.breaker.given_up() {
                for job in self.suspects.drain(..).chain(self.waiting.drain(..)) {
                    let _ = job.reply.send(StepResult::failed(why, job.faults.max(1)));
                }
                continue;
            }
            let mut process = match self.launch.start() {
                Ok(process) => process,
                Err(e) => {
                    let reason = format!("`{}` cannot be started: {e}", self.launch.name());
                    for job in self.suspects.drain(..).chain(self.waiting.drain(..)) {
                        let _ = job.reply.send(StepResult::failed(reason.as_str(), 1));
                    }
                    continue;
                }
            };
            self.given = 0;
            self.answered = false;
            self.pace = Duration::MAX;
            self.chatter.clear();
            let end = self.converse(&mut process, &mut jobs, &mut close).await;
            if let End::Closed = end {
                dismiss(process).await;
                return;
            }
            let (status, words) = process.end().await;
            let status = status.map_or_else(|| "unknown status".to_owned(), |s| s.to_string());
            self.judge(end, &status, &words);
        }
    }

    /// Hands records to a process and their answers to the callers, until one side ends it.
    async fn converse(
        &mut self,
        process: &mut Process,
        jobs: &mut mpsc::UnboundedReceiver<Job>,
        close: &mut oneshot::Receiver<()>,
    ) -> End {
        let Process {
            child,
            stdin,
            stdout,
            ..
        } = process;
        let mut out = BytesMut::new();
        let mut heard = BytesMut::with_capacity(64 * 1024);
        let mut scanned = 0;
        let mut batch = Vec::with_capacity(MANY);
        let timer = tokio::time::sleep(self.timeout);
        let hold = tokio::time::sleep(HOLD);
        // Its output does not end with it where something that it started holds it open.
        let gone = gone(child);
        tokio::pin!(timer, hold, gone);
        let mut held = false;
        let mut release = false;
        loop {
            let idle = self.flight.is_empty();
            match (self.is_fed() && !release, held) {
                (true, false) => {
                    hold.as_mut().reset(Instant::now() + HOLD);
                    held = true;
                }
                (true, true) => {}
                (false, _) => {
                    self.admit(&mut out);
                    held = false;
                    release = false;
                }
            }
            if idle && !self.flight.is_empty() {
                self.progress = Instant::now();
                timer.as_mut().reset(self.progress + self.timeout);
            }
            tokio::select! {
                biased;
                _ = &mut *close => return End::Closed,
                read = stdout.read_buf(&mut heard) => match read {
                    Ok(0) | Err(_) => return End::Gone,
                    Ok(_) => {
                        self.hear(&mut heard, &mut scanned);
                        if heard.len() > LINE_MAX {
                            return End::Overlong;
                        }
                        heard.reserve(16 * 1024);
                    }
                },
                written = write(stdin, &out), if !out.is_empty() && stdin.is_some() => match written {
                    Ok(n) => out.advance(n),
                    // It reads no more; what it still says is worth hearing, up to its end.
                    Err(_) => *stdin = None,
                },
                () = &mut gone => return End::Gone,
                n = jobs.recv_many(&mut batch, MANY) => match n {
                    0 => return End::Closed,
                    _ => self.waiting.extend(batch.drain(..)),
                },
                () = &mut hold, if held => release = true,
                () = &mut timer, if !self.flight.is_empty() => {
                    let now = Instant::now();
                    if let Some(end) = self.overdue(now) {
                        return end;
                    }
                    timer.as_mut().reset((self.progress + self.timeout).max(now + self.timeout / 4));
                }
            }
        }
    }

    /// Whether a fast program has enough to go on with that what waits is better given later, as
    /// a batch.
    fn is_fed(&self) -> bool {
        self.pace < FAST
            && (1..self.flight.len()).contains(&self.waiting.len())
            && self.suspects.is_empty()
    }

    /// Gives the program what it may have now: a suspect alone, else all that wait.
    fn admit(&mut self, out: &mut BytesMut) {
        self.suspects.retain(|job| !job.reply.is_closed());
        if !self.suspects.is_empty() {
            if self.flight.is_empty()
                && let Some(job) = self.suspects.pop_front()
            {
                self.give(job, out, true);
            }
            return;
        }
        if self.flight.values().any(|job| job.alone()) {
            return;
        }
        while out.len() < AHEAD
            && let Some(job) = self.waiting.pop_front()
        {
            // Nobody waits for the answer any more.
            if !job.reply.is_closed() {
                self.give(job, out, false);
            }
        }
    }

    fn give(&mut self, mut job: Job, out: &mut BytesMut, alone: bool) {
        out.extend_from_slice(&job.line);
        job.order = self.given;
        job.given = Instant::now();
        job.before = if alone {
            ALONE
        } else {
            self.flight.len() as u32
        };
        self.given += 1;
        self.flight.insert(job.row, job);
    }

    /// Takes whole lines out of what was heard; `scanned` bytes are known to hold no line end.
    fn hear(&mut self, heard: &mut BytesMut, scanned: &mut usize) {
        let before = self.flight.len();
        while let Some(at) = memchr::memchr(b'\n', &heard[*scanned..]) {
            let line = heard.split_to(*scanned + at + 1);
            *scanned = 0;
            match wire::read(&line, &self.outputs) {
                Said::Answer(row, outputs) => match self.flight.remove(&row) {
                    Some(job) => {
                        self.answered = true;
                        let _ = job.reply.send(StepResult {
                            outputs,
                            attempts: job.faults + 1,
                            notes: Vec::new(),
                        });
                    }
                    None => self.note(&line),
                },
                Said::Chatter => self.note(&line),
            }
        }
        *scanned = heard.len();
        let answers = (before - self.flight.len()) as u32;
        if answers > 0 {
            let now = Instant::now();
            let each = (now - self.progress) / answers;
            self.pace = match self.pace {
                Duration::MAX => each,
                pace => (pace * 7 + each) / 8,
            };
            // Chatter is no progress.
            self.progress = now;
            self.breaker.answered();
        }
    }

    fn note(&mut self, line: &[u8]) {
        if !line.trim_ascii().is_empty() {
            let mut text = String::from_utf8_lossy(line).into_owned();
            // Here, since it goes into the log as well.
            self.launch.redact(&mut text);
            self.chatter = brief(&text, 120);
        }
    }

    /// Whether the program is silent for too long, or a record stuck; see the module.
    fn overdue(&self, now: Instant) -> Option<End> {
        if now >= self.progress + self.timeout {
            return Some(End::Silent);
        }
        self.flight
            .values()
            .filter(|job| now >= job.given + self.timeout.saturating_mul(job.turn()))
            .min_by_key(|job| job.order)
            .map(|job| End::Stuck(job.row))
    }

    /// Finds the culprit of a process's end, or the suspects.
    fn judge(&mut self, end: End, status: &str, words: &str) {
        let reason = self.reason(&end, status, words);
        tracing::debug!(program = self.launch.name(), reason, "the program ended");
        let mut flight: Vec<Job> = self.flight.drain().map(|(_, job)| job).collect();
        flight.sort_by_key(|job| job.order);
        let culprit = match (&end, flight.len()) {
            (End::Stuck(row), _) => flight.iter().position(|job| job.row == *row),
            // A program that ends after its nth answer does so by its own count; only the record
            // that ends a fresh one is surely the reason.
            (End::Gone, 1) if self.given > 1 => None,
            (_, 1) => Some(0),
            _ => None,
        };
        let Some(culprit) = culprit else {
            self.suspects = flight.into_iter().chain(self.suspects.drain(..)).collect();
            return;
        };
        if matches!(end, End::Silent | End::Stuck(_)) {
            self.breaker.timed_out(&reason);
        }
        let mut culprit = flight.remove(culprit);
        // The others are cleared, and go before what has not been given yet.
        let cleared = flight.into_iter().chain(self.suspects.drain(..));
        for job in cleared.collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(job);
        }
        culprit.faults += 1;
        if culprit.faults < self.attempts {
            self.suspects.push_back(culprit);
        } else {
            let _ = culprit
                .reply
                .send(StepResult::failed(reason, culprit.faults));
        }
    }

    fn reason(&self, end: &End, status: &str, words: &str) -> String {
        let name = self.launch.name();
        let mut reason = match end {
            End::Gone | End::Closed => format!("`{name}` ended ({status}) on this record"),
            End::Silent | End::Stuck(_) => {
                format!("`{name}` gave no answer within {:?}", self.timeout)
            }
            End::Overlong => format!(
                "`{name}` wrote a line longer than {} MiB",
                LINE_MAX / (1024 * 1024)
            ),
        };
        if !words.is_empty() {
            reason += &format!("; its last words: {words}");
        }
        if !self.chatter.is_empty() {
            reason += &format!("; it also wrote what is no answer: {}", self.chatter);
        }
        if matches!(end, End::Silent | End::Stuck(_)) && !self.answered {
            reason += "; does it write one line for each record, and flush it?";
        }
        reason
    }
}

/// [`Job::before`] of a record that the program has alone.
const ALONE: u32 = u32::MAX;

impl Job {
    fn alone(&self) -> bool {
        self.before == ALONE
    }

    /// How many time limits may pass until this record must be answered, those before it counted.
    fn turn(&self) -> u32 {
        if self.alone() { 1 } else { self.before + 1 }
    }
}

async fn write(
    stdin: &mut Option<tokio::process::ChildStdin>,
    bytes: &[u8],
) -> std::io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => std::future::pending().await,
    }
}

/// Ends a program's input, lets it finish, and kills it where it does not.
async fn dismiss(mut process: Process) {
    drop(process.stdin.take());
    let Process { child, stdout, .. } = &mut process;
    // It may write until it ends, and must not wait for us.
    let drain = async {
        let mut rest = [0; 4096];
        while matches!(stdout.read(&mut rest).await, Ok(1..)) {}
        std::future::pending().await
    };
    let finished = async {
        tokio::select! {
            _ = child.wait() => {}
            () = drain => {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_WAIT, finished).await;
    process.end().await;
}

#[cfg(test)]
mod tests {
    use rowmill_domain::secret::Secrets;

    use super::*;

    #[test]
    fn what_is_kept_of_a_programs_chatter_holds_no_secret() {
        let secrets: Secrets = [("KEY", "s3cret-s3cret")].into_iter().collect();
        let program = ["sh".to_owned()];
        let launch = Launch::find(&program, &std::env::temp_dir(), None, &Arc::new(secrets));
        let mut driver = Driver::new(launch.unwrap(), Vec::new(), Duration::from_secs(1), 1);
        driver.note(b"using s3cret-s3cret\n");
        assert_eq!(driver.chatter, "using [secret KEY]");
        // Also where the text is cut within it.
        let long = format!("{} s3cret-s3cret", "x".repeat(115));
        driver.note(long.as_bytes());
        assert!(!driver.chatter.contains("s3c"), "{}", driver.chatter);
    }
}
