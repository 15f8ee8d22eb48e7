//! A scanner for the XML of spreadsheets: tags and texts as slices of one buffer, nothing more.
//!
//! It knows no entities but the five and character references, expands nothing, refuses document
//! type declarations, and bounds every token and the depth, so that no XML makes it work or
//! remember more than it read.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr3, memmem};

/// Bytes asked of the source at once.
const CHUNK: usize = 128 << 10;

/// What cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub(in crate::read) enum ScanError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Broken(&'static str),
    /// A limit: its name, what was found, what is allowed.
    #[error("limit `{0}`")]
    Limit(&'static str, u64, u64),
}

impl ScanError {
    /// Fails where more was found than the limit of that name allows.
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

/// One thing in the XML. The ranges are good until the next call of [`Scanner::next`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::read) enum Event {
    /// `<name attributes>`, also `<name attributes/>`, after which no [`Event::End`] comes.
    Start {
        name: Range<usize>,
        attributes: Range<usize>,
        empty: bool,
    },
    /// `</name>`
    End { name: Range<usize> },
    /// Text between tags, as it is written.
    Text(Range<usize>),
    /// Text that is not to be unescaped.
    Raw(Range<usize>),
    /// The end.
    Eof,
}

/// See the module's text.
pub(in crate::read) struct Scanner<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    depth: u64,
    token_max: u64,
    depth_max: u64,
}

impl<R: Read> Scanner<R> {
    /// `token_max`: bytes of a tag or a text, at most; `depth_max`: elements in each other.
    pub(in crate::read) fn new(source: R, token_max: u64, depth_max: u64) -> Scanner<R> {
        Scanner {
            source,
            buffer: vec![0; 2 * CHUNK],
            at: 0,
            end: 0,
            depth: 0,
            token_max,
            depth_max,
        }
    }

    /// The bytes that are at hand.
    pub(in crate::read) fn ahead(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Passes over bytes of [`Scanner::ahead`].
    pub(in crate::read) fn pass(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.end);
    }

    /// The bytes of a range that the last event gave.
    pub(in crate::read) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    /// A name without its namespace's prefix.
    pub(in crate::read) fn local(&self, name: &Range<usize>) -> &[u8] {
        let name = self.bytes(name);
        match memchr(b':', name) {
            Some(colon) => &name[colon + 1..],
            None => name,
        }
    }

    /// Reads more; `false` at the end of the source.
    fn fill(&mut self) -> Result<bool, ScanError> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.end, 0);
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

    /// Makes sure that `bytes` are at hand; `false` where the source ends before.
    fn need(&mut self, bytes: usize) -> Result<bool, ScanError> {
        while self.end - self.at < bytes {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Finds where `find` says, reading on as needed: `find` gets the bytes at hand and from
    /// where on they are new.
    fn find(
        &mut self,
        mut find: impl FnMut(&[u8], usize) -> Option<usize>,
        missing: &'static str,
    ) -> Result<usize, ScanError> {
        let mut seen = 0;
        loop {
            if let Some(found) = find(self.ahead(), seen) {
                return Ok(found);
            }
            seen = self.end - self.at;
            if !self.fill()? {
                return Err(ScanError::Broken(missing));
            }
        }
    }

    /// Elements that are open.
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
                    if self.ahead().starts_with(b"<!--") {
                        self.pass(4);
                        self.skip_to(b"-->")?;
                    } else if self.ahead().starts_with(b"<![CDATA[") {
                        self.pass(9);
                        let end = self.find(
                            |b, seen| {
                                let from = seen.saturating_sub(2);
                                memmem::find(&b[from..], b"]]>").map(|i| from + i)
                            },
                            "a text does not end",
                        )?;
                        let range = self.at..self.at + end;
                        self.pass(end + 3);
                        return Ok(Event::Raw(range));
                    } else {
                        return Err(ScanError::Broken("it declares a document type"));
                    }
                }
                Some(_) if more => return self.start_tag(),
                _ => return Err(ScanError::Broken("a tag does not end")),
            }
        }
    }

    fn text(&mut self) -> Result<Event, ScanError> {
        let length = {
            let mut seen = 0;
            loop {
                match memchr(b'<', &self.ahead()[seen..]) {
                    Some(i) => break seen + i,
                    None => seen = self.end - self.at,
                }
                if !self.fill()? {
                    break self.end - self.at;
                }
            }
        };
        let range = self.at..self.at + length;
        self.pass(length);
        Ok(Event::Text(range))
    }

    fn end_tag(&mut self) -> Result<Event, ScanError> {
        let length = self.find(
            |b, seen| memchr(b'>', &b[seen..]).map(|i| seen + i),
            "a tag does not end",
        )?;
        let start = self.at + 2;
        let end = start.max(self.at + length);
        let blank = |b: &u8| b.is_ascii_whitespace();
        let name_end = self.buffer[start..end].iter().position(blank);
        self.pass(length + 1);
        self.depth = self.depth.saturating_sub(1);
        Ok(Event::End {
            name: start..name_end.map_or(end, |i| start + i),
        })
    }

    fn start_tag(&mut self) -> Result<Event, ScanError> {
        let length = self.find(|b, _| tag_end(b), "a tag does not end")?;
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
        self.pass(length + 1);
        Ok(Event::Start {
            name: start..name_end,
            attributes: name_end..end,
            empty,
        })
    }

    /// Passes over everything up to and with `mark`, keeping nothing of it.
    fn skip_to(&mut self, mark: &[u8]) -> Result<(), ScanError> {
        loop {
            if let Some(found) = memmem::find(self.ahead(), mark) {
                self.pass(found + mark.len());
                return Ok(());
            }
            let keep = mark.len() - 1;
            self.pass((self.end - self.at).saturating_sub(keep));
            if !self.fill()? {
                return Err(ScanError::Broken("a comment does not end"));
            }
        }
    }

    /// Passes over the rest of the element whose start was the last event.
    pub(in crate::read) fn skip_element(&mut self) -> Result<(), ScanError> {
        let depth = self.depth;
        while self.depth >= depth {
            if self.next()? == Event::Eof {
                return Err(ScanError::Broken("an element does not end"));
            }
        }
        Ok(())
    }

    /// The value of an attribute, as it is written; names are compared without prefixes.
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

    /// The value of an attribute as text.
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

/// Where a start tag's `>` is: one between quotes does not end it.
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

/// Attributes as they are written: name and value.
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
        /// Gives a few bytes at a time.
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
    fn events_do_not_depend_on_how_the_bytes_arrive() {
        let xml = b"<?xml version=\"1.0\"?><!-- a <b> --><x:a r:id='q>\"&amp;'><b />t\n1<![CDATA[<]]>]]></x:a ><c k=\"\"/>";
        let want = ["+aq>\"&", "+b/", "t\n1", "!<", "]]>", "-x:a", "+c/"];
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(events(xml, step).unwrap(), want, "{step}");
        }
    }

    #[test]
    fn what_is_not_well_formed_or_too_much_is_refused() {
        for (xml, want) in [
            (&b"<a"[..], "a tag does not end"),
            (b"<", "a tag does not end"),
            (b"<a b='>", "a tag does not end"),
            (b"<!-- ", "a comment does not end"),
            (b"<![CDATA[ ]]", "a text does not end"),
            (b"<!DOCTYPE a [<!ENTITY b \"c\">]><a/>", "document type"),
            (b"<a><a><a><a><a><a>", "`nesting`"),
            (&[b'x'; 2000], "`text_bytes`"),
        ] {
            let error = events(xml, 600).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
