//! Answers shared by all children of a run through its ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::RunId;
use rowmill_ports::{Asked, Ledger};
use rowmill_steps::Answers;
use tokio::time::sleep;

use crate::child::Child;
use crate::retry::retry;

/// How long a child has for an answer before another one looks for it too: what an answer takes
/// that is asked for several times. A child that is tried again after it died takes its own
/// questions up at once.
const LEASE: Duration = Duration::from_secs(120);
/// Waits for another child's answer: the first, and the longest, since each look costs.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_MOST: Duration = Duration::from_secs(5);

/// The answers in a run's table.
pub(crate) struct RunAnswers {
    ledger: Arc<dyn Ledger>,
    run: RunId,
    owner: String,
}

impl RunAnswers {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, child: &Child) -> RunAnswers {
        RunAnswers {
            ledger,
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

/// A question of any length as one that a key holds.
fn short(question: &str) -> String {
    blake3::hash(question.as_bytes()).to_hex().to_string()
}

#[async_trait]
impl Answers for RunAnswers {
    async fn ask(&self, question: &str) -> Result<Option<String>, String> {
        let question = short(question);
        let mut wait = LOOK_FIRST;
        loop {
            let ask = || {
                self.ledger
                    .ask(&self.run, &question, &self.owner, Utc::now(), LEASE)
            };
            match retry(ask).await.map_err(|e| e.to_string())? {
                Asked::Known(answer) => return Ok(Some(answer)),
                Asked::Yours => return Ok(None),
                Asked::Awaited => {}
            }
            sleep(wait).await;
            wait = LOOK_MOST.min(wait * 2);
        }
    }

    async fn answer(&self, question: &str, answer: Option<&str>) -> Result<(), String> {
        let question = short(question);
        let tell = || {
            self.ledger
                .answer(&self.run, &question, &self.owner, answer)
        };
        retry(tell).await.map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rowmill_local::SqliteLedger;
    use rowmill_ports::TablePlan;

    use super::*;

    #[tokio::test]
    async fn a_child_waits_for_an_answer_that_another_one_finds() {
        let directory = tempfile::tempdir().unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(directory.path()).unwrap());
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
                stage: 0,
                index: Some(index),
            };
            RunAnswers::new(ledger.clone(), &child)
        };
        let (first, second) = (child(0), child(1));
        let long = "a question of any length ".repeat(1000);
        assert_eq!(first.ask(&long).await, Ok(None));
        // The same child, started again after it died.
        assert_eq!(child(0).ask(&long).await, Ok(None));

        // Given back, it is the other's to find, and its answer is there for both.
        let give_back = async {
            sleep(LOOK_FIRST / 2).await;
            first.answer(&long, None).await
        };
        assert_eq!(
            tokio::join!(second.ask(&long), give_back),
            (Ok(None), Ok(()))
        );
        let found = async {
            sleep(LOOK_FIRST / 2).await;
            second.answer(&long, Some("answer")).await
        };
        let (known, told) = tokio::join!(first.ask(&long), found);
        assert_eq!((known, told), (Ok(Some("answer".to_owned())), Ok(())));
        assert_eq!(child(2).ask(&long).await, Ok(Some("answer".to_owned())));
    }
}
