//! The fence around the readers: a thread of its own, so that a panic or a hang becomes an error,
//! and reading overlaps with the sink's work.

use std::cell::Cell as Flag;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::error::ReadError;
use super::options::ReadOptions;
use super::rows::{Assembler, Batch, Halt, Message};
use super::sink::{ReadSummary, RowSink};

/// Batches on their way to the sink; more would only wait.
const IN_FLIGHT: usize = 4;
/// Foreign readers may recurse; this is address space and not memory.
const STACK_BYTES: usize = 16 << 20;

thread_local! {
    static FENCED: Flag<bool> = const { Flag::new(false) };
}

/// Panics on a fenced thread are reported as errors, so nothing of them goes to stderr. The hook is
/// the process's; on all other threads it does what was there before.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !FENCED.with(Flag::get) {
                before(info);
            }
        }));
    });
}

/// What reads a file: on the fenced thread.
pub(crate) type Reader = fn(&Path, &ReadOptions, &mut Assembler) -> Result<ReadSummary, Halt>;

/// Runs `reader` behind the fence and hands what it reads to `sink` on this thread.
pub(crate) fn run(
    path: &Path,
    options: &ReadOptions,
    sink: &mut dyn RowSink,
    reader: Reader,
) -> Result<ReadSummary, ReadError> {
    quiet_panics();
    let (to_sink, from_reader) = mpsc::sync_channel(IN_FLIGHT);
    let (give_back, back) = mpsc::sync_channel(IN_FLIGHT);
    let (file, settings) = (path.to_owned(), options.clone());
    let thread = std::thread::Builder::new()
        .name("rowmill-workbook".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            FENCED.with(|fenced| fenced.set(true));
            let mut rows = Assembler::new(&file, &settings, to_sink, back);
            reader(&file, &settings, &mut rows)
        })
        .map_err(|e| ReadError::io(path, e))?;

    let mut rows = 0;
    let mut allowed = Duration::from_secs(options.limits.seconds);
    loop {
        let waiting = Instant::now();
        let message = match from_reader.recv_timeout(allowed) {
            Ok(message) => message,
            Err(RecvTimeoutError::Disconnected) => break,
            // The thread is left to itself: a thread cannot be ended from outside.
            Err(RecvTimeoutError::Timeout) => {
                return Err(ReadError::Limit {
                    file: path.to_owned(),
                    limit: "seconds",
                    found: options.limits.seconds + 1,
                    allowed: options.limits.seconds,
                });
            }
        };
        allowed = allowed.saturating_sub(waiting.elapsed());
        let flow = match message {
            Message::Header(header) => sink.header(&header),
            Message::Rows(mut batch) => {
                let flow = hand_on(&mut batch, &mut rows, sink);
                // A full or closed channel only costs the batch's memory.
                let _ = give_back.try_send(batch);
                flow
            }
        };
        if flow.is_break() {
            break;
        }
    }
    drop(from_reader);
    match thread.join() {
        Ok(Ok(summary)) => Ok(summary),
        Ok(Err(Halt::Failed(error))) => Err(error),
        Ok(Err(Halt::Enough)) => Ok(ReadSummary {
            rows,
            ..ReadSummary::default()
        }),
        Err(panic) => Err(ReadError::Panicked {
            file: path.to_owned(),
            detail: panic_text(panic.as_ref()),
        }),
    }
}

fn hand_on(batch: &mut Batch, rows: &mut u64, sink: &mut dyn RowSink) -> ControlFlow<()> {
    let width = batch.cells.len() / batch.numbers.len().max(1);
    // A header has at least one column.
    let cells = batch.cells.chunks_exact_mut(width.max(1));
    for (number, cells) in batch.numbers.iter().zip(cells) {
        *rows += 1;
        sink.row(*number, cells)?;
    }
    ControlFlow::Continue(())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Header};

    struct Nothing;
    impl RowSink for Nothing {
        fn header(&mut self, _: &Header) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn row(&mut self, _: u32, _: &mut [Cell]) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
    }

    #[test]
    fn a_panic_becomes_an_error_that_names_the_file() {
        let error = run(
            Path::new("bad.xlsb"),
            &ReadOptions::default(),
            &mut Nothing,
            |_, _, _| panic!("index {} out of bounds", 7),
        )
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("bad.xlsb") && text.contains("index 7"),
            "{text}"
        );
    }

    #[test]
    fn a_hang_becomes_an_error() {
        let mut options = ReadOptions::default();
        options.limits.seconds = 0;
        let error = run(Path::new("slow.xls"), &options, &mut Nothing, |_, _, _| {
            loop {
                std::thread::park();
            }
        })
        .unwrap_err();
        assert!(error.to_string().contains("`seconds`"), "{error}");
    }
}
