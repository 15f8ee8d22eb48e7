//! The text of a cell: its paragraphs, without notes, drawings and phonetic hints.

use std::io::Read;

use memchr::memchr2;

use crate::read::xml::{Event, ScanError, Scanner, unescape};

/// The end tag of an element that is not the innermost open one.
pub(super) const CROSSED: ScanError =
    ScanError::Malformed("an end tag does not match its start tag");

/// Collects the paragraphs of a cell.
///
/// White space that contains a line break is indentation: it becomes one space, and is dropped at the
/// ends of a paragraph. OpenDocument (1.3 part 3, 6.1.2) collapses other runs of spaces too, but many programs
/// write them as they are, and spreadsheet programs display them.
#[derive(Default)]
pub(super) struct Paragraphs {
    text: String,
    count: usize,
    /// Where the current paragraph begins.
    start: usize,
    /// Whether indentation has been found since the last character.
    indented: bool,
}

impl Paragraphs {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.count = 0;
    }

    /// The text; `None` if there is no paragraph.
    pub(super) fn text(&self) -> Option<&str> {
        (self.count > 0).then_some(&self.text)
    }

    pub(super) fn begin(&mut self) {
        if self.count > 0 {
            self.text.push('\n');
        }
        self.count += 1;
        self.start = self.text.len();
        self.indented = false;
    }

    /// Adds XML text.
    pub(super) fn push(&mut self, raw: &[u8]) {
        append(raw, self.start, &mut self.indented, &mut self.text);
    }

    /// Adds text as it is.
    fn push_text(&mut self, text: &str) {
        self.end_indent();
        self.text.push_str(text);
    }

    fn end_indent(&mut self) {
        if std::mem::take(&mut self.indented) && self.text.len() > self.start {
            self.text.push(' ');
        }
    }

    /// Reads the paragraph whose start was the last event; consumes its end. `limit` is the maximum
    /// size of the text in bytes.
    pub(super) fn read<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        limit: u64,
    ) -> Result<(), ScanError> {
        self.begin();
        let mut open = 0u64;
        loop {
            match scanner.next()? {
                Event::Text(text) => self.push(scanner.bytes(&text)),
                Event::Raw(text) => {
                    let text = String::from_utf8_lossy(scanner.bytes(&text));
                    self.push_text(&text);
                }
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => {
                    let skip = match scanner.local(&name) {
                        b"s" => {
                            let count = scanner.text_attribute(&attributes, b"c");
                            let count = count.and_then(|c| c.trim().parse().ok()).unwrap_or(1u64);
                            let length = (self.text.len() as u64).saturating_add(count);
                            ScanError::check("text_bytes", length, limit)?;
                            self.end_indent();
                            self.text.extend((0..count).map(|_| ' '));
                            true
                        }
                        b"tab" => {
                            self.push_text("\t");
                            true
                        }
                        b"line-break" => {
                            self.push_text("\n");
                            true
                        }
                        local => is_apart(local),
                    };
                    match (empty, skip) {
                        (true, _) => {}
                        (false, true) => scanner.skip_element()?,
                        (false, false) => open += 1,
                    }
                }
                Event::End { name } => match (open, scanner.local(&name)) {
                    (0, b"p" | b"h") => return Ok(()),
                    (0, _) => return Err(CROSSED),
                    _ => open -= 1,
                },
                Event::Eof => return Err(ScanError::Malformed("a text is not terminated")),
            }
            ScanError::check("text_bytes", self.text.len() as u64, limit)?;
        }
    }
}

/// Whether the texts in an element inside a paragraph do not belong to it.
fn is_apart(local: &[u8]) -> bool {
    matches!(
        local,
        b"annotation"
            | b"note"
            | b"ruby-text"
            | b"frame"
            | b"g"
            | b"control"
            | b"custom-shape"
            | b"rect"
            | b"circle"
            | b"ellipse"
            | b"line"
            | b"polyline"
            | b"polygon"
            | b"regular-polygon"
            | b"path"
            | b"connector"
            | b"caption"
            | b"measure"
            | b"event-listeners"
            | b"script"
            | b"tracked-changes"
    )
}

/// Appends the XML text of a paragraph that consists of nothing else.
pub(super) fn append_paragraph(raw: &[u8], to: &mut String) {
    append(raw, to.len(), &mut false, to);
}

/// Appends XML text of a paragraph that begins at `start`.
fn append(raw: &[u8], start: usize, indented: &mut bool, to: &mut String) {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let mut rest = raw;
    while !rest.is_empty() {
        // What precedes the next line break, without the white space before it.
        let line = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let kept = match line == rest.len() {
            true => line,
            false => rest[..line]
                .iter()
                .rposition(|b| !is_blank(b))
                .map_or(0, |i| i + 1),
        };
        if kept > 0 {
            if std::mem::take(indented) && to.len() > start {
                to.push(' ');
            }
            unescape(&rest[..kept], to);
        }
        if line == rest.len() {
            return;
        }
        *indented = true;
        let tail = &rest[line..];
        rest = &tail[tail.iter().take_while(|b| is_blank(b)).count()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Option<String>, ScanError> {
        let mut scanner = Scanner::new(xml.as_bytes(), 1000, 16);
        let mut text = Paragraphs::default();
        loop {
            match scanner.next()? {
                Event::Start { empty: true, .. } => text.begin(),
                Event::Start { .. } => text.read(&mut scanner, 30)?,
                Event::Eof => return Ok(text.text().map(str::to_owned)),
                _ => {}
            }
        }
    }

    #[test]
    fn paragraphs_become_lines() {
        for (xml, want) in [
            ("", None),
            ("<p/>", Some("")),
            ("<text:p>a &amp; b</text:p>", Some("a & b")),
            ("<p>a</p>\n <p/>\n <p>b</p>", Some("a\n\nb")),
            (
                "<p>a<s c=\"3\"/>b<s/><tab/>c<line-break/>d</p>",
                Some("a   b \tc\nd"),
            ),
            ("<p>a  b\tc </p>", Some("a  b\tc ")),
            (
                "<p>\n  <span>a</span>\n  <span>b <a>c</a></span>\r\n</p>",
                Some("a b c"),
            ),
            ("<p>a \n\n b&#10;c</p>", Some("a b\nc")),
            ("<p> \n <![CDATA[<a>\n]]> \n </p>", Some("<a>\n")),
            (
                "<p>a<annotation><p>note</p></annotation><note><p>x</p></note>b</p>",
                Some("ab"),
            ),
            (
                "<p><ruby><ruby-base>a</ruby-base><ruby-text>x</ruby-text></ruby></p>",
                Some("a"),
            ),
            ("<p>a<draw:frame><p>x</p></draw:frame></p>", Some("a")),
            ("<p>a<bookmark/><s c=\"0\"/><s c=\"x\"/></p>", Some("a ")),
            ("<h>a<s>x</s></h>", Some("a ")),
        ] {
            assert_eq!(read(xml).unwrap().as_deref(), want, "{xml}");
        }
    }

    #[test]
    fn long_and_damaged_texts_are_errors() {
        for (xml, want) in [
            ("<p>a<s c=\"4000000000\"/></p>", "limit `text_bytes`"),
            (
                "<p>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</p>",
                "limit `text_bytes`",
            ),
            ("<p>a", "a text is not terminated"),
            ("<p>a</q>", "an end tag does not match its start tag"),
        ] {
            assert_eq!(read(xml).unwrap_err().to_string(), want, "{xml}");
        }
    }
}
