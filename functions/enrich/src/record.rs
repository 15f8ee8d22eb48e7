//! The work on one record: steps, checks, derived columns. It ends in an outcome, whatever
//! happens.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures::FutureExt as _;
use rowmill_domain::limits::ITEM_BYTES;
use rowmill_domain::outcome::{StepTime, step_error};
use rowmill_domain::pipeline::{Check, DerivedColumn, OnFailure};
use rowmill_domain::record::{Columns, Outputs, Row};
use rowmill_domain::{Outcome, Status, Value};
use rowmill_steps::Runner;

use crate::slice::Task;

/// Room for an item's names beside the outcome itself in [`ITEM_BYTES`].
const ITEM_ROOM: usize = 4 * 1024;

/// A step of the stage.
pub(crate) struct StageStep {
    /// Its index in the pipeline.
    pub(crate) index: u16,
    /// Its kind, as in the file.
    pub(crate) kind: &'static str,
    pub(crate) runner: Box<dyn Runner>,
}

/// What a stage does to each record.
pub(crate) struct Worker<'a> {
    pub(crate) columns: &'a Columns,
    pub(crate) stage: u16,
    pub(crate) steps: Vec<StageStep>,
    /// Checks and columns of the last stage; none in the others.
    pub(crate) checks: &'a [Check],
    pub(crate) derived: &'a [DerivedColumn],
}

impl Worker<'_> {
    /// Works on a record. A record that failed in an earlier stage is carried over as it is.
    pub(crate) async fn outcome(&self, task: Task) -> Outcome {
        let mut outcome = match (task.before, self.stage) {
            (Some(before), stage) => Outcome { stage, ..before },
            (None, 0) => fresh(task.record.row, 0),
            (None, stage) => {
                // Batch runs a child only after the one of the stage before has succeeded.
                let reason = format!("stage {stage} left no outcome for this row");
                return failed(fresh(task.record.row, stage), reason);
            }
        };
        if outcome.status != Status::Ok {
            return outcome;
        }
        let mut notes: Vec<String> = outcome.error.take().into_iter().collect();
        match self.steps(&task.record, &mut outcome, &mut notes).await {
            Err(reason) => outcome = failed(outcome, reason),
            Ok(()) => {
                let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    self.judge(&task.record, &mut outcome, &mut notes);
                }));
                if let Err(panic) = judged {
                    outcome = failed(outcome, panicked(&*panic));
                }
            }
        }
        if outcome.status == Status::Ok && !notes.is_empty() {
            outcome.error = Some(notes.join("; "));
        }
        fit(outcome)
    }

    /// Runs the steps in order, up to the first that fails.
    async fn steps(
        &self,
        record: &rowmill_domain::Record,
        outcome: &mut Outcome,
        notes: &mut Vec<String>,
    ) -> Result<(), String> {
        for step in &self.steps {
            let row = Row {
                columns: self.columns,
                record,
                outputs: &outcome.outputs,
            };
            let begun = Instant::now();
            // A step that panics is a defect, of which this record must tell, and no other.
            let result = AssertUnwindSafe(step.runner.run(row)).catch_unwind().await;
            outcome.times.push(StepTime {
                step: step.index,
                ms: begun.elapsed().as_secs_f32() * 1000.0,
            });
            let result =
                result.map_err(|panic| step_error(step.index, step.kind, &panicked(&*panic)))?;
            outcome.attempts = outcome.attempts.max(result.attempts);
            notes.extend(
                result
                    .notes
                    .iter()
                    .map(|note| step_error(step.index, step.kind, note)),
            );
            let outputs = result
                .outputs
                .map_err(|reason| step_error(step.index, step.kind, &reason))?;
            outcome.outputs.extend(outputs);
        }
        Ok(())
    }

    /// Checks, then derived columns: none of a record that a check fails.
    fn judge(
        &self,
        record: &rowmill_domain::Record,
        outcome: &mut Outcome,
        notes: &mut Vec<String>,
    ) {
        let mut failures = Vec::new();
        for check in self.checks {
            let row = Row {
                columns: self.columns,
                record,
                outputs: &outcome.outputs,
            };
            let Err(reason) = passes(check, row) else {
                continue;
            };
            match check.on_failure {
                OnFailure::Fail => failures.push(reason),
                OnFailure::Warn => notes.push(format!("warning: {reason}")),
            }
        }
        if !failures.is_empty() {
            outcome.status = Status::Failed;
            outcome.error = Some(failures.join("; "));
            return;
        }
        for column in self.derived {
            let row = Row {
                columns: self.columns,
                record,
                outputs: &outcome.outputs,
            };
            match column.value.eval(row) {
                Ok(value) => outcome.outputs.push((column.name.as_str().into(), value)),
                Err(reason) => notes.push(format!("`{}` is empty: {reason}", column.name)),
            }
        }
    }
}

/// Whether a check holds, else why not. What cannot be told does not hold.
fn passes(check: &Check, row: Row<'_>) -> Result<(), String> {
    let rule = check.rule.source();
    match check.rule.eval(row) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(Value::Bool(false)) => Err(format!("check `{rule}` does not hold")),
        Ok(other) => Err(format!(
            "check `{rule}` gives {} `{}`, not true or false",
            other.kind(),
            other.to_text()
        )),
        Err(reason) => Err(format!("check `{rule}`: {reason}")),
    }
}

fn fresh(row: u32, stage: u16) -> Outcome {
    Outcome {
        row,
        stage,
        status: Status::Ok,
        outputs: Outputs::new(),
        error: None,
        attempts: 0,
        times: Vec::new(),
    }
}

fn failed(outcome: Outcome, reason: String) -> Outcome {
    Outcome {
        status: Status::Failed,
        error: Some(reason),
        ..outcome
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("a defect of Rowmill, please report it: {message}")
}

/// An outcome too large to be stored fails its record, not the child.
fn fit(outcome: Outcome) -> Outcome {
    let texts = outcome.outputs.iter().map(|(name, value)| {
        name.len()
            + match value {
                Value::Text(text) => text.len(),
                _ => 32,
            }
    });
    let estimate = texts.sum::<usize>() + outcome.error.as_ref().map_or(0, String::len);
    // JSON writes a byte in at most six; below that nothing needs to be written out to be sure.
    if estimate < (ITEM_BYTES - ITEM_ROOM) / 6 {
        return outcome;
    }
    let size = serde_json::to_vec(&outcome).map_or(usize::MAX, |json| json.len());
    if size <= ITEM_BYTES - ITEM_ROOM {
        return outcome;
    }
    failed(
        Outcome {
            outputs: Outputs::new(),
            ..outcome
        },
        format!(
            "its outputs take {} KB, more than the {} KB that can be stored of a record: take \
             less from the source",
            size / 1024,
            ITEM_BYTES / 1024
        ),
    )
}
