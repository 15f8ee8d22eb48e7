//! Parses JSON, and keeps only what the outputs of a step can select. A value takes up to a hundred
//! times as much memory as its text (`[[0],[0]`).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::json_path::Part;

/// Memory of the values that are kept. A child has 512 MiB by default, also for up to 16 responses.
const BYTES_MAX: usize = 192 * 1024 * 1024;
/// Approximate memory of a member with its value and the allocation of its name, of an object besides its
/// members, and of the allocation of a text. Source: measured, see the tests.
const MEMBER_BYTES: usize = 136;
const OBJECT_BYTES: usize = 64;
const TEXT_BYTES: usize = 24;

/// The parts of a document to keep: all, or those that one of the paths leads to.
#[derive(Clone, Debug)]
pub(super) struct Keep<'a> {
    all: bool,
    paths: Vec<&'a [Part]>,
    bytes: &'a Cell<usize>,
}

impl<'a> Keep<'a> {
    /// An empty path leads to everything. `bytes` counts the memory.
    pub(super) fn new(
        paths: impl IntoIterator<Item = &'a [Part]>,
        bytes: &'a Cell<usize>,
    ) -> Keep<'a> {
        let mut keep = Keep {
            all: false,
            paths: Vec::new(),
            bytes,
        };
        paths.into_iter().for_each(|path| keep.add(path));
        keep
    }

    fn add(&mut self, path: &'a [Part]) {
        match path {
            [] => self.all = true,
            path => self.paths.push(path),
        }
    }

    /// What to keep of an item of a list.
    pub(super) fn item(&self, index: usize) -> Keep<'a> {
        self.of(None, Some(index))
    }

    /// What to keep of a member with this name, or of an item at this position.
    fn of(&self, name: Option<&str>, index: Option<usize>) -> Keep<'a> {
        let mut keep = Keep {
            all: self.all,
            paths: Vec::new(),
            bytes: self.bytes,
        };
        if self.all {
            return keep;
        }
        for path in &self.paths {
            let Some((first, rest)) = path.split_first() else {
                continue;
            };
            let is_selected = match first {
                Part::Any => true,
                Part::Name(part) => Some(part.as_str()) == name,
                Part::Index(part) => Some(*part) == index,
                Part::Deep(part) => {
                    keep.add(path);
                    Some(part.as_str()) == name
                }
            };
            if is_selected {
                keep.add(rest);
            }
        }
        keep
    }

    /// Counts memory.
    fn count<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.bytes.set(self.bytes.get() + bytes);
        if self.bytes.get() > BYTES_MAX {
            let limit = BYTES_MAX / (1024 * 1024);
            return Err(E::custom(format!(
                "the JSON is not read: its values take more than {limit} MiB of memory"
            )));
        }
        Ok(())
    }

    fn scalar<E: Error>(&self, value: impl Into<Value>) -> Result<Option<Value>, E> {
        Ok(self.all.then(|| value.into()))
    }
}

/// `None` if nothing in the value is kept.
impl<'de> DeserializeSeed<'de> for Keep<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Value>, D::Error> {
        if !self.all && self.paths.is_empty() {
            json.deserialize_ignored_any(IgnoredAny)?;
            return Ok(None);
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<Value>, E> {
        self.scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<Value>, E> {
        self.scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<Value>, E> {
        self.scalar(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<Value>, E> {
        self.scalar(Number::from_f64(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<Value>, E> {
        if self.all {
            self.count(TEXT_BYTES + value.len())?;
        }
        self.scalar(value)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        self.scalar(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        let positions = self.paths.iter().filter_map(|path| match path.first() {
            Some(Part::Index(index)) => Some(*index),
            _ => None,
        });
        let last_position = positions.max();
        let (mut kept, mut is_kept) = (Vec::new(), self.all);
        for at in 0.. {
            match items.next_element_seed(self.item(at))? {
                None => break,
                Some(Some(item)) => {
                    is_kept = true;
                    kept.push(item);
                }
                // Keeps the position of the next items.
                Some(None) if last_position.is_some_and(|last| at <= last) => {
                    kept.push(Value::Null);
                }
                Some(None) => continue,
            }
            self.count(size_of::<Value>())?;
        }
        kept.shrink_to_fit();
        Ok(is_kept.then_some(Value::Array(kept)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Option<Value>, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match members.next_value_seed(self.of(Some(&name), None))? {
                Some(value) => {
                    self.count(MEMBER_BYTES + name.len())?;
                    kept.insert(name, value);
                }
                // The last of several members with the same name counts.
                None => {
                    if let Some(earlier) = kept.get_mut(&name) {
                        *earlier = Value::Null;
                    }
                }
            }
        }
        if kept.is_empty() && !self.all {
            return Ok(None);
        }
        self.count(OBJECT_BYTES)?;
        // A new map has room for more members than most objects have.
        let mut exact = Map::with_capacity(kept.len());
        exact.extend(kept);
        Ok(Some(Value::Object(exact)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::super::lenient;
    use super::super::budget::Budget;
    use super::super::json_path::Path;
    use super::super::json_path::tests::{document, path};
    use super::*;

    fn parse(json: &str, paths: &[&str]) -> Result<Option<Value>, serde_json::Error> {
        let paths: Vec<Path> = paths
            .iter()
            .map(|path| Path::parse(path).unwrap())
            .collect();
        let bytes = Cell::new(0);
        let keep = Keep::new(paths.iter().map(|path| &path.parts[..]), &bytes);
        let parsed = lenient::parse(json, &|_| keep.clone());
        parsed.map(|json| Some(json.exact).filter(|kept| !kept.is_null()))
    }

    #[test]
    fn only_what_a_path_leads_to_is_kept() {
        let json =
            r#"{"a":{"b":1,"c":[1,2]},"l":[{"n":1,"m":2},3,{"n":{"x":[]}}],"z":[[[{"q":1}]]]}"#;
        for (paths, expected) in [
            (&["$.a.b"][..], json!({"a": {"b": 1}})),
            (
                &["$.a.b", "$['l'][*].n"],
                json!({"a": {"b": 1}, "l": [{"n": 1}, {"n": {"x": []}}]}),
            ),
            (&["$..q"], json!({"z": [[[{"q": 1}]]]})),
            (&["$.a.c[1]"], json!({"a": {"c": [null, 2]}})),
            (&["$.a.c[-1]"], json!({"a": {"c": [1, 2]}})),
            (
                &["$.l[1].n", "$.l[*].n.x"],
                json!({"l": [null, null, {"n": {"x": []}}]}),
            ),
            (&["$..n.x"], json!({"l": [{"n": {"x": []}}]})),
            (&["$"], serde_json::from_str(json).unwrap()),
            (&["$.a.b", "$[?@.a]"], serde_json::from_str(json).unwrap()),
        ] {
            assert_eq!(parse(json, paths).unwrap(), Some(expected), "{paths:?}");
        }
        assert_eq!(parse(json, &["$.none"]).unwrap(), None);
        let repeated = parse(r#"{"a":[1],"a":2}"#, &["$.a[*]"]);
        assert_eq!(repeated.unwrap(), Some(json!({"a": null})));
        assert_eq!(
            parse(r#"{"a":{"b":1},"a":2,"a":{"b":3}}"#, &["$.a.b"]).unwrap(),
            Some(json!({"a": {"b": 3}}))
        );
        for json in ["{\"x\":[1,}", "{\"x\":1", "[1] 2", "{\"x\":nul}", ""] {
            assert!(parse(json, &["$.a"]).is_err(), "{json}");
        }
    }

    #[test]
    fn values_are_those_of_serde_json() {
        let json = r#"[null,true,-1,18446744073709551615,1.5e3,-0,"é\n😀",{"b":{},"a":[]},[[1]],{"x":1,"x":2}]"#;
        assert_eq!(
            parse(json, &["$"]).unwrap(),
            Some(serde_json::from_str(json).unwrap())
        );
    }

    proptest! {
        #[test]
        fn paths_select_the_same_of_what_is_kept(
            json in document(),
            texts in prop::collection::vec(path(), 1..3),
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let kept = parse(&json.to_string(), &texts).unwrap().unwrap_or_default();
            for text in texts {
                let path = Path::parse(text).unwrap();
                let (of_all, of_kept) = (Budget::unlimited(), Budget::unlimited());
                prop_assert_eq!(path.query(&json, &of_all), path.query(&kept, &of_kept), "{}", text);
            }
        }
    }

    #[test]
    fn memory_of_values_is_limited() {
        let large = "[[0],[0],[0]],".repeat(100_000);
        let json = format!("{{\"v\":1,\"l\":[{large}0]}}");
        assert_eq!(parse(&json, &["$.v"]).unwrap(), Some(json!({"v": 1})));
        let more = format!("[{}0]", "{\"\":0},".repeat(1_400_000));
        let error = parse(&more, &["$[1:]"]).unwrap_err().to_string();
        assert!(error.contains("more than 192 MiB"), "{error}");
    }
}
