//! Encodes non-ASCII metadata values as RFC 2047 encoded words. S3 itself returns them this way, so
//! values read the same whether the console, another program or this one has written them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of text per encoded word. With `=?UTF-8?B?` and `?=`, a word may have up to 75 characters
/// (RFC 2047, section 2).
const WORD_BYTES: usize = 45;

/// Encodes a value for a header. Printable ASCII is unchanged.
pub(super) fn encode(value: &str) -> String {
    let plain = value.bytes().all(|b| (b' '..=b'~').contains(&b))
        // Headers lose leading and trailing spaces.
        && !value.starts_with(' ')
        && !value.ends_with(' ')
        // A reader would take it for an encoded word.
        && !value.contains("=?");
    if plain {
        return value.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        // A word contains whole characters.
        let (word, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// Decodes the value of a header. Text outside encoded words is unchanged.
pub(super) fn decode(value: &str) -> String {
    // As bytes, because other writers may split a character between two words.
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (between, from) = rest.split_at(start);
        let Some((word, length)) = word(from) else {
            text.extend_from_slice(between.as_bytes());
            text.extend_from_slice(b"=?");
            rest = &from[2..];
            after_word = false;
            continue;
        };
        // Space between two encoded words is not part of the text.
        if !(after_word && between.trim().is_empty()) {
            text.extend_from_slice(between.as_bytes());
        }
        text.extend_from_slice(&word);
        rest = &from[length..];
        after_word = true;
    }
    text.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&text).into_owned()
}

/// Decodes the encoded word at the start of a text to UTF-8. Returns it with its encoded length.
fn word(from: &str) -> Option<(Vec<u8>, usize)> {
    let mut parts = from.strip_prefix("=?")?.splitn(4, '?');
    let (charset, encoding) = (parts.next()?, parts.next()?);
    let (text, after) = (parts.next()?, parts.next()?);
    if !after.starts_with('=') || text.contains(' ') {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(text).ok()?,
        "Q" | "q" => quoted(text)?,
        _ => return None,
    };
    let length = "=?".len() + charset.len() + 1 + encoding.len() + 1 + text.len() + "?=".len();
    // The language after an asterisk (RFC 2231) is irrelevant.
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    let utf8 = match charset.as_str() {
        "utf-8" | "us-ascii" => bytes,
        "iso-8859-1" => {
            let text: String = bytes.into_iter().map(char::from).collect();
            text.into_bytes()
        }
        _ => return None,
    };
    Some((utf8, length))
}

/// The Q encoding: `_` is a space, `=C3` a byte.
fn quoted(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'_' => b' ',
            b'=' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_values_decode_to_the_same_text() {
        let long = "Gebühren für Überweisungen ".repeat(20);
        for value in [
            "",
            "10",
            "a@example.com, b@example.com",
            "Tüller <t@example.com>",
            " spaces ",
            "two\nlines",
            "=?",
            "=?UTF-8?B?YQ==?=",
            "\u{1F600}",
            &long,
        ] {
            let encoded = encode(value);
            assert!(encoded.bytes().all(|b| (b' '..=b'~').contains(&b)));
            assert!(
                encoded
                    .split(' ')
                    .all(|w| !w.starts_with("=?") || w.len() <= 75)
            );
            assert_eq!(decode(&encoded), value, "{encoded}");
        }
        assert_eq!(encode("a@example.com"), "a@example.com");
        assert_eq!(encode("ü"), "=?UTF-8?B?w7w=?=");
    }

    #[test]
    fn values_encoded_by_other_programs_are_decoded() {
        for (encoded, value) in [
            ("=?UTF-8?Q?caf=C3=A9_noir?=", "café noir"),
            ("=?utf-8?b?w7w=?=", "ü"),
            ("=?ISO-8859-1?Q?=FC?=", "ü"),
            ("=?UTF-8*de?Q?=C3=BC?=", "ü"),
            // A character cut by a writer that counts bytes.
            ("=?UTF-8?Q?=C3?= =?UTF-8?Q?=BC?=", "ü"),
            ("a =?UTF-8?Q?b?= c", "a b c"),
            ("=?UTF-8?X?b?=", "=?UTF-8?X?b?="),
            ("=?UTF-8?B?!?=", "=?UTF-8?B?!?="),
            ("1 =? 2", "1 =? 2"),
            ("=?koi8-r?B?w7w=?=", "=?koi8-r?B?w7w=?="),
        ] {
            assert_eq!(decode(encoded), value);
        }
    }
}
