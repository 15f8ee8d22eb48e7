//! A row of the input as a record, and the chunk format: JSON Lines.
//!
//! One line is `{"row":17,"values":{"ZIP":"00501","Since":"2024-03-01"},"types":{"Since":"date"}}`:
//! values are in column order, empty cells are absent, and `types` has the kinds that JSON cannot
//! express (dates, times, durations).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::value::{Kind, Value, whole};

/// The unique names of the input columns, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    names: Vec<Arc<str>>,
    index: HashMap<Arc<str>, usize>,
}

impl Columns {
    /// Creates columns with these names. For a duplicate name, [`Columns::position`] returns the first;
    /// readers of workbooks make names unique.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Columns {
        let names: Vec<Arc<str>> = names.into_iter().map(|n| Arc::from(n.as_ref())).collect();
        let mut index = HashMap::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            index.entry(name.clone()).or_insert(i);
        }
        Columns { names, index }
    }

    /// Returns the index of the column with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Returns the names, in order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Returns the number of columns.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// A row of the input that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The row number that Excel shows: from 1, header included.
    pub row: u32,
    /// One entry per column, in the order of [`Columns`]. `None`: the cell is empty.
    pub values: Vec<Option<Value>>,
}

/// The outputs of steps and derived columns so far: name and value, in order of creation.
pub type Outputs = Vec<(Arc<str>, Value)>;

/// A record as steps, templates and expressions see it: input and outputs so far.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The names of the input columns.
    pub columns: &'a Columns,
    /// The record.
    pub record: &'a Record,
    /// The outputs so far.
    pub outputs: &'a [(Arc<str>, Value)],
}

impl<'a> Row<'a> {
    /// Returns the value of an output with this name, otherwise of an input column.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.output(name).or_else(|| {
            let at = self.columns.position(name)?;
            self.record.values.get(at)?.as_ref()
        })
    }

    /// Returns the value of an output with this name; the latest if there are several.
    pub fn output(&self, name: &str) -> Option<&'a Value> {
        self.outputs
            .iter()
            .rev()
            .find(|(n, _)| &**n == name)
            .map(|(_, v)| v)
    }

    /// Returns all present values: input columns in order, then outputs with other names. An output
    /// shadows an input column with the same name.
    pub fn values(&self) -> Vec<(&'a str, &'a Value)> {
        let mut all: Vec<(&str, &Value)> = Vec::with_capacity(self.columns.len());
        for (name, value) in self.columns.names().iter().zip(&self.record.values) {
            if let Some(value) = self.output(name).or(value.as_ref()) {
                all.push((name, value));
            }
        }
        for (name, value) in self.outputs {
            if self.columns.position(name).is_none() {
                match all.iter_mut().find(|(n, _)| **n == **name) {
                    Some(entry) => entry.1 = value,
                    None => all.push((name, value)),
                }
            }
        }
        all
    }
}

/// Writes values as a JSON object under `field`, and the kinds that JSON cannot express under `types`.
pub(crate) fn serialize_values<'a, M: SerializeMap>(
    map: &mut M,
    field: &'static str,
    values: impl Iterator<Item = (&'a str, &'a Value)> + Clone,
) -> Result<(), M::Error> {
    map.serialize_entry(field, &ValueMap(values.clone()))?;
    let temporal = values.filter(|(_, v)| v.kind().is_temporal());
    if temporal.clone().next().is_some() {
        map.serialize_entry("types", &TypeMap(temporal))?;
    }
    Ok(())
}

struct ValueMap<I>(I);

impl<'a, I: Iterator<Item = (&'a str, &'a Value)> + Clone> Serialize for ValueMap<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone().map(|(n, v)| (n, Json(v))))
    }
}

struct TypeMap<I>(I);

impl<'a, I: Iterator<Item = (&'a str, &'a Value)> + Clone> Serialize for TypeMap<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone().map(|(n, v)| (n, v.kind())))
    }
}

/// Serializes a value without an intermediate `serde_json::Value`.
pub struct Json<'a>(pub &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Number(n) => match whole(*n) {
                Some(i) => serializer.serialize_i64(i),
                None => serializer.serialize_f64(*n),
            },
            Value::Text(t) => serializer.serialize_str(t),
            other => serializer.serialize_str(&other.to_text()),
        }
    }
}

/// A value in JSON. `null` is an absent value.
pub(crate) struct JsonValue(pub(crate) Option<Value>);

impl Serialize for JsonValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().map(Json).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = JsonValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, a boolean or null")
            }
            fn visit_bool<E>(self, v: bool) -> Result<JsonValue, E> {
                Ok(JsonValue(Some(Value::Bool(v))))
            }
            fn visit_i64<E>(self, v: i64) -> Result<JsonValue, E> {
                Ok(JsonValue(Some(Value::Number(v as f64))))
            }
            fn visit_u64<E>(self, v: u64) -> Result<JsonValue, E> {
                Ok(JsonValue(Some(Value::Number(v as f64))))
            }
            fn visit_f64<E>(self, v: f64) -> Result<JsonValue, E> {
                Ok(JsonValue(Some(Value::Number(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<JsonValue, E> {
                Ok(JsonValue(Some(Value::Text(v.to_owned()))))
            }
            fn visit_string<E>(self, v: String) -> Result<JsonValue, E> {
                Ok(JsonValue(Some(Value::Text(v))))
            }
            fn visit_unit<E>(self) -> Result<JsonValue, E> {
                Ok(JsonValue(None))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Converts a value that was read as text to the kind in `types`.
pub(crate) fn retype<E: serde::de::Error>(
    name: &str,
    value: &mut Value,
    kind: Kind,
) -> Result<(), E> {
    let Value::Text(text) = &*value else {
        return Err(E::custom(format_args!(
            "`{name}` is not text, so it cannot be read as a {kind}"
        )));
    };
    *value = Value::parse(text, kind)
        .ok_or_else(|| E::custom(format_args!("`{name}`: `{text}` is not a {kind}")))?;
    Ok(())
}

impl Record {
    /// Appends the record as a line of a chunk, without the line break. `columns` are the columns with
    /// which it was read.
    pub fn write_json(&self, columns: &Columns, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(to);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("row", &self.row)?;
        let values = columns
            .names()
            .iter()
            .zip(&self.values)
            .filter_map(|(n, v)| Some((&**n, v.as_ref()?)));
        serialize_values(&mut map, "values", values)?;
        map.end()
    }

    /// Reads a line of a chunk. Unknown fields and columns are ignored, so that an older reader accepts
    /// newer chunks.
    pub fn read_json(line: &[u8], columns: &Columns) -> serde_json::Result<Record> {
        let mut json = serde_json::Deserializer::from_slice(line);
        let record = RecordSeed(columns).deserialize(&mut json)?;
        json.end()?;
        Ok(record)
    }
}

struct RecordSeed<'a>(&'a Columns);

impl<'de> DeserializeSeed<'de> for RecordSeed<'_> {
    type Value = Record;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Record, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = Record;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record: {\"row\": .., \"values\": {..}}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let mut row = None;
        let mut values: Vec<Option<Value>> = vec![None; self.0.len()];
        let mut types: HashMap<String, Kind> = HashMap::new();
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match &*key {
                "row" => row = Some(map.next_value()?),
                "values" => map.next_value_seed(ValuesSeed(self.0, &mut values))?,
                "types" => types = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        for (name, kind) in types {
            if let Some(at) = self.0.position(&name)
                && let Some(value) = &mut values[at]
            {
                retype(&name, value, kind)?;
            }
        }
        Ok(Record {
            row: row.ok_or_else(|| A::Error::missing_field("row"))?,
            values,
        })
    }
}

struct ValuesSeed<'a>(&'a Columns, &'a mut Vec<Option<Value>>);

impl<'de> DeserializeSeed<'de> for ValuesSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Finds a column by name. It tries the column after the previous one first, because lines are in
/// column order.
struct NameSeed<'a>(&'a Columns, usize);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }
    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        match self.0.names().get(self.1) {
            Some(next) if &**next == name => Ok(Some(self.1)),
            _ => Ok(self.0.position(name)),
        }
    }
}

impl<'de> Visitor<'de> for ValuesSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of values")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(at) = map.next_key_seed(NameSeed(self.0, next))? {
            match at {
                Some(at) => {
                    self.1[at] = map.next_value::<JsonValue>()?.0;
                    next = at + 1;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let columns = Columns::new(["ZIP", "Since", "n \"q\"", "empty", "ok"]);
        let record = Record {
            row: 17,
            values: vec![
                Some(Value::from("00501")),
                Value::parse("2024-03-01", Kind::Date),
                Some(Value::Number(1.5)),
                None,
                Some(Value::Bool(true)),
            ],
        };
        let mut line = Vec::new();
        record.write_json(&columns, &mut line).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            r#"{"row":17,"values":{"ZIP":"00501","Since":"2024-03-01","n \"q\"":1.5,"ok":true},"types":{"Since":"date"}}"#
        );
        assert_eq!(Record::read_json(&line, &columns).unwrap(), record);
    }

    #[test]
    fn unknown_fields_and_columns_are_ignored() {
        let columns = Columns::new(["a"]);
        let line = br#"{"v":2,"values":{"b":[1],"a":null},"row":3,"types":{"b":"date"}}"#;
        let record = Record::read_json(line, &columns).unwrap();
        assert_eq!((record.row, record.values), (3, vec![None]));
        assert!(Record::read_json(b"{\"values\":{}}", &columns).is_err());
        assert!(
            Record::read_json(
                br#"{"row":1,"values":{"a":"x"},"types":{"a":"date"}}"#,
                &columns
            )
            .is_err()
        );
    }

    #[test]
    fn outputs_shadow_input_columns() {
        let columns = Columns::new(["a", "b"]);
        let record = Record {
            row: 2,
            values: vec![Some(Value::from("in")), None],
        };
        let outputs: Outputs = vec![
            ("b".into(), 1.0.into()),
            ("c".into(), true.into()),
            ("c".into(), false.into()),
        ];
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &outputs,
        };
        assert_eq!(row.get("c"), Some(&Value::Bool(false)));
        let all: Vec<_> = row
            .values()
            .into_iter()
            .map(|(n, v)| (n, v.to_text()))
            .collect();
        assert_eq!(
            all,
            [("a", "in".into()), ("b", "1".into()), ("c", "false".into())]
        );
    }
}
