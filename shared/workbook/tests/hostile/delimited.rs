//! Delimited text.

use crate::Table;

pub(crate) fn every(table: &mut Table) {
    let utf16 = |text: &str, mark: bool| -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    };
    let utf32 = |text: &str, bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
        text.chars().flat_map(|c| bytes(u32::from(c))).collect()
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
            "utf16-unmarked-cyrillic.csv",
            utf16(
                "имя;описание товара;цена\r\nЧай;Чёрный байховый;1\r\n",
                false,
            ),
            "имя | описание товара | цена\n2: 'Чай | 'Чёрный байховый | '1",
        ),
        (
            "utf16-unmarked-chinese.csv",
            utf16("名称,说明\r\n绿茶,来自杭州西湖的龙井绿茶\r\n", false),
            "名称 | 说明\n2: '绿茶 | '来自杭州西湖的龙井绿茶",
        ),
        (
            "latin1.csv",
            b"a;b\n\xe4;\x80\n".to_vec(),
            &format!("a | b\n2: 'ä | '€\n{LATIN1}"),
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
            "a | b\n4: blank\n5: '1 | '2",
        ),
        ("no-end.csv", b"a,b\n1,".to_vec(), "a | b\n2: '1 | "),
        (
            "formulas.csv",
            b"a\n=1+1\n@x\n".to_vec(),
            "a\n2: '=1+1\n3: '@x",
        ),
        (
            "utf32.csv",
            utf32("\u{feff}a\tb\r\nä\t🙂\r\n", u32::to_le_bytes),
            "a | b\n2: 'ä | '🙂",
        ),
        (
            "utf32-big.csv",
            utf32("\u{feff}a\tb\r\nä\t2\r\n", u32::to_be_bytes),
            "a | b\n2: 'ä | '2",
        ),
        (
            "utf32-unmarked.csv",
            utf32("a\tb\r\nä\t2\r\n", u32::to_le_bytes),
            "a | b\n2: 'ä | '2",
        ),
        (
            "marked-twice.csv",
            "\u{feff}\u{feff}a,b\n1,2\n".as_bytes().to_vec(),
            "a | b\n2: '1 | '2",
        ),
        (
            "mark-in-header.csv",
            "a,\u{feff}b\n1,2\n".as_bytes().to_vec(),
            "a | b\n2: '1 | '2",
        ),
        (
            "ctrl-z.csv",
            b"a,b\r\n1,2\r\n\x1a".to_vec(),
            "a | b\n2: '1 | '2",
        ),
        (
            "ctrl-z-lines.csv",
            b"a,b\n1,2\x1a\n\x1a \r\n".to_vec(),
            "a | b\n2: '1 | '2",
        ),
        (
            "ctrl-z-inside.csv",
            b"a,b\n1,x\x1a\n1,2\n".to_vec(),
            "a | b\n2: '1 | 'x\u{1a}\n3: '1 | '2",
        ),
    ] {
        table.good(name, &bytes, want);
    }
    // Ends of file at the border of two pieces, and more of them than one piece has.
    for length in [(64 << 10) - 8, (64 << 10) - 7, 200_000] {
        let rows = [
            b"a,b\n".to_vec(),
            b"1,2\n".repeat(length / 4),
            b"\x1a \x1a".to_vec(),
        ];
        let want = format!("a | b\n{} rows", length / 4);
        table.good("ctrl-z-late.csv", &rows.concat(), &want);
    }
    let long = format!("a\n\"{}", "x\n".repeat(1 << 20));
    table.bad(
        "open-field.csv",
        long.as_bytes(),
        "the limit `text_bytes` of 1048576",
    );
    let wide = format!("a,b\n{}", "x,".repeat(20_000));
    table.bad("wide.csv", wide.as_bytes(), "the limit `columns` of 16384");
    let late = [b"a,b\n".repeat(40_000), b"\xe4,1\n".to_vec()].concat();
    let want = format!("a | b\n40000 rows\n{LATIN1}");
    table.good("late-latin1.csv", &late, &want);
    // Detection and decoding work in chunks. Put damage into different chunks.
    let good = "äö,ü\n".repeat(20_000).into_bytes();
    let damaged = [&b"a,b\n"[..], &good, b"x\xff,y\n", &good].concat();
    let want = format!("a | b\n40001 rows\n{}", damage(20_002));
    table.good("one-byte.csv", &damaged, &want);
    let cut = [&b"a,b\n"[..], &good, b"x,\xc3"].concat();
    let want = format!("a | b\n20001 rows\n{}", damage(20_002));
    table.good("cut-character.csv", &cut, &want);
    let want = format!("a | b\n2: 'ä | '\u{fffd}\n{}", damage(2));
    table.good(
        "marked-damaged.csv",
        b"\xef\xbb\xbfa,b\n\xc3\xa4,\xe4\n",
        &want,
    );
    let zero = [&b"a,b\n"[..], &b"1,2\n".repeat(3_000), b"\0,\xc3\xa4\n"].concat();
    table.bad(
        "late-zero.csv",
        &zero,
        "in record 3002 (byte 12005 of the file)",
    );
}

/// A NUL is reported with its place, wherever it is.
pub(crate) fn zeros(table: &mut Table) {
    let wide: Vec<u8> = "a,b\r\n1,2\r\n3,x\0y\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let far = format!("a,b\n{}1,x\0\n", "1,two\n".repeat(20_000));
    for (name, bytes, place) in [
        (
            "zero.csv",
            b"a,b\n1,x\0y\n".to_vec(),
            "record 2 (byte 8 of the file)",
        ),
        (
            "zeros.csv",
            b"a,b\n1,2\n\0\0".to_vec(),
            "record 3 (byte 9 of the file)",
        ),
        (
            "latin1.csv",
            b"a;b\n\xe4;\0\n".to_vec(),
            "record 2 (byte 7 of the file)",
        ),
        (
            "far.csv",
            far.into_bytes(),
            "record 20002 (byte 120008 of the file)",
        ),
        ("wide.csv", wide, "record 3; "),
    ] {
        let want = format!("contains a NUL character, which is not text, in {place}");
        table.bad(name, &bytes, &want);
    }
}

const LATIN1: &str = "The file is not UTF-8 and was read as Windows-1252. If characters look wrong, \
                      save it as \"CSV UTF-8\" and try again.";

fn damage(record: u32) -> String {
    format!(
        "The file is not valid UTF-8; the first invalid character is in record {record}. Invalid \
         characters were replaced with `\u{fffd}`. Correct these values, or save the file as \"CSV \
         UTF-8\" and try again."
    )
}
