//! Which row is the header, and what its columns are called.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::reference::column_letters;
use super::row::RawRow;
use super::sink::Header;

/// The header among the first rows of a sheet: its place in `rows`, or `None` where no row has a
/// value (`given`: where there is no such row).
///
/// It is the first row with a value. A single text above a row of at least three texts is a title,
/// and passed over.
pub(crate) fn find(rows: &[RawRow], given: Option<u32>) -> Option<usize> {
    if let Some(number) = given {
        return rows.iter().position(|row| row.number == number);
    }
    let first = rows.iter().position(|row| row.filled() > 0)?;
    let next = (first + 1..rows.len()).find(|i| rows[*i].filled() > 0);
    match next {
        Some(next) if rows[first].filled() == 1 && rows[next].texts() >= 3 => Some(next),
        _ => Some(first),
    }
}

/// Cells that are merged into one, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) rows: (u32, u32),
    pub(crate) columns: (u32, u32),
}

/// The texts of a header over two rows: an upper one with texts merged over several columns, and
/// the texts below them. `None` where `upper` is a header by itself. `years`: some of `lower` are
/// numbers. `row` is the upper row's number and `first` the column of the first text, both from 0.
pub(crate) fn join(
    upper: &[Option<String>],
    lower: &[Option<String>],
    years: bool,
    row: u32,
    first: u32,
    merges: &[Merge],
) -> Option<Vec<Option<String>>> {
    let wide: Vec<&Merge> = merges
        .iter()
        .filter(|m| m.rows == (row, row) && m.columns.1 > m.columns.0 && m.columns.0 >= first)
        .collect();
    let below = |merge: &Merge| {
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
    // A row of data with such a number has a value beside it, in a column of its own.
    if years && (0..lower.len()).any(|at| lower[at].is_some() && above(at).is_none()) {
        return None;
    }
    let joined = (0..upper.len()).map(|at| {
        let over = above(at).map_or(at, |m| (m.columns.0 - first) as usize);
        // A text over all columns is a title, and no part of their names.
        let title = wide.len() == 1 && upper.iter().flatten().count() == 1;
        let top = upper.get(over).and_then(Option::as_ref).filter(|_| !title);
        match (top, lower.get(at).and_then(Option::as_ref)) {
            (Some(top), Some(low)) if top != low => Some(format!("{top} {low}")),
            (top, low) => low.or(top).cloned(),
        }
    });
    Some(joined.collect())
}

/// Names of the columns from the texts of the header, made unique; what was changed is noted.
/// `first` is the sheet's column of the first text, from 0, and `last_row` the first row with a
/// value in the last column.
pub(crate) fn name(
    sheet: &str,
    row: u32,
    first: u32,
    texts: &[Option<String>],
    last_row: Option<u32>,
) -> Header {
    let cleaned: Vec<Option<String>> = texts
        .iter()
        .map(|text| text.as_deref().map(clean).filter(|t| !t.is_empty()))
        .collect();
    // The names as they are written come first: a made one gives way to them.
    let mut taken = Taken {
        names: cleaned.iter().flatten().cloned().collect(),
        next: HashMap::new(),
    };
    let mut seen: HashSet<String> = HashSet::new();
    let mut columns = Vec::with_capacity(texts.len());
    let mut notes = Vec::new();
    // The columns without a header that stand side by side, as far as they are known.
    let mut gap: Option<Range<usize>> = None;
    for (at, text) in cleaned.into_iter().enumerate() {
        let letters = column_letters(first + at as u32);
        let Some(text) = text else {
            columns.push(taken.free(&format!("Column {letters}")));
            gap = Some(gap.map_or(at, |gap| gap.start)..at + 1);
            continue;
        };
        if let Some(gap) = gap.take() {
            notes.push(headerless(first, gap, &columns));
        }
        if seen.insert(text.clone()) {
            columns.push(text);
            continue;
        }
        let name = taken.free(&text);
        notes.push(format!(
            "Column {letters} has the header `{text}` again; it is called `{name}`."
        ));
        columns.push(name);
    }
    if let Some(gap) = gap {
        let mut note = headerless(first, gap.clone(), &columns);
        // A stray cell far off makes columns of all before it.
        if let Some(row) = last_row.filter(|_| gap.len() > 1) {
            let letters = column_letters(first + gap.end as u32 - 1);
            note += &format!(
                " The last has a value in {letters}{row}: if that is not meant, clear it and try \
                 again."
            );
        }
        notes.push(note);
    }
    Header {
        sheet: sheet.to_owned(),
        row,
        columns,
        notes,
    }
}

/// What is told of columns without a header that stand side by side.
fn headerless(first: u32, gap: Range<usize>, names: &[String]) -> String {
    let letters = |at: usize| column_letters(first + at as u32);
    let name = &names[gap.start];
    let start = letters(gap.start);
    match gap.len() {
        1 => format!("Column {start} has no header; it is called `{name}`."),
        _ => format!(
            "Columns {start} to {} have no header; they are called `{name}` and so on.",
            letters(gap.end - 1)
        ),
    }
}

/// The names that are taken.
struct Taken {
    names: HashSet<String>,
    /// The number that a name is tried with next: all below are taken.
    next: HashMap<String, u32>,
}

impl Taken {
    /// `name`, else `name (2)`, `name (3)` and so on: the first that is not taken.
    fn free(&mut self, name: &str) -> String {
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

/// A header's text on one line: runs of white space, line breaks too, become one blank.
fn clean(text: &str) -> String {
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
        let header = name("S", 1, 1, &texts, Some(7));
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
    fn columns_without_header_are_one_note() {
        let mut texts = vec![None; 16_384];
        texts[0] = Some("ID".to_owned());
        texts[3] = Some("Name".to_owned());
        let header = name("S", 1, 0, &texts, Some(3));
        assert_eq!(header.columns[16_383], "Column XFD");
        assert_eq!(
            header.notes,
            [
                "Columns B to C have no header; they are called `Column B` and so on.",
                "Columns E to XFD have no header; they are called `Column E` and so on. The last \
                 has a value in XFD3: if that is not meant, clear it and try again.",
            ]
        );
    }

    #[test]
    fn the_same_name_in_all_columns_takes_no_time() {
        let texts = vec![Some("x1".to_owned()); 16_384];
        let start = std::time::Instant::now();
        let header = name("S", 1, 0, &texts, None);
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        assert_eq!(header.columns[16_383], "x1 (16384)");
    }

    #[test]
    fn headers_over_two_rows_are_joined() {
        let texts = |texts: &[&str]| -> Vec<Option<String>> {
            let some = |t: &&str| (!t.is_empty()).then(|| (*t).to_owned());
            texts.iter().map(some).collect()
        };
        let merge = |rows, columns| Merge { rows, columns };
        let upper = texts(&["ID", "Address", "", "Since"]);
        let lower = texts(&["", "City", "ZIP", "Year"]);
        let wide = merge((4, 4), (3, 4));
        let joined = join(&upper, &lower, false, 4, 2, &[merge((4, 5), (2, 2)), wide]);
        let want = texts(&["ID", "Address City", "Address ZIP", "Since Year"]);
        assert_eq!(joined, Some(want));
        // Merged further down, one below the other, or with nothing below: one row.
        for merges in [
            vec![merge((5, 5), (3, 4))],
            vec![merge((4, 5), (3, 3))],
            vec![merge((4, 4), (2, 3)), wide],
            vec![],
        ] {
            let joined = join(&upper, &lower, false, 4, 2, &merges);
            assert_eq!(joined, None, "{merges:?}");
        }
        // Years stand below the wide cells, and nothing beside them.
        let years = texts(&["", "2023", "2024", ""]);
        let joined = join(&upper, &years, true, 4, 2, &[wide]);
        let want = texts(&["ID", "Address 2023", "Address 2024", "Since"]);
        assert_eq!(joined, Some(want));
        let data = texts(&["", "2023", "2024", "x"]);
        assert_eq!(join(&upper, &data, true, 4, 2, &[wide]), None);
        let title = texts(&["Customers", ""]);
        let names = texts(&["ID", "Name"]);
        let joined = join(&title, &names, false, 0, 0, &[merge((0, 0), (0, 1))]);
        assert_eq!(joined, Some(names));
    }
}
