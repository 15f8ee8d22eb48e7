//! Delimited text: csv and tsv. Encoding and delimiter are found; every value is text, so that
//! leading zeros and long digits stay.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use memchr::{memchr, memchr3};
use rowmill_domain::Value;

use super::row::RowCells;
use super::rows::{Assembler, Halt};
use super::{Cell, ReadError, ReadLimits, ReadOptions, ReadSummary};

/// Bytes read and decoded at once.
const CHUNK: usize = 64 << 10;
/// Candidates, in the order of preference.
const DELIMITERS: [u8; 4] = *b",;\t|";
/// Records looked at to find the delimiter.
const SAMPLE_RECORDS: usize = 100;

pub(crate) fn read(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    super::cala::choose_sheet(path, options.sheet.as_ref(), &[(&*stem, true)])?;
    rows.sheet(&stem);
    let io = |e| ReadError::io(path, e);

    let encoding = encoding(&mut file).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut raw = vec![0; CHUNK];
    let mut text = String::with_capacity(CHUNK * 3);
    let mut parser = None;
    loop {
        let read = file.read(&mut raw).map_err(io)?;
        text.clear();
        // A character of any encoding takes at most 3 bytes per byte read.
        text.reserve(decoder.max_utf8_buffer_length(read).unwrap_or(CHUNK * 3));
        let _ = decoder.decode_to_string(&raw[..read], &mut text, read == 0);
        let parser = parser.get_or_insert_with(|| Parser::new(path, &options.limits, &text));
        parser.feed(text.as_bytes(), rows)?;
        if read == 0 {
            parser.end(rows)?;
            return rows.finish(&|_| None);
        }
    }
}

/// The mark at the front tells, else what all bytes are valid as.
fn encoding(file: &mut File) -> std::io::Result<&'static Encoding> {
    file.seek(SeekFrom::Start(0))?;
    let mut raw = vec![0; CHUNK];
    let mut kept = 0;
    let mut first = true;
    loop {
        let read = file.read(&mut raw[kept..])?;
        let chunk = &raw[..kept + read];
        if first {
            first = false;
            if let Some((marked, _)) = Encoding::for_bom(chunk) {
                return Ok(marked);
            }
            let zeros = |odd| {
                chunk
                    .iter()
                    .skip(odd)
                    .step_by(2)
                    .filter(|b| **b == 0)
                    .count()
            };
            let (even, odd) = (zeros(0), zeros(1));
            if even + odd > 0 {
                return Ok(if odd >= even { UTF_16LE } else { UTF_16BE });
            }
        }
        match std::str::from_utf8(chunk) {
            Ok(_) if read == 0 => return Ok(UTF_8),
            Ok(_) => kept = 0,
            // A character may go on in the next chunk.
            Err(e) if e.error_len().is_none() && read > 0 => {
                let from = e.valid_up_to();
                let end = chunk.len();
                raw.copy_within(from..end, 0);
                kept = end - from;
            }
            Err(_) => return Ok(WINDOWS_1252),
        }
    }
}

/// The candidate that stands most evenly in the first records.
fn delimiter(text: &[u8]) -> u8 {
    let score = |delimiter: &u8| {
        let mut counts = Vec::new();
        let (mut count, mut quoted) = (0usize, false);
        for byte in text {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' | b'\r' if !quoted => {
                    if count > 0 {
                        counts.push(count);
                    }
                    count = 0;
                    if counts.len() >= SAMPLE_RECORDS {
                        break;
                    }
                }
                b if b == delimiter && !quoted => count += 1,
                _ => {}
            }
        }
        if count > 0 && counts.is_empty() {
            counts.push(count);
        }
        let most = counts.first().copied().unwrap_or(0);
        let even = counts.iter().filter(|c| **c == most).count();
        // Records with the header's count, then how many columns that makes.
        (even, most)
    };
    let best = DELIMITERS.iter().rev().max_by_key(|d| score(d));
    best.copied().unwrap_or(b',')
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// At the start of a field.
    Start,
    /// In a field without quotes, or after its closing quote.
    Plain,
    /// Between quotes.
    Quoted,
    /// After a quote between quotes: the closing one, or the first of two that stand for one.
    Quote,
}

struct Parser<'a> {
    path: &'a Path,
    text_bytes: u64,
    delimiter: u8,
    state: State,
    field: Vec<u8>,
    cells: RowCells,
    column: u32,
    row: u32,
    after_cr: bool,
    /// The first line is Excel's `sep=;`.
    skip_first: bool,
}

impl<'a> Parser<'a> {
    fn new(path: &'a Path, limits: &ReadLimits, sample: &str) -> Parser<'a> {
        let told = sample
            .strip_prefix("sep=")
            .and_then(|rest| rest.bytes().next())
            .filter(|d| d.is_ascii() && !d.is_ascii_alphanumeric() && *d != b'"');
        Parser {
            path,
            text_bytes: limits.text_bytes,
            delimiter: told.unwrap_or_else(|| delimiter(sample.as_bytes())),
            state: State::Start,
            field: Vec::new(),
            cells: RowCells::new(path, limits),
            column: 0,
            row: 1,
            after_cr: false,
            skip_first: told.is_some(),
        }
    }

    fn feed(&mut self, mut bytes: &[u8], rows: &mut Assembler) -> Result<(), Halt> {
        while let Some(&byte) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            match self.state {
                State::Start if byte == b'"' => {
                    self.state = State::Quoted;
                    bytes = &bytes[1..];
                }
                State::Quote if byte == b'"' => {
                    self.field.push(b'"');
                    self.state = State::Quoted;
                    bytes = &bytes[1..];
                }
                State::Quoted => {
                    let end = memchr(b'"', bytes).unwrap_or(bytes.len());
                    self.take(&bytes[..end])?;
                    if end < bytes.len() {
                        self.state = State::Quote;
                    }
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                }
                State::Start | State::Plain | State::Quote => {
                    self.state = State::Plain;
                    let end = memchr3(self.delimiter, b'\n', b'\r', bytes);
                    self.take(&bytes[..end.unwrap_or(bytes.len())])?;
                    let Some(end) = end else { return Ok(()) };
                    if bytes[end] == self.delimiter {
                        self.end_field()?;
                    } else {
                        self.after_cr = bytes[end] == b'\r';
                        self.end_record(rows)?;
                    }
                    bytes = &bytes[end + 1..];
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let length = (self.field.len() + bytes.len()) as u64;
        ReadError::check(self.path, "text_bytes", length, self.text_bytes)?;
        self.field.extend_from_slice(bytes);
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), ReadError> {
        if !self.field.is_empty() {
            let mut text = self.cells.spare.text();
            text.push_str(&String::from_utf8_lossy(&self.field));
            let cell = Cell::Value(Value::Text(text));
            self.cells.push(self.column, 0, cell)?;
            self.field.clear();
        }
        self.column = self.column.saturating_add(1);
        self.state = State::Start;
        Ok(())
    }

    fn end_record(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        self.end_field()?;
        self.column = 0;
        if std::mem::take(&mut self.skip_first) {
            self.cells.clear();
        }
        rows.row(self.row, &mut self.cells)?;
        self.row = self.row.saturating_add(1);
        Ok(())
    }

    fn end(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        if self.state == State::Quoted {
            // All rows after it are in that one field: taken so, they would be lost unseen.
            let what = "a quote that opens a field is never closed; close it, or double it where \
                        it is part of the text";
            return Err(
                ReadError::malformed(self.path, format!("record {}", self.row), what).into(),
            );
        }
        if self.state != State::Start || self.column > 0 {
            self.end_record(rows)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_found() {
        for (text, want) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2,5\n", b';'),
            ("a\tb c, d\n1\t2, 3\n4\t5\n", b'\t'),
            ("a|b|c\n1|2|3", b'|'),
            ("\"a,b\";c\n\"d,e\";f\n", b';'),
            ("only\none\n", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes()), want, "{text:?}");
        }
    }
}
