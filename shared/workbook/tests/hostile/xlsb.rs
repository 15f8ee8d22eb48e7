//! xlsb files.

use rowmill_workbook::ReadOptions;

use crate::files::xlsb::{
    Xlsb, cell, record, rich_text, rk_integer, row, sheet, short_cell, strings, styles, wide,
    workbook,
};
use crate::{Table, outcome};

fn book(cells: &[Vec<u8>]) -> Xlsb {
    Xlsb {
        sheet: sheet(cells),
        strings: Some(strings(&[("A", false), ("żółć 🙂", true)])),
        styles: Some(styles(
            &[(56, "\"h\" [h]:mm"), (164, "yyyy-mm-dd"), (14, "0.00")],
            &[0, 56, 164, 14, 22],
        )),
        ..Xlsb::default()
    }
}

/// A workbook with these cells below the header `A`.
fn below(cells: &[Vec<u8>]) -> Xlsb {
    let head = [row(0, false), cell(7, 0, 0, &[0; 4])];
    book(&[&head, cells].concat())
}

pub(crate) fn every(table: &mut Table) {
    values(table);
    structure(table);
    damaged(table);
}

fn values(table: &mut Table) {
    let number = |n: f64| n.to_le_bytes();
    let formula = |value: &[u8]| [value, &[0, 0, 2, 0, 0, 0, 0x1c, 0x2a, 0, 0, 0, 0]].concat();
    let cells = [
        row(0, false),
        short_cell(17, 0, &wide("A")),
        short_cell(18, 0, &1u32.to_le_bytes()),
        cell(6, 3, 0, &wide("D")),
        row(2, false),
        cell(6, 0, 0, &wide("=00501")),
        cell(5, 1, 0, &number(1.5)),
        short_cell(13, 0, &rk_integer(12345, true)),
        short_cell(15, 0, &[1]),
        row(3, false),
        cell(4, 0, 0, &[0]),
        cell(3, 1, 0, &[0x2a]),
        short_cell(12, 0, &[]),
        short_cell(14, 0, &[0x17]),
        row(4, false),
        cell(62, 0, 0, &rich_text("rich", true)),
        cell(7, 1, 0, &1u32.to_le_bytes()),
        cell(1, 2, 0, &[]),
        short_cell(16, 0, &number(f64::NAN)),
        // Formulas.
        row(5, false),
        cell(8, 0, 0, &formula(&wide("ab"))),
        cell(9, 1, 0, &formula(&number(-2.25))),
        cell(10, 2, 0, &formula(&[1])),
        cell(11, 3, 0, &formula(&[0x07])),
        row(6, false),
        cell(8, 0, 0, &formula(&wide(""))),
        cell(11, 1, 0, &formula(&[0x55])),
        short_cell(16, 4, &number(45_352.75)),
        // Formats. Those of conditional formats and extensions are not those of cells.
        row(7, false),
        cell(5, 0, 1, &number(1.5)),
        cell(2, 1, 2, &rk_integer(45_352, false)),
        cell(9, 2, 3, &formula(&number(45_352.0))),
        cell(5, 3, 9, &number(45_352.0)),
    ];
    table.good(
        "values.xlsb",
        &book(&cells).bytes(),
        "A | żółć 🙂 | Column C | D\n2: blank\n3: '=00501 | 1.5 | 123.45 | true\n\
         4: false | !#N/A |  | !#REF!\n5: 'rich | 'żółć 🙂 |  | !#NUM!\n6: 'ab | -2.25 | true | !#DIV/0!\n\
         7:  | !error 85 | 2024-03-01T18:00:00 | \n8: PT36H | 2024-03-01 | 45352 | 45352",
    );
    let moved = Xlsb {
        workbook: workbook(true, &[("Data", 0)]),
        ..below(&[row(1, false), cell(5, 0, 2, &number(43_890.0))])
    };
    table.good("1904.xlsb", &moved.bytes(), "A\n2: 2024-03-01");
    // A text that is longer than the buffer, and the longest one allowed.
    let long = "x".repeat(1 << 20);
    let texts = [
        row(1, false),
        cell(6, 0, 0, &wide(&long)),
        row(2, false),
        cell(5, 0, 0, &number(7.0)),
    ];
    table.good(
        "long.xlsb",
        &below(&texts).bytes(),
        "A\n2: 1048577 characters\n3: 7",
    );
    let longer = [row(1, false), cell(6, 0, 0, &wide(&format!("{long}x")))];
    table.bad(
        "longer.xlsb",
        &below(&longer).bytes(),
        "1048577 exceeds the limit `text_bytes` of 1048576",
    );
    let umlauts = [row(1, false), cell(6, 0, 0, &wide(&"ü".repeat(600_000)))];
    table.bad(
        "umlauts.xlsb",
        &below(&umlauts).bytes(),
        "1200000 exceeds the limit `text_bytes`",
    );
}

fn structure(table: &mut Table) {
    let text = |column, text| cell(6, column, 0, &wide(text));
    // The first visible sheet, or one by name.
    let two = Xlsb {
        workbook: workbook(false, &[("Notes", 1), ("Secret", 2), ("Data", 0)]),
        ..below(&[row(1, false), text(0, "x")])
    };
    table.good("hidden-sheet.xlsb", &two.bytes(), "A\n2: 'x");
    let options = ReadOptions {
        sheet: Some(rowmill_domain::SheetRef::Name("Other".to_owned())),
        ..ReadOptions::default()
    };
    table.with(
        "no-sheet.xlsb",
        &two.bytes(),
        &options,
        Err("no sheet `Other` (found: `Notes`, `Secret`, `Data`)"),
    );
    let rows = below(&[row(1, true), text(0, "hidden"), row(2, false), text(0, "x")]);
    table.good("kept.xlsb", &rows.bytes(), "A\n2: 'hidden\n3: 'x");
    let options = ReadOptions {
        skip_hidden_rows: true,
        ..ReadOptions::default()
    };
    table.with(
        "skipped.xlsb",
        &rows.bytes(),
        &options,
        Ok("A\n2: blank\n3: 'x\n1 hidden row was skipped."),
    );
    let merged = [
        row(0, false),
        text(0, "ID"),
        text(1, "Address"),
        row(1, false),
        text(1, "City"),
        text(2, "ZIP"),
        row(2, false),
        cell(2, 0, 0, &rk_integer(1, false)),
    ];
    let range = [0u32, 0, 1, 2].map(u32::to_le_bytes).concat();
    let range = [
        record(177, &[1, 0, 0, 0]),
        record(176, &range),
        record(178, &[]),
    ]
    .concat();
    let merged = Xlsb {
        sheet: [sheet(&merged), range].concat(),
        ..Xlsb::default()
    };
    table.good(
        "merged.xlsb",
        &merged.bytes(),
        "ID | Address City | Address ZIP\n3: 1 |  | ",
    );
    // Records that no reader knows, extensions and blank rows are skipped.
    let unknown = [
        row(1, false),
        record(4000, &[1; 300]),
        record(35, &[0; 4]),
        text(0, "extension"),
        record(36, &[]),
        text(0, "x"),
        row(5, false),
        row(1_048_575, false),
        text(0, "last"),
    ];
    table.good("unknown.xlsb", &below(&unknown).bytes(), "A\n1048575 rows");
}

fn damaged(table: &mut Table) {
    let text = |column, text| cell(6, column, 0, &wide(text));
    let good = below(&[row(1, false), text(0, "x"), row(2, false), text(0, "y")]);
    let cut = |bytes: &[u8], less: usize| bytes[..bytes.len() - less].to_vec();
    for (name, less, want) in [
        // The end of the sheet is not needed, that of the cells is.
        ("without-end.xlsb", 6, "it ends inside the rows"),
        ("half-a-record.xlsb", 4, "it ends inside a record"),
    ] {
        let sheet = cut(&good.sheet, less);
        table.bad(
            name,
            &Xlsb {
                sheet,
                ..good_copy(&good)
            }
            .bytes(),
            want,
        );
    }
    for (name, cells, want) in [
        (
            "string.xlsb",
            [row(1, false), cell(7, 2, 0, &9u32.to_le_bytes())],
            "sheet `Data`, cell C2: its string is not in the shared string table",
        ),
        (
            "length.xlsb",
            [row(1, false), cell(6, 1, 0, &[9, 0, 0, 0, b'a', 0])],
            "sheet `Data`, cell B2: its record is too short",
        ),
        (
            "huge-length.xlsb",
            [
                row(1, false),
                cell(6, 1, 0, &[0xfe, 0xff, 0xff, 0xff, b'a', 0]),
            ],
            "4294967294 exceeds the limit `text_bytes`",
        ),
        (
            "number.xlsb",
            [row(1, false), cell(5, 1, 0, &[1, 2, 3])],
            "sheet `Data`, cell B2: its record is too short",
        ),
        (
            "column.xlsb",
            [row(1, false), text(16_384, "x")],
            "16385 exceeds the limit `columns` of 16384",
        ),
        (
            "column-max.xlsb",
            [
                row(1, false),
                [text(u32::MAX, "x"), short_cell(17, 0, &wide("y"))].concat(),
            ],
            "exceeds the limit `columns`",
        ),
        (
            "row.xlsb",
            [row(u32::MAX, false), text(0, "x")],
            "exceeds the limit `rows`",
        ),
        (
            "short-row.xlsb",
            [record(0, &[1, 0]), text(0, "x")],
            "its record is too short",
        ),
    ] {
        table.bad(name, &below(&cells).bytes(), want);
    }
    let many = Xlsb {
        strings: Some(strings(&vec![("0123456789", false); 1000])),
        ..below(&[])
    };
    let mut options = ReadOptions::default();
    options.limits.string_bytes = 9_999;
    table.with(
        "strings.xlsb",
        &many.bytes(),
        &options,
        Err("10008 exceeds the limit `string_bytes` of 9999"),
    );
    let empty = |workbook: &[u8], sheet: &[u8]| {
        Xlsb {
            workbook: workbook.to_vec(),
            sheet: sheet.to_vec(),
            ..Xlsb::default()
        }
        .bytes()
    };
    table.bad(
        "empty.xlsb",
        &empty(b"", b""),
        "no visible sheet (found: none)",
    );
    let listed = workbook(false, &[("Data", 0)]);
    table.bad(
        "no-cells.xlsb",
        &empty(&listed, b""),
        "it contains no table of cells",
    );
    table.bad(
        "noise.xlsb",
        &empty(&[0xff; 64], &[0xff; 64]),
        "it ends inside a record",
    );
    // Records that are too short for their kind, and some that declare an impossible length.
    for kind in 0..=255u8 {
        let short = [kind, 1, 1, 0];
        let long = [kind | 0x80, 1, 0xff, 0xff, 0xff, 0x7f];
        for record in &[&short[..], &long][..if kind % 64 == 0 { 2 } else { 1 }] {
            let cells = sheet(&[row(0, false), text(0, "A"), record.to_vec()]);
            for bytes in [empty(record, record), empty(&listed, &cells)] {
                // The result may be anything, but reading must end.
                let _ = outcome("record.xlsb", &bytes, &ReadOptions::default());
            }
        }
    }
    table.count += 1;
}

fn good_copy(book: &Xlsb) -> Xlsb {
    Xlsb {
        workbook: book.workbook.clone(),
        sheet: Vec::new(),
        strings: book.strings.clone(),
        styles: book.styles.clone(),
    }
}
