//! Delimited text: csv and tsv. Encoding and delimiter are found; every value is text, so that
//! leading zeros and long digits stay.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use memchr::{memchr, memchr3};
use rowmill_domain::Value;

use super::detect::{HEAD, is_utf16};
use super::error::ReadError;
use super::limits::ReadLimits;
use super::options::ReadOptions;
use super::row::RowCells;
use super::rows::{Assembler, Halt};
use super::sheet_select::select_sheet;
use super::sink::{Cell, ReadSummary};

/// Bytes read and decoded at once.
const CHUNK: usize = 64 << 10;
/// Candidates, in the order of preference.
const DELIMITERS: [u8; 4] = *b",;\t|";
/// Records looked at to find the delimiter.
const SAMPLE_RECORDS: usize = 100;
/// Places that are not UTF-8, from which on no more is read where they are the most.
const SURE: usize = 1000;

pub(crate) fn read(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    select_sheet(path, options.sheet.as_ref(), &[(&*stem, true)])?;
    rows.sheet(&stem);
    let io = |e| ReadError::io(path, e);

    let encoding = encoding(&mut file).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut raw = vec![0; CHUNK];
    let mut text = String::with_capacity(CHUNK * 3);
    let mut parser = None;
    // The first record that cannot be read as it was meant.
    let mut broken = None;
    loop {
        let read = file.read(&mut raw).map_err(io)?;
        text.clear();
        // A character of any encoding takes at most 3 bytes per byte read.
        text.reserve(decoder.max_utf8_buffer_length(read).unwrap_or(CHUNK * 3));
        let (_, _, lossy) = decoder.decode_to_string(&raw[..read], &mut text, read == 0);
        let parser = parser.get_or_insert_with(|| Parser::new(path, &options.limits, &text));
        let mut bytes = text.as_bytes();
        if lossy && broken.is_none() {
            let (before, after) = bytes.split_at(text.find('\u{fffd}').unwrap_or(0));
            parser.feed(before, rows)?;
            broken = Some(parser.row);
            bytes = after;
        }
        parser.feed(bytes, rows)?;
        if read == 0 {
            parser.end(rows)?;
            let mut summary = rows.finish(&|_| None)?;
            summary.notes.extend(note(encoding, broken));
            return Ok(summary);
        }
    }
}

/// What is told of a file whose letters may be others than were meant.
fn note(encoding: &'static Encoding, broken: Option<u32>) -> Option<String> {
    let name = encoding.name();
    match broken {
        Some(record) => Some(format!(
            "The file is not valid {name}, first in record {record}: what could not be read there \
             is shown as `\u{fffd}`. Save it anew as \"CSV UTF-8\" and try again, or correct these \
             values."
        )),
        None if encoding == WINDOWS_1252 => Some(
            "The file is not UTF-8 and was read as Windows-1252; if letters look wrong, save it \
             as \"CSV UTF-8\" and try again."
                .to_owned(),
        ),
        None => None,
    }
}

/// The byte order of UTF-16 without a mark.
fn utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..HEAD as usize).unwrap_or(bytes);
    let zeros = |odd| {
        head.iter()
            .skip(odd)
            .step_by(2)
            .filter(|b| **b == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    is_utf16(head, even + odd).then_some(if odd >= even { UTF_16LE } else { UTF_16BE })
}

/// The mark at the front tells, else what the bytes are valid as.
fn encoding(file: &mut File) -> std::io::Result<&'static Encoding> {
    file.seek(SeekFrom::Start(0))?;
    let mut raw = vec![0; CHUNK];
    let mut kept = 0;
    let mut first = true;
    // Characters of several bytes, and places that are none.
    let (mut valid, mut invalid) = (0, 0);
    loop {
        let read = file.read(&mut raw[kept..])?;
        let mut rest = &raw[..kept + read];
        if std::mem::take(&mut first) {
            if let Some((marked, _)) = Encoding::for_bom(rest) {
                return Ok(marked);
            }
            if let Some(wide) = utf16(rest) {
                return Ok(wide);
            }
        }
        let cut: &[u8] = loop {
            let error = std::str::from_utf8(rest).err();
            let good = error.map_or(rest.len(), |e| e.valid_up_to());
            let (text, after) = rest.split_at(good);
            valid += text.iter().filter(|b| **b >= 0xc0).count();
            match error.map(|e| e.error_len()) {
                None => break &[],
                Some(None) => break after,
                Some(Some(length)) => {
                    invalid += 1;
                    rest = &after[length..];
                }
            }
        };
        if read == 0 {
            // Other encodings have next to nothing that is valid as characters of several bytes,
            // so a few wrong bytes among many of those are damage. A character that is cut off
            // at the end of the file is none either.
            let whole = invalid == 0 && cut.is_empty();
            return Ok(match whole || valid > 2 * invalid {
                true => UTF_8,
                false => WINDOWS_1252,
            });
        }
        if invalid >= SURE && valid < invalid {
            return Ok(WINDOWS_1252);
        }
        // A character may go on in the next chunk.
        let end = kept + read;
        kept = cut.len();
        raw.copy_within(end - kept..end, 0);
    }
}

/// The candidate that stands most evenly in the first records.
fn delimiter(text: &[u8]) -> u8 {
    let mut records: Vec<[usize; DELIMITERS.len()]> = Vec::new();
    let mut counts = [0; DELIMITERS.len()];
    let (mut state, mut blank) = (State::Start, true);
    for byte in text {
        state = match (state, byte) {
            (State::Start | State::Quote, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) => State::Quoted,
            (_, b'\n' | b'\r') => {
                if !std::mem::replace(&mut blank, true) {
                    records.push(counts);
                }
                counts = [0; DELIMITERS.len()];
                if records.len() >= SAMPLE_RECORDS {
                    break;
                }
                State::Start
            }
            _ => match DELIMITERS.iter().position(|d| d == byte) {
                Some(at) => {
                    counts[at] += 1;
                    State::Start
                }
                None => State::Plain,
            },
        };
        blank &= byte.is_ascii_whitespace();
    }
    if records.is_empty() {
        records.push(counts);
    }
    let score = |at: usize| {
        let found = || records.iter().map(|r| r[at]).filter(|count| *count > 0);
        let alike = |count| (found().filter(|c| *c == count).count(), count);
        let (even, most) = found().map(alike).max().unwrap_or_default();
        // A header has the delimiter, but no decimal commas; it may stand below a title.
        let early = records.iter().take(2).filter(|r| r[at] > 0).count();
        (even, early, most)
    };
    let best = (0..DELIMITERS.len()).rev().max_by_key(|at| score(*at));
    best.map_or(b',', |at| DELIMITERS[at])
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
            ("a;b\n5\" pipe;x,y\n", b';'),
            ("only\none\n", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes()), want, "{text:?}");
        }
        // More records than are looked at.
        for (head, row, want) in [
            ("Artikel;Preis;Menge", "A0;0,50;0,25", b';'),
            ("id;name", "0;Smith, John", b';'),
            ("Umsatz, 2024\n\nArt;Preis;Menge", "A0;0,50;0,25", b';'),
            ("Umsatz, 2024\nArt;Preis;Menge", "A0;0,50;1", b';'),
            ("Umsatz 2024\nid;name;at", "0;Smith, John;x", b';'),
            ("a;b;c", "0,5;1,5;x;", b';'),
            ("id,\"a;b\",note", "1,\"x;y \"\"z\"\"\",\"one\ntwo\"", b','),
            ("id\tname", "0\tSmith, John; Mrs", b'\t'),
            ("id,name,note", "0,a;b,c|d", b','),
        ] {
            let text = format!("{head}\n{}", format!("{row}\r\n").repeat(300));
            assert_eq!(delimiter(text.as_bytes()), want, "{head:?}");
        }
    }
}
