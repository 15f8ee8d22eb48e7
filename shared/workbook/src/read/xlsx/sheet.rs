//! Reads the cells of a sheet. Cells that are written in the usual way take a fast path.

use std::io::Read;
use std::path::Path;

use memchr::{memchr, memchr2};

use super::cell::{CellHead, CellKind, Content, SheetContext, kind};
use super::strings;
use crate::read::options::ReadOptions;
use crate::read::reference::{parse_digits, parse_reference, parse_unusual_reference};
use crate::read::row::RowCells;
use crate::read::rows::{Assembler, Halt};
use crate::read::sheet_error::SheetError;
use crate::read::xml::{Event, ScanError, Scanner, tag_end, unescape};

/// Reads all rows. Returns the number of hidden rows that were skipped.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    path: &Path,
    options: &ReadOptions,
    book: &SheetContext<'_>,
    rows: &mut Assembler,
) -> Result<u64, SheetError> {
    let mut sheet = Sheet {
        book,
        row: 0,
        begun: false,
        numbered: true,
        column: 0,
        first_number: None,
        cells: RowCells::new(path, &options.limits),
        scratch: String::new(),
        hidden: false,
        skip_hidden: options.skip_hidden_rows,
        skipped: 0,
    };
    // Skip what precedes the cells: views, columns.
    loop {
        match scanner.next()? {
            Event::Start { name, empty, .. } if scanner.local(&name) == b"sheetData" => {
                if empty {
                    return Ok(0);
                }
                break;
            }
            Event::Eof => {
                return Err(ScanError::Malformed("the element `sheetData` is missing").into());
            }
            _ => {}
        }
    }
    loop {
        while sheet.fast_cell(scanner)? {}
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => match scanner.local(&name) {
                b"c" => {
                    let head = sheet.cell_head(scanner, &attributes)?;
                    if empty {
                        sheet.finish_cell(head, false, Content::None)?;
                    } else {
                        sheet.slow_cell(scanner, head)?;
                    }
                }
                b"row" => {
                    let head = RowHead::parse(scanner, &attributes)
                        .ok_or(SheetError::Cell(sheet.row, 0, WRONG_ROW))?;
                    sheet.begin_row(&head, rows)?;
                }
                _ if !empty => scanner.skip_element()?,
                _ => {}
            },
            Event::End { name } if scanner.local(&name) == b"sheetData" => {
                sheet.end_row(rows)?;
                return Ok(sheet.skipped);
            }
            Event::End { .. } | Event::Text(_) | Event::Raw(_) => {}
            Event::Eof => {
                return Err(
                    ScanError::Malformed("it is incomplete: it ends inside the rows").into(),
                );
            }
        }
    }
}

struct Sheet<'a> {
    book: &'a SheetContext<'a>,
    /// The current row, from 0.
    row: u32,
    /// Whether a row has begun.
    begun: bool,
    /// Whether the file gives the number of the current row, or a cell of it has.
    numbered: bool,
    /// The column of the next cell that has no reference.
    column: u32,
    /// The number of the first column, if cells have numbers instead of references.
    first_number: Option<u32>,
    cells: RowCells,
    /// The value of the current cell, if it has to be put together.
    scratch: String,
    /// Whether the current row is hidden.
    hidden: bool,
    /// Whether to skip hidden rows.
    skip_hidden: bool,
    skipped: u64,
}

/// The error for a row whose number is not one.
pub(super) const WRONG_ROW: &str = "its row number is invalid";

/// The attributes of `<row>` that matter.
pub(super) struct RowHead {
    /// Its number, from 0. `None` if it follows the row before.
    pub(super) number: Option<u32>,
    pub(super) hidden: bool,
}

impl RowHead {
    /// `None` if the number is invalid.
    pub(super) fn parse<R: Read>(
        scanner: &Scanner<R>,
        attributes: &std::ops::Range<usize>,
    ) -> Option<RowHead> {
        let number = match scanner.attribute(attributes, b"r") {
            Some(number) => Some(parse_digits(number)?.checked_sub(1)?),
            None => None,
        };
        let hidden = scanner.attribute(attributes, b"hidden");
        let hidden = matches!(hidden, Some(b"1" | b"true"));
        Some(RowHead { number, hidden })
    }
}

impl Sheet<'_> {
    /// Ends the row before. A row with the same number continues it.
    fn begin_row(&mut self, head: &RowHead, rows: &mut Assembler) -> Result<(), Halt> {
        let next = match self.begun {
            true => self.row.saturating_add(1),
            false => 0,
        };
        let row = head.number.unwrap_or(next);
        if row != self.row {
            self.end_row(rows)?;
        }
        self.row = row;
        self.begun = true;
        self.numbered = head.number.is_some();
        self.hidden = head.hidden;
        self.column = 0;
        Ok(())
    }

    fn end_row(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        if std::mem::take(&mut self.hidden) && self.skip_hidden && !self.cells.is_empty() {
            self.cells.clear();
            self.skipped += 1;
        }
        if self.cells.is_empty() {
            return Ok(());
        }
        rows.row(self.row.saturating_add(1), &mut self.cells)
    }

    /// Fast path: consumes one cell that is written as nearly all are:
    /// `<c r="A1" s="2" t="s"><v>0</v></c>`. `false`, and nothing consumed, if the next cell differs
    /// or is not fully buffered.
    fn fast_cell<R: Read>(&mut self, scanner: &mut Scanner<R>) -> Result<bool, SheetError> {
        let ahead = scanner.buffered();
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
            let known = match name {
                b'r' => match parse_reference(value) {
                    Some((row, column)) => {
                        (head.row, head.column) = (row, column);
                        true
                    }
                    None => false,
                },
                b's' => parse_digits(value)
                    .map(|style| head.style = style)
                    .is_some(),
                b't' => kind(value).map(|kind| head.kind = kind).is_some(),
                _ => false,
            };
            if !known {
                return Ok(false);
            }
            rest = &tail[length + 1..];
        }
        if let Some(after) = rest.strip_prefix(b"/>") {
            let taken = ahead.len() - after.len();
            self.finish_cell(head, false, Content::None)?;
            scanner.advance(taken);
            return Ok(true);
        }
        // Skip the formula; its saved result follows.
        let mut formula = false;
        if let [b'>', b'<', b'f', tail @ ..] = rest {
            let Some(after) = after_formula(tail) else {
                return Ok(false);
            };
            rest = after;
            formula = true;
        }
        let body = match (rest, head.kind) {
            ([b'>', b'<', b'i', b's', b'>', b'<', b't', tail @ ..], CellKind::Inline) => {
                return self.fast_inline(scanner, head, formula, ahead.len() - tail.len());
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
        let taken = ahead.len() - after.len();
        let raw = &body[..length];
        if head.kind == CellKind::Text {
            let mut text = self.cells.pool.take();
            unescape(raw, &mut text);
            self.finish_cell(head, formula, Content::Text(text))?;
        } else if memchr2(b'&', b'\r', raw).is_some() {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            unescape(raw, &mut scratch);
            self.finish_cell(head, formula, Content::Value(scratch.as_bytes()))?;
            self.scratch = scratch;
        } else {
            self.finish_cell(head, formula, Content::Value(raw))?;
        }
        scanner.advance(taken);
        Ok(true)
    }

    /// The same for `<c r="A1" t="inlineStr"><is><t>text</t></is></c>`. `at` is the offset after
    /// `<t`.
    fn fast_inline<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        head: CellHead,
        formula: bool,
        at: usize,
    ) -> Result<bool, SheetError> {
        let ahead = scanner.buffered();
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
        let mut text = self.cells.pool.take();
        strings::append(&body[..length], trim, 0, &mut text);
        let taken = ahead.len() - after.len();
        self.finish_cell(head, formula, Content::Inline(text))?;
        scanner.advance(taken);
        Ok(true)
    }

    /// Parses the attributes of a cell in any notation.
    fn cell_head<R: Read>(
        &mut self,
        scanner: &Scanner<R>,
        attributes: &std::ops::Range<usize>,
    ) -> Result<CellHead, SheetError> {
        let mut head = CellHead {
            row: self.row,
            column: self.column,
            ..CellHead::default()
        };
        let (row, column) = (self.row, self.column);
        let wrong = |what| SheetError::Cell(row, column, what);
        if let Some(at) = scanner.attribute(attributes, b"r") {
            if let Some(position) = parse_unusual_reference(at) {
                (head.row, head.column) = position;
            } else if let Some(number) = parse_digits(at.trim_ascii()) {
                self.numbered_column(number)
                    .ok_or_else(|| wrong("its reference is a number that is not its position"))?;
            } else {
                return Err(wrong("its reference is invalid"));
            }
        }
        if let Some(style) = scanner.attribute(attributes, b"s") {
            head.style = parse_digits(style).unwrap_or(0);
        }
        if let Some(name) = scanner.attribute(attributes, b"t") {
            head.kind = kind(name).ok_or_else(|| wrong("its type is unknown"))?;
        }
        Ok(head)
    }

    /// Checks the number of a column that a cell has instead of a reference. Whether such numbers
    /// begin at 0 or at 1 is nowhere defined, so that only numbers without gaps are clear.
    fn numbered_column(&mut self, number: u32) -> Option<()> {
        let base = number.checked_sub(self.column)?;
        (base <= 1 && *self.first_number.get_or_insert(base) == base).then_some(())
    }

    /// Reads the content of a cell element by element.
    fn slow_cell<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        head: CellHead,
    ) -> Result<(), SheetError> {
        let mut formula = false;
        let mut inline = None;
        let mut value = None;
        loop {
            match scanner.next()? {
                Event::Start { name, empty, .. } => match scanner.local(&name) {
                    b"v" if !empty && head.kind != CellKind::Inline => {
                        let mut text = match value.take() {
                            Some(text) => text,
                            None if head.kind == CellKind::Text => self.cells.pool.take(),
                            None => std::mem::take(&mut self.scratch),
                        };
                        text.clear();
                        value_text(scanner, &mut text)?;
                        value = Some(text);
                    }
                    b"is" if !empty => {
                        let mut text = self.cells.pool.take();
                        strings::rich(scanner, b"is", &mut text)?;
                        inline = Some(text);
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
                Event::Eof => {
                    return Err(
                        ScanError::Malformed("it is incomplete: it ends inside a cell").into(),
                    );
                }
                _ => {}
            }
        }
        match (inline, value) {
            (Some(text), _) => self.finish_cell(head, formula, Content::Inline(text)),
            (None, Some(text)) if head.kind == CellKind::Text => {
                self.finish_cell(head, formula, Content::Text(text))
            }
            (None, Some(text)) => {
                self.finish_cell(head, formula, Content::Value(text.as_bytes()))?;
                self.scratch = text;
                Ok(())
            }
            (None, None) => self.finish_cell(head, formula, Content::None),
        }
    }

    /// Adds a cell to the row. Both paths end here: they only find the parts of a cell.
    fn finish_cell(
        &mut self,
        head: CellHead,
        formula: bool,
        content: Content<'_>,
    ) -> Result<(), SheetError> {
        let wrong = |what| SheetError::Cell(head.row, head.column, what);
        let cell = self
            .book
            .cell(&head, formula, content, &mut self.cells.pool);
        let cell = cell.map_err(wrong)?;
        if head.row != self.row {
            // The reference of its first cell numbers a row that has no number.
            if self.numbered || !self.cells.is_empty() {
                return Err(wrong("its reference is in a different row"));
            }
            self.row = head.row;
        }
        self.numbered = true;
        self.column = head.column.saturating_add(1);
        if let Some(cell) = cell {
            let format = self.book.styles.format(head.style);
            self.cells.push(head.column, format, cell)?;
        }
        Ok(())
    }
}

/// The text of a `<v>`, with entities resolved and whitespace preserved.
fn value_text<R: Read>(scanner: &mut Scanner<R>, to: &mut String) -> Result<(), ScanError> {
    loop {
        match scanner.next()? {
            Event::Text(text) => unescape(scanner.bytes(&text), to),
            Event::Raw(text) => to.push_str(&String::from_utf8_lossy(scanner.bytes(&text))),
            Event::End { .. } => return Ok(()),
            Event::Start { empty: false, .. } => scanner.skip_element()?,
            Event::Start { .. } => {}
            Event::Eof => return Err(ScanError::Malformed("a value is not terminated")),
        }
    }
}

/// The offset of a byte. Checks the first bytes one by one, which is faster than a vector search for
/// short values.
fn memchr_short(byte: u8, bytes: &[u8]) -> Option<usize> {
    let near = bytes.len().min(24);
    match bytes[..near].iter().position(|b| *b == byte) {
        Some(found) => Some(found),
        None => memchr(byte, &bytes[near..]).map(|i| near + i),
    }
}

/// The bytes from the `>` that ends a formula on. `tail` is what follows its `<f`. `None` if the
/// formula is not fully buffered or is written in an unusual way.
fn after_formula(tail: &[u8]) -> Option<&[u8]> {
    if !matches!(tail.first(), Some(b' ' | b'>' | b'/')) {
        return None;
    }
    let end = tag_end(tail)?;
    if end > 0 && tail[end - 1] == b'/' {
        return Some(&tail[end..]);
    }
    let text = &tail[end + 1..];
    let close = memchr(b'<', text)?;
    let after = text[close..].strip_prefix(b"</f")?;
    (after.first() == Some(&b'>')).then_some(after)
}
