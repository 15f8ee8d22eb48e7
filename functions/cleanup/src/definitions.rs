//! Job definitions that no live run uses.

use std::collections::HashSet;

use rowmill_domain::{RunItem, RunState};

use crate::error::CleanupError;
use crate::stage::Cleanup;

impl Cleanup {
    /// Deregisters those of `arns` that no live run uses.
    pub(crate) async fn deregister_unused(&self, arns: &[String]) -> Result<(), CleanupError> {
        if arns.is_empty() {
            return Ok(());
        }
        let runs = self.all_runs().await?;
        for arn in unused(arns, &runs) {
            self.jobs.deregister(arn).await?;
        }
        Ok(())
    }

    /// The stack's active definitions that no live run uses.
    pub(crate) async fn stray_definitions(
        &self,
        runs: &[RunItem],
    ) -> Result<Vec<String>, CleanupError> {
        let prefix = format!("{}-", self.config.stack);
        let arns = self.jobs.definitions(&prefix).await?;
        Ok(unused(&arns, runs).into_iter().cloned().collect())
    }
}

/// Those of `arns` that no live run uses: none of them while a run is about to be submitted, for
/// it says which it uses only once they are registered.
fn unused<'a>(arns: &'a [String], runs: &[RunItem]) -> Vec<&'a String> {
    let mut used = HashSet::new();
    for run in runs.iter().filter(|run| !run.state.is_terminal()) {
        if run.state <= RunState::Running && run.definitions.is_empty() && run.failure.is_none() {
            return Vec::new();
        }
        used.extend(&run.definitions);
    }
    arns.iter().filter(|arn| !used.contains(arn)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::RunId;
    use rowmill_domain::run::Source;

    fn run(state: RunState, definitions: &[&str]) -> RunItem {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let source = Source {
            bucket: "inbox".into(),
            key: "p/a.xlsx".into(),
            version: "1".into(),
            size: 1,
            uploaded: now,
        };
        RunItem {
            state,
            definitions: definitions.iter().map(|d| d.to_string()).collect(),
            ..RunItem::new(RunId::new("inbox", "p/a.xlsx", "1", now, "p"), source, now)
        }
    }

    #[test]
    fn only_what_no_live_run_uses_is_unused() {
        let arns = ["a".to_owned(), "b".to_owned()];
        let table: &[(&[RunItem], &[&str])] = &[
            (&[], &["a", "b"]),
            (&[run(RunState::Delivered, &["a"])], &["a", "b"]),
            (
                &[
                    run(RunState::Running, &["a"]),
                    run(RunState::Failed, &["b"]),
                ],
                &["b"],
            ),
            (&[run(RunState::Reporting, &["b"])], &["a"]),
            (&[run(RunState::Splitting, &[])], &[]),
            (&[run(RunState::Running, &[])], &[]),
        ];
        for (runs, expected) in table {
            assert_eq!(unused(&arns, runs), *expected, "{runs:?}");
        }
    }
}
