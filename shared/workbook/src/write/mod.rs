//! Results to bytes.

mod cell;
mod error;
mod summary;

use std::path::{Path, PathBuf};

use rowmill_domain::limits::SHEET_ROWS;
use rowmill_domain::manifest::Rejected;
use rowmill_domain::run::Counts;
use rowmill_domain::{Kind, Status, Value};
use rust_xlsxwriter::{DocProperties, Workbook, Worksheet};

pub use error::WriteError;

use cell::{Formats, Tint};

/// Deflate's level. Measured on 200,000 rows of 13 columns: 3 takes 0.62 of the CPU time of 6, for
/// a file 10 % larger; 1 takes 0.53 for a file 64 % larger.
const COMPRESSION: u8 = 3;

/// What a result workbook has besides its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSpec {
    /// The input's columns, in order.
    pub columns: Vec<ColumnSpec>,
    /// Names of the columns that steps and expressions added, in order.
    pub added: Vec<String>,
    /// The run, for the document's properties.
    pub run_id: String,
    /// The document's title.
    pub title: String,
}

/// A column of the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSpec {
    /// Its header.
    pub name: String,
    /// What its values are; `None` where they are mixed.
    pub kind: Option<Kind>,
    /// Excel's number format for its numbers or dates.
    pub format: Option<String>,
    /// Characters of its longest value; 0 where that is not known.
    pub width: u32,
}

/// What the sheet `Summary` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Names and values, one a line: the file, the run, how long it took.
    pub facts: Vec<(String, String)>,
    /// Rows in and out.
    pub counts: Counts,
    /// Per step.
    pub steps: Vec<StepFigures>,
    /// The distribution of a column, as asked for by the pipeline.
    pub chart: Option<Chart>,
    /// What the reader of the workbook should know.
    pub notes: Vec<String>,
}

/// What a step took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepFigures {
    /// The step.
    pub step: String,
    /// Records it was done for.
    pub ok: u64,
    /// Records it failed on.
    pub failed: u64,
    /// Milliseconds a record on average.
    pub mean_ms: f64,
    /// Milliseconds that 95 of 100 records stayed within.
    pub p95_ms: f64,
    /// Milliseconds of the slowest record.
    pub max_ms: f64,
}

/// A bar chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Its title.
    pub title: String,
    /// A bar each: its label and its height.
    pub bars: Vec<(String, u64)>,
}

/// What came of writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// What could not be written as it was, for the mail: texts that were cut.
    pub notes: Vec<String>,
}

/// Writes a result workbook: sheets `Results` (the input's columns, the added ones, `status`,
/// `error`, `attempts`), `Rejected` and `Summary`.
///
/// Takes constant memory. More records than a sheet takes go on in `Results 2` and so on. Texts
/// longer than a cell takes are cut, with a mark. No text becomes a formula or a link.
pub struct ResultWriter {
    path: PathBuf,
    book: Workbook,
    spec: ResultSpec,
    formats: Formats,
    results: Rows,
    rejected: Rows,
    cut: Cut,
}

/// The sheets of one kind, of which the last is being written.
struct Rows {
    name: &'static str,
    /// The sheets' places in the workbook.
    sheets: Vec<usize>,
    /// The next row of the last sheet, from 0.
    next: u32,
    columns: u16,
}

/// Texts that were cut.
#[derive(Default)]
struct Cut {
    count: u64,
    first: Option<String>,
}

impl ResultWriter {
    /// Begins a workbook at `path`, replacing what is there when it is finished.
    ///
    /// # Errors
    /// [`WriteError::Columns`] for more columns than a sheet takes, and what the file system says.
    pub fn create(path: &Path, spec: &ResultSpec) -> Result<ResultWriter, WriteError> {
        let columns = spec.columns.len() + spec.added.len() + 3;
        if columns > rowmill_domain::limits::SHEET_COLUMNS as usize {
            return Err(WriteError::Columns {
                file: path.to_owned(),
                found: columns,
            });
        }
        let mut book = Workbook::new();
        book.set_zip_compression_level(COMPRESSION);
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            book.set_tempdir(directory)
                .map_err(|e| WriteError::new(path, e))?;
        }
        let mut writer = ResultWriter {
            path: path.to_owned(),
            book,
            formats: Formats::new(spec),
            spec: spec.clone(),
            results: Rows {
                name: "Results",
                sheets: Vec::new(),
                next: 0,
                columns: columns as u16,
            },
            rejected: Rows {
                name: "Rejected",
                sheets: Vec::new(),
                next: 0,
                columns: spec.columns.len() as u16 + 3,
            },
            cut: Cut::default(),
        };
        writer.begin_results()?;
        Ok(writer)
    }

    /// Writes a record: its input, what was added (`None`: an empty cell), and how it ended.
    ///
    /// # Errors
    /// What the file system says.
    pub fn row(
        &mut self,
        input: &[Option<&Value>],
        added: &[Option<&Value>],
        status: Status,
        error: Option<&str>,
        attempts: u32,
    ) -> Result<(), WriteError> {
        if self.results.next == SHEET_ROWS {
            self.begin_results()?;
        }
        let row = self.results.next;
        self.results.next += 1;
        let tint = match status {
            Status::Ok => Tint::None,
            Status::Failed => Tint::Failed,
            Status::Missing => Tint::Missing,
        };
        let sheet_name = self.results.sheet_name();
        let sheet = self.results.last(&mut self.book, &self.path)?;
        let mut put = cell::Put {
            sheet,
            formats: &self.formats,
            cut: &mut self.cut,
            sheet_name: &sheet_name,
        };
        let values =
            padded(input, self.spec.columns.len()).chain(padded(added, self.spec.added.len()));
        let mut written = Ok(());
        let mut column = 0;
        for value in values {
            written = written.and_then(|()| put.value(row, column, value, tint));
            column += 1;
        }
        written
            .and_then(|()| put.text(row, column, status.name(), tint))
            .and_then(|()| put.text(row, column + 1, error.unwrap_or(""), tint))
            .and_then(|()| put.number(row, column + 2, f64::from(attempts), tint))
            .map_err(|e| WriteError::new(&self.path, e))
    }

    /// Writes a row that did not become a record to the sheet `Rejected`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rejected(&mut self, rejected: &Rejected) -> Result<(), WriteError> {
        if self.rejected.sheets.is_empty() || self.rejected.next == SHEET_ROWS {
            self.begin_rejected()?;
        }
        let row = self.rejected.next;
        self.rejected.next += 1;
        let sheet_name = self.rejected.sheet_name();
        let sheet = self.rejected.last(&mut self.book, &self.path)?;
        let mut put = cell::Put {
            sheet,
            formats: &self.formats,
            cut: &mut self.cut,
            sheet_name: &sheet_name,
        };
        let mut written = put
            .number(row, 0, f64::from(rejected.row), Tint::None)
            .and_then(|()| put.text(row, 1, rejected.reason.text(), Tint::None))
            .and_then(|()| put.text(row, 2, &rejected.detail, Tint::None));
        let values = rejected.values.iter().take(self.spec.columns.len());
        for (column, value) in (3..).zip(values) {
            written = written.and_then(|()| put.text(row, column, value, Tint::None));
        }
        written.map_err(|e| WriteError::new(&self.path, e))
    }

    /// Writes the sheet `Summary` and the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self, summary: &Summary) -> Result<Written, WriteError> {
        if self.rejected.sheets.is_empty() {
            self.begin_rejected()?;
        }
        let path = self.path;
        let fail = |e| WriteError::new(&path, e);
        for rows in [&self.results, &self.rejected] {
            let sheet = rows.last(&mut self.book, &path)?;
            rows.filter(sheet, rows.next).map_err(fail)?;
        }
        let mut written = Written::default();
        if let Some(first) = self.cut.first {
            written.notes.push(format!(
                "{} texts are longer than a cell takes (32,767 characters) and were cut; the \
                 first is in {first}.",
                self.cut.count
            ));
        }
        let mut notes = summary.notes.clone();
        notes.extend(written.notes.iter().cloned());
        let sheet = self.book.add_worksheet();
        summary::write(sheet, summary, &notes).map_err(fail)?;
        self.book.set_properties(
            &DocProperties::new()
                .set_title(&self.spec.title)
                .set_subject(&self.spec.run_id)
                .set_company("Rowmill")
                .set_custom_property("Run", self.spec.run_id.as_str()),
        );
        // Written beside and renamed, so that a killed report leaves no half workbook.
        let partial = path.with_extension("xlsx.part");
        self.book.save(&partial).map_err(fail)?;
        std::fs::rename(&partial, &path).map_err(|e| WriteError::Io {
            file: path.clone(),
            source: e,
        })?;
        Ok(written)
    }

    fn begin_results(&mut self) -> Result<(), WriteError> {
        let inputs = self.spec.columns.iter().map(|c| (c.name.clone(), c.width));
        let added = self.spec.added.iter().map(|name| (name.clone(), 0));
        let ends = [("status", 8), ("error", 40), ("attempts", 8)];
        let headers: Vec<(String, u32)> = inputs
            .chain(added)
            .chain(ends.map(|(name, width)| (name.to_owned(), width)))
            .collect();
        self.results
            .begin(&mut self.book, &self.path, &self.formats, &headers)
    }

    fn begin_rejected(&mut self) -> Result<(), WriteError> {
        let starts = [("row", 8), ("reason", 24), ("detail", 40)];
        let inputs = self.spec.columns.iter().map(|c| (c.name.clone(), c.width));
        let headers: Vec<(String, u32)> = starts
            .map(|(name, width)| (name.to_owned(), width))
            .into_iter()
            .chain(inputs)
            .take(rowmill_domain::limits::SHEET_COLUMNS as usize)
            .collect();
        self.rejected
            .begin(&mut self.book, &self.path, &self.formats, &headers)
    }
}

/// Exactly `count` values.
fn padded<'a, 'v>(
    values: &'a [Option<&'v Value>],
    count: usize,
) -> impl Iterator<Item = Option<&'v Value>> + 'a {
    values
        .iter()
        .copied()
        .chain(std::iter::repeat(None))
        .take(count)
}

impl Rows {
    fn sheet_name(&self) -> String {
        match self.sheets.len() {
            0 | 1 => self.name.to_owned(),
            n => format!("{} {n}", self.name),
        }
    }

    fn last<'b>(
        &self,
        book: &'b mut Workbook,
        path: &Path,
    ) -> Result<&'b mut Worksheet, WriteError> {
        let at = self.sheets.last().copied().unwrap_or(0);
        book.worksheet_from_index(at)
            .map_err(|e| WriteError::new(path, e))
    }

    /// Begins a sheet with its header.
    fn begin(
        &mut self,
        book: &mut Workbook,
        path: &Path,
        formats: &Formats,
        headers: &[(String, u32)],
    ) -> Result<(), WriteError> {
        let fail = |e| WriteError::new(path, e);
        if !self.sheets.is_empty() {
            let sheet = self.last(book, path)?;
            self.filter(sheet, self.next).map_err(fail)?;
        }
        let place = book.worksheets().len();
        self.sheets.push(place);
        self.next = 1;
        let name = self.sheet_name();
        let sheet = book.add_worksheet_with_constant_memory().map_err(fail)?;
        let write = || {
            sheet.set_name(name)?;
            sheet.set_freeze_panes(1, 0)?;
            for (column, (header, width)) in (0..).zip(headers) {
                sheet.set_column_width(column, column_width(header, *width))?;
                let header = cell::cut(header);
                sheet.write_string_with_format(0, column, header, &formats.header)?;
            }
            Ok(())
        };
        write().map_err(fail)
    }

    fn filter(&self, sheet: &mut Worksheet, rows: u32) -> Result<(), rust_xlsxwriter::XlsxError> {
        if rows > 0 && self.columns > 0 {
            sheet.autofilter(0, 0, rows - 1, self.columns - 1)?;
        }
        Ok(())
    }
}

/// A column's width in characters: its longest value's or its header's with room for the filter's
/// button, within what can be read on a screen.
fn column_width(header: &str, width: u32) -> f64 {
    let header = header.chars().count() as u32 + 3;
    f64::from(width.saturating_add(1).max(header).clamp(8, 60))
}
