//! The local Batch and the runs of a ledger against a simple model of each, over random calls.

#[path = "states/batch.rs"]
mod batch;
#[path = "states/runs.rs"]
mod runs;

use std::future::Future;

/// Runs a call of a port. No adapter of these tests waits for anything but its own lock or thread.
fn call<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}
