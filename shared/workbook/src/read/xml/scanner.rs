//! A minimal scanner for the XML of spreadsheets. Tags and texts are slices of one buffer.
//!
//! It expands no entities, rejects document type declarations, and limits the size of each token and
//! the nesting depth. Time and memory are therefore bounded by the size of the input.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr3, memmem};

use super::encoding::Utf8;

/// Minimum free space in the buffer for a read from the source.
const CHUNK: usize = 128 << 10;

/// Why XML could not be scanned.
#[derive(Debug, thiserror::Error)]
pub(in crate::read) enum ScanError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(&'static str),
    /// A limit was exceeded: its name, the value found and the maximum.
    #[error("limit `{0}`")]
    Limit(&'static str, u64, u64),
}

impl ScanError {
    /// Fails if `found` exceeds `allowed`.
    pub(in crate::read) fn check(
        limit: &'static str,
        found: u64,
        allowed: u64,
    ) -> Result<(), ScanError> {
        if found > allowed {
            return Err(ScanError::Limit(limit, found, allowed));
        }
        Ok(())
    }
}

/// An event in the XML. Its ranges are valid until the next call of [`Scanner::next`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::read) enum Event {
    /// `<name attributes>`, or `<name attributes/>`, which has no [`Event::End`].
    Start {
        name: Range<usize>,
        attributes: Range<usize>,
        empty: bool,
    },
    /// `</name>`
    End { name: Range<usize> },
    /// Text between tags, not yet unescaped.
    Text(Range<usize>),
    /// Text from a CDATA section, which must not be unescaped.
    Raw(Range<usize>),
    /// The end of the input.
    Eof,
}

/// Reads XML events from a source in any encoding.
pub(in crate::read) struct Scanner<R> {
    source: Utf8<R>,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes of the text before the buffer.
    before: u64,
    depth: u64,
    token_max: u64,
    depth_max: u64,
}

impl<R: Read> Scanner<R> {
    /// Creates a scanner. `token_max` limits the size of a tag or text in bytes, `depth_max` the nesting
    /// depth.
    pub(in crate::read) fn new(source: R, token_max: u64, depth_max: u64) -> Scanner<R> {
        Scanner::with_source(Utf8::new(source), token_max, depth_max)
    }

    /// The same for a source that is UTF-8, whatever it declares.
    pub(in crate::read) fn of_utf8(source: R, token_max: u64, depth_max: u64) -> Scanner<R> {
        Scanner::with_source(Utf8::plain(source), token_max, depth_max)
    }

    fn with_source(source: Utf8<R>, token_max: u64, depth_max: u64) -> Scanner<R> {
        Scanner {
            source,
            buffer: vec![0; 2 * CHUNK],
            at: 0,
            end: 0,
            before: 0,
            depth: 0,
            token_max,
            depth_max,
        }
    }

    /// The bytes that have been read but not consumed.
    pub(in crate::read) fn buffered(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Consumes bytes of [`Scanner::buffered`].
    pub(in crate::read) fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.end);
    }

    /// The offset in the text of what follows the last event.
    pub(in crate::read) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The offset in the text of the start of a range from the last event.
    pub(in crate::read) fn offset_of(&self, range: &Range<usize>) -> u64 {
        self.before + range.start as u64
    }

    /// The bytes of a range from the last event.
    pub(in crate::read) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    /// A name without its namespace prefix.
    pub(in crate::read) fn local(&self, name: &Range<usize>) -> &[u8] {
        let name = self.bytes(name);
        match memchr(b':', name) {
            Some(colon) => &name[colon + 1..],
            None => name,
        }
    }

    /// Reads more bytes. `false` at the end of the source.
    fn fill(&mut self) -> Result<bool, ScanError> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.end, 0);
            self.before += self.at as u64;
            self.end -= self.at;
            self.at = 0;
        }
        ScanError::check("text_bytes", self.end as u64, self.token_max)?;
        if self.buffer.len() - self.end < CHUNK {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Buffers at least `bytes` bytes. `false` if the source ends before.
    fn need(&mut self, bytes: usize) -> Result<bool, ScanError> {
        while self.end - self.at < bytes {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The offset that `find` returns, reading more bytes until it returns one. `find` receives the
    /// buffered bytes and how many of them it has already seen.
    fn find(
        &mut self,
        mut find: impl FnMut(&[u8], usize) -> Option<usize>,
        missing: &'static str,
    ) -> Result<usize, ScanError> {
        let mut seen = 0;
        loop {
            if let Some(found) = find(self.buffered(), seen) {
                return Ok(found);
            }
            seen = self.end - self.at;
            if !self.fill()? {
                return Err(ScanError::Malformed(missing));
            }
        }
    }

    /// The number of open elements.
    pub(in crate::read) fn depth(&self) -> u64 {
        self.depth
    }

    /// The next event.
    pub(in crate::read) fn next(&mut self) -> Result<Event, ScanError> {
        loop {
            if !self.need(1)? {
                return Ok(Event::Eof);
            }
            if self.buffer[self.at] != b'<' {
                return self.text();
            }
            let more = self.need(2)?;
            match self.buffer.get(self.at + 1) {
                Some(b'/') if more => return self.end_tag(),
                Some(b'?') if more => self.skip_to(b"?>")?,
                Some(b'!') if more => {
                    self.need(9)?;
                    if self.buffered().starts_with(b"<!--") {
                        self.advance(4);
                        self.skip_to(b"-->")?;
                    } else if self.buffered().starts_with(b"<![CDATA[") {
                        self.advance(9);
                        let end = self.find(
                            |b, seen| {
                                let from = seen.saturating_sub(2);
                                memmem::find(&b[from..], b"]]>").map(|i| from + i)
                            },
                            "a text is not terminated",
                        )?;
                        let range = self.at..self.at + end;
                        self.advance(end + 3);
                        return Ok(Event::Raw(range));
                    } else {
                        return Err(ScanError::Malformed(
                            "document type declarations are not allowed",
                        ));
                    }
                }
                Some(_) if more => return self.start_tag(),
                _ => return Err(ScanError::Malformed("a tag is not terminated")),
            }
        }
    }

    fn text(&mut self) -> Result<Event, ScanError> {
        let length = {
            let mut seen = 0;
            loop {
                match memchr(b'<', &self.buffered()[seen..]) {
                    Some(i) => break seen + i,
                    None => seen = self.end - self.at,
                }
                if !self.fill()? {
                    break self.end - self.at;
                }
            }
        };
        let range = self.at..self.at + length;
        self.advance(length);
        Ok(Event::Text(range))
    }

    fn end_tag(&mut self) -> Result<Event, ScanError> {
        let length = self.find(
            |b, seen| memchr(b'>', &b[seen..]).map(|i| seen + i),
            "a tag is not terminated",
        )?;
        let start = self.at + 2;
        let end = start.max(self.at + length);
        let blank = |b: &u8| b.is_ascii_whitespace();
        let name_end = self.buffer[start..end].iter().position(blank);
        self.advance(length + 1);
        self.depth = self.depth.saturating_sub(1);
        Ok(Event::End {
            name: start..name_end.map_or(end, |i| start + i),
        })
    }

    fn start_tag(&mut self) -> Result<Event, ScanError> {
        let length = self.find(|b, _| tag_end(b), "a tag is not terminated")?;
        let start = self.at + 1;
        let mut end = self.at + length;
        let empty = end > start && self.buffer[end - 1] == b'/';
        if empty {
            end -= 1;
        } else {
            self.depth += 1;
            ScanError::check("nesting", self.depth, self.depth_max)?;
        }
        let blank = |b: &u8| b.is_ascii_whitespace();
        let name_end = self.buffer[start..end]
            .iter()
            .position(blank)
            .map_or(end, |i| start + i);
        self.advance(length + 1);
        Ok(Event::Start {
            name: start..name_end,
            attributes: name_end..end,
            empty,
        })
    }

    /// Skips everything up to and including `mark`, without buffering it.
    fn skip_to(&mut self, mark: &[u8]) -> Result<(), ScanError> {
        loop {
            if let Some(found) = memmem::find(self.buffered(), mark) {
                self.advance(found + mark.len());
                return Ok(());
            }
            let keep = mark.len() - 1;
            self.advance((self.end - self.at).saturating_sub(keep));
            if !self.fill()? {
                return Err(ScanError::Malformed("a comment is not terminated"));
            }
        }
    }

    /// Skips the rest of the element whose start was the last event.
    pub(in crate::read) fn skip_element(&mut self) -> Result<(), ScanError> {
        let depth = self.depth;
        while self.depth >= depth {
            if self.next()? == Event::Eof {
                return Err(ScanError::Malformed("an element is not closed"));
            }
        }
        Ok(())
    }

    /// The value of an attribute, not yet unescaped. Ignores namespace prefixes.
    pub(in crate::read) fn attribute(
        &self,
        attributes: &Range<usize>,
        name: &[u8],
    ) -> Option<&[u8]> {
        Attributes(self.bytes(attributes)).find_map(|(n, value)| {
            let local = memchr(b':', n).map_or(n, |colon| &n[colon + 1..]);
            (local == name).then_some(value)
        })
    }

    /// The unescaped value of an attribute.
    pub(in crate::read) fn text_attribute(
        &self,
        attributes: &Range<usize>,
        name: &[u8],
    ) -> Option<String> {
        let raw = self.attribute(attributes, name)?;
        let mut text = String::new();
        super::text::unescape(raw, &mut text);
        Some(text)
    }
}

/// The offset of the `>` that ends a start tag. Ignores `>` inside quotes.
pub(in crate::read) fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let i = at + memchr3(b'>', b'"', b'\'', &bytes[at..])?;
        if bytes[i] == b'>' {
            return Some(i);
        }
        at = i + 2 + memchr(bytes[i], &bytes[i + 1..])?;
    }
}

/// Iterates over attributes as name and value, not yet unescaped.
pub(in crate::read) struct Attributes<'a>(pub(in crate::read) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_ascii_start();
        let equals = memchr(b'=', rest)?;
        let name = rest[..equals].trim_ascii_end();
        let value = rest[equals + 1..].trim_ascii_start();
        let quote = *value.first()?;
        let length = memchr(quote, &value[1..])?;
        self.0 = &value[length + 2..];
        Some((name, &value[1..=length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(xml: &[u8], step: usize) -> Result<Vec<String>, ScanError> {
        /// Returns a few bytes at a time.
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.1.min(self.0.len()).min(buffer.len());
                buffer[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let mut scanner = Scanner::new(Slow(xml, step), 1000, 5);
        let mut all = Vec::new();
        loop {
            let event = scanner.next()?;
            let text = |r: &Range<usize>| String::from_utf8_lossy(scanner.bytes(r)).into_owned();
            all.push(match &event {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => {
                    let name = String::from_utf8_lossy(scanner.local(name)).into_owned();
                    let id = scanner.text_attribute(attributes, b"id");
                    format!(
                        "+{name}{}{}",
                        id.unwrap_or_default(),
                        if *empty { "/" } else { "" }
                    )
                }
                Event::End { name } => format!("-{}", text(name)),
                Event::Text(r) => text(r),
                Event::Raw(r) => format!("!{}", text(r)),
                Event::Eof => return Ok(all),
            });
        }
    }

    #[test]
    fn events_do_not_depend_on_the_size_of_reads() {
        let xml = b"<?xml version=\"1.0\"?><!-- a <b> --><x:a r:id='q>\"&amp;'><b />t\n1<![CDATA[<]]>]]></x:a ><c k=\"\"/>";
        let want = ["+aq>\"&", "+b/", "t\n1", "!<", "]]>", "-x:a", "+c/"];
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(events(xml, step).unwrap(), want, "{step}");
        }
    }

    #[test]
    fn malformed_xml_and_exceeded_limits_are_errors() {
        for (xml, want) in [
            (&b"<a"[..], "a tag is not terminated"),
            (b"<", "a tag is not terminated"),
            (b"<a b='>", "a tag is not terminated"),
            (b"<!-- ", "a comment is not terminated"),
            (b"<![CDATA[ ]]", "a text is not terminated"),
            (b"<!DOCTYPE a [<!ENTITY b \"c\">]><a/>", "document type"),
            (b"<a><a><a><a><a><a>", "`nesting`"),
            (&[b'x'; 2000], "`text_bytes`"),
        ] {
            let error = events(xml, 600).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
