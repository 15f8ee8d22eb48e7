//! A rejected row. Its cells keep their types, so that the sheet `Rejected` can be corrected and
//! processed like the original.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::manifest::RejectReason;
use crate::record::{JsonValue, retype};
use crate::value::{Kind, Value};

/// A rejected row: one line of [`crate::keys::rejected`], such as
/// `{"row":7,"reason":"unreadable","detail":"..","values":["b",4.5,null,"2024-03-01"],"types":{"3":"date"}}`.
/// As in a chunk, `types` has the kinds that JSON cannot express; its keys are places in `values`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Line", try_from = "Line")]
pub struct Rejected {
    /// The row number in the sheet.
    pub row: u32,
    /// The reason.
    pub reason: RejectReason,
    /// The reason in words, with the column and the value.
    pub detail: String,
    /// The cells in column order. `None`: the cell is empty. An error value is the text of its code.
    /// Values outside the columns of the header follow after the last column. Without any entry for a
    /// blank row and a row beyond the limit, because there can be a million of them.
    pub values: Vec<Option<Value>>,
}

/// The form in JSON.
#[derive(Serialize, Deserialize)]
struct Line {
    row: u32,
    reason: RejectReason,
    detail: String,
    values: Vec<JsonValue>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    types: BTreeMap<usize, Kind>,
}

impl From<Rejected> for Line {
    fn from(rejected: Rejected) -> Line {
        let kinds = rejected.values.iter().enumerate();
        let kinds = kinds.filter_map(|(at, value)| Some((at, value.as_ref()?.kind())));
        Line {
            types: kinds.filter(|(_, kind)| kind.is_temporal()).collect(),
            row: rejected.row,
            reason: rejected.reason,
            detail: rejected.detail,
            values: rejected.values.into_iter().map(JsonValue).collect(),
        }
    }
}

impl TryFrom<Line> for Rejected {
    type Error = serde_json::Error;

    fn try_from(line: Line) -> Result<Rejected, serde_json::Error> {
        let mut values: Vec<Option<Value>> = line.values.into_iter().map(|v| v.0).collect();
        for value in &mut values {
            // Runs of earlier versions have empty texts for empty cells.
            value.take_if(|value| matches!(value, Value::Text(text) if text.is_empty()));
        }
        for (at, kind) in line.types {
            if let Some(Some(value)) = values.get_mut(at) {
                retype::<serde_json::Error>(&format!("value {}", at + 1), value, kind)?;
            }
        }
        Ok(Rejected {
            row: line.row,
            reason: line.reason,
            detail: line.detail,
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, TimeDelta};

    use super::*;

    #[test]
    fn values_keep_their_types_in_json() {
        let rejected = Rejected {
            row: 7,
            reason: RejectReason::Unreadable,
            detail: "column `a`: error value #N/A".into(),
            values: vec![
                Some(Value::Text("007".into())),
                None,
                Some(Value::Number(4.5)),
                Some(Value::Bool(true)),
                Some(Value::Date(NaiveDate::from_ymd_opt(2024, 3, 1).unwrap())),
                Some(Value::Duration(TimeDelta::hours(36))),
                Some(Value::Text("2024-03-01".into())),
            ],
        };
        let json = serde_json::to_string(&rejected).unwrap();
        assert!(
            json.ends_with(
                r#""values":["007",null,4.5,true,"2024-03-01","PT36H","2024-03-01"],"types":{"4":"date","5":"duration"}}"#
            ),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Rejected>(&json).unwrap(), rejected);
    }

    #[test]
    fn rows_of_earlier_versions_are_read_as_text() {
        let old = r#"{"row":3,"reason":"duplicate_key","detail":"d","values":["a","","4.5"]}"#;
        let read: Rejected = serde_json::from_str(old).unwrap();
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(read.values, [text("a"), None, text("4.5")]);
    }
}
