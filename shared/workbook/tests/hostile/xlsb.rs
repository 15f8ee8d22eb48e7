//! xlsb files.

use rowmill_workbook::ReadOptions;

use crate::files::{record, wide, xlsb};
use crate::{Table, outcome};

pub(crate) fn every(table: &mut Table) {
    let listed = [vec![0; 4], vec![1, 0, 0, 0], wide("rId1"), wide("Data")].concat();
    let book = [record(0x9c, &listed), record(0x90, &[]), record(0x9d, &[])].concat();
    let at = |column: u32| [column.to_le_bytes(), [0; 4]].concat();
    let text = |column, text| record(6, &[at(column), wide(text)].concat());
    let sheet = [
        record(0x81, &[]),
        record(0x94, &[0; 16]),
        record(0x91, &[]),
        record(0, &0u32.to_le_bytes()),
        text(0, "A"),
        text(1, "B"),
        record(0, &2u32.to_le_bytes()),
        text(0, "=00501"),
        record(5, &[at(1), 1.5f64.to_le_bytes().to_vec()].concat()),
        record(0, &3u32.to_le_bytes()),
        record(4, &[at(0), vec![1]].concat()),
        record(3, &[at(1), vec![0x2a]].concat()),
        record(0x92, &[]),
    ]
    .concat();
    table.good(
        "plain.xlsb",
        &xlsb(&book, &sheet),
        "A | B\n2: blank\n3: '=00501 | 1.5\n4: true | !#N/A",
    );
    table.bad("half.xlsb", &xlsb(&book, &sheet[..sheet.len() - 9]), "");
    table.bad("empty.xlsb", &xlsb(b"", b""), "");
    table.bad("noise.xlsb", &xlsb(&[0xff; 64], &[0xff; 64]), "");
    // Records that are too short for their kind, which calamine 0.38 reads past the end of, and some
    // that declare an impossible length.
    for kind in 0..=255u8 {
        let short = [kind, 1, 1, 0];
        let long = [kind | 0x80, 1, 0xff, 0xff, 0xff, 0x7f];
        let records = [&short[..], &long];
        for record in &records[..if kind % 64 == 0 { 2 } else { 1 }] {
            // The result may be anything, but reading must end.
            let bytes = xlsb(record, record);
            let _ = outcome("record.xlsb", &bytes, &ReadOptions::default());
        }
    }
    table.count += 1;
}
