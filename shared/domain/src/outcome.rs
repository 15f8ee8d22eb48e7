//! Outcomes: the result of each record, in the table of the run and in the archive.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::{JsonValue, Outputs, retype, serialize_values};
use crate::value::{Kind, Value};

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
    /// The number of steps that are done, from the first. The record can continue with the next one. 0 if
    /// an earlier version wrote the outcome.
    pub steps: u16,
    /// What these steps noted, such as a text that was truncated.
    pub notes: Vec<String>,
}

impl Outcome {
    /// The outcome after the first `steps` steps, from which the record can be processed again: without
    /// derived columns, error and attempts. `None` if not all of them are done. `outputs` are the names
    /// of their outputs.
    pub fn after(&self, steps: u16, outputs: &[&str]) -> Option<Outcome> {
        let is_kept = |name: &str| outputs.contains(&name);
        let kept = self.outputs.iter().filter(|(name, _)| is_kept(name));
        (self.steps >= steps).then(|| Outcome {
            row: self.row,
            phase: 0,
            status: Status::Ok,
            outputs: kept.cloned().collect(),
            error: None,
            attempts: 0,
            times: self
                .times
                .iter()
                .copied()
                .filter(|time| time.step < steps)
                .collect(),
            steps,
            notes: self
                .notes
                .iter()
                .filter(|note| failed_step(note).is_none_or(|step| step < steps))
                .cloned()
                .collect(),
        })
    }
}

impl Outcome {
    /// Returns about how many bytes the outcome has as JSON, if no character needs an escape. It is cheap:
    /// nothing is serialized.
    pub fn estimated_bytes(&self) -> usize {
        let outputs = self.outputs.iter().map(|(name, value)| {
            name.len()
                + match value {
                    Value::Text(text) => text.len(),
                    _ => 32,
                }
        });
        let notes: usize = self.notes.iter().map(String::len).sum();
        64 + outputs.sum::<usize>() + self.error.as_ref().map_or(0, String::len) + notes
    }
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
        if self.steps > 0 {
            map.serialize_entry("steps", &self.steps)?;
        }
        if !self.notes.is_empty() {
            map.serialize_entry("notes", &self.notes)?;
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
            #[serde(default)]
            steps: u16,
            #[serde(default)]
            notes: Vec<String>,
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
            steps: wire.steps,
            notes: wire.notes,
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

    #[test]
    fn the_failed_step_is_parsed_from_the_error() {
        assert_eq!(failed_step(&step_error(1, "http", "404")), Some(1));
        for other in ["step 0 (http): 404", "step two (http)", "check `a`: no", ""] {
            assert_eq!(failed_step(other), None, "{other}");
        }
    }

    #[test]
    fn an_outcome_continues_after_the_steps_that_are_done() {
        let outcome = Outcome {
            row: 4,
            phase: 1,
            status: Status::Failed,
            outputs: vec![("a".into(), 1.0.into()), ("derived".into(), 2.0.into())],
            error: Some("step 2 (http): 404".into()),
            attempts: 3,
            times: vec![StepTime { step: 0, ms: 1.5 }, StepTime { step: 1, ms: 9.0 }],
            steps: 1,
            notes: vec![step_error(0, "http", "truncated")],
        };
        let after = outcome.after(1, &["a"]).unwrap();
        assert_eq!(
            (after.status, after.attempts, after.steps),
            (Status::Ok, 0, 1)
        );
        assert_eq!((after.phase, after.error), (0, None));
        assert_eq!(after.outputs, outcome.outputs[..1]);
        assert_eq!(
            (&after.times[..], &after.notes),
            (&outcome.times[..1], &outcome.notes)
        );
        assert_eq!(outcome.after(2, &["a"]), None);
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
            steps: 1,
            notes: vec!["step 1 (http): truncated".into()],
        };
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(
            json,
            r#"{"row":4,"phase":1,"status":"failed","outputs":{"tax_due":812,"day":"2024-01-31"},"types":{"day":"date"},"error":"step 2 (http): 404","attempts":3,"times":[{"step":0,"ms":1.5}],"steps":1,"notes":["step 1 (http): truncated"]}"#
        );
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
    }
}
