//! Exports as csv and as JSON Lines.

use std::ops::ControlFlow;

use bytes::Bytes;
use rowmill_domain::record::Json as AsJson;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{AFTER, Exported, Form, unique};
use crate::indexed::Indexed;

/// Bytes that are sent at once.
const PART: usize = 64 * 1024;

/// The format of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// With a header.
    Csv,
    /// One object for each row.
    JsonLines,
}

/// A part of the text, or why it is incomplete.
type Part = std::io::Result<Bytes>;

/// Sends rows as text.
pub(crate) struct TextForm {
    format: TextFormat,
    part: Vec<u8>,
    to: mpsc::Sender<Part>,
}

impl TextForm {
    pub(crate) fn new(format: TextFormat, index: &Indexed, to: mpsc::Sender<Part>) -> TextForm {
        let mut part = Vec::with_capacity(PART * 2);
        if format == TextFormat::Csv {
            let columns = &index.info.columns;
            let mut header = vec![unique(columns, "input row")];
            header.extend(columns.iter().cloned());
            let after = ["status", "error"].into_iter().chain(AFTER);
            header.extend(after.map(|name| unique(columns, name)));
            csv_line(&header, &mut part);
        }
        TextForm { format, part, to }
    }

    /// Sends what is left.
    pub(crate) async fn finish(self) -> std::io::Result<()> {
        // Fails only if nobody reads any more.
        let _ = self.to.send(Ok(self.part.into())).await;
        Ok(())
    }
}

impl Form for TextForm {
    fn row(&mut self, row: &Exported<'_>) -> std::io::Result<ControlFlow<()>> {
        match self.format {
            TextFormat::Csv => csv_line(&cells(row), &mut self.part),
            TextFormat::JsonLines => {
                serde_json::to_writer(&mut self.part, &object(row))?;
                self.part.push(b'\n');
            }
        }
        if self.part.len() >= PART {
            let full = std::mem::replace(&mut self.part, Vec::with_capacity(PART * 2));
            if self.to.blocking_send(Ok(full.into())).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn object(row: &Exported<'_>) -> Value {
    let (outcome, review) = (&row.full.outcome, row.review.as_ref());
    let values: Map<String, Value> = row
        .index
        .values(row.full)
        .values()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(AsJson(value))))
        .collect();
    json!({
        "row": row.row(),
        "status": outcome.status,
        "error": outcome.error,
        "values": values,
        "prediction": row.prediction,
        "final": review.map(|review| &review.value),
        "verdict": review.map(|review| review.verdict),
        "reviewer": review.map(|review| &review.reviewer),
        "time": review.map(|review| review.time),
    })
}

fn cells(row: &Exported<'_>) -> Vec<String> {
    let (values, outcome) = (row.index.values(row.full), &row.full.outcome);
    let mut cells = vec![row.row().map_or_else(String::new, |row| row.to_string())];
    for name in &row.index.info.columns {
        cells.push(values.get(name).map_or_else(String::new, |v| v.to_text()));
    }
    cells.push(outcome.status.name().to_owned());
    cells.push(outcome.error.clone().unwrap_or_default());
    cells.push(row.prediction.unwrap_or_default().to_owned());
    match &row.review {
        Some(review) => cells.extend([
            review.value.clone(),
            review.verdict.to_owned(),
            review.reviewer.clone(),
            review.time.to_rfc3339(),
        ]),
        None => cells.resize(cells.len() + 4, String::new()),
    }
    cells
}

/// Writes a line of csv (RFC 4180).
fn csv_line(cells: &[String], to: &mut Vec<u8>) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            to.push(b',');
        }
        let quoted = cell.contains(['"', ',', '\n', '\r', ';', '\t'])
            || cell.starts_with(' ')
            || cell.ends_with(' ');
        if quoted {
            to.push(b'"');
            to.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            to.push(b'"');
        } else {
            to.extend_from_slice(cell.as_bytes());
        }
    }
    to.extend_from_slice(b"\r\n");
}
