//! JSON with values that it does not have, which some programs write: `NaN`, `Infinity`, and halves of
//! surrogate pairs. They fail a record only if it uses them.

use serde_json::Value;

use crate::digits;

/// Marks a number that JSON does not have. A noncharacter, which no text contains (Unicode, section
/// 23.7).
const NO_NUMBER: char = '\u{fdd0}';
/// Stands for half of a surrogate pair.
const HALF: char = '\u{fdd1}';

/// Parses JSON. A value that JSON does not have becomes a marked text.
///
/// # Errors
/// The text is not JSON in other ways.
pub(super) fn parse(json: &str) -> Result<Value, serde_json::Error> {
    let parse = |json: &[u8]| serde_json::from_slice(&digits::quote_large_integers(json));
    parse(json.as_bytes()).or_else(|error| match marked(json) {
        Some(marked) => parse(marked.as_bytes()),
        None => Err(error),
    })
}

/// Why a text is not a value, if it contains a marked one.
pub(super) fn complaint(text: &str) -> Option<String> {
    if text.contains(HALF) {
        return Some("contains an unpaired surrogate".to_owned());
    }
    let (_, after) = text.split_once(NO_NUMBER)?;
    let end = after.find(|c: char| !(c.is_ascii_alphabetic() || c == '-'));
    let number = &after[..end.unwrap_or(after.len())];
    Some(format!("is {number}, which is not valid JSON"))
}

/// The text with marks. `None` if there is nothing to mark.
fn marked(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len() + 16);
    let mut rest = json;
    let mut found = false;
    while let Some(start) = rest.find(['"', 'N', 'I', '-']) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            let (inner, after) = text.split_at(string_end(text));
            out.push('"');
            found |= mark_halves(inner, &mut out);
            rest = after;
            continue;
        }
        let word = ["NaN", "Infinity", "-Infinity"];
        match word.into_iter().find(|word| rest.starts_with(word)) {
            Some(word) => {
                found = true;
                out.extend(['"', NO_NUMBER]);
                out.push_str(word);
                out.push('"');
                rest = &rest[word.len()..];
            }
            // One of the ASCII characters above.
            None => {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    found.then_some(out)
}

/// The index after the quote that ends a string.
fn string_end(text: &str) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text.as_bytes()[at..]) {
        at += found;
        if text.as_bytes()[at] == b'"' {
            return at + 1;
        }
        // The escaped character may have more bytes than one.
        let escaped = text[at + 1..].chars().next().map_or(0, char::len_utf8);
        at += 1 + escaped;
    }
    text.len()
}

/// Copies a string, and replaces escapes of half a surrogate pair. Returns whether there was one.
fn mark_halves(text: &str, out: &mut String) -> bool {
    let (mut rest, mut found) = (text, false);
    while let Some(start) = rest.find('\\') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                found = true;
                out.push(HALF);
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
    found
}

/// The code unit of an escape such as `\ud83d` at the start of the text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_json_does_not_have_are_marked() {
        for (text, expected) in [
            (
                r#"{"v":"ok","o":NaN}"#,
                json!({"v": "ok", "o": "\u{fdd0}NaN"}),
            ),
            (
                "[Infinity, -Infinity,-1]",
                json!(["\u{fdd0}Infinity", "\u{fdd0}-Infinity", -1]),
            ),
            (r#"["\ud83d",1]"#, json!(["\u{fdd1}", 1])),
            (
                r#"["\uD83D\ud83d\ude00x\ude00"]"#,
                json!(["\u{fdd1}😀x\u{fdd1}"]),
            ),
            (
                r#"["\\ud83d","NaN \" -Infinity",NaN]"#,
                json!(["\\ud83d", "NaN \" -Infinity", "\u{fdd0}NaN"]),
            ),
            (r#"{"é\ud83d":"\n\u00e9"}"#, json!({"é\u{fdd1}": "\né"})),
            (
                "[NaN,12345678901234567890123]",
                json!(["\u{fdd0}NaN", "12345678901234567890123"]),
            ),
        ] {
            assert_eq!(parse(text).ok(), Some(expected), "{text}");
        }
        for text in [
            "{\"v\":nan}",
            "[NaNs]",
            "[NaN",
            "\"\\",
            "\"\\é",
            "\"\\u",
            "{}NaN",
            "<p>NaN",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_marked_value_has_a_reason() {
        let of = |text: &str| complaint(text).unwrap_or_default();
        assert_eq!(of("\u{fdd0}NaN"), "is NaN, which is not valid JSON");
        assert!(of("{\"a\":\"\u{fdd0}-Infinity\"}").contains("value -Infinity,"));
        assert!(of("a\u{fdd1}").contains("half of a surrogate pair"));
        assert_eq!(of("NaN"), "");
    }

    proptest! {
        #[test]
        fn valid_json_is_not_changed(text in "(\\PC|[\\\\\"]){0,12}", n in any::<i32>()) {
            let value = json!({ text.as_str(): [text, n, "NaN"] });
            prop_assert_eq!(parse(&value.to_string()).ok(), Some(value.clone()));
            prop_assert_eq!(marked(&value.to_string()), None);
        }

        #[test]
        fn any_text_can_be_marked(text in "(\\PC|[\\\\\"u]|NaN|ud83d|\\\\ud83d|\\\\ude00|[-I]){0,20}") {
            let _ = parse(&text);
        }
    }
}
