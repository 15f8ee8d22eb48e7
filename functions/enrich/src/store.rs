//! Stores outcomes in batches.

use std::time::Duration;

use rowmill_domain::{Outcome, RunId};
use rowmill_ports::Outcomes;
use rowmill_runs::retry_transient;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::child::ChildReport;
use crate::error::EnrichError;

/// Maximum number of outcomes that one call stores, and that wait for the next call.
pub(crate) const FLUSH_OUTCOMES: usize = 2000;
/// The size, in bytes, from which outcomes are stored without waiting for more.
const FLUSH_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of outcomes that wait to be stored or are being stored. No new ones are accepted
/// above that, because a child may have little memory.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// The longest time that an outcome waits for others to be stored with it. A killed child repeats
/// this much work.
const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// Bounds the bytes of outcomes that wait.
pub(crate) struct Room(Semaphore);

impl Room {
    pub(crate) fn new() -> Room {
        Room(Semaphore::new(WAITING_BYTES))
    }

    /// Waits until there is room for an outcome.
    pub(crate) async fn take(&self, outcome: &Outcome) {
        // Never closed.
        if let Ok(permits) = self.0.acquire_many(bytes(outcome)).await {
            permits.forget();
        }
    }

    fn give_back(&self, outcome: &Outcome) {
        self.0.add_permits(bytes(outcome) as usize);
    }
}

/// An outcome is much smaller than the room.
fn bytes(outcome: &Outcome) -> u32 {
    outcome.estimated_bytes().min(WAITING_BYTES) as u32
}

/// Stores the outcomes of a child.
pub(crate) struct Store<'a> {
    pub(crate) outcomes: &'a dyn Outcomes,
    pub(crate) run: &'a RunId,
    pub(crate) chunk: u32,
    pub(crate) room: &'a Room,
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
            let mut bytes = size(&batch);
            while batch.len() < FLUSH_OUTCOMES && bytes < FLUSH_BYTES {
                let (before, room) = (batch.len(), FLUSH_OUTCOMES - batch.len());
                match timeout_at(due, outcomes.recv_many(&mut batch, room)).await {
                    Ok(received) if received > 0 => bytes += size(&batch[before..]),
                    // The sender is dropped, or the oldest outcome has waited long enough.
                    _ => break,
                }
            }
            let store = || self.outcomes.put_outcomes(self.run, self.chunk, &batch);
            retry_transient(store).await?;
            for outcome in batch.drain(..) {
                self.room.give_back(&outcome);
                report.count(outcome.status);
            }
        }
        Ok(())
    }
}

fn size(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(Outcome::estimated_bytes).sum()
}
