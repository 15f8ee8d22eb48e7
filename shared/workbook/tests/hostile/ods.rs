//! ods files.

use rowmill_domain::SheetRef;
use rowmill_workbook::ReadOptions;

use crate::Table;
use crate::files::{archive, ods, ods_content, ods_package, ods_row, ods_text};

pub(crate) fn every(table: &mut Table) {
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
    let formula = "table:formula=\"of:=A1\"";
    let failed = "table:formula=\"of:=NA()\" office:string-value=\"\" calcext:value-type=\"error\"";
    let twice = ods_row(
        "table:number-rows-repeated=\"2\"",
        &ods_text(failed, "#N/A"),
    );
    let errors = [
        twice,
        ods_row("", &ods_text(formula, "Err:502")),
        // A typed text, or a text from a formula, is not an error.
        ods_row("", &ods_text("", "#N/A")),
        ods_row("", &ods_text(formula, "#N/A or so")),
        ods_row("", &ods_text(failed, "#DIV/0!")),
    ]
    .concat();
    let other = "<table:table table:name=\"Other\" table:display=\"false\">";
    let rows = ods_row("", &ods_text(failed, "#N/A")).repeat(9);
    table.good(
        "errors.ods",
        &ods(
            &format!(
                "<table:table table:name=\"Data\">{head}{errors}</table:table>{other}{rows}\
                 </table:table>"
            ),
            "",
        ),
        "A\n2: !#N/A\n3: !#N/A\n4: !Err:502\n5: '#N/A\n6: '#N/A or so\n7: !#DIV/0!",
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
        ("cells.ods", 1_048_575u64, 16_384u64, "ratio"),
        ("cells-100.ods", 1_048_575, 100, "ratio"),
        ("rows.ods", 4_000_000, 1, "rows"),
        ("columns.ods", 1, 16_385, "columns"),
        ("overflow.ods", u64::MAX, u64::MAX, "columns"),
        ("overflow-rows.ods", u64::MAX, 2, "rows"),
    ] {
        let row = ods_row(
            &format!("table:number-rows-repeated=\"{row}\""),
            &ods_text(&format!("table:number-columns-repeated=\"{cell}\""), "x"),
        );
        let want = format!("the limit `{limit}`");
        table.bad(name, &data(&format!("{head}{row}")), &want);
    }
    // Blank rows and cells cost nothing, however many there are.
    let lone =
        ods_row("table:number-rows-repeated=\"1048574\"", "") + &ods_row("", &ods_text("", "x"));
    table.good(
        "lone-row.ods",
        &data(&format!("{head}{lone}")),
        "A\n1048575 rows",
    );
    let tail = "<table:table-cell table:number-columns-repeated=\"16380\"/>";
    let blank = "<table:table-cell table:number-columns-repeated=\"3\"/>";
    let lone = ods_row("", &format!("{blank}{}{tail}", ods_text("", "x")));
    table.good(
        "lone-cell.ods",
        &data(&format!(
            "{}{lone}",
            ods_row("", &ods_text("", "A").repeat(4))
        )),
        "A | A (2) | A (3) | A (4)\n2:  |  |  | 'x",
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
        "the limit `ratio`",
    );
    // Encrypted content looks random.
    let random: Vec<u8> = (0..4000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    table.bad(
        "encrypted.ods",
        &ods_package(
            &random,
            "<manifest:file-entry manifest:full-path=\"content.xml\"><manifest:encryption-data/>\
             </manifest:file-entry>",
        ),
        "is encrypted",
    );
    table.bad(
        "encrypted-whole.ods",
        &archive(&[("mimetype", &b"x"[..]), ("encrypted-package", &random)]),
        "is encrypted",
    );
    table.bad(
        "broken.ods",
        &data("<table:table-row><table:table-cell>"),
        "",
    );
    for (name, inside) in [
        ("crossed.ods", "<table:table-cell></vable:table-row>"),
        ("end-only.ods", "</table:table-cell>"),
        (
            "crossed-text.ods",
            "<table:table-cell><text:p>a</table:table-cell>",
        ),
    ] {
        let row = format!("<table:table-row>{inside}</table:table-row>");
        table.bad(
            name,
            &data(&format!("{head}{row}")),
            "an end tag does not match its start tag",
        );
    }
    for (name, xml) in [
        ("cut-in-table.ods", String::new()),
        ("cut-in-row.ods", "<table:table-row>".to_owned()),
        (
            "cut-in-cell.ods",
            "<table:table-row><table:table-cell>".to_owned(),
        ),
        (
            "cut-in-text.ods",
            "<table:table-row><table:table-cell><text:p>a".to_owned(),
        ),
    ] {
        let content = format!(
            "<o:document-content><o:body><o:spreadsheet><t:table t:name=\"Data\">{head}{xml}"
        );
        table.bad(
            name,
            &ods_package(content.as_bytes(), ""),
            "part `content.xml`: ",
        );
    }
    let deep = "<text:span>".repeat(100_000);
    table.bad(
        "deep.ods",
        &data(&format!("{head}{}", ods_row("", &ods_text("", &deep)))),
        "the limit `nesting`",
    );
}

/// The same values in unusual notations.
pub(crate) fn notations(table: &mut Table) {
    let head = ods_row("", &ods_text("", "A"));
    let cell = |attributes: &str, inside: &str| {
        ods_row(
            "",
            &format!("<table:table-cell {attributes}>{inside}</table:table-cell>"),
        )
    };
    let data = |rows: &str| format!("<table:table table:name=\"Data\">{head}{rows}</table:table>");
    let good = |table: &mut Table, name: &str, tables: &str, want: &str| {
        table.good(name, &ods(tables, ""), want);
    };
    let pretty = data(&ods_row("", &ods_text("", "x")))
        .replace("><", ">\n    <")
        .replace(">x<", ">\n      x\n    <");
    good(table, "pretty.ods", &pretty, "A\n2: 'x");
    let text = "<text:p>a<text:tab/>b<text:s text:c=\"2\"/><text:span>c<text:line-break/></text:span>\
                </text:p><text:p/><text:p>d &amp; e</text:p>";
    let note =
        "<office:annotation><dc:date>2024</dc:date><text:p>note</text:p></office:annotation>";
    let frame = "<draw:frame><draw:text-box><text:p>x</text:p></draw:text-box></draw:frame>";
    good(
        table,
        "texts-of-cells.ods",
        &data(
            &[
                cell("office:value-type=\"string\"", text),
                cell(
                    "office:value-type=\"string\"",
                    &format!("{note}<text:p>a</text:p>{frame}"),
                ),
                cell("", "<text:p>untyped</text:p>"),
                cell(
                    "office:value-type=\"float\" office:value=\"1\"",
                    &format!("{note}<text:p>1</text:p>"),
                ),
                cell("office:value-type=\"string\"", note),
                cell(
                    "office:value-type=\"percentage\" office:value=\"0.25\"",
                    "<text:p>25 %</text:p>",
                ),
                cell(
                    "office:value-type=\"currency\" office:value=\"-3.5\"",
                    "<text:p>-3,50 €</text:p>",
                ),
                cell(
                    "office:value-type=\"float\" office:value=\"0\" table:formula=\"of:=1/0\"",
                    "<text:p>#DIV/0!</text:p>",
                ),
            ]
            .concat(),
        ),
        "A\n2: 'a\tb  c\n\n\nd & e\n3: 'a\n4: 'untyped\n5: 1\n6: blank\n7: 0.25\n8: -3.5\n9: !#DIV/0!",
    );
    // Sub-tables, the results of links to other programs, and recorded changes are not rows.
    let other = "<table:dde-links><table:dde-link><table:table><table:table-row/></table:table>\
                 </table:dde-link></table:dde-links>";
    let shapes = format!(
        "<table:shapes><draw:frame><table:table><table:table-row>{}</table:table-row></table:table>\
         </draw:frame></table:shapes>",
        ods_text("", "x")
    );
    let changes = format!(
        "<table:tracked-changes>{}</table:tracked-changes>",
        ods_text("", "x")
    );
    let grouped = format!(
        "{changes}<table:table table:name=\"Data\">{shapes}<table:table-column/>\
         <table:table-header-rows>{head}</table:table-header-rows><table:table-row-group>{}\
         <table:table-row-group>{}</table:table-row-group></table:table-row-group></table:table>{other}",
        ods_row("", &ods_text("", "1")),
        ods_row("", &ods_text("", "2")),
    );
    good(table, "groups.ods", &grouped, "A\n2: '1\n3: '2");
    // The content of a covered cell is still there.
    let covered = ods_row(
        "",
        &format!(
            "{}{}",
            ods_text("table:number-columns-spanned=\"2\"", "1"),
            ods_text("", "2").replace("table-cell", "covered-table-cell")
        ),
    );
    let two = ods_row("", &ods_text("table:number-columns-repeated=\"2\"", "A"));
    let covered = format!("<table:table table:name=\"Data\">{two}{covered}</table:table>");
    good(table, "covered.ods", &covered, "A | A (2)\n2: '1 | '2");

    let number = |style: &str, value: &str| {
        cell(
            &format!("office:value-type=\"float\" office:value=\"{value}\"{style}"),
            "",
        )
    };
    let styles = "<number:date-style style:name=\"N1\"><number:year/></number:date-style>\
                  <number:time-style style:name=\"N2\" number:truncate-on-overflow=\"false\"/>\
                  <style:style style:name=\"c1\" style:family=\"table-cell\" style:data-style-name=\"N1\"/>\
                  <style:style style:name=\"c2\" style:family=\"table-cell\" style:parent-style-name=\"c3\"/>\
                  <style:style style:name=\"c3\" style:family=\"table-cell\" style:data-style-name=\"N2\"/>\
                  <style:style style:name=\"h\" style:family=\"table\"><style:table-properties \
                  table:display=\"false\"/></style:style>";
    let settings = "<table:calculation-settings><table:null-date table:value-type=\"date\" \
                    table:date-value=\"1904-01-01\"/></table:calculation-settings>";
    let column = "<table:table-column table:default-cell-style-name=\"c1\"/>";
    let rows = [
        number("", "43890"),
        number(" table:style-name=\"c2\"", "1.5"),
        number(" table:style-name=\"c4\"", "7"),
        cell(
            "office:value-type=\"date\" office:date-value=\"2024-03-01\"",
            "",
        ),
    ];
    let dated = format!(
        "{settings}<table:table table:name=\"Data\">{column}{head}{}</table:table>",
        rows.concat()
    );
    table.good(
        "null-date.ods",
        &ods_package(ods_content(styles, &dated).as_bytes(), ""),
        "A\n2: 2024-03-01\n3: PT36H\n4: 7\n5: 2024-03-01",
    );

    let named = |name: &str, style: &str, value: &str| {
        format!(
            "<table:table table:name=\"{name}\"{style}>{}{}</table:table>",
            ods_row("", &ods_text("", name)),
            ods_row("table:visibility=\"filter\"", &ods_text("", value)),
        )
    };
    let tables = [
        named("Hidden", " table:style-name=\"h\"", "1"),
        named("First", "", "2"),
        named("second", "", "3"),
        named("Second", "", "4"),
    ];
    let book = ods_package(ods_content(styles, &tables.concat()).as_bytes(), "");
    table.good("visible.ods", &book, "First\n2: '2");
    for (sheet, want) in [
        (SheetRef::Name("Second".to_owned()), Ok("Second\n2: '4")),
        (SheetRef::Name("SECOND".to_owned()), Ok("second\n2: '3")),
        (SheetRef::Name("hidden".to_owned()), Ok("Hidden\n2: '1")),
        (SheetRef::Index(3), Ok("second\n2: '3")),
        (
            SheetRef::Index(5),
            Err("no sheet number 5 (found: `Hidden`, `First`, `second`, `Second`)"),
        ),
        (SheetRef::Name("Third".to_owned()), Err("no sheet `Third`")),
    ] {
        let options = ReadOptions {
            sheet: Some(sheet),
            ..ReadOptions::default()
        };
        table.with("sheets.ods", &book, &options, want);
    }
    let options = ReadOptions {
        skip_hidden_rows: true,
        ..ReadOptions::default()
    };
    let want = Ok("First\n1 hidden row was skipped.");
    table.with("hidden-rows.ods", &book, &options, want);
    let only = ods_package(ods_content(styles, &tables[0]).as_bytes(), "");
    table.bad(
        "all-hidden.ods",
        &only,
        "no visible sheet (found: `Hidden`)",
    );
}

/// Documents that are not packaged as usual, and documents of other kinds.
pub(crate) fn packages(table: &mut Table) {
    let rows = ods_row("", &ods_text("", "A")) + &ods_row("", &ods_text("", "x"));
    let content = ods_content(
        "",
        &format!("<table:table table:name=\"Data\">{rows}</table:table>"),
    );
    let want = "A\n2: 'x";
    table.good(
        "no-mimetype.ods",
        &archive(&[("content.xml", &content)]),
        want,
    );
    let template = b"application/vnd.oasis.opendocument.spreadsheet-template\n";
    table.good(
        "template.ods",
        &archive(&[
            ("content.xml", content.as_bytes()),
            ("mimetype", &template[..]),
        ]),
        want,
    );
    let flat = content.replace("document-content", "document").replace(
        "<office:body>",
        "<office:settings><x/></office:settings><office:body>",
    );
    table.good("flat.fods", flat.as_bytes(), want);
    table.good("flat.xml", format!("\u{feff}{flat}").as_bytes(), want);
    table.bad(
        "cut.fods",
        &flat.as_bytes()[..flat.len() - 60],
        "document: a tag is not terminated",
    );
    for (kind, want) in [
        (
            "text",
            "is an OpenDocument text document, not a spreadsheet",
        ),
        (
            "presentation",
            "is an OpenDocument presentation, not a spreadsheet",
        ),
        ("other", "is an OpenDocument document, not a spreadsheet"),
    ] {
        let content = content.replace("office:spreadsheet", &format!("office:{kind}"));
        table.bad("kind.odt", &ods_package(content.as_bytes(), ""), want);
        let flat = content.replace("document-content", "document");
        table.bad("kind.fodt", flat.as_bytes(), want);
    }
    table.bad(
        "empty.ods",
        &ods_package(b"", ""),
        "the element `spreadsheet` is missing",
    );
    // Old programs declare a document type.
    let old = "<!DOCTYPE manifest:manifest PUBLIC \"x\" \"Manifest.dtd\"><manifest:manifest>\
               <manifest:encryption-data/></manifest:manifest>";
    let parts = [("content.xml", "random"), ("META-INF/manifest.xml", old)];
    table.bad("encrypted-old.ods", &archive(&parts), "is encrypted");
}
