//! Texts as XML and Excel write them.

use memchr::{memchr, memchr2};

/// Appends XML text: entities and character references resolved, line ends made `\n`. What is no
/// known entity stays as it is written, and bytes that are no UTF-8 become U+FFFD.
pub(super) fn unescape(raw: &[u8], to: &mut String) {
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
        // The longest known reference is `#x10FFFF`; leading zeros are allowed.
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

/// Resolves Excel's own escapes: `_x000D_` stands for the UTF-16 unit 000D, in `text` from `from`
/// on.
pub(super) fn resolve_excel_escapes(text: &mut String, from: usize) {
    let Some(first) = find_escape(&text[from..]) else {
        return;
    };
    let tail = text.split_off(from + first);
    let mut rest = &tail[..];
    loop {
        // The escape at the front, with the ones that follow directly: two may be one character.
        let mut units = Vec::new();
        while let Some(unit) = escape(rest.as_bytes()) {
            units.push(unit);
            rest = &rest[7..];
        }
        text.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        match find_escape(rest) {
            Some(next) => {
                text.push_str(&rest[..next]);
                rest = &rest[next..];
            }
            None => break,
        }
    }
    text.push_str(rest);
}

fn find_escape(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(i) = memchr(b'_', &text.as_bytes()[at..]) {
        if escape(&text.as_bytes()[at + i..]).is_some() {
            return Some(at + i);
        }
        at += i + 1;
    }
    None
}

/// The unit that an escape at the front stands for.
fn escape(bytes: &[u8]) -> Option<u16> {
    let [b'_', b'x', digits @ .., b'_'] = bytes.get(..7)? else {
        return None;
    };
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(raw: &str) -> String {
        let mut text = String::from("x");
        unescape(raw.as_bytes(), &mut text);
        text.split_off(1)
    }

    fn resolved(raw: &str) -> String {
        let mut text = format!("_x0041_{raw}");
        resolve_excel_escapes(&mut text, 7);
        text.split_off(7)
    }

    #[test]
    fn entities() {
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

    #[test]
    fn excel_escapes() {
        for (raw, want) in [
            ("_x000D_\n", "\r\n"),
            ("a_x0041_b", "aAb"),
            ("_x005F_x0041_", "_x0041_"),
            ("_xD83D__xDE42_", "🙂"),
            ("_xD83D_", "\u{FFFD}"),
            ("_x_x0041_", "_xA"),
            ("_x00G1_ _x0041 __", "_x00G1_ _x0041 __"),
            ("ä_x000ä_", "ä_x000ä_"),
        ] {
            assert_eq!(resolved(raw), want, "{raw}");
        }
    }
}
