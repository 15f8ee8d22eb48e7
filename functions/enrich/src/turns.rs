//! Turns for requests, shared by all children of a run through its ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_ports::Ledger;
use rowmill_steps::Turns;

use crate::retry::retry;

/// The turns that a run's table gives.
pub(crate) struct RunTurns {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) run: RunId,
}

impl fmt::Debug for RunTurns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunTurns").field(&self.run).finish()
    }
}

#[async_trait]
impl Turns for RunTurns {
    async fn take(&self, lane: &str, turns: u32, gap: Duration) -> Result<DateTime<Utc>, String> {
        let take = || {
            self.ledger
                .take_turns(&self.run, lane, turns, gap, Utc::now())
        };
        retry(take).await.map_err(|e| e.to_string())
    }
}
