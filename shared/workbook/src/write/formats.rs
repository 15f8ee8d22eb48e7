//! The formats of result cells, by the numbers that the sheet's XML names them with.

use std::collections::HashMap;

use rowmill_domain::Kind;
use rust_xlsxwriter::{Color, Format};

use super::spec::ResultSpec;
use crate::read::number_format::{Shown, shown};

/// Number formats of the input that are kept, at most: Excel takes 65,490 cell formats in all, and
/// each of these makes several.
const KEPT_MAX: usize = 1000;

/// How a row is tinted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    None,
    Failed,
    Missing,
}

const TINTS: [Tint; 3] = [Tint::None, Tint::Failed, Tint::Missing];
const TEMPORAL: [Kind; 4] = [Kind::Date, Kind::DateTime, Kind::Time, Kind::Duration];

/// The numbers of the formats of one column.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    /// Of numbers, per tint.
    numbers: [u32; 3],
    /// Of dates and times, per kind and tint.
    moments: [[u32; 3]; 4],
}

/// All formats of a workbook's rows.
pub(super) struct Formats {
    /// The header's; the first after the default one.
    pub(super) header: Format,
    /// The others in the order of their numbers.
    pub(super) others: Vec<Format>,
    /// Of texts and blanks, per tint.
    plain: [u32; 3],
    /// Of links, per tint.
    link: [u32; 3],
    columns: Vec<Column>,
    /// Of columns without a format of their own.
    other: Column,
}

/// Gives each distinct format its number.
struct Numbers {
    known: HashMap<Format, u32>,
    list: Vec<Format>,
}

impl Numbers {
    fn number(&mut self, code: Option<&str>, tint: Tint) -> u32 {
        match code {
            Some(code) => self.of(tinted(tint).set_num_format(code)),
            None if tint == Tint::None => 0,
            None => self.of(tinted(tint)),
        }
    }

    fn of(&mut self, format: Format) -> u32 {
        *self.known.entry(format).or_insert_with_key(|format| {
            self.list.push(format.clone());
            // 0 is the default format, 1 the header's.
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
        let mut numbers = Numbers {
            known: HashMap::new(),
            list: Vec::new(),
        };
        let plain = TINTS.map(|tint| numbers.number(None, tint));
        let link = match spec.links.is_empty() {
            true => plain,
            false => TINTS.map(|tint| numbers.of(tinted(tint).set_hyperlink())),
        };
        let mut column = |kind: Option<Kind>, code: Option<&str>| Column {
            numbers: TINTS.map(|tint| {
                // A number among dates has no date's format: it would be read back as a day.
                let own = code.filter(|code| {
                    !kind.is_some_and(Kind::is_temporal) && shown(code) == Shown::Number
                });
                numbers.number(own, tint)
            }),
            moments: TEMPORAL.map(|moment| {
                let own = code.filter(|_| kind == Some(moment));
                let code = own.unwrap_or(default_code(moment));
                TINTS.map(|tint| numbers.number(Some(code), tint))
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
            others: numbers.list,
            plain,
            link,
            columns,
            other,
        }
    }

    /// The format of texts, booleans and blanks.
    pub(super) fn plain(&self, tint: Tint) -> u32 {
        self.plain[tint as usize]
    }

    /// The format of links.
    pub(super) fn link(&self, tint: Tint) -> u32 {
        self.link[tint as usize]
    }

    /// The format of numbers in a column.
    pub(super) fn number(&self, column: usize, tint: Tint) -> u32 {
        self.column(column).numbers[tint as usize]
    }

    /// The format of dates and times in a column.
    pub(super) fn moment(&self, column: usize, kind: Kind, tint: Tint) -> u32 {
        let place = TEMPORAL.iter().position(|k| *k == kind).unwrap_or(0);
        self.column(column).moments[place][tint as usize]
    }

    fn column(&self, column: usize) -> &Column {
        self.columns.get(column).unwrap_or(&self.other)
    }
}

/// The number format of a kind where the input has none.
fn default_code(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "yyyy\\-mm\\-dd",
        Kind::DateTime => "yyyy\\-mm\\-dd\\ hh:mm:ss",
        Kind::Time => "hh:mm:ss",
        Kind::Duration => "[h]:mm:ss",
        Kind::Bool | Kind::Number | Kind::Text => "General",
    }
}
