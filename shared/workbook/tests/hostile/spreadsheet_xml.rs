//! XML Spreadsheet 2003: values, positions, formats, and damaged files.

use rowmill_domain::SheetRef;
use rowmill_workbook::ReadOptions;

use crate::Table;

const NAMESPACES: &str = "xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\" \
                          xmlns:ss=\"urn:schemas-microsoft-com:office:spreadsheet\"";
const STYLES: &str = "<Style ss:ID=\"Default\"/>\
    <Style ss:ID=\"d\"><NumberFormat ss:Format=\"Short Date\"/></Style>\
    <Style ss:ID=\"t\"><NumberFormat ss:Format=\"h:mm\"/></Style>\
    <Style ss:ID=\"h\"><NumberFormat ss:Format=\"[h]:mm\"/></Style>\
    <Style ss:ID=\"bold\" ss:Parent=\"d\"/>";

fn book(properties: &str, sheets: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<?mso-application progid=\"Excel.Sheet\"?>\n<Workbook {NAMESPACES}>\
         {properties}<Styles>{STYLES}</Styles>{sheets}</Workbook>"
    )
}

/// A document whose sheet has the header `A` and these rows.
fn rows(rows: &str) -> Vec<u8> {
    let sheet = format!(
        "<Worksheet ss:Name=\"S\"><Table><Row><Cell><Data ss:Type=\"String\">A</Data></Cell></Row>\
         {rows}</Table></Worksheet>"
    );
    book("", &sheet).into_bytes()
}

fn cell(attributes: &str, kind: &str, text: &str) -> String {
    format!("<Cell {attributes}><Data ss:Type=\"{kind}\">{text}</Data></Cell>")
}

fn row(cells: &str) -> Vec<u8> {
    rows(&format!("<Row>{cells}</Row>"))
}

pub(crate) fn every(table: &mut Table) {
    for (name, xml, want) in [
        (
            "text",
            cell("", "String", " 00501 &amp; &#10;"),
            "' 00501 & \n",
        ),
        ("number", cell("", "Number", "-1.5E-3"), "-0.0015"),
        ("true", cell("", "Boolean", "1"), "true"),
        ("error", cell("", "Error", "#DIV/0!"), "!#DIV/0!"),
        (
            "moment",
            cell("", "DateTime", "2024-03-01T06:30:00.000"),
            "2024-03-01T06:30:00",
        ),
        (
            "date",
            cell("ss:StyleID=\"d\"", "DateTime", "2024-03-01T00:00:00.000"),
            "2024-03-01",
        ),
        (
            "inherited",
            cell("ss:StyleID=\"bold\"", "DateTime", "2024-03-01T00:00:00.000"),
            "2024-03-01",
        ),
        (
            "serial",
            cell("ss:StyleID=\"d\"", "Number", "45352"),
            "2024-03-01",
        ),
        (
            "time",
            cell("ss:StyleID=\"t\"", "DateTime", "1899-12-31T06:00:00.000"),
            "06:00:00",
        ),
        (
            "hours",
            cell("ss:StyleID=\"h\"", "DateTime", "1900-01-01T12:00:00.000"),
            "PT36H",
        ),
        ("bad-number", cell("", "Number", "n/a"), "'n/a"),
        ("untyped", "<Cell><Data>7</Data></Cell>".to_owned(), "'7"),
        ("formula", cell("ss:Formula=\"=RC[1]\"", "Number", "4"), "4"),
        (
            "no-result",
            "<Cell ss:Formula=\"=RC[1]\"/>".to_owned(),
            "!a formula without a saved result",
        ),
        (
            "rich",
            "<Cell><ss:Data ss:Type=\"String\" xmlns=\"http://www.w3.org/TR/REC-html40\"><B>ri</B>\
             <Font html:Color=\"#FF0000\">ch</Font></ss:Data></Cell>"
                .to_owned(),
            "'rich",
        ),
        (
            "comment",
            "<Cell><Data ss:Type=\"Number\">5</Data><Comment><ss:Data>x</ss:Data></Comment>\
             <NamedCell ss:Name=\"n\"/></Cell>"
                .to_owned(),
            "5",
        ),
        (
            "cdata",
            cell("", "String", "<![CDATA[<b>&amp;]]>"),
            "'<b>&amp;",
        ),
    ] {
        table.good(&format!("{name}.xls"), &row(&xml), &format!("A\n2: {want}"));
    }
    let number = |n: u32| cell("", "Number", &n.to_string());
    table.good(
        "positions.xml",
        &rows(&format!(
            "<Row ss:Index=\"4\">{}<Cell ss:Index=\"3\" ss:MergeAcross=\"1\"><Data ss:Type=\"Number\">2</Data>\
             </Cell>{}</Row><Row ss:Span=\"2\"/><Row>{}</Row>",
            number(1), number(3), number(4)
        )),
        "A | Column B | Column C | Column D | Column E\n2 to 3: blank\n4: 1 |  | 2 |  | 3\n5 to 7: blank\n\
         8: 4 |  |  |  | ",
    );
    // The styles of a row and of a column.
    let columns = |columns: &str, row: &str| {
        let sheet = format!(
            "<Worksheet ss:Name=\"S\"><Table>{columns}<Row><Cell><Data ss:Type=\"String\">A</Data></Cell>\
             </Row><Row {row}>{}</Row></Table></Worksheet>",
            cell("", "Number", "45352")
        );
        book("", &sheet).into_bytes()
    };
    let want = "A\n2: 2024-03-01";
    table.good(
        "column-style.xls",
        &columns("<Column ss:StyleID=\"d\" ss:Span=\"3\"/>", ""),
        want,
    );
    table.good(
        "row-style.xls",
        &columns("<Column/>", "ss:StyleID=\"d\""),
        want,
    );
    let sheet = "<Worksheet ss:Name=\"S\"><Table><Row><Cell><Data ss:Type=\"String\">A</Data></Cell></Row>\
                 <Row><Cell ss:StyleID=\"t\"><Data ss:Type=\"DateTime\">1904-01-01T06:00:00.000</Data></Cell>\
                 </Row><Row><Cell ss:StyleID=\"d\"><Data ss:Type=\"Number\">43890</Data></Cell></Row></Table></Worksheet>";
    let date1904 = book("<ExcelWorkbook><Date1904/></ExcelWorkbook>", sheet);
    table.good(
        "1904.xls",
        date1904.as_bytes(),
        "A\n2: 06:00:00\n3: 2024-03-01",
    );
    // Sheets, of which the first is hidden; in UTF-16.
    let named = |name: &str, options: &str| {
        format!(
            "<Worksheet ss:Name=\"{name}\"><Table><Row>{}</Row><Row>{}</Row></Table>\
             <WorksheetOptions>{options}</WorksheetOptions></Worksheet>",
            cell("", "String", name),
            number(1)
        )
    };
    let sheets = named("Ä", "<Visible>SheetHidden</Visible>")
        + &named("B", "<Visible>SheetVisible</Visible>");
    let sheets = book("", &sheets);
    table.good("hidden.xls", sheets.as_bytes(), "B\n2: 1");
    let wanted = ReadOptions {
        sheet: Some(SheetRef::Name("ä".to_owned())),
        ..ReadOptions::default()
    };
    table.with("chosen.xls", sheets.as_bytes(), &wanted, Ok("Ä\n2: 1"));
    let wide: Vec<u8> = format!("\u{feff}{sheets}")
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    table.with("utf16.xls", &wide, &wanted, Ok("Ä\n2: 1"));
    let hidden = rows(&format!(
        "<Row ss:Hidden=\"1\">{}</Row><Row>{}</Row>",
        number(1),
        number(2)
    ));
    let skip = ReadOptions {
        skip_hidden_rows: true,
        ..ReadOptions::default()
    };
    table.good("hidden-row.xls", &hidden, "A\n2: 1\n3: 2");
    table.with(
        "skipped-row.xls",
        &hidden,
        &skip,
        Ok("A\n2: blank\n3: 2\n1 hidden row was skipped."),
    );
    // A header of two rows.
    let text = |attributes: &str, text: &str| cell(attributes, "String", text);
    let header = format!(
        "<Worksheet ss:Name=\"S\"><Table><Row>{}{}</Row><Row>{}{}</Row><Row>{}</Row></Table></Worksheet>",
        text("ss:MergeDown=\"1\"", "ID"),
        text("ss:MergeAcross=\"1\"", "Address"),
        text("ss:Index=\"2\"", "City"),
        text("", "ZIP"),
        number(1)
    );
    table.good(
        "two-rows.xls",
        book("", &header).as_bytes(),
        "ID | Address City | Address ZIP\n3: 1 |  | ",
    );
    damaged(table);
}

fn damaged(table: &mut Table) {
    let whole = row(&cell("", "Number", "1"));
    table.bad(
        "half.xls",
        &whole[..whole.len() - 40],
        "document: a tag is not terminated",
    );
    table.bad("none.xls", book("", "").as_bytes(), "no visible sheet");
    for (name, xml, want) in [
        (
            "bad-row",
            "<Row ss:Index=\"0\"/>".to_owned(),
            "cell A2: its index is invalid",
        ),
        (
            "bad-cell",
            format!("<Row>{}</Row>", cell("ss:Index=\"x\"", "Number", "1")),
            "cell A2: its index is invalid",
        ),
        (
            "bad-bool",
            format!("<Row>{}</Row>", cell("", "Boolean", "yes")),
            "cell A2: its value is neither true nor false",
        ),
        (
            "backwards",
            format!(
                "<Row>{0}</Row><Row ss:Index=\"2\">{0}</Row>",
                cell("", "Number", "1")
            ),
            "row 2: it follows row 2",
        ),
        (
            "deep",
            format!("<Row>{}</Row>", "<a>".repeat(1000)),
            "the limit `nesting` of 256",
        ),
        (
            "wide",
            format!("<Row>{}</Row>", cell("ss:Index=\"16385\"", "Number", "1")),
            "16385 exceeds the limit `columns` of 16384",
        ),
        (
            "tall",
            format!(
                "<Row ss:Index=\"1048577\">{}</Row>",
                cell("", "Number", "1")
            ),
            "1048577 exceeds the limit `rows` of 1048576",
        ),
        (
            "long",
            format!("<Row>{}</Row>", cell("", "String", &"x".repeat(2 << 20))),
            "the limit `text_bytes` of 1048576",
        ),
    ] {
        table.bad(&format!("{name}.xls"), &rows(&xml), want);
    }
    let mut few = ReadOptions::default();
    few.limits.string_bytes = 1000;
    let names = "<Worksheet ss:Name=\"a\"/>".repeat(100);
    table.with(
        "names.xls",
        book("", &names).as_bytes(),
        &few,
        Err("the limit `string_bytes` of 1000"),
    );
}
