//! Request permits, which the children of all runs share through the ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_ports::Ledger;
use rowmill_steps::Turns;

use crate::retry::retry;

/// Permits from the ledger.
pub(crate) struct LedgerPermits(pub(crate) Arc<dyn Ledger>);

impl fmt::Debug for LedgerPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerPermits")
    }
}

#[async_trait]
impl Turns for LedgerPermits {
    async fn take(&self, lane: &str, turns: u32, gap: Duration) -> Result<DateTime<Utc>, String> {
        let take = || self.0.take_permits(lane, turns, gap, Utc::now());
        retry(take).await.map_err(|e| e.to_string())
    }
}
