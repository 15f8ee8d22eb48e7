//! Workbooks in xlsb, with every kind of cell record. calamine ignores short ones, rich texts and errors
//! of formulas, so it reads the same cells from other records.

use std::path::Path;

use calamine::{Data, Reader as _};
use proptest::prelude::*;
use rowmill_workbook::{ReadOptions, read_rows};

use crate::files::xlsb::{
    Xlsb, cell, rich_text, rk_integer, row, sheet, short_cell, strings, styles, wide, workbook,
};
use crate::{All, CODES, same};

/// Shared strings.
const SHARED: [&str; 4] = ["a", "", "żółć 🙂", " x_x0041_\n "];

/// The value of a cell, and its style.
#[derive(Clone, Debug)]
enum Written {
    Nothing,
    Blank,
    Real(f64, usize),
    Integer(i32, bool, usize),
    Text(String),
    Shared(u32),
    Rich(String),
    Bool(bool),
    Error(u8),
}

impl Written {
    /// The IDs of its long, short and formula records, and its value. `None` if there is none.
    fn record(&self, form: Form) -> Option<([Option<u16>; 3], usize, Vec<u8>)> {
        Some(match self {
            Written::Nothing => return None,
            Written::Blank => ([Some(1), Some(12), None], 0, vec![]),
            Written::Real(number, style) => (
                [Some(5), Some(16), Some(9)],
                *style,
                number.to_le_bytes().to_vec(),
            ),
            Written::Integer(number, hundredths, style) => (
                [Some(2), Some(13), None],
                *style,
                rk_integer(*number, *hundredths).to_vec(),
            ),
            Written::Text(text) => ([Some(6), Some(17), Some(8)], 0, wide(text)),
            Written::Shared(at) => ([Some(7), Some(18), None], 0, at.to_le_bytes().to_vec()),
            Written::Rich(text) if form == Form::Long => ([Some(6), None, None], 0, wide(text)),
            Written::Rich(text) => ([Some(62), None, None], 0, rich_text(text, true)),
            Written::Bool(value) => ([Some(4), Some(15), Some(10)], 0, vec![u8::from(*value)]),
            Written::Error(code) => ([Some(3), Some(14), Some(11)], 0, vec![*code]),
        })
    }
}

fn written() -> impl Strategy<Value = Written> {
    let number = prop_oneof![
        any::<f64>().prop_filter("finite", |n| n.is_finite()),
        (-5000..60_000i32).prop_map(f64::from),
        0.0..60_000.0f64,
    ];
    let styles = 0..CODES.len();
    let errors = prop::sample::select(vec![0x00, 0x07, 0x0f, 0x17, 0x1d, 0x24, 0x2a]);
    prop_oneof![
        Just(Written::Nothing),
        Just(Written::Blank),
        (number, styles.clone()).prop_map(|(n, style)| Written::Real(n, style)),
        (-(1 << 29)..1 << 29, any::<bool>(), styles)
            .prop_map(|(n, h, s)| Written::Integer(n, h, s)),
        any::<String>().prop_map(Written::Text),
        (0..SHARED.len() as u32).prop_map(Written::Shared),
        any::<String>().prop_map(Written::Rich),
        any::<bool>().prop_map(Written::Bool),
        errors.prop_map(Written::Error),
    ]
}

/// Which record to prefer for each cell.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// One with a column: every reader knows these.
    Long,
    /// One without a column, if the column is the next one.
    Short,
    /// One with a formula.
    Formula,
}

fn write(path: &Path, rows: &[Vec<Written>], form: Form, is_1904: bool) {
    let mut cells = vec![row(0, false)];
    cells.extend((0..4).map(|column| cell(6, column, 0, &wide(&format!("Column {column}")))));
    for (index, values) in (1..).zip(rows) {
        cells.push(row(index, false));
        let mut next = None;
        for (column, value) in (0..).zip(values) {
            let Some(([long, short, formula], style, value)) = value.record(form) else {
                continue;
            };
            let style = style as u32;
            cells.push(match (form, short, formula, long) {
                (Form::Short, Some(id), ..) if next == Some(column) => {
                    short_cell(id, style, &value)
                }
                (Form::Formula, _, Some(id), _) => {
                    let formula = [0, 0, 2, 0, 0, 0, 0x1c, 0x2a, 0, 0, 0, 0];
                    cell(id, column, style, &[&value[..], &formula].concat())
                }
                (.., Some(id)) => cell(id, column, style, &value),
                _ => continue,
            });
            next = Some(column + 1);
        }
    }
    let ids: Vec<u16> = (0..CODES.len() as u16).map(|at| 164 + at).collect();
    let codes: Vec<(u16, &str)> = ids.iter().copied().zip(CODES).collect();
    let book = Xlsb {
        workbook: workbook(is_1904, &[("Data", 0)]),
        sheet: sheet(&cells),
        strings: Some(strings(&SHARED.map(|text| (text, text.len() > 1)))),
        styles: Some(styles(&codes, &ids)),
    };
    std::fs::write(path, book.bytes()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn xlsb_reader_equals_calamine_and_knows_every_record(
        rows in proptest::collection::vec(proptest::collection::vec(written(), 4), 0..12),
        is_1904 in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.xlsb");
        let read = |form| {
            write(&path, &rows, form, is_1904);
            let mut all = All::default();
            read_rows(&path, &ReadOptions::default(), &mut all).unwrap();
            all.0
        };
        let short = read(Form::Short);
        let formula = read(Form::Formula);
        let long = read(Form::Long);
        prop_assert_eq!(&long, &short);
        prop_assert_eq!(&long, &formula);

        let mut book: calamine::Xlsb<_> = calamine::open_workbook(&path).unwrap();
        let range = book.worksheet_range("Data").unwrap();
        for (row, cells) in &long {
            for (column, cell) in (0..).zip(cells) {
                let theirs = range.get_value((row - 1, column)).unwrap_or(&Data::Empty);
                prop_assert!(same(cell, theirs), "row {row}: {cell:?}, calamine {theirs:?}");
            }
        }
        let filled = |row: &Vec<Written>| row.iter().any(|cell| match cell {
            Written::Nothing | Written::Blank => false,
            Written::Text(text) | Written::Rich(text) => !text.is_empty(),
            Written::Shared(at) => !SHARED[*at as usize].is_empty(),
            _ => true,
        });
        prop_assert_eq!(long.len(), rows.iter().rposition(filled).map_or(0, |i| i + 1));
    }
}
