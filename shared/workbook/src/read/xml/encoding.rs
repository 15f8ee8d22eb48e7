//! Reads XML in any encoding as UTF-8.

use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use memchr::memmem;

use crate::read::detect::utf32;
use crate::read::text_encoding::{Decoder, TextEncoding};

/// Bytes that contain the declaration of an encoding, if there is one.
const HEAD: usize = 1024;
/// Bytes to decode at once.
const CHUNK: usize = 64 << 10;

/// XML as UTF-8. The byte order mark decides, then the zeros of UTF-16, then the declaration.
pub(in crate::read) struct Utf8<R> {
    source: R,
    state: State,
}

enum State {
    /// Nothing has been read.
    Unknown,
    /// UTF-8, with bytes that have been read but not returned.
    Head(Vec<u8>, usize),
    Plain,
    Decoded(Box<Decoded>),
}

/// The state of a source that is decoded.
struct Decoded {
    decoder: Decoder,
    raw: Vec<u8>,
    text: String,
    /// The bytes of `text` that have been returned.
    at: usize,
    ended: bool,
}

impl Decoded {
    fn new(encoding: TextEncoding) -> Decoded {
        Decoded {
            decoder: Decoder::new(encoding),
            raw: vec![0; CHUNK],
            text: String::new(),
            at: 0,
            ended: false,
        }
    }
}

impl<R: Read> Utf8<R> {
    pub(in crate::read) fn new(source: R) -> Utf8<R> {
        let state = State::Unknown;
        Utf8 { source, state }
    }

    /// Decodes a source in a known encoding.
    pub(in crate::read) fn decoded(source: R, encoding: TextEncoding) -> Utf8<R> {
        let state = State::Decoded(Box::new(Decoded::new(encoding)));
        Utf8 { source, state }
    }

    /// Passes through a source that is UTF-8.
    pub(in crate::read) fn plain(source: R) -> Utf8<R> {
        let state = State::Plain;
        Utf8 { source, state }
    }

    fn start(&mut self) -> io::Result<()> {
        let mut head = Vec::with_capacity(HEAD);
        self.source
            .by_ref()
            .take(HEAD as u64)
            .read_to_end(&mut head)?;
        self.state = match encoding(&head) {
            None => {
                let mark = if head.starts_with(b"\xef\xbb\xbf") {
                    3
                } else {
                    0
                };
                State::Head(head, mark)
            }
            Some(encoding) => {
                let mut decoded = Decoded::new(encoding);
                decoded.decoder.decode(&head, &mut decoded.text, false);
                State::Decoded(Box::new(decoded))
            }
        };
        Ok(())
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::Plain => return self.source.read(buffer),
                State::Unknown => self.start()?,
                State::Head(head, at) => {
                    let copied = copy(&head[*at..], buffer);
                    *at += copied;
                    if copied > 0 || buffer.is_empty() {
                        return Ok(copied);
                    }
                    self.state = State::Plain;
                }
                State::Decoded(decoded) => {
                    let copied = copy(&decoded.text.as_bytes()[decoded.at..], buffer);
                    decoded.at += copied;
                    if copied > 0 || buffer.is_empty() || decoded.ended {
                        return Ok(copied);
                    }
                    decoded.at = 0;
                    decoded.text.clear();
                    let read = self.source.read(&mut decoded.raw)?;
                    decoded.ended = read == 0;
                    let raw = &decoded.raw[..read];
                    decoded.decoder.decode(raw, &mut decoded.text, read == 0);
                }
            }
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}

/// The encoding of XML that begins with `head`; `None` if it is UTF-8 or unknown.
pub(in crate::read) fn encoding(head: &[u8]) -> Option<TextEncoding> {
    if let Some(order) = utf32(head) {
        return Some(TextEncoding::Utf32(order));
    }
    let known = match head {
        [0xff, 0xfe, ..] | [b'<', 0, ..] => UTF_16LE,
        [0xfe, 0xff, ..] | [0, b'<', ..] => UTF_16BE,
        _ => declared(head)?,
    };
    (known != UTF_8).then_some(TextEncoding::Known(known))
}

/// The encoding that the XML declaration names. Its bytes show that it is not UTF-16.
pub(in crate::read) fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let declaration = head.trim_ascii_start().strip_prefix(b"<?xml")?;
    let declaration = &declaration[..memmem::find(declaration, b"?>")?];
    let value = &declaration[memmem::find(declaration, b"encoding")? + 8..];
    let value = value.trim_ascii_start().strip_prefix(b"=")?;
    let value = value.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    let label = value.split(|b| b == quote).next()?;
    Encoding::for_label_no_replacement(label).filter(|e| *e != UTF_16LE && *e != UTF_16BE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], step: usize) -> String {
        /// Returns a few bytes at a time.
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.1.min(buffer.len());
                self.0.read(&mut buffer[..length])
            }
        }
        let mut text = String::new();
        Utf8::new(Slow(bytes, step))
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    #[test]
    fn every_encoding_is_read_as_utf_8() {
        let body = format!("<a b=\"ä\">ö🙂{}</a>", "x".repeat(3000));
        let wide = |declaration: &str, mark: bool, big: bool| -> Vec<u8> {
            let text = format!("{}{declaration}{body}", if mark { "\u{feff}" } else { "" });
            let units = text.encode_utf16();
            units
                .flat_map(|u| {
                    if big {
                        u.to_be_bytes()
                    } else {
                        u.to_le_bytes()
                    }
                })
                .collect()
        };
        let declaration = "<?xml version=\"1.0\" encoding='UTF-16'?>";
        for (bytes, want) in [
            (body.clone().into_bytes(), body.clone()),
            (format!("\u{feff}{body}").into_bytes(), body.clone()),
            (wide("", false, false), body.clone()),
            (wide("", false, true), body.clone()),
            (
                wide(declaration, true, false),
                format!("{declaration}{body}"),
            ),
            (
                wide(declaration, true, true),
                format!("{declaration}{body}"),
            ),
            // Declared as UTF-16, but UTF-8 like the declaration itself.
            (
                format!("{declaration}{body}").into_bytes(),
                format!("{declaration}{body}"),
            ),
            (
                b"<?xml version=\"1.0\" encoding = \"windows-1252\" ?><a>\xe4\x80</a>".to_vec(),
                "<?xml version=\"1.0\" encoding = \"windows-1252\" ?><a>ä€</a>".to_owned(),
            ),
            (
                "<?xml encoding=\"x-unknown\"?><a>ä</a>".into(),
                "<?xml encoding=\"x-unknown\"?><a>ä</a>".to_owned(),
            ),
            (Vec::new(), String::new()),
        ] {
            for step in [1, 3, 1 << 20] {
                assert_eq!(decoded(&bytes, step), want);
            }
        }
    }
}
