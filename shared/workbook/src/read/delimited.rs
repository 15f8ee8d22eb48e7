//! Reads delimited text, such as csv and tsv. Detects the encoding. Every value is text, so that leading
//! zeros and long numbers are preserved.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use memchr::{memchr, memchr3_iter};
use rowmill_domain::Delimiter;

use super::detect::{named_as_workbook, utf16, utf32};
use super::dialect::{self, DelimiterGuess};
use super::error::ReadError;
use super::options::ReadOptions;
use super::row::RowCells;
use super::rows::{Assembler, Halt};
use super::sheet_select::select_sheet;
use super::sink::ReadSummary;
use super::text_encoding::{Decoder, TextEncoding};
use super::text_row::TextRow;

/// Bytes to read and decode at once.
const CHUNK: usize = 64 << 10;
/// Number of invalid UTF-8 sequences after which detection stops, if they outnumber the valid ones.
const DECISIVE: usize = 1000;

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
    let mut decoder = Decoder::new(encoding);
    let mut raw = vec![0; CHUNK];
    let mut text = String::with_capacity(CHUNK * 3);
    let mut parser = None;
    // The first record that could not be decoded.
    let mut broken = None;
    let mut position = 0;
    loop {
        let read = file.read(&mut raw).map_err(io)?;
        let last = read == 0;
        let lossy = decoder.decode(&raw[..read], &mut text, last);
        // Concatenated files contain more byte order marks than the one that the decoder removes.
        if parser.is_none() && text.starts_with('\u{feff}') {
            text = text.trim_start_matches('\u{feff}').to_owned();
        }
        let parser =
            parser.get_or_insert_with(|| Parser::new(path, options, &text, last || read < CHUNK));
        // What is held back grows only by white space and ends of file.
        let end = match end_of_content(&text) {
            end if last || text.len() - end <= CHUNK => end,
            _ => text.len(),
        };
        let mut content = &text[..end];
        if let Some(zero) = memchr(0, content.as_bytes()) {
            parser.feed(&content[..zero], rows)?;
            // In UTF-16 and UTF-32, most zero bytes are not characters.
            let narrow = [UTF_8, WINDOWS_1252].map(TextEncoding::Known);
            let byte = memchr(0, &raw[..read]).filter(|_| narrow.contains(&encoding));
            let byte = byte.map(|at| position + at as u64 + 1);
            return Err(zero_character(path, parser.row, byte).into());
        }
        position += read as u64;
        if lossy && broken.is_none() {
            let (before, after) = content.split_at(text.find('\u{fffd}').unwrap_or(0).min(end));
            parser.feed(before, rows)?;
            broken = Some(parser.row);
            content = after;
        }
        parser.feed(content, rows)?;
        text.drain(..end);
        if last {
            parser.end(rows)?;
            let mut summary = rows.finish(&|_| None)?;
            summary.notes.extend(parser.guess.and_then(|g| g.note()));
            summary.notes.extend(encoding_note(encoding, broken));
            if named_as_workbook(path) {
                let note = "The file is named like a workbook, but it is delimited text and was read as csv.";
                summary.notes.push(note.to_owned());
            }
            return Ok(summary);
        }
    }
}

/// The position of a Ctrl-Z that is followed only by white space and further Ctrl-Z: DOS programs mark the end of a
/// file with it.
fn end_of_content(text: &str) -> usize {
    const CTRL_Z: char = '\u{1a}';
    let content = text.trim_end_matches(|c: char| c == CTRL_Z || c.is_whitespace());
    let tail = &text[content.len()..];
    content.len() + tail.find(CTRL_Z).unwrap_or(tail.len())
}

/// The error for a text that contains U+0000, which no value may contain. `byte` counts from 1.
fn zero_character(path: &Path, record: u32, byte: Option<u64>) -> ReadError {
    let place = match byte {
        Some(byte) => format!("record {record} (byte {byte} of the file)"),
        None => format!("record {record}"),
    };
    ReadError::NotAWorkbook {
        file: path.to_owned(),
        what: format!("contains a NUL character, which is not text, in {place}"),
        advice: "if the rest of the file is complete, remove all NUL characters with a text editor or with \
                 `tr -d '\\000'`, otherwise export it again",
    }
}

/// The note for a file whose characters may have been decoded incorrectly.
fn encoding_note(encoding: TextEncoding, broken: Option<u32>) -> Option<String> {
    let name = encoding.name();
    match broken {
        Some(record) => Some(format!(
            "The file is not valid {name}; the first invalid character is in record {record}. \
             Invalid characters were replaced with `\u{fffd}`. Correct these values, or save the \
             file as \"CSV UTF-8\" and try again."
        )),
        None if encoding == TextEncoding::Known(WINDOWS_1252) => Some(
            "The file is not UTF-8 and was read as Windows-1252. If characters look wrong, save it \
             as \"CSV UTF-8\" and try again."
                .to_owned(),
        ),
        None => None,
    }
}

/// Detects the encoding from the byte order mark, otherwise from what the bytes are valid as.
pub(super) fn encoding(file: &mut File) -> std::io::Result<TextEncoding> {
    file.seek(SeekFrom::Start(0))?;
    let mut raw = vec![0; CHUNK];
    let mut kept = 0;
    let mut first = true;
    // The number of multi-byte characters and of invalid sequences.
    let (mut valid, mut invalid) = (0, 0);
    loop {
        let read = file.read(&mut raw[kept..])?;
        let mut rest = &raw[..kept + read];
        if std::mem::take(&mut first) {
            // Before UTF-16, whose mark begins like that of UTF-32.
            if let Some(order) = utf32(rest) {
                return Ok(TextEncoding::Utf32(order));
            }
            if let Some((marked, _)) = Encoding::for_bom(rest) {
                return Ok(TextEncoding::Known(marked));
            }
            if let Some(wide) = utf16(rest) {
                return Ok(TextEncoding::Known(wide));
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
            // Text in other encodings contains almost no valid multi-byte characters. A few invalid
            // bytes among many of them are damage. A character that is incomplete at the end of the
            // file also counts as damage.
            let whole = invalid == 0 && cut.is_empty();
            return Ok(TextEncoding::Known(match whole || valid > 2 * invalid {
                true => UTF_8,
                false => WINDOWS_1252,
            }));
        }
        if invalid >= DECISIVE && valid < invalid {
            return Ok(TextEncoding::Known(WINDOWS_1252));
        }
        // A character may continue in the next chunk.
        let end = kept + read;
        kept = cut.len();
        raw.copy_within(end - kept..end, 0);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// At the start of a field.
    Start,
    /// In an unquoted field, or after the closing quote.
    Plain,
    /// Inside quotes.
    Quoted,
    /// After a quote inside quotes: either the closing quote or the first of an escaped pair.
    Quote,
}

struct Parser<'a> {
    path: &'a Path,
    /// `None`: every line is one value.
    delimiter: Option<u8>,
    /// How the delimiter was detected, unless it was given.
    guess: Option<DelimiterGuess>,
    state: State,
    fields: TextRow,
    /// For rows that the assembler needs as cells.
    cells: RowCells,
    row: u32,
    after_cr: bool,
    /// Whether the first line is a delimiter declaration of Excel, such as `sep=;`.
    skip_first: bool,
}

impl<'a> Parser<'a> {
    /// `sample` is the start of the text, or all of it if it is `whole`.
    fn new(path: &'a Path, options: &ReadOptions, sample: &str, whole: bool) -> Parser<'a> {
        let limits = &options.limits;
        let declared = sample
            .strip_prefix("sep=")
            .and_then(|rest| rest.bytes().next())
            .filter(|d| d.is_ascii() && !d.is_ascii_alphanumeric() && *d != b'"');
        let given = options.delimiter;
        let given = given.or_else(|| declared.map(Delimiter::Character));
        let guess = match given {
            Some(_) => None,
            None => Some(dialect::guess_delimiter(sample, whole, path)),
        };
        let delimiter = match given.or(guess.map(|g| g.delimiter)) {
            Some(Delimiter::Character(character)) => Some(character),
            Some(Delimiter::None) | None => None,
        };
        Parser {
            path,
            delimiter,
            guess,
            state: State::Start,
            fields: TextRow::new(path, limits),
            cells: RowCells::new(path, limits),
            row: 1,
            after_cr: false,
            skip_first: declared.is_some(),
        }
    }

    fn feed(&mut self, mut text: &str, rows: &mut Assembler) -> Result<(), Halt> {
        while let Some(&byte) = text.as_bytes().first() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                text = &text[1..];
                continue;
            }
            match self.state {
                State::Start if byte == b'"' => {
                    self.state = State::Quoted;
                    text = &text[1..];
                }
                State::Quote if byte == b'"' => {
                    self.fields.push("\"")?;
                    self.state = State::Quoted;
                    text = &text[1..];
                }
                State::Quoted => {
                    let end = memchr(b'"', text.as_bytes()).unwrap_or(text.len());
                    self.fields.push(&text[..end])?;
                    if end < text.len() {
                        self.state = State::Quote;
                    }
                    text = text.get(end + 1..).unwrap_or_default();
                }
                State::Start | State::Plain | State::Quote => text = self.plain(text, rows)?,
            }
        }
        Ok(())
    }

    /// Parses fields without quotes, or the rest of one, up to a quote at the start of a field, or to a
    /// line end. Returns the rest of the text.
    fn plain<'t>(&mut self, text: &'t str, rows: &mut Assembler) -> Result<&'t str, Halt> {
        let bytes = text.as_bytes();
        let delimiter = self.delimiter.unwrap_or(b'\n');
        let mut start = 0;
        for end in memchr3_iter(delimiter, b'\n', b'\r', bytes) {
            self.fields.push(&text[start..end])?;
            self.fields.end_field()?;
            self.state = State::Start;
            start = end + 1;
            if Some(bytes[end]) != self.delimiter {
                self.after_cr = bytes[end] == b'\r';
                self.end_record(rows)?;
                // The line feed after a carriage return is not a record.
                if self.after_cr {
                    return Ok(&text[start..]);
                }
            }
            if bytes.get(start) == Some(&b'"') {
                return Ok(&text[start..]);
            }
        }
        if start < text.len() {
            self.state = State::Plain;
            self.fields.push(&text[start..])?;
        }
        Ok("")
    }

    fn end_record(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        if std::mem::take(&mut self.skip_first) {
            self.fields.clear();
        }
        rows.texts(self.row, &self.fields, &mut self.cells)?;
        self.fields.clear();
        self.row = self.row.saturating_add(1);
        Ok(())
    }

    fn end(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        if self.state == State::Quoted {
            // The field contains all rows after the quote. Accepting it would lose them silently.
            let what = "the closing quote of a field is missing; add it, or double the quote if \
                        it is part of the text";
            return Err(
                ReadError::malformed(self.path, format!("record {}", self.row), what).into(),
            );
        }
        if self.state != State::Start || self.fields.has_fields() {
            self.fields.end_field()?;
            self.end_record(rows)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod paths;
