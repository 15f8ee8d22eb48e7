//! xls files.

use rowmill_workbook::ReadOptions;

use crate::files::{biff, biff_label, biff_number, compound, xls, xls_stream};
use crate::{Table, outcome};

pub(crate) fn every(table: &mut Table) {
    let head = || biff_label(0, 0, "A");
    let plain = xls(&[
        head(),
        biff_label(0, 1, "B"),
        biff_label(1, 0, "007"),
        biff_number(2, 1, 1.5),
    ]);
    table.good("plain.xls", &plain, "A | B\n2: '007 | \n3:  | 1.5");
    table.bad(
        "lone-cell.xls",
        &xls(&[head(), biff_number(65_535, 255, 1.0)]),
        "16777216 exceeds the limit `whole_cells` of 3000000",
    );
    // MERGEDCELLS: the number of ranges, then the first and last row and column of each.
    let merged = |ranges: &[u16]| {
        let words = [&[ranges.len() as u16 / 4], ranges].concat();
        biff(
            0x00e5,
            &words
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect::<Vec<_>>(),
        )
    };
    let two_rows = [
        biff_label(0, 0, "ID"),
        biff_label(0, 1, "Address"),
        biff_label(1, 1, "City"),
        biff_label(1, 2, "ZIP"),
        biff_number(2, 0, 1.0),
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
    let protected = xls_stream(&[head()], &biff(0x002f, &[1, 0, 1, 0, 1, 0]));
    table.bad(
        "password.xls",
        &compound(&[("Workbook", protected)]),
        "is encrypted",
    );
    table.bad(
        "encrypted.xlsx",
        &compound(&[("EncryptionInfo", vec![1]), ("EncryptedPackage", vec![2])]),
        "is encrypted",
    );
    table.bad("half.xls", &plain[..2000], "");
    table.bad("header.xls", &plain[..600], "is a damaged compound file");
    // Corrupt each byte of the stream in turn.
    let stream = plain.windows(4).position(|w| w == [9, 8, 16, 0]).unwrap();
    for at in stream..stream + 180 {
        let mut bytes = plain.clone();
        bytes[at] ^= 0xff;
        // The result may be anything, but reading must end.
        let _ = outcome("flipped.xls", &bytes, &ReadOptions::default());
    }
}
