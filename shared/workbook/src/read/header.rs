//! Finds the header row and names the columns.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::reference::column_letters;
use super::row::RawRow;
use super::sink::Header;

/// The index of the header in `rows`, the first rows of a sheet. `None` if no row has a value, or if
/// row number `given` is not in `rows`.
///
/// The header is the first row with a value. A single text above a row of at least three texts is
/// taken as a title and skipped.
pub(crate) fn find_header(rows: &[RawRow], given: Option<u32>) -> Option<usize> {
    if let Some(number) = given {
        return rows.iter().position(|row| row.number == number);
    }
    let first = rows.iter().position(|row| row.value_count() > 0)?;
    let next = (first + 1..rows.len()).find(|i| rows[*i].value_count() > 0);
    match next {
        Some(next) if rows[first].value_count() == 1 && rows[next].text_count() >= 3 => Some(next),
        _ => Some(first),
    }
}

/// A range of merged cells: its first and last row and column, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MergedRange {
    pub(crate) rows: (u32, u32),
    pub(crate) columns: (u32, u32),
}

/// Maximum number of merged ranges to keep of a row: as many as it has cells.
pub(crate) const MERGES_MAX: usize = rowmill_domain::limits::SHEET_COLUMNS as usize;

/// The texts of a header that spans two rows: an upper row with texts merged across columns, and the
/// texts below them. `None` if `upper` is a complete header. `years` says that `lower` contains
/// numbers. `row` is the index of the upper row and `first` the column of the first text, both from 0.
pub(crate) fn join_rows(
    upper: &[Option<String>],
    lower: &[Option<String>],
    years: bool,
    row: u32,
    first: u32,
    merges: &[MergedRange],
) -> Option<Vec<Option<String>>> {
    let wide: Vec<&MergedRange> = merges
        .iter()
        .filter(|m| m.rows == (row, row) && m.columns.1 > m.columns.0 && m.columns.0 >= first)
        .collect();
    let below = |merge: &MergedRange| {
        let columns = (merge.columns.0 - first) as usize..=(merge.columns.1 - first) as usize;
        columns.filter_map(|c| lower.get(c)?.as_ref()).count() > 1
    };
    if wide.is_empty() || !wide.iter().all(|m| below(m)) {
        return None;
    }
    let above = |at: usize| {
        let column = first + at as u32;
        let mut wide = wide.iter();
        wide.find(|m| (m.columns.0..=m.columns.1).contains(&column))
    };
    // A data row with such a number also has a value in a column that is not merged.
    if years && (0..lower.len()).any(|at| lower[at].is_some() && above(at).is_none()) {
        return None;
    }
    let joined = (0..upper.len()).map(|at| {
        let over = above(at).map_or(at, |m| (m.columns.0 - first) as usize);
        // A text across all columns is a title, not part of the names.
        let title = wide.len() == 1 && upper.iter().flatten().count() == 1;
        let top = upper.get(over).and_then(Option::as_ref).filter(|_| !title);
        match (top, lower.get(at).and_then(Option::as_ref)) {
            (Some(top), Some(low)) if top != low => Some(format!("{top} {low}")),
            (top, low) => low.or(top).cloned(),
        }
    });
    Some(joined.collect())
}

/// Names the columns after the texts of the header, makes the names unique and notes every change.
/// `first` is the column of the first text, from 0. `last_row` is the first row with a value in the
/// last column.
pub(crate) fn name_columns(
    sheet: &str,
    row: u32,
    first: u32,
    texts: &[Option<String>],
    last_row: Option<u32>,
) -> Header {
    let cleaned: Vec<Option<String>> = texts
        .iter()
        .map(|text| text.as_deref().map(single_line).filter(|t| !t.is_empty()))
        .collect();
    // Names from the file have priority over generated names.
    let mut used = UsedNames {
        names: cleaned.iter().flatten().cloned().collect(),
        next: HashMap::new(),
    };
    let mut seen: HashSet<String> = HashSet::new();
    let mut columns = Vec::with_capacity(texts.len());
    let mut notes = Vec::new();
    // The current run of adjacent columns without a header.
    let mut gap: Option<Range<usize>> = None;
    for (at, text) in cleaned.into_iter().enumerate() {
        let letters = column_letters(first + at as u32);
        let Some(text) = text else {
            columns.push(used.unique(&format!("Column {letters}")));
            gap = Some(gap.map_or(at, |gap| gap.start)..at + 1);
            continue;
        };
        if let Some(gap) = gap.take() {
            notes.push(unnamed_note(first, gap, &columns));
        }
        if seen.insert(text.clone()) {
            columns.push(text);
            continue;
        }
        let name = used.unique(&text);
        notes.push(format!(
            "Column {letters} repeats the header `{text}` and was renamed to `{name}`."
        ));
        columns.push(name);
    }
    if let Some(gap) = gap {
        let mut note = unnamed_note(first, gap.clone(), &columns);
        // A stray cell far to the right turns everything before it into columns.
        if let Some(row) = last_row.filter(|_| gap.len() > 1) {
            let letters = column_letters(first + gap.end as u32 - 1);
            note += &format!(
                " The last of them has a value in {letters}{row}; if it is there by mistake, clear \
                 that cell and try again."
            );
        }
        notes.push(note);
    }
    Header {
        sheet: sheet.to_owned(),
        row,
        columns,
        notes,
        origin: None,
        better_row: None,
    }
}

/// The note about adjacent columns without a header.
fn unnamed_note(first: u32, gap: Range<usize>, names: &[String]) -> String {
    let letters = |at: usize| column_letters(first + at as u32);
    let name = &names[gap.start];
    let start = letters(gap.start);
    match gap.len() {
        1 => format!("Column {start} has no header and was named `{name}`."),
        _ => format!(
            "Columns {start} to {} have no header and were named `{name}` and so on.",
            letters(gap.end - 1)
        ),
    }
}

/// The names in use.
struct UsedNames {
    names: HashSet<String>,
    /// The next number to try for a name. All lower numbers are in use.
    next: HashMap<String, u32>,
}

impl UsedNames {
    /// The first of `name`, `name (2)`, `name (3)` and so on that is not in use.
    fn unique(&mut self, name: &str) -> String {
        if self.names.insert(name.to_owned()) {
            return name.to_owned();
        }
        let n = self.next.entry(name.to_owned()).or_insert(2);
        loop {
            let free = format!("{name} ({n})");
            *n += 1;
            if self.names.insert(free.clone()) {
                return free;
            }
        }
    }
}

/// A header text on one line: each run of whitespace, including line breaks, becomes one space.
/// The text in one line, without the invisible characters at its ends that joined or copied files leave.
pub(crate) fn single_line(text: &str) -> String {
    let text = text.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\u{2060}')
    });
    let mut cleaned = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.push_str(word);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_stable() {
        let texts = [
            Some("Name"),
            None,
            Some(" Name "),
            Some("Name (2)"),
            Some("Tax\ndue"),
            Some("Name"),
            Some("Column C"),
            None,
        ]
        .map(|t| t.map(str::to_owned));
        let header = name_columns("S", 1, 1, &texts, Some(7));
        assert_eq!(
            header.columns,
            [
                "Name",
                "Column C (2)",
                "Name (3)",
                "Name (2)",
                "Tax due",
                "Name (4)",
                "Column C",
                "Column I"
            ]
        );
        assert_eq!(header.notes.len(), 4, "{:?}", header.notes);
        assert!(header.notes[0].contains("Column C has no header"));
    }

    #[test]
    fn adjacent_columns_without_a_header_get_one_note() {
        let mut texts = vec![None; 16_384];
        texts[0] = Some("ID".to_owned());
        texts[3] = Some("Name".to_owned());
        let header = name_columns("S", 1, 0, &texts, Some(3));
        assert_eq!(header.columns[16_383], "Column XFD");
        assert_eq!(
            header.notes,
            [
                "Columns B to C have no header and were named `Column B` and so on.",
                "Columns E to XFD have no header and were named `Column E` and so on. The last of \
                 them has a value in XFD3; if it is there by mistake, clear that cell and try again.",
            ]
        );
    }

    #[test]
    fn naming_many_equal_headers_is_fast() {
        let texts = vec![Some("x1".to_owned()); 16_384];
        let start = std::time::Instant::now();
        let header = name_columns("S", 1, 0, &texts, None);
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        assert_eq!(header.columns[16_383], "x1 (16384)");
    }

    #[test]
    fn two_header_rows_become_one() {
        let texts = |texts: &[&str]| -> Vec<Option<String>> {
            let some = |t: &&str| (!t.is_empty()).then(|| (*t).to_owned());
            texts.iter().map(some).collect()
        };
        let merge = |rows, columns| MergedRange { rows, columns };
        let upper = texts(&["ID", "Address", "", "Since"]);
        let lower = texts(&["", "City", "ZIP", "Year"]);
        let wide = merge((4, 4), (3, 4));
        let joined = join_rows(&upper, &lower, false, 4, 2, &[merge((4, 5), (2, 2)), wide]);
        let want = texts(&["ID", "Address City", "Address ZIP", "Since Year"]);
        assert_eq!(joined, Some(want));
        // Merged in another row, merged downwards, or not merged: the header is one row.
        for merges in [
            vec![merge((5, 5), (3, 4))],
            vec![merge((4, 5), (3, 3))],
            vec![merge((4, 4), (2, 3)), wide],
            vec![],
        ] {
            let joined = join_rows(&upper, &lower, false, 4, 2, &merges);
            assert_eq!(joined, None, "{merges:?}");
        }
        // Years below the merged cells, and no other values.
        let years = texts(&["", "2023", "2024", ""]);
        let joined = join_rows(&upper, &years, true, 4, 2, &[wide]);
        let want = texts(&["ID", "Address 2023", "Address 2024", "Since"]);
        assert_eq!(joined, Some(want));
        let data = texts(&["", "2023", "2024", "x"]);
        assert_eq!(join_rows(&upper, &data, true, 4, 2, &[wide]), None);
        let title = texts(&["Customers", ""]);
        let names = texts(&["ID", "Name"]);
        let joined = join_rows(&title, &names, false, 0, 0, &[merge((0, 0), (0, 1))]);
        assert_eq!(joined, Some(names));
    }
}
