//! The reader returns the values that the writer wrote.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used, clippy::panic)]
// Not all builders are used here.
#![allow(dead_code)]

mod files;

use chrono::NaiveDate;
use std::ops::ControlFlow;
use std::path::Path;

use rowmill_domain::SheetRef;
use rowmill_domain::colors::{ColorPair, LIGHT, rgb};
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::run::Counts;
use rowmill_domain::{Kind, Reason, Rejected, Status, Value};
use rowmill_workbook::{
    Cell, Chart, ColumnSpec, Fact, Header, OutsideCell, ReadOptions, ReadSummary, ResultSpec,
    ResultWriter, RowSink, StepFigures, Summary, read_rows,
};

/// Collects all rows.
#[derive(Default)]
struct All {
    header: Option<Header>,
    rows: Vec<(u32, Vec<Cell>)>,
}

impl RowSink for All {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        assert!(self.header.is_none(), "more than one header");
        self.header = Some(header.clone());
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.rows.push((row, cells.to_vec()));
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        row: u32,
        _: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        panic!("row {row}: {outside:?}")
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        panic!("rows {first} to {last} are blank")
    }
}

fn read(path: &Path, sheet: &str) -> (All, ReadSummary) {
    let mut all = All::default();
    let options = ReadOptions {
        sheet: Some(SheetRef::Name(sheet.to_owned())),
        ..ReadOptions::default()
    };
    let summary = read_rows(path, &options, &mut all).unwrap();
    (all, summary)
}

fn text(text: &str) -> Option<Value> {
    Some(Value::Text(text.to_owned()))
}

fn parsed(text: &str, kind: Kind) -> Option<Value> {
    Some(Value::parse(text, kind).unwrap())
}

fn odd_values() -> Vec<Option<Value>> {
    vec![
        None,
        text("00501"),
        text("1234567890123456789"),
        text("=1+1"),
        text("+49 30 1234"),
        text("-x"),
        text("@SUM(A1)"),
        text("=HYPERLINK(\"http://example.com\")"),
        text("https://example.com/?a=1&b=<2>"),
        text(" leading and trailing "),
        text("two\nlines\tand a tab"),
        text("\r\n"),
        text("Zürich, Łódź, 東京, 🙂, e\u{301}"),
        text("\u{1}\u{1f}\u{7f}"),
        text("_x0041_ _x000D_"),
        text("\"quoted\" 'single' &amp; <b>"),
        text("TRUE"),
        text("2024-03-01"),
        text("#N/A"),
        text(&"ä🙂".repeat(10_922)),
        Some(Value::Number(0.1 + 0.2)),
        Some(Value::Number(-1e-300)),
        Some(Value::Number(1.797e308)),
        Some(Value::Number(123_456_789_012_345.0)),
        Some(Value::Number(9_007_199_254_740_993.0)),
        Some(Value::Number(0.0)),
        Some(Value::Bool(true)),
        Some(Value::Bool(false)),
        parsed("2024-02-29", Kind::Date),
        parsed("1900-01-01", Kind::Date),
        parsed("1900-02-28", Kind::Date),
        parsed("1900-03-01", Kind::Date),
        parsed("9999-12-31", Kind::Date),
        parsed("2024-02-29T23:59:59.250", Kind::DateTime),
        parsed("2024-02-29T00:00:00", Kind::DateTime),
        parsed("13:37:00", Kind::Time),
        parsed("00:00:00", Kind::Time),
        parsed("23:59:59.999", Kind::Time),
        parsed("PT36H15M", Kind::Duration),
        parsed("PT0S", Kind::Duration),
        parsed("PT10000H0.001S", Kind::Duration),
    ]
}

#[test]
fn unusual_values_survive_a_round_trip() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a-result.xlsx");
    let spec = ResultSpec {
        columns: ["Id", "Value"]
            .map(|n| ColumnSpec {
                name: n.to_owned(),
                ..ColumnSpec::default()
            })
            .to_vec(),
        added: vec!["label".to_owned()],
        run_id: "20261121-a-0123456789ab".to_owned(),
        title: "A".to_owned(),
        ..ResultSpec::default()
    };
    let values = odd_values();
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    for (i, value) in values.iter().enumerate() {
        let id = Value::Number(i as f64);
        let status = [Status::Ok, Status::Failed, Status::Missing][i % 3];
        let error = (i % 3 > 0).then_some("no answer");
        writer
            .row(
                i as u32 + 102,
                &[Some(&id), value.as_ref()],
                &[value.as_ref()],
                status,
                error,
                2,
            )
            .unwrap();
    }
    writer
        .rejected(&Rejected {
            row: 17,
            reason: RejectReason::DuplicateKey,
            detail: "row 3 has the key `=1`".to_owned(),
            values: vec![
                Some(Value::from("007")),
                Some(Value::Date(NaiveDate::from_ymd_opt(2024, 3, 1).unwrap())),
            ],
        })
        .unwrap();
    // A row with a value beyond the columns.
    writer
        .rejected(&Rejected {
            row: 18,
            reason: RejectReason::Unreadable,
            detail: "values outside the columns".to_owned(),
            values: vec![Some(Value::Number(1.5)), None, Some(Value::from("beyond"))],
        })
        .unwrap();
    let written = writer.finish(&summary()).unwrap();
    assert_eq!(written.notes, Vec::<String>::new());

    let (all, _) = read(&path, "Results");
    let header = all.header.unwrap();
    assert_eq!(
        header.columns,
        [
            "Id",
            "Value",
            "label",
            "status",
            "error",
            "attempts",
            "input row"
        ]
    );
    assert_eq!(all.rows.len(), values.len());
    for (i, (value, (row, cells))) in values.iter().zip(&all.rows).enumerate() {
        let want = match value {
            None => Cell::Empty,
            Some(value) => Cell::Value(value.clone()),
        };
        assert_eq!(*row as usize, i + 2);
        assert_eq!(cells[1], want, "input {value:?}");
        assert_eq!(cells[2], want, "added {value:?}");
        assert_eq!(
            cells[3],
            Cell::Value(Value::from(["ok", "failed", "missing"][i % 3]))
        );
        assert_eq!(cells[5], Cell::Value(Value::Number(2.0)));
        assert_eq!(cells[6], Cell::Value(Value::Number(i as f64 + 102.0)));
    }

    let (all, _) = read(&path, "Rejected");
    assert_eq!(
        all.header.unwrap().columns,
        ["row", "reason", "detail", "Id", "Value", "Column F"]
    );
    assert_eq!(all.rows.len(), 2);
    assert_eq!(all.rows[0].1[5], Cell::Empty);
    assert_eq!(all.rows[1].1[5], Cell::Value(Value::from("beyond")));
    assert_eq!(all.rows[0].1[1], Cell::Value(Value::from("duplicate key")));
    // Values keep their types, so that a corrected row can be processed again.
    assert_eq!(all.rows[0].1[3], Cell::Value(Value::from("007")));
    let date = NaiveDate::from_ymd_opt(2024, 3, 1).unwrap();
    assert_eq!(all.rows[0].1[4], Cell::Value(Value::Date(date)));
    assert_eq!(all.rows[1].1[3], Cell::Value(Value::Number(1.5)));
}

fn summary() -> Summary {
    Summary {
        verdict: "14 of 42 rows done, 14 failed, 13 missing, 1 rejected.".to_owned(),
        reasons: vec![Reason {
            status: "failed".to_owned(),
            text: "no answer".to_owned(),
            count: 14,
            rows: vec![3],
            advice: "Process these rows again.".to_owned(),
        }],
        further: 13,
        facts: vec![
            (
                "Run".to_owned(),
                Fact::Text("20261121-a-0123456789ab".to_owned()),
            ),
            ("Rows in file".to_owned(), Fact::Count(42)),
        ],
        counts: Counts {
            records: 41,
            rejected: 1,
            ok: 14,
            failed: 14,
            missing: 13,
        },
        steps: vec![StepFigures {
            step: "1 http".to_owned(),
            ok: 27,
            failed: 14,
            mean_ms: 12.5,
            p95_ms: 80.0,
            max_ms: 120.0,
        }],
        chart: Some(Chart {
            title: "label".to_owned(),
            bars: vec![("yes".to_owned(), 20), ("no".to_owned(), 7)],
        }),
        notes: vec!["A note.".to_owned()],
    }
}

#[test]
fn long_texts_are_truncated_marked_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "Text".to_owned(),
            ..ColumnSpec::default()
        }],
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    // Each character takes two code units and must not be split.
    let long = Value::Text("🙂".repeat(16_384));
    let exact = Value::Text("x".repeat(32_767));
    for value in [&long, &exact] {
        writer
            .row(2, &[Some(value)], &[], Status::Ok, None, 1)
            .unwrap();
    }
    let error = Some("http 404");
    writer
        .row(2, &[Some(&long)], &[], Status::Failed, error, 1)
        .unwrap();
    let written = writer.finish(&Summary::default()).unwrap();
    assert_eq!(written.notes.len(), 1);
    assert!(
        written.notes[0].contains("sheet `Results`, cell A2"),
        "{:?}",
        written.notes
    );
    let (all, _) = read(&path, "Results");
    let Cell::Value(Value::Text(cut)) = &all.rows[0].1[0] else {
        panic!("{:?}", all.rows[0]);
    };
    assert!(cut.ends_with("🙂 [cut]"));
    assert!(cut.encode_utf16().count() <= 32_767 && cut.encode_utf16().count() > 32_760);
    assert_eq!(all.rows[1].1[0], Cell::Value(exact));
    let errors: Vec<&Cell> = all.rows.iter().map(|(_, cells)| &cells[2]).collect();
    let note = "Text: the text was truncated to 32,767 characters";
    let value = |text: &str| Cell::Value(Value::from(text));
    assert_eq!(
        errors,
        [
            &value(note),
            &Cell::Empty,
            &value(&format!("http 404; {note}"))
        ]
    );
}

#[test]
fn addresses_become_links_in_the_chosen_columns_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "Site".to_owned(),
            ..ColumnSpec::default()
        }],
        added: vec!["found".to_owned(), "mail".to_owned()],
        links: vec![0, 2],
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    let text = |text: &str| Value::from(text);
    let rows = [
        ["https://a.example/?x=1&y=<2>#part", "mailto:a@b.example"],
        ["no address", "file:///etc/passwd"],
        ["http://ä.example/ü b", "http://b.example/"],
    ];
    let statuses = [Status::Ok, Status::Failed, Status::Missing];
    // More rows than formats. The rows with the format cells contain links too.
    let rows = rows.iter().zip(statuses).cycle().take(300);
    for ([site, mail], status) in rows.clone() {
        let (site, mail, found) = (text(site), text(mail), text("http://c.example/"));
        writer
            .row(
                2,
                &[Some(&site)],
                &[Some(&found), Some(&mail)],
                status,
                None,
                1,
            )
            .unwrap();
    }
    writer.finish(&Summary::default()).unwrap();

    let (all, _) = read(&path, "Results");
    for ((_, cells), ([site, mail], _)) in all.rows.iter().zip(rows) {
        assert_eq!(cells[0], Cell::Value(text(site)));
        assert_eq!(cells[2], Cell::Value(text(mail)));
    }
    let part = |name: &str| {
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
        let mut text = String::new();
        let mut part = zip.by_name(name).unwrap();
        std::io::Read::read_to_string(&mut part, &mut text).unwrap();
        text
    };
    let sheet = part("xl/worksheets/sheet1.xml");
    assert_eq!(sheet.matches("<hyperlink ").count(), 400);
    assert_eq!(sheet.matches("location=\"part\"").count(), 100);
    for reference in ["A2", "C2", "A4", "C4", "A301", "C301"] {
        assert!(sheet.contains(&format!("<hyperlink ref=\"{reference}\"")));
    }
    assert!(!sheet.contains("<hyperlink ref=\"A3\"") && !sheet.contains("ref=\"B2\" r:id"));
    let relations = part("xl/worksheets/_rels/sheet1.xml.rels");
    for target in [
        "https://a.example/?x=1&amp;y=%3C2%3E",
        "mailto:a@b.example",
        "http://xn--4ca.example/%C3%BC%20b",
    ] {
        assert!(
            relations.contains(&format!("Target=\"{target}\"")),
            "{target}"
        );
    }
    assert!(!relations.contains("c.example"));
}

/// A few hundred addresses in the forms that people and programs write.
fn addresses() -> Vec<String> {
    let hosts = [
        "a.example",
        "A.Example",
        "a.example:8080",
        "a.example:443",
        "user@a.example",
        "user:pass%40word@a.example",
        "bücher.example",
        "例え.example",
        "xn--bcher-kva.example",
        "127.0.0.1",
        "0x7f.0.0.1",
        "2130706433",
        "[::1]",
        "[2001:DB8::1]:8080",
        "a.example.",
        "a_b.example",
    ];
    let paths = [
        "",
        "/",
        "/Zürich",
        "/Z%C3%BCrich",
        "/Z%c3%bcrich",
        "/a b",
        "/a%20b",
        "/a%2Fb",
        "/a/./b/../c",
        "/a\\b",
        "/<a>\"b\"",
        "/a'b(c)!*;,@&=+$~",
        "/?q=a b&r=%26&s=<1>&t=ü",
        "/?q[]=1&q[]=2",
        "/?u=https://b.example/?x=1",
        "/#part",
        "/#teil-ü",
        "/?a#b%20c",
        "/#",
        "/?",
    ];
    let web = hosts.iter().flat_map(|host| {
        paths
            .iter()
            .map(move |path| format!("https://{host}{path}"))
    });
    let odd = ["HTTP://A.EXAMPLE/%7e", "http://a.example/\tb"];
    let mail = [
        "mailto:a@b.example",
        "MAILTO:A@B.example?subject=a%20b&body=x%0Ay",
    ];
    let odd = odd.into_iter().chain(mail).map(str::to_owned);
    web.chain(odd).collect()
}

#[test]
fn the_target_of_a_link_is_the_address_that_a_browser_opens() {
    let addresses = addresses();
    assert!(addresses.len() > 300);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "Site".to_owned(),
            ..ColumnSpec::default()
        }],
        links: vec![0],
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    for address in &addresses {
        let cell = Value::from(address.as_str());
        writer
            .row(2, &[Some(&cell)], &[], Status::Ok, None, 1)
            .unwrap();
    }
    writer.finish(&Summary::default()).unwrap();

    let targets: std::collections::HashMap<String, String> =
        attributes(&path, "xl/worksheets/_rels/sheet1.xml.rels", "Relationship")
            .into_iter()
            .map(|mut all| (all.remove("Id").unwrap(), all.remove("Target").unwrap()))
            .collect();
    let found: std::collections::HashMap<String, String> =
        attributes(&path, "xl/worksheets/sheet1.xml", "hyperlink")
            .into_iter()
            .map(|all| {
                let target = &targets[&all["r:id"]];
                let opened = match all.get("location") {
                    Some(location) => format!("{target}#{location}"),
                    None => target.clone(),
                };
                (all["ref"].clone(), opened)
            })
            .collect();
    // The crate passes the tests of the standard (Web Platform Tests, `urltestdata.json`).
    for (row, address) in (2..).zip(&addresses) {
        let opened = url::Url::parse(address).unwrap();
        let cell = found.get(&format!("A{row}")).map(String::as_str);
        assert_eq!(cell, Some(opened.as_str()), "{address}");
    }
}

/// The attributes of all elements with this name.
fn attributes(
    path: &Path,
    part: &str,
    element: &str,
) -> Vec<std::collections::HashMap<String, String>> {
    use quick_xml::events::Event;
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut xml = String::new();
    std::io::Read::read_to_string(&mut zip.by_name(part).unwrap(), &mut xml).unwrap();
    let mut reader = quick_xml::Reader::from_str(&xml);
    let mut all = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return all,
            Event::Empty(found) if found.name().as_ref() == element => {
                let attributes = found.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let key = attribute.key.as_ref().to_owned();
                    let value = quick_xml::escape::unescape(&attribute.value)
                        .unwrap()
                        .into_owned();
                    (key, value)
                });
                all.push(attributes.collect());
            }
            _ => {}
        }
    }
}

#[test]
fn a_number_in_a_date_column_stays_a_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "Mixed".to_owned(),
            kind: None,
            format: Some("yyyy-mm-dd".to_owned()),
            width: 10,
        }],
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    let values = [parsed("2024-03-01", Kind::Date), Some(Value::Number(17.0))];
    for value in &values {
        writer
            .row(2, &[value.as_ref()], &[], Status::Ok, None, 1)
            .unwrap();
    }
    writer.finish(&Summary::default()).unwrap();
    let (all, _) = read(&path, "Results");
    let back: Vec<&Cell> = all.rows.iter().map(|(_, cells)| &cells[0]).collect();
    let sent = values.map(|v| Cell::Value(v.unwrap()));
    assert_eq!(back, sent.iter().collect::<Vec<_>>());
}

#[test]
fn number_formats_of_the_input_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let column = |name: &str, kind, format: &str| ColumnSpec {
        name: name.to_owned(),
        kind: Some(kind),
        format: Some(format.to_owned()),
        width: 10,
    };
    let spec = ResultSpec {
        columns: vec![
            column("Price", Kind::Number, "#,##0.00 \"EUR\""),
            column("Share", Kind::Number, "0.0%"),
            column("Since", Kind::Date, "dd.mm.yyyy"),
            column("Name", Kind::Text, "@"),
        ],
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    let values = [
        Some(Value::Number(12.5)),
        Some(Value::Number(0.125)),
        parsed("2024-03-01", Kind::Date),
        text("a"),
    ];
    let row: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    writer.row(2, &row, &[], Status::Ok, None, 1).unwrap();
    writer.finish(&Summary::default()).unwrap();
    let (all, summary) = read(&path, "Results");
    assert_eq!(all.rows[0].1[2], Cell::Value(values[2].clone().unwrap()));
    assert_eq!(
        summary.formats[..4],
        [
            Some("#,##0.00 \"EUR\"".to_owned()),
            Some("0.0%".to_owned()),
            Some("dd.mm.yyyy".to_owned()),
            None
        ]
    );
}

#[test]
fn a_column_with_mixed_number_formats_has_no_format() {
    let styles = [0, 9, 2, 14]
        .map(|id| format!("<xf numFmtId=\"{id}\"/>"))
        .concat();
    let cell = |style: u32, value: &str| format!("<c s=\"{style}\"><v>{value}</v></c>");
    let text = |style: u32| format!("<c s=\"{style}\" t=\"str\"><v>x</v></c>");
    let header = text(1).repeat(6);
    // By column: General before percent, percent before another format, percent only, a number among
    // texts, a date before a number, a date after a number.
    let rows = [
        [
            cell(0, "5"),
            cell(1, "0.5"),
            cell(1, "0.5"),
            text(0),
            cell(3, "45000"),
            cell(0, "7"),
        ],
        [
            cell(1, "0.5"),
            cell(2, "5"),
            cell(1, "0.1"),
            cell(2, "1"),
            cell(0, "7"),
            cell(3, "45000"),
        ],
        [
            cell(0, "5"),
            cell(1, "0.5"),
            text(0),
            text(1),
            cell(3, "45000"),
            cell(0, "7"),
        ],
    ];
    let rows: String = rows
        .iter()
        .map(|cells| format!("<row>{}</row>", cells.concat()))
        .collect();
    let book = files::Xlsx {
        sheet: files::sheet(&format!("<row>{header}</row>{rows}")),
        styles: Some(format!("<cellXfs>{styles}</cellXfs>")),
        ..files::Xlsx::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    std::fs::write(&path, book.bytes()).unwrap();
    let (_, summary) = read(&path, "Data");
    let want = [
        None,
        None,
        Some("0%"),
        Some("0.00"),
        Some("mm-dd-yy"),
        Some("mm-dd-yy"),
    ];
    assert_eq!(summary.formats, want.map(|code| code.map(str::to_owned)));
}

#[test]
fn failed_and_missing_rows_are_tinted_and_keep_number_formats() {
    use calamine::Reader as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "Since".to_owned(),
            kind: Some(Kind::Date),
            format: Some("dd.mm.yyyy".to_owned()),
            width: 10,
        }],
        added: vec!["n".to_owned()],
        run_id: "20261121-a-0123456789ab".to_owned(),
        title: "Title".to_owned(),
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    let date = parsed("2024-03-01", Kind::Date);
    for status in [Status::Ok, Status::Failed, Status::Missing] {
        let row = [date.as_ref()];
        let error = (status != Status::Ok).then_some("no answer");
        writer.row(2, &row, &[None], status, error, 1).unwrap();
    }
    writer.finish(&summary()).unwrap();

    let mut book: calamine::Xlsx<_> = calamine::open_workbook(&path).unwrap();
    assert_eq!(book.sheet_names(), ["Results", "Rejected", "Summary"]);
    let properties = book.workbook_properties().unwrap();
    assert_eq!(properties.title.as_deref(), Some("Title"));
    assert_eq!(properties.subject.as_deref(), Some(spec.run_id.as_str()));
    let styles = book.worksheet_style("Results").unwrap();
    let fill = |row, column| {
        let style = styles.get((row, column)).unwrap();
        let color = style.fill.as_ref().and_then(|f| f.foreground_color);
        color.map(|c| (c.red, c.green, c.blue))
    };
    let code = |row| {
        let style = styles.get((row, 0)).unwrap();
        style
            .number_format
            .as_ref()
            .map(|f| f.format_code.to_string())
    };
    let tint = |color: ColorPair| {
        let [_, red, green, blue] = rgb(color.tint).to_be_bytes();
        Some((red, green, blue))
    };
    let (red, yellow) = (tint(LIGHT.failed), tint(LIGHT.missing));
    let blue = tint(LIGHT.accent);
    assert!(styles.get((0, 0)).unwrap().font.as_ref().unwrap().is_bold());
    assert_eq!([fill(1, 0), fill(2, 0), fill(3, 0)], [None, red, yellow]);
    // Empty cells are tinted too. Added columns have a tint of their own.
    for column in 1..6 {
        let found = [fill(1, column), fill(2, column), fill(3, column)];
        assert_eq!(found, [blue, red, yellow]);
    }
    // A status has a color, and a reason wraps.
    let style = |row, column| styles.get((row, column)).unwrap();
    for (row, color) in [(1, LIGHT.ok), (2, LIGHT.failed), (3, LIGHT.missing)] {
        let [_, red, green, blue] = rgb(color.text).to_be_bytes();
        let found = style(row, 2).font.as_ref().unwrap().color.unwrap();
        assert_eq!((found.red, found.green, found.blue), (red, green, blue));
    }
    assert!(style(2, 3).alignment.as_ref().unwrap().wrap_text);
    for row in 1..4 {
        assert_eq!(code(row).as_deref(), Some("dd.mm.yyyy"));
    }
}

#[test]
fn records_continue_on_a_second_sheet() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "n".to_owned(),
            ..ColumnSpec::default()
        }],
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(&path, &spec).unwrap();
    let records = 1_048_577;
    for n in 0..records {
        let n = Value::Number(f64::from(n));
        writer
            .row(2, &[Some(&n)], &[], Status::Ok, None, 0)
            .unwrap();
    }
    writer.finish(&Summary::default()).unwrap();
    let mut seen = 0.0;
    for (sheet, rows) in [("Results", 1_048_575), ("Results 2", 2)] {
        let mut count = Count {
            next: seen,
            rows: 0,
        };
        let options = ReadOptions {
            sheet: Some(SheetRef::Name(sheet.to_owned())),
            ..ReadOptions::default()
        };
        read_rows(&path, &options, &mut count).unwrap();
        assert_eq!(count.rows, rows);
        seen = count.next;
    }
    assert_eq!(seen, f64::from(records));
}

/// Checks that the first column counts up.
struct Count {
    next: f64,
    rows: u32,
}

impl RowSink for Count {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        assert_eq!(header.columns[0], "n");
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.rows += 1;
        assert_eq!(row, self.rows + 1);
        assert_eq!(cells[0], Cell::Value(Value::Number(self.next)));
        self.next += 1.0;
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        row: u32,
        _: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        panic!("row {row}: {outside:?}")
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        panic!("rows {first} to {last} are blank")
    }
}
