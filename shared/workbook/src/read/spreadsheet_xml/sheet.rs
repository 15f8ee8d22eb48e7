//! Reads the cells of a sheet.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use rowmill_domain::{Kind, Value};

use super::formats::Formats;
use crate::read::current_row::CurrentRow;
use crate::read::header::{MERGES_MAX, MergedRange};
use crate::read::number_format::FormatKind;
use crate::read::options::ReadOptions;
use crate::read::reference::parse_digits;
use crate::read::row::NO_RESULT;
use crate::read::rows::Assembler;
use crate::read::serial;
use crate::read::sheet_error::SheetError;
use crate::read::sink::Cell;
use crate::read::xml::{Event, ScanError, Scanner, unescape};

/// The error for a row or cell whose index is not one.
const WRONG_INDEX: &str = "its index is invalid";

/// The cells of a sheet.
pub(super) struct Sheet<'a> {
    formats: &'a Formats,
    is_1904: bool,
    current: CurrentRow,
    /// The most columns whose style to remember.
    columns_max: u64,
    /// Ranges of columns that have a style.
    columns: Vec<(u32, u32, u32)>,
    table_style: Option<u32>,
    text: String,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(
        path: &Path,
        options: &ReadOptions,
        formats: &'a Formats,
        is_1904: bool,
    ) -> Sheet<'a> {
        Sheet {
            formats,
            is_1904,
            current: CurrentRow::new(path, options),
            columns_max: options.limits.columns,
            columns: Vec::new(),
            table_style: None,
            text: String::new(),
        }
    }

    /// Reads all rows. The last event was the start of the sheet. Returns the number of hidden rows that
    /// were skipped.
    pub(super) fn read<R: Read>(
        mut self,
        scanner: &mut Scanner<R>,
        rows: &mut Assembler,
    ) -> Result<u64, SheetError> {
        let mut next_row = 0;
        let mut next_column = 0;
        loop {
            let (name, attributes, empty) = match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => (name, attributes, empty),
                Event::End { name } if scanner.local(&name) == b"Worksheet" => break,
                Event::Eof => {
                    let cut = "it is incomplete: it ends inside a sheet";
                    return Err(ScanError::Malformed(cut).into());
                }
                _ => continue,
            };
            match scanner.local(&name) {
                b"Table" => self.table_style = self.style(scanner, &attributes),
                b"Column" => {
                    let first = index(scanner, &attributes, next_column);
                    let first = first.ok_or(SheetError::Cell(0, next_column, WRONG_INDEX))?;
                    let last = first.saturating_add(span(scanner, &attributes, b"Span"));
                    next_column = last.saturating_add(1);
                    if let Some(style) = self.style(scanner, &attributes)
                        && (self.columns.len() as u64) < self.columns_max
                    {
                        self.columns.push((first, last, style));
                    }
                }
                b"Row" => {
                    let row = index(scanner, &attributes, next_row);
                    let row = row.ok_or(SheetError::Cell(next_row, 0, WRONG_INDEX))?;
                    next_row = row.saturating_add(1 + span(scanner, &attributes, b"Span"));
                    let hidden = scanner.attribute(&attributes, b"Hidden") == Some(b"1");
                    let style = self.style(scanner, &attributes);
                    self.current.start(row, hidden, rows)?;
                    if !empty {
                        self.row(scanner, style)?;
                    }
                }
                _ if !empty && scanner.local(&name) != b"Table" => scanner.skip_element()?,
                _ => {}
            }
        }
        self.current.end(rows)?;
        Ok(self.current.skipped)
    }

    /// The style that an element has.
    fn style<R: Read>(&self, scanner: &Scanner<R>, attributes: &Range<usize>) -> Option<u32> {
        self.formats
            .style(scanner.attribute(attributes, b"StyleID")?)
    }

    fn row<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        row_style: Option<u32>,
    ) -> Result<(), SheetError> {
        let mut next = 0;
        loop {
            let (name, attributes, empty) = match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => (name, attributes, empty),
                Event::End { name } if scanner.local(&name) == b"Row" => return Ok(()),
                Event::Eof => {
                    let cut = "it is incomplete: it ends inside a row";
                    return Err(ScanError::Malformed(cut).into());
                }
                _ => continue,
            };
            if scanner.local(&name) != b"Cell" {
                if !empty {
                    scanner.skip_element()?;
                }
                continue;
            }
            let row = self.current.index;
            let column = index(scanner, &attributes, next).ok_or(SheetError::Cell(
                row,
                next,
                WRONG_INDEX,
            ))?;
            next = column.saturating_add(1 + span(scanner, &attributes, b"MergeAcross"));
            let formula = scanner.attribute(&attributes, b"Formula").is_some();
            let of_column = || {
                let mut columns = self.columns.iter().rev();
                let found = columns.find(|c| (c.0..=c.1).contains(&column));
                found.map(|c| c.2)
            };
            let style = self
                .style(scanner, &attributes)
                .or(row_style)
                .or_else(of_column)
                .or(self.table_style)
                .unwrap_or_else(|| self.formats.default());
            let data = match empty {
                true => None,
                false => self.data(scanner)?,
            };
            let wrong = |what| SheetError::Cell(row, column, what);
            let cell = match data {
                Some(kind) => self.value(kind, style).map_err(wrong)?,
                None => None,
            };
            let cell = match cell {
                None if formula && data != Some(Type::String) => Cell::Error(NO_RESULT.to_owned()),
                None => continue,
                Some(cell) => cell,
            };
            let format = self.formats.format(style);
            self.current.cells.push(column, format, cell)?;
        }
    }

    /// Reads the content of a cell: the type of its data, whose text is then in `text`.
    fn data<R: Read>(&mut self, scanner: &mut Scanner<R>) -> Result<Option<Type>, ScanError> {
        let mut found = None;
        loop {
            match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => match scanner.local(&name) {
                    b"Data" => {
                        found = Some(Type::parse(scanner.attribute(&attributes, b"Type")));
                        self.text.clear();
                        if !empty {
                            all_text(scanner, &mut self.text)?;
                        }
                    }
                    // Comments have data of their own.
                    _ if !empty => scanner.skip_element()?,
                    _ => {}
                },
                Event::End { name } if scanner.local(&name) == b"Cell" => return Ok(found),
                Event::Eof => {
                    return Err(ScanError::Malformed(
                        "it is incomplete: it ends inside a cell",
                    ));
                }
                _ => {}
            }
        }
    }

    fn value(&self, kind: Type, style: u32) -> Result<Option<Cell>, &'static str> {
        let text = self.text.as_str();
        let shown = self.formats.kind(style);
        if text.is_empty() {
            return Ok(None);
        }
        Ok(Some(match kind {
            Type::String => Cell::Value(Value::from(text)),
            Type::Error => Cell::Error(text.trim().to_owned()),
            Type::Boolean => match text.trim() {
                "1" => Cell::Value(Value::Bool(true)),
                "0" => Cell::Value(Value::Bool(false)),
                _ => return Err("its value is neither true nor false"),
            },
            Type::Number => Cell::Value(match Value::parse(text, Kind::Number) {
                Some(Value::Number(number)) => serial::value(number, shown, self.is_1904),
                _ => Value::from(text),
            }),
            Type::DateTime => {
                let moment = text.trim().trim_end_matches('Z');
                let moment = [Kind::DateTime, Kind::Date]
                    .iter()
                    .find_map(|kind| Value::parse(moment, *kind));
                Cell::Value(match moment {
                    Some(Value::DateTime(moment)) => self.moment(moment, shown),
                    Some(date) => date,
                    None => Value::from(text),
                })
            }
        }))
    }

    /// What a moment displays. Times and durations count from the day before the first one.
    fn moment(&self, moment: NaiveDateTime, shown: FormatKind) -> Value {
        if shown == FormatKind::Number {
            return Value::DateTime(moment);
        }
        let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day);
        let zero = match self.is_1904 {
            true => day(1904, 1, 1),
            false => day(1899, 12, 31),
        };
        let Some(zero) = zero.and_then(|zero| zero.and_hms_opt(0, 0, 0)) else {
            return Value::DateTime(moment);
        };
        let since: TimeDelta = moment - zero;
        let mut number = since.num_milliseconds() as f64 / 86_400_000.0;
        // The 1900 date system has a day 60, 29 February 1900, that did not exist.
        if !self.is_1904 && number >= 60.0 {
            number += 1.0;
        }
        serial::value(number, shown, self.is_1904)
    }
}

/// The type of data.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    String,
    Number,
    DateTime,
    Boolean,
    Error,
}

impl Type {
    /// Data without a known type is text.
    fn parse(name: Option<&[u8]>) -> Type {
        match name {
            Some(b"Number") => Type::Number,
            Some(b"DateTime") => Type::DateTime,
            Some(b"Boolean") => Type::Boolean,
            Some(b"Error") => Type::Error,
            _ => Type::String,
        }
    }
}

/// The index (from 0) that an element has, or `next` if it does not say. `None` if it is invalid.
fn index<R: Read>(scanner: &Scanner<R>, attributes: &Range<usize>, next: u32) -> Option<u32> {
    match scanner.attribute(attributes, b"Index") {
        Some(index) => parse_digits(index.trim_ascii())?.checked_sub(1),
        None => Some(next),
    }
}

/// How many rows or columns an element covers after its first one.
fn span<R: Read>(scanner: &Scanner<R>, attributes: &Range<usize>, name: &[u8]) -> u32 {
    let span = scanner.attribute(attributes, name);
    span.and_then(|span| parse_digits(span.trim_ascii()))
        .unwrap_or(0)
}

/// Appends the text of the element whose start was the last event, and of the elements in it; consumes
/// its end.
fn all_text<R: Read>(scanner: &mut Scanner<R>, to: &mut String) -> Result<(), ScanError> {
    let depth = scanner.depth();
    while scanner.depth() >= depth {
        match scanner.next()? {
            Event::Text(text) => unescape(scanner.bytes(&text), to),
            Event::Raw(text) => to.push_str(&String::from_utf8_lossy(scanner.bytes(&text))),
            Event::Eof => return Err(ScanError::Malformed("a value is not terminated")),
            _ => {}
        }
    }
    Ok(())
}

/// The merged ranges that start in a row (from 0). The last event was the start of the sheet.
pub(super) fn merges<R: Read>(
    scanner: &mut Scanner<R>,
    wanted: u32,
) -> Result<Vec<MergedRange>, ScanError> {
    let mut merges = Vec::new();
    let (mut next_row, mut next_column) = (0, 0);
    let mut row = 0;
    loop {
        match scanner.next()? {
            Event::Start {
                name, attributes, ..
            } => match scanner.local(&name) {
                b"Row" => {
                    row = index(scanner, &attributes, next_row).unwrap_or(next_row);
                    if row > wanted {
                        return Ok(merges);
                    }
                    next_row = row.saturating_add(1 + span(scanner, &attributes, b"Span"));
                    next_column = 0;
                }
                b"Cell" => {
                    let column = index(scanner, &attributes, next_column).unwrap_or(next_column);
                    let last = |name| span(scanner, &attributes, name);
                    let end = column.saturating_add(last(b"MergeAcross"));
                    next_column = end.saturating_add(1);
                    let down = row.saturating_add(last(b"MergeDown"));
                    if row == wanted && (end > column || down > row) && merges.len() < MERGES_MAX {
                        merges.push(MergedRange {
                            rows: (row, down),
                            columns: (column, end),
                        });
                    }
                }
                _ => {}
            },
            Event::End { name } if scanner.local(&name) == b"Worksheet" => return Ok(merges),
            Event::Eof => return Ok(merges),
            _ => {}
        }
    }
}
