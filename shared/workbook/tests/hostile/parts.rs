//! xlsx files whose parts have other encodings, places and namespaces than usual, and cells with unusual
//! references.

use crate::Table;
use crate::files::{archive, cell, relation};

const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const STRICT: &str = "http://purl.oclc.org/ooxml";
const MAIN_TYPE: &str =
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";

/// The parts of a workbook with a column `ä` and a date below it, as paths and texts.
struct Parts {
    folder: &'static str,
    root: String,
    types: String,
    relations: String,
}

impl Parts {
    fn in_folder(folder: &'static str) -> Parts {
        Parts {
            folder,
            root: relation("rId1", "officeDocument", &format!("{folder}book.xml")),
            types: String::new(),
            relations: [
                relation("rId1", "worksheet", "one.xml"),
                relation("rId2", "sharedStrings", "texts.xml"),
                relation("rId3", "styles", "/formats.xml"),
            ]
            .concat(),
        }
    }

    fn all(&self) -> Vec<(String, String)> {
        let relations = |inner: &str| {
            format!("<Relationships xmlns=\"{PACKAGE}/relationships\">{inner}</Relationships>")
        };
        let folder = self.folder;
        let mut parts = vec![
            (
                "[Content_Types].xml".to_owned(),
                format!("<Types xmlns=\"{PACKAGE}/content-types\">{}</Types>", self.types),
            ),
            (
                format!("{folder}book.xml"),
                "<workbook><sheets><sheet name=\"Blätter\" r:id=\"rId1\"/></sheets></workbook>".to_owned(),
            ),
            (format!("{folder}_rels/book.xml.rels"), relations(&self.relations)),
            (
                format!("{folder}one.xml"),
                "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>\
                 <row r=\"2\"><c r=\"A2\" s=\"1\"><v>45352</v></c></row></sheetData></worksheet>"
                    .to_owned(),
            ),
            (
                format!("{folder}texts.xml"),
                "<sst><si><t>ä</t></si></sst>".to_owned(),
            ),
            (
                "formats.xml".to_owned(),
                "<styleSheet><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>"
                    .to_owned(),
            ),
        ];
        if !self.root.is_empty() {
            parts.push(("_rels/.rels".to_owned(), relations(&self.root)));
        }
        parts
    }

    fn bytes(&self) -> Vec<u8> {
        zipped(&self.all(), |_, text| text.as_bytes().to_vec())
    }
}

fn zipped(parts: &[(String, String)], encode: impl Fn(&str, &str) -> Vec<u8>) -> Vec<u8> {
    let encoded = parts
        .iter()
        .map(|(path, text)| (&**path, encode(path, text)));
    archive(&encoded.collect::<Vec<_>>())
}

const READ: &str = "ä\n2: 2024-03-01";

pub(crate) fn encodings(table: &mut Table) {
    let book = Parts::in_folder("xl/");
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let text = format!("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-16\"?>{text}");
        let units = text.encode_utf16();
        let bytes = |u: u16| {
            if big {
                u.to_be_bytes()
            } else {
                u.to_le_bytes()
            }
        };
        units.flat_map(bytes).collect()
    };
    let latin = |text: &str| -> Vec<u8> {
        let text = format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{text}");
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect()
    };
    for big in [false, true] {
        let all = zipped(&book.all(), |_, text| utf16(text, big));
        table.good(&format!("utf16-{big}.xlsx"), &all, READ);
    }
    // Each part alone, which shows that all are decoded.
    for (path, _) in book.all() {
        let one = |encode: &dyn Fn(&str) -> Vec<u8>| {
            zipped(&book.all(), |part, text| match part == path {
                true => encode(text),
                false => text.as_bytes().to_vec(),
            })
        };
        table.good(
            &format!("utf16-{}.xlsx", path.len()),
            &one(&|text| utf16(text, false)),
            READ,
        );
        table.good(&format!("latin-{}.xlsx", path.len()), &one(&latin), READ);
    }
}

pub(crate) fn places(table: &mut Table) {
    table.good("root.xlsx", &Parts::in_folder("").bytes(), READ);
    table.good("deep.xlsx", &Parts::in_folder("a/b/").bytes(), READ);
    let strict = |text: &str| {
        text.replace(
            "http://schemas.openxmlformats.org/officeDocument/2006",
            &format!("{STRICT}/officeDocument"),
        )
    };
    let mut book = Parts::in_folder("xl/");
    book.root = strict(&book.root);
    book.relations = strict(&book.relations);
    table.good("strict.xlsx", &book.bytes(), READ);

    // No relationships of the file: the content types say which part is the workbook.
    let mut book = Parts::in_folder("data/");
    book.root.clear();
    book.types = format!("<Override PartName=\"/data/book.xml\" ContentType=\"{MAIN_TYPE}\"/>");
    table.good("typed.xlsx", &book.bytes(), READ);
    // A relationship to a part that does not exist.
    book.root = relation("rId1", "officeDocument", "xl/workbook.xml");
    table.good("dangling.xlsx", &book.bytes(), READ);
    // Nothing says it.
    book.root.clear();
    book.types.clear();
    table.bad("unnamed.xlsx", &book.bytes(), "does not contain a workbook");

    let mut book = Parts::in_folder("my data/");
    book.root = book.root.replace("my data", "my%20data");
    table.good("escaped.xlsx", &book.bytes(), READ);
    let escaped: Vec<(String, String)> = Parts::in_folder("my data/")
        .all()
        .into_iter()
        .map(|(path, text)| (path.replace(' ', "%20"), text))
        .collect();
    let escaped = zipped(&escaped, |_, text| text.as_bytes().to_vec());
    table.good("escaped-names.xlsx", &escaped, READ);

    for (name, path, root, want) in [
        (
            "letter.xlsx",
            "x/y.xml",
            "<w:document/>",
            "is a Word document",
        ),
        (
            "slides.xlsx",
            "ppt/a.xml",
            "<p:presentation/>",
            "is a PowerPoint presentation",
        ),
        (
            "drawing.xlsx",
            "visio/a.xml",
            "<VisioDocument/>",
            "does not contain a workbook",
        ),
    ] {
        let rels = format!(
            "<Relationships>{}</Relationships>",
            relation("r", "officeDocument", path)
        );
        table.bad(
            name,
            &archive(&[("_rels/.rels", &*rels), (path, root)]),
            want,
        );
    }
    let many = format!(
        "<Types>{}</Types>",
        "<Override PartName=\"/a\" ContentType=\"b\"/>".repeat(10_001)
    );
    let many = archive(&[
        ("[Content_Types].xml", &*many),
        ("xl/workbook.xml", "<workbook/>"),
    ]);
    table.bad(
        "types.xlsx",
        &many,
        "10001 exceeds the limit `entries` of 10000",
    );
}

pub(crate) fn references(table: &mut Table) {
    for (name, reference) in [
        ("lower", "r=\"a2\""),
        ("absolute", "r=\"$A$2\""),
        ("absolute-row", "r=\"A$2\""),
        ("blanks", "r=\" A2\n\""),
        ("r1c1", "r=\"R2C1\""),
        ("none", ""),
        ("zero", "r=\"0\""),
        ("one", "r=\"1\""),
        ("zeros", "r=\"A0002\""),
    ] {
        let xml = format!("<c {reference}><v>1</v></c>");
        table.good(&format!("{name}.xlsx"), &cell(&xml), "A\n2: 1");
    }
    let pair = |a: &str, b: &str| {
        cell(&format!(
            "<c r=\"{a}\"><v>1</v></c><c r=\"{b}\"><v>2</v></c>"
        ))
    };
    let columns = "A | Column B\n2: 1 | 2";
    table.good("from-zero.xlsx", &pair("0", "1"), columns);
    table.good("from-one.xlsx", &pair("1", "2"), columns);
    let position = "cell B2: its reference is a number that is not its position";
    table.bad("gap.xlsx", &pair("0", "2"), position);
    table.bad("base.xlsx", &pair("1", "1"), position);
    table.good("both.xlsx", &pair("A2", "2"), columns);
    for (name, reference) in [
        ("word", "x"),
        ("range", "A2:B2"),
        ("relative", "R[1]C[1]"),
        ("empty", ""),
    ] {
        let xml = format!("<c r=\"{reference}\"><v>1</v></c>");
        table.bad(
            &format!("{name}.xlsx"),
            &cell(&xml),
            "cell A2: its reference is invalid",
        );
    }
}
