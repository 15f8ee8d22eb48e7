//! Runs a reader on its own thread, so that a panic or a hang becomes an error, and reading overlaps
//! with the sink's work.

use std::cell::Cell as Flag;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::error::ReadError;
use super::options::ReadOptions;
use super::rows::{Assembler, Halt, RowBatch, RowMessage};
use super::sink::{ReadSummary, RowSink};

/// Batches queued for the sink. A longer queue would only use more memory.
const IN_FLIGHT: usize = 4;
/// Third-party readers may recurse. This reserves address space, not memory.
const STACK_BYTES: usize = 16 << 20;

thread_local! {
    static ISOLATED: Flag<bool> = const { Flag::new(false) };
}

/// Keeps panics on reader threads off stderr, because they are reported as errors. The panic hook is
/// global: on all other threads it calls the previous hook.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !ISOLATED.with(Flag::get) {
                before(info);
            }
        }));
    });
}

/// Reads a file on the isolated thread.
pub(crate) type Reader = fn(&Path, &ReadOptions, &mut Assembler) -> Result<ReadSummary, Halt>;

/// Runs `reader` on a new thread and passes what it reads to `sink` on the calling thread.
pub(crate) fn run(
    path: &Path,
    options: &ReadOptions,
    sink: &mut dyn RowSink,
    reader: Reader,
) -> Result<ReadSummary, ReadError> {
    silence_panics();
    let (to_sink, from_reader) = mpsc::sync_channel(IN_FLIGHT);
    let (return_batch, returned) = mpsc::sync_channel(IN_FLIGHT);
    let (file, settings) = (path.to_owned(), options.clone());
    let thread = std::thread::Builder::new()
        .name("rowmill-workbook".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            ISOLATED.with(|isolated| isolated.set(true));
            let mut rows = Assembler::new(&file, &settings, to_sink, returned);
            reader(&file, &settings, &mut rows)
        })
        .map_err(|e| ReadError::io(path, e))?;

    let mut delivered = Delivered::default();
    let mut refused = None;
    let mut allowed = Duration::from_secs(options.limits.seconds);
    loop {
        let waiting = Instant::now();
        let message = match from_reader.recv_timeout(allowed) {
            Ok(message) => message,
            Err(RecvTimeoutError::Disconnected) => break,
            // The thread is abandoned: Rust cannot stop a thread from outside.
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
            RowMessage::Header(header) => {
                delivered.last = header.row;
                sink.header(&header)
            }
            RowMessage::Restart(why) => {
                if sink.restart() {
                    delivered = Delivered::default();
                    ControlFlow::Continue(())
                } else {
                    refused = Some(why);
                    ControlFlow::Break(())
                }
            }
            RowMessage::Overflow(row, mut cells, mut outside) => match delivered.up_to(row, sink) {
                ControlFlow::Continue(()) => sink.overflow(row, &mut cells, &mut outside),
                stop => stop,
            },
            RowMessage::Rows(mut batch) => {
                let flow = deliver(&mut batch, &mut delivered, sink);
                // If the channel is full or closed, the batch is freed instead of reused.
                let _ = return_batch.try_send(batch);
                flow
            }
        };
        if flow.is_break() {
            break;
        }
    }
    drop(from_reader);
    let ended = thread.join();
    if let Some(error) = refused {
        return Err(error);
    }
    match ended {
        Ok(Ok(summary)) => Ok(summary),
        Ok(Err(Halt::Failed(error) | Halt::Unordered(error))) => Err(error),
        Ok(Err(Halt::SinkDone)) => Ok(ReadSummary {
            rows: delivered.rows,
            ..ReadSummary::default()
        }),
        Err(panic) => Err(ReadError::Panicked {
            file: path.to_owned(),
            detail: panic_text(panic.as_ref()),
        }),
    }
}

/// The rows that the sink has received.
#[derive(Default)]
struct Delivered {
    /// Their number.
    rows: u64,
    /// The last one, or the header.
    last: u32,
}

impl Delivered {
    /// Counts `row`, and delivers the blank rows before it.
    fn up_to(&mut self, row: u32, sink: &mut dyn RowSink) -> ControlFlow<()> {
        let first = self.last.saturating_add(1);
        self.last = row;
        self.rows += 1;
        if first < row {
            self.rows += u64::from(row - first);
            sink.blank(first, row - 1)?;
        }
        ControlFlow::Continue(())
    }
}

fn deliver(
    batch: &mut RowBatch,
    delivered: &mut Delivered,
    sink: &mut dyn RowSink,
) -> ControlFlow<()> {
    let rows = batch.numbers.len().max(1);
    // A header always has at least one column.
    let width = |cells: usize| (cells / rows).max(1);
    let cells = width(batch.cells.len());
    let cells = batch.cells.chunks_exact_mut(cells);
    for (number, cells) in batch.numbers.iter().zip(cells) {
        delivered.up_to(*number, sink)?;
        sink.row(*number, cells)?;
    }
    let ends = batch.ends.chunks_exact(width(batch.ends.len()));
    let mut texts = Vec::new();
    let mut start = 0;
    for (number, ends) in batch.numbers.iter().zip(ends) {
        texts.clear();
        for end in ends {
            texts.push(&batch.text[start..*end]);
            start = *end;
        }
        delivered.up_to(*number, sink)?;
        sink.texts(*number, &texts)?;
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
    use crate::{Cell, Header, OutsideCell};

    struct Nothing;
    impl RowSink for Nothing {
        fn header(&mut self, _: &Header) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn row(&mut self, _: u32, _: &mut [Cell]) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
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
