//! Mutated files never make a reader panic or hang.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used, clippy::panic)]
// Not all builders are used here.
#![allow(dead_code)]

mod files;

use std::ops::ControlFlow;

use files::xlsb::Xlsb;
use files::{Xlsx, ods_content, ods_package, ods_row, ods_text, sheet};
use proptest::prelude::*;
use rowmill_workbook::{Cell, Header, OutsideCell, ReadError, ReadOptions, RowSink, read_rows};

struct Ignore;

impl RowSink for Ignore {
    fn header(&mut self, _: &Header) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn row(&mut self, _: u32, _: &mut [Cell]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn must_end(name: &str, bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut options = ReadOptions::default();
    options.limits.seconds = 20;
    options.limits.cells = 100_000;
    match read_rows(&path, &options, &mut Ignore) {
        Err(ReadError::Panicked { detail, .. }) => panic!("{detail}"),
        Err(
            error @ ReadError::Limit {
                limit: "seconds", ..
            },
        ) => panic!("{error}"),
        _ => {}
    }
}

/// A change at a position, given as a fraction of the length.
#[derive(Clone, Debug)]
enum Change {
    Put(f64, Vec<u8>),
    Cut(f64, usize),
    Double(f64, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let pieces = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::sample::select(vec![
            "<",
            ">",
            "\"",
            "/>",
            "<c ",
            "<v>",
            "</c>",
            "</row>",
            "<row r=\"9\">",
            "<is><t>",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?",
            "&#x41;",
            "&",
            "_x0041_",
            "r=\"A1\"",
            "t=\"s\"",
            "t=\"inlineStr\"",
            "hidden=\"1\"",
            "-",
            "1e308",
            "99999999999",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    let change = prop_oneof![
        (0.0..1.0, pieces).prop_map(|(at, piece)| Change::Put(at, piece)),
        (0.0..1.0, 1..40usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (0.0..1.0, 1..80usize).prop_map(|(at, length)| Change::Double(at, length)),
    ];
    proptest::collection::vec(change, 1..6)
}

fn changed(good: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for change in changes {
        let place = |at: f64| (at * bytes.len() as f64) as usize;
        match change {
            Change::Put(at, piece) => {
                let at = place(*at);
                bytes.splice(at..at, piece.iter().copied());
            }
            Change::Cut(at, length) => {
                let at = place(*at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Change::Double(at, length) => {
                let at = place(*at);
                let piece = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

const ROWS: &str = "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"str\"><v>B</v></c></row>\
    <row r=\"2\" hidden=\"1\"><c r=\"A2\" s=\"1\"><v>45352.5</v></c><c r=\"B2\" t=\"b\"><v>1</v></c></row>\
    <row r=\"3\"><c r=\"A3\" t=\"inlineStr\"><is><t xml:space=\"preserve\"> a </t></is></c>\
    <c r=\"B3\"><f>A1+1</f><v>-2.5E-3</v></c></row><row r=\"7\"><c r=\"A7\" t=\"e\"><v>#N/A</v></c></row>";
const STRINGS: &str =
    "<si><t>A</t></si><si><r><rPr><b/></rPr><t>b_x0041_</t></r><rPh><t>x</t></rPh></si>";
const STYLES: &str = "<numFmts count=\"1\"><numFmt numFmtId=\"164\" formatCode=\"[h]:mm &quot;x&quot;\"/>\
    </numFmts><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"22\"/><xf numFmtId=\"164\"/></cellXfs>";

const PAGE: &str = "<html><meta charset=\"windows-1250\"><style>.a{mso-number-format:'Short Date'}</style>\
    <!--[if mso]><x:Date1904/><![endif]--><table><thead><tr><th rowspan=2>A<th colspan=2>B</tr></thead>\
    <tr style='display:none'><td class=a x:num=\"45352\">1</td><td x:bool>TRUE<td x:err=#N/A>x</tr>\
    <tr><td>a&amp;b<br>&nbsp;c<p>d<table><td>1<tr><td>2</table></td></tr></table></html>";
const SPREADSHEET_XML: &str = "<?xml version=\"1.0\"?><Workbook xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\">\
    <Styles><Style ss:ID=\"d\"><NumberFormat ss:Format=\"Short Date\"/></Style></Styles><Worksheet ss:Name=\"A\">\
    <Table><Column ss:StyleID=\"d\" ss:Span=\"2\"/><Row ss:Index=\"2\"><Cell ss:Index=\"2\" ss:MergeAcross=\"1\">\
    <Data ss:Type=\"String\">a</Data></Cell></Row><Row ss:Hidden=\"1\"><Cell ss:Formula=\"=1\"><Data \
    ss:Type=\"DateTime\">2024-03-01T00:00:00.000</Data></Cell></Row></Table></Worksheet></Workbook>";

fn good() -> Xlsx {
    Xlsx {
        sheet: sheet(ROWS),
        strings: Some(STRINGS.to_owned()),
        styles: Some(STYLES.to_owned()),
        ..Xlsx::default()
    }
}

fn xlsb_book() -> Xlsb {
    use files::xlsb::{cell, rich_text, row, sheet, short_cell, strings, styles, wide};
    let cells = [
        row(0, false),
        cell(7, 0, 0, &[0; 4]),
        short_cell(17, 0, &wide("B")),
        row(1, true),
        cell(5, 0, 1, &45_352.5f64.to_le_bytes()),
        short_cell(15, 0, &[1]),
        row(2, false),
        cell(62, 0, 0, &rich_text("a", true)),
        cell(9, 1, 0, &[0; 20]),
    ];
    Xlsb {
        sheet: sheet(&cells),
        strings: Some(strings(&[("A", true)])),
        styles: Some(styles(&[(164, "[h]:mm")], &[22, 164])),
        ..Xlsb::default()
    }
}

/// The `content.xml` of an ods document.
fn ods() -> String {
    let styles = "<number:date-style style:name=\"N1\"/><style:style style:name=\"c1\" \
                  style:family=\"table-cell\" style:data-style-name=\"N1\"/>";
    let repeat = "table:number-columns-repeated=\"2\"";
    let rows = [
        ods_row("", &ods_text(repeat, "A")),
        ods_row(
            "table:number-rows-repeated=\"3\"",
            "<table:table-cell table:style-name=\"c1\" office:value-type=\"float\" office:value=\"45352.5\"/>\
             <table:covered-table-cell/>",
        ),
        ods_row(
            "table:visibility=\"filter\"",
            &ods_text("", "a<text:s text:c=\"2\"/>b<text:tab/>"),
        ),
        ods_row("", &ods_text("table:formula=\"of:=1/0\"", "#DIV/0!")),
    ];
    let table = format!(
        "<table:table table:name=\"Data\">{}</table:table>",
        rows.concat()
    );
    ods_content(styles, &table)
}

fn xls_stream(version: files::xls::Biff) -> Vec<u8> {
    use files::xls::{Biff, biff, cell, format, formula, number, result, shared, styles, text8};
    let globals = [
        biff(0x0042, &[0xe4, 4]),
        format(version, 60, "[h]:mm"),
        styles(version, &[60, 14]),
        biff(0x00fc, &shared(&["A", "żółć"])),
    ];
    let (head, text) = match version {
        Biff::Five => (cell(0x0204, 0, 0, 0, &[1, 0, b'A']), vec![1, 0, 0xe4]),
        Biff::Eight => (cell(0x00fd, 0, 0, 0, &[0; 4]), text8("ż")),
    };
    let cells = [
        head,
        number(2, 0, 1, 45_352.5),
        cell(0x027e, 1, 0, 0, &[2, 0, 0, 0]),
        formula(3, 0, 0, result(0, 0)),
        biff(0x0207, &text),
        cell(0x00d6, 4, 0, 0, &text),
    ];
    files::xls::stream(version, &globals.concat(), &[("Data", 0, 0, &cells)])
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_sheets_never_crash_the_reader(changes in changes()) {
        let sheet = text(changed(sheet(ROWS).as_bytes(), &changes));
        must_end("a.xlsx", &Xlsx { sheet, ..good() }.bytes());
    }

    #[test]
    fn mutated_strings_styles_and_workbooks_never_crash_the_reader(changes in changes()) {
        let part = |good: &str| text(changed(good.as_bytes(), &changes));
        let book = good();
        must_end("a.xlsx", &Xlsx {
            strings: Some(part(STRINGS)),
            styles: Some(part(STYLES)),
            workbook: part(&book.workbook),
            relations: part(&book.relations),
            ..book
        }.bytes());
    }

    #[test]
    fn mutated_archives_never_crash_the_reader(changes in changes()) {
        must_end("a.xlsx", &changed(&good().bytes(), &changes));
    }

    #[test]
    fn mutated_xlsb_parts_never_crash_the_reader(changes in changes()) {
        let book = xlsb_book();
        for part in 0..4 {
            let mut book = Xlsb { ..xlsb_book() };
            let part = match part {
                0 => &mut book.workbook,
                1 => &mut book.sheet,
                2 => book.strings.as_mut().unwrap(),
                _ => book.styles.as_mut().unwrap(),
            };
            *part = changed(part, &changes);
            must_end("a.xlsb", &book.bytes());
        }
        must_end("a.xlsb", &changed(&book.bytes(), &changes));
    }

    #[test]
    fn mutated_ods_documents_never_crash_the_reader(changes in changes()) {
        let content = changed(ods().as_bytes(), &changes);
        must_end("a.ods", &ods_package(&content, ""));
        must_end("a.fods", &content);
    }

    #[test]
    fn mutated_pages_never_crash_the_reader(changes in changes()) {
        must_end("a.xls", &changed(PAGE.as_bytes(), &changes));
    }

    #[test]
    fn mutated_xml_spreadsheets_never_crash_the_reader(changes in changes()) {
        must_end("a.xls", &changed(SPREADSHEET_XML.as_bytes(), &changes));
    }

    #[test]
    fn mutated_xls_streams_never_crash_the_reader(changes in changes()) {
        use files::xls::{Biff, compound};
        for version in [Biff::Five, Biff::Eight] {
            let stream = changed(&xls_stream(version), &changes);
            must_end("a.xls", &compound(&[("Workbook", stream)]));
        }
        let file = compound(&[("Workbook", xls_stream(Biff::Eight))]);
        must_end("a.xls", &changed(&file, &changes));
    }

    #[test]
    fn mutated_delimited_text_never_crashes_the_reader(changes in changes()) {
        let csv = "a;b;c\r\n\"1;\"\"2\"\"\";ä;\r\n\r\n3;4\r5;6;7\n";
        must_end("a.csv", &changed(csv.as_bytes(), &changes));
    }
}
