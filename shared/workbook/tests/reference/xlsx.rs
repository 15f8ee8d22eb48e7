//! Workbooks that rust_xlsxwriter writes.

use std::path::Path;

use calamine::{Data, Reader as _};
use proptest::prelude::*;
use rowmill_workbook::{ReadOptions, read_rows};
use rust_xlsxwriter::{Format, Formula, Workbook, XlsxError};

use crate::{All, CODES, same};

/// The content to write into a cell.
#[derive(Clone, Debug)]
enum Written {
    Nothing,
    Blank,
    Number(f64, &'static str),
    Text(String),
    Rich(String, String),
    Bool(bool),
    Formula(f64),
}

fn written() -> impl Strategy<Value = Written> {
    let number = prop_oneof![
        any::<f64>().prop_filter("finite", |n| n.is_finite()),
        (-5000..60_000i32).prop_map(f64::from),
        0.0..60_000.0f64,
    ];
    let text = prop_oneof![
        any::<String>(),
        "[ \\t\\r\\n_x0-9A-F&<>\"']{0,12}",
        "_x[0-9A-F]{4}_{1,3}",
    ];
    prop_oneof![
        Just(Written::Nothing),
        Just(Written::Blank),
        (number, 0..CODES.len()).prop_map(|(n, code)| Written::Number(n, CODES[code])),
        text.prop_map(Written::Text),
        ("[a-z ]{1,9}", "[a-z&]{1,9}").prop_map(|(a, b)| Written::Rich(a, b)),
        any::<bool>().prop_map(Written::Bool),
        (-9..9i32).prop_map(|n| Written::Formula(f64::from(n) / 4.0)),
    ]
}

fn write(path: &Path, rows: &[Vec<Written>], constant: bool) -> Result<(), XlsxError> {
    let mut book = Workbook::new();
    let sheet = match constant {
        true => book.add_worksheet_with_constant_memory()?,
        false => book.add_worksheet(),
    };
    for column in 0..4 {
        sheet.write_string(0, column, format!("Column {column}"))?;
    }
    for (row, cells) in (1..).zip(rows) {
        for (column, cell) in (0..).zip(cells) {
            let bold = Format::new().set_bold();
            match cell {
                Written::Nothing => &mut *sheet,
                Written::Blank => sheet.write_blank(row, column, &bold)?,
                Written::Number(number, code) => {
                    let format = Format::new().set_num_format(*code);
                    sheet.write_number_with_format(row, column, *number, &format)?
                }
                Written::Text(text) => sheet.write_string(row, column, text)?,
                Written::Rich(a, b) => {
                    let runs = [(&Format::default(), a.as_str()), (&bold, b.as_str())];
                    sheet.write_rich_string(row, column, &runs)?
                }
                Written::Bool(value) => sheet.write_boolean(row, column, *value)?,
                Written::Formula(result) => {
                    let formula = Formula::new("=A1&\"<x>\"").set_result(result.to_string());
                    sheet.write_formula(row, column, formula)?
                }
            };
        }
    }
    book.save(path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn xlsx_reader_equals_calamine(
        rows in proptest::collection::vec(proptest::collection::vec(written(), 4), 0..12),
        constant in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.xlsx");
        write(&path, &rows, constant).unwrap();
        let mut ours = All::default();
        read_rows(&path, &ReadOptions::default(), &mut ours).unwrap();

        let mut book: calamine::Xlsx<_> = calamine::open_workbook(&path).unwrap();
        let range = book.worksheet_range("Sheet1").unwrap();
        for (row, cells) in &ours.0 {
            for (column, cell) in (0..).zip(cells) {
                let theirs = range.get_value((row - 1, column)).unwrap_or(&Data::Empty);
                prop_assert!(same(cell, theirs), "row {row}: {cell:?}, calamine {theirs:?}");
            }
        }
        // All rows up to the last one with a value are delivered.
        let filled = |row: &Vec<Written>| row.iter().any(|c| match c {
            Written::Nothing | Written::Blank => false,
            Written::Text(text) => !text.is_empty(),
            _ => true,
        });
        let last = rows.iter().rposition(filled).map_or(0, |i| i + 1);
        prop_assert_eq!(ours.0.len(), last);
    }
}
