//! Reads the rows of a table. Cells that are written in the usual way take a fast path.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use chrono::NaiveDate;
use memchr::memchr;

use super::cell::{CellContext, CellHead, NULL_DATE, Shown, count};
use super::styles::{Display, Styles};
use super::text::{CROSSED, Paragraphs};
use crate::read::archive::RATIO_FROM;
use crate::read::error::ReadError;
use crate::read::header::MergedRange;
use crate::read::options::ReadOptions;
use crate::read::row::RowCells;
use crate::read::rows::Assembler;
use crate::read::sheet_error::SheetError;
use crate::read::xml::{Event, ScanError, Scanner, tag_end};

/// Merged ranges to remember until the header has been decided on.
const MERGES_MAX: usize = 65_536;
/// Size of a cell in bytes without its text, to compare what repeats stand for with the size of the
/// file. The shortest cell with a value takes longer to write.
const CELL_BYTES: u64 = 8;

/// The state of reading a table.
pub(super) struct Table<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    styles: &'a Styles,
    rows: &'a mut Assembler,
    context: CellContext,
    /// The current row, from 0, and how often it is repeated.
    row: u64,
    row_repeats: u64,
    hidden: bool,
    /// The column of the next cell, from 0.
    column: u64,
    cells: RowCells,
    /// What cells of the current row display that have no style.
    row_format: Option<Display>,
    /// The same for columns: the first column after each range, and what its cells display.
    column_formats: Vec<(u64, Display)>,
    /// The last style looked up, and what it displays.
    last_style: (Vec<u8>, Display),
    merges: Rc<RefCell<VecDeque<MergedRange>>>,
    paragraphs: Paragraphs,
    /// The attributes of the current cell, on the slow path.
    attributes: Vec<u8>,
    /// Size of the file in bytes.
    file_bytes: u64,
    /// Size of all cells so far in bytes, including those that repeats stand for.
    expanded: u64,
    /// The number of hidden rows that were skipped.
    skipped: u64,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        path: &'a Path,
        options: &'a ReadOptions,
        styles: &'a Styles,
        null_date: Option<NaiveDate>,
        rows: &'a mut Assembler,
    ) -> Result<Table<'a>, ReadError> {
        let merges = Rc::new(RefCell::new(VecDeque::new()));
        let found = Rc::clone(&merges);
        rows.merges(Box::new(move |row| {
            let all = found.borrow();
            let of_row = all.iter().filter(|m: &&MergedRange| m.rows.0 == row);
            Ok(of_row.copied().collect())
        }));
        let metadata = std::fs::metadata(path).map_err(|e| ReadError::io(path, e))?;
        Ok(Table {
            path,
            options,
            styles,
            rows,
            context: CellContext {
                null_date: null_date.unwrap_or(NULL_DATE),
            },
            row: 0,
            row_repeats: 1,
            hidden: false,
            column: 0,
            cells: RowCells::new(path, &options.limits),
            row_format: None,
            column_formats: Vec::new(),
            last_style: (Vec::new(), Display::PLAIN),
            merges,
            paragraphs: Paragraphs::default(),
            attributes: Vec::new(),
            file_bytes: metadata.len(),
            expanded: 0,
            skipped: 0,
        })
    }

    /// Reads the table whose start was the last event; consumes its end. Returns the number of hidden
    /// rows that were skipped.
    pub(super) fn read<R: Read>(mut self, scanner: &mut Scanner<R>) -> Result<u64, SheetError> {
        loop {
            match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => match scanner.local(&name) {
                    b"table-row" => {
                        self.begin_row(scanner, &attributes);
                        if !empty {
                            self.cells(scanner)?;
                        }
                        self.end_row()?;
                    }
                    local if is_group(local) => {}
                    b"table-column" => {
                        self.table_column(scanner, &attributes)?;
                        if !empty {
                            scanner.skip_element()?;
                        }
                    }
                    _ if !empty => scanner.skip_element()?,
                    _ => {}
                },
                Event::End { name } => match scanner.local(&name) {
                    b"table" => return Ok(self.skipped),
                    local if is_group(local) => {}
                    _ => return Err(CROSSED.into()),
                },
                Event::Eof => {
                    return Err(
                        ScanError::Malformed("it is incomplete: it ends inside a table").into(),
                    );
                }
                Event::Text(_) | Event::Raw(_) => {}
            }
        }
    }

    /// Notes what the cells of columns display that have no style.
    fn table_column<R: Read>(
        &mut self,
        scanner: &Scanner<R>,
        attributes: &Range<usize>,
    ) -> Result<(), SheetError> {
        let repeats = scanner.attribute(attributes, b"number-columns-repeated");
        let start = self.column_formats.last().map_or(0, |range| range.0);
        let end = start.saturating_add(repeats.map_or(1, count));
        let format = match scanner.attribute(attributes, b"default-cell-style-name") {
            Some(style) => self.styles.display(style),
            None => Display::PLAIN,
        };
        match self.column_formats.last_mut() {
            Some(last) if last.1 == format => last.0 = end,
            _ => self.column_formats.push((end, format)),
        }
        let found = self.column_formats.len() as u64;
        Ok(ReadError::check(
            self.path,
            "columns",
            found,
            self.options.limits.columns,
        )?)
    }

    fn begin_row<R: Read>(&mut self, scanner: &Scanner<R>, attributes: &Range<usize>) {
        let get = |name| scanner.attribute(attributes, name);
        self.row_repeats = get(b"number-rows-repeated").map_or(1, count);
        self.hidden = matches!(get(b"visibility"), Some(b"collapse" | b"filter"));
        let style = get(b"default-cell-style-name");
        self.row_format = style.map(|style| self.styles.display(style));
        self.column = 0;
    }

    /// Reads the cells of a row; consumes its end.
    fn cells<R: Read>(&mut self, scanner: &mut Scanner<R>) -> Result<(), SheetError> {
        loop {
            while self.fast_cell(scanner)? {}
            match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => match scanner.local(&name) {
                    b"table-cell" | b"covered-table-cell" => {
                        let mut copy = std::mem::take(&mut self.attributes);
                        copy.clear();
                        copy.extend_from_slice(scanner.bytes(&attributes));
                        let mut paragraphs = std::mem::take(&mut self.paragraphs);
                        paragraphs.clear();
                        if !empty {
                            let limit = self.options.limits.text_bytes;
                            paragraphs_of_cell(scanner, &mut paragraphs, limit)?;
                        }
                        let shown = paragraphs.text().map_or(Shown::Nothing, Shown::Text);
                        self.finish_cell(&copy, shown)?;
                        (self.attributes, self.paragraphs) = (copy, paragraphs);
                    }
                    _ if !empty => scanner.skip_element()?,
                    _ => {}
                },
                Event::End { name } => match scanner.local(&name) {
                    b"table-row" => return Ok(()),
                    _ => return Err(CROSSED.into()),
                },
                Event::Eof => {
                    return Err(
                        ScanError::Malformed("it is incomplete: it ends inside a row").into(),
                    );
                }
                Event::Text(_) | Event::Raw(_) => {}
            }
        }
    }

    /// Fast path: consumes one cell that is written as nearly all are:
    /// `<table:table-cell attributes><text:p>text</text:p></table:table-cell>`. `false`, and nothing
    /// consumed, if the next cell differs or is not fully buffered.
    fn fast_cell<R: Read>(&mut self, scanner: &mut Scanner<R>) -> Result<bool, SheetError> {
        let ahead = scanner.buffered();
        let Some(tag) = ahead.strip_prefix(b"<table:table-cell") else {
            return Ok(false);
        };
        if !matches!(tag.first(), Some(b' ' | b'/' | b'>')) {
            return Ok(false);
        }
        let Some(end) = tag_end(tag) else {
            return Ok(false);
        };
        let (attributes, body) = (&tag[..end], &tag[end + 1..]);
        let (attributes, shown, after) = if let Some(attributes) = attributes.strip_suffix(b"/") {
            (attributes, Shown::Nothing, body)
        } else if let Some(text) = body.strip_prefix(b"<text:p>") {
            let Some(length) = memchr(b'<', text) else {
                return Ok(false);
            };
            let end = b"</text:p></table:table-cell>";
            let Some(after) = text[length..].strip_prefix(end) else {
                return Ok(false);
            };
            if length as u64 > self.options.limits.text_bytes {
                return Ok(false);
            }
            (attributes, Shown::Raw(&text[..length]), after)
        } else {
            return Ok(false);
        };
        let taken = ahead.len() - after.len();
        self.finish_cell(attributes, shown)?;
        scanner.advance(taken);
        Ok(true)
    }

    /// Adds a cell, with its repeats, to the row. Both paths end here: they only find the parts of a
    /// cell.
    fn finish_cell(&mut self, attributes: &[u8], shown: Shown<'_>) -> Result<(), SheetError> {
        let head = CellHead::parse(attributes);
        let at = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let display = match head.needs_format() {
            true => self.display(&head),
            false => Display::PLAIN,
        };
        let cell = self
            .context
            .cell(&head, display.kind, shown, &mut self.cells.pool)
            .map_err(|what| SheetError::Cell(at(self.row), at(self.column), what))?;
        let first = self.column;
        self.column = first.saturating_add(head.repeats);
        let Some(cell) = cell else {
            return Ok(());
        };
        if (head.rows_spanned, head.columns_spanned) > (1, 1) && self.rows.is_before_header() {
            let last = |first: u64, count: u64| at(first.saturating_add(count.max(1) - 1));
            let mut merges = self.merges.borrow_mut();
            if merges.len() >= MERGES_MAX {
                merges.pop_front();
            }
            merges.push_back(MergedRange {
                rows: (at(self.row), last(self.row, head.rows_spanned)),
                columns: (at(first), last(first, head.columns_spanned)),
            });
        }
        // Fails at the limit on columns, however often the cell is repeated.
        let last = self.column - 1;
        for column in first..last {
            self.cells.push(at(column), display.format, cell.clone())?;
        }
        Ok(self.cells.push(at(last), display.format, cell)?)
    }

    /// What a cell in the current column displays.
    fn display(&mut self, head: &CellHead<'_>) -> Display {
        if let Some(style) = head.style {
            if self.last_style.0 != style {
                self.last_style.0.clear();
                self.last_style.0.extend_from_slice(style);
                self.last_style.1 = self.styles.display(style);
            }
            return self.last_style.1;
        }
        self.row_format.unwrap_or_else(|| {
            let ranges = &self.column_formats;
            let range = ranges.partition_point(|(end, _)| *end <= self.column);
            ranges.get(range).map_or(Display::PLAIN, |r| r.1)
        })
    }

    /// Adds the row, with its repeats.
    fn end_row(&mut self) -> Result<(), SheetError> {
        let first = self.row;
        self.row = first.saturating_add(self.row_repeats);
        if self.cells.is_empty() {
            return Ok(());
        }
        if self.hidden && self.options.skip_hidden_rows {
            self.cells.clear();
            self.skipped = self.skipped.saturating_add(self.row_repeats);
            return Ok(());
        }
        let limits = &self.options.limits;
        ReadError::check(self.path, "rows", self.row, limits.rows)?;
        let (count, texts) = self.cells.size();
        let row_bytes = count.saturating_mul(CELL_BYTES).saturating_add(texts);
        let bytes = row_bytes.saturating_mul(self.row_repeats);
        self.expanded = self.expanded.saturating_add(bytes);
        // As for a part of an archive: a small file must not stand for much data.
        if self.expanded > RATIO_FROM {
            let ratio = self.expanded / self.file_bytes.max(1);
            ReadError::check(self.path, "ratio", ratio, limits.ratio)?;
        }
        let number = |row: u64| u32::try_from(row + 1).unwrap_or(u32::MAX);
        if self.row_repeats == 1 {
            return Ok(self.rows.row(number(first), &mut self.cells)?);
        }
        let copy = self.cells.copy();
        for row in first..self.row {
            self.cells.restore(&copy, texts);
            self.rows.row(number(row), &mut self.cells)?;
        }
        Ok(())
    }
}

/// Whether an element groups rows or columns.
fn is_group(local: &[u8]) -> bool {
    matches!(
        local,
        b"table-row-group"
            | b"table-header-rows"
            | b"table-rows"
            | b"table-column-group"
            | b"table-header-columns"
            | b"table-columns"
    )
}

/// Reads the paragraphs of the cell whose start was the last event; consumes its end.
fn paragraphs_of_cell<R: Read>(
    scanner: &mut Scanner<R>,
    to: &mut Paragraphs,
    limit: u64,
) -> Result<(), ScanError> {
    // Open lists and sections: their paragraphs are paragraphs of the cell.
    let mut open = 0u64;
    let is_container =
        |local: &[u8]| matches!(local, b"list" | b"list-item" | b"list-header" | b"section");
    loop {
        match scanner.next()? {
            Event::Start { name, empty, .. } => match (scanner.local(&name), empty) {
                (b"p" | b"h", false) => to.read(scanner, limit)?,
                (b"p" | b"h", true) => to.begin(),
                (local, false) if is_container(local) => open += 1,
                (_, false) => scanner.skip_element()?,
                (_, true) => {}
            },
            Event::End { name } => match (open, scanner.local(&name)) {
                (0, b"table-cell" | b"covered-table-cell") => return Ok(()),
                (1.., local) if is_container(local) => open -= 1,
                _ => return Err(CROSSED),
            },
            Event::Eof => {
                return Err(ScanError::Malformed(
                    "it is incomplete: it ends inside a cell",
                ));
            }
            Event::Text(_) | Event::Raw(_) => {}
        }
    }
}
