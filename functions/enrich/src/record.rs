//! The work on one record: steps, checks, derived columns. Whatever happens, it ends in an
//! outcome.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures::FutureExt as _;
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_domain::outcome::{StepTime, step_error};
use rowmill_domain::record::{Columns, Outputs, Row};
use rowmill_domain::{Outcome, Record, Status, Value};
use rowmill_pipeline::{Check, DerivedColumn, OnFailure};

use crate::steps::PhaseStep;

/// A record, with what is done already.
pub(crate) struct Task {
    pub(crate) record: Record,
    /// The outcome of the previous phase, or of the run that this one continues. `None` if there is none.
    pub(crate) before: Option<Outcome>,
}

/// What a phase does to each record.
pub(crate) struct Worker<'a> {
    pub(crate) columns: &'a Columns,
    pub(crate) phase: u16,
    pub(crate) steps: Vec<PhaseStep>,
    /// Evaluated in the last phase; empty in the others.
    pub(crate) checks: &'a [Check],
    pub(crate) derived: &'a [DerivedColumn],
}

impl Worker<'_> {
    /// Processes a record. A record that failed in an earlier phase keeps its outcome.
    pub(crate) async fn outcome(&self, task: Task) -> Outcome {
        let mut outcome = match (task.before, self.phase) {
            (Some(before), phase) => Outcome { phase, ..before },
            (None, 0) => fresh(task.record.row, 0),
            (None, phase) => {
                // Batch starts a child only after its counterpart in the previous phase succeeded.
                let reason = format!("phase {phase} stored no outcome for this row");
                return failed(fresh(task.record.row, phase), reason);
            }
        };
        if outcome.status != Status::Ok {
            return outcome;
        }
        let error = outcome.error.take();
        if outcome.notes.is_empty() {
            // A child of an earlier version did the previous phase.
            outcome.notes.extend(error);
        }
        match self.steps(&task.record, &mut outcome).await {
            Err(reason) => outcome = failed(outcome, reason),
            Ok(()) => {
                let mut notes = outcome.notes.clone();
                let evaluated = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    self.evaluate_checks(&task.record, &outcome, &mut notes)?;
                    self.derive_columns(&task.record, &mut outcome, &mut notes);
                    Ok(())
                }));
                match evaluated.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                    Err(reason) => outcome = failed(outcome, reason),
                    Ok(()) if notes.is_empty() => {}
                    Ok(()) => outcome.error = Some(notes.join("; ")),
                }
            }
        }
        fit(outcome)
    }

    /// Runs the steps in order that are not done. Stops at the first that fails.
    async fn steps(&self, record: &Record, outcome: &mut Outcome) -> Result<(), String> {
        for step in &self.steps {
            if step.index < outcome.steps {
                continue;
            }
            let row = Row {
                columns: self.columns,
                record,
                outputs: &outcome.outputs,
            };
            let begun = Instant::now();
            // A panic in a step is a bug. It fails this record and no other.
            let result = AssertUnwindSafe(step.runner.run(row)).catch_unwind().await;
            outcome.times.push(StepTime {
                step: step.index,
                ms: begun.elapsed().as_secs_f32() * 1000.0,
            });
            let result =
                result.map_err(|panic| step_error(step.index, step.kind, &panicked(&*panic)))?;
            outcome.attempts = outcome.attempts.max(result.attempts);
            let outputs = result
                .outputs
                .map_err(|reason| step_error(step.index, step.kind, &reason))?;
            outcome.outputs.extend(outputs);
            let notes = result.notes.iter();
            let notes = notes.map(|note| step_error(step.index, step.kind, note));
            outcome.notes.extend(notes);
            outcome.steps = step.index + 1;
        }
        Ok(())
    }

    /// Evaluates every check. Those that only warn add a note.
    ///
    /// # Errors
    /// The reasons of all checks that fail the record.
    fn evaluate_checks(
        &self,
        record: &Record,
        outcome: &Outcome,
        notes: &mut Vec<String>,
    ) -> Result<(), String> {
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
        match failures.is_empty() {
            true => Ok(()),
            false => Err(failures.join("; ")),
        }
    }

    /// Adds the derived columns. One that cannot be evaluated stays empty and adds a note.
    fn derive_columns(&self, record: &Record, outcome: &mut Outcome, notes: &mut Vec<String>) {
        for column in self.derived {
            let row = Row {
                columns: self.columns,
                record,
                outputs: &outcome.outputs,
            };
            match column.value.eval(row) {
                Ok(value) => outcome.outputs.push((column.name.as_str().into(), value)),
                Err(reason) => notes.push(format!("column `{}` is empty: {reason}", column.name)),
            }
        }
    }
}

/// Evaluates a check.
///
/// # Errors
/// Why it does not pass. A check that cannot be evaluated does not pass.
fn passes(check: &Check, row: Row<'_>) -> Result<(), String> {
    let rule = check.rule.source();
    match check.rule.eval(row) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(Value::Bool(false)) => Err(format!("check `{rule}` failed")),
        Ok(other) => Err(format!(
            "check `{rule}` gives the {} `{}` instead of true or false",
            other.kind(),
            other.to_text()
        )),
        Err(reason) => Err(format!("check `{rule}` cannot be evaluated: {reason}")),
    }
}

fn fresh(row: u32, phase: u16) -> Outcome {
    Outcome {
        row,
        phase,
        status: Status::Ok,
        outputs: Outputs::new(),
        error: None,
        attempts: 0,
        times: Vec::new(),
        steps: 0,
        notes: Vec::new(),
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
    format!("internal error in Rowmill, please report it: {message}")
}

/// Fails the record, not the child, if its outcome is too large to store.
fn fit(outcome: Outcome) -> Outcome {
    // JSON escapes a byte as at most six, so a smaller outcome fits without being serialized.
    if outcome.estimated_bytes() < OUTCOME_BYTES / 6 {
        return outcome;
    }
    let size = serde_json::to_vec(&outcome).map_or(usize::MAX, |json| json.len());
    if size <= OUTCOME_BYTES {
        return outcome;
    }
    failed(
        Outcome {
            outputs: Outputs::new(),
            steps: 0,
            notes: Vec::new(),
            ..outcome
        },
        format!(
            "the outputs are {} KB; at most {} KB can be stored per row: select fewer or \
             shorter values from the source",
            size / 1024,
            OUTCOME_BYTES / 1024
        ),
    )
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use rowmill_pipeline::Expr;
    use rowmill_steps::{Runner, StepResult};

    use super::*;

    /// Returns its result for every row; panics if it has none.
    struct Fixed(Option<StepResult>);

    #[async_trait]
    impl Runner for Fixed {
        async fn run(&self, _: Row<'_>) -> StepResult {
            self.0.clone().expect("panic on purpose")
        }
        async fn close(&self) {}
    }

    fn result(outputs: Result<Outputs, String>, attempts: u32) -> StepResult {
        StepResult {
            outputs,
            attempts,
            notes: Vec::new(),
        }
    }

    fn step(index: u16, result: Option<StepResult>) -> PhaseStep {
        PhaseStep {
            index,
            kind: "http",
            runner: Box::new(Fixed(result)),
        }
    }

    fn check(rule: &str, on_failure: OnFailure) -> Check {
        Check {
            rule: Expr::compile(rule).unwrap(),
            on_failure,
        }
    }

    fn column(name: &str, value: &str) -> DerivedColumn {
        DerivedColumn {
            name: name.to_owned(),
            value: Expr::compile(value).unwrap(),
        }
    }

    fn due(n: f64) -> Outputs {
        vec![("due".into(), n.into())]
    }

    async fn work(
        phase: u16,
        before: Option<Outcome>,
        steps: Vec<PhaseStep>,
        checks: &[Check],
        derived: &[DerivedColumn],
    ) -> Outcome {
        let columns = Columns::new(["name"]);
        let worker = Worker {
            columns: &columns,
            phase,
            steps,
            checks,
            derived,
        };
        let record = Record {
            row: 7,
            values: vec![Some("Ada".into())],
        };
        worker.outcome(Task { record, before }).await
    }

    #[tokio::test]
    async fn steps_run_first_then_checks_then_columns() {
        let outcome = work(
            0,
            None,
            vec![
                step(0, Some(result(Ok(due(812.0)), 1))),
                step(1, Some(result(Ok(vec![]), 3))),
            ],
            &[
                check("due > 0", OnFailure::Fail),
                check("due > 900", OnFailure::Warn),
            ],
            &[
                column("low", "due < 1000 ? 'yes' : 'no'"),
                column("lost", "nowhere + 1"),
                column("both", "low + row.name"),
            ],
        )
        .await;
        assert_eq!(outcome.status, Status::Ok);
        assert_eq!((outcome.row, outcome.phase, outcome.attempts), (7, 0, 3));
        assert_eq!(
            outcome.outputs,
            [
                ("due".into(), Value::Number(812.0)),
                ("low".into(), "yes".into()),
                ("both".into(), "yesAda".into()),
            ]
        );
        let error = outcome.error.unwrap();
        assert!(
            error.starts_with("warning: check `due > 900` failed; column `lost` is empty: "),
            "{error}"
        );
        let steps: Vec<u16> = outcome.times.iter().map(|t| t.step).collect();
        assert_eq!(steps, [0, 1]);
        assert_eq!(outcome.steps, 2);
    }

    #[tokio::test]
    async fn a_record_continues_after_the_steps_that_are_done() {
        let noted = StepResult {
            notes: vec!["truncated".into()],
            ..result(Ok(due(1.0)), 1)
        };
        let failing = result(Err("503".into()), 4);
        let steps = vec![step(0, Some(noted)), step(1, Some(failing))];
        let first = work(0, None, steps, &[], &[]).await;
        assert_eq!((first.status, first.steps), (Status::Failed, 1));
        assert_eq!(first.notes, ["step 1 (http): truncated"]);

        // The first step would panic.
        let steps = || vec![step(0, None), step(1, Some(result(Ok(vec![]), 2)))];
        let before = first.after(1, &["due"]);
        let again = work(0, before, steps(), &[], &[column("low", "due")]).await;
        assert_eq!(
            (again.status, again.steps, again.attempts),
            (Status::Ok, 2, 2)
        );
        assert_eq!(again.outputs.len(), 2);
        assert_eq!(again.error.as_deref(), Some("step 1 (http): truncated"));

        // All steps are done: only checks and derived columns.
        let before = again.after(2, &["due"]);
        let checks = [check("due > 5", OnFailure::Fail)];
        let evaluated = work(0, before, vec![step(0, None), step(1, None)], &checks, &[]).await;
        assert_eq!((evaluated.status, evaluated.attempts), (Status::Failed, 0));
        assert_eq!(evaluated.outputs, due(1.0));
        assert_eq!(evaluated.notes, first.notes);
    }

    #[tokio::test]
    async fn a_failed_step_stops_the_record() {
        let outcome = work(
            0,
            None,
            vec![
                step(0, Some(result(Ok(due(1.0)), 1))),
                step(1, Some(result(Err("404".into()), 4))),
                step(2, None),
            ],
            &[check("due > 5", OnFailure::Fail)],
            &[column("low", "due")],
        )
        .await;
        assert_eq!(outcome.status, Status::Failed);
        assert_eq!(outcome.error.as_deref(), Some("step 2 (http): 404"));
        assert_eq!(outcome.outputs, due(1.0));
        assert_eq!((outcome.attempts, outcome.times.len()), (4, 2));
    }

    #[tokio::test]
    async fn a_failed_check_leaves_derived_columns_out() {
        let checks = [
            check("due > 5", OnFailure::Fail),
            check("nowhere > 5", OnFailure::Fail),
            check("due", OnFailure::Fail),
        ];
        let steps = vec![step(0, Some(result(Ok(due(1.0)), 1)))];
        let outcome = work(0, None, steps, &checks, &[column("low", "due")]).await;
        assert_eq!(outcome.status, Status::Failed);
        assert_eq!(outcome.outputs, due(1.0));
        let error = outcome.error.unwrap();
        for part in [
            "check `due > 5` failed; check `nowhere > 5` cannot be evaluated: ",
            "; check `due` gives the number `1` instead of true or false",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_record() {
        let outcome = work(0, None, vec![step(0, None)], &[], &[]).await;
        assert_eq!(outcome.status, Status::Failed);
        let error = outcome.error.unwrap();
        assert!(
            error.starts_with("step 1 (http): internal error in Rowmill")
                && error.contains("panic on purpose"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_later_phase_continues_from_the_previous_outcome() {
        let before = Outcome {
            attempts: 2,
            ..fresh(7, 0)
        };
        let steps = || vec![step(1, Some(result(Ok(due(1.0)), 1)))];
        let ok = work(1, Some(before.clone()), steps(), &[], &[column("x", "due")]).await;
        assert_eq!((ok.phase, ok.status, ok.attempts), (1, Status::Ok, 2));
        assert_eq!(ok.outputs.len(), 2);

        let failed_before = failed(before, "step 1 (http): 404".into());
        let carried = work(1, Some(failed_before.clone()), steps(), &[], &[]).await;
        assert_eq!(
            carried,
            Outcome {
                phase: 1,
                ..failed_before
            }
        );

        let lost = work(1, None, steps(), &[], &[]).await;
        assert_eq!((lost.phase, lost.status), (1, Status::Failed));
        assert_eq!(
            lost.error.as_deref(),
            Some("phase 1 stored no outcome for this row")
        );
    }

    #[tokio::test]
    async fn an_outcome_too_large_to_store_fails_its_record() {
        let text = |n: usize| vec![("page".into(), Value::from("x".repeat(n)))];
        let run = |outputs| {
            work(
                0,
                None,
                vec![step(0, Some(result(Ok(outputs), 1)))],
                &[],
                &[],
            )
        };
        let fits = run(text(OUTCOME_BYTES - 200)).await;
        assert_eq!(fits.status, Status::Ok);
        let large = run(text(OUTCOME_BYTES)).await;
        assert_eq!(large.status, Status::Failed);
        assert!(large.outputs.is_empty());
        assert!(serde_json::to_vec(&large).unwrap().len() < OUTCOME_BYTES);
    }
}
