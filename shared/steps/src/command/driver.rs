//! Sends records to the long-lived program, assigns its answers, and finds out which record made it
//! crash or hang.
//!
//! The program gets several records at once, so that it never waits for input. A crash therefore
//! does not show which record caused it. All records in flight become suspects and are sent again
//! one at a time: the one that crashes a new process is the culprit, and the crash counts as one of
//! its attempts. The others continue at full speed. A record may thus reach the program more than
//! once, but never fails because of another record.
//!
//! The time limit of a record starts when the program can work on it. While the program answers
//! other records, the record waits. If the program answers nothing for the whole limit, it is
//! stopped and the suspects are sent one at a time, each with exactly its own limit. If a record
//! stays unanswered although all records before it must be done, the program is stopped because of
//! that record.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::LINE_MAX;
use super::breaker::Breaker;
use super::process::{Process, Program, wait_for_end};
use super::wire::{self, Line};
use crate::{StepResult, truncate};

/// Records received from the callers at a time.
const RECEIVE_MAX: usize = 256;
/// Bytes buffered for the program.
const BUFFER_MAX: usize = 256 * 1024;
/// A program that needs less than this per answer is fast and gets its records in batches: single
/// lines would cost both sides a system call each.
const FAST: Duration = Duration::from_micros(50);
/// Longest time that a record is held back for a batch.
const HOLD: Duration = Duration::from_millis(1);
/// How long a program may take to exit after its input is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// A record that waits for the program's answer.
pub(super) struct PendingRecord {
    row: u32,
    line: Vec<u8>,
    reply: oneshot::Sender<StepResult>,
    /// How often the record made the program crash or hang.
    failures: u32,
    /// The position among the records sent to this process.
    order: u64,
    sent_at: Instant,
    /// How many records the program had at that time, or [`ALONE`].
    ahead: u32,
}

impl PendingRecord {
    pub(super) fn new(
        row: u32,
        line: Vec<u8>,
        reply: oneshot::Sender<StepResult>,
    ) -> PendingRecord {
        PendingRecord {
            row,
            line,
            reply,
            failures: 0,
            order: 0,
            sent_at: Instant::now(),
            ahead: 0,
        }
    }
}

pub(super) struct Driver {
    program: Program,
    outputs: Vec<Arc<str>>,
    timeout: Duration,
    attempts: u32,
    /// Records that the program does not have.
    waiting: VecDeque<PendingRecord>,
    /// Records not yet sent to the program, which are sent one at a time.
    suspects: VecDeque<PendingRecord>,
    /// Records that the program has, by row.
    in_flight: HashMap<u32, PendingRecord>,
    /// Number of records sent to this process.
    sent: u64,
    /// Whether this process has answered a record.
    answered: bool,
    /// When the program last answered, or got a record while it had none.
    progress: Instant,
    /// Moving average of the time per answer.
    answer_time: Duration,
    /// The last line that was not an answer.
    last_log: String,
    breaker: Breaker,
}

/// Why the exchange with a process ended.
enum End {
    /// There are no more records.
    Closed,
    /// The program exited or closed its output.
    Exited,
    /// The program answered no record within the time limit.
    Silent,
    /// The program answered other records, but not this row.
    Stuck(u32),
    /// The program wrote more than [`LINE_MAX`] bytes without a line end.
    LineTooLong,
}

impl Driver {
    pub(super) fn new(
        program: Program,
        outputs: Vec<Arc<str>>,
        timeout: Duration,
        attempts: u32,
    ) -> Driver {
        Driver {
            program,
            outputs,
            timeout,
            attempts,
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            in_flight: HashMap::new(),
            sent: 0,
            answered: false,
            progress: Instant::now(),
            answer_time: Duration::MAX,
            last_log: String::new(),
            breaker: Breaker::default(),
        }
    }

    /// Runs until `records` or `close` is closed. Leaves no process behind.
    pub(super) async fn run(
        mut self,
        mut records: mpsc::UnboundedReceiver<PendingRecord>,
        mut close: oneshot::Receiver<()>,
    ) {
        loop {
            if self.waiting.is_empty() && self.suspects.is_empty() {
                let record = tokio::select! {
                    biased;
                    _ = &mut close => None,
                    record = records.recv() => record,
                };
                match record {
                    Some(record) => self.waiting.push_back(record),
                    None => return,
                }
            }
            if let Some(reason) = self.breaker.abandoned() {
                for record in self.suspects.drain(..).chain(self.waiting.drain(..)) {
                    let _ = record
                        .reply
                        .send(StepResult::failed(reason, record.failures.max(1)));
                }
                continue;
            }
            let mut process = match self.program.start() {
                Ok(process) => process,
                Err(e) => {
                    let reason = format!("cannot start `{}`: {e}", self.program.name());
                    for record in self.suspects.drain(..).chain(self.waiting.drain(..)) {
                        let _ = record.reply.send(StepResult::failed(reason.as_str(), 1));
                    }
                    continue;
                }
            };
            self.sent = 0;
            self.answered = false;
            self.answer_time = Duration::MAX;
            self.last_log.clear();
            let end = self.exchange(&mut process, &mut records, &mut close).await;
            if let End::Closed = end {
                shut_down(process).await;
                return;
            }
            let (status, stderr) = process.end().await;
            let status = status.map_or_else(|| "unknown status".to_owned(), |s| s.to_string());
            self.assign_blame(end, &status, &stderr);
        }
    }

    /// Sends records to a process and its answers to the callers, until one side ends the exchange.
    async fn exchange(
        &mut self,
        process: &mut Process,
        records: &mut mpsc::UnboundedReceiver<PendingRecord>,
        close: &mut oneshot::Receiver<()>,
    ) -> End {
        let Process {
            child,
            stdin,
            stdout,
            ..
        } = process;
        let mut out = BytesMut::new();
        let mut received = BytesMut::with_capacity(64 * 1024);
        let mut scanned = 0;
        let mut batch = Vec::with_capacity(RECEIVE_MAX);
        let timer = tokio::time::sleep(self.timeout);
        let hold = tokio::time::sleep(HOLD);
        // Another process may keep the output open after the program has ended.
        let ended = wait_for_end(child);
        tokio::pin!(timer, hold, ended);
        let mut held = false;
        let mut release = false;
        loop {
            let idle = self.in_flight.is_empty();
            match (self.should_hold() && !release, held) {
                (true, false) => {
                    hold.as_mut().reset(Instant::now() + HOLD);
                    held = true;
                }
                (true, true) => {}
                (false, _) => {
                    self.send_waiting(&mut out);
                    held = false;
                    release = false;
                }
            }
            if idle && !self.in_flight.is_empty() {
                self.progress = Instant::now();
                timer.as_mut().reset(self.progress + self.timeout);
            }
            tokio::select! {
                biased;
                _ = &mut *close => return End::Closed,
                read = stdout.read_buf(&mut received) => match read {
                    Ok(0) | Err(_) => return End::Exited,
                    Ok(_) => {
                        self.receive(&mut received, &mut scanned);
                        if received.len() > LINE_MAX {
                            return End::LineTooLong;
                        }
                        received.reserve(16 * 1024);
                    }
                },
                written = write(stdin, &out), if !out.is_empty() && stdin.is_some() => match written {
                    Ok(n) => out.advance(n),
                    // The program reads no more input, but may still write answers.
                    Err(_) => *stdin = None,
                },
                () = &mut ended => return End::Exited,
                n = records.recv_many(&mut batch, RECEIVE_MAX) => match n {
                    0 => return End::Closed,
                    _ => self.waiting.extend(batch.drain(..)),
                },
                () = &mut hold, if held => release = true,
                () = &mut timer, if !self.in_flight.is_empty() => {
                    let now = Instant::now();
                    if let Some(end) = self.overdue(now) {
                        return end;
                    }
                    timer.as_mut().reset((self.progress + self.timeout).max(now + self.timeout / 4));
                }
            }
        }
    }

    /// Whether to hold records back for a batch: the program is fast and still has enough records.
    fn should_hold(&self) -> bool {
        self.answer_time < FAST
            && (1..self.in_flight.len()).contains(&self.waiting.len())
            && self.suspects.is_empty()
    }

    /// Sends the records that the program may get now: one suspect alone, or all that wait.
    fn send_waiting(&mut self, out: &mut BytesMut) {
        self.suspects.retain(|record| !record.reply.is_closed());
        if !self.suspects.is_empty() {
            if self.in_flight.is_empty()
                && let Some(record) = self.suspects.pop_front()
            {
                self.send(record, out, true);
            }
            return;
        }
        if self.in_flight.values().any(|record| record.alone()) {
            return;
        }
        while out.len() < BUFFER_MAX
            && let Some(record) = self.waiting.pop_front()
        {
            // Skip records that were dropped.
            if !record.reply.is_closed() {
                self.send(record, out, false);
            }
        }
    }

    fn send(&mut self, mut record: PendingRecord, out: &mut BytesMut, alone: bool) {
        out.extend_from_slice(&record.line);
        record.order = self.sent;
        record.sent_at = Instant::now();
        record.ahead = if alone {
            ALONE
        } else {
            self.in_flight.len() as u32
        };
        self.sent += 1;
        self.in_flight.insert(record.row, record);
    }

    /// Takes complete lines out of `received`; its first `scanned` bytes contain no line end.
    fn receive(&mut self, received: &mut BytesMut, scanned: &mut usize) {
        let before = self.in_flight.len();
        while let Some(at) = memchr::memchr(b'\n', &received[*scanned..]) {
            let line = received.split_to(*scanned + at + 1);
            *scanned = 0;
            match wire::read(&line, &self.outputs) {
                Line::Answer(row, outputs) => match self.in_flight.remove(&row) {
                    Some(record) => {
                        self.answered = true;
                        let _ = record.reply.send(StepResult {
                            outputs,
                            attempts: record.failures + 1,
                            notes: Vec::new(),
                        });
                    }
                    None => self.log(&line),
                },
                Line::Log => self.log(&line),
            }
        }
        *scanned = received.len();
        let answers = (before - self.in_flight.len()) as u32;
        if answers > 0 {
            let now = Instant::now();
            let time = (now - self.progress) / answers;
            self.answer_time = match self.answer_time {
                Duration::MAX => time,
                average => (average * 7 + time) / 8,
            };
            // Only answers count as progress.
            self.progress = now;
            self.breaker.answered();
        }
    }

    fn log(&mut self, line: &[u8]) {
        if !line.trim_ascii().is_empty() {
            let mut text = String::from_utf8_lossy(line).into_owned();
            // Redacted here, because the text is logged, too.
            self.program.redact(&mut text);
            self.last_log = truncate(&text, 120);
        }
    }

    /// Whether the program or a record has exceeded the time limit; see the module documentation.
    fn overdue(&self, now: Instant) -> Option<End> {
        if now >= self.progress + self.timeout {
            return Some(End::Silent);
        }
        self.in_flight
            .values()
            .filter(|record| now >= record.sent_at + self.timeout.saturating_mul(record.limits()))
            .min_by_key(|record| record.order)
            .map(|record| End::Stuck(record.row))
    }

    /// Finds the record that ended the process, or makes all its records suspects.
    fn assign_blame(&mut self, end: End, status: &str, stderr: &str) {
        let reason = self.reason(&end, status, stderr);
        tracing::debug!(program = self.program.name(), reason, "the program ended");
        let mut in_flight: Vec<PendingRecord> =
            self.in_flight.drain().map(|(_, record)| record).collect();
        in_flight.sort_by_key(|record| record.order);
        let culprit = match (&end, in_flight.len()) {
            (End::Stuck(row), _) => in_flight.iter().position(|record| record.row == *row),
            // The program may exit after a number of answers. Only a record that ends a fresh
            // program is certainly the culprit.
            (End::Exited, 1) if self.sent > 1 => None,
            (_, 1) => Some(0),
            _ => None,
        };
        let Some(culprit) = culprit else {
            self.suspects = in_flight
                .into_iter()
                .chain(self.suspects.drain(..))
                .collect();
            return;
        };
        if matches!(end, End::Silent | End::Stuck(_)) {
            self.breaker.timed_out(&reason);
        }
        let mut culprit = in_flight.remove(culprit);
        // The others are cleared and go first, before the records that were never sent.
        let cleared = in_flight.into_iter().chain(self.suspects.drain(..));
        for record in cleared.collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(record);
        }
        culprit.failures += 1;
        if culprit.failures < self.attempts {
            self.suspects.push_back(culprit);
        } else {
            let _ = culprit
                .reply
                .send(StepResult::failed(reason, culprit.failures));
        }
    }

    fn reason(&self, end: &End, status: &str, stderr: &str) -> String {
        let name = self.program.name();
        let mut reason = match end {
            End::Exited | End::Closed => format!("`{name}` exited on this record ({status})"),
            End::Silent | End::Stuck(_) => {
                format!("`{name}` did not answer within {:?}", self.timeout)
            }
            End::LineTooLong => format!(
                "`{name}` wrote a line longer than {} MiB",
                LINE_MAX / (1024 * 1024)
            ),
        };
        if !stderr.is_empty() {
            reason += &format!("; last output on stderr: {stderr}");
        }
        if !self.last_log.is_empty() {
            reason += &format!(
                "; its output also contained a line that is not an answer: {}",
                self.last_log
            );
        }
        if matches!(end, End::Silent | End::Stuck(_)) && !self.answered {
            reason += "; check that it writes one line for each record and flushes its output";
        }
        reason
    }
}

/// [`PendingRecord::ahead`] of a record that the program gets alone.
const ALONE: u32 = u32::MAX;

impl PendingRecord {
    fn alone(&self) -> bool {
        self.ahead == ALONE
    }

    /// How many time limits may pass before the answer is due: one for each record ahead and its own.
    fn limits(&self) -> u32 {
        if self.alone() { 1 } else { self.ahead + 1 }
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

/// Closes a program's input, lets it exit, and kills it if it does not.
async fn shut_down(mut process: Process) {
    drop(process.stdin.take());
    let Process { child, stdout, .. } = &mut process;
    // Read its output until then, so that it does not block on a full pipe.
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
    fn log_lines_in_error_messages_contain_no_secret() {
        let secrets: Secrets = [("KEY", "s3cret-s3cret")].into_iter().collect();
        let command = ["sh".to_owned()];
        let program = Program::find(&command, &std::env::temp_dir(), None, &Arc::new(secrets));
        let mut driver = Driver::new(program.unwrap(), Vec::new(), Duration::from_secs(1), 1);
        driver.log(b"using s3cret-s3cret\n");
        assert_eq!(driver.last_log, "using [secret KEY]");
        // Even if the text is truncated within it.
        let long = format!("{} s3cret-s3cret", "x".repeat(115));
        driver.log(long.as_bytes());
        assert!(!driver.last_log.contains("s3c"), "{}", driver.last_log);
    }
}
