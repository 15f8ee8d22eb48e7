//! Sorts the rows of a sheet that does not have them in order, so that it can be read like any other.

use std::io::{self, Read};
use std::ops::Range;

use super::sheet::{RowHead, WRONG_ROW};
use crate::read::limits::ReadLimits;
use crate::read::reference::parse_unusual_reference;
use crate::read::xml::{Event, ScanError, Scanner, Utf8};

/// The rows of a sheet as XML, in ascending order. Rows with the same number are in the order of the file.
pub(super) struct Sorted {
    /// The whole part.
    text: Vec<u8>,
    rows: std::vec::IntoIter<Row>,
    /// The tags before the content of the current row.
    tags: Vec<u8>,
    /// The bytes of `tags` that have been returned.
    at: usize,
    /// What is left of the content of the current row.
    content: Range<usize>,
    ended: bool,
}

struct Row {
    /// From 0.
    number: u32,
    hidden: bool,
    /// What is between its tags.
    content: Range<usize>,
}

impl Sorted {
    /// Loads a part and finds its rows.
    pub(super) fn new<R: Read>(part: R, limits: &ReadLimits) -> Result<Sorted, ScanError> {
        let mut text = Vec::new();
        let most = limits.whole_bytes;
        Utf8::new(part)
            .take(most.saturating_add(1))
            .read_to_end(&mut text)?;
        ScanError::check("whole_bytes", text.len() as u64, most)?;
        let mut scanner = Scanner::of_utf8(&text[..], limits.text_bytes, limits.nesting);
        let mut rows = find_rows(&mut scanner, limits)?;
        // The sort is stable.
        rows.sort_by_key(|row| row.number);
        Ok(Sorted {
            text,
            rows: rows.into_iter(),
            tags: b"<sheet><sheetData>".to_vec(),
            at: 0,
            content: 0..0,
            ended: false,
        })
    }
}

fn find_rows<R: Read>(
    scanner: &mut Scanner<R>,
    limits: &ReadLimits,
) -> Result<Vec<Row>, ScanError> {
    let mut rows: Vec<Row> = Vec::new();
    let mut data = false;
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => match scanner.local(&name) {
                b"sheetData" => data = !empty,
                b"row" if data => {
                    let head = RowHead::parse(scanner, &attributes);
                    let head = head.ok_or(ScanError::Malformed(WRONG_ROW))?;
                    let next = rows.last().map_or(0, |row| row.number.saturating_add(1));
                    let start = scanner.offset() as usize;
                    let (first, end) = match empty {
                        true => (None, start),
                        false => content(scanner)?,
                    };
                    rows.push(Row {
                        number: head.number.or(first).unwrap_or(next),
                        hidden: head.hidden,
                        content: start..end,
                    });
                    ScanError::check("rows", rows.len() as u64, limits.rows)?;
                }
                _ => {}
            },
            Event::End { name } if scanner.local(&name) == b"sheetData" => return Ok(rows),
            Event::Eof => {
                return Err(ScanError::Malformed(
                    "it is incomplete: it ends inside the rows",
                ));
            }
            _ => {}
        }
    }
}

/// Skips a row. Returns the row (from 0) that its first cell is in, if it says so, and the offset of its
/// end tag.
fn content<R: Read>(scanner: &mut Scanner<R>) -> Result<(Option<u32>, usize), ScanError> {
    let depth = scanner.depth();
    let mut first = None;
    let mut cells = 0;
    loop {
        match scanner.next()? {
            Event::Start {
                name, attributes, ..
            } if scanner.local(&name) == b"c" => {
                cells += 1;
                let reference = scanner.attribute(&attributes, b"r");
                if cells == 1 {
                    first = reference.and_then(parse_unusual_reference).map(|at| at.0);
                }
            }
            Event::End { name } if scanner.depth() < depth => {
                // Its name follows `</`.
                return Ok((first, scanner.offset_of(&name) as usize - 2));
            }
            Event::Eof => return Err(ScanError::Malformed("an element is not closed")),
            _ => {}
        }
    }
}

impl Read for Sorted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = match self.tags.get(self.at..) {
                Some(tags) if !tags.is_empty() => tags,
                _ => &self.text[self.content.clone()],
            };
            if !left.is_empty() || buffer.is_empty() || self.ended {
                let length = left.len().min(buffer.len());
                buffer[..length].copy_from_slice(&left[..length]);
                if self.at < self.tags.len() {
                    self.at += length;
                } else {
                    self.content.start += length;
                }
                return Ok(length);
            }
            self.at = 0;
            let first = self.tags.starts_with(b"<sheet>");
            self.tags.clear();
            if !first {
                self.tags.extend(b"</row>");
            }
            match self.rows.next() {
                Some(row) => {
                    let hidden = u8::from(row.hidden);
                    let number = u64::from(row.number) + 1;
                    let tag = format!("<row r=\"{number}\" hidden=\"{hidden}\">");
                    self.tags.extend(tag.as_bytes());
                    self.content = row.content;
                }
                None => {
                    self.tags.extend(b"</sheetData></sheet>");
                    self.content = 0..0;
                    self.ended = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(rows: &str, limits: &ReadLimits) -> Result<String, ScanError> {
        let xml =
            format!("<?xml version=\"1.0\"?><x:w><x:sheetData>{rows}</x:sheetData><row/></x:w>");
        let mut text = String::new();
        Sorted::new(xml.as_bytes(), limits)?.read_to_string(&mut text)?;
        let rows = text.strip_prefix("<sheet><sheetData>").unwrap();
        Ok(rows
            .strip_suffix("</sheetData></sheet>")
            .unwrap()
            .to_owned())
    }

    #[test]
    fn rows_are_sorted_with_their_content() {
        let rows = "<row r=\"3\"><c><v>3</v></c></row><x:row hidden='1' r='1'><c/>a</x:row >\
                    <row><c r=\"B2\"/></row><row r=\"1\"/><row r=\"3\">b</row><row>c</row>";
        let want = "<row r=\"1\" hidden=\"1\"><c/>a</row><row r=\"1\" hidden=\"0\"></row>\
                    <row r=\"2\" hidden=\"0\"><c r=\"B2\"/></row>\
                    <row r=\"3\" hidden=\"0\"><c><v>3</v></c></row><row r=\"3\" hidden=\"0\">b</row>\
                    <row r=\"4\" hidden=\"0\">c</row>";
        assert_eq!(sorted(rows, &ReadLimits::default()).unwrap(), want);
        assert_eq!(sorted("", &ReadLimits::default()).unwrap(), "");
    }

    #[test]
    fn limits_apply() {
        let mut limits = ReadLimits {
            rows: 2,
            ..ReadLimits::default()
        };
        let error = sorted("<row/><row/><row/>", &limits).unwrap_err();
        assert!(matches!(error, ScanError::Limit("rows", 3, 2)), "{error}");
        limits.whole_bytes = 50;
        let error = sorted("<row/>", &limits).unwrap_err();
        assert!(
            matches!(error, ScanError::Limit("whole_bytes", 51, 50)),
            "{error}"
        );
        let error = sorted("<row>", &ReadLimits::default()).unwrap_err();
        assert!(matches!(error, ScanError::Malformed(_)), "{error}");
    }
}
