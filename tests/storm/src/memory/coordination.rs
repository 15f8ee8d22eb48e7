//! Claims, rate permits and shared answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_domain::run::Work;
use rowmill_ports::{Asked, Claim, Coordination, ErrorKind, Holder, PortError, Result};

use super::lock;
use super::outcomes::{Answer, MemoryOutcomes, Tables};

/// Coordination in memory. The answers are in the tables of runs.
pub struct MemoryCoordination {
    state: Mutex<State>,
    tables: Arc<Tables>,
}

#[derive(Default)]
struct State {
    claims: BTreeMap<(RunId, &'static str), Stored>,
    permits: BTreeMap<String, DateTime<Utc>>,
    asked: u64,
}

/// A claim. `until` is in epoch milliseconds; 0: released.
struct Stored {
    owner: String,
    until: i64,
    done: bool,
}

impl MemoryCoordination {
    /// Coordination whose answers are in these tables.
    pub fn new(outcomes: &MemoryOutcomes) -> MemoryCoordination {
        MemoryCoordination {
            state: Mutex::default(),
            tables: outcomes.tables.clone(),
        }
    }

    /// How often a question was taken or its answer read. In calm weather, a step with shared answers
    /// does this once for each record that it processes.
    pub fn asked(&self) -> u64 {
        lock(&self.state).asked
    }

    /// Forgets everything about runs that are not kept, as its expiry does.
    pub fn retain(&self, keep: impl Fn(&RunId) -> bool) {
        lock(&self.state).claims.retain(|(run, _), _| keep(run));
    }
}

fn millis(now: DateTime<Utc>) -> i64 {
    now.timestamp_millis()
}

fn until(now: DateTime<Utc>, lease: Duration) -> i64 {
    millis(now) + lease.as_millis() as i64
}

#[async_trait]
impl Coordination for MemoryCoordination {
    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        let claims = &mut lock(&self.state).claims;
        let key = (id.clone(), work.name());
        let new = Stored {
            owner: owner.to_owned(),
            until: until(now, lease),
            done: false,
        };
        let resumed = match claims.get(&key) {
            Some(stored) if stored.done => return Ok(Claim::Done),
            Some(stored) if stored.until > millis(now) && stored.owner != owner => {
                return Ok(Claim::Held(Holder {
                    owner: stored.owner.clone(),
                    until: DateTime::from_timestamp_millis(stored.until).unwrap_or_default(),
                }));
            }
            stored => stored.is_some(),
        };
        claims.insert(key, new);
        Ok(Claim::Taken { resumed })
    }

    async fn holder(&self, id: &RunId, work: Work, now: DateTime<Utc>) -> Result<Option<Holder>> {
        let state = lock(&self.state);
        let stored = state.claims.get(&(id.clone(), work.name()));
        let held = stored.filter(|stored| !stored.done && stored.until > millis(now));
        Ok(held.map(|stored| Holder {
            owner: stored.owner.clone(),
            until: DateTime::from_timestamp_millis(stored.until).unwrap_or_default(),
        }))
    }

    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        let claims = &mut lock(&self.state).claims;
        let stored = claims.get_mut(&(id.clone(), work.name()));
        match stored.filter(|stored| stored.owner == owner && (stored.done || stored.until > 0)) {
            Some(stored) => {
                stored.done = true;
                Ok(())
            }
            None => {
                let what = "the claim is not held";
                Err(PortError::new(
                    "complete",
                    id.as_str(),
                    ErrorKind::Conflict,
                    what,
                ))
            }
        }
    }

    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        let claims = &mut lock(&self.state).claims;
        let stored = claims.get_mut(&(id.clone(), work.name()));
        if let Some(stored) = stored.filter(|stored| !stored.done && stored.owner == owner) {
            stored.until = 0;
        }
        Ok(())
    }

    async fn take_permits(
        &self,
        rate_key: &str,
        permits: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        let permits_by_key = &mut lock(&self.state).permits;
        let next = permits_by_key.entry(rate_key.to_owned()).or_insert(now);
        let first = now.max(*next);
        *next = first + gap * permits;
        Ok(first)
    }

    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        let asked = self.tables.with("ask", id, |table| {
            match table.answers.get(question) {
                Some(Answer {
                    text: Some(text), ..
                }) => return Ok(Asked::Known(text.clone())),
                Some(held) if held.until > millis(now) && held.owner != owner => {
                    return Ok(Asked::Awaited);
                }
                _ => {}
            }
            let held = Answer {
                text: None,
                owner: owner.to_owned(),
                until: until(now, lease),
            };
            table.answers.insert(question.to_owned(), held);
            Ok(Asked::Yours)
        })?;
        lock(&self.state).asked += u64::from(asked != Asked::Awaited);
        Ok(asked)
    }

    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()> {
        self.tables.with("answer", id, |table| {
            let Some(text) = answer else {
                let answers = &mut table.answers;
                let held = |held: &&Answer| held.text.is_none() && held.owner == owner;
                if answers.get(question).filter(held).is_some() {
                    answers.remove(question);
                }
                return Ok(());
            };
            if text.len() > OUTCOME_BYTES {
                let what = format!("the answer has {} bytes", text.len());
                return Err(PortError::new(
                    "answer",
                    id.as_str(),
                    ErrorKind::Invalid,
                    what,
                ));
            }
            let known = Answer {
                text: Some(text.to_owned()),
                owner: owner.to_owned(),
                until: 0,
            };
            table.answers.insert(question.to_owned(), known);
            Ok(())
        })
    }
}
