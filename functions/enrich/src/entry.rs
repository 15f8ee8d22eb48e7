//! Previews by request: how the function is entered.

use std::sync::Arc;

use rowmill_domain::event::Invocation;
use rowmill_domain::limits::{LAMBDA_RESPONSE_MAX, PREVIEW_ROWS};
use rowmill_domain::pipeline::{self, Input, ParameterValues};
use rowmill_domain::record::Json;
use rowmill_domain::{Columns, Kind, Outcome, Pipeline, Record, Value, keys};
use rowmill_ports::{Location, Objects, Optional, PortError};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::Surroundings;
use crate::preview::{preview, problem};

/// What previews work on.
pub struct Previews {
    /// The work bucket's objects, which pipelines are read from.
    pub objects: Arc<dyn Objects>,
    /// The work bucket.
    pub work_bucket: String,
    /// What is there for the steps.
    pub surroundings: Surroundings,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The request is wrong; its sender can mend it.
    #[error("{0}")]
    Request(String),
    /// A service failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

#[derive(Deserialize)]
struct Request {
    /// A pipeline's name, or its text.
    pipeline: String,
    #[serde(default)]
    parameters: ParameterValues,
    rows: Vec<Map<String, serde_json::Value>>,
}

impl Previews {
    /// Answers `{"pipeline": "<name or text>", "rows": [{"<column>": value}]}`, of at most
    /// [`PREVIEW_ROWS`] rows, with `"parameters": {"<name>": "<value>"}` where the pipeline wants
    /// some, by `{"columns": [..], "added": [..], "rows": [{"row", "status",
    /// "values", "error", "attempts"}]}`. Rows are counted from 1; `values` holds the input and
    /// what was added.
    ///
    /// # Errors
    /// The request or its pipeline is wrong, or the pipeline cannot be read.
    pub async fn invoke(
        &self,
        payload: &serde_json::Value,
        _: &Invocation,
    ) -> Result<Option<serde_json::Value>, PreviewError> {
        let request = Request::deserialize(payload).map_err(|error| {
            PreviewError::Request(format!(
                "this is no request for a preview: {error}; it is {{\"pipeline\": \"<name, or the \
                 text of the file>\", \"rows\": [{{\"<column>\": value}}]}}"
            ))
        })?;
        if !(1..=PREVIEW_ROWS).contains(&request.rows.len()) {
            return Err(PreviewError::Request(format!(
                "{} rows: a preview takes 1 to {PREVIEW_ROWS}",
                request.rows.len()
            )));
        }
        let pipeline = self.pipeline(&request.pipeline).await?;
        let columns = columns(&request.rows);
        let records = records(&request.rows, &columns, &pipeline.input)?;
        let outcomes = preview(
            &pipeline,
            &columns,
            records.clone(),
            &request.parameters,
            &self.surroundings,
            std::future::pending(),
        )
        .await
        .map_err(|wrong| PreviewError::Request(wrong.join("\n")))?
        // Nothing stops it.
        .unwrap_or_default();
        let answer = answer(&pipeline, &columns, &records, &outcomes);
        let bytes = answer.to_string().len();
        if bytes > LAMBDA_RESPONSE_MAX {
            return Err(PreviewError::Request(format!(
                "the answer has {bytes} bytes, more than the {LAMBDA_RESPONSE_MAX} that Lambda \
                 hands on: ask for fewer rows"
            )));
        }
        Ok(Some(answer))
    }

    /// The pipeline of that name, in the work bucket or built in; or of that text.
    async fn pipeline(&self, given: &str) -> Result<Pipeline, PreviewError> {
        let (file, text) = match pipeline::is_name(given) {
            false => ("the pipeline".to_owned(), given.to_owned()),
            true => {
                let file = keys::pipeline(given);
                let at = Location::new(&self.work_bucket, &file);
                let found = self.objects.get(&at).await.optional()?;
                let found = found.map(|object| String::from_utf8_lossy(&object.body).into_owned());
                let text = found.or_else(|| pipeline::built_in(given).map(str::to_owned));
                let text = text.ok_or_else(|| {
                    PreviewError::Request(format!(
                        "there is no pipeline `{given}`: no {file} in the bucket {}",
                        self.work_bucket
                    ))
                })?;
                (file, text)
            }
        };
        Pipeline::parse(&file, &text).map_err(|error| PreviewError::Request(problem(&error)))
    }
}

/// What came of a preview, as JSON.
pub fn answer(
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

/// The names in the rows, in the order they come.
fn columns(rows: &[Map<String, serde_json::Value>]) -> Columns {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(Map::keys) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    Columns::new(names)
}

/// The rows as records, with the kinds that `[input] types` says.
fn records(
    rows: &[Map<String, serde_json::Value>],
    columns: &Columns,
    input: &Input,
) -> Result<Vec<Record>, PreviewError> {
    let numbered = (1..).zip(rows);
    numbered
        .map(|(row, cells)| {
            let values = columns.names().iter().map(|name| {
                let kind = input.types.iter().find(|(n, _)| **n == **name);
                let value = value(cells.get(&**name), kind.map(|(_, kind)| *kind));
                value.map_err(|wrong| {
                    PreviewError::Request(format!("row {row}, column `{name}`: {wrong}"))
                })
            });
            Ok(Record {
                row,
                values: values.collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

/// A cell; empty where it is absent, null or an empty text.
fn value(json: Option<&serde_json::Value>, kind: Option<Kind>) -> Result<Option<Value>, String> {
    use serde_json::Value as Json;
    let value = match json {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) if text.is_empty() => return Ok(None),
        Some(Json::String(text)) => Value::Text(text.clone()),
        Some(Json::Bool(b)) => Value::Bool(*b),
        Some(Json::Number(n)) => Value::Number(n.as_f64().ok_or("no number")?),
        Some(_) => return Err("a list or an object is no cell".to_owned()),
    };
    match kind {
        Some(kind) if value.kind() != kind => {
            let text = value.to_text();
            let typed = Value::parse(&text, kind);
            typed
                .map(Some)
                .ok_or_else(|| format!("`{text}` is no {kind}"))
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
