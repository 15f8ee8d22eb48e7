//! Reads the shared strings of xlsx.

use std::io::Read;

use super::escapes;
use crate::read::string_table::StringTable;
use crate::read::xml::{Event, ScanError, Scanner, unescape};

/// Reads the part. `budget` is the maximum size in memory in bytes.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    budget: u64,
) -> Result<StringTable, ScanError> {
    let mut strings = StringTable::default();
    loop {
        if !plain(scanner, &mut strings) {
            match scanner.next()? {
                Event::Start { name, empty, .. } if scanner.local(&name) == b"si" => {
                    if !empty {
                        rich(scanner, b"si", &mut strings.text)?;
                    }
                    strings.end_string();
                }
                Event::Eof => return Ok(strings),
                _ => continue,
            }
        }
        ScanError::check("string_bytes", strings.bytes(), budget)?;
    }
}

/// Fast path: consumes one `<si><t>text</t></si>`, which is how most strings are written.
/// `false`, and nothing consumed, if the next item differs or is not fully buffered.
fn plain<R: Read>(scanner: &mut Scanner<R>, strings: &mut StringTable) -> bool {
    let ahead = scanner.buffered();
    let Some(body) = ahead.strip_prefix(b"<si><t>") else {
        return false;
    };
    let Some(length) = memchr::memchr(b'<', body) else {
        return false;
    };
    if !body[length..].starts_with(b"</t></si>") {
        return false;
    }
    let from = strings.text.len();
    append(&body[..length], true, from, &mut strings.text);
    strings.end_string();
    scanner.advance(7 + length + 9);
    true
}

/// Appends the text of a `<t>` that contains no elements. Without `xml:space="preserve"`, surrounding
/// whitespace is removed.
pub(super) fn append(raw: &[u8], trim: bool, from: usize, to: &mut String) {
    let (raw, _) = if trim {
        split_end(after_blanks(raw))
    } else {
        (raw, raw)
    };
    unescape(raw, to);
    escapes::resolve(to, from);
}

/// Whether a byte is whitespace in XML.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What follows the whitespace at the start.
fn after_blanks(raw: &[u8]) -> &[u8] {
    let start = raw.iter().position(|b| !is_blank(b)).unwrap_or(raw.len());
    &raw[start..]
}

/// Splits off the whitespace at the end.
fn split_end(raw: &[u8]) -> (&[u8], &[u8]) {
    raw.split_at(raw.iter().rposition(|b| !is_blank(b)).map_or(0, |i| i + 1))
}

/// Appends the text of a string item: that of its `<t>`, or of all its runs. Phonetic hints are
/// ignored. The last event was the start of the item; consumes its end.
pub(super) fn rich<R: Read>(
    scanner: &mut Scanner<R>,
    closing: &[u8],
    to: &mut String,
) -> Result<(), ScanError> {
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty: false,
            } => match scanner.local(&name) {
                b"t" => {
                    let space = scanner.attribute(&attributes, b"space");
                    plain_text(scanner, space != Some(b"preserve"), to)?;
                }
                b"rPh" => scanner.skip_element()?,
                _ => {}
            },
            Event::End { name } if scanner.local(&name) == closing => return Ok(()),
            Event::Eof => return Err(ScanError::Malformed("a string is not terminated")),
            _ => {}
        }
    }
}

/// Appends the text of the element whose start was the last event; consumes its end. `trim` removes
/// surrounding whitespace, but not that of references and CDATA sections: it was written deliberately.
pub(super) fn plain_text<R: Read>(
    scanner: &mut Scanner<R>,
    trim: bool,
    to: &mut String,
) -> Result<(), ScanError> {
    let from = to.len();
    // The end of the text without the whitespace that may be at its end.
    let mut kept = from;
    loop {
        match scanner.next()? {
            Event::Text(text) => {
                let raw = scanner.bytes(&text);
                let raw = if trim && kept == from {
                    after_blanks(raw)
                } else {
                    raw
                };
                let (inner, blanks) = split_end(raw);
                unescape(inner, to);
                if !inner.is_empty() {
                    kept = to.len();
                }
                unescape(blanks, to);
            }
            Event::Raw(text) => {
                to.push_str(&String::from_utf8_lossy(scanner.bytes(&text)));
                kept = to.len();
            }
            Event::End { .. } => break,
            Event::Start { empty: false, .. } => scanner.skip_element()?,
            Event::Start { .. } => {}
            Event::Eof => return Err(ScanError::Malformed("a text is not terminated")),
        }
    }
    if trim {
        to.truncate(kept);
    }
    escapes::resolve(to, from);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(xml: &str, budget: u64) -> Result<Vec<String>, ScanError> {
        let mut scanner = Scanner::new(xml.as_bytes(), 1 << 20, 16);
        let strings = read(&mut scanner, budget)?;
        let all = (0..).map_while(|i| strings.get(i).map(str::to_owned));
        Ok(all.collect())
    }

    #[test]
    fn plain_and_rich_strings_are_read() {
        let xml = "<sst><si><t>a &amp; b</t></si><si><t xml:space=\"preserve\"> c </t></si>\
                   <si/><si><t> d </t></si> <si><t/></si><x:si><x:r><x:rPr><x:b/></x:rPr><x:t>e</x:t></x:r>\
                   <x:r><x:t xml:space='preserve'> f</x:t></x:r><x:rPh><x:t>g</x:t></x:rPh></x:si>\
                   <si><t><![CDATA[<h>&amp;]]></t></si><si><t>_x000D_</t></si>\
                   <si><t> &#32;g&#10; </t></si><si><t> <!-- --> h <!-- --> <![CDATA[ ]]> </t></si></sst>";
        let want = [
            "a & b", " c ", "", "d", "", "e f", "<h>&amp;", "\r", " g\n", "h   ",
        ];
        assert_eq!(all(xml, 1000).unwrap(), want);
    }

    #[test]
    fn strings_beyond_the_budget_are_an_error() {
        let xml = format!("<sst>{}</sst>", "<si><t/></si>".repeat(1000));
        let error = all(&xml, 7999).unwrap_err();
        assert!(matches!(
            error,
            ScanError::Limit("string_bytes", 8000, 7999)
        ));
        assert_eq!(all(&xml, 8000).unwrap().len(), 1000);
        assert!(all("<sst><si><t>a</t>", 100).is_err());
    }
}
