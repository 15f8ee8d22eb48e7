//! The states of a result and the legal changes to it, as one table.

use rowmill_domain::RunId;
use rowmill_domain::result_storage::ResultState::{
    self, Archived, Archiving, Deleted, Hot, Restoring,
};
use rowmill_domain::result_storage::ResultStorage;
use rowmill_ports::{PortError, Runs};

/// A legal change to the result of a run. Every change goes through [`ResultTransition::apply`].
///
/// `docs/states.md` shows the table as a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultTransition {
    /// The time of the tier has come: its objects are about to be archived.
    Archive,
    /// All its objects are archived.
    FinishArchive,
    /// It is needed again: its objects are about to be restored. Also while it is being archived.
    Restore,
    /// The service refused the speed: a slower one is requested.
    SlowRestore,
    /// All its objects can be read again, for good.
    FinishRestore,
    /// An archived object was found, which an invocation left that was suspended during the restore.
    Repair,
    /// Its objects are about to be deleted.
    Delete,
}

/// A row of the table.
struct Rule {
    /// What happened, for the diagram.
    what: &'static str,
    /// The states in which the change is legal.
    from: &'static [ResultState],
    /// The state afterwards.
    to: ResultState,
}

impl ResultTransition {
    /// All transitions, in the order of a result's life.
    pub const ALL: [ResultTransition; 7] = [
        ResultTransition::Archive,
        ResultTransition::FinishArchive,
        ResultTransition::Restore,
        ResultTransition::SlowRestore,
        ResultTransition::FinishRestore,
        ResultTransition::Repair,
        ResultTransition::Delete,
    ];

    /// The table.
    #[rustfmt::skip]
    const fn rule(self) -> Rule {
        use ResultTransition as T;
        let (what, from, to): (_, &[ResultState], _) = match self {
            T::Archive => ("time of the tier over", &[Hot], Archiving),
            T::FinishArchive => ("all objects archived", &[Archiving], Archived),
            T::Restore => ("restore requested", &[Archiving, Archived], Restoring),
            T::SlowRestore => ("slower restore requested", &[Restoring], Restoring),
            T::FinishRestore => ("all objects copied back", &[Restoring], Hot),
            T::Repair => ("archived object found", &[Hot], Restoring),
            T::Delete => ("deleted", &[Hot, Archiving, Archived, Restoring], Deleted),
        };
        Rule { what, from, to }
    }

    /// What happened, in a few words.
    pub const fn description(self) -> &'static str {
        self.rule().what
    }

    /// The states in which this change is legal.
    pub const fn from(self) -> &'static [ResultState] {
        self.rule().from
    }

    /// The state afterwards.
    pub const fn to(self) -> ResultState {
        self.rule().to
    }

    /// Records how the result is stored from now on. The transition decides the state, whatever
    /// `storage` says.
    ///
    /// Returns `false` and changes nothing if the change is not legal in the result's state: another
    /// invocation has changed it. Read it again, and do what its state requires.
    ///
    /// # Errors
    /// [`NotFound`](rowmill_ports::ErrorKind::NotFound) if there is no such run, or the service
    /// failed.
    pub async fn apply(
        self,
        runs: &dyn Runs,
        run: &RunId,
        storage: ResultStorage,
    ) -> Result<bool, PortError> {
        let Rule { what, from, to } = self.rule();
        let storage = ResultStorage {
            state: to,
            ..storage
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that changes a result"
        )]
        let applied = runs.update_result(run, from, &storage).await?;
        if !applied {
            tracing::info!(%run, change = what, "not applied: the result has changed state");
        }
        Ok(applied)
    }
}

/// The table as a diagram, and as text.
#[cfg(test)]
pub(crate) fn documentation() -> (String, String) {
    use std::fmt::Write as _;

    let mut diagram = "```mermaid\nstateDiagram-v2\n    [*] --> hot\n".to_owned();
    let mut table = "| change | in state | state afterwards |\n| --- | --- | --- |\n".to_owned();
    for transition in ResultTransition::ALL {
        let (what, to) = (transition.description(), transition.to().name());
        for from in transition.from().iter().map(|state| state.name()) {
            if from != to {
                writeln!(diagram, "    {from} --> {to}: {what}").unwrap();
            }
        }
        let from: Vec<&str> = transition.from().iter().map(|state| state.name()).collect();
        writeln!(table, "| {what} | {} | {to} |", from.join(", ")).unwrap();
    }
    (diagram + "    deleted --> [*]\n```\n", table)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use rowmill_domain::RunItem;
    use rowmill_domain::run::UploadSource;
    use rowmill_local::SqliteLedger;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_change_applies_only_in_the_states_of_the_table() {
        let directory = TempDir::new().unwrap();
        let runs = SqliteLedger::open(directory.path()).unwrap();
        let now = DateTime::UNIX_EPOCH;
        for transition in ResultTransition::ALL {
            for state in ResultState::ALL {
                let key = format!("p/{transition:?}-{state:?}.csv");
                let id = RunId::new("inbox", &key, "1", now, "p");
                let source = UploadSource {
                    bucket: "inbox".to_owned(),
                    key,
                    version: "1".to_owned(),
                    size: 1,
                    uploaded: now,
                };
                let before = ResultStorage {
                    state,
                    ..ResultStorage::hot(now)
                };
                let item = RunItem {
                    storage: Some(before.clone()),
                    ..RunItem::new(id.clone(), source, now)
                };
                assert!(runs.create_run(&item).await.unwrap());
                // Its state has no effect.
                let storage = ResultStorage::hot(now + TimeDelta::minutes(1));
                let applied = transition.apply(&runs, &id, storage.clone()).await.unwrap();
                assert_eq!(applied, transition.from().contains(&state));
                let expected = match applied {
                    true => ResultStorage {
                        state: transition.to(),
                        ..storage
                    },
                    false => before,
                };
                let after = runs.find_run(&id).await.unwrap().unwrap();
                assert_eq!(after.storage, Some(expected), "{transition:?}");
            }
        }
    }

    #[test]
    fn nothing_leads_out_of_deleted_and_every_other_state_can_be_left() {
        for state in ResultState::ALL {
            let left = ResultTransition::ALL
                .iter()
                .any(|change| change.from().contains(&state));
            assert_eq!(left, state != Deleted, "{state:?}");
        }
    }
}
