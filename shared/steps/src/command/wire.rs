//! The lines between Rowmill and a program.
//!
//! To it: `{"row":17,"values":{"ZIP":"00501","tax_due":812.5}}`, values as in a chunk, earlier
//! outputs among them. From it: `{"row":17,"outputs":{"score":0.7}}` or
//! `{"row":17,"error":"no such parcel"}`, one line for each record, in any order.

use std::borrow::Cow;
use std::sync::Arc;

use rowmill_domain::record::{Json, Outputs};
use rowmill_domain::{Row, Value};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::{brief, digits};

/// A record as a line, its end included.
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

/// What a line of the program's says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// An answer for the record of that row.
    Answer(u32, Result<Outputs, String>),
    /// Nothing that belongs to a record: a message, a banner.
    Chatter,
}

#[derive(Deserialize)]
struct Answer<'a> {
    row: u32,
    #[serde(borrow, default)]
    outputs: Option<Pairs<'a>>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

/// Reads a line. Outputs that the pipeline does not declare are passed over; `null` and the
/// empty text are no values.
pub(super) fn read(line: &[u8], declared: &[Arc<str>]) -> Said {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Said::Chatter;
    }
    let answer: Answer<'_> = match serde_json::from_slice(line) {
        Ok(answer) => answer,
        Err(e) => {
            // A broken answer is told at once where it still names its record.
            let reason = format!(
                "the program's answer is not as agreed ({e}): {}",
                brief(&String::from_utf8_lossy(line), 120)
            );
            return row_of(line).map_or(Said::Chatter, |row| Said::Answer(row, Err(reason)));
        }
    };
    // Looked at only here, since nearly no line has one.
    if answer
        .outputs
        .iter()
        .flat_map(|p| &p.0)
        .any(|(_, v)| is_large(v))
        && let Cow::Owned(line) = digits::keep(line)
    {
        return read(&line, declared);
    }
    Said::Answer(answer.row, outputs(answer, line, declared))
}

/// Whether a number may be an integer that 64 bits do not hold.
fn is_large(value: &serde_json::Value) -> bool {
    value.is_f64() && value.as_f64().is_some_and(|n| n.abs() >= i64::MAX as f64)
}

fn outputs(answer: Answer<'_>, line: &[u8], declared: &[Arc<str>]) -> Result<Outputs, String> {
    match answer.error {
        None | Some(serde_json::Value::Null) => {}
        Some(serde_json::Value::String(reason)) => return Err(brief(&reason, 500)),
        Some(other) => return Err(brief(&other.to_string(), 500)),
    }
    let Some(Pairs(pairs)) = answer.outputs else {
        return Err(format!(
            "the program's answer has neither `outputs` nor `error`: {}",
            brief(&String::from_utf8_lossy(line), 120)
        ));
    };
    let mut found = Vec::with_capacity(declared.len());
    // In the order of the pipeline, whatever order the program gives.
    for name in declared {
        let Some((_, json)) = pairs.iter().rev().find(|(n, _)| *n == **name) else {
            continue;
        };
        match json {
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(format!(
                    "output `{name}` is {}, which is no cell's value; give a text, a number, true or false",
                    brief(&json.to_string(), 80)
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

/// The number after `"row":`, in a line that is not JSON as a whole (as with a bare NaN).
fn row_of(line: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, rest) = text.split_once("\"row\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// An object's entries, in order.
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

/// A name without a copy where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use rowmill_domain::record::Columns;
    use rowmill_domain::{Kind, Record};

    use super::*;

    fn said(line: &str) -> Said {
        read(line.as_bytes(), &["score".into(), "label".into()])
    }

    #[test]
    fn a_record_is_one_line_with_earlier_outputs() {
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
    fn answers() {
        let ok = |row, outputs: Vec<(&str, Value)>| {
            let outputs = outputs.into_iter().map(|(n, v)| (n.into(), v)).collect();
            Said::Answer(row, Ok(outputs))
        };
        assert_eq!(
            said(r#"{"row":2,"outputs":{"label":"x","score":0.5,"extra":[1]}}"#),
            ok(2, vec![("score", 0.5.into()), ("label", "x".into())])
        );
        assert_eq!(
            said(r#"{"outputs":{"score":null,"label":""},"row":3,"took":1}"#),
            ok(3, vec![])
        );
        assert_eq!(said(r#"{"row":4,"outputs":{}}"#), ok(4, vec![]));
        for digits in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551616",
            "12345678901234567890123",
        ] {
            assert_eq!(
                said(&format!(r#"{{"row":6,"outputs":{{"score":{digits}}}}}"#)),
                ok(6, vec![("score", digits.into())])
            );
        }
        assert_eq!(
            said(r#"{"row":6,"outputs":{"score":9007199254740992,"label":1e300}}"#),
            ok(
                6,
                vec![
                    ("score", 9_007_199_254_740_992.0.into()),
                    ("label", 1e300.into())
                ]
            )
        );
        assert_eq!(
            said(r#"{"row":5,"error":"no such\nparcel"}"#),
            Said::Answer(5, Err("no such parcel".into()))
        );
        assert_eq!(
            said(r#"{"row":5,"outputs":{"score":1},"error":null}"#),
            ok(5, vec![("score", 1.0.into())])
        );
    }

    #[test]
    fn broken_answers_name_their_record_where_they_can() {
        for (line, reason) in [
            (r#"{"row": 7, "outputs": {"score": NaN}}"#, "not as agreed"),
            (r#"{"row":7}"#, "neither `outputs` nor `error`"),
            (
                r#"{"row":7,"outputs":{"score":[1]}}"#,
                "is [1], which is no cell's value",
            ),
            (r#"{"row":7,"outputs":[1]}"#, "not as agreed"),
            (r#"{"row":7,"error":{"code":3}}"#, r#"{"code":3}"#),
        ] {
            let Said::Answer(7, Err(found)) = said(line) else {
                panic!("{line}: {:?}", said(line))
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
        ] {
            assert_eq!(said(line), Said::Chatter, "{line}");
        }
        assert_eq!(read(b"\xff\xfe", &[]), Said::Chatter);
    }
}
