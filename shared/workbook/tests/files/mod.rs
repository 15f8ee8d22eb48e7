//! Builds the files that tests read, so that none has to be stored.

pub(crate) mod xls;
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
        "office", "table", "text", "style", "number", "draw", "dc", "fo", "calcext",
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

/// Overwrites the bytes at offset `at` from the first occurrence of `mark`.
pub(crate) fn patched(mut bytes: Vec<u8>, mark: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let found = bytes.windows(mark.len()).position(|w| w == mark).unwrap();
    bytes[found + at..found + at + with.len()].copy_from_slice(with);
    bytes
}
