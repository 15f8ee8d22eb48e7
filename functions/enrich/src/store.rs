//! Stores outcomes in batches.

use std::time::Duration;

use rowmill_domain::{Outcome, RunId};
use rowmill_ports::Outcomes;
use rowmill_runs::retry_transient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::child::ChildReport;
use crate::error::EnrichError;

/// Maximum number of outcomes that one call stores, and that wait for the next call.
pub(crate) const FLUSH_OUTCOMES: usize = 2000;
/// The longest time that an outcome waits for others to be stored with it. A killed child repeats
/// this much work.
const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// Stores the outcomes of a child.
pub(crate) struct Store<'a> {
    pub(crate) outcomes: &'a dyn Outcomes,
    pub(crate) run: &'a RunId,
    pub(crate) chunk: u32,
}

impl Store<'_> {
    /// Stores outcomes until the sender is dropped, and counts them once they are stored.
    pub(crate) async fn run(
        &self,
        mut outcomes: mpsc::Receiver<Outcome>,
        report: &mut ChildReport,
    ) -> Result<(), EnrichError> {
        let mut batch = Vec::with_capacity(FLUSH_OUTCOMES);
        while outcomes.recv_many(&mut batch, FLUSH_OUTCOMES).await > 0 {
            let due = Instant::now() + FLUSH_AFTER;
            while batch.len() < FLUSH_OUTCOMES {
                let room = FLUSH_OUTCOMES - batch.len();
                match timeout_at(due, outcomes.recv_many(&mut batch, room)).await {
                    Ok(received) if received > 0 => {}
                    // The sender is dropped, or the oldest outcome has waited long enough.
                    _ => break,
                }
            }
            let store = || self.outcomes.put_outcomes(self.run, self.chunk, &batch);
            retry_transient(store).await?;
            for outcome in batch.drain(..) {
                report.count(outcome.status);
            }
        }
        Ok(())
    }
}
