//! The charset of a body, as browsers find it (WHATWG HTML, "determining the character encoding").

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

/// How many bytes browsers search for a declaration before they parse the page.
const PRESCAN: usize = 1024;

/// Decodes HTML, XML or plain text: by the byte order mark, else by Content-Type, else by the
/// declaration in the document. Without any, text that is not UTF-8 is windows-1252.
pub(super) fn text<'a>(body: &'a [u8], content_type: Option<&str>) -> Cow<'a, str> {
    let declared = content_type
        .and_then(of_content_type)
        .or_else(|| of_xml(body))
        .or_else(|| of_page(&body[..body.len().min(PRESCAN)]));
    let is_utf8 = || std::str::from_utf8(body).is_ok();
    let encoding = match declared {
        Some(encoding) => encoding,
        None if is_utf8() => UTF_8,
        // A parser finds it later, too.
        None => of_page(body).unwrap_or(WINDOWS_1252),
    };
    // Looks for a byte order mark first.
    encoding.decode(body).0
}

/// Decodes JSON. It is UTF-8 (RFC 8259), whatever the header says. Some servers use UTF-16, or declare
/// another charset and do use it.
///
/// # Errors
/// The body is neither UTF-8 nor in a declared charset.
pub(super) fn json<'a>(
    body: &'a [u8],
    content_type: Option<&str>,
) -> Result<Cow<'a, str>, &'static str> {
    if let Some((encoding, length)) = Encoding::for_bom(body) {
        return Ok(encoding.decode_without_bom_handling(&body[length..]).0);
    }
    // JSON starts with an ASCII character.
    let utf16 = match body {
        [0, second, ..] if *second != 0 => Some(UTF_16BE),
        [first, 0, ..] if *first != 0 => Some(UTF_16LE),
        _ => None,
    };
    if let Some(encoding) = utf16 {
        return Ok(encoding.decode_without_bom_handling(body).0);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        return Ok(Cow::Borrowed(text));
    }
    match content_type.and_then(of_content_type) {
        Some(encoding) if encoding != UTF_8 => Ok(encoding.decode_without_bom_handling(body).0),
        _ => Err("it is not UTF-8, and its Content-Type declares no other charset"),
    }
}

/// The parameter `charset` of a Content-Type.
fn of_content_type(value: &str) -> Option<&'static Encoding> {
    let mut rest = value;
    while let Some((_, parameters)) = rest.split_once(';') {
        let parameters = parameters.trim_start();
        let end = parameters.find(['=', ';'])?;
        let (name, after) = parameters.split_at(end);
        rest = after;
        let Some(after) = after.strip_prefix('=') else {
            continue;
        };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        rest = after;
        if name.eq_ignore_ascii_case("charset") {
            return Encoding::for_label(value.trim().trim_matches('\'').as_bytes());
        }
    }
    None
}

/// The charset of an XML document: by its declaration, or by the first bytes of UTF-16.
fn of_xml(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [b'<', 0, b'?', 0, ..] => return Some(UTF_16LE),
        [0, b'<', 0, b'?', ..] => return Some(UTF_16BE),
        _ => {}
    }
    let declaration = body.strip_prefix(b"<?xml")?;
    let end = declaration.iter().position(|b| *b == b'>')?;
    let declaration = &declaration[..end];
    let name = b"encoding";
    let start = declaration.windows(name.len()).position(|w| w == name)? + name.len();
    let value = declaration[start..].trim_ascii_start().strip_prefix(b"=")?;
    let (quote, value) = value.trim_ascii_start().split_first()?;
    let end = value.iter().position(|b| b == quote)?;
    if !b"\"'".contains(quote) {
        return None;
    }
    Encoding::for_label(&value[..end]).map(readable)
}

/// The encoding of a document whose declaration is readable as ASCII and therefore cannot be UTF-16, even if it says so.
fn readable(encoding: &'static Encoding) -> &'static Encoding {
    match encoding {
        e if e == UTF_16LE || e == UTF_16BE => UTF_8,
        e if e == X_USER_DEFINED => WINDOWS_1252,
        other => other,
    }
}

/// The charset that a `<meta>` declares ("prescan a byte stream to determine its encoding").
fn of_page(bytes: &[u8]) -> Option<&'static Encoding> {
    let mut scan = Scan { bytes, at: 0 };
    while let Some(found) = memchr::memchr(b'<', bytes.get(scan.at..)?) {
        scan.at += found;
        let tag = &bytes[scan.at..];
        let after_meta = tag.get(5).copied().unwrap_or_default();
        if tag.starts_with(b"<!--") {
            // `<!-->` is a whole comment.
            scan.at += 2 + memchr::memmem::find(&tag[2..], b"-->")? + 3;
        } else if tag.len() > 5
            && tag[..5].eq_ignore_ascii_case(b"<meta")
            && (is_space(after_meta) || after_meta == b'/')
        {
            scan.at += 5;
            if let Some(encoding) = scan.meta() {
                return Some(readable(encoding));
            }
        } else if tag.get(1).is_some_and(u8::is_ascii_alphabetic)
            || tag.starts_with(b"</") && tag.get(2).is_some_and(u8::is_ascii_alphabetic)
        {
            scan.at += tag.iter().position(|b| is_space(*b) || *b == b'>')?;
            while scan.attribute().is_some() {}
        } else if tag.get(1).is_some_and(|b| b"!/?".contains(b)) {
            scan.at += memchr::memchr(b'>', tag)?;
        } else {
            scan.at += 1;
        }
    }
    None
}

fn is_space(byte: u8) -> bool {
    b"\t\n\x0c\r ".contains(&byte)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.byte().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    /// Reads the attributes of a `<meta>`.
    fn meta(&mut self) -> Option<&'static Encoding> {
        let mut names = Vec::new();
        let (mut is_content_type, mut of_content, mut of_charset) = (false, None, None);
        while let Some((name, value)) = self.attribute() {
            if names.contains(&name) {
                continue;
            }
            match name.as_slice() {
                b"http-equiv" => is_content_type |= value == b"content-type",
                b"content" => of_content = in_content(&value),
                b"charset" => of_charset = Some(Encoding::for_label(&value)),
                _ => {}
            }
            names.push(name);
        }
        match of_charset {
            Some(encoding) => encoding,
            None => of_content.filter(|_| is_content_type),
        }
    }

    /// Reads an attribute: its name and its value, both in lower case ("get an attribute").
    fn attribute(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.skip(|b| is_space(b) || b == b'/');
        if self.byte()? == b'>' {
            return None;
        }
        let start = self.at;
        // A name can start with `=`.
        self.at += 1;
        self.skip(|b| !(is_space(b) || b"=/>".contains(&b)));
        let name = self.bytes[start..self.at].to_ascii_lowercase();
        self.skip(is_space);
        if self.byte()? != b'=' {
            return Some((name, Vec::new()));
        }
        self.at += 1;
        self.skip(is_space);
        let quote = self.byte()?;
        let start = match quote {
            b'"' | b'\'' => {
                self.at += 1;
                let start = self.at;
                self.skip(|b| b != quote);
                start
            }
            _ => {
                let start = self.at;
                self.skip(|b| !(is_space(b) || b == b'>'));
                start
            }
        };
        let value = self.bytes[start..self.at].to_ascii_lowercase();
        if b"\"'".contains(&quote) {
            // An attribute that does not end declares nothing.
            self.byte()?;
            self.at += 1;
        }
        Some((name, value))
    }
}

/// The charset in the `content` of a `<meta>` ("extracting a character encoding from a meta
/// element"). `content` is in lower case.
fn in_content(content: &[u8]) -> Option<&'static Encoding> {
    let mut rest = content;
    loop {
        let start = memchr::memmem::find(rest, b"charset")?;
        rest = rest[start + b"charset".len()..].trim_ascii_start();
        let Some(value) = rest.strip_prefix(b"=") else {
            continue;
        };
        let value = value.trim_ascii_start();
        let (quote, quoted) = value.split_first()?;
        let label = match quote {
            b'"' | b'\'' => &quoted[..quoted.iter().position(|b| b == quote)?],
            _ => {
                let end = value.iter().position(|b| is_space(*b) || *b == b';');
                &value[..end.unwrap_or(value.len())]
            }
        };
        return Encoding::for_label(label);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UTF8: &[u8] = "<v>café</v>".as_bytes();
    const LATIN: &[u8] = b"<v>caf\xe9</v>";

    #[track_caller]
    fn reads(head: &str, bytes: &[u8], content_type: Option<&str>) {
        let body = [head.as_bytes(), bytes].concat();
        let found = text(&body, content_type);
        assert!(found.ends_with("<v>café</v>"), "{head:?}: {found}");
    }

    #[test]
    fn a_declaration_counts_only_where_it_is_one() {
        for head in [
            "",
            "<!-- charset=iso-8859-1 --><meta charset=utf-8>",
            "<!--><meta charset=utf-8>",
            "<script src=x.js charset=\"iso-8859-1\"></script><meta charset=utf-8>",
            "<meta name=description content=\"charset=gbk\">",
            "<meta http-equiv=refresh content=\"0; charset=gbk\">",
            "<meta charset=\"utf-16\">",
            "<META CHARSET = 'UTF-8' charset=gbk>",
            "<metadata charset=gbk>",
            "<?php charset=gbk ?><meta charset=utf8>",
            "<!doctype html charset=gbk><meta/charset=utf-8/>",
            "<a title='<meta charset=gbk>'><meta charset=utf-8>",
            "<meta http-equiv=content-type content='text/html; charset=\"utf-8\"'>",
            "<meta charset=utf-8 http-equiv=content-type content='a; charset=gbk'>",
            "<meta charset='gbk",
            "<meta charset=unknown>",
            "<?xml version='1.0' encoding='UTF-16'?>",
            "<?xml version='1.0'?>",
        ] {
            reads(head, UTF8, None);
        }
        for head in [
            "",
            "<meta charset=latin1>",
            "<meta http-equiv=Content-Type content=\"text/html; charset = iso-8859-1\">",
            "<meta content='text/html;charset=ISO-8859-1' http-equiv='Content-Type'/>",
            "<meta http-equiv=content-type content='charset x; charset=windows-1252;'>",
            "<meta charset=x-user-defined>",
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>",
            "<?xml version='1.0'\n encoding = 'windows-1252' standalone='yes' ?>",
        ] {
            reads(head, LATIN, None);
        }
        let late = format!("{}<meta charset=latin1>", " ".repeat(5_000));
        reads(&late, LATIN, None);
        let cyrillic = format!("{}<meta charset=windows-1251>", "<p>".repeat(500)).into_bytes();
        assert!(text(&[&cyrillic[..], b"\xcf"].concat(), None).ends_with('П'));
        let utf16: Vec<u8> = "<?xml?>é"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(text(&utf16, None), "<?xml?>é");
    }

    #[test]
    fn a_content_type_or_mark_goes_before_the_document() {
        let meta = "<meta charset=gbk>";
        for header in [
            "text/html; charset=iso-8859-1",
            "text/html;CHARSET=\"Latin1\"",
            "text/html; x=\"a;charset=utf-8\"; charset=windows-1252; y=1",
            "text/html; charset='latin1'",
        ] {
            reads(meta, LATIN, Some(header));
            assert_eq!(text(b"\xef\xbb\xbfcaf\xc3\xa9", Some(header)), "café");
        }
        for header in [
            "text/html",
            "text/html; charset",
            "text/html; charset=unknown",
            "text/html; xcharset=gbk",
            "text/html; profile=charset=gbk",
        ] {
            reads("", UTF8, Some(header));
            reads("", LATIN, Some(header));
        }
    }

    #[test]
    fn json_that_is_utf_8_is_read_as_utf_8() {
        let text = "{\"v\":\"Zürich – café\"}";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        for header in [
            None,
            Some("application/json"),
            Some("application/json; charset=iso-8859-1"),
        ] {
            let read = |body: &[u8]| json(body, header).map(Cow::into_owned);
            assert_eq!(read(text.as_bytes()).as_deref(), Ok(text));
            let marked = format!("\u{feff}{text}");
            assert_eq!(read(marked.as_bytes()).as_deref(), Ok(text));
            assert_eq!(read(&utf16(u16::to_le_bytes)).as_deref(), Ok(text));
            assert_eq!(read(&utf16(u16::to_be_bytes)).as_deref(), Ok(text));
        }
        let latin = b"{\"v\":\"caf\xe9\"}";
        let header = Some("application/json; charset=iso-8859-1");
        assert_eq!(json(latin, header).as_deref(), Ok("{\"v\":\"café\"}"));
        assert!(json(latin, None).is_err());
        assert!(json(latin, Some("application/json; charset=utf-8")).is_err());
        assert_eq!(json(b"", None).as_deref(), Ok(""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec!["<", "<meta ", "charset", "=", "'", "\"", ">", "/", "<!--", "-->", " ", "content", "http-equiv=content-type", "<?xml", "encoding", "latin1", ";"])
                        .prop_map(|text| text.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..4),
                ],
                0..30,
            ),
        ) {
            let body = parts.concat();
            let _ = text(&body, None);
            let header = String::from_utf8_lossy(&body).into_owned();
            let _ = text(b"x", Some(&header));
            let _ = json(&body, Some(&header));
        }
    }
}
