//! Writes the result workbook.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use rowmill_domain::{Rejected, Status, Value};
use rust_xlsxwriter::{DocProperties, Format, Url, Workbook, XlsxError};

use super::error::WriteError;
use super::formats::{Formats, Tint};
use super::links::Link;
use super::review::{Dropdown, Labels, label};
use super::row::{Truncations, truncate};
use super::sheets::{COMPRESSION, SheetColumn, SheetFrame, SheetSeries, directory};
use super::spec::{ResultSpec, Summary};
use super::widths::{MOST, known_width};
use super::{ADDED_PROPERTY, REVIEW_PROPERTY, RUN_PROPERTY, package, summary};

/// The most UTF-16 code units of a text in a custom property: the limit of Excel's own dialog.
const PROPERTY_MAX: usize = 255;

const RESULTS: &str = "Results";
/// The last columns of the sheet `Results`.
const GENERATED: [&str; 4] = ["status", "error", "attempts", "input row"];
/// Maximum number of characters of frozen columns: the rest of the screen is for the other columns.
const FROZEN_MAX: u32 = 60;

/// The result of writing a workbook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSummary {
    /// Notes for the mail: texts that were truncated, addresses that did not become links.
    pub notes: Vec<String>,
}

/// Writes a result workbook with the sheets `Results` (the columns of the input, the added columns,
/// the column for corrections, `status`, `error`, `attempts` and `input row`), `Rejected` and `Summary`.
///
/// Memory use is constant. If a sheet is full, `Results 2` and so on continue it. Texts that are too
/// long for a cell are truncated and marked. Texts never become formulas, and become links only in the
/// columns listed in [`ResultSpec::links`].
///
/// rust_xlsxwriter writes everything except the rows. The rows are written and deflated here, and
/// inserted into its sheets at the end.
pub struct ResultWriter {
    path: PathBuf,
    spec: ResultSpec,
    formats: Formats,
    results: SheetSeries,
    rejected: SheetSeries,
    truncations: Truncations,
    labels: Option<Labels>,
}

impl ResultWriter {
    /// Starts a workbook. [`ResultWriter::finish`] creates or replaces the file at `path`. Until then,
    /// the rows are in unnamed temporary files in the same directory.
    ///
    /// # Errors
    /// [`WriteError::Columns`] if there are more columns than a sheet can hold, and
    /// [`WriteError::Io`].
    pub fn create(path: &Path, spec: &ResultSpec) -> Result<ResultWriter, WriteError> {
        let most = rowmill_domain::limits::SHEET_COLUMNS as usize;
        let review = usize::from(spec.review.is_some());
        let columns = spec.columns.len() + spec.added.len() + review + GENERATED.len();
        if columns > most {
            return Err(WriteError::Columns {
                file: path.to_owned(),
                found: columns,
            });
        }
        let column = |header: &str, added, width| SheetColumn {
            header: header.to_owned(),
            added,
            width,
        };
        let inputs = || {
            let columns = spec.columns.iter();
            columns.map(|c| column(&c.name, false, known_width(c)))
        };
        let review = spec.review.iter().map(|review| review.name.as_str());
        let added = spec.added.iter().map(String::as_str);
        let added = added.chain(review).chain(GENERATED);
        let results = inputs()
            .chain(added.map(|name| column(name, true, 0)))
            .collect();
        let rejected = ["row", "reason", "detail"]
            .map(|name| column(name, true, 0))
            .into_iter()
            .chain(inputs())
            .take(most)
            .collect();
        Ok(ResultWriter {
            path: path.to_owned(),
            formats: Formats::new(spec),
            results: SheetSeries::begin(path, RESULTS, results)?,
            rejected: SheetSeries::begin(path, "Rejected", rejected)?,
            spec: spec.clone(),
            truncations: Truncations::default(),
            labels: spec.review.as_ref().map(Labels::new),
        })
    }

    /// Writes a record: its row number in the input, the values of the input and of the added columns
    /// (`None` is an empty cell), and its outcome.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn row(
        &mut self,
        input_row: u32,
        input: &[Option<&Value>],
        added: &[Option<&Value>],
        status: Status,
        error: Option<&str>,
        attempts: u32,
    ) -> Result<(), WriteError> {
        let tint = Tint::of(status);
        let sheet = self.results.sheet_name();
        let (columns, added_columns) = (self.spec.columns.len(), self.spec.added.len());
        let (truncations, spec) = (&mut self.truncations, &self.spec);
        let labels = &mut self.labels;
        let review = usize::from(spec.review.is_some());
        let mut has_reason = false;
        self.results
            .row(&self.path, &self.formats, tint, |row, links| {
                let values = padded(input, columns).chain(padded(added, added_columns));
                let mut error = Cow::Borrowed(error.unwrap_or(""));
                for (at, value) in values.enumerate() {
                    let before = truncations.count;
                    if at == columns {
                        row.set_tint(tint.added());
                    }
                    let (at_row, at_column) = row.position();
                    match value {
                        Some(Value::Text(text))
                            if spec.links.contains(&at) && links.add(at_row, at_column, text) =>
                        {
                            row.link(text, truncations, &sheet);
                        }
                        value => row.value(value, truncations, &sheet),
                    }
                    if truncations.count > before {
                        let separator = if error.is_empty() { "" } else { "; " };
                        error.to_mut().push_str(&format!(
                            "{separator}{}: the text was truncated to 32,767 characters",
                            spec.column_name(at)
                        ));
                    }
                }
                row.set_tint(tint.added());
                if let (Some(review), Some(labels)) = (&spec.review, labels) {
                    let done = (status == Status::Ok).then(|| added.get(review.of));
                    match done.flatten().copied().flatten().map(label) {
                        Some(label) => {
                            labels.add(&label);
                            row.label(&label, truncations, &sheet);
                        }
                        None => row.value(None, truncations, &sheet),
                    }
                }
                row.status(status, truncations, &sheet);
                row.wrapped(&error, truncations, &sheet);
                row.integer(attempts);
                row.integer(input_row);
                has_reason = !error.is_empty();
            })?;
        if has_reason {
            // Not only in the rows that are measured: in a narrow column a reason would wrap often.
            self.results
                .widths
                .at_least(columns + added_columns + review + 1, MOST);
        }
        Ok(())
    }

    /// Writes a rejected row to the sheet `Rejected`.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn rejected(&mut self, rejected: &Rejected) -> Result<(), WriteError> {
        let sheet = self.rejected.sheet_name();
        // Values outside the columns of the header follow the others.
        let columns = self.rejected.widen(3 + rejected.values.len()) - 3;
        let truncations = &mut self.truncations;
        self.rejected
            .row(&self.path, &self.formats, Tint::None, |row, _| {
                row.integer(rejected.row);
                row.text(rejected.reason.text(), truncations, &sheet);
                row.wrapped(&rejected.detail, truncations, &sheet);
                for (place, value) in rejected.values.iter().take(columns).enumerate() {
                    row.value_of(place, value.as_ref(), truncations, &sheet);
                }
            })
    }

    /// Writes the sheet `Summary` and creates the file.
    ///
    /// # Errors
    /// [`WriteError::Io`], and [`WriteError::Format`] if rust_xlsxwriter rejects something.
    pub fn finish(self, summary: &Summary) -> Result<WriteSummary, WriteError> {
        let path = self.path;
        let fail = |e| WriteError::new(&path, e);
        let io = |e| WriteError::io(&path, e);
        let mut written = WriteSummary::default();
        if let Some(first) = self.truncations.first {
            written.notes.push(format!(
                "{} texts were truncated to 32,767 characters, the maximum for a cell; the first is \
                 in {first}.",
                self.truncations.count
            ));
        }
        let mut sheets = self.results.end(&path)?;
        sheets.extend(self.rejected.end(&path)?);
        let over_limit: u64 = sheets.iter().map(|sheet| sheet.links.over_limit).sum();
        if over_limit > 0 {
            written.notes.push(format!(
                "{over_limit} addresses are plain text, because a sheet can hold at most 65,530 links."
            ));
        }
        let mut notes = summary.notes.clone();
        notes.extend(written.notes.iter().cloned());

        let review_at = self.spec.columns.len() + self.spec.added.len();
        let dropdown = self.labels.map(|labels| labels.dropdown(review_at));
        let dropdown = dropdown.transpose().map_err(fail)?;
        let mut book = Workbook::new();
        book.set_tempdir(directory(&path)).map_err(fail)?;
        for (place, sheet) in sheets.iter().enumerate() {
            let (frozen, dropdown) = match sheet.name.starts_with(RESULTS) {
                true => (self.spec.frozen, dropdown.as_ref()),
                false => (0, None),
            };
            let first = place == 0;
            write_frame(&mut book, sheet, &self.formats, frozen, first, dropdown).map_err(fail)?;
        }
        summary::write(book.add_worksheet(), summary, &notes).map_err(fail)?;
        if let Some(dropdown) = dropdown {
            dropdown.write_labels(&mut book).map_err(fail)?;
        }
        let mut properties = DocProperties::new()
            .set_title(&self.spec.title)
            .set_subject(&self.spec.run_id)
            .set_company("Rowmill")
            .set_custom_property(RUN_PROPERTY, self.spec.run_id.as_str());
        let added = self.spec.added.iter();
        let added = added.filter(|name| name.encode_utf16().count() <= PROPERTY_MAX);
        for (number, name) in (1..).zip(added) {
            let property = format!("{ADDED_PROPERTY}{number}");
            properties = properties.set_custom_property(property, name.as_str());
        }
        if let Some(review) = &self.spec.review {
            properties = properties.set_custom_property(REVIEW_PROPERTY, review.name.as_str());
        }
        book.set_properties(&properties);
        let frame = tempfile::NamedTempFile::new_in(directory(&path)).map_err(io)?;
        book.save(frame.path()).map_err(fail)?;

        // Written to a temporary file and renamed, so that an interrupted run leaves no partial workbook.
        let partial = path.with_extension("xlsx.part");
        let parts = sheets.into_iter().map(|s| (s.rows, s.links.list)).collect();
        let file = File::create(&partial).map_err(io)?;
        let packed = package::write(frame.path(), file, parts, COMPRESSION)
            .and_then(|()| std::fs::rename(&partial, &path));
        if let Err(error) = packed {
            // The partial file is useless. The first error is the one to report.
            let _ = std::fs::remove_file(&partial);
            return Err(io(error));
        }
        Ok(written)
    }
}

/// A cell of a sheet before its rows are inserted.
enum FrameCell<'a> {
    Blank(&'a Format),
    /// A link and its index in the sheet's list.
    Link(usize, &'a Link),
}

/// Writes a sheet without its rows. The first sheet contains one cell of each format below the header.
/// This assigns the format IDs: in constant-memory mode, formats are numbered in order of first use.
fn write_frame(
    book: &mut Workbook,
    frame: &SheetFrame,
    formats: &Formats,
    frozen: usize,
    first: bool,
    dropdown: Option<&Dropdown>,
) -> Result<(), XlsxError> {
    let sheet = book.add_worksheet_with_constant_memory()?;
    sheet.set_name(&frame.name)?;
    let frozen_width: u32 = frame.columns.iter().take(frozen).map(|c| c.width).sum();
    let frozen = if frozen_width <= FROZEN_MAX {
        frozen
    } else {
        0
    };
    sheet.set_freeze_panes(1, frozen as u16)?;
    sheet.set_landscape();
    sheet.set_print_fit_to_pages(1, 0);
    sheet.set_repeat_rows(0, 0)?;
    sheet.set_footer("&L&F, &A&RPage &P of &N");
    for (at, column) in (0..).zip(&frame.columns) {
        sheet.set_column_width(at, column.width)?;
        let format = match column.added {
            true => &formats.added_header,
            false => &formats.header,
        };
        sheet.write_string_with_format(0, at, truncate(&column.header), format)?;
    }
    let columns = frame.columns.len() as u16;
    if let Some(dropdown) = dropdown {
        dropdown.add_to(sheet, frame.last)?;
    }
    sheet.autofilter(0, 0, frame.last, columns.saturating_sub(1))?;
    // Constant-memory mode requires rows in ascending order. The cells of links are discarded later;
    // they use a format that already has an ID.
    let blanks = formats.all.iter().filter(|_| first);
    let blanks = (1..).zip(blanks.map(FrameCell::Blank));
    let links = frame.links.list.iter().enumerate();
    let links = links.map(|(n, link)| (link.row, FrameCell::Link(n, link)));
    let mut cells: Vec<(u32, FrameCell)> = blanks.chain(links).collect();
    cells.sort_by_key(|(row, _)| *row);
    for (row, cell) in cells {
        match cell {
            FrameCell::Blank(format) => sheet.write_blank(row, 0, format)?,
            FrameCell::Link(n, link) => {
                let placeholder = Url::new(link.placeholder(n)).set_text("x");
                sheet.write_url_with_format(row, link.column, placeholder, &formats.header)?
            }
        };
    }
    Ok(())
}

/// The first `count` values, padded with `None`.
fn padded<'a, 'v>(
    values: &'a [Option<&'v Value>],
    count: usize,
) -> impl Iterator<Item = Option<&'v Value>> + 'a {
    let missing = std::iter::repeat(None);
    values.iter().copied().chain(missing).take(count)
}
