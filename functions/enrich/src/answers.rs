//! Answers that all children of a run share through its table, so that a question is asked once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::RunId;
use rowmill_ports::{Asked, Coordination};
use rowmill_runs::retry_transient;
use rowmill_steps::Answers;
use tokio::time::sleep;

use crate::child::Child;

/// Lease: how long a child may work on an answer before another child takes over. This covers an
/// answer that takes several attempts. A child that is retried after it died continues with its own
/// questions at once.
const LEASE: Duration = Duration::from_secs(120);
/// The first wait for another child's answer. Each wait is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait: each poll costs a read.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The answers in the table of a run.
pub(crate) struct RunAnswers {
    coordination: Arc<dyn Coordination>,
    run: RunId,
    owner: String,
}

impl RunAnswers {
    pub(crate) fn new(coordination: Arc<dyn Coordination>, child: &Child) -> RunAnswers {
        RunAnswers {
            coordination,
            run: child.run.clone(),
            owner: child.to_string(),
        }
    }
}

impl fmt::Debug for RunAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunAnswers").field(&self.owner).finish()
    }
}

/// The key of a question: questions can be longer than a key may be.
fn key(question: &str) -> String {
    blake3::hash(question.as_bytes()).to_hex().to_string()
}

#[async_trait]
impl Answers for RunAnswers {
    async fn ask(&self, question: &str) -> Result<Option<String>, String> {
        let question = key(question);
        let mut wait = FIRST_WAIT;
        loop {
            let ask = || {
                self.coordination
                    .ask(&self.run, &question, &self.owner, Utc::now(), LEASE)
            };
            match retry_transient(ask).await.map_err(|e| e.to_string())? {
                Asked::Known(answer) => return Ok(Some(answer)),
                Asked::Yours => return Ok(None),
                Asked::Awaited => {}
            }
            sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }

    async fn answer(&self, question: &str, answer: Option<&str>) -> Result<(), String> {
        let question = key(question);
        let store = || {
            self.coordination
                .answer(&self.run, &question, &self.owner, answer)
        };
        retry_transient(store).await.map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rowmill_local::SqliteLedger;
    use rowmill_ports::{Outcomes, TablePlan};

    use super::*;

    #[tokio::test]
    async fn a_child_waits_for_the_answer_that_another_child_is_looking_for() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Arc::new(SqliteLedger::open(directory.path()).unwrap());
        let run = RunId::new("inbox", "p/a.xlsx", "v1", DateTime::UNIX_EPOCH, "p");
        let plan = TablePlan {
            writes_per_second: 1,
            records: 1,
        };
        ledger.create_table(&run, plan).await.unwrap();
        let child = |index| {
            let child = Child {
                run: run.clone(),
                chunk: 0,
                phase: 0,
                second_round: false,
                index: Some(index),
            };
            RunAnswers::new(ledger.clone(), &child)
        };
        let (first, second) = (child(0), child(1));
        let long = "a question of any length ".repeat(1000);
        assert_eq!(first.ask(&long).await, Ok(None));
        // The same child, retried after it died.
        assert_eq!(child(0).ask(&long).await, Ok(None));

        // The first child gives the question back. The second finds the answer, and both get it.
        let give_back = async {
            sleep(FIRST_WAIT / 2).await;
            first.answer(&long, None).await
        };
        assert_eq!(
            tokio::join!(second.ask(&long), give_back),
            (Ok(None), Ok(()))
        );
        let found = async {
            sleep(FIRST_WAIT / 2).await;
            second.answer(&long, Some("answer")).await
        };
        let (known, stored) = tokio::join!(first.ask(&long), found);
        assert_eq!((known, stored), (Ok(Some("answer".to_owned())), Ok(())));
        assert_eq!(child(2).ask(&long).await, Ok(Some("answer".to_owned())));
    }
}
