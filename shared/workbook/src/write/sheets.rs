//! Series of sheets: when a sheet is full, the next one continues it.

use std::borrow::Cow;
use std::path::Path;

use rowmill_domain::limits::SHEET_ROWS;

use super::error::WriteError;
use super::formats::{Formats, Tint};
use super::links::Links;
use super::package::SheetRows;
use super::row::Row;
use super::stream::DeflateStream;
use super::widths::Widths;
use crate::read::column_letters;

/// The deflate level. Measured on 200,000 rows of 13 columns: level 3 takes 0.62 of the CPU time of
/// level 6 for a file that is 10 % larger; level 1 takes 0.53 for a file that is 64 % larger.
pub(super) const COMPRESSION: u32 = 3;

/// The maximum number of columns of a sheet.
const SHEET_COLUMNS: usize = 16_384;

/// A series of sheets, such as `Results`, `Results 2`. Rows go to the last one.
pub(super) struct SheetSeries {
    name: &'static str,
    columns: Vec<SheetColumn>,
    /// The widths of the values.
    pub(super) widths: Widths,
    /// The letters of the columns.
    letters: Vec<String>,
    /// The rows and links of full sheets.
    full: Vec<(SheetRows, Links)>,
    /// The rows of the last sheet.
    stream: DeflateStream,
    /// The links of the last sheet.
    links: Links,
    /// The number of rows in the last sheet, including the header.
    rows: u32,
}

/// A column of a sheet.
#[derive(Clone, Debug)]
pub(super) struct SheetColumn {
    pub(super) header: String,
    /// Whether the run added it.
    pub(super) added: bool,
    /// The width of its values in characters, as far as it is known before the first row.
    pub(super) width: u32,
}

/// A sheet without rows, and the rows to insert into it.
pub(super) struct SheetFrame {
    pub(super) name: String,
    /// The columns, with the widths to show them in.
    pub(super) columns: Vec<SheetColumn>,
    pub(super) rows: SheetRows,
    pub(super) links: Links,
    /// The last row, from 0.
    pub(super) last: u32,
}

impl SheetSeries {
    pub(super) fn begin(
        path: &Path,
        name: &'static str,
        columns: Vec<SheetColumn>,
    ) -> Result<SheetSeries, WriteError> {
        Ok(SheetSeries {
            name,
            letters: (0..columns.len() as u32).map(column_letters).collect(),
            widths: Widths::new(columns.iter().map(|column| column.width).collect()),
            columns,
            full: Vec::new(),
            stream: DeflateStream::begin(directory(path), COMPRESSION)
                .map_err(|e| WriteError::io(path, e))?,
            links: Links::default(),
            rows: 1,
        })
    }

    /// The name of the last sheet.
    pub(super) fn sheet_name(&self) -> Cow<'static, str> {
        sheet_name(self.name, self.full.len())
    }

    /// Makes room for rows of `columns` cells, up to the maximum of a sheet, and returns the number
    /// of columns. Columns beyond the headers have none.
    pub(super) fn widen(&mut self, columns: usize) -> usize {
        let present = self.letters.len();
        let columns = columns.min(SHEET_COLUMNS);
        let more = present..columns.max(present);
        self.letters
            .extend(more.map(|at| column_letters(at as u32)));
        self.letters.len()
    }

    pub(super) fn row(
        &mut self,
        path: &Path,
        formats: &Formats,
        tint: Tint,
        cells: impl FnOnce(&mut Row<'_>, &mut Links),
    ) -> Result<(), WriteError> {
        let io = |e| WriteError::io(path, e);
        if self.rows == SHEET_ROWS {
            let next = DeflateStream::begin(directory(path), COMPRESSION).map_err(io)?;
            let stream = std::mem::replace(&mut self.stream, next);
            let rows = SheetRows {
                rows: stream.end().map_err(io)?,
                dimension: dimension(&self.letters, SHEET_ROWS),
            };
            self.full.push((rows, std::mem::take(&mut self.links)));
            self.rows = 1;
        }
        self.rows += 1;
        let xml = &mut self.stream.block;
        let widths = self.widths.sample(self.rows);
        let mut row = Row::begin(xml, self.rows, formats, &self.letters, tint, widths);
        cells(&mut row, &mut self.links);
        row.end();
        self.stream.flush_full().map_err(io)
    }

    pub(super) fn end(self, path: &Path) -> Result<Vec<SheetFrame>, WriteError> {
        let rows = self.stream.end().map_err(|e| WriteError::io(path, e))?;
        let dimension = dimension(&self.letters, self.rows);
        let widths = self.widths;
        let columns = (0..).zip(self.columns).map(|(at, column)| SheetColumn {
            width: widths.of(at, &column.header),
            ..column
        });
        let columns: Vec<SheetColumn> = columns.collect();
        let mut full = self.full;
        full.push((SheetRows { rows, dimension }, self.links));
        let count = full.len();
        let sheets = full.into_iter().enumerate();
        let sheets = sheets.map(|(place, (rows, links))| SheetFrame {
            name: sheet_name(self.name, place).into_owned(),
            columns: columns.clone(),
            rows,
            links,
            last: if place + 1 == count {
                self.rows - 1
            } else {
                SHEET_ROWS - 1
            },
        });
        Ok(sheets.collect())
    }
}

/// The range of all cells in a sheet.
fn dimension(letters: &[String], rows: u32) -> String {
    let last = letters.last().map_or("A", String::as_str);
    format!("A1:{last}{rows}")
}

/// `Results`, then `Results 2` and so on.
fn sheet_name(name: &'static str, place: usize) -> Cow<'static, str> {
    match place {
        0 => Cow::Borrowed(name),
        place => Cow::Owned(format!("{name} {}", place + 1)),
    }
}

/// The directory of `path`.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
