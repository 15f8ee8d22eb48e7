//! The cells of a sheet.

use std::io::Read;
use std::path::Path;

use memchr::memchr;
use rowmill_domain::{Kind, Value};

use super::super::header::Merge;
use super::super::number_format::Shown;
use super::super::rows::{Assembler, Halt, RowCells};
use super::super::{Cell, ReadError, ReadLimits, serial};
use super::scan::{self, Event, ScanError, Scanner};
use super::strings::{self, Strings};
use super::styles::Styles;

/// Why a formula's cell has no value.
pub(super) const NO_RESULT: &str = "a formula without a saved result";

/// What the cells of a sheet refer to.
pub(super) struct Book<'a> {
    pub(super) path: &'a Path,
    pub(super) limits: &'a ReadLimits,
    pub(super) strings: &'a Strings,
    pub(super) styles: &'a Styles,
    pub(super) is_1904: bool,
    /// Hidden rows are left out.
    pub(super) skip_hidden: bool,
}

/// Why a sheet cannot be read on.
pub(super) enum Stop {
    Halt(Halt),
    Scan(ScanError),
    /// A cell is wrong: row and column from 0, and what is wrong.
    Cell(u32, u32, &'static str),
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Stop {
        Stop::Halt(halt)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        Stop::Halt(error.into())
    }
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Stop {
        Stop::Scan(error)
    }
}

/// Attributes of `<c>` that count.
#[derive(Clone, Copy, Default)]
struct CellHead {
    row: u32,
    column: u32,
    style: u32,
    kind: CellKind,
}

/// The attribute `t`.
#[derive(Clone, Copy, Default, PartialEq)]
enum CellKind {
    #[default]
    Number,
    Shared,
    Text,
    Inline,
    Bool,
    Error,
    Date,
}

/// Reads the cells and hands on the rows; gives how many hidden rows were left out.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    book: &Book<'_>,
    rows: &mut Assembler,
) -> Result<u64, Stop> {
    let mut sheet = Sheet {
        book,
        row: 0,
        column: 0,
        cells: RowCells::new(book.path, book.limits),
        hidden: false,
        skipped: 0,
    };
    // What stands before the cells: views, columns.
    loop {
        match scanner.next()? {
            Event::Start { name, empty, .. } if scanner.local(&name) == b"sheetData" => {
                if empty {
                    return Ok(0);
                }
                break;
            }
            Event::Eof => return Err(ScanError::Broken("it has no `sheetData`").into()),
            _ => {}
        }
    }
    loop {
        while sheet.fast(scanner)? {}
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => match scanner.local(&name) {
                b"c" => {
                    let head = sheet.head(scanner, &attributes)?;
                    if empty {
                        sheet.column = head.column.saturating_add(1);
                    } else {
                        sheet.slow(scanner, head)?;
                    }
                }
                b"row" => {
                    sheet.end_row(rows)?;
                    if let Some(number) = scanner.attribute(&attributes, b"r") {
                        let number = digits(number).filter(|n| *n > 0);
                        let wrong = "its number is none";
                        sheet.row = number.ok_or(Stop::Cell(sheet.row, 0, wrong))? - 1;
                    }
                    let hidden = scanner.attribute(&attributes, b"hidden");
                    sheet.hidden = matches!(hidden, Some(b"1" | b"true"));
                    if empty {
                        sheet.row += 1;
                    }
                }
                _ if !empty => scanner.skip_element()?,
                _ => {}
            },
            Event::End { name } => match scanner.local(&name) {
                b"row" => {
                    sheet.end_row(rows)?;
                    sheet.row = sheet.row.saturating_add(1);
                }
                b"sheetData" => {
                    sheet.end_row(rows)?;
                    return Ok(sheet.skipped);
                }
                _ => {}
            },
            Event::Text(_) | Event::Raw(_) => {}
            Event::Eof => return Err(ScanError::Broken("it is cut off in its rows").into()),
        }
    }
}

/// The merged cells that begin in a row, from 0. They stand after all cells.
pub(super) fn merges<R: Read>(scanner: &mut Scanner<R>, row: u32) -> Result<Vec<Merge>, ScanError> {
    let mut merges = Vec::new();
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => match scanner.local(&name) {
                b"sheetData" if !empty => scanner.skip_element()?,
                b"mergeCell" => {
                    let range = scanner.attribute(&attributes, b"ref").unwrap_or_default();
                    let mut ends = range.split(|b| *b == b':').filter_map(reference);
                    if let (Some(start), Some(end)) = (ends.next(), ends.next())
                        && start.0 == row
                    {
                        merges.push(Merge {
                            rows: (start.0, end.0),
                            columns: (start.1, end.1),
                        });
                    }
                }
                _ => {}
            },
            Event::Eof => return Ok(merges),
            _ => {}
        }
    }
}

struct Sheet<'a> {
    book: &'a Book<'a>,
    /// The row at hand, from 0.
    row: u32,
    /// The column of the next cell that does not say its own.
    column: u32,
    cells: RowCells,
    hidden: bool,
    skipped: u64,
}

impl Sheet<'_> {
    fn end_row(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        self.column = 0;
        if std::mem::take(&mut self.hidden) && self.book.skip_hidden && !self.cells.is_empty() {
            self.cells.clear();
            self.skipped += 1;
        }
        if self.cells.is_empty() {
            return Ok(());
        }
        rows.row(self.row.saturating_add(1), &mut self.cells)
    }

    /// Takes a cell off the bytes at hand where it is written as nearly all are:
    /// `<c r="A1" s="2" t="s"><v>0</v></c>`. `false`, and nothing taken, where it is not, or not
    /// all there.
    fn fast<R: Read>(&mut self, scanner: &mut Scanner<R>) -> Result<bool, Stop> {
        let ahead = scanner.ahead();
        let Some(mut rest) = ahead.strip_prefix(b"<c") else {
            return Ok(false);
        };
        let mut head = CellHead {
            row: self.row,
            column: self.column,
            ..CellHead::default()
        };
        while let [b' ', name, b'=', b'"', tail @ ..] = rest {
            let Some(length) = memchr_short(b'"', tail) else {
                return Ok(false);
            };
            let value = &tail[..length];
            let taken = match name {
                b'r' => match reference(value) {
                    Some((row, column)) => {
                        (head.row, head.column) = (row, column);
                        true
                    }
                    None => false,
                },
                b's' => digits(value).map(|style| head.style = style).is_some(),
                b't' => kind(value).map(|kind| head.kind = kind).is_some(),
                _ => false,
            };
            if !taken {
                return Ok(false);
            }
            rest = &tail[length + 1..];
        }
        if let Some(after) = rest.strip_prefix(b"/>") {
            let taken = ahead.len() - after.len();
            self.place(head, None)?;
            scanner.pass(taken);
            return Ok(true);
        }
        // A formula is passed over; its saved result follows.
        if let [b'>', b'<', b'f', tail @ ..] = rest {
            let Some(after) = after_formula(tail) else {
                return Ok(false);
            };
            rest = after;
        }
        let body = match (rest, head.kind) {
            ([b'>', b'<', b'i', b's', b'>', b'<', b't', tail @ ..], CellKind::Inline) => {
                return self.fast_inline(scanner, head, ahead.len() - tail.len());
            }
            ([b'>', b'<', b'v', b'>', body @ ..], kind) if kind != CellKind::Inline => body,
            _ => return Ok(false),
        };
        let Some(length) = memchr_short(b'<', body) else {
            return Ok(false);
        };
        let Some(after) = body[length..].strip_prefix(b"</v></c>") else {
            return Ok(false);
        };
        let cell = self.value(&head, &body[..length])?;
        let taken = ahead.len() - after.len();
        self.place(head, cell)?;
        scanner.pass(taken);
        Ok(true)
    }

    /// The same for `<c r="A1" t="inlineStr"><is><t>text</t></is></c>`; `at` is after `<t`.
    fn fast_inline<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        head: CellHead,
        at: usize,
    ) -> Result<bool, Stop> {
        let ahead = scanner.ahead();
        let tail = &ahead[at..];
        let (body, trim) = match tail.strip_prefix(b" xml:space=\"preserve\">") {
            Some(body) => (body, false),
            None => match tail.strip_prefix(b">") {
                Some(body) => (body, true),
                None => return Ok(false),
            },
        };
        let Some(length) = memchr(b'<', body) else {
            return Ok(false);
        };
        let Some(after) = body[length..].strip_prefix(b"</t></is></c>") else {
            return Ok(false);
        };
        let mut text = String::with_capacity(length);
        strings::append(&body[..length], trim, 0, &mut text);
        let taken = ahead.len() - after.len();
        self.place(head, text_cell(text))?;
        scanner.pass(taken);
        Ok(true)
    }

    /// A cell's attributes, however they are written.
    fn head<R: Read>(
        &self,
        scanner: &Scanner<R>,
        attributes: &std::ops::Range<usize>,
    ) -> Result<CellHead, Stop> {
        let mut head = CellHead {
            row: self.row,
            column: self.column,
            ..CellHead::default()
        };
        let wrong = |what| Stop::Cell(self.row, self.column, what);
        if let Some(at) = scanner.attribute(attributes, b"r") {
            (head.row, head.column) =
                reference(at).ok_or_else(|| wrong("its reference is none"))?;
        }
        if let Some(style) = scanner.attribute(attributes, b"s") {
            head.style = digits(style).unwrap_or(0);
        }
        if let Some(name) = scanner.attribute(attributes, b"t") {
            head.kind = kind(name).ok_or_else(|| wrong("its type is not known"))?;
        }
        Ok(head)
    }

    /// Reads a cell's content element by element.
    fn slow<R: Read>(&mut self, scanner: &mut Scanner<R>, head: CellHead) -> Result<(), Stop> {
        let mut cell = None;
        let mut formula = false;
        loop {
            match scanner.next()? {
                Event::Start { name, empty, .. } => match scanner.local(&name) {
                    b"v" if !empty && head.kind != CellKind::Inline => {
                        let mut text = String::new();
                        value_text(scanner, &mut text)?;
                        cell = if head.kind == CellKind::Text {
                            super::text::resolve_excel_escapes(&mut text, 0);
                            text_cell(text)
                        } else {
                            self.value(&head, text.as_bytes())?
                        };
                    }
                    b"is" if !empty => {
                        let mut text = String::new();
                        strings::rich(scanner, b"is", &mut text)?;
                        cell = text_cell(text);
                    }
                    b"f" => {
                        formula = true;
                        if !empty {
                            scanner.skip_element()?;
                        }
                    }
                    _ if !empty => scanner.skip_element()?,
                    _ => {}
                },
                Event::End { name } if scanner.local(&name) == b"c" => break,
                Event::Eof => return Err(ScanError::Broken("it is cut off in a cell").into()),
                _ => {}
            }
        }
        // An empty text is a formula's honest result; no value at all is not.
        if formula && cell.is_none() && head.kind != CellKind::Text {
            cell = Some(Cell::Error(NO_RESULT.to_owned()));
        }
        self.place(head, cell)
    }

    /// A cell's value from what its `<v>` says.
    fn value(&self, head: &CellHead, raw: &[u8]) -> Result<Option<Cell>, Stop> {
        let wrong = |what| Stop::Cell(head.row, head.column, what);
        if raw.is_empty() {
            return Ok(None);
        }
        Ok(match head.kind {
            CellKind::Number => Some(match self.number(head.style, raw) {
                Some(value) => Cell::Value(value),
                // What is no number is kept as it is written.
                None => Cell::Value(Value::Text(String::from_utf8_lossy(raw).into_owned())),
            }),
            CellKind::Shared => {
                let text =
                    digits(raw.trim_ascii()).and_then(|at| self.book.strings.get(at as usize));
                let text = text.ok_or_else(|| wrong("its text is not in the string table"))?;
                (!text.is_empty()).then(|| Cell::Value(Value::from(text)))
            }
            CellKind::Text | CellKind::Inline => {
                let mut text = String::with_capacity(raw.len());
                strings::append(raw, false, 0, &mut text);
                text_cell(text)
            }
            CellKind::Bool => match raw.trim_ascii() {
                b"1" | b"true" | b"TRUE" => Some(Cell::Value(Value::Bool(true))),
                b"0" | b"false" | b"FALSE" => Some(Cell::Value(Value::Bool(false))),
                b"" => None,
                _ => return Err(wrong("it is neither true nor false")),
            },
            CellKind::Error => Some(Cell::Error(String::from_utf8_lossy(raw).into_owned())),
            CellKind::Date => {
                let text = String::from_utf8_lossy(raw);
                let text = text.trim().trim_end_matches('Z');
                let kinds = [Kind::Date, Kind::DateTime, Kind::Time];
                let value = kinds.iter().find_map(|kind| Value::parse(text, *kind));
                Some(Cell::Value(value.unwrap_or_else(|| Value::from(text))))
            }
        })
    }

    fn number(&self, style: u32, raw: &[u8]) -> Option<Value> {
        let number = match small_integer(raw) {
            Some(integer) => integer as f64,
            None => {
                let text = std::str::from_utf8(raw).ok()?.trim();
                // `f64::from_str` also takes words such as "inf" and "nan".
                if !text.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
                    return None;
                }
                text.parse().ok().filter(|n: &f64| n.is_finite())?
            }
        };
        Some(match self.book.styles.shown(style) {
            Shown::Number => Value::Number(number),
            shown => serial::value(number, shown, self.book.is_1904),
        })
    }

    fn place(&mut self, head: CellHead, cell: Option<Cell>) -> Result<(), Stop> {
        if head.row != self.row {
            return Err(Stop::Cell(
                head.row,
                head.column,
                "it stands in another row",
            ));
        }
        self.column = head.column.saturating_add(1);
        if let Some(cell) = cell {
            let format = self.book.styles.format(head.style);
            self.cells.push(head.column, format, cell)?;
        }
        Ok(())
    }
}

fn text_cell(text: String) -> Option<Cell> {
    (!text.is_empty()).then_some(Cell::Value(Value::Text(text)))
}

/// The text of a `<v>`, with entities resolved; blanks count.
fn value_text<R: Read>(scanner: &mut Scanner<R>, to: &mut String) -> Result<(), ScanError> {
    loop {
        match scanner.next()? {
            Event::Text(text) => super::text::unescape(scanner.bytes(&text), to),
            Event::Raw(text) => to.push_str(&String::from_utf8_lossy(scanner.bytes(&text))),
            Event::End { .. } => return Ok(()),
            Event::Start { empty: false, .. } => scanner.skip_element()?,
            Event::Start { .. } => {}
            Event::Eof => return Err(ScanError::Broken("a value does not end")),
        }
    }
}

fn kind(name: &[u8]) -> Option<CellKind> {
    Some(match name {
        b"n" => CellKind::Number,
        b"s" => CellKind::Shared,
        b"str" => CellKind::Text,
        b"inlineStr" => CellKind::Inline,
        b"b" => CellKind::Bool,
        b"e" => CellKind::Error,
        b"d" => CellKind::Date,
        _ => return None,
    })
}

/// Where a byte is, looked for one by one: in the few bytes of a value that is faster than
/// setting up a vector search.
fn memchr_short(byte: u8, bytes: &[u8]) -> Option<usize> {
    let near = bytes.len().min(24);
    match bytes[..near].iter().position(|b| *b == byte) {
        Some(found) => Some(found),
        None => memchr(byte, &bytes[near..]).map(|i| near + i),
    }
}

/// What follows a formula, from the `>` of its end on; `tail` is what follows its `<f`. `None` where
/// it is not all there, or written in an odd way.
fn after_formula(tail: &[u8]) -> Option<&[u8]> {
    let end = scan::tag_end(tail)?;
    if end > 0 && tail[end - 1] == b'/' {
        return Some(&tail[end..]);
    }
    let text = &tail[end + 1..];
    let close = memchr(b'<', text)?;
    let after = text[close..].strip_prefix(b"</f")?;
    (after.first() == Some(&b'>')).then_some(after)
}

/// A number without sign, in at most 9 digits.
fn digits(raw: &[u8]) -> Option<u32> {
    if raw.is_empty() || raw.len() > 9 {
        return None;
    }
    raw.iter().try_fold(0u32, |n, b| {
        let digit = b.wrapping_sub(b'0');
        (digit < 10).then(|| n * 10 + u32::from(digit))
    })
}

/// A number without point and exponent that a double holds exactly.
fn small_integer(raw: &[u8]) -> Option<i64> {
    let (sign, digits) = match raw {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    // -0 is left to the general way, which keeps the sign.
    if digits.is_empty() || digits.len() > 15 || (sign < 0 && digits[0] == b'0') {
        return None;
    }
    let magnitude = digits.iter().try_fold(0i64, |n, b| {
        let digit = b.wrapping_sub(b'0');
        (digit < 10).then(|| n * 10 + i64::from(digit))
    })?;
    Some(sign * magnitude)
}

/// Row and column, from 0, of a reference such as `B12`.
fn reference(raw: &[u8]) -> Option<(u32, u32)> {
    let letters = raw.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    if letters == 0 || letters > 3 {
        return None;
    }
    let column = raw[..letters].iter().fold(0u32, |n, b| {
        n * 26 + u32::from(b.to_ascii_uppercase() - b'A') + 1
    });
    let row = digits(&raw[letters..])?;
    Some((row.checked_sub(1)?, column - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (text, want) in [
            ("A1", Some((0, 0))),
            ("xfd1048576", Some((1_048_575, 16_383))),
            ("AA10", Some((9, 26))),
            ("A0", None),
            ("1", None),
            ("A", None),
            ("", None),
            ("ABCD1", None),
            ("A1B", None),
            ("A99999999999", None),
        ] {
            assert_eq!(reference(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn integers() {
        for (text, want) in [
            ("0", Some(0)),
            ("-12", Some(-12)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("1000000000000000", None),
            ("-0", None),
            ("1.0", None),
            ("1e3", None),
            ("", None),
            ("-", None),
            ("+1", None),
        ] {
            assert_eq!(small_integer(text.as_bytes()), want, "{text}");
        }
    }
}
