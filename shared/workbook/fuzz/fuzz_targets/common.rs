//! Reads a file. Shared by all targets.

use std::io::Write;
use std::ops::ControlFlow;

use rowmill_workbook::{Cell, Header, OutsideCell, ReadError, ReadOptions, RowSink, read_rows};

struct Ignore;

impl RowSink for Ignore {
    fn header(&mut self, _: &Header) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn row(&mut self, _: u32, _: &mut [Cell]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        _: u32,
        _: &mut [Cell],
        _: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Reads `bytes` as a file. `own` says that the reader is part of this project and must never panic.
/// A panic of calamine is an error like any other.
pub fn read(bytes: &[u8], own: bool) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else {
        return;
    };
    if file.write_all(bytes).is_err() {
        return;
    }
    let mut options = ReadOptions::default();
    options.limits.cells = 1_000_000;
    options.limits.whole_cells = 100_000;
    options.limits.seconds = 20;
    match read_rows(file.path(), &options, &mut Ignore) {
        Err(ReadError::Panicked { detail, .. }) if own => panic!("{detail}"),
        Err(ReadError::Limit {
            limit: "seconds", ..
        }) => panic!("the reader hangs"),
        _ => {}
    }
}
