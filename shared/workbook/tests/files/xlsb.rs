//! Writes xlsb workbooks: BIFF12 records (MS-XLSB).

use super::{archive, relation};

/// The parts of a workbook with one sheet.
pub(crate) struct Xlsb {
    pub(crate) workbook: Vec<u8>,
    pub(crate) sheet: Vec<u8>,
    pub(crate) strings: Option<Vec<u8>>,
    pub(crate) styles: Option<Vec<u8>>,
}

impl Default for Xlsb {
    fn default() -> Xlsb {
        Xlsb {
            workbook: workbook(false, &[("Data", 0)]),
            sheet: sheet(&[]),
            strings: None,
            styles: None,
        }
    }
}

impl Xlsb {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut relations = relation("rId1", "worksheet", "worksheets/sheet1.bin");
        relations += &relation("rId2", "sharedStrings", "sharedStrings.bin");
        relations += &relation("rId3", "styles", "styles.bin");
        let relations = format!("<Relationships>{relations}</Relationships>");
        let mut parts = vec![
            ("[Content_Types].xml", &b""[..]),
            ("xl/workbook.bin", &self.workbook),
            ("xl/worksheets/sheet1.bin", &self.sheet),
            ("xl/_rels/workbook.bin.rels", relations.as_bytes()),
        ];
        if let Some(strings) = &self.strings {
            parts.push(("xl/sharedStrings.bin", strings));
        }
        if let Some(styles) = &self.styles {
            parts.push(("xl/styles.bin", styles));
        }
        archive(&parts)
    }
}

/// A record.
pub(crate) fn record(id: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = match id {
        0..0x80 => vec![id as u8],
        _ => vec![id as u8 | 0x80, (id >> 7) as u8],
    };
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(body);
    bytes
}

/// A text in a record.
pub(crate) fn wide(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = (units.len() as u32).to_le_bytes().to_vec();
    bytes.extend(units.iter().flat_map(|u| u.to_le_bytes()));
    bytes
}

/// A workbook that lists these sheets, all in the same part: names, and 0 if they are visible.
pub(crate) fn workbook(is_1904: bool, sheets: &[(&str, u32)]) -> Vec<u8> {
    let mut bytes = record(131, &[]);
    bytes.extend(record(153, &[u8::from(is_1904), 0, 0, 0, 0, 0, 0, 0]));
    bytes.extend(record(143, &[]));
    for (name, state) in sheets {
        let head = [state.to_le_bytes(), 1u32.to_le_bytes()].concat();
        bytes.extend(record(156, &[head, wide("rId1"), wide(name)].concat()));
    }
    bytes.extend(record(144, &[]));
    bytes.extend(record(132, &[]));
    bytes
}

/// A sheet with these records as its cells.
pub(crate) fn sheet(cells: &[Vec<u8>]) -> Vec<u8> {
    let start = [record(129, &[]), record(148, &[0; 16]), record(145, &[])].concat();
    [start, cells.concat(), record(146, &[]), record(130, &[])].concat()
}

/// The start of a row.
pub(crate) fn row(index: u32, hidden: bool) -> Vec<u8> {
    let mut body = index.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 0, 0x2c, 1, 0, u8::from(hidden) << 4, 0]);
    body.extend([0; 4]);
    record(0, &body)
}

/// A cell of any kind with a column.
pub(crate) fn cell(id: u16, column: u32, style: u32, value: &[u8]) -> Vec<u8> {
    let head = [column.to_le_bytes(), style.to_le_bytes()].concat();
    record(id, &[&head, value].concat())
}

/// A cell of any kind whose column is the one after the last cell's.
pub(crate) fn short_cell(id: u16, style: u32, value: &[u8]) -> Vec<u8> {
    record(id, &[&style.to_le_bytes()[..], value].concat())
}

/// Shared strings. `rich` ones have formatting runs and phonetic hints.
pub(crate) fn strings(texts: &[(&str, bool)]) -> Vec<u8> {
    let count = (texts.len() as u32).to_le_bytes();
    let mut bytes = record(159, &[count, count].concat());
    for (text, rich) in texts {
        bytes.extend(record(19, &rich_text(text, *rich)));
    }
    bytes.extend(record(160, &[]));
    bytes
}

/// A text with flags before it, and with formatting runs and phonetic hints after it if it is `rich`.
pub(crate) fn rich_text(text: &str, rich: bool) -> Vec<u8> {
    let mut body = vec![3 * u8::from(rich)];
    body.extend(wide(text));
    if rich {
        body.extend([2, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0]);
        body.extend(wide("hint"));
        body.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0]);
    }
    body
}

/// Styles: the codes with their IDs, and the format ID of each cell style. A named style, a
/// conditional format and an extension have other formats with the same IDs.
pub(crate) fn styles(codes: &[(u16, &str)], cells: &[u16]) -> Vec<u8> {
    let format =
        |id: u16, code: &str| record(44, &[id.to_le_bytes().to_vec(), wide(code)].concat());
    let style = |format: u16| {
        let words = [0u16, format, 0, 0, 0, 0, 0, 0];
        record(47, &words.map(u16::to_le_bytes).concat())
    };
    let mut bytes = record(278, &[]);
    bytes.extend(record(615, &(codes.len() as u32).to_le_bytes()));
    bytes.extend(codes.iter().flat_map(|(id, code)| format(*id, code)));
    bytes.extend(record(616, &[]));
    bytes.extend(record(626, &1u32.to_le_bytes()));
    bytes.extend(style(14));
    bytes.extend(record(627, &[]));
    bytes.extend(record(617, &(cells.len() as u32).to_le_bytes()));
    bytes.extend(cells.iter().flat_map(|id| style(*id)));
    bytes.extend(record(618, &[]));
    bytes.extend(record(505, &1u32.to_le_bytes()));
    bytes.extend(codes.iter().flat_map(|(id, _)| format(*id, "0.00")));
    bytes.extend(record(506, &[]));
    let extension = codes.iter().flat_map(|(id, _)| format(*id, "0.000"));
    bytes.extend(record(35, &[0; 4]));
    bytes.extend(record(615, &[0; 4]));
    bytes.extend(extension);
    bytes.extend(record(616, &[]));
    bytes.extend(record(36, &[]));
    bytes.extend(record(279, &[]));
    bytes
}

/// An RK value that is an integer, or hundredths.
pub(crate) fn rk_integer(number: i32, hundredths: bool) -> [u8; 4] {
    ((number << 2) as u32 | 2 | u32::from(hundredths)).to_le_bytes()
}
