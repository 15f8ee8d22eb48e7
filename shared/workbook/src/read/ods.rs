//! Finds out about an ods file what calamine does not report: how much memory it needs (a few bytes
//! of repeat counts can stand for millions of cells), which cells contain errors, which cells are
//! merged, and whether the file is encrypted.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::archive::{Archive, Part};
use super::error::ReadError;
use super::header::MergedRange;
use super::limits::ReadLimits;
use super::xml::{self, Attributes, Event, ScanError, Scanner};

/// Positions (row and column, from 0) of the cells in a table that contain an error.
pub(crate) type Errors = HashSet<(u32, u32)>;

/// Counts the cells that calamine creates for the tables.
#[derive(Default)]
struct Count {
    /// Errors by table name.
    errors: HashMap<String, Errors>,
    table: String,
    /// Properties of the current cell.
    error: bool,
    formula: bool,
    /// Cells in all tables before the current one.
    total: u64,
    /// Rows of the table, and rows up to the last one with a value.
    rows: u64,
    used_rows: u64,
    width: u64,
    /// Cells of the table, without repeats of rows.
    laid: u64,
    row_repeats: u64,
    /// Columns of the current row, and columns up to the last one with a value.
    columns: u64,
    used_columns: u64,
    /// Total size of the texts in bytes, including repeats.
    text: u64,
    cell_repeats: u64,
    cell_text: u64,
    filled: bool,
    errors_max: u64,
}

impl Count {
    fn end_cell(&mut self) {
        if std::mem::take(&mut self.error) {
            self.end_error();
        }
        self.columns = self.columns.saturating_add(self.cell_repeats);
        if std::mem::take(&mut self.filled) {
            self.used_columns = self.columns;
            let repeats = self.cell_repeats.saturating_mul(self.row_repeats.max(1));
            let bytes = self.cell_text.saturating_mul(repeats);
            self.text = self.text.saturating_add(bytes);
        }
        self.cell_text = 0;
    }

    /// Records the positions of an error, at most as many as the limit on cells. That limit is checked
    /// next.
    fn end_error(&mut self) {
        let errors = self.errors.entry(self.table.clone()).or_default();
        let rows = self.rows..self.rows.saturating_add(self.row_repeats);
        for row in rows {
            for column in self.columns..self.columns.saturating_add(self.cell_repeats) {
                let (Ok(row), Ok(column)) = (u32::try_from(row), u32::try_from(column)) else {
                    return;
                };
                if errors.len() as u64 >= self.errors_max {
                    return;
                }
                errors.insert((row, column));
            }
        }
    }

    fn end_row(&mut self) {
        self.rows = self.rows.saturating_add(self.row_repeats);
        self.laid = self.laid.saturating_add(self.used_columns);
        if self.used_columns > 0 {
            self.used_rows = self.rows;
            self.width = self.width.max(self.used_columns);
        }
        (self.columns, self.used_columns) = (0, 0);
    }

    fn end_table(&mut self) {
        let spread = self.used_rows.saturating_mul(self.width);
        self.total = self.total.saturating_add(spread.max(self.laid));
        (self.rows, self.used_rows, self.width, self.laid) = (0, 0, 0, 0);
    }

    fn cells(&self) -> u64 {
        let spread = self.used_rows.saturating_mul(self.width);
        self.total.saturating_add(spread.max(self.laid))
    }
}

/// The names of the open elements, concatenated.
#[derive(Default)]
struct Open {
    names: Vec<u8>,
    starts: Vec<usize>,
}

impl Open {
    fn start(&mut self, name: &[u8]) {
        self.starts.push(self.names.len());
        self.names.extend_from_slice(name);
    }

    /// Closes the innermost open element. Returns whether it has this name.
    fn end(&mut self, name: &[u8]) -> bool {
        let Some(start) = self.starts.pop() else {
            return false;
        };
        let matches = self.names.get(start..) == Some(name);
        self.names.truncate(start);
        matches
    }
}

/// Runs `read` on the part that contains the tables. Returns the default if the part is missing.
fn content<T: Default>(
    archive: &Archive,
    limits: &ReadLimits,
    read: impl FnOnce(&mut Scanner<Part>) -> Result<T, ScanError>,
) -> Result<T, ReadError> {
    match archive.find("content.xml") {
        Some(entry) => xml::scan(archive, entry, limits, read),
        None => Ok(T::default()),
    }
}

/// Whether the manifest says that the file is encrypted.
pub(crate) fn is_encrypted(archive: &Archive, limits: &ReadLimits) -> bool {
    let Some(manifest) = archive.find("META-INF/manifest.xml") else {
        return false;
    };
    let read = xml::scan(archive, manifest, limits, |scanner| {
        loop {
            match scanner.next()? {
                Event::Start { name, .. } if scanner.local(&name) == b"encryption-data" => {
                    return Ok(true);
                }
                Event::Eof => return Ok(false),
                _ => {}
            }
        }
    });
    // Manifests of old programs declare a document type, which the scanner rejects.
    read.unwrap_or(false)
}

/// The errors of each table, by table name. Fails if the cells or texts exceed the limits, or if
/// elements are not properly nested, which would make calamine loop forever.
pub(crate) fn check(
    archive: &Archive,
    limits: &ReadLimits,
) -> Result<HashMap<String, Errors>, ReadError> {
    content(archive, limits, |scanner| count(scanner, limits))
}

/// Whether the text of a formula is an error code. Only LibreOffice marks errors as such.
fn is_error(text: &[u8]) -> bool {
    let codes = [
        &b"#N/A"[..],
        b"#DIV/0!",
        b"#REF!",
        b"#NAME?",
        b"#VALUE!",
        b"#NUM!",
        b"#NULL!",
    ];
    let number = |n: &[u8]| n.len() == 3 && n.iter().all(u8::is_ascii_digit);
    codes.contains(&text) || text.strip_prefix(b"Err:").is_some_and(number)
}

fn count(
    scanner: &mut Scanner<Part>,
    limits: &ReadLimits,
) -> Result<HashMap<String, Errors>, ScanError> {
    let mut count = Count {
        errors_max: limits.whole_cells,
        ..Count::default()
    };
    let mut open = Open::default();
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => {
                if !empty {
                    open.start(scanner.bytes(&name));
                }
                let number = |name| number(scanner, &attributes, name);
                match scanner.local(&name) {
                    b"table" => {
                        let name = scanner.text_attribute(&attributes, b"name");
                        count.table = name.unwrap_or_default();
                    }
                    b"table-row" => {
                        count.row_repeats = number(b"number-rows-repeated");
                        if empty {
                            count.end_row();
                        }
                    }
                    b"table-cell" | b"covered-table-cell" => {
                        count.cell_repeats = number(b"number-columns-repeated");
                        let given = |name| scanner.attribute(&attributes, name);
                        count.filled = [&b"value-type"[..], b"formula"]
                            .iter()
                            .any(|name| given(name).is_some());
                        count.formula = given(b"formula").is_some();
                        let mut all = Attributes(scanner.bytes(&attributes));
                        // LibreOffice adds its own type to the standard type `string`.
                        count.error =
                            all.any(|(n, v)| n.ends_with(b":value-type") && v == b"error");
                        let text = [&b"string-value"[..], b"formula"];
                        count.cell_text = text
                            .iter()
                            .filter_map(|name| given(name))
                            .map(|text| text.len() as u64)
                            .sum();
                        if empty {
                            count.end_cell();
                        }
                    }
                    // A number of spaces.
                    b"s" => {
                        count.cell_text = count.cell_text.saturating_add(number(b"c"));
                        ScanError::check("text_bytes", count.cell_text, limits.text_bytes)?;
                    }
                    _ => {}
                }
            }
            Event::End { name } => {
                if !open.end(scanner.bytes(&name)) {
                    return Err(ScanError::Malformed(
                        "an end tag does not match its start tag",
                    ));
                }
                match scanner.local(&name) {
                    b"table-cell" | b"covered-table-cell" => count.end_cell(),
                    b"table-row" => count.end_row(),
                    b"table" => count.end_table(),
                    _ => continue,
                }
            }
            Event::Text(text) | Event::Raw(text) => {
                count.error |= count.formula && is_error(scanner.bytes(&text));
                count.cell_text = count.cell_text.saturating_add(text.len() as u64);
                continue;
            }
            Event::Eof if scanner.depth() > 0 => {
                return Err(ScanError::Malformed(
                    "it is incomplete: an element is not closed",
                ));
            }
            Event::Eof => return Ok(count.errors),
        }
        ScanError::check("whole_cells", count.cells(), limits.whole_cells)?;
        ScanError::check("string_bytes", count.text, limits.string_bytes)?;
    }
}

/// The value of an attribute that is a count. Default: 1.
fn number(scanner: &Scanner<Part>, attributes: &Range<usize>, name: &[u8]) -> u64 {
    let text = scanner.text_attribute(attributes, name);
    text.and_then(|t| t.trim().parse().ok()).unwrap_or(1)
}

/// The merged ranges that start in a row (from 0) of a table.
pub(crate) fn merges(
    archive: &Archive,
    limits: &ReadLimits,
    table: &str,
    row: u32,
) -> Result<Vec<MergedRange>, ReadError> {
    content(archive, limits, |scanner| find_merges(scanner, table, row))
}

fn find_merges(
    scanner: &mut Scanner<Part>,
    table: &str,
    wanted: u32,
) -> Result<Vec<MergedRange>, ScanError> {
    let mut merges = Vec::new();
    let mut inside = false;
    // The current row and column (from 0), and the number of repeats of the row.
    let (mut row, mut column, mut repeats) = (0u64, 0u64, 0);
    let last = |first: u64, count: u64| {
        let last = first.saturating_add(count.max(1) - 1);
        u32::try_from(last).unwrap_or(u32::MAX)
    };
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => {
                let number = |name| number(scanner, &attributes, name);
                match scanner.local(&name) {
                    b"table" => {
                        let name = scanner.text_attribute(&attributes, b"name");
                        inside = name.as_deref() == Some(table);
                    }
                    b"table-row" if inside => {
                        column = 0;
                        repeats = number(b"number-rows-repeated");
                        if empty {
                            row = row.saturating_add(repeats);
                        }
                    }
                    b"table-cell" | b"covered-table-cell" if inside => {
                        let spanned = (
                            number(b"number-rows-spanned"),
                            number(b"number-columns-spanned"),
                        );
                        if row == u64::from(wanted) && spanned > (1, 1) {
                            merges.push(MergedRange {
                                rows: (wanted, last(row, spanned.0)),
                                columns: (last(column, 1), last(column, spanned.1)),
                            });
                        }
                        column = column.saturating_add(number(b"number-columns-repeated"));
                    }
                    _ => {}
                }
            }
            Event::End { name } if inside => match scanner.local(&name) {
                b"table-row" => row = row.saturating_add(repeats),
                b"table" => return Ok(merges),
                _ => continue,
            },
            Event::Eof => return Ok(merges),
            _ => continue,
        }
        if row > u64::from(wanted) {
            return Ok(merges);
        }
    }
}
