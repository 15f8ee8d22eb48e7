//! Tests that measure rates and times. They are a binary of their own and run one after another,
//! because load from other tests would change what they measure.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod rate;

/// Waits until no other test measures. `cargo test` runs the tests of a binary in parallel.
fn alone() -> MutexGuard<'static, ()> {
    static MEASURING: Mutex<()> = Mutex::new(());
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}
