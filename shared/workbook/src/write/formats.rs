//! The cell formats of a result, and the IDs by which the XML of a sheet refers to them.

use std::collections::HashMap;

use rowmill_domain::Kind;
use rust_xlsxwriter::{Color, Format};

use super::spec::ResultSpec;
use crate::read::number_format::{FormatKind, classify};

/// Maximum number of columns whose number formats are kept. Excel allows 65,490 cell formats, and each
/// column needs several.
const KEPT_MAX: usize = 1000;

/// The background of a row, by the status of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    None,
    Failed,
    Missing,
}

const TINTS: [Tint; 3] = [Tint::None, Tint::Failed, Tint::Missing];
const TEMPORAL: [Kind; 4] = [Kind::Date, Kind::DateTime, Kind::Time, Kind::Duration];

/// The format IDs of a column.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    /// For numbers, by tint.
    numbers: [u32; 3],
    /// For dates and times, by kind and tint.
    temporal: [[u32; 3]; 4],
}

/// All cell formats of a workbook.
pub(super) struct Formats {
    /// The format of the header. Its ID is 1, after the default format.
    pub(super) header: Format,
    /// The other formats, in the order of their IDs.
    pub(super) others: Vec<Format>,
    /// For texts and blanks, by tint.
    plain: [u32; 3],
    /// For links, by tint.
    link: [u32; 3],
    columns: Vec<Column>,
    /// For columns beyond the first [`KEPT_MAX`], and for added columns.
    other: Column,
}

/// Assigns an ID to each distinct format.
struct FormatIds {
    known: HashMap<Format, u32>,
    list: Vec<Format>,
}

impl FormatIds {
    fn id(&mut self, code: Option<&str>, tint: Tint) -> u32 {
        match code {
            Some(code) => self.id_of(tinted(tint).set_num_format(code)),
            None if tint == Tint::None => 0,
            None => self.id_of(tinted(tint)),
        }
    }

    fn id_of(&mut self, format: Format) -> u32 {
        *self.known.entry(format).or_insert_with_key(|format| {
            self.list.push(format.clone());
            // 0 is the default format, 1 is the header.
            self.list.len() as u32 + 1
        })
    }
}

fn tinted(tint: Tint) -> Format {
    match tint {
        Tint::None => Format::new(),
        Tint::Failed => Format::new().set_background_color(Color::RGB(0x00F8_D7DA)),
        Tint::Missing => Format::new().set_background_color(Color::RGB(0x00FF_F3CD)),
    }
}

impl Formats {
    pub(super) fn new(spec: &ResultSpec) -> Formats {
        let mut ids = FormatIds {
            known: HashMap::new(),
            list: Vec::new(),
        };
        let plain = TINTS.map(|tint| ids.id(None, tint));
        let link = match spec.links.is_empty() {
            true => plain,
            false => TINTS.map(|tint| ids.id_of(tinted(tint).set_hyperlink())),
        };
        let mut column = |kind: Option<Kind>, code: Option<&str>| Column {
            numbers: TINTS.map(|tint| {
                // A number in a column of dates does not get a date format: it would display as a date.
                let own = code.filter(|code| {
                    !kind.is_some_and(Kind::is_temporal) && classify(code) == FormatKind::Number
                });
                ids.id(own, tint)
            }),
            temporal: TEMPORAL.map(|moment| {
                let own = code.filter(|_| kind == Some(moment));
                let code = own.unwrap_or(default_code(moment));
                TINTS.map(|tint| ids.id(Some(code), tint))
            }),
        };
        let other = column(None, None);
        let columns = spec
            .columns
            .iter()
            .take(KEPT_MAX)
            .map(|c| column(c.kind, c.format.as_deref()))
            .collect();
        Formats {
            header: Format::new()
                .set_bold()
                .set_background_color(Color::RGB(0x00E7_EDF5)),
            others: ids.list,
            plain,
            link,
            columns,
            other,
        }
    }

    /// The format ID of texts, booleans and blanks.
    pub(super) fn plain(&self, tint: Tint) -> u32 {
        self.plain[tint as usize]
    }

    /// The format ID of links.
    pub(super) fn link(&self, tint: Tint) -> u32 {
        self.link[tint as usize]
    }

    /// The format ID of numbers in a column.
    pub(super) fn number(&self, column: usize, tint: Tint) -> u32 {
        self.column(column).numbers[tint as usize]
    }

    /// The format ID of dates and times in a column.
    pub(super) fn temporal(&self, column: usize, kind: Kind, tint: Tint) -> u32 {
        let place = TEMPORAL.iter().position(|k| *k == kind).unwrap_or(0);
        self.column(column).temporal[place][tint as usize]
    }

    fn column(&self, column: usize) -> &Column {
        self.columns.get(column).unwrap_or(&self.other)
    }
}

/// The number format of a kind if the input has none.
fn default_code(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "yyyy\\-mm\\-dd",
        Kind::DateTime => "yyyy\\-mm\\-dd\\ hh:mm:ss",
        Kind::Time => "hh:mm:ss",
        Kind::Duration => "[h]:mm:ss",
        Kind::Bool | Kind::Number | Kind::Text => "General",
    }
}
