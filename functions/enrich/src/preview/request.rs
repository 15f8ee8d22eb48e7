//! The JSON of a preview: the request and the rows of the answer.

use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::record::Json;
use rowmill_domain::{Columns, Kind, Outcome, Record, Value};
use rowmill_pipeline::{Input, Pipeline};
use serde::Deserialize;
use serde_json::{Map, json};

/// A request for a preview.
#[derive(Deserialize)]
pub(crate) struct PreviewRequest {
    /// The name of a pipeline, or its text.
    pub(crate) pipeline: String,
    #[serde(default)]
    pub(crate) parameters: ParameterValues,
    pub(crate) rows: Vec<Map<String, serde_json::Value>>,
}

/// The rows of a preview as JSON.
pub fn preview_json(
    pipeline: &Pipeline,
    columns: &Columns,
    records: &[Record],
    outcomes: &[Outcome],
) -> serde_json::Value {
    let rows = records.iter().zip(outcomes);
    let rows: Vec<_> = rows
        .map(|(record, outcome)| row(columns, record, outcome))
        .collect();
    let names: Vec<&str> = columns.names().iter().map(|name| &**name).collect();
    json!({ "columns": names, "added": pipeline.added_columns(), "rows": rows })
}

/// The column names of the rows, in order of appearance.
pub(crate) fn columns(rows: &[Map<String, serde_json::Value>]) -> Columns {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(Map::keys) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    Columns::new(names)
}

/// The rows as records. `[input] types` declares the types of columns.
pub(crate) fn records(
    rows: &[Map<String, serde_json::Value>],
    columns: &Columns,
    input: &Input,
) -> Result<Vec<Record>, String> {
    let numbered = (1..).zip(rows);
    numbered
        .map(|(row, cells)| {
            let values = columns.names().iter().map(|name| {
                let kind = input.types.iter().find(|(n, _)| **n == **name);
                let value = value(cells.get(&**name), kind.map(|(_, kind)| *kind));
                value.map_err(|wrong| format!("row {row}, column `{name}`: {wrong}"))
            });
            Ok(Record {
                row,
                values: values.collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

/// A cell. It is empty if the value is absent, null or an empty text.
fn value(json: Option<&serde_json::Value>, kind: Option<Kind>) -> Result<Option<Value>, String> {
    use serde_json::Value as Json;
    let value = match json {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) if text.is_empty() => return Ok(None),
        Some(Json::String(text)) => Value::Text(text.clone()),
        Some(Json::Bool(b)) => Value::Bool(*b),
        Some(Json::Number(n)) => Value::Number(n.as_f64().ok_or("the number is out of range")?),
        Some(_) => return Err("a cell cannot hold a list or an object".to_owned()),
    };
    match kind {
        Some(kind) if value.kind() != kind => {
            let text = value.to_text();
            let typed = Value::parse(&text, kind);
            typed
                .map(Some)
                .ok_or_else(|| format!("`{text}` is not a {kind}"))
        }
        _ => Ok(Some(value)),
    }
}

fn row(columns: &Columns, record: &Record, outcome: &Outcome) -> serde_json::Value {
    let seen = rowmill_domain::Row {
        columns,
        record,
        outputs: &outcome.outputs,
    };
    let values: Map<String, serde_json::Value> = seen
        .values()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(Json(value))))
        .collect();
    json!({
        "row": record.row,
        "status": outcome.status,
        "values": values,
        "error": outcome.error,
        "attempts": outcome.attempts,
    })
}
