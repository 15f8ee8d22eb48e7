//! One process per record: it reads one line, answers with one line, and ends.

use std::sync::MutexGuard;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::process::{Process, wait_for_end};
use super::wire::{self, Line};
use super::{Command, LINE_MAX};
use crate::StepResult;

impl Command {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        match self.breaker.lock() {
            Ok(breaker) => breaker,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Runs a process for the record in `row`, again if it fails and the step allows more attempts.
    pub(super) async fn run_process(&self, row: u32, line: &[u8]) -> StepResult {
        let mut attempt = 1;
        loop {
            if let Some(why) = self.breaker().abandoned() {
                return StepResult::failed(why, attempt);
            }
            let mut process = match self.program.start() {
                Ok(process) => process,
                Err(e) => {
                    let reason = format!("cannot start `{}`: {e}", self.program.name());
                    return StepResult::failed(reason, attempt);
                }
            };
            let start = Instant::now();
            let mut output = Vec::with_capacity(4096);
            let exchange = exchange(&mut process, line, &mut output);
            let timed_out = tokio::time::timeout(self.timeout, exchange).await.is_err();
            if timed_out {
                // The last line may be incomplete.
                output.truncate(memchr::memrchr(b'\n', &output).map_or(0, |at| at + 1));
            }
            // The process has closed its output or timed out. Wait briefly for its exit status.
            let left = self.timeout.saturating_sub(start.elapsed());
            let grace = left.min(Duration::from_secs(1));
            let _ = tokio::time::timeout(grace, process.child.wait()).await;
            let (status, stderr) = process.end().await;
            let answer = output
                .split(|b| *b == b'\n')
                .filter_map(|line| match wire::read(line, &self.outputs) {
                    Line::Answer(answered, outputs) if answered == row => Some(outputs),
                    _ => None,
                })
                .next_back();
            if let Some(outputs) = answer {
                self.breaker().answered();
                return StepResult {
                    outputs,
                    attempts: attempt,
                    notes: Vec::new(),
                };
            }
            if timed_out {
                let name = self.program.name();
                let reason = format!("`{name}` did not answer within {:?}", self.timeout);
                self.breaker().timed_out(&reason);
            }
            if attempt >= self.attempts {
                let name = self.program.name();
                let status = status.map_or_else(|| "unknown status".to_owned(), |s| s.to_string());
                let mut reason = if timed_out {
                    format!("`{name}` did not answer within {:?}", self.timeout)
                } else if output.len() >= LINE_MAX {
                    let mib = LINE_MAX / (1024 * 1024);
                    format!("`{name}` wrote more than {mib} MiB")
                } else {
                    format!("`{name}` exited without an answer ({status})")
                };
                if !stderr.is_empty() {
                    reason += &format!("; last output on stderr: {stderr}");
                }
                return StepResult::failed(reason, attempt);
            }
            attempt += 1;
        }
    }
}

/// Writes the line, closes the input, and reads up to [`LINE_MAX`] bytes of output. Ends when the
/// output is closed, or when the process has ended while another process keeps the output open.
async fn exchange(process: &mut Process, line: &[u8], output: &mut Vec<u8>) {
    let Process {
        child,
        stdin,
        stdout,
        ..
    } = process;
    let write = async {
        if let Some(mut stdin) = stdin.take() {
            // The program may ignore its input.
            let _ = stdin.write_all(line).await;
        }
    };
    let read = async {
        while output.len() < LINE_MAX && matches!(stdout.read_buf(output).await, Ok(1..)) {}
    };
    tokio::select! {
        _ = async { tokio::join!(write, read) } => {}
        () = wait_for_end(child) => {}
    }
}
