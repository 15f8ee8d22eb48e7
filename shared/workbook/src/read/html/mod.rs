//! Reads the tables of a page. Many programs save them as `.xls`. Each table is a sheet. A cell is text
//! unless Excel's `x:num` says otherwise. What `x:num` and `x:str` contain takes precedence over the
//! displayed text.

mod formats;
mod text;
mod tokens;
mod walk;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use html5gum::{IoReader, Tokenizer};
use rowmill_domain::{Kind, Value};

use super::current_row::CurrentRow;
use super::delimited;
use super::detect::{HEAD, utf32};
use super::error::ReadError;
use super::foreign::SAVE;
use super::header::{MERGES_MAX, MergedRange};
use super::number_format::FormatKind;
use super::options::ReadOptions;
use super::rows::{Assembler, Halt};
use super::serial;
use super::sheet_select::select_sheet;
use super::sink::{Cell, ReadSummary};
use super::text_encoding::TextEncoding;
use super::xml::{Utf8, declared_encoding};
use formats::Formats;
use tokens::{Token, Tokens};
use walk::{FoundCell, Visitor, Walker};

/// The most tables that are counted. The tables after them are ignored.
const TABLES_MAX: usize = 10_000;

pub(crate) fn read(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let (encoding, declared) = encoding(&mut file).map_err(|e| ReadError::io(path, e))?;
    let source = Source {
        path,
        encoding,
        options,
    };
    let survey = source.walk(Survey::default(), |_| false)?;
    // A page of layout has tables without values.
    let filled: Vec<usize> = (0..survey.tables.len())
        .filter(|at| survey.tables[*at].rows > 0)
        .collect();
    let Some(default) = survey.default_table() else {
        return Err(ReadError::NotAWorkbook {
            file: path.to_owned(),
            what: "is an HTML page without a table that has values".to_owned(),
            advice: SAVE,
        }
        .into());
    };
    let names: Vec<String> = (1..=filled.len()).map(|n| format!("Table {n}")).collect();
    let listed: Vec<(&str, bool)> = names
        .iter()
        .zip(&filled)
        .map(|(name, at)| (name.as_str(), *at == default))
        .collect();
    let chosen = select_sheet(path, options.sheet.as_ref(), &listed)?;
    let wanted = filled[chosen];
    rows.sheet(&names[chosen]);

    let (file, settings) = (path.to_owned(), options.clone());
    rows.merges(Box::new(move |row| {
        let source = Source {
            path: &file,
            encoding,
            options: &settings,
        };
        let merges = Merges {
            wanted,
            row,
            found: Vec::new(),
            done: false,
        };
        match source.walk(merges, |merges| merges.done) {
            Ok(merges) => Ok(merges.found),
            Err(Halt::Failed(error) | Halt::Unordered(error)) => Err(error),
            Err(Halt::SinkDone) => Ok(Vec::new()),
        }
    }));
    let mut table = source.walk(
        TableRows {
            wanted,
            formats: survey.formats,
            is_1904: survey.is_1904,
            current: CurrentRow::new(path, options),
            rows: &mut *rows,
            broken: None,
            done: false,
        },
        |table| table.done,
    )?;
    table.current.end(table.rows)?;
    let (formats, skipped, broken) = (table.formats, table.current.skipped, table.broken);
    let mut summary = rows.finish(&|format| formats.code(format))?;
    summary.hidden(skipped);
    if filled.len() > 1 && options.sheet.is_none() {
        summary.notes.push(format!(
            "The page has {} tables; `{}`, the one with the most rows, was read. To read another one, set \
             `sheet` under [input] in the pipeline.",
            filled.len(),
            names[chosen]
        ));
    }
    if let Some(row) = broken {
        summary.notes.push(format!(
            "The page is not valid {}; the first invalid character is in row {row}. Invalid characters \
             were replaced with `\u{fffd}`.",
            encoding.name()
        ));
    } else if !declared && encoding == TextEncoding::Known(WINDOWS_1252) {
        summary.notes.push(
            "The page does not say its encoding and was read as Windows-1252. If characters look wrong, \
             save it as xlsx and try again."
                .to_owned(),
        );
    }
    Ok(summary)
}

/// A page that can be read several times.
struct Source<'a> {
    path: &'a Path,
    encoding: TextEncoding,
    options: &'a ReadOptions,
}

impl Source<'_> {
    /// Passes the tables to a visitor, until it is done.
    fn walk<V: Visitor>(&self, visitor: V, done: impl Fn(&V) -> bool) -> Result<V, Halt> {
        let io = |e| ReadError::io(self.path, e);
        let file = File::open(self.path).map_err(io)?;
        let mut walker = Walker::new(self.path, &self.options.limits, visitor);
        for token in tokenize(Utf8::decoded(file, self.encoding)) {
            walker.token(token.map_err(io)?)?;
            if done(&walker.visitor) {
                return Ok(walker.visitor);
            }
        }
        walker.finish()
    }
}

fn tokenize<R: Read>(source: R) -> Tokenizer<IoReader<R>, Tokens> {
    Tokenizer::new_with_emitter(IoReader::new(source), Tokens::default())
}

/// The encoding of a page, and whether it says so: by a byte order mark, by a `<meta>`, or by an XML
/// declaration.
fn encoding(file: &mut File) -> std::io::Result<(TextEncoding, bool)> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let marked = Encoding::for_bom(&head).is_some() || utf32(&head).is_some();
    if !marked && let Some(known) = meta_encoding(&head).or_else(|| declared_encoding(&head)) {
        // What can be read as ASCII is not UTF-16, whatever it says.
        let wide = [UTF_16LE, UTF_16BE].contains(&known);
        let known = if wide { UTF_8 } else { known };
        return Ok((TextEncoding::Known(known), true));
    }
    delimited::encoding(file).map(|encoding| (encoding, marked))
}

/// The encoding that a `<meta>` at the start of a page says.
fn meta_encoding(head: &[u8]) -> Option<&'static Encoding> {
    let label = tokenize(head).find_map(|token| {
        let Ok(Token::Start(tag)) = token else {
            return None;
        };
        if tag.name != b"meta" {
            return None;
        }
        tag.get(b"charset").or_else(|| {
            let content = tag.get(b"content")?.to_ascii_lowercase();
            let (_, label) = content.split_once("charset")?;
            let label = label.trim_start().strip_prefix('=')?.trim_start();
            let end = |c: char| c.is_whitespace() || matches!(c, ';' | '"' | '\'');
            let label = label.trim_start_matches(['"', '\'']);
            Some(label.split(end).next()?.to_owned())
        })
    })?;
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// What is known of a table after the first pass.
#[derive(Default)]
struct Table {
    /// The rows that have a value.
    rows: u64,
    last: Option<u32>,
    /// Whether a cell contains another table.
    nested: bool,
}

/// Counts the rows of each table and collects the formats.
#[derive(Default)]
struct Survey {
    tables: Vec<Table>,
    formats: Formats,
    is_1904: bool,
}

impl Survey {
    /// The table to read if none is requested: the one with the most rows, and of those the first. A
    /// table that contains tables is layout, unless there is no other.
    fn default_table(&self) -> Option<usize> {
        let filled = (0..self.tables.len()).filter(|at| self.tables[*at].rows > 0);
        filled.rev().max_by_key(|at| {
            let table = &self.tables[*at];
            (table.rows > 1, !table.nested, table.rows)
        })
    }
}

impl Visitor for Survey {
    fn table(&mut self, _: usize, outer: Option<usize>) {
        if self.tables.len() < TABLES_MAX {
            self.tables.push(Table::default());
        }
        if let Some(outer) = outer.and_then(|outer| self.tables.get_mut(outer)) {
            outer.nested = true;
        }
    }

    fn cell(&mut self, table: usize, cell: FoundCell) -> Result<(), Halt> {
        let hidden = |name: &[u8]| cell.tag.get(name).is_some_and(|value| !value.is_empty());
        let value = !cell.text.is_empty() || hidden(b"x:num") || hidden(b"x:str");
        if let Some(table) = self.tables.get_mut(table)
            && value
            && table.last.replace(cell.row) != Some(cell.row)
        {
            table.rows += 1;
        }
        Ok(())
    }

    fn style_sheet(&mut self, css: &str) {
        self.formats.style_sheet(css);
    }

    fn date_1904(&mut self) {
        self.is_1904 = true;
    }
}

/// Finds the merged ranges that start in a row.
struct Merges {
    wanted: usize,
    row: u32,
    found: Vec<MergedRange>,
    done: bool,
}

impl Visitor for Merges {
    fn row(&mut self, table: usize, row: u32, _: bool) -> Result<(), Halt> {
        self.done |= table == self.wanted && row > self.row;
        Ok(())
    }

    fn cell(&mut self, table: usize, cell: FoundCell) -> Result<(), Halt> {
        if table == self.wanted && cell.row == self.row {
            let range = MergedRange {
                rows: (cell.row, cell.last.0),
                columns: (cell.column, cell.last.1),
            };
            let merged = range.rows.1 > range.rows.0 || range.columns.1 > range.columns.0;
            if merged && self.found.len() < MERGES_MAX {
                self.found.push(range);
            }
        }
        Ok(())
    }

    fn table_end(&mut self, table: usize) {
        self.done |= table == self.wanted;
    }
}

/// Passes on the rows of a table.
struct TableRows<'a> {
    wanted: usize,
    formats: Formats,
    is_1904: bool,
    current: CurrentRow,
    rows: &'a mut Assembler,
    /// The number of the first row that has a character that could not be decoded.
    broken: Option<u32>,
    done: bool,
}

impl Visitor for TableRows<'_> {
    fn row(&mut self, table: usize, row: u32, hidden: bool) -> Result<(), Halt> {
        if table == self.wanted {
            self.current.start(row, hidden, self.rows)?;
        }
        Ok(())
    }

    fn cell(&mut self, table: usize, cell: FoundCell) -> Result<(), Halt> {
        if table != self.wanted {
            return Ok(());
        }
        if cell.text.contains('\u{fffd}') {
            self.broken.get_or_insert(cell.row.saturating_add(1));
        }
        let column = cell.column;
        let (format, cell) = self.value(cell);
        Ok(self.current.cells.push(column, format, cell)?)
    }

    fn table_end(&mut self, table: usize) {
        self.done |= table == self.wanted;
    }
}

impl TableRows<'_> {
    /// The value of a cell, and the ID of its number format.
    fn value(&mut self, cell: FoundCell) -> (u32, Cell) {
        let FoundCell { text, tag, .. } = cell;
        let own = |value: String| Some(value).filter(|value| !value.is_empty());
        if let Some(text) = tag.get(b"x:str").and_then(own) {
            return (0, Cell::Value(Value::Text(text)));
        }
        if let Some(error) = tag.get(b"x:err") {
            let error = own(error).unwrap_or(text);
            return (0, Cell::Error(error));
        }
        if let Some(value) = tag.get(b"x:bool") {
            let value = own(value).unwrap_or_else(|| text.clone());
            if let Some(value) = Value::parse(value.trim(), Kind::Bool) {
                return (0, Cell::Value(value));
            }
        }
        if let Some(value) = tag.get(b"x:num") {
            let value = own(value).unwrap_or_else(|| text.clone());
            if let Some(Value::Number(number)) = Value::parse(&value, Kind::Number) {
                let (style, class) = (tag.get(b"style"), tag.get(b"class"));
                let format = self.formats.of_cell(style.as_deref(), class.as_deref());
                let value = match self.formats.kind(format) {
                    FormatKind::Number => Value::Number(number),
                    kind => serial::value(number, kind, self.is_1904),
                };
                return (format, Cell::Value(value));
            }
        }
        match text.is_empty() {
            true => (0, Cell::Empty),
            false => (0, Cell::Value(Value::Text(text))),
        }
    }
}
