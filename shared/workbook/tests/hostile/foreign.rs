//! Files that are not tables: the error says what they are and what to do. Tables that resemble them are
//! read.

use crate::files::archive;
use crate::files::xls::compound;
use crate::{Table, outcome};

const SAVE: &str = "; save it as xlsx, xlsb, xls, ods or csv and try again";
const TABLE: &str = "; copy its table into a spreadsheet, save that as xlsx and try again";
const EXTRACT: &str = "; extract the workbook and upload that";
const EXPORT: &str = "; export its rows as xlsx or csv and try again";
const AGAIN: &str = "; download or copy it again, or save it again as xlsx";

fn utf16(text: &str) -> Vec<u8> {
    let text = format!("\u{feff}{text}");
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(crate) fn binary(table: &mut Table) {
    let padded = |start: &[u8]| [start, &[0; 600]].concat();
    let at = |offset: usize, bytes: &[u8]| {
        let mut file = vec![1; 600];
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        file[599] = 0;
        file
    };
    for (what, advice, bytes) in [
        ("is a PNG image", TABLE, padded(b"\x89PNG\r\n\x1a\n")),
        ("is a JPEG image", TABLE, padded(b"\xff\xd8\xff\xe0")),
        ("is a GIF image", TABLE, padded(b"GIF89a")),
        ("is a BMP image", TABLE, padded(b"BM")),
        ("is a TIFF image", TABLE, padded(b"II*\0")),
        ("is an image or a video", TABLE, at(4, b"ftypheic")),
        ("is compressed with gzip", EXTRACT, padded(b"\x1f\x8b\x08")),
        ("is a 7z archive", EXTRACT, padded(b"7z\xbc\xaf\x27\x1c")),
        ("is a RAR archive", EXTRACT, padded(b"Rar!\x1a\x07")),
        ("is a tar archive", EXTRACT, at(257, b"ustar")),
        (
            "is an SQLite database",
            EXPORT,
            padded(b"SQLite format 3\0"),
        ),
        ("is an Access database", EXPORT, at(4, b"Standard ACE DB\0")),
        ("is a Parquet file", EXPORT, padded(b"PAR1")),
        ("is a dBase table", EXPORT, padded(&[3, 124, 3, 1, 9])),
        (
            "is a Lotus 1-2-3 workbook",
            SAVE,
            padded(&[0, 0, 2, 0, 6, 4]),
        ),
        ("is a program", SAVE, padded(b"MZ")),
        ("contains only zeros", AGAIN, vec![0; 600]),
        ("has an unknown format", SAVE, at(300, b"\0")),
        ("is empty", AGAIN, Vec::new()),
        (
            "is a workbook of Excel 2, 3 or 4, which is not supported",
            SAVE,
            padded(b"\x09\x04\x06\0\0\0\x10\0\0\0"),
        ),
        (
            "is a Word document",
            TABLE,
            archive(&[("word/document.xml", "")]),
        ),
        (
            "is a Numbers document; export it as xlsx",
            "",
            archive(&[("Index/Tables.iwa", "")]),
        ),
        (
            "is a zip archive that does not contain a workbook",
            SAVE,
            archive(&[("a.jpg", "")]),
        ),
        (
            "is a zip archive that contains `b/sales.XLSX`",
            EXTRACT,
            archive(&[("a.jpg", ""), ("b/sales.XLSX", "")]),
        ),
        (
            "is a Word document",
            TABLE,
            compound(&[("WordDocument", vec![0; 9])]),
        ),
        (
            "is a PowerPoint presentation",
            TABLE,
            compound(&[("PowerPoint Document", vec![0; 9])]),
        ),
        (
            "is an Outlook message",
            "; save its attachment and upload that",
            compound(&[("__properties_version1.0", vec![0; 9])]),
        ),
        (
            "is a compound file that does not contain a workbook",
            SAVE,
            compound(&[("Contents", vec![0; 9])]),
        ),
        (
            "is a damaged compound file (xls or another Office file)",
            AGAIN,
            padded(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ),
    ] {
        table.bad("book.xlsx", &bytes, &format!(": {what}"));
        let got = outcome("book.xlsx", &bytes, &Default::default()).unwrap_err();
        assert!(got.ends_with(advice), "{got}");
    }
}

pub(crate) fn texts(table: &mut Table) {
    let web = "MIME-Version: 1.0\r\nX-Document-Type: Workbook\r\n\
               Content-Type: multipart/related; boundary=\"x\"\r\n\r\n--x\r\n";
    for (what, text) in [
        ("is a PDF document", "%PDF-1.7\n%x"),
        ("is an RTF document", "{\\rtf1\\ansi a}"),
        (
            "is a SYLK workbook",
            "ID;PWXL;N;E\r\nC;Y1;X1;K\"Name\"\r\nC;Y1;X2;K\"Tax\"\r\nC;Y2;X1;K1.5\r\nE\r\n",
        ),
        (
            "is a DIF table",
            "TABLE\r\n0,1\r\n\"EXCEL\"\r\nVECTORS\r\n0,2\r\n\"\"\r\n",
        ),
        ("is a PostScript document", "%!PS-Adobe-3.0\n"),
        ("is a JSON document", "[{\"a\": 1},\n{\"a\": 2}]"),
        ("is a JSON document", "\n{\"a\": 1}\n{\"a\": 2}\n"),
        (
            "is a link to a document of Google Drive",
            "{\"url\": \"https://docs.google.com/open?id=1\", \"doc_id\": \"1\"}",
        ),
        ("is a web archive (MHTML, Single File Web Page)", web),
        (
            "is a mail",
            "Subject: a\nMIME-Version: 1.0\nContent-Type: text/plain\n\nHello",
        ),
        (
            "is a pointer of Git LFS",
            "version https://git-lfs.github.com/spec/v1\noid x\n",
        ),
        (
            "is an XML document (`rows`)",
            "<?xml version=\"1.0\"?><rows><row/></rows>",
        ),
        (
            "is an SVG image",
            "<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        ),
        (
            "is plain text of one column and not a workbook",
            "Service unavailable\nTry again later\n",
        ),
        ("is a Word document", "<?xml?><w:wordDocument/>"),
    ] {
        for bytes in [text.as_bytes().to_vec(), utf16(text)] {
            table.bad("book.xlsx", &bytes, &format!(": {what}"));
        }
    }
    let note = "The file is named like a workbook, but it is delimited text and was read as csv.";
    table.good(
        "text.xls",
        b"a,b\n1,2\n",
        &format!("a | b\n2: '1 | '2\n{note}"),
    );
    // Tables that begin like something else.
    for (text, want) in [
        ("ID;PLZ\nC;Kiel\n", "ID | PLZ\n2: 'C | 'Kiel"),
        ("BM,MZ\n1,2\n", "BM | MZ\n2: '1 | '2"),
        ("GIF8,PAR1\n1,2\n", "GIF8 | PAR1\n2: '1 | '2"),
        ("<name>,<value>\n1,2\n", "<name> | <value>\n2: '1 | '2"),
        ("<b>Name</b>,Tax\n1,2\n", "<b>Name</b> | Tax\n2: '1 | '2"),
        ("[a],[b]\n[1],[2]\n", "[a] | [b]\n2: '[1] | '[2]"),
        (
            "From:,MIME-Version: 1\n1,2\n",
            "From: | MIME-Version: 1\n2: '1 | '2",
        ),
        (
            "Name\nService unavailable\n",
            "Name\n2: 'Service unavailable",
        ),
        (
            "version\nhttps://git-lfs.github.com\n",
            "version\n2: 'https://git-lfs.github.com",
        ),
    ] {
        table.good("a.csv", text.as_bytes(), want);
    }
}
