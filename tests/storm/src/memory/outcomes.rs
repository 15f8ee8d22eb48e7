//! The tables of runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rowmill_domain::limits::{OUTCOME_BYTES, OUTCOMES_PAGE_BYTES};
use rowmill_domain::tally::Tally;
use rowmill_domain::{Outcome, RunId};
use rowmill_ports::{ErrorKind, Outcomes, OutcomesPage, PortError, Result, TablePlan};

use super::lock;

/// A table: its outcomes by chunk and row, and its shared answers by question.
#[derive(Default)]
pub(super) struct Table {
    pub(super) outcomes: BTreeMap<(u32, u32), Outcome>,
    pub(super) answers: BTreeMap<String, Answer>,
    tally: Tally,
}

/// A shared answer, or who looks for it and until when.
pub(super) struct Answer {
    pub(super) text: Option<String>,
    pub(super) owner: String,
    pub(super) until: i64,
}

/// The tables of all runs, which outcomes and answers share.
#[derive(Default)]
pub(super) struct Tables(Mutex<BTreeMap<RunId, Table>>);

impl Tables {
    /// Works on the table of a run.
    pub(super) fn with<T>(
        &self,
        operation: &'static str,
        id: &RunId,
        work: impl FnOnce(&mut Table) -> Result<T>,
    ) -> Result<T> {
        match lock(&self.0).get_mut(id) {
            Some(table) => work(table),
            None => {
                let what = "the run has no table";
                Err(PortError::new(
                    operation,
                    id.as_str(),
                    ErrorKind::NotFound,
                    what,
                ))
            }
        }
    }
}

/// Outcomes in memory.
#[derive(Clone, Default)]
pub struct MemoryOutcomes {
    pub(super) tables: Arc<Tables>,
    most_written: Arc<AtomicU64>,
}

impl MemoryOutcomes {
    /// The most outcomes of the first phase that one call stored.
    pub fn most_written(&self) -> u64 {
        self.most_written.load(Ordering::Relaxed)
    }

    /// Whether an outcome of the row is stored in this phase or a later one.
    pub fn has(&self, id: &RunId, row: u32, phase: u16) -> bool {
        let tables = lock(&self.tables.0);
        tables.get(id).is_some_and(|table| {
            let mut outcomes = table.outcomes.iter();
            outcomes.any(|((_, stored), outcome)| *stored == row && outcome.phase >= phase)
        })
    }
}

#[async_trait]
impl Outcomes for MemoryOutcomes {
    async fn create_table(&self, id: &RunId, _plan: TablePlan) -> Result<()> {
        lock(&self.tables.0).entry(id.clone()).or_default();
        Ok(())
    }

    async fn drop_table(&self, id: &RunId) -> Result<()> {
        lock(&self.tables.0).remove(id);
        Ok(())
    }

    async fn list_tables(&self) -> Result<Vec<RunId>> {
        Ok(lock(&self.tables.0).keys().cloned().collect())
    }

    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()> {
        let count = outcomes.iter().filter(|o| o.phase == 0).count() as u64;
        self.most_written.fetch_max(count, Ordering::Relaxed);
        self.tables.with("put_outcomes", id, |table| {
            for outcome in outcomes {
                let size = serde_json::to_vec(outcome).map_or(usize::MAX, |json| json.len());
                if size > OUTCOME_BYTES {
                    let what = format!("the outcome of row {} has {size} bytes", outcome.row);
                    let kind = ErrorKind::Invalid;
                    return Err(PortError::new("put_outcomes", id.as_str(), kind, what));
                }
            }
            for outcome in outcomes {
                let stored = table.outcomes.entry((chunk, outcome.row));
                let stored = stored.or_insert_with(|| outcome.clone());
                if stored.phase <= outcome.phase {
                    *stored = outcome.clone();
                }
            }
            Ok(())
        })
    }

    async fn read_page(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<OutcomesPage> {
        self.tables.with("read_page", id, |table| {
            let (mut page, mut bytes) = (OutcomesPage::default(), 0);
            if rows.is_empty() {
                return Ok(page);
            }
            let rows = (chunk, *rows.start())..=(chunk, *rows.end());
            for ((_, row), outcome) in table.outcomes.range(rows) {
                if bytes >= OUTCOMES_PAGE_BYTES {
                    page.next = Some(*row);
                    break;
                }
                bytes += serde_json::to_vec(outcome).map_or(0, |json| json.len());
                page.outcomes.push(outcome.clone());
            }
            Ok(page)
        })
    }

    async fn add_tally(&self, id: &RunId, more: &Tally) -> Result<Tally> {
        self.tables.with("add_tally", id, |table| {
            table.tally.add(more);
            Ok(table.tally.clone())
        })
    }

    async fn tally(&self, id: &RunId) -> Result<Tally> {
        self.tables
            .with("tally", id, |table| Ok(table.tally.clone()))
    }
}
