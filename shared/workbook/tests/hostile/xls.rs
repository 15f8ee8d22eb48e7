//! xls files.

use rowmill_domain::SheetRef;
use rowmill_workbook::ReadOptions;

use crate::files::xls::{
    Biff, biff, book, cell, code_page, compound, format, formula, label, label5, number, result,
    shared, split, stream, styles, text8, words, xls,
};
use crate::{Table, outcome};

pub(crate) fn every(table: &mut Table) {
    values(table);
    texts(table);
    formats(table);
    structure(table);
    damaged(table);
}

/// A workbook of BIFF8 with these globals, and these cells below the header `A`.
fn below(globals: &[Vec<u8>], cells: &[Vec<u8>]) -> Vec<u8> {
    book(Biff::Eight, globals, &[&[label(0, 0, "A")], cells].concat())
}

fn values(table: &mut Table) {
    let rk = |raw: u32| raw.to_le_bytes();
    let many = |row, column, raws: &[u32], last: u16| {
        let cells = raws
            .iter()
            .flat_map(|raw| [&[0, 0][..], &rk(*raw)].concat());
        let body = [words(&[row, column]), cells.collect(), words(&[last])].concat();
        biff(0x00bd, &body)
    };
    let text = |text: &str| biff(0x0207, &text8(text));
    // 200 characters in one byte each, and 100 in two.
    let start = [&words(&[300])[..], &[0], &[0xfc; 200]].concat();
    let rest = [&[1][..], &words(&[0xfc; 100])].concat();
    let cells = [
        label(0, 0, "A"),
        label(0, 1, "B"),
        label(0, 2, "C"),
        label(1, 0, "=007"),
        number(1, 1, 0, 1.5),
        cell(0x027e, 1, 2, 0, &rk(12345 << 2 | 3)),
        // BLANK and MULBLANK.
        biff(0x0201, &words(&[2, 0, 0])),
        biff(0x00be, &words(&[2, 0, 0, 0, 0, 2])),
        many(3, 0, &[0x3ff0_0000, (-7i32 as u32) << 2 | 2, 1 << 2 | 2], 2),
        cell(0x0205, 4, 0, 0, &[1, 0]),
        cell(0x0205, 4, 1, 0, &[0, 0]),
        cell(0x0205, 4, 2, 0, &[0x2a, 1]),
        number(5, 0, 0, f64::NAN),
        // RSTRING.
        cell(
            0x00d6,
            5,
            1,
            0,
            &[&text8("żółć")[..], &[1, 0, 0, 0, 1, 0]].concat(),
        ),
        // Results of formulas. Text follows, perhaps behind an array, a shared formula or a table.
        formula(6, 0, 0, (-2.25f64).to_le_bytes()),
        formula(6, 1, 0, result(1, 1)),
        formula(6, 2, 0, result(2, 7)),
        formula(7, 0, 0, result(0, 0)),
        text("ab"),
        formula(7, 1, 0, result(0, 0)),
        biff(0x0221, &[0; 14]),
        text("🙂"),
        formula(7, 2, 0, result(3, 0)),
        formula(8, 0, 0, result(0, 0)),
        biff(0x04bc, &[0; 10]),
        split(0x0207, &[&start, &rest]),
        formula(8, 1, 0, result(0, 0)),
        number(8, 2, 0, 7.0),
    ];
    table.good(
        "values.xls",
        &xls(&cells),
        "A | B | C\n2: '=007 | 1.5 | 123.45\n3: blank\n4: 1 | -7 | 1\n5: true | false | !#N/A\n\
         6: !#NUM! | 'żółć | \n7: -2.25 | true | !#DIV/0!\n8: 'ab | '🙂 | \n\
         9: 301 characters | !a formula without a saved result | 7",
    );
    // The rows of cells may be in any order, and of repeated cells the last counts.
    let cells = [
        number(3, 0, 0, 3.0),
        label(0, 0, "A"),
        number(1, 0, 0, 1.0),
        formula(2, 0, 0, result(0, 0)),
        text("two"),
        number(1, 1, 0, 1.5),
        label(0, 1, "B"),
        number(1, 0, 0, 11.0),
    ];
    table.good(
        "order.xls",
        &xls(&cells),
        "A | B\n2: 11 | 1.5\n3: 'two | \n4: 3 | \nA cell of row 2 is in the file twice; the last value was used.",
    );
    // A cell far away costs no memory.
    table.good(
        "lone-cell.xls",
        &below(&[], &[number(65_535, 0, 0, 1.0)]),
        "A\n65535 rows",
    );
    // xlwt saves an empty text as the result of a formula. Its author record has no length.
    let author = |head: &[u8]| {
        let mut body = head.to_vec();
        body.resize(112, b' ');
        biff(0x005c, &body)
    };
    let cells = [formula(1, 0, 0, result(3, 0)), number(2, 0, 0, 1.0)];
    let calculated = below(&[author(&[3, 0, 0, b'A', b'n', b'n'])], &cells);
    table.good("excel-formula.xls", &calculated, "A\n2: blank\n3: 1");
    let not = below(&[author(b"None")], &cells);
    table.good(
        "xlwt-formula.xls",
        &not,
        "A\n2: !a formula without a saved result\n3: 1",
    );
}

fn texts(table: &mut Table) {
    // The code page means nothing in BIFF8.
    for page in [1200, 1252, 10_029, 0x8001, 1] {
        let texts = [label(1, 0, "Żółć"), label(2, 0, "Müller 100 \u{a0}")];
        table.good(
            "code-page.xls",
            &below(&[code_page(page)], &texts),
            "A\n2: 'Żółć\n3: 'Müller 100 \u{a0}",
        );
    }
    // BIFF5 depends on it.
    for (page, bytes, want) in [
        (Some(1252), &b"M\xfcller"[..], "Müller"),
        (None, b"M\xfcller", "Müller"),
        (Some(0x8001), b"M\xfcller", "Müller"),
        (Some(0x8000), b"M\x9fller", "Müller"),
        (Some(1250), b"\xbf\xf3\xb3\xe6", "żółć"),
        (Some(10_029), b"\xfd\x97\xb8\x8d", "żółć"),
        (Some(850), b"M\x81ller", "Müller"),
        (Some(932), b"\x93\xfa\x96\x7b", "日本"),
        (Some(1361), b"plain", "plain"),
    ] {
        let page: Vec<Vec<u8>> = page.map(code_page).into_iter().collect();
        let cells = [label5(0, 0, b"A"), label5(1, 0, bytes)];
        let bytes = book(Biff::Five, &page, &cells);
        table.good("biff5.xls", &bytes, &format!("A\n2: '{want}"));
    }
    table.bad(
        "johab.xls",
        &book(Biff::Five, &[code_page(1361)], &[label5(0, 1, b"\x88\x61")]),
        "sheet `Data`, cell B1: its text is in code page 1361, which is not supported",
    );
    // Shared strings, continued anywhere. A continued text starts again with its flags.
    let index = |row: u16, at: u32| cell(0x00fd, row, 0, 0, &at.to_le_bytes());
    let head = shared(&[]);
    let rich = [
        &[4, 0, 0x0d, 1, 0, 5, 0, 0, 0][..],
        &words(&[0x17c, 0xd83d, 0xde42, 0x21]),
    ]
    .concat();
    let all = [
        [&[2, 0, 0][..], b"ab"].concat(),
        rich,
        vec![1, 2, 3, 4, 9, 9, 9, 9, 9],
        text8("last"),
    ];
    let flat = [head.clone(), all.concat()].concat();
    // Between the units of a text.
    let parts = [
        (11, 1),
        (12, 1),
        (13, 0),
        (24, 2),
        (26, 2),
        (28, 2),
        (30, 0),
        (33, 0),
        (39, 0),
        (42, 1),
    ];
    for (at, unit) in parts {
        let (one, two) = flat.split_at(at);
        let again = [&[u8::from(unit == 2)][..], two].concat();
        let strings = split(0x00fc, &[one, if unit > 0 { &again } else { two }]);
        let cells = [index(1, 0), index(2, 1), index(3, 2)];
        table.good(
            &format!("continued-{at}.xls"),
            &below(&[strings], &cells),
            "A\n2: 'ab\n3: 'ż🙂!\n4: 'last",
        );
    }
    // The rest of a text may take one byte per character, or two.
    let wide = [&[3, 0, 0][..], b"a"].concat();
    let pieces = [&[&head[..], &wide].concat()[..], &[1, 0x7c, 1], &[0, b'c']];
    table.good(
        "wide.xls",
        &below(&[split(0x00fc, &pieces)], &[index(1, 0)]),
        "A\n2: 'ażc",
    );
    let strings = biff(0x00fc, &shared(&["x"]));
    table.bad(
        "index.xls",
        &below(&[strings], &[index(1, 1)]),
        "sheet `Data`, cell A2: its string is not in the shared string table",
    );
    // The count may be wrong, but no string may be incomplete.
    let mut few = shared(&["x", "y"]);
    few[4] = 1;
    table.good(
        "few.xls",
        &below(&[biff(0x00fc, &few)], &[index(1, 1)]),
        "A\n2: 'y",
    );
    let cut = shared(&["x", "yz"]);
    table.bad(
        "cut.xls",
        &below(&[biff(0x00fc, &cut[..cut.len() - 1])], &[index(1, 1)]),
        "string 1 of the shared strings: its record is too short",
    );
    let mut options = ReadOptions::default();
    options.limits.string_bytes = 99;
    let strings = biff(0x00fc, &shared(&["0123456789"; 10]));
    table.with(
        "strings.xls",
        &below(&[strings], &[]),
        &options,
        Err("exceeds the limit `string_bytes` of 99"),
    );
}

fn formats(table: &mut Table) {
    let values = [1.5, 45_352.0, 7.0, 45_352.5, 26.0, 45_352.0, 45_352.0, 0.25];
    for version in [Biff::Five, Biff::Eight] {
        let label = |column, text: &str| match version {
            Biff::Five => label5(0, column, text.as_bytes()),
            Biff::Eight => label(0, column, text),
        };
        let names = ["A", "B", "C", "D", "E", "F", "G", "H"];
        let mut cells: Vec<Vec<u8>> = names.iter().zip(0..).map(|(n, c)| label(c, n)).collect();
        let values = values.iter().zip(0..);
        cells.extend(values.map(|(value, column)| number(1, column, column, *value)));
        let globals = |cells: &[u16]| {
            [
                styles(version, cells),
                // Formats have priority over built-in ones, whatever their ID.
                format(version, 60, "[h]:mm"),
                format(version, 163, "YYYY\\-MM\\-DD"),
                format(version, 56, "\"Qty \"0"),
                format(version, 50, "dd.mm.yy hh:mm"),
                format(version, 165, "[Red]0.00"),
            ]
        };
        table.good(
            "formats.xls",
            &book(
                version,
                &globals(&[60, 163, 56, 50, 165, 14, 30, 20]),
                &cells,
            ),
            "A | B | C | D | E | F | G | H\n2: PT36H | 2024-03-01 | 7 | 2024-03-01T12:00:00 | 26 | \
             2024-03-01 | 2024-03-01 | 06:00:00",
        );
        let mut globals = globals(&[0, 14, 0, 27, 0, 58, 36, 33]).to_vec();
        globals.push(biff(0x0022, &[1, 0]));
        table.good(
            "1904.xls",
            &book(version, &globals, &cells),
            "A | B | C | D | E | F | G | H\n2: 1.5 | 2028-03-02 | 7 | 2028-03-02T12:00:00 | 26 | \
             2028-03-02 | 2028-03-02 | 06:00:00",
        );
    }
}

fn structure(table: &mut Table) {
    // MERGEDCELLS: the number of ranges, then the first and last row and column of each.
    let merged = |ranges: &[u16]| {
        biff(
            0x00e5,
            &words(&[&[ranges.len() as u16 / 4], ranges].concat()),
        )
    };
    let two_rows = [
        label(0, 0, "ID"),
        label(0, 1, "Address"),
        label(1, 1, "City"),
        label(1, 2, "ZIP"),
        number(2, 0, 0, 1.0),
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
    // ROW, here behind the cells. Its flags hide it.
    let hidden = |row: u16| biff(0x0208, &words(&[row, 0, 1, 0xff, 0, 0, 0x0120, 15]));
    let rows = [
        number(1, 0, 0, 1.0),
        number(2, 0, 0, 2.0),
        hidden(1),
        hidden(5),
    ];
    let rows = below(&[], &rows);
    table.good("kept.xls", &rows, "A\n2: 1\n3: 2");
    let options = ReadOptions {
        skip_hidden_rows: true,
        ..ReadOptions::default()
    };
    let want = Ok("A\n2: blank\n3: 2\n1 hidden row was skipped.");
    table.with("skipped.xls", &rows, &options, want);
    // A chart in a sheet has cells of its own.
    let chart = [
        biff(0x0809, &words(&[0x0600, 32])),
        number(0, 0, 0, 9.0),
        biff(0x000a, &[]),
    ];
    let cells = [chart.concat(), number(1, 0, 0, 1.0)];
    table.good("chart.xls", &below(&[], &cells), "A\n2: 1");
    // The first visible sheet with cells, or the one requested.
    let cells = [label(0, 0, "A"), number(1, 0, 0, 1.0)];
    let sheets = [
        ("Chart", 0, 2, &[][..]),
        ("Secret", 2, 0, &[]),
        ("Macros", 0, 1, &[]),
        ("Data", 0, 0, &cells),
    ];
    let bytes = compound(&[("Workbook", stream(Biff::Eight, &[], &sheets))]);
    table.good("sheets.xls", &bytes, "A\n2: 1");
    let mut sheet = |name: &str, want| {
        let options = ReadOptions {
            sheet: Some(SheetRef::Name(name.to_owned())),
            ..ReadOptions::default()
        };
        table.with("sheet.xls", &bytes, &options, want);
    };
    sheet("data", Ok("A\n2: 1"));
    sheet(
        "Chart",
        Err("sheet `Chart`: it is a chart, which has no rows"),
    );
    sheet("Secret", Err("sheet `Secret` has no header"));
    sheet(
        "Other",
        Err("no sheet `Other` (found: `Chart`, `Secret`, `Macros`, `Data`)"),
    );
    // A file for old and new versions of Excel has both streams.
    let old = stream(Biff::Five, &[], &[("Old", 0, 0, &[label5(0, 0, b"A")])]);
    let new = stream(Biff::Eight, &[], &[("New", 0, 0, &[label(0, 0, "B")])]);
    table.good(
        "both.xls",
        &compound(&[("Book", old), ("Workbook", new)]),
        "B",
    );
}

fn damaged(table: &mut Table) {
    let plain = below(&[], &[label(1, 0, "007"), number(2, 0, 0, 1.5)]);
    table.good("plain.xls", &plain, "A\n2: '007\n3: 1.5");
    table.bad("half.xls", &plain[..2000], "");
    table.bad("header.xls", &plain[..600], "is a damaged compound file");
    table.bad(
        "encrypted.xlsx",
        &compound(&[("EncryptionInfo", vec![1]), ("EncryptedPackage", vec![2])]),
        "is encrypted",
    );
    let file = |stream: Vec<u8>| compound(&[("Workbook", stream)]);
    let cells = [label(0, 0, "A"), number(1, 0, 0, 1.5)];
    let whole = stream(Biff::Eight, &[], &[("Data", 0, 0, &cells)]);
    // The stream is padded with zeros, which are records of kind 0.
    let cut = whole[..whole.len() - 4].to_vec();
    table.bad(
        "without-end.xls",
        &file(cut),
        "it is incomplete: its end is missing",
    );
    let long = [&whole[..whole.len() - 4], &[3, 2, 0xff, 0xff]].concat();
    table.bad(
        "long-record.xls",
        &file(long),
        "it is incomplete: its end is missing",
    );
    table.bad(
        "empty.xls",
        &file(vec![]),
        "it does not start with the version of Excel",
    );
    for start in [[9, 0, 4, 0], [9, 2, 6, 0], [9, 4, 6, 0]] {
        let old = [&start[..], &[0; 20]].concat();
        table.bad(
            "old.xls",
            &file(old),
            "is a workbook of Excel 2, 3 or 4, which is not supported",
        );
    }
    let listed = whole.windows(2).position(|w| w == [0x85, 0]).unwrap();
    let mut moved = whole.clone();
    moved[listed + 4] += 1;
    table.bad(
        "moved.xls",
        &file(moved),
        "sheet `Data`: it is not where the workbook says that it starts",
    );
    for (name, record, want) in [
        (
            "short.xls",
            biff(0x0203, &words(&[1, 2, 0, 0])),
            "cell C2: its record is too short",
        ),
        (
            "tiny.xls",
            biff(0x0203, &[1]),
            "sheet `Data`: its record is too short",
        ),
        (
            "text.xls",
            cell(0x0204, 1, 1, 0, &[9, 0, 0, b'a']),
            "cell B2: its record is too short",
        ),
        (
            "index.xls",
            cell(0x00fd, 1, 1, 0, &[0; 4]),
            "cell B2: its string is not in the shared",
        ),
        (
            "column.xls",
            number(1, 16_384, 0, 1.0),
            "exceeds the limit `columns`",
        ),
    ] {
        table.bad(name, &below(&[], &[record]), want);
    }
    // Corrupt each byte of the stream in turn.
    let at = plain.windows(4).position(|w| w == [9, 8, 16, 0]).unwrap();
    for at in at..at + 180 {
        let mut bytes = plain.clone();
        bytes[at] ^= 0xff;
        // The result may be anything, but reading must end.
        let _ = outcome("flipped.xls", &bytes, &ReadOptions::default());
    }
}
