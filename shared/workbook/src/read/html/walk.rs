//! Finds the rows and cells of the tables of a page, as a browser lays them out.

use std::path::Path;

use super::text::CellText;
use super::tokens::{Tag, Token};
use crate::read::error::ReadError;
use crate::read::limits::ReadLimits;
use crate::read::rows::Halt;

/// The most columns and rows that a cell covers. Source: the HTML standard, 4.9.11.
const COLSPAN_MAX: u32 = 1000;
const ROWSPAN_MAX: u32 = 65_534;
/// The longest style sheet that is kept.
const STYLE_SHEET: usize = 1 << 20;

/// A cell of a table.
pub(super) struct FoundCell {
    /// From 0.
    pub(super) row: u32,
    pub(super) column: u32,
    /// The last row and column that it covers.
    pub(super) last: (u32, u32),
    pub(super) text: String,
    pub(super) tag: Tag,
}

/// Receives the rows and cells of tables. A table is known by its place in the page, from 0.
pub(super) trait Visitor {
    /// A table begins, inside a cell of another one if there is one.
    fn table(&mut self, _table: usize, _outer: Option<usize>) {}
    /// A row begins.
    fn row(&mut self, _table: usize, _row: u32, _hidden: bool) -> Result<(), Halt> {
        Ok(())
    }
    /// A cell ends.
    fn cell(&mut self, table: usize, cell: FoundCell) -> Result<(), Halt>;
    /// A table ends.
    fn table_end(&mut self, _table: usize) {}
    fn style_sheet(&mut self, _css: &str) {}
    fn date_1904(&mut self) {}
}

/// Passes the tables in a stream of tokens to a visitor.
pub(super) struct Walker<'a, V> {
    path: &'a Path,
    limits: &'a ReadLimits,
    pub(super) visitor: V,
    tables: usize,
    /// The open tables, from the outside.
    open: Vec<OpenTable>,
    /// The name of the element whose content is skipped.
    skipped: Option<Vec<u8>>,
    style_sheet: Vec<u8>,
}

struct OpenTable {
    number: usize,
    /// The current row.
    row: Option<u32>,
    next_row: u32,
    next_column: u32,
    /// For each column, the first row that is not covered by a cell of an earlier row.
    free_from: Vec<u32>,
    cell: Option<OpenCell>,
}

struct OpenCell {
    column: u32,
    last: (u32, u32),
    text: CellText,
    tag: Tag,
}

impl<'a, V: Visitor> Walker<'a, V> {
    pub(super) fn new(path: &'a Path, limits: &'a ReadLimits, visitor: V) -> Walker<'a, V> {
        Walker {
            path,
            limits,
            visitor,
            tables: 0,
            open: Vec::new(),
            skipped: None,
            style_sheet: Vec::new(),
        }
    }

    pub(super) fn token(&mut self, token: Token) -> Result<(), Halt> {
        match token {
            Token::Text(text) => self.text(&text)?,
            Token::Start(tag) if self.skipped.is_none() => self.start(tag)?,
            Token::Start(_) => {}
            Token::End(name) => self.end(&name)?,
            Token::Date1904 => self.visitor.date_1904(),
        }
        Ok(())
    }

    /// Ends the page.
    pub(super) fn finish(mut self) -> Result<V, Halt> {
        while !self.open.is_empty() {
            self.end_table()?;
        }
        Ok(self.visitor)
    }

    fn check(&self, limit: &'static str, found: u64, allowed: u64) -> Result<(), ReadError> {
        ReadError::check(self.path, limit, found, allowed)
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Halt> {
        match &self.skipped {
            Some(name) if name == b"style" => {
                let room = STYLE_SHEET.saturating_sub(self.style_sheet.len());
                self.style_sheet
                    .extend_from_slice(&text[..room.min(text.len())]);
            }
            Some(_) => {}
            None => {
                if let Some(cell) = self.open_cell() {
                    cell.push(text);
                    let length = cell.len() as u64;
                    self.check("text_bytes", length, self.limits.text_bytes)?;
                }
            }
        }
        Ok(())
    }

    fn open_cell(&mut self) -> Option<&mut CellText> {
        let cell = self.open.last_mut()?.cell.as_mut()?;
        Some(&mut cell.text)
    }

    fn start(&mut self, tag: Tag) -> Result<(), Halt> {
        match &tag.name[..] {
            b"table" => self.start_table()?,
            b"tr" => self.start_row(&tag)?,
            b"td" | b"th" => self.start_cell(tag)?,
            b"thead" | b"tbody" | b"tfoot" | b"caption" => self.end_group()?,
            b"style" | b"script" | b"noscript" | b"iframe" | b"noembed" | b"template"
            | b"title" => {
                self.skipped = Some(tag.name);
            }
            b"br" => {
                if let Some(cell) = self.open_cell() {
                    cell.line_break();
                }
            }
            name => self.block(name),
        }
        Ok(())
    }

    fn end(&mut self, name: &[u8]) -> Result<(), Halt> {
        if let Some(skipped) = &self.skipped {
            if skipped == name {
                self.skipped = None;
                let css = std::mem::take(&mut self.style_sheet);
                self.visitor.style_sheet(&String::from_utf8_lossy(&css));
            }
            return Ok(());
        }
        match name {
            b"table" => self.end_table(),
            b"tr" => self.end_row(),
            b"td" | b"th" => self.end_cell(),
            b"thead" | b"tbody" | b"tfoot" => self.end_group(),
            name => {
                self.block(name);
                Ok(())
            }
        }
    }

    /// Begins a new line if the element does.
    fn block(&mut self, name: &[u8]) {
        let begins_line = matches!(
            name,
            b"p" | b"div"
                | b"li"
                | b"ul"
                | b"ol"
                | b"dl"
                | b"dt"
                | b"dd"
                | b"pre"
                | b"h1"
                | b"h2"
                | b"h3"
                | b"h4"
                | b"h5"
                | b"h6"
                | b"hr"
                | b"address"
                | b"blockquote"
        );
        if begins_line && let Some(cell) = self.open_cell() {
            cell.block();
        }
    }

    fn start_table(&mut self) -> Result<(), Halt> {
        // Outside a cell, a table ends the one that it is in.
        if self.open.last().is_some_and(|table| table.cell.is_none()) {
            self.end_table()?;
        }
        let depth = self.open.len() as u64 + 1;
        self.check("nesting", depth, self.limits.nesting)?;
        let outer = self.open.last().map(|table| table.number);
        self.visitor.table(self.tables, outer);
        self.open.push(OpenTable {
            number: self.tables,
            row: None,
            next_row: 0,
            next_column: 0,
            free_from: Vec::new(),
            cell: None,
        });
        self.tables += 1;
        Ok(())
    }

    fn end_table(&mut self) -> Result<(), Halt> {
        self.end_row()?;
        if let Some(table) = self.open.pop() {
            self.visitor.table_end(table.number);
        }
        Ok(())
    }

    /// Ends the rows of a group. No cell covers rows of the next one.
    fn end_group(&mut self) -> Result<(), Halt> {
        self.end_row()?;
        if let Some(table) = self.open.last_mut() {
            table.free_from.clear();
        }
        Ok(())
    }

    fn start_row(&mut self, tag: &Tag) -> Result<(), Halt> {
        // Some programs write only the rows of a table.
        if self.open.is_empty() {
            self.start_table()?;
        }
        self.end_row()?;
        let Some(table) = self.open.last_mut() else {
            return Ok(());
        };
        let row = table.next_row;
        table.row = Some(row);
        table.next_row = row.saturating_add(1);
        table.next_column = 0;
        let number = table.number;
        self.check("rows", u64::from(row) + 1, self.limits.rows)?;
        let style = tag.get(b"style").unwrap_or_default().to_ascii_lowercase();
        let unseen = |rest: &str| {
            rest.trim_start()
                .strip_prefix(':')
                .is_some_and(|value| value.trim_start().starts_with("none"))
        };
        let hidden = style.split("display").skip(1).any(unseen) || tag.get(b"hidden").is_some();
        self.visitor.row(number, row, hidden)
    }

    fn end_row(&mut self) -> Result<(), Halt> {
        self.end_cell()?;
        if let Some(table) = self.open.last_mut() {
            table.row = None;
        }
        Ok(())
    }

    fn start_cell(&mut self, tag: Tag) -> Result<(), Halt> {
        if self.open.last().is_none_or(|table| table.row.is_none()) {
            self.start_row(&Tag::default())?;
        }
        self.end_cell()?;
        let columns_max = u32::try_from(self.limits.columns).unwrap_or(u32::MAX);
        let Some(table) = self.open.last_mut() else {
            return Ok(());
        };
        let Some(row) = table.row else { return Ok(()) };
        let mut column = table.next_column;
        while table
            .free_from
            .get(column as usize)
            .is_some_and(|free| *free > row)
        {
            column += 1;
        }
        let columns = match span(&tag, b"colspan") {
            Some(0) | None => 1,
            Some(columns) => columns.min(COLSPAN_MAX),
        };
        let rows = match span(&tag, b"rowspan") {
            None => 1,
            // The rest of the group.
            Some(0) => ROWSPAN_MAX,
            Some(rows) => rows.min(ROWSPAN_MAX),
        };
        table.next_column = column.saturating_add(columns);
        if rows > 1 {
            let end = table.next_column.min(columns_max) as usize;
            if table.free_from.len() < end {
                table.free_from.resize(end, 0);
            }
            for free in table.free_from.iter_mut().take(end).skip(column as usize) {
                *free = row.saturating_add(rows);
            }
        }
        table.cell = Some(OpenCell {
            column,
            last: (row.saturating_add(rows - 1), table.next_column - 1),
            text: CellText::default(),
            tag,
        });
        Ok(())
    }

    fn end_cell(&mut self) -> Result<(), Halt> {
        let Some(table) = self.open.last_mut() else {
            return Ok(());
        };
        let (Some(cell), Some(row)) = (table.cell.take(), table.row) else {
            return Ok(());
        };
        let found = FoundCell {
            row,
            column: cell.column,
            last: cell.last,
            text: cell.text.finish(),
            tag: cell.tag,
        };
        self.visitor.cell(table.number, found)
    }
}

fn span(tag: &Tag, name: &[u8]) -> Option<u32> {
    let value = tag.get(name)?;
    let digits = value.trim().bytes().take_while(u8::is_ascii_digit).count();
    value.trim()[..digits].parse().ok()
}
