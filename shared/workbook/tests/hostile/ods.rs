//! ods files.

use crate::Table;
use crate::files::{archive, ods, ods_package, ods_row, ods_text};

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
    // calamine loops forever if an end tag is missing.
    for (name, inside) in [
        ("crossed.ods", "<table:table-cell></vable:table-row>"),
        ("other-end.ods", "<table:table-cel0></table:table-cell>"),
        ("end-only.ods", "</table:table-cell>"),
    ] {
        let row = format!("<table:table-row>{inside}</table:table-row>");
        table.bad(
            name,
            &data(&format!("{head}{row}")),
            "an end tag does not match its start tag",
        );
    }
    let deep = "<text:span>".repeat(100_000);
    table.bad(
        "deep.ods",
        &data(&format!("{head}{}", ods_row("", &ods_text("", &deep)))),
        "the limit `nesting`",
    );
}
