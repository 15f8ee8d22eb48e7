//! Outcomes: the result of each record, in the table of the run and in the archive.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::{JsonValue, Outputs, retype, serialize_values};
use crate::value::Kind;

/// The status of a row of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All steps and checks passed.
    Ok,
    /// A step or a check failed; `error` says why.
    Failed,
    /// There is no outcome, because the child of the record failed. Enrich never stores it; report
    /// assigns it to records without an outcome.
    Missing,
}

impl Status {
    /// Returns the text in the result workbook: `ok`, `failed`, `missing`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Missing => "missing",
        }
    }
}

/// How long a step took for a record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// The index of the step in the pipeline, from 0.
    pub step: u16,
    /// The elapsed time including retries, in milliseconds.
    pub ms: f32,
}

/// The result of one record after the latest phase that processed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The row number of the record; see [`crate::Record::row`].
    pub row: u32,
    /// The phase that wrote the outcome, from 0. An outcome of phase n has the outputs of all earlier
    /// phases too, so a resumed child of phase n skips rows whose outcome has phase n or later.
    pub phase: u16,
    /// Whether the record was processed.
    pub status: Status,
    /// The outputs of steps, then derived columns, in the order of the pipeline.
    pub outputs: Outputs,
    /// Why the record failed. For an `ok` record: warnings, and the reasons for empty derived columns.
    pub error: Option<String>,
    /// The largest number of attempts that a step needed: 1 without retries, 0 if no step ran.
    pub attempts: u32,
    /// The time of each step that ran.
    pub times: Vec<StepTime>,
}

/// Returns the text of [`Outcome::error`] for a failed step with this index: `step 2 (http): reason`.
pub fn step_error(index: u16, kind: &str, reason: &str) -> String {
    format!("step {} ({kind}): {reason}", u32::from(index) + 1)
}

/// Returns the index of the step in a text of [`step_error`].
pub fn failed_step(error: &str) -> Option<u16> {
    let (number, rest) = error.strip_prefix("step ")?.split_once(' ')?;
    rest.starts_with('(').then_some(())?;
    number.parse::<u16>().ok()?.checked_sub(1)
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("row", &self.row)?;
        if self.phase > 0 {
            map.serialize_entry("phase", &self.phase)?;
        }
        map.serialize_entry("status", &self.status)?;
        let outputs = self.outputs.iter().map(|(n, v)| (&**n, v));
        serialize_values(&mut map, "outputs", outputs)?;
        if let Some(error) = &self.error {
            map.serialize_entry("error", error)?;
        }
        map.serialize_entry("attempts", &self.attempts)?;
        if !self.times.is_empty() {
            map.serialize_entry("times", &self.times)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            row: u32,
            #[serde(default)]
            phase: u16,
            status: Status,
            #[serde(default)]
            outputs: Ordered,
            #[serde(default)]
            types: HashMap<String, Kind>,
            error: Option<String>,
            attempts: u32,
            #[serde(default)]
            times: Vec<StepTime>,
        }
        let mut wire = Wire::deserialize(deserializer)?;
        for (name, value) in &mut wire.outputs.0 {
            if let Some(kind) = wire.types.get(&**name) {
                retype::<D::Error>(name, value, *kind).map_err(D::Error::custom)?;
            }
        }
        Ok(Outcome {
            row: wire.row,
            phase: wire.phase,
            status: wire.status,
            outputs: wire.outputs.0,
            error: wire.error,
            attempts: wire.attempts,
            times: wire.times,
        })
    }
}

/// An object of values in its original order, without nulls.
#[derive(Default)]
struct Ordered(Outputs);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> serde::de::Visitor<'de> for V {
            type Value = Ordered;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of values")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Ordered, A::Error> {
                let mut all = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some((name, value)) = map.next_entry::<Arc<str>, JsonValue>()? {
                    if let Some(value) = value.0 {
                        all.push((name, value));
                    }
                }
                Ok(Ordered(all))
            }
        }
        deserializer.deserialize_map(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn the_failed_step_is_parsed_from_the_error() {
        assert_eq!(failed_step(&step_error(1, "http", "404")), Some(1));
        for other in ["step 0 (http): 404", "step two (http)", "check `a`: no", ""] {
            assert_eq!(failed_step(other), None, "{other}");
        }
    }

    #[test]
    fn an_outcome_reads_back_as_it_was_written() {
        let outcome = Outcome {
            row: 4,
            phase: 1,
            status: Status::Failed,
            outputs: vec![
                ("tax_due".into(), Value::Number(812.0)),
                (
                    "day".into(),
                    Value::parse("2024-01-31", Kind::Date).unwrap(),
                ),
            ],
            error: Some("step 2 (http): 404".into()),
            attempts: 3,
            times: vec![StepTime { step: 0, ms: 1.5 }],
        };
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(
            json,
            r#"{"row":4,"phase":1,"status":"failed","outputs":{"tax_due":812,"day":"2024-01-31"},"types":{"day":"date"},"error":"step 2 (http): 404","attempts":3,"times":[{"step":0,"ms":1.5}]}"#
        );
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
    }
}
