use super::*;
use RejectReason::{BeyondLimit, Blank, DuplicateKey, MissingRequired, Unreadable};

fn n(number: f64) -> Cell {
    Cell::Value(Value::Number(number))
}

fn t(text: &str) -> Cell {
    Cell::Value(Value::from(text))
}

fn v(text: &str, kind: Kind) -> Cell {
    Cell::Value(Value::parse(text, kind).unwrap())
}

fn columns() -> Columns {
    Columns::new(["id", "name", "since"])
}

fn input(required: &[&str], key: &[&str], types: &[(&str, Kind)]) -> Input {
    let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    Input {
        required: owned(required),
        key: owned(key),
        types: types.iter().map(|(n, k)| (n.to_string(), *k)).collect(),
        ..Input::default()
    }
}

/// Cleans rows 2, 3, ... and returns each verdict with the cells after it.
fn run(input: &Input, limit: Option<u64>, rows: &[[Cell; 3]]) -> Vec<(Verdict, Vec<Cell>)> {
    let mut cleaner = Cleaner::new(columns(), input, limit).unwrap();
    let rows = rows.iter().zip(2..);
    rows.map(|(cells, row)| {
        let mut clean: Vec<CleanCell> = cells.iter().map(CleanCell::from).collect();
        let verdict = cleaner.clean(row, &mut clean);
        let cell = |cell: &CleanCell| match (cell, cell.value()) {
            (CleanCell::Error(code), _) => Cell::Error((*code).to_owned()),
            (_, Some(value)) => Cell::Value(value),
            (_, None) => Cell::Empty,
        };
        (verdict, clean.iter().map(cell).collect())
    })
    .collect()
}

fn reject(reason: RejectReason, detail: &str) -> Verdict {
    Verdict::Rejected(reason, detail.to_owned())
}

#[test]
fn text_is_trimmed_only_at_its_ends() {
    for (raw, clean) in [
        ("  a  b ", Some("a  b")),
        ("\u{a0}\u{2003}x\u{a0}", Some("x")),
        ("\u{feff}id", Some("id")),
        ("\tß\n", Some("ß")),
        ("a\u{a0}b", Some("a\u{a0}b")),
        ("007", Some("007")),
        ("=1+1", Some("=1+1")),
        (" \u{a0} ", None),
    ] {
        let after = run(&Input::default(), None, &[[n(1.0), t(raw), Cell::Empty]]);
        let expected = clean.map_or(Cell::Empty, t);
        assert_eq!(after[0].0, Verdict::Record);
        assert_eq!(after[0].1[1], expected, "{raw:?}");
    }
}

#[test]
fn each_rule_rejects_with_its_reason() {
    let rules = input(&["id", "name"], &["id"], &[("since", Kind::Date)]);
    let rows = [
        [t(" "), Cell::Empty, t("\u{a0}")],
        [n(1.0), t("Ann"), v("2024-03-01", Kind::Date)],
        [Cell::Empty, t(" "), Cell::Empty],
        [n(2.0), t("Bo"), t("tomorrow")],
        [n(3.0), Cell::Error("#N/A".into()), Cell::Empty],
        [n(1.0), t("Cy"), Cell::Empty],
        // The text `1` is a different key than the number 1.
        [t("1"), t("Di"), Cell::Empty],
        [Cell::Empty, t("Ed"), t("2024-13-01")],
    ];
    let verdicts: Vec<Verdict> = run(&rules, None, &rows).into_iter().map(|r| r.0).collect();
    assert_eq!(
        verdicts,
        [
            reject(Blank, "blank row"),
            Verdict::Record,
            reject(Blank, "blank row"),
            reject(
                Unreadable,
                "column `since`: `tomorrow` is not a date like 2026-03-01"
            ),
            reject(Unreadable, "column `name`: error value #N/A"),
            reject(DuplicateKey, "same key as row 3 (`id` = `1`)"),
            Verdict::Record,
            // Unreadable takes precedence over missing: it is more specific.
            reject(
                Unreadable,
                "column `since`: `2024-13-01` is not a date like 2026-03-01"
            ),
        ]
    );
    let missing = [
        [t("x"), Cell::Empty, Cell::Empty],
        [Cell::Empty, Cell::Empty, t("2024-01-01")],
    ];
    let verdicts: Vec<Verdict> = run(&rules, None, &missing)
        .into_iter()
        .map(|r| r.0)
        .collect();
    assert_eq!(
        verdicts,
        [
            reject(MissingRequired, "no value in `name`"),
            reject(MissingRequired, "no value in `id`, `name`"),
        ]
    );
}

#[test]
fn an_error_value_rejects_the_row_in_any_column() {
    let rows = [[
        t("a"),
        Cell::Error("#DIV/0!".into()),
        Cell::Error("#REF!".into()),
    ]];
    assert_eq!(
        run(&Input::default(), None, &rows)[0].0,
        reject(
            Unreadable,
            "column `name`: error value #DIV/0!; column `since`: error value #REF!"
        )
    );
}

#[test]
fn keys_are_compared_after_cleaning_by_type_and_value() {
    let rules = input(&[], &["id", "name"], &[("id", Kind::Text)]);
    let rows = [
        [n(7.0), t("a"), Cell::Empty],
        [t(" 7 "), t("a"), Cell::Empty],
        [n(7.0), Cell::Empty, Cell::Empty],
        [n(7.0), Cell::Empty, t("x")],
        [Cell::Empty, Cell::Empty, t("x")],
        [Cell::Empty, Cell::Empty, t("x")],
        [t("7a"), Cell::Empty, Cell::Empty],
    ];
    let verdicts: Vec<Verdict> = run(&rules, None, &rows).into_iter().map(|r| r.0).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Record,
            reject(DuplicateKey, "same key as row 2 (`id` = `7`, `name` = `a`)"),
            Verdict::Record,
            reject(
                DuplicateKey,
                "same key as row 4 (`id` = `7`, `name` is empty)"
            ),
            // Rows without a key are never duplicates.
            Verdict::Record,
            Verdict::Record,
            Verdict::Record,
        ]
    );
}

#[test]
fn both_zeros_are_one_key_and_a_rejected_row_has_no_key() {
    let rules = input(&["name"], &["id"], &[]);
    let rows = [
        [n(0.0), Cell::Empty, Cell::Empty],
        [n(0.0), t("a"), Cell::Empty],
        [n(-0.0), t("b"), Cell::Empty],
    ];
    let verdicts: Vec<Verdict> = run(&rules, None, &rows).into_iter().map(|r| r.0).collect();
    assert_eq!(verdicts[0], reject(MissingRequired, "no value in `name`"));
    assert_eq!(verdicts[1], Verdict::Record);
    assert_eq!(
        verdicts[2],
        reject(DuplicateKey, "same key as row 3 (`id` = `-0.0`)")
    );
}

#[test]
fn rows_beyond_the_limit_are_rejected_without_further_checks() {
    let rules = input(&["id"], &[], &[]);
    let rows = [
        [Cell::Empty, t("a"), Cell::Empty],
        [n(1.0), Cell::Empty, Cell::Empty],
        [n(2.0), Cell::Error("#N/A".into()), Cell::Empty],
        [Cell::Empty, Cell::Empty, Cell::Empty],
    ];
    let verdicts: Vec<Verdict> = run(&rules, Some(1), &rows)
        .into_iter()
        .map(|r| r.0)
        .collect();
    assert_eq!(
        verdicts,
        [
            reject(MissingRequired, "no value in `id`"),
            Verdict::Record,
            reject(BeyondLimit, "beyond the requested limit"),
            reject(Blank, "blank row"),
        ]
    );
}

#[test]
fn a_rule_for_a_missing_column_is_an_error() {
    for rules in [
        input(&["Id"], &[], &[]),
        input(&[], &["Id"], &[]),
        input(&[], &[], &[("Id", Kind::Date)]),
    ] {
        assert_eq!(Cleaner::new(columns(), &rules, None).unwrap_err(), "Id");
    }
}

#[test]
fn long_values_are_truncated_in_messages() {
    let rules = input(&[], &[], &[("since", Kind::Date)]);
    let long = "ü".repeat(32_767);
    let verdict = run(&rules, None, &[[n(1.0), Cell::Empty, t(&long)]])
        .remove(0)
        .0;
    let shown = "ü".repeat(60);
    assert_eq!(
        verdict,
        reject(
            Unreadable,
            &format!("column `since`: `{shown}...` is not a date like 2026-03-01")
        )
    );
}

/// A value, a type, and the converted value. `None`: the conversion is refused.
#[test]
fn values_are_converted_to_declared_types() {
    use Kind::{Bool, Date, DateTime, Duration, Number, Text, Time};
    let d = |text, kind| Value::parse(text, kind).unwrap();
    let num = Value::Number;
    let text = |text: &str| Value::from(text);
    let table: Vec<(Value, Kind, Option<Value>)> = vec![
        (text("007"), Number, Some(num(7.0))),
        (text("-1.5e3"), Number, Some(num(-1500.0))),
        (text("1,000"), Number, None),
        (text("12 %"), Number, None),
        (text("NaN"), Number, None),
        (Value::Bool(true), Number, None),
        (d("2024-03-01", Date), Number, None),
        (num(501.0), Text, Some(text("501"))),
        (num(0.1), Text, Some(text("0.1"))),
        (Value::Bool(false), Text, Some(text("false"))),
        (d("2024-03-01", Date), Text, Some(text("2024-03-01"))),
        (d("13:37:00", Time), Text, Some(text("13:37:00"))),
        (text("TRUE"), Bool, Some(Value::Bool(true))),
        (text("yes"), Bool, None),
        (num(1.0), Bool, Some(Value::Bool(true))),
        (num(0.0), Bool, Some(Value::Bool(false))),
        (num(2.0), Bool, None),
        (text("2024-02-29"), Date, Some(d("2024-02-29", Date))),
        (text("2023-02-29"), Date, None),
        (text("29.02.2024"), Date, None),
        (num(45_352.0), Date, Some(d("2024-03-01", Date))),
        (num(1.0), Date, Some(d("1900-01-01", Date))),
        (num(59.0), Date, Some(d("1900-02-28", Date))),
        (num(60.0), Date, None),
        (num(61.0), Date, Some(d("1900-03-01", Date))),
        (num(2_958_465.0), Date, Some(d("9999-12-31", Date))),
        (num(2_958_466.0), Date, None),
        (num(0.0), Date, None),
        (num(45_352.5), Date, None),
        (
            d("2024-03-01T00:00:00", DateTime),
            Date,
            Some(d("2024-03-01", Date)),
        ),
        (d("2024-03-01T10:00:00", DateTime), Date, None),
        (
            num(45_352.5),
            DateTime,
            Some(d("2024-03-01T12:00:00", DateTime)),
        ),
        (
            d("2024-03-01", Date),
            DateTime,
            Some(d("2024-03-01T00:00:00", DateTime)),
        ),
        (
            text("2024-03-01 09:30"),
            DateTime,
            Some(d("2024-03-01T09:30:00", DateTime)),
        ),
        (num(0.75), Time, Some(d("18:00:00", Time))),
        (num(1.0), Time, None),
        (text("9:05"), Time, Some(d("09:05:00", Time))),
        (d("PT1H", Duration), Time, Some(d("01:00:00", Time))),
        (d("PT25H", Duration), Time, None),
        (d("-PT1H", Duration), Time, None),
        (num(1.5), Duration, Some(d("PT36H", Duration))),
        (d("01:30:00", Time), Duration, Some(d("PT1H30M", Duration))),
        (text("PT5M"), Duration, Some(d("PT5M", Duration))),
        (text("5 minutes"), Duration, None),
        (num(1e300), Duration, None),
    ];
    for (from, kind, expected) in table {
        let mut value = from.clone();
        let done = convert(&mut value, kind);
        assert_eq!(
            (done, &value),
            (expected.is_some(), expected.as_ref().unwrap_or(&from)),
            "{from:?} to {kind}"
        );
    }
}
