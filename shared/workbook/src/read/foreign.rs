//! Names the formats that are not tables, so that the error says what the file is and what to do.

use memchr::memmem;

use super::archive::Archive;
use super::compound::Compound;

/// What a file that is not a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// `is a PDF document`
    pub(super) what: String,
    /// What to do.
    pub(super) advice: &'static str,
}

pub(super) const SAVE: &str = "save it as xlsx, xlsb, xls, ods or csv and try again";
pub(super) const TABLE: &str = "copy its table into a spreadsheet, save that as xlsx and try again";
pub(super) const EXTRACT: &str = "extract the workbook and upload that";
pub(super) const EXPORT: &str = "export its rows as xlsx or csv and try again";
pub(super) const AGAIN: &str = "download or copy it again, or save it again as xlsx";

impl Foreign {
    pub(super) fn new(what: impl Into<String>, advice: &'static str) -> Foreign {
        let what = what.into();
        Foreign { what, advice }
    }
}

/// A format that its first bytes name: their offset, the bytes, what it is, what to do.
type Magic = (usize, &'static [u8], &'static str, &'static str);

/// Formats whose first bytes are not text.
const BINARY: &[Magic] = &[
    (0, b"\x89PNG", "is a PNG image", TABLE),
    (0, b"\xff\xd8\xff", "is a JPEG image", TABLE),
    (0, b"II*\0", "is a TIFF image", TABLE),
    (0, b"MM\0*", "is a TIFF image", TABLE),
    (0, b"\0\0\x01\0", "is an icon", TABLE),
    (4, b"ftyp", "is an image or a video", TABLE),
    (0, b"\x1f\x8b", "is compressed with gzip", EXTRACT),
    (0, b"\xfd7zXZ\0", "is compressed with xz", EXTRACT),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd", EXTRACT),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", EXTRACT),
    (0, b"Rar!\x1a\x07", "is a RAR archive", EXTRACT),
    (0, b"MSCF\0", "is a cabinet archive", EXTRACT),
    (257, b"ustar", "is a tar archive", EXTRACT),
    (0, b"SQLite format 3\0", "is an SQLite database", EXPORT),
    (4, b"Standard Jet DB\0", "is an Access database", EXPORT),
    (4, b"Standard ACE DB\0", "is an Access database", EXPORT),
    (0, b"\x89HDF", "is an HDF5 file", EXPORT),
    (0, b"ARROW1\0", "is an Arrow file", EXPORT),
    (0, b"Obj\x01", "is an Avro file", EXPORT),
    (0, b"\0\0\x02\0\x04\x04", "is a Lotus 1-2-3 workbook", SAVE),
    (0, b"\0\0\x02\0\x06\x04", "is a Lotus 1-2-3 workbook", SAVE),
    (0, b"\0\0\x1a\0", "is a Lotus 1-2-3 workbook", SAVE),
    (0, b"\xff\0\x02\0\x04\x04", "is a Works spreadsheet", SAVE),
    (0, b"\0\0\x02\0\x01\x10", "is a Quattro Pro workbook", SAVE),
    (0, b"\0\0\x02\0\x20\x51", "is a Quattro Pro workbook", SAVE),
    (0, b"\x7fELF", "is a program", SAVE),
    (
        0,
        b"\0\0\0\0\0\0\0\0\0\0\0\0\xc2\xea\x81\x60",
        "is a SAS data set",
        EXPORT,
    ),
];

/// Formats whose first bytes could be those of a text, which has no zeros.
const TEXT_LIKE: &[Magic] = &[
    (0, b"GIF8", "is a GIF image", TABLE),
    (0, b"BM", "is a BMP image", TABLE),
    (0, b"8BPS", "is a Photoshop image", TABLE),
    (0, b"RIFF", "is an image, a sound or a video", TABLE),
    (0, b"ID3", "is a sound", SAVE),
    (0, b"BZh", "is compressed with bzip2", EXTRACT),
    (0, b"PAR1", "is a Parquet file", EXPORT),
    (0, b"$FL", "is an SPSS file", EXPORT),
    (0, b"MZ", "is a program", SAVE),
];

/// Formats that are text, by how they begin.
const TEXT: &[(&str, &str, &str)] = &[
    ("%PDF", "is a PDF document", TABLE),
    ("%!PS", "is a PostScript document", TABLE),
    ("{\\rtf", "is an RTF document", TABLE),
    ("BEGIN:VCARD", "contains contacts (vCard)", EXPORT),
    ("BEGIN:VCALENDAR", "is a calendar (iCalendar)", EXPORT),
    (
        "version https://git-lfs.github.com/spec/",
        "is a pointer of Git LFS, not the file itself",
        "fetch the file with `git lfs pull` and upload that",
    ),
    (
        "[InternetShortcut]",
        "is a link to a web page",
        "download the file that it leads to and upload that",
    ),
];

/// The format of a file whose first bytes are not those of any text.
pub(super) fn binary(head: &[u8]) -> Option<Foreign> {
    let zeros = head.contains(&0);
    let begins = |magic: &&Magic| {
        head.get(magic.0..)
            .is_some_and(|at| at.starts_with(magic.1))
    };
    let text_like = TEXT_LIKE.iter().filter(|_| zeros);
    if let Some(magic) = BINARY.iter().chain(text_like).find(begins) {
        return Some(Foreign::new(magic.2, magic.3));
    }
    // A text in UTF-16 is neither of these.
    if head.len() >= 16 && head.iter().all(|byte| *byte == 0) {
        let what = "contains only zeros: its content was lost, or was never downloaded";
        return Some(Foreign::new(what, AGAIN));
    }
    // dBase: the version, a date, and the two zeros of a reserved field.
    if let [
        0x03 | 0x30 | 0x31 | 0x83 | 0x8b | 0xf5,
        _,
        1..=12,
        1..=31,
        ..,
    ] = head
        && head.get(12..14) == Some(&[0, 0])
    {
        return Some(Foreign::new("is a dBase table", EXPORT));
    }
    None
}

/// What a zip archive is that is not a workbook.
pub(super) fn archive(archive: &Archive) -> Foreign {
    if archive.has_prefix("Index/") || archive.find("Index.zip").is_some() {
        return Foreign::new("is a Numbers document", "export it as xlsx and try again");
    }
    if archive.has_prefix("word/") {
        return Foreign::new("is a Word document", TABLE);
    }
    if archive.has_prefix("ppt/") {
        return Foreign::new("is a PowerPoint presentation", TABLE);
    }
    let tables = ["xlsx", "xlsm", "xlsb", "xls", "ods", "csv", "tsv"];
    let mut inside = archive.entries().iter().map(|entry| entry.name.as_str());
    let table = inside.find(|name| {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let extension = extension.unwrap_or_default();
        tables
            .iter()
            .any(|table| extension.eq_ignore_ascii_case(table))
    });
    match table {
        Some(name) => {
            let name: String = name.chars().take(80).collect();
            Foreign::new(format!("is a zip archive that contains `{name}`"), EXTRACT)
        }
        None => Foreign::new("is a zip archive that does not contain a workbook", SAVE),
    }
}

/// What a compound file is that is not a workbook, by its streams.
pub(super) fn compound(compound: &Compound<'_>) -> Foreign {
    let known = [
        ("WordDocument", "is a Word document", TABLE),
        ("PowerPoint Document", "is a PowerPoint presentation", TABLE),
        (
            "__properties_version1.0",
            "is an Outlook message",
            "save its attachment and upload that",
        ),
        ("VisioDocument", "is a Visio drawing", TABLE),
    ];
    let found = known.iter().find(|(stream, ..)| compound.contains(stream));
    match found {
        Some((_, what, advice)) => Foreign::new(*what, advice),
        None => Foreign::new("is a compound file that does not contain a workbook", SAVE),
    }
}

/// The format of a file whose text, without a byte order mark, begins with `text`.
pub(super) fn text(text: &str) -> Option<Foreign> {
    let start = text.trim_start();
    if let Some((_, what, advice)) = TEXT.iter().find(|(begin, ..)| start.starts_with(begin)) {
        return Some(Foreign::new(*what, advice));
    }
    if is_sylk(start) {
        return Some(Foreign::new("is a SYLK workbook (Symbolic Link)", SAVE));
    }
    if is_dif(start) {
        return Some(Foreign::new(
            "is a DIF table (Data Interchange Format)",
            SAVE,
        ));
    }
    if is_mail(start) {
        return Some(
            if contains(start, "multipart/related") || contains(start, "text/html") {
                Foreign::new("is a web archive (MHTML, Single File Web Page)", SAVE)
            } else {
                Foreign::new("is a mail", "save its attachment and upload that")
            },
        );
    }
    if is_json(start) {
        return Some(
            if start.contains("\"doc_id\"") || start.contains("docs.google.com") {
                Foreign::new(
                    "is a link to a document of Google Drive",
                    "download the document as xlsx and upload that",
                )
            } else {
                Foreign::new(
                    "is a JSON document",
                    "convert it to csv or xlsx and try again",
                )
            },
        );
    }
    None
}

fn contains(text: &str, what: &str) -> bool {
    memmem::find(text.to_ascii_lowercase().as_bytes(), what.as_bytes()).is_some()
}

/// Whether a text is SYLK: an `ID` record, then records of known types. A csv file whose first column is
/// called `ID` begins alike.
fn is_sylk(text: &str) -> bool {
    let mut lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    let id = lines.next().unwrap_or_default();
    let Some(second) = lines.next() else {
        return false;
    };
    let record = |line: &str| {
        let (kind, fields) = line.split_once(';').unwrap_or((line, ""));
        let field = |known: &str| {
            let known = |field: &str| field.starts_with(|c| known.contains(c));
            fields.split(';').any(known)
        };
        match kind {
            "E" => fields.is_empty(),
            "C" => fields.split(';').any(is_cell_field),
            "F" => field("PFXYWMCRDSN"),
            "B" => field("XY"),
            "P" => field("PFEM"),
            "O" | "W" | "NN" | "NE" | "NU" => field("ABCDEGKLMNPRSTVZ"),
            _ => false,
        }
    };
    let names = id == "ID" && second.contains(';') || id.starts_with("ID;");
    // The head of the file may end inside a line.
    names
        && record(second)
        && lines
            .take(3)
            .all(|line| record(line) || text.ends_with(line))
}

/// Whether a field of a SYLK record is a position or a value.
fn is_cell_field(field: &str) -> bool {
    let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match field.split_at_checked(1) {
        Some(("X" | "Y", position)) => number(position),
        Some(("K", value)) => {
            value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '"' | '-' | '.' | '#'))
                || matches!(value, "TRUE" | "FALSE")
        }
        _ => false,
    }
}

/// Whether a text is DIF: the record `TABLE`, version 0,1.
fn is_dif(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_end);
    lines.next() == Some("TABLE")
        && lines.next() == Some("0,1")
        && lines.next().is_some_and(|line| line.starts_with('"'))
}

/// Whether a text begins with the header of a MIME message: lines `Name: value`, one of which is
/// `MIME-Version`.
fn is_mail(text: &str) -> bool {
    let header = text.lines().take_while(|line| !line.trim().is_empty());
    let mut mime = false;
    for (at, line) in header.enumerate() {
        let folded = at > 0 && line.starts_with([' ', '\t']);
        let Some((name, _)) = line.split_once(':') else {
            // The head of the file may end inside a line.
            return folded || mime;
        };
        let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !folded && (name.is_empty() || !named) {
            return false;
        }
        mime |= name.eq_ignore_ascii_case("mime-version");
    }
    mime
}

/// Whether a text, of which the end may be cut, is JSON: an object, an array, or one object per line.
fn is_json(text: &str) -> bool {
    let mut values = 0;
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        // Lines of arrays could be a table whose values are in brackets.
        if !(rest.starts_with('{') || values == 0 && rest.starts_with('[')) {
            return false;
        }
        match json_value(rest) {
            Json::Valid(after) => rest = after.trim_start(),
            Json::Cut => return true,
            Json::Invalid => return false,
        }
        values += 1;
    }
    values > 0
}

enum Json<'a> {
    /// A value, and what follows it.
    Valid(&'a str),
    /// The text ends inside the value.
    Cut,
    Invalid,
}

/// Checks an object or array without recursion.
fn json_value(text: &str) -> Json<'_> {
    #[derive(Clone, Copy, PartialEq)]
    enum Next {
        Key,
        Colon,
        Value,
        Comma,
    }
    let mut open: Vec<u8> = Vec::new();
    let mut next = Next::Value;
    // Whether the object or array may end here.
    let mut may_close = false;
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(&byte) = rest.as_bytes().first() else {
            return Json::Cut;
        };
        match (byte, next) {
            (b'{' | b'[', Next::Value) => {
                open.push(byte);
                next = if byte == b'{' { Next::Key } else { Next::Value };
                may_close = true;
                rest = &rest[1..];
                continue;
            }
            (b'}' | b']', _) => {
                let opening = if byte == b'}' { b'{' } else { b'[' };
                if !may_close || open.pop() != Some(opening) {
                    return Json::Invalid;
                }
                rest = &rest[1..];
                if open.is_empty() {
                    return Json::Valid(rest);
                }
                next = Next::Comma;
                continue;
            }
            (b',', Next::Comma) => {
                let object = open.last() == Some(&b'{');
                next = if object { Next::Key } else { Next::Value };
                may_close = false;
                rest = &rest[1..];
                continue;
            }
            (b':', Next::Colon) => {
                next = Next::Value;
                rest = &rest[1..];
            }
            (b'"', Next::Key | Next::Value) => {
                let Some(end) = string_end(&rest[1..]) else {
                    return Json::Cut;
                };
                rest = &rest[1 + end..];
                next = if next == Next::Key {
                    Next::Colon
                } else {
                    Next::Comma
                };
            }
            (_, Next::Value) => {
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let known = matches!(word, "true" | "false" | "null");
                if after.is_empty() {
                    return Json::Cut;
                }
                if !known && word.parse::<f64>().is_err() {
                    return Json::Invalid;
                }
                rest = after;
                next = Next::Comma;
            }
            _ => return Json::Invalid,
        }
        may_close = next == Next::Comma;
    }
}

/// The offset after the quote that ends a string.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_distinguished_from_tables() {
        for json in [
            "{}",
            "[]",
            "{\"a\": 1, \"b\": [true, null, -1.5e3], \"c\": {\"d\\\"\": \"x\"}}\n",
            "[{\"a\": 1}, {\"a\": 2}]",
            "{\"a\":1}\n{\"a\":2}\r\n",
            "{\"a\":1}\n{\"a\": \"cut he",
            "[[1,2],[3",
            " \n[1,\n2]",
        ] {
            assert!(is_json(json), "{json}");
        }
        for table in [
            "",
            "a,b\n1,2",
            "[a],[b]\n[1],[2]\n",
            "[1],[2]\n",
            "[1]\n[2]\n",
            "{name},{value}\n",
            "{\"a\":1},{\"b\":2}\n",
            "[\"a\",]\n",
            "[1 2]",
            "{1:2}",
            "[}",
            "[a]",
            "{\"a\"}",
            "\"a\",\"b\"\n",
        ] {
            assert!(!is_json(table), "{table}");
        }
    }

    #[test]
    fn sylk_and_dif_are_distinguished_from_tables() {
        for sylk in [
            "ID;PWXL;N;E\nC;Y1;X1;K\"Name\"\nC;Y1;X2;K\"Tax\"\nE\n",
            "ID;PSCALC3\r\nB;X2;Y3\r\nF;P0;FG0L\r\nC;X1;Y1;K1",
            "ID\nC;X1;Y1;K1\nE\n",
            "ID;PWXL;N;E\nP;PGeneral\nP;P0\nP;P#,##0\nP;Pdd/mm",
        ] {
            assert!(is_sylk(sylk), "{sylk}");
        }
        for table in [
            "ID;Price;Name\n1;2;3\n",
            "ID;PLZ\nC;Kiel\nC;Essen\n",
            "ID\nE\n",
            "ID;P\n",
            "ID;N\nE;x\n",
            "ID,PWXL\n",
            "",
        ] {
            assert!(!is_sylk(table), "{table}");
        }
        assert!(is_dif("TABLE\r\n0,1\r\n\"EXCEL\"\r\nVECTORS\r\n"));
        assert!(!is_dif("TABLE\n0,1\n2,3\n"));
        assert!(!is_dif("TABLE,A\n0,1\n"));
    }

    #[test]
    fn mails_are_distinguished_from_tables() {
        for mail in [
            "MIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n boundary=\"x\"\r\n\r\nabc",
            "From: <Saved by Blink>\nSubject: a\n\tb\nMIME-Version: 1.0\n\n",
            "mime-version: 1.0\nX-Cut",
        ] {
            assert!(is_mail(mail), "{mail}");
        }
        for table in [
            "a: b\nc: d\n",
            "Name;MIME-Version: 1\n",
            "From,To\nMIME-Version: 1.0\n",
            "",
            "\nMIME-Version: 1",
        ] {
            assert!(!is_mail(table), "{table}");
        }
    }
}
