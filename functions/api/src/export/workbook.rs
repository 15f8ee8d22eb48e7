//! Exports as a workbook.

use std::ops::ControlFlow;
use std::path::Path;

use rowmill_domain::manifest::ColumnProfile;
use rowmill_domain::run::Counts;
use rowmill_domain::{Status, Value, keys};
use rowmill_pipeline::result_headers;
use rowmill_workbook::{ColumnSpec, Fact, ResultSpec, ResultWriter, Summary, WriteError};

use super::{AFTER, Exported, Form, unique};
use crate::indexed::Indexed;
use crate::problem::Problem;

/// Writes rows to a workbook.
pub(crate) struct WorkbookForm {
    writer: ResultWriter,
    /// The number of input columns.
    inputs: usize,
    counts: Counts,
    facts: Vec<(String, Fact)>,
}

impl WorkbookForm {
    /// Starts a workbook with the rows of a run.
    pub(crate) fn create(path: &Path, index: &Indexed) -> Result<WorkbookForm, Problem> {
        let (manifest, columns) = (&index.manifest, &index.info.columns);
        let inputs = manifest.columns.len();
        let names: Vec<&str> = manifest.columns.iter().map(|c| &*c.name).collect();
        let input = |(column, name): (&ColumnProfile, String)| ColumnSpec {
            name,
            kind: column.kind,
            format: column.format.clone(),
            width: column.width,
        };
        let added = columns.iter().skip(inputs).cloned();
        let file = keys::file_name(&manifest.source.key);
        let spec = ResultSpec {
            columns: (manifest.columns.iter().zip(result_headers(&names)))
                .map(input)
                .collect(),
            added: added
                .chain(AFTER.map(|name| unique(columns, name)))
                .collect(),
            run_id: manifest.run.to_string(),
            title: format!("{file}: reviewed rows"),
            ..ResultSpec::default()
        };
        let writer = ResultWriter::create(path, &spec).map_err(|error| match error {
            WriteError::Columns { .. } => Problem::invalid(format!(
                "{error}. Export csv or jsonl instead, which have no such limit."
            )),
            error => Problem::internal(&error),
        })?;
        let text = |text: &str| Fact::Text(text.to_owned());
        Ok(WorkbookForm {
            writer,
            inputs,
            counts: Counts::default(),
            facts: vec![
                ("File".to_owned(), text(file)),
                ("Pipeline".to_owned(), text(manifest.pipeline.as_str())),
                ("Run".to_owned(), text(manifest.run.as_str())),
            ],
        })
    }

    /// Completes the file.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let rows = self.counts.records;
        let summary = Summary {
            verdict: format!("{rows} rows, as they were reviewed"),
            facts: self.facts,
            counts: self.counts,
            ..Summary::default()
        };
        let finished = self.writer.finish(&summary);
        finished.map_err(|error| Problem::internal(&error))?;
        Ok(())
    }
}

impl Form for WorkbookForm {
    fn row(&mut self, row: &Exported<'_>) -> std::io::Result<ControlFlow<()>> {
        let (values, outcome) = (row.index.values(row.full), &row.full.outcome);
        let columns = row.index.info.columns.iter();
        let all: Vec<Option<&Value>> = columns.map(|name| values.get(name)).collect();
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let review = row.review.as_ref();
        let after = [
            row.prediction.and_then(text),
            review.and_then(|review| text(&review.value)),
            review.and_then(|review| text(review.verdict)),
            review.and_then(|review| text(&review.reviewer)),
            review.map(|review| Value::DateTime(review.time.naive_utc())),
        ];
        let (input, added) = all.split_at(self.inputs.min(all.len()));
        let added: Vec<Option<&Value>> = (added.iter().copied())
            .chain(after.iter().map(Option::as_ref))
            .collect();
        self.counts.records += 1;
        match outcome.status {
            Status::Ok => self.counts.ok += 1,
            Status::Failed => self.counts.failed += 1,
            Status::Missing => self.counts.missing += 1,
        }
        let error = outcome.error.as_deref();
        let number = row.row().unwrap_or_default();
        self.writer
            .row(
                number,
                input,
                &added,
                outcome.status,
                error,
                outcome.attempts,
            )
            .map_err(std::io::Error::other)?;
        Ok(ControlFlow::Continue(()))
    }
}
