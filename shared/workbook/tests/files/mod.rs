//! Builds the files that tests read, so that none has to be stored.

pub(crate) mod xlsb;

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

/// A zip archive with these parts.
pub(crate) fn archive<B: AsRef<[u8]>>(parts: &[(&str, B)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, body) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(body.as_ref()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const MAIN: &str = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"";
const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// The parts of an xlsx workbook.
pub(crate) struct Xlsx {
    pub(crate) workbook: String,
    pub(crate) relations: String,
    pub(crate) sheet: String,
    pub(crate) strings: Option<String>,
    pub(crate) styles: Option<String>,
}

impl Default for Xlsx {
    fn default() -> Xlsx {
        Xlsx {
            workbook: workbook("", "<sheet name=\"Data\" sheetId=\"1\" r:id=\"rId1\"/>"),
            relations: [
                relation("rId1", "worksheet", "worksheets/sheet1.xml"),
                relation("rId2", "sharedStrings", "sharedStrings.xml"),
                relation("rId3", "styles", "styles.xml"),
            ]
            .concat(),
            sheet: String::new(),
            strings: None,
            styles: None,
        }
    }
}

pub(crate) fn workbook(properties: &str, sheets: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><workbook {MAIN} xmlns:r=\"{RELATIONS}\">\
         <workbookPr {properties}/><sheets>{sheets}</sheets></workbook>"
    )
}

pub(crate) fn relation(id: &str, kind: &str, target: &str) -> String {
    format!("<Relationship Id=\"{id}\" Type=\"{RELATIONS}/{kind}\" Target=\"{target}\"/>")
}

/// A sheet with these rows.
pub(crate) fn sheet(rows: &str) -> String {
    format!("<?xml version=\"1.0\"?><worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>")
}

/// A workbook whose sheet has the header `A` and these rows.
pub(crate) fn below_header(rows: &str) -> Vec<u8> {
    Xlsx {
        sheet: sheet(&format!(
            "<row r=\"1\"><c r=\"A1\" t=\"str\"><v>A</v></c></row>{rows}"
        )),
        ..Xlsx::default()
    }
    .bytes()
}

/// A workbook with this cell below the header.
pub(crate) fn cell(xml: &str) -> Vec<u8> {
    below_header(&format!("<row r=\"2\">{xml}</row>"))
}

impl Xlsx {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let package = "http://schemas.openxmlformats.org/package/2006";
        let types = format!(
            "<Types xmlns=\"{package}/content-types\"><Default Extension=\"xml\" \
             ContentType=\"application/xml\"/></Types>"
        );
        let wrap = |inner: &str| {
            format!("<Relationships xmlns=\"{package}/relationships\">{inner}</Relationships>")
        };
        let root = relation("rId1", "officeDocument", "xl/workbook.xml");
        let mut parts = vec![
            ("[Content_Types].xml", types),
            ("_rels/.rels", wrap(&root)),
            ("xl/workbook.xml", self.workbook.clone()),
            ("xl/_rels/workbook.xml.rels", wrap(&self.relations)),
            ("xl/worksheets/sheet1.xml", self.sheet.clone()),
        ];
        if let Some(strings) = &self.strings {
            parts.push((
                "xl/sharedStrings.xml",
                format!("<sst {MAIN}>{strings}</sst>"),
            ));
        }
        if let Some(styles) = &self.styles {
            parts.push((
                "xl/styles.xml",
                format!("<styleSheet {MAIN}>{styles}</styleSheet>"),
            ));
        }
        archive(&parts)
    }
}

/// An ods document with these tables.
pub(crate) fn ods(tables: &str, manifest: &str) -> Vec<u8> {
    ods_package(ods_content("", tables).as_bytes(), manifest)
}

/// The `content.xml` with these styles and tables.
pub(crate) fn ods_content(styles: &str, tables: &str) -> String {
    let names = [
        "office", "table", "text", "style", "number", "draw", "dc", "calcext",
    ]
    .map(|n| format!("xmlns:{n}=\"urn:oasis:names:tc:opendocument:xmlns:{n}:1.0\""))
    .join(" ");
    format!(
        "<?xml version=\"1.0\"?><office:document-content {names}><office:automatic-styles>{styles}\
         </office:automatic-styles><office:body><office:spreadsheet>{tables}</office:spreadsheet>\
         </office:body></office:document-content>"
    )
}

/// An ods document with this `content.xml` and manifest.
pub(crate) fn ods_package(content: &[u8], manifest: &str) -> Vec<u8> {
    let kind = b"application/vnd.oasis.opendocument.spreadsheet";
    let manifest = format!("<manifest:manifest>{manifest}</manifest:manifest>");
    archive(&[
        ("mimetype", &kind[..]),
        ("content.xml", content),
        ("META-INF/manifest.xml", manifest.as_bytes()),
    ])
}

/// A row of an ods table.
pub(crate) fn ods_row(attributes: &str, cells: &str) -> String {
    format!("<table:table-row {attributes}>{cells}</table:table-row>")
}

/// A text cell of an ods table.
pub(crate) fn ods_text(attributes: &str, text: &str) -> String {
    format!(
        "<table:table-cell office:value-type=\"string\" {attributes}><text:p>{text}</text:p>\
         </table:table-cell>"
    )
}

/// A record of an xls stream.
pub(crate) fn biff(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((body.len() as u16).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A number cell of an xls stream.
pub(crate) fn biff_number(row: u16, column: u16, number: f64) -> Vec<u8> {
    biff(
        0x0203,
        &[words(&[row, column, 15]), number.to_le_bytes().to_vec()].concat(),
    )
}

/// A text cell of an xls stream.
pub(crate) fn biff_label(row: u16, column: u16, text: &str) -> Vec<u8> {
    let mut body = words(&[row, column, 15, text.len() as u16]);
    body.push(0);
    body.extend(text.bytes());
    biff(0x0204, &body)
}

/// An xls workbook of one sheet with these cells.
pub(crate) fn xls(cells: &[Vec<u8>]) -> Vec<u8> {
    compound(&[("Workbook", xls_stream(cells, &[]))])
}

/// The stream of such a workbook, with additional records in its globals.
pub(crate) fn xls_stream(cells: &[Vec<u8>], globals: &[u8]) -> Vec<u8> {
    let bof = |kind: u16| biff(0x0809, &words(&[0x0600, kind, 0, 0, 0, 0, 0, 0]));
    let end = biff(0x000a, &[]);
    let name = b"Data";
    let listed = |at: u32| {
        let mut body = at.to_le_bytes().to_vec();
        body.extend([0, 0, name.len() as u8, 0]);
        body.extend(name);
        biff(0x0085, &body)
    };
    let front = [bof(5), globals.to_vec()].concat();
    let start = front.len() + listed(0).len() + end.len();
    let globals = [front, listed(start as u32), end.clone()].concat();
    [globals, bof(16), cells.concat(), end].concat()
}

/// A compound file with these streams. Each is padded to at least 4,096 bytes.
pub(crate) fn compound(streams: &[(&str, Vec<u8>)]) -> Vec<u8> {
    const SECTOR: usize = 512;
    let sectors = |bytes: usize| bytes.max(4096).div_ceil(SECTOR);
    let directory_sectors = (streams.len() + 1).div_ceil(4);
    let data: usize = streams.iter().map(|s| sectors(s.1.len())).sum();
    // The table also covers its own sectors.
    let mut table_sectors = 1;
    while (table_sectors + directory_sectors + data) * 4 > table_sectors * SECTOR {
        table_sectors += 1;
    }
    assert!(table_sectors <= 109, "more needs a table of tables");

    let mut header = vec![0u8; SECTOR];
    header[..8].copy_from_slice(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
    let mut set16 = |at: usize, v: u16| header[at..at + 2].copy_from_slice(&v.to_le_bytes());
    for (at, value) in [(24, 0x3e), (26, 3), (28, 0xfffe), (30, 9), (32, 6)] {
        set16(at, value);
    }
    let mut set32 = |at: usize, v: u32| header[at..at + 4].copy_from_slice(&v.to_le_bytes());
    set32(44, table_sectors as u32);
    set32(48, table_sectors as u32);
    set32(56, 4096);
    set32(60, 0xffff_fffe);
    set32(68, 0xffff_fffe);
    for i in 0..109 {
        let sector = if i < table_sectors {
            i as u32
        } else {
            u32::MAX
        };
        set32(76 + 4 * i, sector);
    }

    let mut table: Vec<u32> = vec![0xffff_fffd; table_sectors];
    let chain = |table: &mut Vec<u32>, count: usize| {
        let start = table.len() as u32;
        table.extend((1..count).map(|i| start + i as u32));
        table.push(0xffff_fffe);
        start
    };
    chain(&mut table, directory_sectors);
    let mut directory = Vec::new();
    let mut body = Vec::new();
    let mut entry = |name: &str, kind: u8, child: u32, start: u32, size: u32| {
        let mut bytes = vec![0u8; 128];
        let units: Vec<u16> = name.encode_utf16().collect();
        for (i, unit) in units.iter().enumerate() {
            bytes[2 * i..2 * i + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes[64] = 2 * (units.len() as u8 + 1);
        bytes[66] = kind;
        bytes[67] = 1;
        for (at, value) in [
            (68, u32::MAX),
            (72, u32::MAX),
            (76, child),
            (116, start),
            (120, size),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        directory.extend(bytes);
    };
    entry("Root Entry", 5, 1, 0xffff_fffe, 0);
    for (name, stream) in streams {
        let count = sectors(stream.len());
        let start = chain(&mut table, count);
        entry(name, 2, u32::MAX, start, stream.len().max(4096) as u32);
        body.extend(stream);
        body.resize(body.len() + count * SECTOR - stream.len(), 0);
    }
    directory.resize(directory_sectors * SECTOR, 0);
    table.resize(table_sectors * SECTOR / 4, u32::MAX);
    let table: Vec<u8> = table.iter().flat_map(|s| s.to_le_bytes()).collect();
    [header, table, directory, body].concat()
}

/// Overwrites the bytes at offset `at` from the first occurrence of `mark`.
pub(crate) fn patched(mut bytes: Vec<u8>, mark: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let found = bytes.windows(mark.len()).position(|w| w == mark).unwrap();
    bytes[found + at..found + at + with.len()].copy_from_slice(with);
    bytes
}
