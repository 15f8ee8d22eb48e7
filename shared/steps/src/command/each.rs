//! One process for each record: it reads one line, answers one, and ends.

use std::sync::MutexGuard;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::process::{Process, gone};
use super::wire::{self, Said};
use super::{Command, LINE_MAX};
use crate::StepResult;

impl Command {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        match self.breaker.lock() {
            Ok(breaker) => breaker,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Works on the record of `row` with processes of its own, as often as the step allows.
    pub(super) async fn each(&self, row: u32, line: &[u8]) -> StepResult {
        let mut attempt = 1;
        loop {
            if let Some(why) = self.breaker().given_up() {
                return StepResult::failed(why, attempt);
            }
            let mut process = match self.launch.start() {
                Ok(process) => process,
                Err(e) => {
                    let reason = format!("`{}` cannot be started: {e}", self.launch.name());
                    return StepResult::failed(reason, attempt);
                }
            };
            let start = Instant::now();
            let mut said = Vec::with_capacity(4096);
            let talk = converse(&mut process, line, &mut said);
            let late = tokio::time::timeout(self.timeout, talk).await.is_err();
            if late {
                // The line that it is at may be half an answer.
                said.truncate(memchr::memrchr(b'\n', &said).map_or(0, |at| at + 1));
            }
            // It has closed its output or is out of time; what it does after that is not ours.
            let left = self.timeout.saturating_sub(start.elapsed());
            let grace = left.min(Duration::from_secs(1));
            let _ = tokio::time::timeout(grace, process.child.wait()).await;
            let (status, words) = process.end().await;
            let answer = said
                .split(|b| *b == b'\n')
                .filter_map(|line| match wire::read(line, &self.outputs) {
                    Said::Answer(of, outputs) if of == row => Some(outputs),
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
            if late {
                let name = self.launch.name();
                let reason = format!("`{name}` gave no answer within {:?}", self.timeout);
                self.breaker().timed_out(&reason);
            }
            if attempt >= self.attempts {
                let name = self.launch.name();
                let status = status.map_or_else(|| "unknown status".to_owned(), |s| s.to_string());
                let mut reason = if late {
                    format!("`{name}` gave no answer within {:?}", self.timeout)
                } else if said.len() >= LINE_MAX {
                    let mib = LINE_MAX / (1024 * 1024);
                    format!("`{name}` wrote more than {mib} MiB")
                } else {
                    format!("`{name}` ended ({status}) without an answer")
                };
                if !words.is_empty() {
                    reason += &format!("; its last words: {words}");
                }
                return StepResult::failed(reason, attempt);
            }
            attempt += 1;
        }
    }
}

/// Hands over the line, ends the input, and hears the program out, up to [`LINE_MAX`] bytes: to the
/// end of its output, or its own, where something that it started holds the output open.
async fn converse(process: &mut Process, line: &[u8], heard: &mut Vec<u8>) {
    let Process {
        child,
        stdin,
        stdout,
        ..
    } = process;
    let write = async {
        if let Some(mut stdin) = stdin.take() {
            // A program need not read what it does not want.
            let _ = stdin.write_all(line).await;
        }
    };
    let read = async {
        while heard.len() < LINE_MAX && matches!(stdout.read_buf(heard).await, Ok(1..)) {}
    };
    tokio::select! {
        _ = async { tokio::join!(write, read) } => {}
        () = gone(child) => {}
    }
}
