//! A table of texts that fits the width of the terminal.

use std::borrow::Cow;

use console::{measure_text_width, truncate_str};

/// The widest column, so that one long text does not push out all others.
const WIDEST: usize = 40;
/// Columns are not narrowed below this.
const NARROWEST: usize = 8;
/// The space between columns.
const GAP: &str = "  ";
/// The end of a truncated text.
const ELLIPSIS: &str = "\u{2026}";

/// A column of a table.
pub(crate) struct Column {
    name: String,
    cells: Vec<String>,
    /// Whether it may be left out if there is no room.
    optional: bool,
}

impl Column {
    /// A column that is always shown, even if it is narrow.
    pub(crate) fn required(name: &str, cells: impl IntoIterator<Item = String>) -> Column {
        Column {
            name: one_line(name),
            cells: cells.into_iter().map(|cell| one_line(&cell)).collect(),
            optional: false,
        }
    }

    /// A column that is shown if there is room for it.
    pub(crate) fn optional(name: &str, cells: impl IntoIterator<Item = String>) -> Column {
        Column {
            optional: true,
            ..Column::required(name, cells)
        }
    }

    /// The width that shows all its texts, up to [`WIDEST`].
    fn width(&self) -> usize {
        let texts = self.cells.iter().chain([&self.name]);
        let widest = texts.map(|text| measure_text_width(text)).max();
        widest.unwrap_or(0).min(WIDEST)
    }
}

/// The lines of a table at most `width` wide, with each row's note below it. The last line names the
/// columns that are not shown.
pub(crate) fn table(columns: &[Column], notes: &[Option<&str>], width: usize) -> Vec<String> {
    let (shown, left_out) = choose(columns, width);
    let line = |cell: &dyn Fn(&Column, usize) -> String| {
        let mut text = String::new();
        for (column, width) in &shown {
            let cell = cell(column, *width);
            let cell = truncate_str(&cell, *width, ELLIPSIS);
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
            lines.extend(wrapped(&one_line(note), GAP, width.max(WIDEST)));
        }
    }
    if !left_out.is_empty() {
        let names = format!("not shown: {}", left_out.join(", "));
        lines.extend(wrapped(&names, "", width.max(WIDEST)));
    }
    lines
}

/// The columns to show with their widths, and the names of the others.
fn choose(columns: &[Column], width: usize) -> (Vec<(&Column, usize)>, Vec<&str>) {
    let mut widths: Vec<Option<usize>> = columns
        .iter()
        .map(|column| (!column.optional).then(|| column.width()))
        .collect();
    let total = |widths: &[Option<usize>]| -> usize {
        widths.iter().flatten().map(|w| w + GAP.len()).sum()
    };
    // Narrow the widest column first.
    let limit = width + GAP.len();
    while total(&widths) > limit {
        let widest = widths.iter_mut().flatten().max();
        match widest {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => break,
        }
    }
    let mut left_out = Vec::new();
    for (at, column) in columns.iter().enumerate().filter(|(_, c)| c.optional) {
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

/// The lines of a text at most `width` wide, each after `indent`. A word that is longer than a line is
/// broken.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> Vec<String> {
    let room = width
        .saturating_sub(measure_text_width(indent))
        .max(NARROWEST);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let wide = measure_text_width(word);
        if used > 0 && used + 1 + wide > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let wide = measure_text_width(c.encode_utf8(&mut [0; 4]));
            if used + wide > room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    lines.push(line);
    lines.iter().map(|line| format!("{indent}{line}")).collect()
}

/// A text without line ends and other control characters, which a terminal would interpret.
pub(crate) fn one_line(text: &str) -> String {
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
    fn a_note_is_shown_whole() {
        let column = [Column::required("row", texts(&["2"]))];
        let note = format!("no such parcel {} end", "x".repeat(60));
        let lines = table(&column, &[Some(&note)], 40);
        assert_eq!(lines.len(), 6, "{lines:#?}");
        let shown: String = lines[3..].concat().replace(' ', "");
        assert_eq!(shown, note.replace(' ', ""));
    }

    #[test]
    fn a_table_fits_its_width() {
        let long = "a text that is far longer than any column of this table may ever be";
        let columns = [
            Column::required("row", texts(&["2", "13"])),
            Column::optional("Review", texts(&[long, "kurz\nund\x1b[31m gut"])),
            Column::optional("Country", texts(&["日本", "Österreich"])),
            Column::required("sa_class", texts(&["positive", "neutral"])),
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
