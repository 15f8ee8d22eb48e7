use std::collections::BTreeMap;

use super::records::{Line, rejected_file};
use super::spool::{Spool, piece_file};
use super::*;
use proptest::prelude::*;
use rowmill_domain::limits::CHUNK_BYTES;
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::{Columns, Kind, Record, Rejected, Value};
use rowmill_planning::Division;
use rowmill_ports::FileRange;
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

/// A cut of records with these lines.
fn cut_of(records: Vec<Line>) -> Cut {
    Cut {
        sheet: "S".into(),
        columns: vec![],
        rows_in: records.len() as u64,
        rejected: BTreeMap::new(),
        notes: vec![],
        examples: BTreeMap::new(),
        pieces: vec![records.len() as u32],
        records,
        scratch: TempDir::new().unwrap(),
    }
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

        let spool = std::fs::read(piece_file(cut.scratch.path(), 0)).unwrap();
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
    fn a_chunk_has_no_more_bytes_than_allowed_or_a_single_record(
        sizes in proptest::collection::vec(prop_oneof![1u32..2000, 1_000_000u32..20_000_000], 1..400),
        per_child in 1u32..300,
        most in proptest::option::of(1u32..50),
    ) {
        let records = sizes.len() as u32;
        let lines = (2..).zip(&sizes).map(|(row, bytes)| Line { row, bytes: *bytes });
        let cut = cut_of(lines.collect());
        let division = Division::new(records.into(), per_child, most);
        let chunks = cut.chunks(&division);
        let (mut at, mut children) = (0, 0);
        for (number, chunk) in (0..).zip(&chunks) {
            let ours = &sizes[at..at + chunk.records as usize];
            let bytes: u64 = ours.iter().map(|bytes| u64::from(*bytes)).sum();
            prop_assert!(bytes <= CHUNK_BYTES || chunk.records == 1, "{bytes} bytes");
            prop_assert_eq!(chunk.chunk, number);
            prop_assert_eq!(chunk.first_row as usize, at + 2);
            at += ours.len();
            prop_assert_eq!(chunk.last_row as usize, at + 1);
            prop_assert!((1..=chunk.records).contains(&chunk.children));
            children += chunk.children;
        }
        prop_assert_eq!(at, sizes.len());
        // Chunks share the planned children; only a chunk without one of its own gets one more.
        prop_assert!(u64::from(children) <= division.children() + chunks.len() as u64);
        if sizes.iter().map(|bytes| u64::from(*bytes)).sum::<u64>() <= CHUNK_BYTES {
            prop_assert_eq!(chunks.len(), 1);
        }
    }

    #[test]
    fn chunks_are_balanced_and_cover_the_records(records in 1u32..45_000) {
        let lines = (0..records).map(|i| Line { row: i * 2 + 2, bytes: 1 });
        let cut = cut_of(lines.collect());
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
    for file in ["records-00000.jsonl", "rejected.jsonl"] {
        let content = |cut: &Cut| std::fs::read(cut.scratch.path().join(file)).unwrap();
        assert_eq!(content(&got), content(&want), "{file}");
    }
}

proptest! {
    #[test]
    fn a_row_of_texts_is_cut_like_the_same_row_of_cells(
        rows in proptest::collection::vec(
            proptest::array::uniform3("|[ \u{a0}]{1,2}|[ ]?[a-c\"\\\\ß\u{1}]{1,12}|2024-0[12]-01|[1-3]"),
            1..30,
        ),
        limit in proptest::option::of(1_u64..10),
    ) {
        let names = ["c \"0\"\u{2028}", "c \"1\"\u{2028}", "c \"2\"\u{2028}"];
        let mut pipeline = pipeline(&[names[0]], &[names[0], names[1]]);
        pipeline.input.types = [(names[2].to_owned(), Kind::Date)].into();
        let as_texts = |texts: bool| {
            let scratch = TempDir::new().unwrap();
            let mut sink =
                Sink::new("a.csv", &pipeline, limit, scratch, |_| ControlFlow::Continue(()));
            assert!(sink.header(&header(3)).is_continue());
            for (row, fields) in (2..).zip(&rows) {
                let done = match texts {
                    true => sink.texts(row, &fields.each_ref().map(String::as_str)),
                    false => sink.row(row, &mut fields.each_ref().map(|text| match text.as_str() {
                        "" => Cell::Empty,
                        text => Cell::Value(Value::from(text)),
                    })),
                };
                assert!(done.is_continue());
            }
            let (table, scratch) = (sink.table.unwrap(), sink.scratch);
            let cut = table.finish(vec![], vec![], scratch).unwrap();
            let file = |path| std::fs::read_to_string(path).unwrap();
            let files = [file(piece_file(cut.scratch.path(), 0)), file(rejected_file(cut.scratch.path()))];
            (files, cut.columns.clone(), cut.rows_in, cut.rejected.clone())
        };
        prop_assert_eq!(as_texts(true), as_texts(false));
    }
}

/// Chunks have the lines of their records, in whatever pieces these are. Returns how many chunks are a
/// piece, and the number of chunks.
fn pieces_of(count: u32, line: impl Fn(u32) -> String) -> (usize, usize) {
    let scratch = TempDir::new().unwrap();
    let mut spool = Spool::create(scratch.path()).unwrap();
    for i in 0..count {
        spool.add(i + 2, line(i).as_bytes()).unwrap();
    }
    let (records, pieces) = spool.finish().unwrap();
    let cut = Cut {
        pieces,
        scratch,
        ..cut_of(records)
    };
    let chunks = cut.chunks(&Division::new(count.into(), 1000, None));
    let parts = cut.parts(&chunks);
    let mut next = 0;
    for (chunk, parts) in chunks.iter().zip(&parts) {
        let expected: String = (next..next + chunk.records).map(&line).collect();
        let mut content = String::new();
        for part in parts {
            let bytes = std::fs::read_to_string(&part.path).unwrap();
            let range = part.range.clone().unwrap_or(0..bytes.len() as u64);
            content += &bytes[range.start as usize..range.end as usize];
        }
        assert!(
            content == expected,
            "{count} records, chunk {}",
            chunk.chunk
        );
        next += chunk.records;
    }
    assert_eq!(next, count);
    let whole = |parts: &&Vec<FileRange>| parts.len() == 1 && parts[0].range.is_none();
    (parts.iter().filter(whole).count(), chunks.len())
}

#[test]
fn chunks_have_the_lines_of_their_records_and_most_are_a_piece_of_the_spool() {
    let short = |i: u32| format!("{i}\n");
    assert_eq!(pieces_of(1, short), (1, 1));
    assert_eq!(pieces_of(10_000, short), (1, 1));
    assert_eq!(pieces_of(10_001, short), (0, 2));
    assert_eq!(pieces_of(30_000, short), (3, 3));
    assert_eq!(pieces_of(165_003, short), (15, 17));
    // A piece ends before the record that would make it too large.
    let long = |i: u32| match i % 3 {
        0 => format!("{}\n", "x".repeat(7_000_000)),
        _ => short(i),
    };
    assert_eq!(pieces_of(9, long), (2, 2));
}
