//! The result workbook.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use rowmill_domain::manifest::Rejected;
use rowmill_domain::{Status, Value};
use rust_xlsxwriter::{DocProperties, Format, Url, Workbook, XlsxError};

use super::error::WriteError;
use super::formats::{Formats, Tint};
use super::links::Link;
use super::row::{Cut, shortened};
use super::sheets::{COMPRESSION, Framed, Sheets, directory};
use super::spec::{ResultSpec, Summary};
use super::{package, summary};

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
/// longer than a cell takes are cut, with a mark. No text becomes a formula, and a link only where
/// [`ResultSpec::links`] says so.
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
        self.results
            .row(&self.path, &self.formats, tint, |row, links| {
                let values = padded(input, columns).chain(padded(added, added_columns));
                let mut error = Cow::Borrowed(error.unwrap_or(""));
                for (at, value) in values.enumerate() {
                    let before = cut.count;
                    let place = row.place();
                    match value {
                        Some(Value::Text(text))
                            if spec.links.contains(&at) && links.take(place.0, place.1, text) =>
                        {
                            row.link(text, cut, &sheet);
                        }
                        value => row.value(value, cut, &sheet),
                    }
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
            .row(&self.path, &self.formats, Tint::None, |row, _| {
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
        let mut sheets = self.results.end(&path)?;
        sheets.extend(self.rejected.end(&path)?);
        let beyond: u64 = sheets.iter().map(|sheet| sheet.links.beyond).sum();
        if beyond > 0 {
            written.notes.push(format!(
                "{beyond} addresses are text and no links: a sheet takes 65,530 links."
            ));
        }
        let mut notes = summary.notes.clone();
        notes.extend(written.notes.iter().cloned());

        let mut book = Workbook::new();
        book.set_tempdir(directory(&path)).map_err(fail)?;
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

/// What stands in a sheet before its rows are put in.
enum Placed<'a> {
    Blank(&'a Format),
    Link(&'a Link),
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
    // In constant memory rows come in order. A link's own cell is not kept, and its format is one
    // that has its number.
    let blanks = formats.others.iter().filter(|_| first);
    let blanks = (1..).zip(blanks.map(Placed::Blank));
    let links = framed.links.list.iter();
    let links = links.map(|link| (link.row, Placed::Link(link)));
    let mut cells: Vec<(u32, Placed)> = blanks.chain(links).collect();
    cells.sort_by_key(|(row, _)| *row);
    for (row, cell) in cells {
        match cell {
            Placed::Blank(format) => sheet.write_blank(row, 0, format)?,
            Placed::Link(link) => {
                let address = Url::new(&link.address).set_text("x");
                sheet.write_url_with_format(row, link.column, address, &formats.header)?
            }
        };
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

/// A column's width in characters: its longest value's or its header's with room for the filter's
/// button, within what can be read on a screen.
fn column_width(header: &str, width: u32) -> f64 {
    let header = header.chars().count() as u32 + 3;
    f64::from(width.saturating_add(1).max(header).clamp(8, 60))
}
