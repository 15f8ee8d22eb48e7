//! The lines of the records on disk, in pieces that most often become a chunk each, so that a store on
//! the same file system need not copy them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rowmill_domain::limits::{CHUNK_BYTES, CHUNK_RECORDS};

use super::records::Line;

/// The buffer of the current piece, in bytes.
const BUFFER: usize = 1 << 20;

/// Writes the lines of records.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    file: BufWriter<File>,
    /// The bytes of the current piece.
    bytes: u64,
    lines: Vec<Line>,
    /// The number of records in each piece.
    pieces: Vec<u32>,
}

impl Spool {
    /// A spool with its files in `folder`. Replaces those of an earlier one.
    pub(crate) fn create(folder: &Path) -> io::Result<Spool> {
        Ok(Spool {
            folder: folder.to_owned(),
            file: piece(folder, 0)?,
            bytes: 0,
            lines: Vec::new(),
            pieces: vec![0],
        })
    }

    /// Adds the line of a record, with its line break.
    pub(crate) fn add(&mut self, row: u32, line: &[u8]) -> io::Result<()> {
        let bytes = u32::try_from(line.len())
            .map_err(|_| io::Error::other(format!("row {row} is longer than 4 GiB as JSON")))?;
        let records = self.pieces.last().copied().unwrap_or_default();
        // As `Cut::chunks` divides the records of a large run.
        let whole = self.lines.len().is_multiple_of(CHUNK_RECORDS as usize);
        if records > 0 && (whole || self.bytes + u64::from(bytes) > CHUNK_BYTES) {
            self.file.flush()?;
            self.file = piece(&self.folder, self.pieces.len())?;
            self.pieces.push(0);
            self.bytes = 0;
        }
        self.file.write_all(line)?;
        self.bytes += u64::from(bytes);
        if let Some(records) = self.pieces.last_mut() {
            *records += 1;
        }
        self.lines.push(Line { row, bytes });
        Ok(())
    }

    /// The lines, and the number of records in each piece.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<Line>, Vec<u32>)> {
        self.file.flush()?;
        Ok((self.lines, self.pieces))
    }
}

fn piece(folder: &Path, number: usize) -> io::Result<BufWriter<File>> {
    let file = File::create(piece_file(folder, number))?;
    Ok(BufWriter::with_capacity(BUFFER, file))
}

/// The file of a piece.
pub(super) fn piece_file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("records-{number:05}.jsonl"))
}
