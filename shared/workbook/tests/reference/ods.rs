//! ods documents in the notation of LibreOffice.

use calamine::{Data, Reader as _};
use proptest::prelude::*;
use rowmill_domain::Value;
use rowmill_workbook::{Cell, ReadOptions, read_rows};

use crate::{All, files, same};

/// A cell of an ods document.
#[derive(Clone, Debug)]
enum OdsCell {
    Blank(u8),
    Number(f64, &'static str),
    Text(Vec<String>, u8),
    Bool(bool),
    Date(chrono::NaiveDateTime),
    Time(u32),
    Error,
}

fn ods_cell() -> impl Strategy<Value = OdsCell> {
    let number = any::<f64>().prop_filter("finite", |n| n.is_finite());
    let kinds = proptest::sample::select(vec!["float", "percentage", "currency"]);
    let line = "[a-z0-9&<>\"'äß€ ]{0,9}";
    prop_oneof![
        (1..4u8).prop_map(OdsCell::Blank),
        (number, kinds).prop_map(|(n, kind)| OdsCell::Number(n, kind)),
        (proptest::collection::vec(line, 1..4), 1..3u8).prop_map(|(t, n)| OdsCell::Text(t, n)),
        any::<bool>().prop_map(OdsCell::Bool),
        (-60_000_000_000..250_000_000_000i64).prop_map(|seconds| {
            OdsCell::Date(
                chrono::DateTime::from_timestamp(seconds, 0)
                    .unwrap()
                    .naive_utc(),
            )
        }),
        (0..400_000u32).prop_map(OdsCell::Time),
        Just(OdsCell::Error),
    ]
}

impl OdsCell {
    fn xml(&self) -> String {
        let cell = |attributes: String, text: &str| {
            format!("<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>")
        };
        match self {
            OdsCell::Blank(count) => {
                format!("<table:table-cell table:number-columns-repeated=\"{count}\"/>")
            }
            OdsCell::Number(number, kind) => cell(
                format!(
                    "office:value-type=\"{kind}\" office:value=\"{number:?}\" calcext:value-type=\"{kind}\""
                ),
                "1",
            ),
            OdsCell::Text(lines, count) => {
                let escape = |c| match c {
                    '&' => "&amp;".to_owned(),
                    '<' => "&lt;".to_owned(),
                    '>' => "&gt;".to_owned(),
                    c => String::from(c),
                };
                let lines = lines.iter().map(|line| {
                    let line: String = line.chars().map(escape).collect();
                    let line = line.replace("  ", " <text:s text:c=\"1\"/>");
                    format!("<text:p>{line}</text:p>")
                });
                format!(
                    "<table:table-cell office:value-type=\"string\" table:number-columns-repeated=\"{count}\">\
                     {}</table:table-cell>",
                    lines.collect::<String>()
                )
            }
            OdsCell::Bool(value) => cell(
                format!("office:value-type=\"boolean\" office:boolean-value=\"{value}\""),
                "WAHR",
            ),
            OdsCell::Date(moment) => {
                let value = match moment.time() == chrono::NaiveTime::MIN {
                    true => moment.format("%Y-%m-%d"),
                    false => moment.format("%Y-%m-%dT%H:%M:%S"),
                };
                cell(
                    format!("office:value-type=\"date\" office:date-value=\"{value}\""),
                    "1",
                )
            }
            OdsCell::Time(seconds) => {
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                let value = format!("PT{hours:02}H{minutes:02}M{:02}S", seconds % 60);
                cell(
                    format!("office:value-type=\"time\" office:time-value=\"{value}\""),
                    "1",
                )
            }
            OdsCell::Error => cell(
                "table:formula=\"of:=NA()\" office:value-type=\"string\" office:string-value=\"\" \
                 calcext:value-type=\"error\""
                    .to_owned(),
                "#N/A",
            ),
        }
    }
}

/// Whether our cell of an ods document equals that of calamine, which returns dates, times and errors
/// as texts.
fn same_ods(ours: &Cell, theirs: &Data) -> bool {
    use rowmill_domain::Kind;
    let parsed = |text: &str, kinds: &[Kind]| kinds.iter().find_map(|k| Value::parse(text, *k));
    match (ours, theirs) {
        (Cell::Error(ours), Data::String(theirs)) => ours == theirs,
        (Cell::Value(ours @ (Value::Date(_) | Value::DateTime(_))), Data::DateTimeIso(theirs)) => {
            parsed(theirs, &[Kind::Date, Kind::DateTime]).as_ref() == Some(ours)
        }
        (Cell::Value(Value::Duration(ours)), Data::DurationIso(theirs)) => {
            parsed(theirs, &[Kind::Duration]) == Some(Value::Duration(*ours))
        }
        (Cell::Value(Value::Time(ours)), Data::DurationIso(theirs)) => {
            let length = *ours - chrono::NaiveTime::MIN;
            parsed(theirs, &[Kind::Duration]) == Some(Value::Duration(length))
        }
        (ours, theirs) => same(ours, theirs),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn ods_reader_equals_calamine(
        rows in proptest::collection::vec(
            (proptest::collection::vec(ods_cell(), 0..4), 1..3u8), 0..12,
        ),
    ) {
        let head: String = (0..4).map(|at| files::ods_text("", &format!("Column {at}"))).collect();
        let mut xml = files::ods_row("", &head);
        for (cells, repeats) in &rows {
            let cells: String = cells.iter().map(OdsCell::xml).collect();
            xml += &files::ods_row(&format!("table:number-rows-repeated=\"{repeats}\""), &cells);
        }
        let table = format!("<table:table table:name=\"Data\">{xml}</table:table>");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ods");
        std::fs::write(&path, files::ods(&table, "")).unwrap();
        let mut ours = All::default();
        read_rows(&path, &ReadOptions::default(), &mut ours).unwrap();

        let mut book: calamine::Ods<_> = calamine::open_workbook(&path).unwrap();
        let range = book.worksheet_range("Data").unwrap();
        for (row, cells) in &ours.0 {
            for (column, cell) in (0..).zip(cells) {
                let theirs = range.get_value((row - 1, column)).unwrap_or(&Data::Empty);
                prop_assert!(same_ods(cell, theirs), "row {row}: {cell:?}, calamine {theirs:?}");
            }
        }
        let filled = |(_, cell): (_, &Data)| !matches!(cell, Data::Empty) && *cell != Data::String(String::new());
        let used = range.used_cells().map(|(row, _, cell)| (row, cell)).filter(|c| filled(*c));
        let last = used.map(|(row, _)| row).max().unwrap_or(0);
        prop_assert_eq!(ours.0.len(), last);
    }
}

/// The number formats of columns are those of their data styles, in the notation of Excel.
#[test]
fn ods_number_formats_are_kept() {
    let two = "<number:number number:decimal-places='2' number:min-integer-digits='1' number:grouping='true'/>\
         <number:text> </number:text><number:currency-symbol>€</number:currency-symbol>";
    let styles = format!(
        "<number:date-style style:name='N1'><number:day number:style='long'/><number:text>.</number:text>\
         <number:month number:style='long'/><number:text>.</number:text><number:year \
         number:style='long'/></number:date-style>\
         <number:currency-style style:name='N2P0'>{two}</number:currency-style>\
         <number:currency-style style:name='N2'><style:text-properties fo:color='#ff0000'/>\
         <number:text>-</number:text>{two}<style:map style:condition='value()&gt;=0' \
         style:apply-style-name='N2P0'/></number:currency-style>\
         <number:percentage-style style:name='N3'><number:number number:decimal-places='1' \
         number:min-integer-digits='1'/><number:text>%</number:text></number:percentage-style>\
         <number:date-style style:name='N4'><number:quarter/></number:date-style>{}",
        (1..=4)
            .map(|i| format!(
                "<style:style style:name='c{i}' style:family='table-cell' style:data-style-name='N{i}'/>"
            ))
            .collect::<String>()
    );
    let cell = |style: u32, kind: &str, value: &str| {
        let name = if kind == "date" {
            "date-value"
        } else {
            "value"
        };
        format!(
            "<table:table-cell table:style-name='c{style}' office:value-type='{kind}' office:{name}='{value}'/>"
        )
    };
    let head: String = (0..5)
        .map(|at| files::ods_text("", &format!("Column {at}")))
        .collect();
    let row = |money: &str| {
        let cells = [
            cell(1, "date", "2024-03-01"),
            cell(2, "currency", money),
            cell(3, "percentage", "0.125"),
            cell(4, "date", "2024-03-01"),
            cell(u32::from(money.len() > 3), "float", "1"),
        ];
        files::ods_row("", &cells.concat())
    };
    let table = format!(
        "<table:table table:name='Data'>{}{}{}</table:table>",
        files::ods_row("", &head),
        row("12"),
        row("-1234.5")
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ods");
    let content = files::ods_content(&styles, &table);
    std::fs::write(&path, files::ods_package(content.as_bytes(), "")).unwrap();
    let mut all = All::default();
    let summary = read_rows(&path, &ReadOptions::default(), &mut all).unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2024, 3, 1).unwrap();
    assert_eq!(all.0[0].1[0], Cell::Value(Value::Date(day)));
    assert_eq!(all.0[1].1[1], Cell::Value(Value::Number(-1234.5)));
    let want = [
        Some("dd.mm.yyyy"),
        Some("#,##0.00 [$€];[Red]-#,##0.00 [$€]"),
        Some("0.0%"),
        // Excel has no quarters.
        None,
        // A number without a format, and one that is displayed as a date.
        Some("dd.mm.yyyy"),
    ];
    assert_eq!(summary.formats, want.map(|code| code.map(str::to_owned)));
}
