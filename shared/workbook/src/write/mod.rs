//! Results to bytes.

mod error;
mod formats;
mod package;
mod row;
mod stream;
mod summary;

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use rowmill_domain::limits::SHEET_ROWS;
use rowmill_domain::manifest::Rejected;
use rowmill_domain::run::Counts;
use rowmill_domain::{Kind, Status, Value};
use rust_xlsxwriter::{DocProperties, Workbook, XlsxError};

pub use error::WriteError;

use formats::{Formats, Tint};
use package::SheetRows;
use row::{Cut, Row, shortened};
use stream::Stream;

use crate::read::column_letters;

/// Deflate's level. Measured on 200,000 rows of 13 columns: 3 takes 0.62 of the CPU time of 6, for
/// a file 10 % larger; 1 takes 0.53 for a file 64 % larger.
const COMPRESSION: u32 = 3;

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

impl ResultSpec {
    /// The name of a column, of the input's and then of the added ones.
    fn column_name(&self, at: usize) -> &str {
        let inputs = self.columns.iter().map(|column| column.name.as_str());
        let mut names = inputs.chain(self.added.iter().map(String::as_str));
        names.nth(at).unwrap_or_default()
    }
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
///
/// rust_xlsxwriter writes everything but the rows; those are made and deflated here, at the same
/// time, and put into its sheets at the end.
pub struct ResultWriter {
    path: PathBuf,
    spec: ResultSpec,
    formats: Formats,
    results: Sheets,
    rejected: Sheets,
    cut: Cut,
}

/// The sheets of one kind, of which the last is being written.
struct Sheets {
    name: &'static str,
    headers: Vec<(String, u32)>,
    /// The columns' letters.
    letters: Vec<String>,
    /// Sheets that are full: their rows.
    full: Vec<SheetRows>,
    /// The last sheet's rows.
    stream: Stream,
    /// Rows of the last sheet, the header counted.
    rows: u32,
}

impl ResultWriter {
    /// Begins a workbook at `path`, replacing what is there when it is finished. Rows lie in files
    /// without a name beside it until then.
    ///
    /// # Errors
    /// [`WriteError::Columns`] for more columns than a sheet takes, and what the file system says.
    pub fn create(path: &Path, spec: &ResultSpec) -> Result<ResultWriter, WriteError> {
        let most = rowmill_domain::limits::SHEET_COLUMNS as usize;
        let columns = spec.columns.len() + spec.added.len() + 3;
        if columns > most {
            return Err(WriteError::Columns {
                file: path.to_owned(),
                found: columns,
            });
        }
        let inputs = || spec.columns.iter().map(|c| (c.name.clone(), c.width));
        let fixed = |name: &str, width| (name.to_owned(), width);
        let results = inputs()
            .chain(spec.added.iter().map(|name| (name.clone(), 0)))
            .chain([fixed("status", 8), fixed("error", 40), fixed("attempts", 8)])
            .collect();
        let rejected = [fixed("row", 8), fixed("reason", 24), fixed("detail", 40)]
            .into_iter()
            .chain(inputs())
            .take(most)
            .collect();
        Ok(ResultWriter {
            path: path.to_owned(),
            formats: Formats::new(spec),
            results: Sheets::begin(path, "Results", results)?,
            rejected: Sheets::begin(path, "Rejected", rejected)?,
            spec: spec.clone(),
            cut: Cut::default(),
        })
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
        let tint = match status {
            Status::Ok => Tint::None,
            Status::Failed => Tint::Failed,
            Status::Missing => Tint::Missing,
        };
        let sheet = self.results.sheet_name();
        let (columns, added_columns) = (self.spec.columns.len(), self.spec.added.len());
        let (cut, spec) = (&mut self.cut, &self.spec);
        self.results.row(&self.path, &self.formats, tint, |row| {
            let values = padded(input, columns).chain(padded(added, added_columns));
            let mut error = Cow::Borrowed(error.unwrap_or(""));
            for (at, value) in values.enumerate() {
                let before = cut.count;
                row.value(value, cut, &sheet);
                if cut.count > before {
                    let parting = if error.is_empty() { "" } else { "; " };
                    error.to_mut().push_str(&format!(
                        "{parting}{}: the text is cut at 32,767 characters",
                        spec.column_name(at)
                    ));
                }
            }
            row.text(status.name(), cut, &sheet);
            row.text(&error, cut, &sheet);
            row.count(attempts);
        })
    }

    /// Writes a row that did not become a record to the sheet `Rejected`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rejected(&mut self, rejected: &Rejected) -> Result<(), WriteError> {
        let sheet = self.rejected.sheet_name();
        let columns = self.rejected.headers.len() - 3;
        let cut = &mut self.cut;
        self.rejected
            .row(&self.path, &self.formats, Tint::None, |row| {
                row.count(rejected.row);
                row.text(rejected.reason.text(), cut, &sheet);
                row.text(&rejected.detail, cut, &sheet);
                for value in rejected.values.iter().take(columns) {
                    row.text(value, cut, &sheet);
                }
            })
    }

    /// Writes the sheet `Summary` and the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(self, summary: &Summary) -> Result<Written, WriteError> {
        let path = self.path;
        let fail = |e| WriteError::new(&path, e);
        let io = |e| WriteError::io(&path, e);
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

        let mut book = Workbook::new();
        book.set_tempdir(directory(&path)).map_err(fail)?;
        let mut sheets = self.results.end(&path)?;
        sheets.extend(self.rejected.end(&path)?);
        for (place, sheet) in sheets.iter().enumerate() {
            frame(&mut book, sheet, &self.formats, place == 0).map_err(fail)?;
        }
        summary::write(book.add_worksheet(), summary, &notes).map_err(fail)?;
        book.set_properties(
            &DocProperties::new()
                .set_title(&self.spec.title)
                .set_subject(&self.spec.run_id)
                .set_company("Rowmill")
                .set_custom_property("Run", self.spec.run_id.as_str()),
        );
        let frame = tempfile::NamedTempFile::new_in(directory(&path)).map_err(io)?;
        book.save(frame.path()).map_err(fail)?;

        // Written beside and renamed, so that a killed report leaves no half workbook.
        let partial = path.with_extension("xlsx.part");
        let rows = sheets.into_iter().map(|s| s.rows).collect();
        let file = File::create(&partial).map_err(io)?;
        let packed = package::write(frame.path(), file, rows, COMPRESSION)
            .and_then(|()| std::fs::rename(&partial, &path));
        if let Err(error) = packed {
            // What is left of it is of no use; the error is what counts.
            let _ = std::fs::remove_file(&partial);
            return Err(io(error));
        }
        Ok(written)
    }
}

/// A sheet of the frame and the rows that go into it.
struct Framed {
    name: String,
    headers: Vec<(String, u32)>,
    rows: SheetRows,
    /// The last row, from 0.
    last: u32,
}

/// Writes a sheet without its rows. On the first one a cell of each format stands below the header,
/// which numbers them: in constant memory a format's number is the order of its first use.
fn frame(
    book: &mut Workbook,
    framed: &Framed,
    formats: &Formats,
    first: bool,
) -> Result<(), XlsxError> {
    let sheet = book.add_worksheet_with_constant_memory()?;
    sheet.set_name(&framed.name)?;
    sheet.set_freeze_panes(1, 0)?;
    for (column, (header, width)) in (0..).zip(&framed.headers) {
        sheet.set_column_width(column, column_width(header, *width))?;
        sheet.write_string_with_format(0, column, shortened(header), &formats.header)?;
    }
    let columns = framed.headers.len() as u16;
    sheet.autofilter(0, 0, framed.last, columns.saturating_sub(1))?;
    if first {
        for (row, format) in (1..).zip(&formats.others) {
            sheet.write_blank(row, 0, format)?;
        }
    }
    Ok(())
}

/// Exactly `count` values.
fn padded<'a, 'v>(
    values: &'a [Option<&'v Value>],
    count: usize,
) -> impl Iterator<Item = Option<&'v Value>> + 'a {
    let missing = std::iter::repeat(None);
    values.iter().copied().chain(missing).take(count)
}

/// Where files beside `path` go.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

impl Sheets {
    fn begin(
        path: &Path,
        name: &'static str,
        headers: Vec<(String, u32)>,
    ) -> Result<Sheets, WriteError> {
        Ok(Sheets {
            name,
            letters: (0..headers.len() as u32).map(column_letters).collect(),
            headers,
            full: Vec::new(),
            stream: Stream::begin(directory(path), COMPRESSION)
                .map_err(|e| WriteError::io(path, e))?,
            rows: 1,
        })
    }

    /// The name of the last sheet.
    fn sheet_name(&self) -> Cow<'static, str> {
        sheet_name(self.name, self.full.len())
    }

    fn row(
        &mut self,
        path: &Path,
        formats: &Formats,
        tint: Tint,
        cells: impl FnOnce(&mut Row<'_>),
    ) -> Result<(), WriteError> {
        let io = |e| WriteError::io(path, e);
        if self.rows == SHEET_ROWS {
            let next = Stream::begin(directory(path), COMPRESSION).map_err(io)?;
            let stream = std::mem::replace(&mut self.stream, next);
            self.full.push(SheetRows {
                rows: stream.end().map_err(io)?,
                dimension: dimension(&self.letters, SHEET_ROWS),
            });
            self.rows = 1;
        }
        self.rows += 1;
        let xml = &mut self.stream.block;
        let mut row = Row::begin(xml, self.rows, formats, &self.letters, tint);
        cells(&mut row);
        row.end();
        self.stream.pass_on().map_err(io)
    }

    fn end(self, path: &Path) -> Result<Vec<Framed>, WriteError> {
        let rows = self.stream.end().map_err(|e| WriteError::io(path, e))?;
        let dimension = dimension(&self.letters, self.rows);
        let mut full = self.full;
        full.push(SheetRows { rows, dimension });
        let count = full.len();
        let sheets = full.into_iter().enumerate().map(|(place, rows)| Framed {
            name: sheet_name(self.name, place).into_owned(),
            headers: self.headers.clone(),
            rows,
            last: if place + 1 == count {
                self.rows - 1
            } else {
                SHEET_ROWS - 1
            },
        });
        Ok(sheets.collect())
    }
}

/// The range of a sheet's cells.
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

/// A column's width in characters: its longest value's or its header's with room for the filter's
/// button, within what can be read on a screen.
fn column_width(header: &str, width: u32) -> f64 {
    let header = header.chars().count() as u32 + 3;
    f64::from(width.saturating_add(1).max(header).clamp(8, 60))
}
