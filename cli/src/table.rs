//! A table of texts as wide as the terminal.

use std::borrow::Cow;

use console::{measure_text_width, truncate_str};

/// No column is wider, so that one long text does not take the place of all others.
const WIDEST: usize = 40;
/// No column is made narrower to save place.
const NARROWEST: usize = 8;
/// Between columns.
const GAP: &str = "  ";
/// What a cut text ends in.
const CUT: &str = "\u{2026}";

/// A column of a table.
pub(crate) struct Column {
    name: String,
    cells: Vec<String>,
    /// Whether it may be left out where there is no place.
    may: bool,
}

impl Column {
    /// A column that is shown, however narrow.
    pub(crate) fn must(name: &str, cells: impl IntoIterator<Item = String>) -> Column {
        Column {
            name: one_line(name),
            cells: cells.into_iter().map(|cell| one_line(&cell)).collect(),
            may: false,
        }
    }

    /// A column that is shown where there is place for it.
    pub(crate) fn may(name: &str, cells: impl IntoIterator<Item = String>) -> Column {
        Column {
            may: true,
            ..Column::must(name, cells)
        }
    }

    /// How wide it wants to be.
    fn width(&self) -> usize {
        let texts = self.cells.iter().chain([&self.name]);
        let widest = texts.map(|text| measure_text_width(text)).max();
        widest.unwrap_or(0).min(WIDEST)
    }
}

/// The lines of a table at most `width` wide, with each row's note below it, and a last line that
/// names the columns left out.
pub(crate) fn table(columns: &[Column], notes: &[Option<&str>], width: usize) -> Vec<String> {
    let (shown, left_out) = choose(columns, width);
    let line = |cell: &dyn Fn(&Column, usize) -> String| {
        let mut text = String::new();
        for (column, width) in &shown {
            let cell = cell(column, *width);
            let cell = truncate_str(&cell, *width, CUT);
            text.push_str(&cell);
            let fill = width.saturating_sub(measure_text_width(&cell)) + GAP.len();
            text.extend(std::iter::repeat_n(' ', fill));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&|column, _| column.name.clone())];
    lines.push(line(&|_, width| "-".repeat(width)));
    for (row, note) in notes.iter().enumerate() {
        lines.push(line(&|column, _| {
            column.cells.get(row).cloned().unwrap_or_default()
        }));
        if let Some(note) = note {
            let note = format!("{GAP}{}", one_line(note));
            lines.push(truncate_str(&note, width.max(WIDEST), CUT).into_owned());
        }
    }
    if !left_out.is_empty() {
        let names = format!("not shown: {}", left_out.join(", "));
        lines.push(truncate_str(&names, width.max(WIDEST), CUT).into_owned());
    }
    lines
}

/// The columns that are shown with their widths, and the names of the others.
fn choose(columns: &[Column], width: usize) -> (Vec<(&Column, usize)>, Vec<&str>) {
    let mut widths: Vec<Option<usize>> = columns
        .iter()
        .map(|column| (!column.may).then(|| column.width()))
        .collect();
    let total = |widths: &[Option<usize>]| -> usize {
        widths.iter().flatten().map(|w| w + GAP.len()).sum()
    };
    // The widest gives way first.
    let limit = width + GAP.len();
    while total(&widths) > limit {
        let widest = widths.iter_mut().flatten().max();
        match widest {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => break,
        }
    }
    let mut left_out = Vec::new();
    for (at, column) in columns.iter().enumerate().filter(|(_, c)| c.may) {
        let room = limit.saturating_sub(total(&widths) + GAP.len());
        let wanted = column.width();
        match wanted <= room || room >= NARROWEST {
            true => widths[at] = Some(wanted.min(room)),
            false => left_out.push(column.name.as_str()),
        }
    }
    let shown = columns.iter().zip(widths);
    let shown = shown.filter_map(|(column, width)| Some((column, width?)));
    (shown.collect(), left_out)
}

/// A text without line ends and other control characters, which a terminal would obey.
fn one_line(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    match plain.contains(char::is_control) {
        true => Cow::from(plain.replace(char::is_control, " ")),
        false => plain,
    }
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn texts_are_cut_where_there_is_no_place() {
        let long = "a text that is far longer than any column of this table may ever be";
        let columns = [
            Column::must("row", texts(&["2", "13"])),
            Column::may("Review", texts(&[long, "kurz\nund\x1b[31m gut"])),
            Column::may("Country", texts(&["日本", "Österreich"])),
            Column::must("sa_class", texts(&["positive", "neutral"])),
        ];
        let notes = [None, Some("step 1 (http): 404\nNot Found")];
        let wide = table(&columns, &notes, 80);
        insta::assert_snapshot!("wide", wide.join("\n"));
        let narrow = table(&columns, &notes, 40);
        insta::assert_snapshot!("narrow", narrow.join("\n"));
        for (lines, width) in [(wide, 80), (narrow, 40)] {
            for line in lines {
                assert!(measure_text_width(&line) <= width, "{line}");
            }
        }
    }
}
