//! The adapters of all ports in memory. They pass the conformance suites.
//!
//! Jobs are in [`rowmill_local::batch::MemoryBatch`], which shares its states with the local Batch.

mod bus;
mod coordination;
mod mailer;
mod objects;
mod outcomes;
mod runs;
mod submitters;

pub use bus::{Letter, MemoryBus, Message};
pub use coordination::MemoryCoordination;
pub use mailer::{MemoryMailer, Sent};
pub use objects::MemoryObjects;
pub use outcomes::MemoryOutcomes;
pub use runs::MemoryRuns;
pub use submitters::MemorySubmitters;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The real time.
pub fn system_clock() -> Clock {
    Arc::new(Utc::now)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
