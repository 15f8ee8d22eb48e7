//! Resolves escapes that Excel uses in texts: `_x000D_` stands for the UTF-16 code unit 000D.

use memchr::memchr;

/// Resolves the escapes in `text` from `from` on.
pub(super) fn resolve(text: &mut String, from: usize) {
    let Some(first) = find_escape(&text[from..]) else {
        return;
    };
    let tail = text.split_off(from + first);
    let mut rest = &tail[..];
    loop {
        // Consecutive escapes are decoded together: two may form a surrogate pair.
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

/// The code unit of an escape at the start of `bytes`.
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

    fn resolved(raw: &str) -> String {
        let mut text = format!("_x0041_{raw}");
        resolve(&mut text, 7);
        text.split_off(7)
    }

    #[test]
    fn escapes_are_resolved_and_lookalikes_are_kept() {
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
