//! Reads xls and ods with calamine, which loads them into memory.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use calamine::{Data, ExcelDateTime, ExcelDateTimeType, Ods, Range, Reader, SheetVisible, Xls};
use chrono::NaiveTime;
use rowmill_domain::{Kind, Value};

use super::archive::Archive;
use super::biff;
use super::compound::Compound;
use super::error::ReadError;
use super::header::MergedRange;
use super::limits::ReadLimits;
use super::number_format::FormatKind;
use super::options::ReadOptions;
use super::row::RowCells;
use super::rows::{Assembler, Halt};
use super::sheet_select::select_sheet;
use super::sink::{Cell, ReadSummary};
use super::{ods, serial};

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
    read_range(path, limits, &range, &ods::Errors::new(), rows)?;
    rows.finish(&|_| None)
}

pub(crate) fn read_ods(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let archive = Archive::open(path, &mut file, &options.limits)?;
    archive.verify()?;
    if ods::is_encrypted(&archive, &options.limits) {
        let file = path.to_owned();
        return Err(ReadError::Encrypted { file }.into());
    }
    let mut errors = ods::check(&archive, &options.limits)?;
    let mut book = Ods::new(rewound(path, file)?).map_err(|e| match e {
        calamine::OdsError::Password => ReadError::Encrypted {
            file: path.to_owned(),
        },
        e => malformed(path, "workbook", &e),
    })?;
    let sheet = select(path, options, book.sheets_metadata())?;
    let range = book
        .worksheet_range(&sheet)
        .map_err(|e| malformed(path, &format!("sheet `{sheet}`"), &e))?;
    rows.sheet(&sheet);
    let errors = errors.remove(&sheet).unwrap_or_default();
    let limits = options.limits.clone();
    rows.merges(Box::new(move |row| {
        ods::merges(&archive, &limits, &sheet, row)
    }));
    read_range(path, &options.limits, &range, &errors, rows)?;
    rows.finish(&|_| None)
}

fn rewound(path: &Path, mut file: File) -> Result<BufReader<File>, ReadError> {
    file.seek(SeekFrom::Start(0))
        .map_err(|e| ReadError::io(path, e))?;
    Ok(BufReader::new(file))
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

/// Adds all rows of a range. `errors` holds the positions of texts that are error codes.
fn read_range(
    path: &Path,
    limits: &ReadLimits,
    range: &Range<Data>,
    errors: &ods::Errors,
    rows: &mut Assembler,
) -> Result<(), Halt> {
    let mut cells = RowCells::new(path, limits);
    let (first_row, first_column) = range.start().unwrap_or_default();
    for (row, values) in (first_row..).zip(range.rows()) {
        for (column, data) in (first_column..).zip(values) {
            let cell = match data {
                Data::String(text) if !text.is_empty() && errors.contains(&(row, column)) => {
                    Cell::Error(text.clone())
                }
                data => to_cell(data.clone()),
            };
            cells.push(column, 0, cell)?;
        }
        rows.row(row + 1, &mut cells)?;
    }
    Ok(())
}

fn to_cell(data: Data) -> Cell {
    match data {
        Data::String(text) => text_cell(text),
        Data::Int(number) => Cell::Value(Value::Number(number as f64)),
        Data::Float(number) => self::number(number),
        Data::Bool(value) => Cell::Value(Value::Bool(value)),
        Data::DateTime(moment) => Cell::Value(self::date_or_time(&moment)),
        Data::DateTimeIso(text) => ods_iso(text, &[Kind::Date, Kind::DateTime]),
        Data::DurationIso(text) => ods_duration(text),
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

/// A time value of an ods file. The format does not distinguish times of day from durations. Values
/// below 24 hours are taken as times of day, which they nearly always are.
fn ods_duration(text: String) -> Cell {
    match Value::parse(&text, Kind::Duration) {
        Some(Value::Duration(length)) => {
            let time = NaiveTime::MIN.overflowing_add_signed(length);
            Cell::Value(match time {
                (time, 0) => Value::Time(time),
                _ => Value::Duration(length),
            })
        }
        _ => text_cell(text),
    }
}

/// A date or time value of an ods file, or text if it is neither.
fn ods_iso(text: String, kinds: &[Kind]) -> Cell {
    let value = kinds.iter().find_map(|kind| Value::parse(&text, *kind));
    value.map_or_else(|| text_cell(text), Cell::Value)
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

    #[test]
    fn ods_times_below_a_day_are_times_of_day() {
        for (text, want) in [
            ("PT13H37M00S", Value::parse("13:37:00", Kind::Time)),
            ("PT24H", Value::parse("PT24H", Kind::Duration)),
            ("-PT1H", Value::parse("-PT1H", Kind::Duration)),
            ("P1D", Some(Value::from("P1D"))),
        ] {
            assert_eq!(Some(ods_duration(text.to_owned())), want.map(Cell::Value));
        }
    }
}
