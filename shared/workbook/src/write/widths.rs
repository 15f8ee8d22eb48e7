//! The widths of columns, from their values.

use unicode_width::UnicodeWidthChar;

use super::formats::default_code;
use super::spec::ColumnSpec;

/// The widest column, in characters. Longer texts are cut on the screen, not in the cell.
pub(super) const MOST: u32 = 50;
/// The narrowest column, in characters.
const LEAST: u32 = 6;
/// The width of the button of the filter, and of the margin.
const BUTTON: u32 = 3;
/// The widest number without a format. Excel rounds what it displays to 11 digits.
const GENERAL: u32 = 12;
/// What fits into a line of a column of width [`MOST`]. Words do not fill it, but most letters are
/// narrower than the digits in which a width is counted.
const LINE: u32 = MOST;
/// The height of a line in points.
const LINE_HEIGHT: u32 = 15;
/// The greatest height of a row in points. Source: Microsoft, "Excel specifications and limits".
const HEIGHT_MAX: u32 = 409;
/// All of the first rows are measured, and one of this many further rows.
const ALL_OF_FIRST: u32 = 1000;
const ONE_OF: u32 = 50;

/// The widest value of each column, in characters, from a sample of the rows.
#[derive(Clone, Debug)]
pub(super) struct Widths(Vec<u32>);

impl Widths {
    /// Starts with the widths that are known before the first row, 0 for others.
    pub(super) fn new(known: Vec<u32>) -> Widths {
        Widths(known)
    }

    /// The widths to increase, if this row belongs to the sample.
    pub(super) fn sample(&mut self, row: u32) -> Option<&mut [u32]> {
        let measured = row <= ALL_OF_FIRST || row.is_multiple_of(ONE_OF);
        measured.then_some(self.0.as_mut_slice())
    }

    /// Makes a column at least this wide.
    pub(super) fn at_least(&mut self, column: usize, width: u32) {
        if let Some(known) = self.0.get_mut(column) {
            *known = width.max(*known);
        }
    }

    /// The width of a column with this header. A header may wrap, but not within a word.
    pub(super) fn of(&self, column: usize, header: &str) -> u32 {
        let values = self.0.get(column).map_or(0, |width| width + 1);
        let word = header.split_whitespace().map(text_width).max();
        let whole = text_width(header).min(20);
        let header = word.unwrap_or(0).max(whole) + BUTTON;
        values.max(header).clamp(LEAST, MOST)
    }
}

/// The width of a text: that of its longest line. Stops at [`MOST`].
pub(super) fn text_width(text: &str) -> u32 {
    let mut widest = 0;
    for line in text.lines() {
        let mut width = 0;
        for c in line.chars() {
            width += c.width().unwrap_or(0) as u32;
            if width >= MOST {
                return MOST;
            }
        }
        widest = width.max(widest);
    }
    widest
}

/// The height in points of a row with this text in a column of width [`MOST`]; `None` if it is that of
/// one line. LibreOffice does not compute heights when it opens a file.
pub(super) fn wrapped_height(text: &str) -> Option<u32> {
    // Nothing to measure: a character has at least one byte.
    if text.len() <= LINE as usize && !text.contains('\n') {
        return None;
    }
    let lines = text.lines().map(|line| {
        let width = line
            .chars()
            .filter_map(UnicodeWidthChar::width)
            .sum::<usize>();
        (width as u32).div_ceil(LINE).max(1)
    });
    let lines: u32 = lines.sum();
    (lines > 1).then(|| (lines * LINE_HEIGHT).min(HEIGHT_MAX))
}

/// The width of a number without a format.
pub(super) fn number_width(number: f64) -> u32 {
    (number.to_string().len() as u32).min(GENERAL)
}

/// The width of a column's values as far as it is known before the first row.
pub(super) fn known_width(column: &ColumnSpec) -> u32 {
    match (column.kind, column.format.as_deref()) {
        (Some(kind), code) if kind.is_temporal() => code_width(code.unwrap_or(default_code(kind))),
        (Some(rowmill_domain::Kind::Number), Some(code)) => {
            let digits = column.width.clamp(1, GENERAL);
            // Separators of thousands, and what the format adds.
            digits + digits / 3 + code_width(code).min(GENERAL)
        }
        (Some(rowmill_domain::Kind::Number), None) => column.width.min(GENERAL),
        _ => column.width,
    }
}

/// About the width of the values that a number format displays.
pub(super) fn code_width(code: &str) -> u32 {
    let first = code.split(';').next().unwrap_or_default();
    let long = ["mmmm", "dddd"]
        .iter()
        .filter(|name| first.contains(**name));
    // `September` and `Wednesday` have nine letters.
    let names = long.count() as u32 * 5;
    let mut bracket = false;
    let shown = first.chars().filter(|c| {
        match c {
            '[' => bracket = true,
            ']' => bracket = false,
            _ => {}
        }
        // In brackets is a color, a locale, or one letter such as `[h]`.
        !bracket && !matches!(c, ']' | '"' | '\\' | '_' | '*' | '#' | '@')
    });
    shown.count() as u32 + names + if first.contains('[') { 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::Kind;

    #[test]
    fn a_column_is_as_wide_as_its_values_and_its_header() {
        let widths = Widths::new(vec![0, 30, 400]);
        assert_eq!(widths.of(0, "ID"), LEAST);
        assert_eq!(widths.of(0, "Customer ID"), 14);
        assert_eq!(widths.of(0, "The number of the parcel in the register"), 23);
        assert_eq!(widths.of(1, "ID"), 31);
        assert_eq!(widths.of(2, "ID"), MOST);
    }

    #[test]
    fn the_first_rows_and_a_part_of_the_others_are_measured() {
        let mut widths = Widths::new(vec![0]);
        let measured = (1..=10_000).filter(|row| widths.sample(*row).is_some());
        assert_eq!(measured.count(), 1_000 + 9_000 / 50);
    }

    #[test]
    fn a_row_is_as_high_as_its_wrapped_text() {
        assert_eq!(wrapped_height(""), None);
        assert_eq!(wrapped_height("step 1 (http): 404 Not Found"), None);
        assert_eq!(wrapped_height("two\nlines"), Some(30));
        assert_eq!(wrapped_height(&"word ".repeat(27)), Some(45));
        assert_eq!(wrapped_height(&"東".repeat(40)), Some(30));
        assert_eq!(wrapped_height(&"x".repeat(32_767)), Some(409));
    }

    #[test]
    fn widths_are_those_on_the_screen() {
        assert_eq!(text_width("two\nlines of text"), 13);
        assert_eq!(text_width("東京"), 4);
        assert_eq!(text_width("e\u{301}"), 1);
        assert_eq!(text_width(&"x".repeat(32_767)), MOST);
        for (code, width) in [
            ("yyyy\\-mm\\-dd", 10),
            ("yyyy\\-mm\\-dd\\ hh:mm:ss", 19),
            ("dd.mm.yyyy", 10),
            ("[h]:mm:ss", 9),
            ("d\\ mmmm\\ yyyy;@", 16),
        ] {
            let shown = code_width(code);
            assert!((width..=width + 3).contains(&shown), "{code}: {shown}");
        }
        let column = |kind, format: &str, width| ColumnSpec {
            kind: Some(kind),
            format: (!format.is_empty()).then(|| format.to_owned()),
            width,
            ..ColumnSpec::default()
        };
        // 1,234,567.00 EUR
        let money = known_width(&column(Kind::Number, "#,##0.00 \"EUR\"", 7));
        assert!((16..=24).contains(&money), "{money}");
        assert_eq!(known_width(&column(Kind::Number, "", 19)), GENERAL);
        assert_eq!(known_width(&column(Kind::Text, "", 19)), 19);
    }
}
