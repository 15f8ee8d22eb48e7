//! Which records a child has to process.

use rowmill_domain::{Columns, Manifest, Record, keys};
use rowmill_runs::retry_transient;

use crate::child::Child;
use crate::error::EnrichError;
use crate::record::Task;
use crate::stage::Enrich;

/// The records of a slice.
pub(crate) struct Tasks {
    /// How many records the slice has.
    pub(crate) records: u64,
    /// Records without an outcome of this phase, in row order.
    pub(crate) todo: Vec<Task>,
}

impl Enrich {
    /// Reads the child's slice of its chunk, without the records that earlier attempts have done.
    pub(crate) async fn tasks(
        &self,
        child: &Child,
        manifest: &Manifest,
        columns: &Columns,
    ) -> Result<Tasks, EnrichError> {
        let misconfigured = |what: String| EnrichError::Misconfigured(format!("{child}: {what}"));
        let plan = manifest
            .chunks
            .iter()
            .find(|plan| plan.chunk == child.chunk)
            .ok_or_else(|| {
                misconfigured(format!(
                    "chunk out of range: the run has {} chunks",
                    manifest.chunks.len()
                ))
            })?;
        let index = child.index.unwrap_or(0);
        if index >= plan.children || (child.index.is_none() && plan.children > 1) {
            return Err(misconfigured(format!(
                "the chunk is divided among {} children",
                plan.children
            )));
        }

        let key = keys::chunk(&child.run, child.chunk);
        let chunk = retry_transient(|| self.work.get(&key)).await?;
        let slice = plan.slice(index);
        let mut records = Vec::with_capacity(slice.len());
        let lines = chunk.split(|byte| *byte == b'\n').enumerate();
        for (at, line) in lines.skip(slice.start).take(slice.len()) {
            let record = Record::read_json(line, columns).map_err(|error| {
                misconfigured(format!("{key}: line {} is not a record: {error}", at + 1))
            })?;
            records.push(record);
        }
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Err(misconfigured(format!("{key} has no record for this child")));
        };
        let rows = first.row..=last.row;

        let read = || {
            let rows = rows.clone();
            self.outcomes.read_outcomes(&child.run, child.chunk, rows)
        };
        let mut outcomes = retry_transient(read).await?.into_iter().peekable();
        let total = records.len() as u64;
        let mut todo = Vec::with_capacity(records.len());
        for record in records {
            // Both are in row order.
            while outcomes.next_if(|o| o.row < record.row).is_some() {}
            let before = outcomes.next_if(|o| o.row == record.row);
            if before.as_ref().is_none_or(|o| o.phase < child.phase) {
                todo.push(Task { record, before });
            }
        }
        Ok(Tasks {
            records: total,
            todo,
        })
    }
}
