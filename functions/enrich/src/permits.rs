//! Request permits, which the children of all runs share through the ledger.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_ports::Coordination;
use rowmill_runs::retry_transient;
use rowmill_steps::Permits;

/// Permits from the ledger.
pub(crate) struct LedgerPermits(pub(crate) Arc<dyn Coordination>);

impl fmt::Debug for LedgerPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerPermits")
    }
}

#[async_trait]
impl Permits for LedgerPermits {
    async fn take(
        &self,
        rate_key: &str,
        count: u32,
        interval: Duration,
    ) -> Result<DateTime<Utc>, String> {
        let take = || self.0.take_permits(rate_key, count, interval, Utc::now());
        retry_transient(take).await.map_err(|e| e.to_string())
    }
}
