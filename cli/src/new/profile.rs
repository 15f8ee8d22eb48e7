//! What a workbook looks like: the type of each column, and the column that identifies a row. Both are
//! guesses from the values, so that `new` can say what it guessed and why.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::Path;

use rowmill_domain::{Kind, Value};
use rowmill_workbook::{Cell, Header, OutsideCell, ReadError, ReadOptions, RowSink, read_rows};

/// The share of rows, in percent, that may be without their own value in a column that is the key by
/// its name.
const REPEATED_PERCENT: u64 = 5;

/// Keys are short. Longer texts are different in each row because people wrote them.
const KEY_CHARACTERS: u64 = 40;

/// Digits that a number of a spreadsheet holds exactly. A longer number is an identifier.
const EXACT_DIGITS: usize = 15;

/// The columns of a sheet, from all its rows.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) sheet: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: u64,
}

/// The key that was guessed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) column: &'a str,
    /// Rows without a value in it.
    pub(super) empty: u64,
    /// Rows that have the value of an earlier row.
    pub(super) repeated: u64,
    /// Whether its name says that it is a key.
    pub(super) by_name: bool,
}

/// The values of one column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    values: u64,
    characters: u64,
    /// Whether all values are text.
    texts: bool,
    /// Whether a text has a leading zero or more digits than a number can hold, so that it is not a
    /// number.
    digits: bool,
    /// The types that all values have or can be converted to.
    possible: Vec<Kind>,
    /// The types that values have.
    found: Vec<Kind>,
    distinct: HashSet<u64>,
}

/// Reads the whole sheet that a run without `sheet` reads.
pub(super) fn profile(workbook: &Path) -> Result<Profile, ReadError> {
    let mut profiler = Profiler::default();
    read_rows(workbook, &ReadOptions::default(), &mut profiler)?;
    Ok(profiler.profile)
}

impl Profile {
    /// The leftmost column whose values are short and different in all rows; of several, one whose name
    /// says that it is a key. Such a name is enough if nearly all rows have their own value.
    pub(super) fn key(&self) -> Option<Key<'_>> {
        let candidates = self.columns.iter().filter_map(|column| self.as_key(column));
        // Of equals, the first is the best.
        candidates.min_by_key(|key| (!key.by_name, key.empty + key.repeated))
    }

    fn as_key<'a>(&self, column: &'a Column) -> Option<Key<'a>> {
        let key = Key {
            column: &column.name,
            empty: self.rows - column.values,
            repeated: column.values - column.distinct.len() as u64,
            by_name: is_name_of_key(&column.name),
        };
        let kind = column.kind();
        let short = column.characters <= KEY_CHARACTERS * column.values;
        let identifies = matches!(kind, Some(Kind::Text | Kind::Number)) && short;
        let without_own = key.empty + key.repeated;
        let allowed = match key.by_name {
            true => self.rows * REPEATED_PERCENT / 100,
            false => 0,
        };
        (column.values > 0 && identifies && without_own <= allowed).then_some(key)
    }

    /// The leftmost column.
    pub(super) fn first(&self) -> &str {
        self.columns.first().map_or("", |column| &column.name)
    }

    /// The column with the longest texts. `None`: no column has text.
    pub(super) fn text(&self) -> Option<&str> {
        let texts = self.columns.iter();
        let texts = texts.filter(|column| column.texts && column.values > 0);
        let longest = texts.max_by_key(|column| column.characters / column.values)?;
        Some(&longest.name)
    }
}

impl Column {
    fn new(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            values: 0,
            characters: 0,
            texts: true,
            digits: false,
            possible: Kind::ALL.to_vec(),
            found: Vec::new(),
            distinct: HashSet::new(),
        }
    }

    fn add(&mut self, value: &Value, hasher: &RandomState) {
        let text = value.to_text();
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        self.values += 1;
        self.characters += text.chars().count() as u64;
        self.distinct.insert(hasher.hash_one(text));
        if !self.found.contains(&value.kind()) {
            self.found.push(value.kind());
        }
        if let Value::Text(_) = value {
            let number = text.trim_start_matches(['-', '+']);
            let zero = number.len() > 1 && number.starts_with('0') && !number.starts_with("0.");
            let digits = number.chars().filter(char::is_ascii_digit).count();
            self.digits |= zero || digits > EXACT_DIGITS;
            self.possible
                .retain(|kind| Value::parse(text, *kind).is_some());
        } else {
            self.texts = false;
            self.possible.retain(|kind| *kind == value.kind());
        }
    }

    /// The type that all values have, or of texts, the type that they are written in. `None`: there are
    /// no values, or their types differ.
    pub(super) fn kind(&self) -> Option<Kind> {
        if self.values == 0 {
            return None;
        }
        let mut possible = self.possible.iter().copied();
        match self.texts {
            // A text that is also a number, a date or a truth value is meant as one.
            true => possible
                .find(|kind| *kind != Kind::Text && !(self.digits && *kind == Kind::Number))
                .or(Some(Kind::Text)),
            false => possible.next(),
        }
    }

    /// The types of its values, for a column that has several: `number and text`.
    pub(super) fn mixture(&self) -> String {
        let mut names: Vec<&str> = self.found.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.join(" and ")
    }
}

/// Whether the last word of a name is one that identifies: `Customer ID`, `order_no`, `SKU`.
fn is_name_of_key(name: &str) -> bool {
    const WORDS: [&str; 17] = [
        "id",
        "ids",
        "key",
        "no",
        "nr",
        "nbr",
        "num",
        "number",
        "nummer",
        "code",
        "sku",
        "ean",
        "isbn",
        "ticket",
        "ref",
        "reference",
        "uuid",
    ];
    // `customerId` has two words.
    let mut separated = String::new();
    let mut lower = false;
    for c in name.chars() {
        if lower && c.is_uppercase() {
            separated.push(' ');
        }
        lower = c.is_lowercase();
        separated.extend(c.to_lowercase());
    }
    let mut words = separated.split(|c: char| !c.is_alphanumeric());
    let last = words.rfind(|word| !word.is_empty());
    last.is_some_and(|last| WORDS.contains(&last)) || name.trim_end().ends_with('#')
}

#[derive(Default)]
struct Profiler {
    profile: Profile,
    hasher: RandomState,
}

impl RowSink for Profiler {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.profile.sheet.clone_from(&header.sheet);
        self.profile.columns = header.columns.iter().map(|n| Column::new(n)).collect();
        ControlFlow::Continue(())
    }

    fn row(&mut self, _: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.profile.rows += 1;
        for (column, cell) in self.profile.columns.iter_mut().zip(cells) {
            if let Cell::Value(value) = cell {
                column.add(value, &self.hasher);
            }
        }
        ControlFlow::Continue(())
    }

    // A run rejects such a row.
    fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn restart(&mut self) -> bool {
        self.profile = Profile::default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(csv: &str) -> Profile {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("book.csv");
        std::fs::write(&file, csv).unwrap();
        profile(&file).unwrap()
    }

    #[test]
    fn types_are_those_that_all_values_have() {
        let found = of("a,b,c,d,e,f,g\n\
             1.5,007,2026-01-31,x,true,,12345678901234567\n\
             -2,12,2026-02-28,1,FALSE,,1\n");
        let kinds: Vec<_> = found.columns.iter().map(Column::kind).collect();
        let (number, text, date) = (Some(Kind::Number), Some(Kind::Text), Some(Kind::Date));
        let expected = [number, text, date, text, Some(Kind::Bool), None, text];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_name_is_preferred_then_the_leftmost() {
        let by_name = of("City,Customer No\nBonn,1\nKiel,2\n");
        assert_eq!(by_name.key().unwrap().column, "Customer No");
        assert!(by_name.key().unwrap().by_name);
        let leftmost = of("City,Name,Street\nBonn,Ann,x\nBonn,Bob,y\n");
        assert_eq!(leftmost.key().unwrap().column, "Name");
        assert_eq!(of("City,Zip\nBonn,1\nBonn,1\n").key(), None);
    }

    #[test]
    fn a_named_key_may_repeat_rarely_and_another_never() {
        let rows = |name: &str, repeated: usize| {
            let numbers = (0..100 - repeated).chain(0..repeated);
            let lines: Vec<String> = numbers.map(|n| format!("{n},same")).collect();
            of(&format!("{name},Other\n{}\n", lines.join("\n")))
        };
        let five = rows("orderId", 5);
        let key = five.key().unwrap();
        assert_eq!((key.column, key.repeated, key.empty), ("orderId", 5, 0));
        assert_eq!(rows("orderId", 6).key(), None);
        assert_eq!(rows("Amount", 1).key(), None);
    }

    #[test]
    fn names_of_keys_end_in_a_word_for_it() {
        for name in [
            "ID",
            "Customer ID",
            "order_no",
            "customerId",
            "Parcel #",
            "SKU",
        ] {
            assert!(is_name_of_key(name), "{name}");
        }
        for name in ["Paid", "Nobody", "ID card valid", "", "Notiz"] {
            assert!(!is_name_of_key(name), "{name}");
        }
    }

    #[test]
    fn the_longest_texts_are_the_text() {
        let found = of("ID,Amount,Message\nA1,5,The lid is broken\nA2,6,Thanks\n");
        assert_eq!(found.text(), Some("Message"));
    }
}
