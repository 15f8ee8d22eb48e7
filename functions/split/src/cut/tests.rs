use std::collections::BTreeMap;

use super::records::{Line, rejected_file};
use super::*;
use proptest::prelude::*;
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::{Columns, Kind, Record, Rejected, Value};
use rowmill_planning::Division;
use rowmill_workbook::{Cell, Header, OutsideCell, RowSink};
use tempfile::TempDir;

fn pipeline(required: &[&str], key: &[&str]) -> Pipeline {
    let mut pipeline = Pipeline::parse("p.toml", "").unwrap();
    pipeline.input.required = required.iter().map(|n| n.to_string()).collect();
    pipeline.input.key = key.iter().map(|n| n.to_string()).collect();
    pipeline
}

fn header(columns: usize) -> Header {
    Header {
        sheet: "S".into(),
        row: 1,
        columns: (0..columns).map(|i| format!("c \"{i}\"\u{2028}")).collect(),
        notes: vec![],
        origin: None,
        better_row: None,
    }
}

/// The cut of these rows, which start at row 2.
fn cut_rows(rows: &[Vec<Cell>], columns: usize, pipeline: &Pipeline, limit: Option<u64>) -> Cut {
    let mut rows_read = 0;
    let progress = |rows| {
        rows_read = rows;
        ControlFlow::Continue(())
    };
    let scratch = TempDir::new().unwrap();
    let mut sink = Sink::new("a.xlsx", pipeline, limit, scratch, progress);
    assert!(sink.header(&header(columns)).is_continue());
    for (row, cells) in (2..).zip(rows) {
        assert!(sink.row(row, &mut cells.clone()).is_continue());
    }
    let (table, scratch) = (sink.table.unwrap(), sink.scratch);
    assert_eq!(rows_read, rows.len() as u64);
    let formats = vec![Some("0.00".into())];
    table.finish(formats, vec![], scratch).unwrap()
}

#[test]
fn rows_with_values_outside_the_columns_are_rejected_and_keep_them() {
    let text = |text: &str| Cell::Value(Value::Text(text.into()));
    let outside = |column: &str, cell| OutsideCell {
        column: column.into(),
        cell,
    };
    let pipeline = pipeline(&[], &[]);
    let mut rows_read = 0;
    let progress = |rows| {
        rows_read = rows;
        ControlFlow::Continue(())
    };
    let scratch = TempDir::new().unwrap();
    let mut sink = Sink::new("a.xlsx", &pipeline, Some(2), scratch, progress);
    assert!(sink.header(&header(2)).is_continue());
    assert!(sink.row(2, &mut [text("a"), Cell::Empty]).is_continue());
    assert!(sink.blank(3, 5).is_continue());
    let mut more = [
        outside("C", text(" y ")),
        outside("E", Cell::Value(Value::Number(4.5))),
        outside("F", Cell::Error("#N/A".into())),
    ];
    let mut cells = [text("b"), text("x")];
    assert!(sink.overflow(6, &mut cells, &mut more).is_continue());
    // White space is no value.
    let mut blanks = [outside("C", text(" \u{a0}"))];
    let mut cells = [text("c"), text("z")];
    assert!(sink.overflow(7, &mut cells, &mut blanks).is_continue());
    // Two records are enough.
    let mut more = [outside("C", text("y"))];
    let mut cells = [text("d"), text("z")];
    assert!(sink.overflow(8, &mut cells, &mut more).is_continue());
    // Blank rows at the end do not count.
    assert!(sink.blank(9, 12).is_continue());
    let (table, scratch) = (sink.table.unwrap(), sink.scratch);
    assert_eq!(rows_read, 11);
    let cut = table.finish(vec![None, None], vec![], scratch).unwrap();
    assert_eq!(cut.rows_in, 7);
    let records: Vec<u32> = cut.records.iter().map(|line| line.row).collect();
    assert_eq!(records, [2, 7]);
    let rejected = rejected(&cut);
    let reasons: Vec<(u32, RejectReason)> = rejected.iter().map(|r| (r.row, r.reason)).collect();
    assert_eq!(
        reasons,
        [
            (3, RejectReason::Blank),
            (4, RejectReason::Blank),
            (5, RejectReason::Blank),
            (6, RejectReason::Unreadable),
            (8, RejectReason::BeyondLimit),
        ]
    );
    let text = |text| Some(Value::from(text));
    assert_eq!(
        rejected[3].values,
        [
            text("b"),
            text("x"),
            text("y"),
            Some(Value::Number(4.5)),
            text("#N/A"),
        ]
    );
    assert_eq!(
        rejected[3].detail,
        "values outside the columns: `y` in column C, `4.5` in column E, `#N/A` in column F; the \
         header has 2 columns"
    );
}

fn rejected(cut: &Cut) -> Vec<Rejected> {
    let text = std::fs::read_to_string(rejected_file(cut.scratch.path())).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn cell() -> impl Strategy<Value = Cell> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![(-3i32..3).prop_map(f64::from), any::<f64>()]
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(Value::Number),
        "[ a\u{a0}\u{1}\"é\u{1F600}=]{0,6}".prop_map(Value::Text),
        (0i32..4_000_000).prop_map(|d| {
            Value::Date(chrono::NaiveDate::from_num_days_from_ce_opt(d % 3_000_000).unwrap())
        }),
        (0i64..4_000_000_000, 0u32..1000).prop_map(|(s, ms)| {
            Value::DateTime(
                chrono::DateTime::from_timestamp(s, ms * 1_000_000)
                    .unwrap()
                    .naive_utc(),
            )
        }),
        (0u32..86_400_000).prop_map(|ms| {
            let (s, ms) = (ms / 1000, ms % 1000);
            Value::Time(
                chrono::NaiveTime::from_num_seconds_from_midnight_opt(s, ms * 1_000_000).unwrap(),
            )
        }),
        any::<i32>().prop_map(|ms| Value::Duration(chrono::TimeDelta::milliseconds(ms.into()))),
    ];
    prop_oneof![
        3 => Just(Cell::Empty),
        6 => value.prop_map(Cell::Value),
        1 => Just(Cell::Error("#N/A".into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_a_record_or_rejected_in_order(
        rows in proptest::collection::vec(proptest::collection::vec(cell(), 3), 0..60),
        limit in proptest::option::of(1u64..30),
    ) {
        let names = header(3).columns;
        let rules = pipeline(&[&names[0]], &[&names[1]]);
        let cut = cut_rows(&rows, 3, &rules, limit);
        let columns = Columns::new(&names);

        let spool = std::fs::read(cut.spool()).unwrap();
        let lines: Vec<&[u8]> = spool.split_inclusive(|b| *b == b'\n').collect();
        prop_assert_eq!(lines.len(), cut.records.len());
        let mut records = Vec::new();
        for (line, known) in lines.iter().zip(&cut.records) {
            prop_assert_eq!(line.len(), known.bytes as usize);
            let line = &line[..line.len() - 1];
            let record = Record::read_json(line, &columns).unwrap();
            prop_assert_eq!(record.row, known.row);
            // The fast writer and the domain's writer produce the same bytes.
            let mut again = Vec::new();
            record.write_json(&columns, &mut again).unwrap();
            prop_assert_eq!(
                std::str::from_utf8(&again).unwrap(),
                std::str::from_utf8(line).unwrap()
            );
            records.push(record.row);
        }

        // Every row occurs once, in order, except blank rows at the end.
        let rejected = rejected(&cut);
        prop_assert!(records.is_sorted() && rejected.is_sorted_by_key(|r| r.row));
        let mut all: Vec<u32> = records.iter().copied().chain(rejected.iter().map(|r| r.row)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (2..2 + cut.rows_in as u32).collect::<Vec<_>>());
        let blank = |cells: &Vec<Cell>| cells.iter().all(|c| match c {
            Cell::Empty => true,
            Cell::Value(Value::Text(t)) => t.trim().is_empty(),
            _ => false,
        });
        prop_assert!(rows[cut.rows_in as usize..].iter().all(blank));
        prop_assert_eq!(cut.rows_in, cut.records() + cut.rejected_total());
        prop_assert_eq!(cut.rejected_total(), rejected.len() as u64);
        prop_assert!(limit.is_none_or(|limit| cut.records() <= limit));
        for reject in &rejected {
            let bare = matches!(reject.reason, RejectReason::Blank | RejectReason::BeyondLimit);
            prop_assert_eq!(reject.values.len(), if bare { 0 } else { 3 });
        }
    }

    #[test]
    fn chunks_are_balanced_and_cover_the_records(records in 1u32..45_000) {
        let cut = Cut {
            sheet: "S".into(),
            columns: vec![],
            rows_in: records.into(),
            rejected: BTreeMap::new(),
            notes: vec![],
            examples: BTreeMap::new(),
            records: (0..records).map(|i| Line { row: i * 2 + 2, bytes: 1 }).collect(),
            scratch: TempDir::new().unwrap(),
        };
        let chunks = cut.chunks(&Division::new(records.into(), 3000, None));
        let sizes: Vec<u32> = chunks.iter().map(|c| c.records).collect();
        prop_assert_eq!(sizes.iter().sum::<u32>(), records);
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        prop_assert!(sizes.iter().all(|size| *size <= 10_000));
        let mut row = 2;
        for chunk in &chunks {
            prop_assert_eq!(chunk.first_row, row);
            prop_assert_eq!(chunk.last_row, row + 2 * (chunk.records - 1));
            row = chunk.last_row + 2;
        }
    }
}

#[test]
fn the_profile_describes_the_values_of_records() {
    let n = |number: f64| Cell::Value(Value::Number(number));
    let t = |text: &str| Cell::Value(Value::from(text));
    let date = |text: &str| Cell::Value(Value::parse(text, Kind::Date).unwrap());
    let rows = vec![
        vec![n(10.0), t("b"), date("2024-03-01"), n(1.0)],
        vec![n(9.5), t("a"), Cell::Empty, t("x")],
        vec![n(-0.0), t("éé"), date("1999-12-31"), t("y")],
        vec![n(0.0), t("b"), date("2024-03-01"), Cell::Empty],
        // Profiles do not include rejected rows.
        vec![n(99.0), t("zzzz"), Cell::Error("#N/A".into()), Cell::Empty],
    ];
    let cut = cut_rows(&rows, 4, &pipeline(&[], &[]), None);
    type Line = (
        Option<Kind>,
        u64,
        u64,
        Option<&'static str>,
        Option<&'static str>,
        u32,
    );
    let expected: [Line; 4] = [
        (Some(Kind::Number), 4, 3, Some("-0.0"), Some("10"), 4),
        (Some(Kind::Text), 4, 3, Some("a"), Some("éé"), 2),
        (
            Some(Kind::Date),
            3,
            2,
            Some("1999-12-31"),
            Some("2024-03-01"),
            10,
        ),
        (None, 3, 3, Some("x"), Some("y"), 1),
    ];
    for (column, expected) in cut.columns.iter().zip(expected) {
        let found = (
            column.kind,
            column.filled,
            column.distinct,
            column.min.as_deref(),
            column.max.as_deref(),
            column.width,
        );
        assert_eq!(found, expected, "{}", column.name);
    }
    assert_eq!(cut.columns[0].format.as_deref(), Some("0.00"));
}

#[test]
fn distinct_values_are_counted_up_to_the_cap() {
    let cap = rowmill_domain::manifest::DISTINCT_CAP;
    let rows: Vec<Vec<Cell>> = (0..cap + 50)
        .map(|i| {
            vec![
                Cell::Value(Value::Number(i as f64)),
                Cell::Value(Value::from("same")),
            ]
        })
        .collect();
    let cut = cut_rows(&rows, 2, &pipeline(&[], &[]), None);
    assert_eq!(cut.columns[0].distinct, cap as u64);
    assert_eq!(cut.columns[1].distinct, 1);
    assert_eq!(cut.columns[0].max.as_deref(), Some("1049"));
}

#[test]
fn a_workbook_without_records_is_refused_with_the_reasons() {
    let rows = vec![
        vec![Cell::Empty],
        vec![Cell::Error("#N/A".into())],
        vec![Cell::Error("#REF!".into())],
        vec![Cell::Empty],
    ];
    let cut = cut_rows(&rows, 1, &pipeline(&[], &[]), None);
    let refusal = cut.no_records("a.xlsx");
    assert_eq!(refusal.rejected, 3);
    assert_eq!(
        refusal.what,
        "a.xlsx, sheet `S`: all 3 rows were rejected: 1 for `blank row`, 2 for `unreadable` (for \
         example row 3: column `c \"0\"\u{2028}`: error value #N/A)"
    );
    let cut = cut_rows(&[], 1, &pipeline(&[], &[]), None);
    assert_eq!(
        cut.no_records("a.xlsx").what,
        "a.xlsx, sheet `S`: no rows below the header"
    );
}

#[test]
fn a_restart_leaves_nothing_of_the_rows_before() {
    let text = |text: &str| Cell::Value(Value::Text(text.into()));
    let pipeline = pipeline(&[], &[]);
    let rows = vec![vec![text("a")], vec![Cell::Error("#N/A".into())]];
    let want = cut_rows(&rows, 1, &pipeline, Some(1));

    let scratch = TempDir::new().unwrap();
    let go_on = |_| ControlFlow::Continue(());
    let mut sink = Sink::new("a.xlsx", &pipeline, Some(1), scratch, go_on);
    assert!(sink.header(&header(2)).is_continue());
    for row in 2..9 {
        let mut cells = [text("a long text"), Cell::Error("#N/A".into())];
        assert!(sink.row(row, &mut cells).is_continue());
    }
    assert!(sink.restart());
    assert!(sink.header(&header(1)).is_continue());
    for (row, cells) in (2..).zip(&rows) {
        assert!(sink.row(row, &mut cells.clone()).is_continue());
    }
    let (table, scratch) = (sink.table.unwrap(), sink.scratch);
    let formats = vec![Some("0.00".into())];
    let got = table.finish(formats, vec![], scratch).unwrap();
    assert_eq!((got.rows_in, got.records()), (want.rows_in, want.records()));
    assert_eq!(got.rejected, want.rejected);
    assert_eq!(got.columns, want.columns);
    for file in ["records.jsonl", "rejected.jsonl"] {
        let content = |cut: &Cut| std::fs::read(cut.scratch.path().join(file)).unwrap();
        assert_eq!(content(&got), content(&want), "{file}");
    }
}
