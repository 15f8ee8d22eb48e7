//! Decodes a body by its `Content-Encoding` while it arrives.
//!
//! reqwest's own decoder returns only the first member of a gzip stream, and knows neither `x-gzip` nor
//! `deflate` without a zlib header.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::attempt_error::AttemptError;
use super::response::{RESPONSE_MAX, too_large};

/// The `Accept-Encoding` of requests.
pub(super) const ACCEPTED: &str = "gzip, deflate";

/// Maximum number of codings of one response. Even two are rare.
const CODINGS_MAX: usize = 3;

/// Bytes that are decoded in one step.
const STEP: usize = 32 * 1024;

/// Decodes one body.
#[derive(Default)]
pub(super) struct BodyDecoder {
    /// In the order in which they are undone.
    stages: Vec<Stage>,
}

enum Stage {
    Gzip(Gzip),
    Deflate(Deflate),
}

impl BodyDecoder {
    /// # Errors
    /// A coding is not supported. The server uses one that the request did not offer.
    pub(super) fn new(headers: &HeaderMap) -> Result<BodyDecoder, AttemptError> {
        let mut stages = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            for coding in String::from_utf8_lossy(value.as_bytes()).split(',') {
                match &*coding.trim().to_ascii_lowercase() {
                    "gzip" | "x-gzip" => stages.push(Stage::Gzip(Gzip::default())),
                    "deflate" => stages.push(Stage::Deflate(Deflate::default())),
                    "br" | "zstd" | "compress" | "x-compress" | "dcb" | "dcz" => {
                        return Err(AttemptError::permanent(format!(
                            "the response is encoded with `{}`, which is not supported; the request \
                             accepts `{ACCEPTED}` unless the step sets `Accept-Encoding`",
                            coding.trim()
                        )));
                    }
                    // Browsers treat an unknown coding name (`UTF-8`, `none`) as `identity`.
                    _ => {}
                }
            }
        }
        if stages.len() > CODINGS_MAX {
            return Err(AttemptError::permanent(format!(
                "the response has {} content codings; at most {CODINGS_MAX} are decoded",
                stages.len()
            )));
        }
        // The last coding was applied last.
        stages.reverse();
        Ok(BodyDecoder { stages })
    }

    /// Whether the body arrives as it is.
    pub(super) fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes the next bytes of the body and appends the result to `body`.
    ///
    /// # Errors
    /// The bytes are invalid, or the body becomes larger than [`RESPONSE_MAX`].
    pub(super) fn decode(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<(), AttemptError> {
        decode(&mut self.stages, bytes, body)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// The body is incomplete.
    pub(super) fn finish(mut self, body: &mut Vec<u8>) -> Result<(), AttemptError> {
        let mut stages = &mut self.stages[..];
        while let Some((stage, after)) = stages.split_first_mut() {
            stage.finish(&mut |bytes| decode(after, bytes, body))?;
            stages = after;
        }
        Ok(())
    }
}

/// Passes bytes through the stages.
fn decode(stages: &mut [Stage], bytes: &[u8], body: &mut Vec<u8>) -> Result<(), AttemptError> {
    let Some((stage, after)) = stages.split_first_mut() else {
        if body.len() + bytes.len() > RESPONSE_MAX {
            return Err(too_large());
        }
        body.extend_from_slice(bytes);
        return Ok(());
    };
    let mut next = |bytes: &[u8]| decode(after, bytes, body);
    match stage {
        Stage::Gzip(gzip) => gzip.decode(bytes, &mut next),
        Stage::Deflate(deflate) => deflate.decode(bytes, &mut next),
    }
}

/// Takes what a stage decoded.
type Next<'a> = dyn FnMut(&[u8]) -> Result<(), AttemptError> + 'a;

impl Stage {
    fn finish(&mut self, next: &mut Next) -> Result<(), AttemptError> {
        match self {
            Stage::Gzip(gzip) => gzip.finish(next),
            Stage::Deflate(deflate) => deflate.finish(),
        }
    }
}

/// A gzip stream: one or more members (RFC 1952, section 2.2).
#[derive(Default)]
struct Gzip {
    /// The member that is read.
    member: Option<GzDecoder<Vec<u8>>>,
    /// The first byte of what may be a member.
    held: Option<u8>,
    /// Whether a member was read.
    after_member: bool,
    /// What follows if it is not a member.
    rest: Option<Rest>,
}

/// Bytes that are not a gzip member.
#[derive(Clone, Copy)]
enum Rest {
    /// The body is not compressed, although the header says so.
    Plain,
    /// Padding after the last member, which browsers ignore, too.
    Ignored,
}

impl Gzip {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];

    fn decode(&mut self, mut bytes: &[u8], next: &mut Next) -> Result<(), AttemptError> {
        while !bytes.is_empty() {
            match self.rest {
                Some(Rest::Plain) => return next(bytes),
                Some(Rest::Ignored) => return Ok(()),
                None => {}
            }
            let Some(member) = &mut self.member else {
                let first = match self.held.take() {
                    Some(first) => first,
                    None => {
                        self.held = Some(bytes[0]);
                        bytes = &bytes[1..];
                        continue;
                    }
                };
                if [first, bytes[0]] == Gzip::MAGIC {
                    let mut member = GzDecoder::new(Vec::new());
                    member.write_all(&[first]).map_err(|e| invalid(&e))?;
                    self.member = Some(member);
                } else {
                    self.begin_rest(first, next)?;
                }
                continue;
            };
            // Each write decodes at most one buffer of flate2.
            let read = member.write(bytes).map_err(|e| invalid(&e))?;
            next(member.get_ref())?;
            member.get_mut().clear();
            if read == 0 {
                self.end_member(next)?;
            }
            bytes = &bytes[read..];
        }
        Ok(())
    }

    fn begin_rest(&mut self, first: u8, next: &mut Next) -> Result<(), AttemptError> {
        if self.after_member {
            self.rest = Some(Rest::Ignored);
            return Ok(());
        }
        self.rest = Some(Rest::Plain);
        next(&[first])
    }

    fn end_member(&mut self, next: &mut Next) -> Result<(), AttemptError> {
        let Some(member) = self.member.take() else {
            return Ok(());
        };
        next(&member.finish().map_err(|e| invalid(&e))?)?;
        self.after_member = true;
        Ok(())
    }

    fn finish(&mut self, next: &mut Next) -> Result<(), AttemptError> {
        if let Some(first) = self.held.take() {
            return self.begin_rest(first, next);
        }
        self.end_member(next)
    }
}

/// `deflate`: zlib (RFC 9110, section 8.4.1.2), or the bare compressed data that some servers send.
#[derive(Default)]
struct Deflate {
    inflate: Option<Decompress>,
    /// The first byte, until the second determines the format.
    held: Option<u8>,
    ended: bool,
}

impl Deflate {
    fn decode(&mut self, mut bytes: &[u8], next: &mut Next) -> Result<(), AttemptError> {
        if self.inflate.is_none() {
            let first = match self.held.take() {
                Some(first) => first,
                None => {
                    let Some((first, rest)) = bytes.split_first() else {
                        return Ok(());
                    };
                    bytes = rest;
                    *first
                }
            };
            let Some(second) = bytes.first() else {
                self.held = Some(first);
                return Ok(());
            };
            let mut inflate = Decompress::new(is_zlib(first, *second));
            self.ended = inflate_all(&mut inflate, &[first], next)?;
            self.inflate = Some(inflate);
        }
        if let Some(inflate) = &mut self.inflate
            && !self.ended
        {
            self.ended = inflate_all(inflate, bytes, next)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), AttemptError> {
        match (self.ended, &self.inflate, self.held) {
            (true, ..) | (_, None, None) => Ok(()),
            _ => Err(invalid(&io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// Whether these are the first bytes of a zlib stream (RFC 1950, section 2.2).
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

/// Inflates all bytes. Returns whether the stream ended.
fn inflate_all(
    inflate: &mut Decompress,
    mut bytes: &[u8],
    next: &mut Next,
) -> Result<bool, AttemptError> {
    let mut step = Vec::with_capacity(STEP);
    loop {
        let before = inflate.total_in();
        let status = inflate
            .decompress_vec(bytes, &mut step, FlushDecompress::None)
            .map_err(|e| invalid(&e.into()))?;
        bytes = &bytes[(inflate.total_in() - before) as usize..];
        let was_full = step.len() == step.capacity();
        next(&step)?;
        step.clear();
        if status == Status::StreamEnd {
            return Ok(true);
        }
        if bytes.is_empty() && !was_full {
            return Ok(false);
        }
    }
}

/// The body cannot be decoded. It may have been cut off, so another attempt may succeed.
fn invalid(error: &io::Error) -> AttemptError {
    AttemptError::transient(
        format!("the compressed response is incomplete or invalid: {error}"),
        false,
    )
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Decodes a body that arrives in chunks of `size` bytes.
    fn decoded(codings: &[&str], body: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let values = codings.iter().map(|coding| {
            let value = HeaderValue::from_str(coding).unwrap();
            (CONTENT_ENCODING, value)
        });
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        let decode = || {
            let mut decoder = BodyDecoder::new(&headers)?;
            let mut out = Vec::new();
            for chunk in body.chunks(size) {
                decoder.decode(chunk, &mut out)?;
            }
            decoder.finish(&mut out)?;
            Ok(out)
        };
        decode().map_err(|error: AttemptError| error.reason)
    }

    #[test]
    fn codings_are_undone_as_in_browsers() {
        let text = b"{\"v\":\"ok\"}".repeat(20);
        let cases: [(&[&str], Vec<u8>); 15] = [
            (&[], text.clone()),
            (&["gzip"], gzip(&text)),
            (&["GZIP"], gzip(&text)),
            (&["x-gzip"], gzip(&text)),
            (&["identity, gzip"], gzip(&text)),
            (
                &["gzip"],
                [gzip(&text[..50]), gzip(b""), gzip(&text[50..])].concat(),
            ),
            // Padding after the last member.
            (&["gzip"], [gzip(&text), vec![0; 700]].concat()),
            (&["gzip"], [gzip(&text), vec![0x1f]].concat()),
            // Not compressed, although the header says so.
            (&["gzip"], text.clone()),
            (&["deflate"], zlib(&text)),
            (&["deflate"], raw_deflate(&text)),
            (&["Deflate"], [zlib(&text), vec![0; 9]].concat()),
            (&["deflate, gzip"], gzip(&raw_deflate(&text))),
            (&["gzip", "deflate"], zlib(&gzip(&text))),
            (&["utf-8", "none", ""], text.clone()),
        ];
        for (codings, body) in cases {
            for size in [1, 2, 7, 10_000] {
                let found = decoded(codings, &body, size);
                assert_eq!(found.as_ref(), Ok(&text), "{codings:?} in {size}");
            }
        }
        for coding in ["gzip", "deflate", "x-gzip", "gzip, gzip"] {
            assert_eq!(decoded(&[coding], b"", 9), Ok(Vec::new()), "{coding}");
        }
        assert_eq!(decoded(&["gzip"], b"a", 9), Ok(b"a".to_vec()));
    }

    #[test]
    fn an_incomplete_or_unknown_body_is_an_error() {
        let text = b"some text that is long enough to be cut".repeat(9);
        for (coding, body) in [
            ("gzip", gzip(&text)),
            ("gzip", [gzip(&text), gzip(&text)].concat()),
            ("deflate", zlib(&text)),
            ("deflate", raw_deflate(&text)),
        ] {
            for missing in [1, 5, 20] {
                let found = decoded(&[coding], &body[..body.len() - missing], 7);
                assert!(
                    found.is_err_and(|e| e.contains("incomplete or invalid")),
                    "{coding}: {missing}"
                );
            }
        }
        let mut damaged = gzip(&text);
        let place = damaged.len() - 6;
        damaged[place] ^= 1;
        assert!(decoded(&["gzip"], &damaged, 7).is_err());
        for coding in ["br", "zstd", "compress", "gzip, br"] {
            assert!(
                decoded(&[coding], b"x", 1).is_err_and(|e| e.contains("which is not supported")),
                "{coding}"
            );
        }
        assert!(decoded(&["gzip, gzip, gzip, gzip"], b"x", 1).is_err());
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        let fits = vec![b'x'; RESPONSE_MAX];
        let over = vec![b'x'; RESPONSE_MAX + 1];
        for (coding, encode) in [
            ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
            ("deflate", zlib),
            ("deflate", raw_deflate),
        ] {
            let found = decoded(&[coding], &encode(&fits), 1 << 20).unwrap();
            assert_eq!(found.len(), RESPONSE_MAX);
            let found = decoded(&[coding], &encode(&over), 1 << 20).unwrap_err();
            assert_eq!(found, "the response is larger than 10 MiB");
        }
    }

    proptest! {
        #[test]
        fn members_decode_to_their_concatenation(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
            size in 1_usize..400,
        ) {
            let body: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            prop_assert_eq!(decoded(&["gzip"], &body, size), Ok(parts.concat()));
            for encode in [zlib, raw_deflate] {
                let body = encode(&parts.concat());
                prop_assert_eq!(decoded(&["deflate"], &body, size), Ok(parts.concat()));
            }
        }
    }
}
