//! Odd and hostile files: each ends in the right values or the right error, in time and within
//! memory. The table below says which.

// A test's helpers fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod files;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use files::{
    Xlsx, archive, below_header, biff, biff_label, biff_number, cell, compound, ods, ods_row,
    ods_text, patched, record, relation, sheet, wide, workbook, xls, xls_stream, xlsb,
};
use rowmill_domain::pipeline::SheetRef;
use rowmill_workbook::{Cell, Header, ReadOptions, RowSink, read_rows};

/// No file may take longer.
const TIME: Duration = Duration::from_secs(20);
/// Nor may reading all of them take more memory at its peak, in kB.
const MEMORY: u64 = 512 << 10;
/// Rows shown; of more only the number is.
const SHOWN: usize = 8;

/// A file's rows as text: the columns' names, then `row: value | value`, where `!` marks an error
/// and `'` a text.
#[derive(Default)]
struct Shown {
    lines: Vec<String>,
    rows: usize,
}

impl RowSink for Shown {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.lines.push(header.columns.join(" | "));
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut Vec<Cell>) -> ControlFlow<()> {
        self.rows += 1;
        if self.rows <= SHOWN {
            let cells: Vec<String> = cells.iter().map(show).collect();
            self.lines.push(format!("{row}: {}", cells.join(" | ")));
        }
        ControlFlow::Continue(())
    }
}

fn show(cell: &Cell) -> String {
    let text = match cell {
        Cell::Empty => String::new(),
        Cell::Value(rowmill_domain::Value::Text(text)) => format!("'{text}"),
        Cell::Value(value) => value.to_text(),
        Cell::Error(error) => format!("!{error}"),
    };
    match text.chars().count() {
        0..=60 => text,
        length => format!("{length} characters"),
    }
}

/// What reading `bytes` gives: the rows, or the error's text after the file's name.
fn outcome(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut options = options.clone();
    options.limits.seconds = TIME.as_secs();
    let mut shown = Shown::default();
    let start = Instant::now();
    let read = read_rows(&path, &options, &mut shown);
    assert!(start.elapsed() < TIME, "{name} took {:?}", start.elapsed());
    match read {
        Ok(summary) => {
            assert_eq!(summary.rows as usize, shown.rows);
            if shown.rows > SHOWN {
                shown.lines.truncate(1);
                shown.lines.push(format!("{} rows", shown.rows));
            }
            shown.lines.extend(summary.notes);
            Ok(shown.lines.join("\n"))
        }
        Err(error) => {
            let text = error.to_string();
            let after = text.strip_prefix(&path.display().to_string());
            Err(after
                .unwrap_or_else(|| panic!("{text}: no file named"))
                .to_owned())
        }
    }
}

#[derive(Default)]
struct Table {
    failures: Vec<String>,
    count: usize,
}

impl Table {
    fn good(&mut self, name: &str, bytes: &[u8], want: &str) {
        self.with(name, bytes, &ReadOptions::default(), Ok(want));
    }

    fn bad(&mut self, name: &str, bytes: &[u8], want: &str) {
        self.with(name, bytes, &ReadOptions::default(), Err(want));
    }

    fn with(&mut self, name: &str, bytes: &[u8], options: &ReadOptions, want: Result<&str, &str>) {
        self.count += 1;
        let got = outcome(name, bytes, options);
        let fits = match (&got, want) {
            (Ok(got), Ok(want)) => got == want,
            (Err(got), Err(want)) => got.contains(want),
            _ => false,
        };
        if !fits {
            self.failures
                .push(format!("{name}: got {got:#?}, want {want:#?}"));
        }
    }
}

#[test]
fn every_file_ends_in_the_right_values_or_the_right_error() {
    let mut table = Table::default();
    xlsx_values(&mut table);
    xlsx_structure(&mut table);
    headers(&mut table);
    xlsx_hostile(&mut table);
    archives(&mut table);
    mislabelled(&mut table);
    old_excel(&mut table);
    open_document(&mut table);
    binary(&mut table);
    delimited(&mut table);
    assert!(table.failures.is_empty(), "{}", table.failures.join("\n"));
    assert!(table.count >= 60, "{} files", table.count);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .unwrap();
        let peak: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < MEMORY, "{peak} kB at the peak");
    }
}

fn xlsx_values(table: &mut Table) {
    let strings = Xlsx {
        sheet: sheet(
            "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>\
             <row r=\"2\"><c r=\"A2\" t=\"s\"><v>1</v></c></row>\
             <row r=\"3\"><c r=\"A3\" t=\"s\"><v>2</v></c></row>\
             <row r=\"4\"><c r=\"A4\" t=\"s\"><v>3</v></c></row>",
        ),
        strings: Some(
            "<si><t>A</t></si><si><t>00501</t></si>\
             <si><r><t>ri</t></r><r><rPr><b/></rPr><t xml:space=\"preserve\">ch </t></r>\
             <rPh sb=\"0\" eb=\"1\"><t>x</t></rPh></si><si><t> _x000D_&amp;&#x1F642; </t></si>"
                .to_owned(),
        ),
        ..Xlsx::default()
    };
    table.good(
        "shared.xlsx",
        &strings.bytes(),
        "A\n2: '00501\n3: 'rich \n4: '\r&🙂",
    );
    let inline = |t: &str| cell(&format!("<c r=\"A2\" t=\"inlineStr\"><is>{t}</is></c>"));
    table.good("inline.xlsx", &inline("<t>=1+1</t>"), "A\n2: '=1+1");
    table.good(
        "inline-rich.xlsx",
        &inline("<r><t>a</t></r><r><t>b</t></r>"),
        "A\n2: 'ab",
    );
    table.good("inline-empty.xlsx", &inline("<t></t>"), "A");
    for (name, xml, want) in [
        (
            "integer",
            "<c r=\"A2\"><v>1234567890123456</v></c>",
            "1234567890123456.0",
        ),
        ("float", "<c r=\"A2\" t=\"n\"><v>1.5E-3</v></c>", "0.0015"),
        ("true", "<c r=\"A2\" t=\"b\"><v>1</v></c>", "true"),
        ("error", "<c r=\"A2\" t=\"e\"><v>#N/A</v></c>", "!#N/A"),
        ("formula", "<c r=\"A2\"><f>1+1</f><v>2</v></c>", "2"),
        (
            "formula-shared",
            "<c r=\"A2\" s=\"0\"><f t=\"shared\" si=\"0\"/><v>-3</v></c>",
            "-3",
        ),
        (
            "formula-odd",
            "<c r=\"A2\"><f ref=\"A2>\">IF(1&gt;0,\"x\"<b>,2</b>)</f ><v>4</v></c>",
            "4",
        ),
        (
            "formula-text",
            "<c r=\"A2\" t=\"str\"><f>B1&amp;\"x\"</f><v>a&amp;x</v></c>",
            "'a&x",
        ),
        (
            "formula-none",
            "<c r=\"A2\"><f>1+1</f></c>",
            "!a formula without a saved result",
        ),
        (
            "date-iso",
            "<c r=\"A2\" t=\"d\"><v>2024-03-01T06:00:00Z</v></c>",
            "2024-03-01T06:00:00",
        ),
        ("no-number", "<c r=\"A2\"><v>n/a</v></c>", "'n/a"),
        ("infinite", "<c r=\"A2\"><v>inf</v></c>", "'inf"),
        ("huge", "<c r=\"A2\"><v>1e999</v></c>", "'1e999"),
        (
            "cdata",
            "<c r=\"A2\" t=\"str\"><v><![CDATA[<b>&amp;]]></v></c>",
            "'<b>&amp;",
        ),
        ("quotes", "<c  t='b' x=\">\" r='A2' ><v>0</v></c >", "false"),
        (
            "comment",
            "<!-- <c> --><c r=\"A2\"><!-- x --><v>5</v></c>",
            "5",
        ),
        (
            "twice",
            "<c r=\"A2\"><v>1</v></c><c r=\"A2\"><v>2</v></c>",
            "2",
        ),
        ("unnamed", "<c><v>7</v></c>", "7"),
        (
            "bad-utf8",
            "<c r=\"A2\" t=\"str\"><v>a\u{7f}b</v></c>",
            "'a\u{7f}b",
        ),
    ] {
        let name = format!("{name}.xlsx");
        table.good(&name, &cell(xml), &format!("A\n2: {want}"));
    }
    let long = "ä".repeat(40_000);
    let long = format!("<c r=\"A2\" t=\"str\"><v>{long}</v></c>");
    table.good("long-text.xlsx", &cell(&long), "A\n2: 40001 characters");

    let dates = |properties: &str| {
        let cells: String = [
            (1, "45352"),
            (2, "45352.25"),
            (3, "0.75"),
            (4, "1.5"),
            (1, "-1"),
        ]
        .iter()
        .zip(2..)
        .map(|((s, v), r)| format!("<row r=\"{r}\"><c r=\"A{r}\" s=\"{s}\"><v>{v}</v></c></row>"))
        .collect();
        Xlsx {
            workbook: workbook(
                properties,
                "<sheet name=\"D\" sheetId=\"1\" r:id=\"rId1\"/>",
            ),
            sheet: sheet(&format!(
                "<row r=\"1\"><c r=\"A1\" t=\"str\"><v>A</v></c></row>{cells}"
            )),
            styles: Some(
                "<numFmts><numFmt numFmtId=\"164\" formatCode=\"yyyy\\-mm\\-dd\"/>\
                 <numFmt numFmtId=\"165\" formatCode=\"[h]:mm\"/></numFmts>\
                 <cellStyleXfs><xf numFmtId=\"14\"/></cellStyleXfs><cellXfs><xf numFmtId=\"0\"/>\
                 <xf numFmtId=\"164\"/><xf numFmtId=\"22\"/><xf numFmtId=\"20\"/>\
                 <xf numFmtId=\"165\"/></cellXfs>"
                    .to_owned(),
            ),
            ..Xlsx::default()
        }
        .bytes()
    };
    table.good(
        "dates.xlsx",
        &dates(""),
        "A\n2: 2024-03-01\n3: 2024-03-01T06:00:00\n4: 18:00:00\n5: PT36H\n6: -1",
    );
    table.good(
        "dates-1904.xlsx",
        &dates("date1904=\"1\""),
        "A\n2: 2028-03-02\n3: 2028-03-02T06:00:00\n4: 18:00:00\n5: PT36H\n6: 1903-12-31",
    );
}

fn xlsx_structure(table: &mut Table) {
    let header = "<row><c t=\"str\"><v>A</v></c><c t=\"str\"><v>B</v></c></row>";
    let unnumbered = Xlsx {
        sheet: sheet(&format!("{header}<row/><row><c/><c><v>1</v></c></row>")),
        ..Xlsx::default()
    };
    table.good(
        "unnumbered.xlsx",
        &unnumbered.bytes(),
        "A | B\n2:  | \n3:  | 1",
    );
    let prefixed = Xlsx {
        sheet: "<x:worksheet xmlns:x=\"m\"><x:sheetData><x:row r=\"1\"><x:c r=\"A1\" t=\"str\">\
                <x:v>A</x:v></x:c></x:row><x:row r=\"2\"><x:c r=\"A2\"><x:v>1</x:v></x:c></x:row>\
                </x:sheetData></x:worksheet>"
            .to_owned(),
        ..Xlsx::default()
    };
    table.good("prefixed.xlsx", &prefixed.bytes(), "A\n2: 1");
    let corner = "<row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row>";
    table.bad(
        "lone-cell.xlsx",
        &below_header(corner),
        "17179852800 is more than the limit `cells` of 500000000",
    );
    let far = "<row r=\"900000\"><c r=\"A900000\"><v>1</v></c></row>";
    table.good("far-row.xlsx", &below_header(far), "A\n899999 rows");
    table.bad(
        "empty.xlsx",
        &Xlsx {
            sheet: sheet(""),
            ..Xlsx::default()
        }
        .bytes(),
        "sheet `Data` has no header: it is empty",
    );
    table.good("header-only.xlsx", &below_header(""), "A");
    table.good(
        "trailing-styled.xlsx",
        &below_header(
            "<row r=\"2\"><c r=\"A2\"><v>1</v></c></row><row r=\"9\"><c r=\"A9\" s=\"1\"/></row>",
        ),
        "A\n2: 1",
    );
    let named = |sheets: &str| Xlsx {
        workbook: workbook("", sheets),
        sheet: sheet(header),
        ..Xlsx::default()
    };
    let sheets =
        "<sheet name=\"No\" state=\"hidden\" r:id=\"rId9\"/><sheet name=\"Täx\" r:id=\"rId1\"/>";
    table.good("hidden-first.xlsx", &named(sheets).bytes(), "A | B");
    let by = |sheet| ReadOptions {
        sheet: Some(sheet),
        ..ReadOptions::default()
    };
    let name = |n: &str| SheetRef::Name(n.to_owned());
    let hidden = "<sheet name=\"S\" r:id=\"rId9\"/><sheet name=\"Not shown\" state=\"hidden\" r:id=\"rId1\"/>";
    table.with(
        "hidden-by-name.xlsx",
        &named(hidden).bytes(),
        &by(name("Not shown")),
        Ok("A | B"),
    );
    let bytes = named(sheets).bytes();
    table.with("by-name.xlsx", &bytes, &by(name("TÄX")), Ok("A | B"));
    table.with(
        "by-index.xlsx",
        &bytes,
        &by(SheetRef::Index(2)),
        Ok("A | B"),
    );
    table.with(
        "no-name.xlsx",
        &bytes,
        &by(name("Tax")),
        Err("no sheet `Tax` (it has `No`, `Täx`); name another as `sheet`"),
    );
    table.with(
        "no-index.xlsx",
        &bytes,
        &by(SheetRef::Index(0)),
        Err("no sheet number 0"),
    );
    table.bad(
        "all-hidden.xlsx",
        &named("<sheet name=\"No\" state=\"veryHidden\" r:id=\"rId1\"/>").bytes(),
        "no sheet that is visible (it has `No`)",
    );
    table.bad("no-sheets.xlsx", &named("").bytes(), "it has none");
    table.bad(
        "no-relation.xlsx",
        &named("<sheet name=\"S\" r:id=\"rId7\"/>").bytes(),
        "sheet `S`: the workbook does not say where it is",
    );
    let chart = Xlsx {
        relations: relation("rId1", "chartsheet", "chartsheets/sheet1.xml"),
        ..Xlsx::default()
    };
    table.bad(
        "chart.xlsx",
        &chart.bytes(),
        "it is a chartsheet and has no rows",
    );
    let gone = Xlsx {
        relations: relation("rId1", "worksheet", "../../elsewhere.xml"),
        ..Xlsx::default()
    };
    table.bad(
        "part-missing.xlsx",
        &gone.bytes(),
        "its part `elsewhere.xml` is missing",
    );
    let rows = "<row r=\"2\" hidden=\"1\"><c r=\"A2\"><v>1</v></c></row><row r=\"3\"><c r=\"A3\"><v>2</v></c></row>";
    let skip = ReadOptions {
        skip_hidden_rows: true,
        ..ReadOptions::default()
    };
    table.good("hidden-rows.xlsx", &below_header(rows), "A\n2: 1\n3: 2");
    table.with(
        "hidden-rows-left-out.xlsx",
        &below_header(rows),
        &skip,
        Ok("A\n2: \n3: 2\n1 hidden rows were left out."),
    );
}

fn headers(table: &mut Table) {
    let text = |at: &str, text: &str| format!("<c r=\"{at}\" t=\"str\"><v>{text}</v></c>");
    let rows = [
        vec![text("A1", "ID"), text("B1", "Address")],
        vec![text("B2", "City"), text("C2", "ZIP")],
        vec!["<c r=\"A3\"><v>1</v></c>".to_owned(), text("C3", "007")],
    ];
    let rows: String = rows
        .iter()
        .map(|r| format!("<row>{}</row>", r.concat()))
        .collect();
    let merged = |merges: &str| {
        Xlsx {
            sheet: sheet(&rows).replace("</sheetData>", &format!("</sheetData>{merges}")),
            ..Xlsx::default()
        }
        .bytes()
    };
    table.good(
        "two-rows.xlsx",
        &merged("<mergeCells><mergeCell ref=\"A1:A2\"/><mergeCell ref=\"B1:C1\"/></mergeCells>"),
        "ID | Address City | Address ZIP\n3: 1 |  | '007",
    );
    table.good(
        "one-row.xlsx",
        &merged(""),
        "ID | Address | Column C\n2:  | 'City | 'ZIP\n3: 1 |  | '007",
    );
    table.good(
        "title.csv",
        b"Customers of 2024\n\na,b,c\n1,2,3\n",
        "a | b | c\n4: '1 | '2 | '3",
    );
    table.good(
        "repeated.csv",
        b"a,,a\n1,2,3\n",
        "a | Column B | a (2)\n2: '1 | '2 | '3",
    );
    let given = |row| ReadOptions {
        header_row: Some(row),
        ..ReadOptions::default()
    };
    let csv = b"x,y,z\na,b,c\n1,2,3\n";
    table.with(
        "given.csv",
        csv,
        &given(2),
        Ok("a | b | c\n3: '1 | '2 | '3"),
    );
    table.with("given-blank.csv", csv, &given(9), Err("row 9 has no value"));
    // Taken for one text, the rows after the quote would be lost unseen.
    table.bad(
        "open-quote.csv",
        b"a,b\n\"1,2\n3,4",
        "record 2: a quote that opens a field is never closed",
    );
}

fn xlsx_hostile(table: &mut Table) {
    for (name, xml, want) in [
        (
            "bad-bool",
            "<c r=\"A2\" t=\"b\"><v>maybe</v></c>",
            "cell A2: it is neither true nor false",
        ),
        (
            "bad-index",
            "<c r=\"A2\" t=\"s\"><v>5</v></c>",
            "cell A2: its text is not in the string table",
        ),
        (
            "bad-type",
            "<c r=\"A2\" t=\"q\"><v>5</v></c>",
            "its type is not known",
        ),
        (
            "bad-reference",
            "<c r=\"2A\"><v>5</v></c>",
            "its reference is none",
        ),
        (
            "other-row",
            "<c r=\"A2\"><v>1</v></c><c r=\"A3\"><v>5</v></c>",
            "cell A3: it stands in another row",
        ),
        (
            "column",
            "<c r=\"XFE2\"><v>5</v></c>",
            "16385 is more than the limit `columns` of 16384",
        ),
        (
            "doctype",
            "<!DOCTYPE x [<!ENTITY a \"b\">]>",
            "it declares a document type",
        ),
        ("open-comment", "<!-- ", "a comment does not end"),
        ("open-tag", "<c r=\"A2", "a tag does not end"),
    ] {
        table.bad(&format!("{name}.xlsx"), &cell(xml), want);
    }
    table.bad(
        "row.xlsx",
        &below_header("<row r=\"1048577\"><c><v>1</v></c></row>"),
        "1048577 is more than the limit `rows` of 1048576",
    );
    table.bad(
        "row-zero.xlsx",
        &below_header("<row r=\"0\"><c><v>1</v></c></row>"),
        "its number is none",
    );
    table.bad(
        "backwards.xlsx",
        &below_header("<row r=\"3\"><c><v>1</v></c></row><row r=\"2\"><c><v>1</v></c></row>"),
        "sheet `Data`, row 2: it comes after row 3",
    );
    table.bad(
        "deep.xlsx",
        &cell(&"<a>".repeat(10_000)),
        "the limit `nesting` of 256",
    );
    let long = format!("<c r=\"A2\" t=\"str\"><v>{}</v></c>", "x".repeat(2 << 20));
    table.bad(
        "text.xlsx",
        &cell(&long),
        "the limit `text_bytes` of 1048576",
    );
    let attribute = format!("<c r=\"{}\"/>", "x".repeat(2 << 20));
    table.bad(
        "attribute.xlsx",
        &cell(&attribute),
        "the limit `text_bytes` of 1048576",
    );
    table.bad(
        "same-cell.xlsx",
        &cell(&"<c r=\"A2\"><v>1</v></c>".repeat(20_000)),
        "the limit `columns` of 16384",
    );
    // One text of a mebibyte, shown by many cells: over rows it streams, in one row it is refused.
    let bomb = |rows: String| {
        Xlsx {
            sheet: sheet(&rows),
            strings: Some(format!(
                "<si><t>A</t></si><si><t>{}</t></si>",
                "x".repeat(1_000_000)
            )),
            ..Xlsx::default()
        }
        .bytes()
    };
    let shown = |r: u32| format!("<row r=\"{r}\"><c r=\"A{r}\" t=\"s\"><v>1</v></c></row>");
    table.good(
        "string-in-rows.xlsx",
        &bomb((1..=2000).map(shown).collect()),
        &format!("{}\n1999 rows", "x".repeat(1_000_000)),
    );
    table.bad(
        "string-in-columns.xlsx",
        &bomb(format!(
            "<row r=\"1\">{}</row>",
            "<c t=\"s\"><v>1</v></c>".repeat(1000)
        )),
        "the limit `row_bytes` of 33554432",
    );
    let mut small = ReadOptions::default();
    small.limits.string_bytes = 1000;
    table.with(
        "strings.xlsx",
        &bomb(String::new()),
        &small,
        Err("the limit `string_bytes` of 1000"),
    );
    let mut few = ReadOptions::default();
    few.limits.cells = 3;
    let rows: String = (2..9)
        .map(|r| format!("<row r=\"{r}\"><c r=\"A{r}\"><v>1</v></c></row>"))
        .collect();
    table.with(
        "cells.xlsx",
        &below_header(&rows),
        &few,
        Err("4 is more than the limit `cells` of 3"),
    );
    let utf16: Vec<u8> = sheet("")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    table.bad(
        "utf16-part.xlsx",
        &archive(&[
            ("[Content_Types].xml", &b""[..]),
            (
                "xl/workbook.xml",
                workbook("", "<sheet name=\"S\" r:id=\"rId1\"/>").as_bytes(),
            ),
            (
                "xl/_rels/workbook.xml.rels",
                relation("rId1", "worksheet", "s.xml").as_bytes(),
            ),
            ("xl/s.xml", &utf16),
        ]),
        "part `xl/s.xml`: it has no `sheetData`;",
    );
}

fn archives(table: &mut Table) {
    let whole = cell("<c r=\"A2\"><v>1</v></c>");
    table.bad(
        "half.xlsx",
        &whole[..whole.len() / 2],
        "there is none; the file is cut off",
    );
    table.bad("no-end.xlsx", &whole[..whole.len() - 10], "zip directory");
    let mark = b"xl/worksheets/sheet1.xml";
    let flipped = patched(whole.clone(), mark, mark.len() + 40, &[0xff, 0xff, 0xff]);
    table.bad("flipped.xlsx", &flipped, "part `xl/worksheets/sheet1.xml`");
    // The directory's entry of the first part.
    let central = b"PK\x01\x02";
    // The directory's entry of the sheet: its name stands 46 bytes after the start.
    let entry = whole.windows(mark.len()).rposition(|w| w == mark).unwrap() - 46;
    let mut lying = whole.clone();
    lying[entry + 24..entry + 28].copy_from_slice(&5u32.to_le_bytes());
    table.bad(
        "understated.xlsx",
        &lying,
        "it inflates to more than the directory says",
    );
    let encrypted = patched(whole.clone(), central, 8, &[1]);
    table.bad("encrypted-zip.xlsx", &encrypted, "is encrypted");
    let method = patched(whole.clone(), central, 10, &[12]);
    table.bad("method.xlsx", &method, "not read (method 12)");
    let overlap = patched(whole.clone(), central, 20, &0x00ff_ffffu32.to_le_bytes());
    table.bad(
        "overlap.xlsx",
        &overlap,
        "part `[Content_Types].xml`: it overlaps with another",
    );
    let many: Vec<(String, &str)> = (0..10_001).map(|i| (format!("xl/{i}"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, b)| (n.as_str(), *b)).collect();
    table.bad(
        "entries.xlsx",
        &archive(&many),
        "10001 is more than the limit `entries` of 10000",
    );
    let blanks = " ".repeat(100 << 20);
    let bomb = Xlsx {
        sheet: sheet(&blanks),
        ..Xlsx::default()
    };
    table.bad(
        "bomb.xlsx",
        &bomb.bytes(),
        "is more than the limit `ratio` of 300",
    );
    let mut small = ReadOptions::default();
    small.limits.inflated_bytes = 1000;
    table.with(
        "inflated.xlsx",
        &whole,
        &small,
        Err("the limit `inflated_bytes` of 1000"),
    );
    let mut tiny = ReadOptions::default();
    tiny.limits.file_bytes = 100;
    table.with(
        "file.xlsx",
        &whole,
        &tiny,
        Err("the limit `file_bytes` of 100"),
    );
    let prefixed = [b"MZ self-extracting".to_vec(), whole.clone()].concat();
    table.bad(
        "prefixed.exe",
        &prefixed,
        "is no text and no known kind of workbook",
    );
    table.good("commented.xlsx", &commented(whole), "A\n2: 1");
}

/// The archive with a comment at its end.
fn commented(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - 2;
    bytes[at..].copy_from_slice(&9u16.to_le_bytes());
    bytes.extend(b"a comment");
    bytes
}

fn mislabelled(table: &mut Table) {
    table.good("text.xls", b"a,b\n1,2\n", "a | b\n2: '1 | '2");
    let lock = [&b"\x06Nobody"[..], &[b' '; 158]].concat();
    table.bad(
        "~$book.xlsx",
        &lock,
        "only marks `book.xlsx` as open in a spreadsheet program",
    );
    table.bad(
        ".~lock.book.ods#",
        b",me,host,01.02.2026 10:00,file:///home/me;",
        "take `book.ods` itself, saved and closed",
    );
    table.good("~$book.csv", &b"a,b\n1,2\n".repeat(200), "a | b\n399 rows");
    table.good("book.csv", &cell("<c r=\"A2\"><v>1</v></c>"), "A\n2: 1");
    for (name, bytes, want) in [
        (
            "page.xls",
            &b"\n<!DOCTYPE html><table>"[..],
            "is an HTML page",
        ),
        (
            "xml.xls",
            b"\xef\xbb\xbf<?xml version=\"1.0\"?><Workbook/>",
            "is an XML document",
        ),
        ("doc.pdf", b"%PDF-1.7", "is a PDF document"),
        ("a.csv.gz", b"\x1f\x8b\x08\0", "is compressed with gzip"),
        (
            "old.xls",
            b"\x09\x04\x06\0\0\0\x10\0\0\0",
            "is a workbook of Excel 2, 3 or 4",
        ),
        ("nothing.xlsx", b"", "is empty"),
        ("noise.xlsx", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no text"),
    ] {
        table.bad(name, bytes, want);
    }
    table.bad(
        "word.xlsx",
        &archive(&[("word/document.xml", "")]),
        "is a Word document",
    );
    table.bad(
        "numbers.xlsx",
        &archive(&[("Index/Tables.iwa", "")]),
        "is a Numbers document",
    );
    table.bad(
        "photos.xlsx",
        &archive(&[("a.jpg", "")]),
        "without a workbook in it",
    );
}

fn old_excel(table: &mut Table) {
    let head = || biff_label(0, 0, "A");
    let plain = xls(&[
        head(),
        biff_label(0, 1, "B"),
        biff_label(1, 0, "007"),
        biff_number(2, 1, 1.5),
    ]);
    table.good("plain.xls", &plain, "A | B\n2: '007 | \n3:  | 1.5");
    table.bad(
        "lone-cell.xls",
        &xls(&[head(), biff_number(65_535, 255, 1.0)]),
        "16777216 is more than the limit `whole_cells` of 3000000",
    );
    // MERGEDCELLS: how many, then first and last row, first and last column of each.
    let merged = |ranges: &[u16]| {
        let words = [&[ranges.len() as u16 / 4], ranges].concat();
        biff(
            0x00e5,
            &words
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect::<Vec<_>>(),
        )
    };
    let two_rows = [
        biff_label(0, 0, "ID"),
        biff_label(0, 1, "Address"),
        biff_label(1, 1, "City"),
        biff_label(1, 2, "ZIP"),
        biff_number(2, 0, 1.0),
    ];
    let with = |merges: Vec<u8>| xls(&[&two_rows[..], &[merges]].concat());
    table.good(
        "two-rows.xls",
        &with(merged(&[0, 1, 0, 0, 0, 0, 1, 2])),
        "ID | Address City | Address ZIP\n3: 1 |  | ",
    );
    table.good(
        "one-row.xls",
        &with(merged(&[2, 2, 1, 2])),
        "ID | Address | Column C\n2:  | 'City | 'ZIP\n3: 1 |  | ",
    );
    let protected = xls_stream(&[head()], &biff(0x002f, &[1, 0, 1, 0, 1, 0]));
    table.bad(
        "password.xls",
        &compound(&[("Workbook", protected)]),
        "is encrypted",
    );
    table.bad(
        "encrypted.xlsx",
        &compound(&[("EncryptionInfo", vec![1]), ("EncryptedPackage", vec![2])]),
        "is encrypted",
    );
    table.bad(
        "word.xls",
        &compound(&[("WordDocument", vec![])]),
        "without a workbook in it",
    );
    table.bad("half.xls", &plain[..2000], "");
    table.bad(
        "header.xls",
        &plain[..600],
        "is a compound file with broken tables",
    );
    // Every byte of the stream's records, one after the other, is made wrong.
    let stream = plain.windows(4).position(|w| w == [9, 8, 16, 0]).unwrap();
    for at in stream..stream + 180 {
        let mut bytes = plain.clone();
        bytes[at] ^= 0xff;
        // Right or wrong: it must come back.
        let _ = outcome("flipped.xls", &bytes, &ReadOptions::default());
    }
}

fn open_document(table: &mut Table) {
    let data = |rows: &str| {
        ods(
            &format!("<table:table table:name=\"Data\">{rows}</table:table>"),
            "",
        )
    };
    let head = ods_row("", &ods_text("", "A"));
    let two_rows = |spanned: &str| {
        let covered = "<table:covered-table-cell/>";
        let rows = [
            ods_row(
                "",
                &[&ods_text("", "ID"), &ods_text(spanned, "Address"), covered].concat(),
            ),
            ods_row(
                "",
                &[
                    "<table:table-cell/>",
                    &ods_text("", "City"),
                    &ods_text("", "ZIP"),
                ]
                .concat(),
            ),
            ods_row("", &ods_text("", "1")),
        ];
        data(&rows.concat())
    };
    table.good(
        "two-rows.ods",
        &two_rows(" table:number-columns-spanned=\"2\" table:number-rows-spanned=\"1\""),
        "ID | Address City | Address ZIP\n3: '1 |  | ",
    );
    table.good(
        "one-row.ods",
        &two_rows(""),
        "ID | Address | Column C\n2:  | 'City | 'ZIP\n3: '1 |  | ",
    );
    let typed = [
        ods_row("", &ods_text("", "00501")),
        ods_row(
            "",
            "<table:table-cell office:value-type=\"float\" office:value=\"1.5\"/>",
        ),
        ods_row(
            "",
            "<table:table-cell office:value-type=\"boolean\" office:boolean-value=\"true\"/>",
        ),
        ods_row(
            "",
            "<table:table-cell office:value-type=\"date\" office:date-value=\"2024-03-01\"/>",
        ),
        ods_row(
            "",
            "<table:table-cell office:value-type=\"time\" office:time-value=\"PT36H15M\"/>",
        ),
        ods_row(
            "",
            "<table:table-cell office:value-type=\"time\" office:time-value=\"PT13H37M00S\"/>",
        ),
    ]
    .concat();
    table.good(
        "typed.ods",
        &data(&format!("{head}{typed}")),
        "A\n2: '00501\n3: 1.5\n4: true\n5: 2024-03-01\n6: PT36H15M\n7: 13:37:00",
    );
    let tail = ods_row(
        "table:number-rows-repeated=\"1048000\"",
        "<table:table-cell table:number-columns-repeated=\"16384\"/>",
    );
    let one = ods_row("table:number-rows-repeated=\"3\"", &ods_text("", "x"));
    table.good(
        "repeats.ods",
        &data(&format!("{head}{one}{tail}")),
        "A\n2: 'x\n3: 'x\n4: 'x",
    );
    for (name, row, cell, limit) in [
        ("cells.ods", 1_048_576u64, 16_384u64, "string_bytes"),
        ("rows.ods", 4_000_000, 1, "whole_cells"),
        ("overflow.ods", u64::MAX, u64::MAX, "string_bytes"),
    ] {
        let row = ods_row(
            &format!("table:number-rows-repeated=\"{row}\""),
            &ods_text(&format!("table:number-columns-repeated=\"{cell}\""), "x"),
        );
        let want = format!("the limit `{limit}`");
        table.bad(name, &data(&format!("{head}{row}")), &want);
    }
    let lone = ods_row("table:number-rows-repeated=\"1048000\"", "")
        + &ods_row(
            "",
            &format!(
                "<table:table-cell table:number-columns-repeated=\"16000\"/>{}",
                ods_text("", "x")
            ),
        );
    table.bad(
        "lone-cell.ods",
        &data(&format!("{head}{lone}")),
        "the limit `whole_cells`",
    );
    let blanks = ods_row("", &ods_text("", "<text:s text:c=\"4000000000\"/>"));
    table.bad(
        "blanks.ods",
        &data(&format!("{head}{blanks}")),
        "the limit `text_bytes` of 1048576",
    );
    let long = ods_row(
        "table:number-rows-repeated=\"1000\"",
        &ods_text("", &"x".repeat(1_000_000)),
    );
    table.bad(
        "texts.ods",
        &data(&format!("{head}{long}")),
        "the limit `string_bytes`",
    );
    table.bad(
        "encrypted.ods",
        &ods("", "<manifest:file-entry manifest:full-path=\"content.xml\"><manifest:encryption-data/></manifest:file-entry>"),
        "is encrypted",
    );
    table.bad(
        "broken.ods",
        &data("<table:table-row><table:table-cell>"),
        "",
    );
    // calamine waits for the end of what it began, and for ever where that never comes.
    for (name, inside) in [
        ("crossed.ods", "<table:table-cell></vable:table-row>"),
        ("other-end.ods", "<table:table-cel0></table:table-cell>"),
        ("end-only.ods", "</table:table-cell>"),
    ] {
        let row = format!("<table:table-row>{inside}</table:table-row>");
        table.bad(
            name,
            &data(&format!("{head}{row}")),
            "ends that was not begun",
        );
    }
    let deep = "<text:span>".repeat(100_000);
    table.bad(
        "deep.ods",
        &data(&format!("{head}{}", ods_row("", &ods_text("", &deep)))),
        "the limit `nesting`",
    );
}

fn binary(table: &mut Table) {
    let listed = [vec![0; 4], vec![1, 0, 0, 0], wide("rId1"), wide("Data")].concat();
    let book = [record(0x9c, &listed), record(0x90, &[]), record(0x9d, &[])].concat();
    let at = |column: u32| [column.to_le_bytes(), [0; 4]].concat();
    let text = |column, text| record(6, &[at(column), wide(text)].concat());
    let sheet = [
        record(0x81, &[]),
        record(0x94, &[0; 16]),
        record(0x91, &[]),
        record(0, &0u32.to_le_bytes()),
        text(0, "A"),
        text(1, "B"),
        record(0, &2u32.to_le_bytes()),
        text(0, "=00501"),
        record(5, &[at(1), 1.5f64.to_le_bytes().to_vec()].concat()),
        record(0, &3u32.to_le_bytes()),
        record(4, &[at(0), vec![1]].concat()),
        record(3, &[at(1), vec![0x2a]].concat()),
        record(0x92, &[]),
    ]
    .concat();
    table.good(
        "plain.xlsb",
        &xlsb(&book, &sheet),
        "A | B\n2:  | \n3: '=00501 | 1.5\n4: true | !#N/A",
    );
    table.bad("half.xlsb", &xlsb(&book, &sheet[..sheet.len() - 9]), "");
    table.bad("empty.xlsb", &xlsb(b"", b""), "");
    table.bad("noise.xlsb", &xlsb(&[0xff; 64], &[0xff; 64]), "");
    // Records that are shorter than their kind says, which calamine 0.38 reads beyond, and some
    // that say they are longer than any.
    for kind in 0..=255u8 {
        let short = [kind, 1, 1, 0];
        let long = [kind | 0x80, 1, 0xff, 0xff, 0xff, 0x7f];
        let records = [&short[..], &long];
        for record in &records[..if kind % 64 == 0 { 2 } else { 1 }] {
            // Right or wrong: it must come back.
            let bytes = xlsb(record, record);
            let _ = outcome("record.xlsb", &bytes, &ReadOptions::default());
        }
    }
    table.count += 1;
}

fn delimited(table: &mut Table) {
    let utf16 = |text: &str, mark: bool| -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    };
    for (name, bytes, want) in [
        (
            "marked.csv",
            "\u{feff}a,b\nä,2\n".as_bytes().to_vec(),
            "a | b\n2: 'ä | '2",
        ),
        (
            "utf16.csv",
            utf16("a\tb\r\nä\t2\r\n", true),
            "a | b\n2: 'ä | '2",
        ),
        (
            "utf16-unmarked.csv",
            utf16("a\tb\r\nä\t2\r\n", false),
            "a | b\n2: 'ä | '2",
        ),
        (
            "latin1.csv",
            b"a;b\n\xe4;\x80\n".to_vec(),
            "a | b\n2: 'ä | '€",
        ),
        (
            "sep.csv",
            b"sep=|\na|b\n1,5|2\n".to_vec(),
            "a | b\n3: '1,5 | '2",
        ),
        (
            "quoted.csv",
            b"a,b\r\n\"x,\"\"y\"\"\r\nz\",00501\r\n".to_vec(),
            "a | b\n2: 'x,\"y\"\r\nz | '00501",
        ),
        ("cr.csv", b"a,b\r1,2\r".to_vec(), "a | b\n2: '1 | '2"),
        (
            "ragged.csv",
            b"a,b\n1\n1,2,3\n".to_vec(),
            "a | b | Column C\n2: '1 |  | \n3: '1 | '2 | '3",
        ),
        (
            "blank-lines.csv",
            b"\n\na,b\n\n1,2\n\n".to_vec(),
            "a | b\n4:  | \n5: '1 | '2",
        ),
        ("no-end.csv", b"a,b\n1,".to_vec(), "a | b\n2: '1 | "),
        (
            "formulas.csv",
            b"a\n=1+1\n@x\n".to_vec(),
            "a\n2: '=1+1\n3: '@x",
        ),
    ] {
        table.good(name, &bytes, want);
    }
    let long = format!("a\n\"{}", "x\n".repeat(1 << 20));
    table.bad(
        "open-field.csv",
        long.as_bytes(),
        "the limit `text_bytes` of 1048576",
    );
    let wide = format!("a\n{}", "x,".repeat(20_000));
    table.bad("wide.csv", wide.as_bytes(), "the limit `columns` of 16384");
    let late = [b"a,b\n".repeat(40_000), b"\xe4,1\n".to_vec()].concat();
    table.good("late-latin1.csv", &late, "a | b\n40000 rows");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = rowmill_workbook::detect(Path::new("not-there.xlsx")).unwrap_err();
    assert!(error.to_string().starts_with("not-there.xlsx: "), "{error}");
}
