//! Workbooks of BIFF8 in Unicode, whose number formats have the IDs that Excel gives to those of a user.
//! With other code pages and IDs, calamine reads other values.

use std::path::Path;

use calamine::{Data, Reader as _};
use proptest::prelude::*;
use rowmill_workbook::{ReadOptions, read_rows};

use crate::files::xls::{
    Biff, biff, book, cell, code_page, format, formula, number, result, shared, styles, text8,
};
use crate::{All, CODES, same};

/// The value of a cell, and its style.
#[derive(Clone, Debug)]
enum Written {
    Nothing,
    Real(f64, usize),
    Integer(i32, usize),
    Text(String),
    Shared(String),
    Bool(bool),
    Error(u8),
    Formula(f64, usize),
    TextFormula(String),
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
        (number.clone(), styles.clone()).prop_map(|(n, style)| Written::Real(n, style)),
        (-(1 << 29)..1 << 29, styles.clone()).prop_map(|(n, style)| Written::Integer(n, style)),
        "[a-z ]{0,9}|[a-z]ż🙂{0,3}".prop_map(Written::Text),
        any::<String>().prop_map(Written::Shared),
        any::<bool>().prop_map(Written::Bool),
        errors.prop_map(Written::Error),
        (number, styles).prop_map(|(n, style)| Written::Formula(n, style)),
        "[a-z]{1,9}|[a-z]ż🙂{1,3}".prop_map(Written::TextFormula),
    ]
}

fn write(path: &Path, rows: &[Vec<Written>], is_1904: bool) {
    let mut texts = Vec::new();
    let mut cells: Vec<Vec<u8>> = (0..4)
        .map(|column| cell(0x0204, 0, column, 0, &text8(&format!("Column {column}"))))
        .collect();
    for (row, values) in (1..).zip(rows) {
        for (column, value) in (0..).zip(values) {
            match value {
                Written::Nothing => {}
                Written::Real(n, style) => cells.push(number(row, column, *style as u16, *n)),
                Written::Integer(n, style) => {
                    let rk = (*n as u32) << 2 | 2;
                    cells.push(cell(0x027e, row, column, *style as u16, &rk.to_le_bytes()));
                }
                Written::Text(text) => cells.push(cell(0x0204, row, column, 0, &text8(text))),
                Written::Shared(text) => {
                    let at = texts.len() as u32;
                    texts.push(text.as_str());
                    cells.push(cell(0x00fd, row, column, 0, &at.to_le_bytes()));
                }
                Written::Bool(value) => {
                    cells.push(cell(0x0205, row, column, 0, &[u8::from(*value), 0]));
                }
                Written::Error(code) => cells.push(cell(0x0205, row, column, 0, &[*code, 1])),
                Written::Formula(n, style) => {
                    cells.push(formula(row, column, *style as u16, n.to_le_bytes()));
                }
                Written::TextFormula(text) => {
                    cells.push(formula(row, column, 0, result(0, 0)));
                    cells.push(biff(0x0207, &text8(text)));
                }
            }
        }
    }
    let ids: Vec<u16> = (0..CODES.len() as u16).map(|at| 164 + at).collect();
    let formats = ids.iter().zip(CODES);
    let globals = [
        code_page(1200),
        biff(0x0022, &[u8::from(is_1904), 0]),
        formats
            .flat_map(|(id, code)| format(Biff::Eight, *id, code))
            .collect(),
        styles(Biff::Eight, &ids),
        biff(0x00fc, &shared(&texts)),
    ];
    std::fs::write(path, book(Biff::Eight, &globals, &cells)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn xls_reader_equals_calamine(
        rows in proptest::collection::vec(proptest::collection::vec(written(), 4), 0..12),
        is_1904 in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.xls");
        write(&path, &rows, is_1904);
        let mut ours = All::default();
        read_rows(&path, &ReadOptions::default(), &mut ours).unwrap();

        let mut book: calamine::Xls<_> = calamine::open_workbook(&path).unwrap();
        let range = book.worksheet_range("Data").unwrap();
        for (row, cells) in &ours.0 {
            for (column, cell) in (0..).zip(cells) {
                let theirs = range.get_value((row - 1, column)).unwrap_or(&Data::Empty);
                prop_assert!(same(cell, theirs), "row {row}: {cell:?}, calamine {theirs:?}");
            }
        }
        let filled = |row: &Vec<Written>| row.iter().any(|cell| match cell {
            Written::Nothing => false,
            Written::Text(text) | Written::Shared(text) => !text.is_empty(),
            _ => true,
        });
        prop_assert_eq!(ours.0.len(), rows.iter().rposition(filled).map_or(0, |i| i + 1));
    }
}
