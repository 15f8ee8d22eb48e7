//! The states of a run and the legal changes to it, as one table.

use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::RunState::{
    self, Delivered, DeliveredWithErrors, Failed, Reporting, Running, Splitting,
};
use rowmill_ports::{PortError, RunPatch, Runs};

/// A legal change to a run. Every change to a run goes through [`Transition::apply`].
///
/// `docs/states.md` shows the table as a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The manifest is written.
    FinishSplit,
    /// The input is refused, or split never finished: records why.
    FailSplit,
    /// Records which job definitions the run uses.
    RecordDefinitions,
    /// Batch permanently rejects the run: records why.
    FailSubmit,
    /// Stops the run early: records why. Children finish the records in progress, jobs that have not
    /// started end, and report delivers what is done.
    Stop,
    /// The jobs of a second round are being submitted.
    StartSecondRound,
    /// All jobs have ended, and report starts on the result.
    StartReport,
    /// Records the result, or why there is none.
    RecordResult,
    /// The email is sent, and every record is `ok`.
    Deliver,
    /// The email is sent, and some records are `failed` or `missing`.
    DeliverWithErrors,
    /// The run failed, and the email that says so is sent.
    Fail,
    /// Records who started the run through the API.
    RecordOwner,
    /// Records the submitter of a run that was created without one.
    RecordSubmitter,
    /// Records a bounced email. An email can bounce before its sending is recorded.
    RecordBounce,
    /// Everything temporary is removed.
    Clean,
}

/// A row of the table.
struct Rule {
    /// What happened, for the diagram.
    what: &'static str,
    /// The stages that make the change.
    by: &'static str,
    /// The states in which the change is legal.
    from: &'static [RunState],
    /// The state afterwards. `None` if the run stays in its state.
    to: Option<RunState>,
}

/// The states of a run that has not ended.
const OPEN: &[RunState] = &[Splitting, Running, Reporting];
/// The states of a run that has ended.
const ENDED: &[RunState] = &[Delivered, DeliveredWithErrors, Failed];

impl Transition {
    /// All transitions, in the order of a run's life.
    pub const ALL: [Transition; 15] = [
        Transition::FinishSplit,
        Transition::FailSplit,
        Transition::RecordDefinitions,
        Transition::FailSubmit,
        Transition::Stop,
        Transition::StartSecondRound,
        Transition::StartReport,
        Transition::RecordResult,
        Transition::Deliver,
        Transition::DeliverWithErrors,
        Transition::Fail,
        Transition::RecordOwner,
        Transition::RecordSubmitter,
        Transition::RecordBounce,
        Transition::Clean,
    ];

    /// The table.
    #[rustfmt::skip]
    const fn rule(self) -> Rule {
        use Transition as T;
        let (what, by, from, to): (_, _, &[RunState], _) = match self {
            T::FinishSplit => ("manifest written", "split", &[Splitting], Some(Running)),
            T::FailSplit => ("input refused, or split never finished", "split, cleanup", &[Splitting], None),
            T::RecordDefinitions => ("job definitions recorded", "submit", &[Running], None),
            T::FailSubmit => ("refused by Batch", "submit", &[Running], None),
            T::Stop => ("stopped early: cancelled, or a limit was reached", "submit, api, command line", &[Splitting, Running], None),
            T::StartSecondRound => ("second round decided", "report", &[Running], None),
            // Also from `reporting`: an interrupted report starts again.
            T::StartReport => ("all jobs ended", "report", &[Running, Reporting], Some(Reporting)),
            T::RecordResult => ("result or failure recorded", "report", OPEN, None),
            T::Deliver => ("mail sent, all records ok", "report", &[Reporting], Some(Delivered)),
            T::DeliverWithErrors => ("mail sent, some records failed or missing", "report", &[Reporting], Some(DeliveredWithErrors)),
            T::Fail => ("mail about the failure sent", "report", OPEN, Some(Failed)),
            // Also afterwards: a request can be repeated.
            T::RecordOwner => ("owner recorded", "api", &RunState::ALL, None),
            T::RecordSubmitter => ("submitter recorded", "split", &RunState::ALL, None),
            T::RecordBounce => ("mail bounced", "report", &RunState::ALL, None),
            T::Clean => ("everything temporary removed", "cleanup", ENDED, None),
        };
        Rule { what, by, from, to }
    }

    /// What happened, in a few words.
    pub const fn description(self) -> &'static str {
        self.rule().what
    }

    /// The stages that make this change, separated by commas.
    pub const fn stages(self) -> &'static str {
        self.rule().by
    }

    /// The states in which this change is legal.
    pub const fn from(self) -> &'static [RunState] {
        self.rule().from
    }

    /// The state afterwards. `None` if the run stays in its state.
    pub const fn to(self) -> Option<RunState> {
        self.rule().to
    }

    /// Changes `fields` of a run and moves it to the transition's state. The transition decides
    /// the state, whatever `fields` says.
    ///
    /// Returns `false` and changes nothing if the change is not legal in the run's state: another
    /// invocation has moved the run on.
    ///
    /// # Errors
    /// [`NotFound`](rowmill_ports::ErrorKind::NotFound) if there is no such run, or the service
    /// failed.
    pub async fn apply(
        self,
        runs: &dyn Runs,
        run: &RunId,
        fields: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool, PortError> {
        let Rule { from, to, .. } = self.rule();
        let patch = RunPatch {
            state: to,
            ..fields
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that changes a run"
        )]
        let applied = runs.update_run(run, from, patch, now).await?;
        if !applied {
            let change = self.description();
            tracing::info!(%run, change, "not applied: the run has changed state");
        }
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use rowmill_domain::RunItem;
    use rowmill_domain::run::UploadSource;
    use rowmill_local::SqliteLedger;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_run_only_moves_forward_and_ends_once() {
        for transition in Transition::ALL {
            for from in transition.from() {
                let Some(to) = transition.to() else { continue };
                assert!(*from <= to, "{transition:?} from {from:?}");
                assert!(!from.is_terminal(), "{transition:?} from {from:?}");
            }
        }
        for state in RunState::ALL {
            let reachable =
                state == Splitting || Transition::ALL.iter().any(|t| t.to() == Some(state));
            assert!(reachable, "{state:?}");
            assert_eq!(state.is_terminal(), ENDED.contains(&state));
            assert_eq!(!state.is_terminal(), OPEN.contains(&state));
            let may_fail = Transition::Fail.from().contains(&state);
            assert_eq!(may_fail, !state.is_terminal(), "{state:?}");
        }
    }

    #[tokio::test]
    async fn a_change_applies_only_in_the_states_of_the_table() {
        let directory = TempDir::new().unwrap();
        let runs = SqliteLedger::open(directory.path()).unwrap();
        let now = DateTime::UNIX_EPOCH;
        for transition in Transition::ALL {
            for state in RunState::ALL {
                let key = format!("p/{transition:?}-{state:?}.csv");
                let id = RunId::new("inbox", &key, "1", now, "p");
                let source = UploadSource {
                    bucket: "inbox".to_owned(),
                    key,
                    version: "1".to_owned(),
                    size: 1,
                    uploaded: now,
                };
                let before = RunItem {
                    state,
                    ..RunItem::new(id.clone(), source, now)
                };
                assert!(runs.create_run(&before).await.unwrap());
                let fields = RunPatch {
                    // Without effect.
                    state: Some(Splitting),
                    jobs: Some(7),
                    ..RunPatch::default()
                };
                let applied = transition.apply(&runs, &id, fields, now).await.unwrap();
                assert_eq!(applied, transition.from().contains(&state));
                let expected = match applied {
                    true => (transition.to().unwrap_or(state), Some(7)),
                    false => (state, None),
                };
                let after = runs.find_run(&id).await.unwrap().unwrap();
                assert_eq!((after.state, after.jobs), expected, "{transition:?}");
            }
        }
    }

    /// The table as a diagram.
    fn diagram() -> String {
        let mut text = "```mermaid\nstateDiagram-v2\n    [*] --> splitting\n".to_owned();
        for transition in Transition::ALL {
            let Some(to) = transition.to() else { continue };
            for from in transition.from().iter().filter(|from| **from != to) {
                let (from, to, what) = (from.name(), to.name(), transition.description());
                writeln!(text, "    {from} --> {to}: {what}").unwrap();
            }
        }
        for state in ENDED {
            writeln!(text, "    {} --> [*]", state.name()).unwrap();
        }
        text + "```\n"
    }

    /// The table as text.
    fn table() -> String {
        let mut text = String::from(
            "| change | by | in state | state afterwards |\n| --- | --- | --- | --- |\n",
        );
        for transition in Transition::ALL {
            let (what, by) = (transition.description(), transition.stages());
            let (from, to) = (transition.from(), transition.to());
            let names: Vec<&str> = from.iter().map(|state| state.name()).collect();
            let from = match from.len() == RunState::ALL.len() {
                true => "any".to_owned(),
                false => names.join(", "),
            };
            let to = to.map_or("unchanged", RunState::name);
            writeln!(text, "| {what} | {by} | {from} | {to} |").unwrap();
        }
        text
    }

    const BEGIN: &str =
        "<!-- States: generated by ROWMILL_BLESS=1 cargo test -p rowmill-runs -->\n";
    const RESULTS: &str = "The result of a run, which is all objects under `results/<run>/`, has states of \
        its own. Its changes are a table, too, in `shared/runs/src/result_transition.rs`.";
    const END: &str = "<!-- End of states -->";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a switch for tests only")]
    fn the_documentation_matches_the_table() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let (results, changes) = crate::result_transition::documentation();
        let states = format!(
            "{}\n{}\n## States of a result\n\n{RESULTS}\n\n{results}\n{changes}",
            diagram(),
            table()
        );
        let pages = [("architecture.md", diagram()), ("states.md", states)];
        for (name, generated) in pages {
            let path = docs.join(name);
            let page = std::fs::read_to_string(&path).unwrap();
            let (before, rest) = page.split_once(BEGIN).expect("the start of the block");
            let (_, after) = rest.split_once(END).expect("the end of the block");
            let current = format!("{before}{BEGIN}{generated}{END}{after}");
            if std::env::var_os("ROWMILL_BLESS").is_some() {
                std::fs::write(&path, &current).unwrap();
            } else {
                assert!(
                    page == current,
                    "docs/{name} is out of date: run ROWMILL_BLESS=1 cargo test -p rowmill-runs"
                );
            }
        }
    }
}
