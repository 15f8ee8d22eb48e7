//! The cell formats of a result, and the IDs by which the XML of a sheet refers to them.

use std::collections::HashMap;

use rowmill_domain::colors::{ColorPair, LIGHT, rgb};
use rowmill_domain::{Kind, Status};
use rust_xlsxwriter::{Color, Format, FormatAlign, FormatBorder};

use super::spec::ResultSpec;
use crate::read::number_format::{FormatKind, classify};

/// Maximum number of columns whose number formats are kept. Excel allows 65,490 cell formats, and each
/// column needs several.
const KEPT_MAX: usize = 1000;

/// The background of a cell: by the status of its record, or because its column was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    None,
    /// An added column of a record that is `ok`.
    Added,
    Failed,
    Missing,
}

const TINTS: [Tint; 4] = [Tint::None, Tint::Added, Tint::Failed, Tint::Missing];
const STATUSES: [Status; 3] = [Status::Ok, Status::Failed, Status::Missing];
const TEMPORAL: [Kind; 4] = [Kind::Date, Kind::DateTime, Kind::Time, Kind::Duration];

/// The format IDs of a column.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    /// For numbers, by tint.
    numbers: [u32; 4],
    /// For dates and times, by kind and tint.
    temporal: [[u32; 4]; 4],
}

/// All cell formats of a workbook.
pub(super) struct Formats {
    /// The format of the headers of input columns.
    pub(super) header: Format,
    /// The format of the headers of added columns.
    pub(super) added_header: Format,
    /// All formats, in the order of their IDs, from 1: 0 is the default format.
    pub(super) all: Vec<Format>,
    /// For texts and blanks, by tint.
    plain: [u32; 4],
    /// For links, by tint.
    link: [u32; 4],
    /// For texts that wrap, by tint.
    wrapped: [u32; 4],
    /// For the name of a status, by status.
    status: [u32; 3],
    /// For the values that a person can correct.
    review: u32,
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
            // 0 is the default format.
            self.list.len() as u32
        })
    }
}

pub(super) fn color(color: &str) -> Color {
    Color::RGB(rgb(color))
}

fn tinted(tint: Tint) -> Format {
    let tinted = |tint| Format::new().set_background_color(color(tint));
    match tint {
        Tint::None => Format::new(),
        Tint::Added => tinted(LIGHT.accent.tint),
        // A reason of several lines makes its row higher: the other cells are beside its first line.
        Tint::Failed => tinted(LIGHT.failed.tint).set_align(FormatAlign::Top),
        Tint::Missing => tinted(LIGHT.missing.tint).set_align(FormatAlign::Top),
    }
}

fn header(background: &str) -> Format {
    Format::new()
        .set_bold()
        .set_text_wrap()
        .set_align(FormatAlign::Top)
        .set_background_color(color(background))
        .set_border_bottom(FormatBorder::Thin)
        .set_border_bottom_color(color(LIGHT.line))
}

/// The color of a status.
pub(super) fn status_color(status: Status) -> ColorPair {
    match status {
        Status::Ok => LIGHT.ok,
        Status::Failed => LIGHT.failed,
        Status::Missing => LIGHT.missing,
    }
}

impl Tint {
    /// The background of the input columns of a record.
    pub(super) fn of(status: Status) -> Tint {
        match status {
            Status::Ok => Tint::None,
            Status::Failed => Tint::Failed,
            Status::Missing => Tint::Missing,
        }
    }

    /// The background of the added columns in a row with this background.
    pub(super) fn added(self) -> Tint {
        match self {
            Tint::None => Tint::Added,
            tint => tint,
        }
    }
}

impl Formats {
    pub(super) fn new(spec: &ResultSpec) -> Formats {
        let mut ids = FormatIds {
            known: HashMap::new(),
            list: Vec::new(),
        };
        let (header, added_header) = (header(LIGHT.rejected.tint), header(LIGHT.accent_header));
        let mut headers = [header.clone(), added_header.clone()];
        if spec.columns.is_empty() {
            // rust_xlsxwriter numbers them in the order of their first use.
            headers.reverse();
        }
        for header in headers {
            ids.id_of(header);
        }
        let plain = TINTS.map(|tint| ids.id(None, tint));
        let wrapped = TINTS.map(|tint| ids.id_of(tinted(tint).set_text_wrap()));
        let status = STATUSES.map(|status| {
            let format = tinted(Tint::of(status).added()).set_bold();
            ids.id_of(format.set_font_color(color(status_color(status).text)))
        });
        let link = match spec.links.is_empty() {
            true => plain,
            false => TINTS.map(|tint| ids.id_of(tinted(tint).set_hyperlink())),
        };
        let review = match spec.review {
            Some(_) => ids.id_of(Format::new().set_background_color(color(LIGHT.accent_header))),
            None => plain[Tint::Added as usize],
        };
        let mut column = |kind: Option<Kind>, code: Option<&str>, tints: [Tint; 4]| Column {
            numbers: tints.map(|tint| {
                // A number in a column of dates does not get a date format: it would display as a date.
                let own = code.filter(|code| {
                    !kind.is_some_and(Kind::is_temporal) && classify(code) == FormatKind::Number
                });
                ids.id(own, tint)
            }),
            temporal: TEMPORAL.map(|moment| {
                let own = code.filter(|_| kind == Some(moment));
                let code = own.unwrap_or(default_code(moment));
                tints.map(|tint| ids.id(Some(code), tint))
            }),
        };
        let other = column(None, None, TINTS);
        // No input column is tinted as added.
        let tints = TINTS.map(|tint| match tint {
            Tint::Added => Tint::None,
            tint => tint,
        });
        let columns = spec
            .columns
            .iter()
            .take(KEPT_MAX)
            .map(|c| column(c.kind, c.format.as_deref(), tints))
            .collect();
        Formats {
            header,
            added_header,
            all: ids.list,
            plain,
            link,
            wrapped,
            status,
            review,
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

    /// The format ID of texts that wrap.
    pub(super) fn wrapped(&self, tint: Tint) -> u32 {
        self.wrapped[tint as usize]
    }

    /// The format ID of the name of a status.
    pub(super) fn status(&self, status: Status) -> u32 {
        let place = STATUSES.iter().position(|s| *s == status);
        self.status[place.unwrap_or(0)]
    }

    /// The format ID of values that a person can correct.
    pub(super) fn review(&self) -> u32 {
        self.review
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
pub(super) fn default_code(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "yyyy\\-mm\\-dd",
        Kind::DateTime => "yyyy\\-mm\\-dd\\ hh:mm:ss",
        Kind::Time => "hh:mm:ss",
        Kind::Duration => "[h]:mm:ss",
        Kind::Bool | Kind::Number | Kind::Text => "General",
    }
}
