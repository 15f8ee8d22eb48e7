//! Damaged and malicious zip archives, and files whose content does not match their extension.

use rowmill_workbook::ReadOptions;

use crate::Table;
use crate::files::{Xlsx, archive, cell, patched, sheet};

pub(crate) fn archives(table: &mut Table) {
    let whole = cell("<c r=\"A2\"><v>1</v></c>");
    table.bad(
        "half.xlsx",
        &whole[..whole.len() / 2],
        "zip directory: it is missing: the file is incomplete",
    );
    table.bad("no-end.xlsx", &whole[..whole.len() - 10], "zip directory");
    let mark = b"xl/worksheets/sheet1.xml";
    let flipped = patched(whole.clone(), mark, mark.len() + 40, &[0xff, 0xff, 0xff]);
    table.bad("flipped.xlsx", &flipped, "part `xl/worksheets/sheet1.xml`");
    // The directory entry of the first part.
    let central = b"PK\x01\x02";
    // The directory entry of the sheet. Its name is at offset 46.
    let entry = whole.windows(mark.len()).rposition(|w| w == mark).unwrap() - 46;
    let mut lying = whole.clone();
    lying[entry + 24..entry + 28].copy_from_slice(&5u32.to_le_bytes());
    table.bad(
        "understated.xlsx",
        &lying,
        "it inflates to more than the directory declares",
    );
    let encrypted = patched(whole.clone(), central, 8, &[1]);
    table.bad("encrypted-zip.xlsx", &encrypted, "is encrypted");
    let method = patched(whole.clone(), central, 10, &[12]);
    table.bad(
        "method.xlsx",
        &method,
        "its compression method 12 is not supported",
    );
    let overlap = patched(whole.clone(), central, 20, &0x00ff_ffffu32.to_le_bytes());
    table.bad(
        "overlap.xlsx",
        &overlap,
        "part `[Content_Types].xml`: it overlaps another part",
    );
    let many: Vec<(String, &str)> = (0..10_001).map(|i| (format!("xl/{i}"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, b)| (n.as_str(), *b)).collect();
    table.bad(
        "entries.xlsx",
        &archive(&many),
        "10001 exceeds the limit `entries` of 10000",
    );
    let blanks = " ".repeat(100 << 20);
    let bomb = Xlsx {
        sheet: sheet(&blanks),
        ..Xlsx::default()
    };
    table.bad(
        "bomb.xlsx",
        &bomb.bytes(),
        "exceeds the limit `ratio` of 300",
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
    table.bad("prefixed.exe", &prefixed, "is a program");
    table.good("commented.xlsx", &commented(whole), "A\n2: 1");
}

/// The archive with a comment at the end.
fn commented(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - 2;
    bytes[at..].copy_from_slice(&9u16.to_le_bytes());
    bytes.extend(b"a comment");
    bytes
}

pub(crate) fn mislabelled(table: &mut Table) {
    let lock = [&b"\x06Nobody"[..], &[b' '; 158]].concat();
    table.bad(
        "~$book.xlsx",
        &lock,
        "is a lock file and contains no rows: `book.xlsx` is open in a spreadsheet program",
    );
    table.bad(
        ".~lock.book.ods#",
        b",me,host,01.02.2026 10:00,file:///home/me;",
        "save and close `book.ods` and use that file",
    );
    table.good("~$book.csv", &b"a,b\n1,2\n".repeat(200), "a | b\n399 rows");
    table.good("book.csv", &cell("<c r=\"A2\"><v>1</v></c>"), "A\n2: 1");
}
