//! JSON with values that it does not have, which some programs write: `NaN`, `Infinity`, and halves of
//! surrogate pairs. They fail a record only if it uses them.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Error};
use serde_json::Value;
use serde_json::error::Category;

use crate::digits;

/// Marks a number that JSON does not have. A noncharacter, which no text contains (Unicode, section
/// 23.7).
const NO_NUMBER: char = '\u{fdd0}';
/// Stands for half of a surrogate pair.
const HALF: char = '\u{fdd1}';

/// Largest number of documents in JSON Lines.
const LINES_MAX: usize = 1_000_000;

/// A parsed document, or the parts of it that are kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Json {
    /// With integers that do not fit 64 bits as text, which has all digits.
    pub(super) exact: Value,
    /// With these integers as doubles, if there are any: a JSONPath filter compares numbers. Otherwise
    /// the same.
    pub(super) rounded: Option<Value>,
}

/// Parses JSON. A value that JSON does not have becomes a marked text. Several documents, one on each
/// line (JSON Lines), become a list.
///
/// `seed` returns what parses the document, or the line with this number (from 0), and keeps a part of it.
///
/// # Errors
/// The text is not JSON in other ways, or `seed` refuses it.
pub(super) fn parse<S>(
    json: &str,
    seed: &dyn Fn(Option<usize>) -> S,
) -> Result<Json, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = Option<Value>>,
{
    one(json, &|| seed(None)).or_else(|error| match error.classify() {
        // Refused.
        Category::Data => Err(error),
        _ => match lines(json, seed) {
            Ok(Some(lines)) => Ok(lines),
            Err(refused) if refused.is_data() => Err(refused),
            _ => Err(error),
        },
    })
}

/// Parses JSON Lines to a list. `None`: there are no lines, or they do not look like JSON Lines.
///
/// # Errors
/// A line is not JSON, or `seed` refuses it.
pub(super) fn lines<S>(
    json: &str,
    seed: &dyn Fn(Option<usize>) -> S,
) -> Result<Option<Json>, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = Option<Value>>,
{
    let lines = || json.lines().filter(|line| !line.trim().is_empty());
    if !lines().all(|line| line.trim_start().starts_with(['{', '['])) {
        return Ok(None);
    }
    if lines().nth(LINES_MAX).is_some() {
        let reason = format!("the JSON is not read: it has more than {LINES_MAX} lines");
        return Err(Error::custom(reason));
    }
    let all = |is_exact: bool| {
        let read = |(n, line)| match is_exact {
            true => exact(line, &|| seed(Some(n))),
            false => rounded(line, &|| seed(Some(n))),
        };
        lines().enumerate().map(read).collect::<Result<Vec<_>, _>>()
    };
    let exact = all(true)?;
    let rounded = match lines().any(is_large) {
        true => Some(Value::Array(all(false)?)),
        false => None,
    };
    Ok((!exact.is_empty()).then_some(Json {
        exact: Value::Array(exact),
        rounded,
    }))
}

fn is_large(json: &str) -> bool {
    matches!(digits::quote_large_integers(json.as_bytes()), Cow::Owned(_))
}

fn one<S>(json: &str, seed: &dyn Fn() -> S) -> Result<Json, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = Option<Value>>,
{
    Ok(Json {
        exact: exact(json, seed)?,
        rounded: match is_large(json) {
            true => Some(rounded(json, seed)?),
            false => None,
        },
    })
}

/// Parses a document, with large integers as text.
fn exact<S>(json: &str, seed: &dyn Fn() -> S) -> Result<Value, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = Option<Value>>,
{
    let parse = |json: &str| document(&digits::quote_large_integers(json.as_bytes()), seed());
    tolerant(json, &parse)
}

/// Parses a document, with large integers as doubles. One that is too large even for a double is text.
fn rounded<S>(json: &str, seed: &dyn Fn() -> S) -> Result<Value, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = Option<Value>>,
{
    let parse = |json: &str| document(json.as_bytes(), seed());
    tolerant(json, &parse).or_else(|error| match error.classify() {
        Category::Data => Err(error),
        _ => exact(json, seed),
    })
}

/// Parses text that may contain values that JSON does not have.
fn tolerant(
    json: &str,
    parse: &dyn Fn(&str) -> Result<Value, serde_json::Error>,
) -> Result<Value, serde_json::Error> {
    parse(json).or_else(|error| match (error.classify(), marked(json)) {
        (Category::Data, _) | (_, None) => Err(error),
        (_, Some(marked)) => parse(&marked),
    })
}

fn document<S>(json: &[u8], seed: S) -> Result<Value, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = Option<Value>>,
{
    let mut parser = serde_json::Deserializer::from_slice(json);
    let kept = seed.deserialize(&mut parser)?;
    parser.end()?;
    Ok(kept.unwrap_or_default())
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
    use std::marker::PhantomData;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(json: &str) -> Result<Json, serde_json::Error> {
        super::parse(json, &|_| PhantomData)
    }

    fn lines(json: &str) -> Result<Option<Json>, serde_json::Error> {
        super::lines(json, &|_| PhantomData)
    }

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
            assert_eq!(
                parse(text).ok().map(|json| json.exact),
                Some(expected),
                "{text}"
            );
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
    fn json_lines_are_a_list() {
        for (text, expected) in [
            ("{\"a\":1}\n{\"a\":2}\n", json!([{"a": 1}, {"a": 2}])),
            ("{\"a\":1}\r\n\r\n [2]", json!([{"a": 1}, [2]])),
            (
                "{\"a\":NaN}\n{\"a\":12345678901234567890123}",
                json!([{"a": "\u{fdd0}NaN"}, {"a": "12345678901234567890123"}]),
            ),
        ] {
            assert_eq!(
                parse(text).ok().map(|json| json.exact),
                Some(expected),
                "{text}"
            );
        }
        // One document on several lines, and one line.
        assert_eq!(parse("{\n\"a\":1\n}").unwrap().exact, json!({"a": 1}));
        assert_eq!(parse("{\"a\":1}\n").unwrap().exact, json!({"a": 1}));
        assert_eq!(
            lines("{\"a\":1}\n").unwrap().unwrap().exact,
            json!([{"a": 1}])
        );
        for text in [
            "{\"a\":1}\n{\"a\":",
            "{\"a\":1} {\"a\":2}",
            "1\n2",
            "{}\n<p>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_marked_value_has_a_reason() {
        let of = |text: &str| complaint(text).unwrap_or_default();
        assert_eq!(of("\u{fdd0}NaN"), "is NaN, which is not valid JSON");
        assert!(of("{\"a\":\"\u{fdd0}-Infinity\"}").contains("is -Infinity,"));
        assert!(of("a\u{fdd1}").contains("unpaired surrogate"));
        assert_eq!(of("NaN"), "");
    }

    proptest! {
        #[test]
        fn valid_json_is_not_changed(text in "(\\PC|[\\\\\"]){0,12}", n in any::<i32>()) {
            let value = json!({ text.as_str(): [text, n, "NaN"] });
            prop_assert_eq!(parse(&value.to_string()).ok().map(|json| json.exact), Some(value.clone()));
            prop_assert_eq!(marked(&value.to_string()), None);
        }

        #[test]
        fn any_text_can_be_marked(text in "(\\PC|[\\\\\"u]|NaN|ud83d|\\\\ud83d|\\\\ude00|[-I]){0,20}") {
            let _ = parse(&text);
        }
    }
}
