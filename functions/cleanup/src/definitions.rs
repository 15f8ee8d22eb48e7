//! Finds and removes job definitions that no unfinished run uses.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt;
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_runs::open_runs;

use crate::error::CleanupError;
use crate::finding::Finding;
use crate::stage::Cleanup;

impl Cleanup {
    /// Deregisters those of `arns` that no live run uses.
    pub(crate) async fn deregister_unused(&self, arns: &[String]) -> Result<(), CleanupError> {
        if arns.is_empty() {
            return Ok(());
        }
        let open = open_runs(&*self.runs).try_collect::<Vec<_>>().await?;
        for arn in unused(arns, open.iter()) {
            self.jobs.deregister(arn).await?;
        }
        Ok(())
    }

    /// The stack's active definitions that no live run uses.
    pub(crate) async fn stray_definitions(
        &self,
        open: &BTreeMap<&RunId, &RunItem>,
    ) -> Result<Vec<Finding>, CleanupError> {
        let stack = &self.config.stack;
        let mut arns = self.jobs.definitions(&format!("{stack}-")).await?;
        arns.retain(|arn| is_of(arn, stack));
        let unused = unused(&arns, open.values().copied()).into_iter();
        Ok(unused
            .map(|arn| Finding::StrayDefinition { arn: arn.clone() })
            .collect())
    }
}

/// Whether a definition belongs to the stack, and not to another stack whose name starts with the
/// same text. After the stack's name come 12 hex digits from submit, and 12 more from the AWS
/// adapter.
fn is_of(arn: &str, stack: &str) -> bool {
    let name = arn
        .rsplit('/')
        .next()
        .and_then(|name| name.split(':').next());
    let rest = name.and_then(|name| name.strip_prefix(stack)?.strip_prefix('-'));
    let is_hash = |part: &str| {
        part.len() == 12 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    rest.is_some_and(|rest| rest.split('-').count() <= 2 && rest.split('-').all(is_hash))
}

/// Those of `arns` that no live run uses. None of them while a run is about to be submitted: it
/// records its definitions only after they are registered.
fn unused<'a, 'r>(arns: &'a [String], open: impl Iterator<Item = &'r RunItem>) -> Vec<&'a String> {
    let mut used = HashSet::new();
    for run in open.filter(|run| !run.state.is_terminal()) {
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
    use rowmill_domain::run::UploadSource;

    fn run(state: RunState, definitions: &[&str]) -> RunItem {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let source = UploadSource {
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
    fn definitions_of_other_stacks_are_left_alone() {
        for (name, ours) in [
            ("rowmill-0123456789ab", true),
            ("rowmill-0123456789ab-ba9876543210", true),
            ("rowmill-dev-0123456789ab-ba9876543210", false),
            ("rowmill-dev-0123456789ab", false),
            ("rowmill-by-hand", false),
            ("rowmill-0123456789AB", false),
            ("rowmill-0123456789ab-ba9876543210-0123456789ab", false),
            ("rowmill2-0123456789ab", false),
        ] {
            let arn = format!("arn:aws:batch:eu-central-1:123456789012:job-definition/{name}:3");
            assert_eq!(is_of(&arn, "rowmill"), ours, "{name}");
        }
    }

    #[test]
    fn definitions_of_live_runs_are_in_use() {
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
            assert_eq!(unused(&arns, runs.iter()), *expected, "{runs:?}");
        }
    }
}
