//! xlsx files: values, parts and headers in usual and unusual notation.

use rowmill_domain::SheetRef;
use rowmill_workbook::ReadOptions;

use crate::Table;
use crate::files::{Xlsx, below_header, cell, relation, sheet, workbook};

pub(crate) fn values(table: &mut Table) {
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
            "1234567890123456",
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
        // Written by openpyxl with lxml, and without.
        (
            "formula-empty",
            "<c r=\"A2\"><f>1+1</f><v></v></c>",
            "!a formula without a saved result",
        ),
        (
            "formula-empty-tag",
            "<c r=\"A2\"><f>1+1</f><v/></c>",
            "!a formula without a saved result",
        ),
        (
            "formula-empty-shared",
            "<c r=\"A2\"><f t=\"shared\" si=\"0\"/><v></v></c>",
            "!a formula without a saved result",
        ),
        ("entities", "<c r=\"A2\"><v>&#49;&#x32;</v></c>", "12"),
        ("entities-untyped", "<c r=\"A2\"><v>a&amp;b</v></c>", "'a&b"),
        (
            "entities-error",
            "<c r=\"A2\" t=\"e\"><v>&#35;N/A</v></c>",
            "!#N/A",
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
            (1, "2024-03-01T00:00:00"),
            (2, "2024-03-01T00:00:00"),
        ]
        .iter()
        .zip(2..)
        .map(|((s, v), r)| {
            let kind = if v.contains('T') { "d" } else { "n" };
            format!("<row r=\"{r}\"><c r=\"A{r}\" s=\"{s}\" t=\"{kind}\"><v>{v}</v></c></row>")
        })
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
    };
    let dates_with = dates;
    let dates = |properties: &str| dates_with(properties).bytes();
    table.good(
        "dates.xlsx",
        &dates(""),
        "A\n2: 2024-03-01\n3: 2024-03-01T06:00:00\n4: 18:00:00\n5: PT36H\n6: -1\n\
         7: 2024-03-01\n8: 2024-03-01T00:00:00",
    );
    let days_1904 = "A\n2: 2028-03-02\n3: 2028-03-02T06:00:00\n4: 18:00:00\n5: PT36H\n6: 1903-12-31\n\
         7: 2024-03-01\n8: 2024-03-01T00:00:00";
    table.good("dates-1904.xlsx", &dates("date1904=\"1\""), days_1904);
    // Newer versions of Excel add another `workbookPr` to the extensions.
    let mut extended = dates_with("date1904=\"true\"");
    extended.workbook = extended.workbook.replace(
        "</workbook>",
        "<extLst><ext uri=\"u\"><x15:workbookPr xmlns:x15=\"x\" chartTrackingRefBase=\"1\"/></ext>\
         </extLst></workbook>",
    );
    table.good("dates-1904-extended.xlsx", &extended.bytes(), days_1904);
    // The formats of conditional formatting use the IDs of built-in formats with other codes.
    let mut styles = dates_with("date1904=\"1\"");
    styles.styles = styles.styles.map(|s| {
        s + "<dxfs><dxf><numFmt numFmtId=\"22\" formatCode=\"0.00\"/></dxf>\
             <dxf><numFmt numFmtId=\"164\" formatCode=\"0\"/></dxf></dxfs>\
             <extLst><ext><numFmt numFmtId=\"165\" formatCode=\"0\"/></ext></extLst>"
    });
    table.good("dxf-formats.xlsx", &styles.bytes(), days_1904);
}

pub(crate) fn structure(table: &mut Table) {
    let header = "<row><c t=\"str\"><v>A</v></c><c t=\"str\"><v>B</v></c></row>";
    let unnumbered = Xlsx {
        sheet: sheet(&format!("{header}<row/><row><c/><c><v>1</v></c></row>")),
        ..Xlsx::default()
    };
    table.good(
        "unnumbered.xlsx",
        &unnumbered.bytes(),
        "A | B\n2: blank\n3:  | 1",
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
    let mut few = ReadOptions::default();
    few.limits.cells = 1_000_000;
    table.with(
        "lone-cell.xlsx",
        &below_header(corner),
        &few,
        Err("1064958 exceeds the limit `cells` of 1000000"),
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
        "sheet `Data` has no header: the sheet is empty",
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
        Err("no sheet `Tax` (found: `No`, `Täx`); set `sheet` under [input] in the pipeline"),
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
        "no visible sheet (found: `No`)",
    );
    table.bad(
        "no-sheets.xlsx",
        &named("").bytes(),
        "no visible sheet (found: none)",
    );
    table.bad(
        "no-relation.xlsx",
        &named("<sheet name=\"S\" r:id=\"rId7\"/>").bytes(),
        "sheet `S`: the workbook does not say which part contains it",
    );
    let chart = Xlsx {
        relations: relation("rId1", "chartsheet", "chartsheets/sheet1.xml"),
        ..Xlsx::default()
    };
    table.bad(
        "chart.xlsx",
        &chart.bytes(),
        "it is a chartsheet, which has no rows",
    );
    let chart_first = Xlsx {
        workbook: workbook(
            "",
            "<sheet name=\"Chart\" sheetId=\"1\" r:id=\"rId7\"/>\
             <sheet name=\"Data\" sheetId=\"2\" r:id=\"rId1\"/>",
        ),
        relations: [
            relation("rId7", "chartsheet", "chartsheets/sheet1.xml"),
            relation("rId1", "worksheet", "worksheets/sheet1.xml"),
        ]
        .concat(),
        sheet: sheet("<row><c t=\"str\"><v>A</v></c></row><row><c><v>1</v></c></row>"),
        ..Xlsx::default()
    };
    table.good("chart-first.xlsx", &chart_first.bytes(), "A\n2: 1");
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
        Ok("A\n2: blank\n3: 2\n1 hidden row was skipped."),
    );
}

pub(crate) fn headers(table: &mut Table) {
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
    let years = Xlsx {
        sheet: sheet(
            "<row r=\"1\"><c r=\"A1\" t=\"str\"><v>ID</v></c><c r=\"B1\" t=\"str\"><v>Sales</v></c>\
             </row><row r=\"2\"><c r=\"B2\"><v>2023</v></c><c r=\"C2\"><v>2024</v></c></row>\
             <row r=\"3\"><c r=\"A3\"><v>1</v></c><c r=\"C3\"><v>20</v></c></row>",
        )
        .replace(
            "</sheetData>",
            "</sheetData><mergeCells><mergeCell ref=\"B1:C1\"/></mergeCells>",
        ),
        ..Xlsx::default()
    };
    table.good(
        "years.xlsx",
        &years.bytes(),
        "ID | Sales 2023 | Sales 2024\n3: 1 |  | 20",
    );
    table.good(
        "title.csv",
        b"Customers of 2024\n\na,b,c\n1,2,3\n",
        "a | b | c\n4: '1 | '2 | '3",
    );
    table.good(
        "repeated.csv",
        b"a,,a,b,c\n1,2,3,x,4\n5,6,7,y,8\n",
        "a | Column B | a (2) | b | c\n2: '1 | '2 | '3 | 'x | '4\n3: '5 | '6 | '7 | 'y | '8",
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
    // Reading the rest of the file as one text would lose its rows silently.
    table.bad(
        "open-quote.csv",
        b"a,b\n\"1,2\n3,4",
        "record 2: the closing quote of a field is missing",
    );
}
