//! Reads xls with calamine, which loads it into memory.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use calamine::{Data, ExcelDateTime, ExcelDateTimeType, Range, Reader, SheetVisible, Xls};
use rowmill_domain::Value;

use super::biff;
use super::compound::Compound;
use super::error::ReadError;
use super::header::MergedRange;
use super::limits::ReadLimits;
use super::number_format::FormatKind;
use super::options::ReadOptions;
use super::row::RowCells;
use super::rows::{Assembler, Halt};
use super::serial;
use super::sheet_select::select_sheet;
use super::sink::{Cell, ReadSummary};

pub(crate) fn read_xls(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let limits = &options.limits;
    let size = file.metadata().map_err(|e| ReadError::io(path, e))?.len();
    ReadError::check(path, "whole_bytes", size, limits.whole_bytes)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(|e| ReadError::io(path, e))?;
    let stream = Compound::open(&bytes)
        .and_then(|c| c.stream("Workbook").or_else(|| c.stream("Book")))
        .ok_or_else(|| malformed(path, "compound file", &"it is damaged"))?;
    let spanned = biff::spanned_cells(&stream);
    ReadError::check(path, "whole_cells", spanned, limits.whole_cells)?;
    drop(stream);
    let mut book = Xls::new(Cursor::new(bytes)).map_err(|e| match e {
        calamine::XlsError::Password => ReadError::Encrypted {
            file: path.to_owned(),
        },
        e => malformed(path, "workbook", &e),
    })?;
    let sheet = select(path, options, book.sheets_metadata())?;
    let range = book
        .worksheet_range(&sheet)
        .map_err(|e| malformed(path, &format!("sheet `{sheet}`"), &e))?;
    rows.sheet(&sheet);
    // If the list of merged cells cannot be read, assume there are none.
    let merges: Vec<MergedRange> = book
        .merge_cells_by_sheet_name(&sheet)
        .unwrap_or_default()
        .into_iter()
        .map(|merged| MergedRange {
            rows: (merged.start.0, merged.end.0),
            columns: (merged.start.1, merged.end.1),
        })
        .collect();
    rows.merges(Box::new(move |row| {
        let begin = merges.iter().filter(|merged| merged.rows.0 == row);
        Ok(begin.copied().collect())
    }));
    read_range(path, limits, &range, rows)?;
    rows.finish(&|_| None)
}

fn malformed(path: &Path, place: &str, error: &dyn std::fmt::Display) -> ReadError {
    ReadError::malformed(path, place, error)
}

/// The name of the requested sheet, or of the first visible one.
fn select(
    path: &Path,
    options: &ReadOptions,
    sheets: &[calamine::Sheet],
) -> Result<String, ReadError> {
    let all: Vec<(&str, bool)> = sheets
        .iter()
        .map(|s| (s.name.as_str(), s.visible == SheetVisible::Visible))
        .collect();
    select_sheet(path, options.sheet.as_ref(), &all).map(|at| sheets[at].name.clone())
}

/// Adds all rows of a range.
fn read_range(
    path: &Path,
    limits: &ReadLimits,
    range: &Range<Data>,
    rows: &mut Assembler,
) -> Result<(), Halt> {
    let mut cells = RowCells::new(path, limits);
    let (first_row, first_column) = range.start().unwrap_or_default();
    for (row, values) in (first_row..).zip(range.rows()) {
        for (column, data) in (first_column..).zip(values) {
            cells.push(column, 0, to_cell(data.clone()))?;
        }
        rows.row(row + 1, &mut cells)?;
    }
    Ok(())
}

fn to_cell(data: Data) -> Cell {
    match data {
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text_cell(text),
        Data::Int(number) => Cell::Value(Value::Number(number as f64)),
        Data::Float(number) => self::number(number),
        Data::Bool(value) => Cell::Value(Value::Bool(value)),
        Data::DateTime(moment) => Cell::Value(self::date_or_time(&moment)),
        Data::Error(error) => Cell::Error(error.to_string()),
        Data::Empty => Cell::Empty,
    }
}

fn text_cell(text: String) -> Cell {
    if text.is_empty() {
        Cell::Empty
    } else {
        Cell::Value(Value::Text(text))
    }
}

fn number(number: f64) -> Cell {
    if number.is_finite() {
        Cell::Value(Value::Number(number))
    } else {
        Cell::Error("#NUM!".to_owned())
    }
}

fn date_or_time(moment: &ExcelDateTime) -> Value {
    let shown = if moment.is_duration() {
        FormatKind::Duration
    } else {
        FormatKind::DateOrTime
    };
    let number = moment.as_f64();
    // calamine does not expose the date system, but its dates reveal it. It panics on numbers far
    // beyond any date, but those stay numbers anyway.
    let as_1904 = ExcelDateTime::new(number, ExcelDateTimeType::DateTime, true);
    let is_1904 = number.abs() < 1e7 && as_1904.as_datetime() == moment.as_datetime();
    serial::value(number, shown, is_1904)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_both_date_systems_convert() {
        use ExcelDateTimeType::{DateTime, TimeDelta};
        for (number, kind, is_1904, want) in [
            (45_352.0, DateTime, false, "2024-03-01"),
            (45_352.0, DateTime, true, "2028-03-02"),
            (0.5, DateTime, false, "12:00:00"),
            (1.5, TimeDelta, false, "PT36H"),
            (1e300, DateTime, false, "1e300"),
            (-1e300, DateTime, true, "-1e300"),
            (1e300, TimeDelta, false, "1e300"),
        ] {
            let value = date_or_time(&ExcelDateTime::new(number, kind, is_1904));
            assert_eq!(value.to_text(), want);
        }
    }
}
