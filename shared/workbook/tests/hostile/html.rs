//! Tables of HTML pages, as programs save them as `.xls`: values, layout, encodings, and hostile pages.

use rowmill_domain::SheetRef;
use rowmill_workbook::ReadOptions;

use crate::Table;

/// A page with a table that has the header `A` and these rows.
fn rows(rows: &str) -> Vec<u8> {
    format!("<html><body><table><tr><th>A</th></tr>{rows}</table></body></html>").into_bytes()
}

fn cell(cell: &str) -> Vec<u8> {
    rows(&format!("<tr>{cell}</tr>"))
}

pub(crate) fn values(table: &mut Table) {
    for (name, html, want) in [
        ("text", "<td>00501</td>", "'00501"),
        ("comma", "<td align=right>1,5</td>", "'1,5"),
        (
            "entities",
            "<td>a &amp; b&#32;&euro;&nbsp;c</td>",
            "'a & b €\u{a0}c",
        ),
        ("spaces", "<td>\n  a\n\t b  </td>", "'a b"),
        (
            "lines",
            "<td>a<br>b<p>c</p><div>d</div>e</td>",
            "'a\nb\nc\nd\ne",
        ),
        (
            "inline",
            "<td><b>a</b><i>b</i> <a href='x'>c</a></td>",
            "'ab c",
        ),
        (
            "script",
            "<td>a<script>b<td>c</script><style>.x{}</style>d</td>",
            "'ad",
        ),
        ("comment", "<td>a<!-- <td>b</td> -->c</td>", "'ac"),
        ("unclosed", "<td>a<td>b", "'a | 'b"),
        ("upper", "<TD X:NUM>1.5</TD>", "1.5"),
        ("number", "<td x:num=\"0.1234\">12%</td>", "0.1234"),
        ("number-shown", "<td x:num>-1.5</td>", "-1.5"),
        ("no-number", "<td x:num>1,5</td>", "'1,5"),
        ("forced", "<td x:str>1.5</td>", "'1.5"),
        (
            "full-text",
            "<td x:str=\"00501 &amp; more\">###</td>",
            "'00501 & more",
        ),
        ("spaces", "<td x:str=\" a  b \">a b</td>", "' a  b "),
        ("empty-text", "<td x:str=\"\">a</td>", "'a"),
        ("true", "<td x:bool=\"TRUE\">WAHR</td>", "true"),
        ("error", "<td x:err=\"#N/A\">#NV</td>", "!#N/A"),
        (
            "date",
            "<td x:num=\"45352\" style=\"mso-number-format:'Short Date'\">1.3.24</td>",
            "2024-03-01",
        ),
        (
            "date-text",
            "<td style=\"mso-number-format:'Short Date'\">1.3.24</td>",
            "'1.3.24",
        ),
        (
            "hours",
            "<td x:num=\"1.5\" style='mso-number-format:\"[h]\\:mm\"'>36:00</td>",
            "PT36H",
        ),
    ] {
        let columns = if want.contains(" | ") {
            "A | Column B"
        } else {
            "A"
        };
        table.good(
            &format!("{name}.xls"),
            &cell(html),
            &format!("{columns}\n2: {want}"),
        );
    }
    table.good(
        "empty.xls",
        &rows("<tr><td>&nbsp;</td></tr><tr><td>1</td></tr>"),
        "A\n2: blank\n3: '1",
    );
    // As Excel 2003 writes it.
    let excel = "<html xmlns:x=\"urn:schemas-microsoft-com:office:excel\"><head>\
        <meta http-equiv=Content-Type content=\"text/html; charset=windows-1250\"><style>\n<!--td {padding:0;}\n\
        .xl24\n\t{mso-style-parent:style0;\n\tmso-number-format:yyyy\\\\-mm\\\\-dd;}\n--></style>\
        <!--[if gte mso 9]><xml><x:ExcelWorkbook><x:Date1904/></x:ExcelWorkbook></xml><![endif]--></head><body>\
        <table x:str border=0><col width=64><tr height=17><td>Jm\u{e9}no</td><td>Datum</td></tr>\
        <tr><td>\u{8a}</td><td class=xl24 align=right x:num=\"43890\">2024-03-01</td></tr>\
        <![if supportMisalignedColumns]><tr height=0 style='display:none'><td width=64></td></tr><![endif]>\
        </table></body></html>";
    let excel: Vec<u8> = excel.chars().map(|c| c as u8).collect();
    table.good("excel.xls", &excel, "Jméno | Datum\n2: 'Š | 2024-03-01");
}

pub(crate) fn layout(table: &mut Table) {
    table.good(
        "colspan.xls",
        &rows("<tr><td colspan=2>a</td><td>b</td></tr><tr><td>c<td>d<td>e</tr>"),
        "A | Column B | Column C\n2: 'a |  | 'b\n3: 'c | 'd | 'e",
    );
    table.good(
        "rowspan.xls",
        &rows("<tr><td rowspan=2>a</td><td>b</td></tr><tr><td>c</td></tr><tr><td>d</td></tr>"),
        "A | Column B\n2: 'a | 'b\n3:  | 'c\n4: 'd | ",
    );
    // A cell does not cover rows of the next group.
    table.good(
        "groups.xls",
        b"<table><thead><tr><th rowspan=9>A</th><th>B</th></tr></thead><tbody><tr><td>1<td>2</tbody></table>",
        "A | B\n2: '1 | '2",
    );
    table.good(
        "two-rows.xls",
        b"<table><tr><th rowspan=2>ID<th colspan=2>Address</tr><tr><th>City<th>ZIP</tr><tr><td>1<td>a<td>2</table>",
        "ID | Address City | Address ZIP\n3: '1 | 'a | '2",
    );
    table.good(
        "no-table.xls",
        b"<tr><td>A</td></tr><tr><td>1</td></tr>",
        "A\n2: '1",
    );
    table.good(
        "no-rows.xls",
        b"<table><td>A<td>B<tr><td>1<td>2</table>",
        "A | B\n2: '1 | '2",
    );
    let meta = b"<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\n\
        <table border=1><tr><th>Name</th><th>Tax</th></tr>\n<tr><td>J\xc3\xb6</td><td>1,5</td></tr></table>";
    table.good("meta.xls", meta, "Name | Tax\n2: 'Jö | '1,5");
    table.good(
        "warning.xls",
        b"<br />\n<b>Warning</b>: x\n<table><tr><td>A</td></tr><tr><td>1</td></tr></table>",
        "A\n2: '1",
    );
    table.good(
        "xhtml.xml",
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><!DOCTYPE html><html><table><tr><td>A</td></tr>\
         <tr><td>\u{e4}</td></tr></table></html>"
            .chars()
            .map(|c| c as u8)
            .collect::<Vec<u8>>()
            .as_slice(),
        "A\n2: 'ä",
    );
    let wide: Vec<u8> = "\u{feff}<table><tr><td>A</td></tr><tr><td>\u{e4}</td></tr></table>"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    table.good("utf16.xls", &wide, "A\n2: 'ä");
    table.good(
        "latin.xls",
        b"<table><tr><td>A</td></tr><tr><td>\xe4</td></tr></table>",
        "A\n2: 'ä\nThe page does not say its encoding and was read as Windows-1252. If characters look wrong, \
         save it as xlsx and try again.",
    );
    table.good(
        "damaged.xls",
        b"<meta charset=utf-8><table><tr><td>A</td></tr><tr><td>\xe4</td></tr></table>",
        "A\n2: '\u{fffd}\nThe page is not valid UTF-8; the first invalid character is in row 2. Invalid \
         characters were replaced with `\u{fffd}`.",
    );
    let hidden = rows(
        "<tr style='DISPLAY : none'><td>1</td></tr><tr hidden><td>2</td></tr><tr><td>3</td></tr>",
    );
    let skip = ReadOptions {
        skip_hidden_rows: true,
        ..ReadOptions::default()
    };
    table.good("hidden.xls", &hidden, "A\n2: '1\n3: '2\n4: '3");
    table.with(
        "skipped.xls",
        &hidden,
        &skip,
        Ok("A\n2 to 3: blank\n4: '3\n2 hidden rows were skipped."),
    );
}

pub(crate) fn tables(table: &mut Table) {
    let data = "<table><tr><td>A</td></tr><tr><td>1</td></tr><tr><td>2</td></tr></table>";
    let title = "<table><tr><td>Report</td></tr><tr><td>2024</td></tr></table>";
    let page = format!("<html>{title}<table></table>{data}</html>").into_bytes();
    let note = "The page has 2 tables; `Table 2`, the one with the most rows, was read. To read another one, \
                set `sheet` under [input] in the pipeline.";
    let read = format!("A\n2: '1\n3: '2\n{note}");
    table.good("two.xls", &page, &read);
    for sheet in [SheetRef::Index(1), SheetRef::Name("table 1".to_owned())] {
        let wanted = ReadOptions {
            sheet: Some(sheet),
            ..ReadOptions::default()
        };
        table.with("first.xls", &page, &wanted, Ok("Report\n2: '2024"));
    }
    let wanted = ReadOptions {
        sheet: Some(SheetRef::Index(3)),
        ..ReadOptions::default()
    };
    table.with(
        "third.xls",
        &page,
        &wanted,
        Err("(found: `Table 1`, `Table 2`)"),
    );
    // A table of layout has more rows, but contains the other.
    let layout = format!(
        "<table><tr><td>Report</td></tr><tr><td>a</td></tr><tr><td>b</td></tr><tr><td>c {data} d</td></tr>\
         <tr><td>e</td></tr></table>"
    );
    table.good("nested.xls", layout.as_bytes(), &read);
    let outer = ReadOptions {
        sheet: Some(SheetRef::Index(1)),
        ..ReadOptions::default()
    };
    table.with(
        "outer.xls",
        layout.as_bytes(),
        &outer,
        Ok("Report\n2: 'a\n3: 'b\n4: 'c d\n5: 'e"),
    );
    // Outside a cell, a table ends the one before.
    table.good(
        "unclosed.xls",
        format!("<table><tr>{data}").as_bytes(),
        "A\n2: '1\n3: '2",
    );
}

pub(crate) fn hostile(table: &mut Table) {
    for page in [
        "<html><body>Not found</body></html>",
        "<table></table>",
        "<html><frameset></frameset></html>",
    ] {
        table.bad(
            "none.xls",
            page.as_bytes(),
            "is an HTML page without a table that has values; save it as",
        );
    }
    let long = "x".repeat(2 << 20);
    table.bad(
        "long.xls",
        &cell(&format!("<td>{long}")),
        "the limit `text_bytes` of 1048576",
    );
    table.good(
        "attributes.xls",
        &cell(&format!("<td {long} style='{long}'>1")),
        "A\n2: '1",
    );
    table.good(
        "many-attributes.xls",
        &cell(&format!("<td {}>1", "a=1 ".repeat(200_000))),
        "A\n2: '1",
    );
    table.bad(
        "deep.xls",
        "<table><tr><td>".repeat(1000).as_bytes(),
        "the limit `nesting` of 256",
    );
    let wide = "<td colspan=99999>1".repeat(20);
    table.bad(
        "wide.xls",
        &cell(&wide),
        "17001 exceeds the limit `columns` of 16384",
    );
    let covered = "<tr><td rowspan=99999 colspan=1000>".repeat(40);
    table.bad(
        "covered.xls",
        &rows(&format!("{covered}<tr><td>1")),
        "16385 exceeds the limit `columns` of 16384",
    );
    let mut few = ReadOptions::default();
    few.limits.rows = 100;
    table.with(
        "rows.xls",
        &rows(&"<tr>".repeat(200)),
        &few,
        Err("101 exceeds the limit `rows` of 100"),
    );
    table.good(
        "cut.xls",
        b"<table><tr><td>A</td></tr><tr><td>1",
        "A\n2: '1",
    );
    let many = "<table><tr><td>A<tr><td>1</table>".repeat(20_000);
    table.good(
        "tables.xls",
        many.as_bytes(),
        "A\n2: '1\nThe page has 10000 tables; `Table 1`, the one with the most rows, was read. To read another \
         one, set `sheet` under [input] in the pipeline.",
    );
    let css = format!(
        "<style>{}</style>",
        ".a{mso-number-format:'0'} ".repeat(100_000)
    );
    table.good(
        "css.xls",
        &[css.as_bytes(), &cell("<td>1")].concat(),
        "A\n2: '1",
    );
}
