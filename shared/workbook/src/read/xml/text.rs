//! Decodes XML text.

use memchr::{memchr, memchr2};

/// Appends XML text. Resolves entities and character references, and normalizes line ends to `\n`.
/// Unknown entities are left as they are, and invalid UTF-8 becomes U+FFFD.
pub(in crate::read) fn unescape(raw: &[u8], to: &mut String) {
    let mut rest = raw;
    while let Some(i) = memchr2(b'&', b'\r', rest) {
        push(&rest[..i], to);
        if rest[i] == b'\r' {
            to.push('\n');
            rest = &rest[i + 1..];
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            continue;
        }
        let body = &rest[i + 1..];
        // The longest reference is `#x10FFFF`, but leading zeros are allowed.
        let end = memchr(b';', &body[..body.len().min(16)]);
        match end.and_then(|end| Some((resolve(&body[..end])?, end))) {
            Some((c, end)) => {
                to.push(c);
                rest = &body[end + 1..];
            }
            None => {
                to.push('&');
                rest = body;
            }
        }
    }
    push(rest, to);
}

fn push(raw: &[u8], to: &mut String) {
    match std::str::from_utf8(raw) {
        Ok(text) => to.push_str(text),
        Err(_) => to.push_str(&String::from_utf8_lossy(raw)),
    }
}

fn resolve(entity: &[u8]) -> Option<char> {
    Some(match entity {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    })
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok()?;
    char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|c| *c != '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(raw: &str) -> String {
        let mut text = String::from("x");
        unescape(raw.as_bytes(), &mut text);
        text.split_off(1)
    }

    #[test]
    fn known_entities_are_resolved() {
        for (raw, want) in [
            ("a &amp; b", "a & b"),
            ("&lt;&gt;&quot;&apos;", "<>\"'"),
            ("&#65;&#x41;&#x1F642;&#0000000065;", "AA🙂A"),
            (
                "&nbsp; &#; &#x110000; &#0; & &",
                "&nbsp; &#; &#x110000; &#0; & &",
            ),
            ("a\r\nb\rc", "a\nb\nc"),
            ("&amp;amp;", "&amp;"),
        ] {
            assert_eq!(unescaped(raw), want, "{raw}");
        }
    }
}
