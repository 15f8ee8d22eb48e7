//! Keeps integers in JSON exact: those that do not fit a double become text.

use std::borrow::Cow;

use serde_json::Number;

/// Largest integer up to which every integer is exact as a double.
const EXACT_MAX: u64 = 1 << 53;
/// Fewest digits of an integer that does not fit 64 bits.
const DIGITS_MIN: usize = 19;

/// Whether the number is exact as a double.
pub(crate) fn is_exact(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n <= EXACT_MAX,
        (None, Some(n)) => n.unsigned_abs() <= EXACT_MAX,
        (None, None) => true,
    }
}

/// Quotes the integers that do not fit 64 bits, which serde_json would otherwise round to doubles.
pub(crate) fn quote_large_integers(json: &[u8]) -> Cow<'_, [u8]> {
    let (mut kept, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at + 1),
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
                let length = json[at..].iter().take_while(|b| is_part(b)).count();
                let number = &json[at..at + length];
                if is_too_large(number) {
                    kept.extend_from_slice(&json[copied..at]);
                    kept.push(b'"');
                    kept.extend_from_slice(number);
                    kept.push(b'"');
                    copied = at + length;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    kept.extend_from_slice(&json[copied..]);
    Cow::Owned(kept)
}

/// The index after the string that starts before `at`.
fn string_end(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|r| memchr::memchr2(b'"', b'\\', r)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

fn is_too_large(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    if digits.len() < DIGITS_MIN || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(number) else {
        return false;
    };
    text.parse::<u64>().is_err() && text.parse::<i64>().is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_integers_beyond_64_bits_become_text() {
        for (json, expected) in [
            (
                r#"{"a":12345678901234567890123}"#,
                r#"{"a":"12345678901234567890123"}"#,
            ),
            (
                "[18446744073709551616, -9223372036854775809]",
                r#"["18446744073709551616", "-9223372036854775809"]"#,
            ),
            (
                r#"["\"12345678901234567890123",12345678901234567890123]"#,
                r#"["\"12345678901234567890123","12345678901234567890123"]"#,
            ),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&quote_large_integers(json.as_bytes())),
                expected
            );
        }
        for json in [
            "[18446744073709551615,-9223372036854775808,9007199254740993,0]",
            "[12345678901234567890123.5,12345678901234567890e3,1e300]",
            "[00000000000000000000000001]",
            r#"{"12345678901234567890123":"12345678901234567890123 \\"}"#,
            r#""12345678901234567890123"#,
            r#""\"#,
            "",
        ] {
            assert!(
                matches!(quote_large_integers(json.as_bytes()), Cow::Borrowed(_)),
                "{json}"
            );
        }
    }

    proptest! {
        #[test]
        fn quoting_preserves_the_rest_of_the_json(text in "\\PC{0,20}", digits in "-?[1-9][0-9]{0,40}") {
            let json = serde_json::json!({ text.as_str(): [text.as_str(), 1.5] }).to_string();
            let json = format!("[{json},{digits}]");
            let kept: serde_json::Value = serde_json::from_slice(&quote_large_integers(json.as_bytes())).unwrap();
            prop_assert_eq!(&kept[0][text.as_str()][0], text.as_str());
            let found = kept[1].as_str().map_or_else(|| kept[1].to_string(), str::to_owned);
            prop_assert_eq!(found, digits);
        }
    }
}
