//! Submitters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::{RunId, Submitter};
use rowmill_ports::submitters::GivenTier;
use rowmill_ports::{Result, Submitters};

use super::lock;

/// Submitters in memory.
#[derive(Default)]
pub struct MemorySubmitters(Mutex<Stored>);

#[derive(Default)]
struct Stored {
    tiers: BTreeMap<Submitter, GivenTier>,
    events: BTreeSet<String>,
    runs: BTreeSet<(Submitter, RunId)>,
}

#[async_trait]
impl Submitters for MemorySubmitters {
    async fn given_tier(&self, submitter: &Submitter) -> Result<Option<GivenTier>> {
        Ok(lock(&self.0).tiers.get(submitter).cloned())
    }

    async fn give_tier(
        &self,
        submitter: &Submitter,
        tier: &str,
        since: DateTime<Utc>,
    ) -> Result<bool> {
        let tiers = &mut lock(&self.0).tiers;
        if tiers
            .get(submitter)
            .is_some_and(|given| given.since > since)
        {
            return Ok(false);
        }
        let name = tier.to_owned();
        tiers.insert(submitter.clone(), GivenTier { name, since });
        Ok(true)
    }

    async fn forget_tier(&self, submitter: &Submitter) -> Result<()> {
        lock(&self.0).tiers.remove(submitter);
        Ok(())
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        Ok(lock(&self.0).events.contains(id))
    }

    async fn record_event(&self, id: &str, _now: DateTime<Utc>) -> Result<()> {
        lock(&self.0).events.insert(id.to_owned());
        Ok(())
    }

    async fn add_run(&self, submitter: &Submitter, run: &RunId) -> Result<()> {
        let entry = (submitter.clone(), run.clone());
        lock(&self.0).runs.insert(entry);
        Ok(())
    }

    async fn remove_run(&self, submitter: &Submitter, run: &RunId) -> Result<()> {
        let entry = (submitter.clone(), run.clone());
        lock(&self.0).runs.remove(&entry);
        Ok(())
    }

    async fn runs_of(
        &self,
        submitter: &Submitter,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        let runs = &lock(&self.0).runs;
        let found = runs
            .iter()
            .filter(|(address, run)| address == submitter && after.is_none_or(|after| run > after));
        Ok(found.take(limit).map(|(_, run)| run.clone()).collect())
    }
}
