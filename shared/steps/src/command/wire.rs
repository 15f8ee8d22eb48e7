//! The lines that Rowmill and a program exchange.
//!
//! To the program: `{"row":17,"values":{"ZIP":"00501","tax_due":812.5}}`, with the values of the
//! record and the outputs of earlier steps. From the program: `{"row":17,"outputs":{"score":0.7}}`
//! or `{"row":17,"error":"no such parcel"}`, one line per record, in any order.

use std::borrow::Cow;
use std::sync::Arc;

use rowmill_domain::record::{Json, Outputs};
use rowmill_domain::{Row, Value};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::{digits, truncate};

/// What some programs on Windows write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A record as a line, with the line end.
pub(super) fn line(row: Row<'_>) -> Result<Vec<u8>, serde_json::Error> {
    struct Values<'a>(Row<'a>);
    impl Serialize for Values<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.values().into_iter().map(|(n, v)| (n, Json(v))))
        }
    }
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut map = serde::Serializer::serialize_map(&mut serializer, None)?;
    map.serialize_entry("row", &row.record.row)?;
    map.serialize_entry("values", &Values(row))?;
    map.end()?;
    line.push(b'\n');
    Ok(line)
}

/// A line that the program wrote.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// The answer for the record in this row.
    Answer(u32, Result<Outputs, String>),
    /// Not an answer: a log message or a banner.
    Log,
}

#[derive(Deserialize)]
struct Answer<'a> {
    row: u32,
    #[serde(borrow, default)]
    outputs: Option<Pairs<'a>>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

/// Parses a line. Outputs that the pipeline does not declare are ignored; `null` and empty text are
/// not values. A byte order mark is ignored.
pub(super) fn read(line: &[u8], declared: &[Arc<str>]) -> Line {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Line::Log;
    }
    let answer: Answer<'_> = match serde_json::from_slice(line) {
        Ok(answer) => answer,
        Err(e) => {
            // An invalid answer fails its record at once if the row can still be read.
            let what = match std::str::from_utf8(line) {
                Ok(_) => format!("an invalid answer ({e})"),
                Err(_) => "an answer that is not UTF-8".to_owned(),
            };
            let reason = format!(
                "the program wrote {what}: {}",
                truncate(&String::from_utf8_lossy(line), 120)
            );
            return row_of(line).map_or(Line::Log, |row| Line::Answer(row, Err(reason)));
        }
    };
    // Checked only now, because large numbers are rare.
    if answer
        .outputs
        .iter()
        .flat_map(|p| &p.0)
        .any(|(_, v)| is_large(v))
        && let Cow::Owned(line) = digits::quote_large_integers(line)
    {
        return read(&line, declared);
    }
    Line::Answer(answer.row, outputs(answer, line, declared))
}

/// Whether a number may be an integer that does not fit 64 bits.
fn is_large(value: &serde_json::Value) -> bool {
    value.is_f64() && value.as_f64().is_some_and(|n| n.abs() >= i64::MAX as f64)
}

fn outputs(answer: Answer<'_>, line: &[u8], declared: &[Arc<str>]) -> Result<Outputs, String> {
    match answer.error.filter(|error| !is_no_error(error)) {
        None => {}
        Some(serde_json::Value::String(reason)) => return Err(truncate(&reason, 500)),
        Some(other) => return Err(truncate(&other.to_string(), 500)),
    }
    let Some(Pairs(pairs)) = answer.outputs else {
        return Err(format!(
            "the program wrote an answer with neither `outputs` nor `error`: {}",
            truncate(&String::from_utf8_lossy(line), 120)
        ));
    };
    let mut found = Vec::with_capacity(declared.len());
    // In the order of the pipeline, not of the program.
    for name in declared {
        let Some((_, json)) = pairs.iter().rev().find(|(n, _)| *n == **name) else {
            continue;
        };
        match json {
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(format!(
                    "output `{name}` is {}, which does not fit a cell; use a text, a number, true or false",
                    truncate(&json.to_string(), 80)
                ));
            }
            serde_json::Value::Number(n) if !digits::is_exact(n) => {
                found.push((name.clone(), Value::Text(n.to_string())));
            }
            json => match Value::from_json(json) {
                None => {}
                Some(Value::Text(text)) if text.is_empty() => {}
                Some(value) => found.push((name.clone(), value)),
            },
        }
    }
    Ok(found)
}

/// Whether the value of `error` says that there is none: programs that always write the key leave it
/// empty.
fn is_no_error(error: &serde_json::Value) -> bool {
    match error {
        serde_json::Value::Null | serde_json::Value::Bool(false) => true,
        serde_json::Value::String(text) => text.trim().is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// The object's own `row` in a line that is not a valid answer, for example because of a bare NaN or
/// of bytes that are not UTF-8. A `row` within another value or in a text is not the line's own.
fn row_of(line: &[u8]) -> Option<u32> {
    let mut depth = 0_usize;
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let text;
                (text, rest) = split_text(rest)?;
                let value = rest.trim_ascii_start().strip_prefix(b":");
                if depth == 1
                    && text == b"row"
                    && let Some(value) = value
                {
                    let value = value.trim_ascii_start();
                    // Some programs write numbers as text.
                    let value = value.strip_prefix(b"\"").unwrap_or(value);
                    let end = value.iter().position(|b| !b.is_ascii_digit())?;
                    return std::str::from_utf8(&value[..end]).ok()?.parse().ok();
                }
            }
            _ => {}
        }
    }
    None
}

/// Splits the rest of a line after a quote into the text up to the closing quote, and what follows.
fn split_text(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest[at] == b'"' {
            return Some((&rest[..at], &rest[at + 1..]));
        }
        at += 2;
    }
}

/// The entries of an object, in order.
struct Pairs<'a>(Vec<(Cow<'a, str>, serde_json::Value)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> serde::de::Visitor<'de> for V {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of outputs")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::with_capacity(4);
                while let Some((name, value)) = map.next_entry::<Name<'de>, serde_json::Value>()? {
                    pairs.push((name.0, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(V)
    }
}

/// A name, copied only if it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use rowmill_domain::record::Columns;
    use rowmill_domain::{Kind, Record};

    use super::*;

    fn parse(line: &str) -> Line {
        read(line.as_bytes(), &["score".into(), "label".into()])
    }

    #[test]
    fn a_record_is_one_line_that_includes_earlier_outputs() {
        let columns = Columns::new(["ZIP", "Since", "Note", "empty"]);
        let record = Record {
            row: 17,
            values: vec![
                Some("00501".into()),
                Value::parse("2024-03-01", Kind::Date),
                Some("two\nlines \"q\"".into()),
                None,
            ],
        };
        let outputs: Outputs = vec![("tax_due".into(), 812.5.into())];
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &outputs,
        };
        assert_eq!(
            String::from_utf8(line(row).unwrap()).unwrap(),
            "{\"row\":17,\"values\":{\"ZIP\":\"00501\",\"Since\":\"2024-03-01\",\"Note\":\"two\\nlines \\\"q\\\"\",\"tax_due\":812.5}}\n"
        );
    }

    #[test]
    fn answers_are_parsed() {
        let ok = |row, outputs: Vec<(&str, Value)>| {
            let outputs = outputs.into_iter().map(|(n, v)| (n.into(), v)).collect();
            Line::Answer(row, Ok(outputs))
        };
        assert_eq!(
            parse(r#"{"row":2,"outputs":{"label":"x","score":0.5,"extra":[1]}}"#),
            ok(2, vec![("score", 0.5.into()), ("label", "x".into())])
        );
        assert_eq!(
            parse(r#"{"outputs":{"score":null,"label":""},"row":3,"took":1}"#),
            ok(3, vec![])
        );
        assert_eq!(parse(r#"{"row":4,"outputs":{}}"#), ok(4, vec![]));
        for digits in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551616",
            "12345678901234567890123",
        ] {
            assert_eq!(
                parse(&format!(r#"{{"row":6,"outputs":{{"score":{digits}}}}}"#)),
                ok(6, vec![("score", digits.into())])
            );
        }
        assert_eq!(
            parse(r#"{"row":6,"outputs":{"score":9007199254740992,"label":1e300}}"#),
            ok(
                6,
                vec![
                    ("score", 9_007_199_254_740_992.0.into()),
                    ("label", 1e300.into())
                ]
            )
        );
        assert_eq!(
            parse(r#"{"row":5,"error":"no such\nparcel"}"#),
            Line::Answer(5, Err("no such parcel".into()))
        );
        assert_eq!(
            parse(r#"{"row":5,"outputs":{"score":1},"error":null}"#),
            ok(5, vec![("score", 1.0.into())])
        );
    }

    #[test]
    fn invalid_answers_fail_their_record_if_the_row_can_be_read() {
        for (line, reason) in [
            (
                r#"{"row": 7, "outputs": {"score": NaN}}"#,
                "wrote an invalid answer",
            ),
            (r#"{"row":7}"#, "neither `outputs` nor `error`"),
            (
                r#"{"row":7,"outputs":{"score":[1]}}"#,
                "is [1], which does not fit a cell",
            ),
            (r#"{"row":7,"outputs":[1]}"#, "wrote an invalid answer"),
            (r#"{"row":"7","outputs":{}}"#, "wrote an invalid answer"),
            (
                r#"{"job":{"row":1},"row":7,"outputs":NaN}"#,
                "wrote an invalid answer",
            ),
            (r#"{"row":7,"error":{"code":3}}"#, r#"{"code":3}"#),
        ] {
            let Line::Answer(7, Err(found)) = parse(line) else {
                panic!("{line}: {:?}", parse(line))
            };
            assert!(found.contains(reason), "{line}: {found}");
        }
        for line in [
            "",
            "Loading model...",
            "[1]",
            "{",
            r#"{"outputs":{}}"#,
            "7",
            r#"{"row":-1}"#,
            // Log lines of other records' rows.
            r#"{"msg":"next is","job":{"row":7}}"#,
            r#"{"msg":"next is","jobs":[{"row":7,"outputs":{}}]}"#,
            r#"{"msg":"\"row\":7, ","next":"row"}"#,
            r#"{"msg":"{\\","x":["row"],"row ":7}"#,
        ] {
            assert_eq!(parse(line), Line::Log, "{line}");
        }
        assert_eq!(read(b"\xff\xfe", &[]), Line::Log);
        assert_eq!(read(b"{\"msg\":\"caf\xe9 row\"}", &[]), Line::Log);
    }

    #[test]
    fn an_empty_error_is_not_an_error() {
        for error in ["null", "\"\"", "\" \"", "false", "[]", "{}"] {
            let line = format!(r#"{{"row":2,"outputs":{{"score":1}},"error":{error}}}"#);
            let expected = vec![("score".into(), 1.0.into())];
            assert_eq!(parse(&line), Line::Answer(2, Ok(expected)), "{error}");
            let line = format!(r#"{{"row":2,"error":{error}}}"#);
            let Line::Answer(2, Err(reason)) = parse(&line) else {
                panic!("{line}")
            };
            assert!(reason.contains("neither"), "{error}: {reason}");
        }
        for error in ["0", "true", "[1]", "\"x\""] {
            let line = format!(r#"{{"row":2,"outputs":{{"score":1}},"error":{error}}}"#);
            assert!(matches!(parse(&line), Line::Answer(2, Err(_))), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let line = "\u{feff}{\"row\":2,\"outputs\":{\"label\":\"x\"}}\r\n";
        let expected = vec![("label".into(), "x".into())];
        assert_eq!(parse(line), Line::Answer(2, Ok(expected)));
    }

    #[test]
    fn an_answer_that_is_not_utf8_fails_its_record() {
        for line in [
            &b"{\"row\":3,\"outputs\":{\"label\":\"caf\xe9\"}}"[..],
            b"{\"outputs\":{\"label\":\"caf\xe9\",\"row\":9}, \"row\" : 3}",
        ] {
            let Line::Answer(3, Err(reason)) = read(line, &["label".into()]) else {
                panic!("{}", String::from_utf8_lossy(line))
            };
            assert!(reason.contains("not UTF-8"), "{reason}");
        }
    }
}
