//! Reads workbooks of every supported format. Files are untrusted input.

mod archive;
mod binary;
mod book;
mod bytes;
mod compound;
mod current_row;
mod delimited;
mod detect;
mod dialect;
mod error;
mod foreign;
mod header;
mod html;
mod isolated;
mod limits;
mod markup;
pub(crate) mod number_format;
mod ods;
mod options;
mod origin;
mod package;
mod reference;
mod row;
mod rows;
mod serial;
mod sheet_error;
mod sheet_select;
mod sink;
mod spreadsheet_xml;
mod string_table;
mod styles;
mod text_encoding;
mod text_row;
mod xls;
mod xlsb;
mod xlsx;
mod xml;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

pub(crate) use archive::Archive;
pub use detect::{FileFormat, detect};
pub use dialect::{DelimiterGuess, guess_delimiter};
pub use error::ReadError;
pub use limits::ReadLimits;
pub use options::ReadOptions;
pub(crate) use reference::column_letters;
pub use sink::{BetterRow, Cell, Header, Origin, OutsideCell, ReadSummary, RowSink};

use rows::{Assembler, Halt};

/// Reads the header of a sheet, and only as much of the file as that needs.
///
/// # Errors
/// Any [`ReadError`].
pub fn read_header(path: &Path, options: &ReadOptions) -> Result<Header, ReadError> {
    struct HeaderOnly(Option<Header>);
    impl RowSink for HeaderOnly {
        fn header(&mut self, header: &Header) -> ControlFlow<()> {
            self.0 = Some(header.clone());
            ControlFlow::Break(())
        }
        fn row(&mut self, _: u32, _: &mut [Cell]) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    let mut sink = HeaderOnly(None);
    read_rows(path, options, &mut sink)?;
    sink.0.ok_or_else(|| ReadError::NoHeader {
        file: path.to_owned(),
        sheet: String::new(),
        why: "the sheet is empty".to_owned(),
    })
}

/// Reads a sheet and passes its header and rows to `sink` as they are read. The reader runs on its
/// own thread, so reading overlaps with the sink's work. Stops early, without an error, if the sink
/// returns [`ControlFlow::Break`].
///
/// # Errors
/// Any [`ReadError`]. Rows before the error have already been delivered.
pub fn read_rows(
    path: &Path,
    options: &ReadOptions,
    sink: &mut dyn RowSink,
) -> Result<ReadSummary, ReadError> {
    isolated::run(path, options, sink, read)
}

/// Detects the format and runs its reader, on the isolated thread.
fn read(path: &Path, options: &ReadOptions, rows: &mut Assembler) -> Result<ReadSummary, Halt> {
    let mut file = File::open(path).map_err(|e| ReadError::io(path, e))?;
    let size = file.metadata().map_err(|e| ReadError::io(path, e))?.len();
    ReadError::check(path, "file_bytes", size, options.limits.file_bytes)?;
    match detect::detect_open(path, &mut file, &options.limits)? {
        FileFormat::Delimited => delimited::read(path, file, options, rows),
        FileFormat::Xlsx => xlsx::read(path, file, options, rows),
        FileFormat::Xlsb => xlsb::read(path, file, options, rows),
        FileFormat::SpreadsheetXml => spreadsheet_xml::read(path, options, rows),
        FileFormat::Html => html::read(path, file, options, rows),
        FileFormat::Xls => xls::read(path, file, options, rows),
        FileFormat::Ods => ods::read(path, file, options, rows),
        FileFormat::Fods => ods::read_flat(path, options, rows),
    }
}
