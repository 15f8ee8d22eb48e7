//! How a child treats a host: as many requests at once as it bears, none while it asks for a
//! pause, and one at a time while it is down.
//!
//! - A host that throttles more than one record (429, or 503 with Retry-After) is left alone for
//!   as long as it asks and then gets half as many requests at once; each answer earns a part of
//!   one back. A single record that is told to wait waits alone.
//! - A host whose answers become slow gets less at once; see [`super::latency`].
//! - A host that answered before and now fails for several in a row is down (the circuit is
//!   open): one record at a time tries it and the others wait, losing no attempt. Where not even a
//!   connection is made, trying costs no attempt either. Else it does: the host may be well and
//!   these records bad, and then each ends after its own attempts and the next one tries.
//! - A host that stays down for [`PATIENCE`], to which no connection is made or which failed for
//!   100 records without one success, is given up: still one record at a time tries it,
//!   once, and those that waited for it meanwhile fail with it.

mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::state::{Leave, State};

/// How long a host that is down is waited for at least, and how long a record waits for one that
/// throttles. Restarts and failovers take less; a child has time left for its other records.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// One host's gate.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

/// How an attempt went, as far as the host is concerned.
pub(super) enum Sign {
    /// The host works, whatever it thinks of the request.
    Good,
    /// It asks for less: 429, or 503 with Retry-After.
    Throttled(Option<Duration>),
    /// It does not work, or not for this record; `connect` where not even a connection was made.
    Bad { connect: bool, reason: String },
    /// Nothing can be said.
    None,
}

/// What a failure costs the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// One of its attempts, and a wait of its own.
    Attempt,
    /// One of its attempts, and a wait of its own that is no shorter than this.
    Wait(Option<Duration>),
    /// Nothing but time: the host is at fault, and the gate says when to try again.
    Time,
    /// All its attempts: the host is given up.
    All,
}

/// Leave to send one request. Dropped without [`Permit::exit`], it says nothing.
pub(super) struct Permit {
    gate: Arc<Gate>,
    probe: bool,
    done: bool,
    took: Option<Duration>,
}

impl Gate {
    pub(super) fn new(most: usize, patience: Duration) -> Arc<Gate> {
        Arc::new(Gate {
            state: Mutex::new(State::new(most.max(1) as f64, patience)),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Waits for leave to send a request; an error where the host is given up.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Permit, String> {
        let mut waits_for = None;
        loop {
            // Listens before it looks, so that no change in between is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let leave = self.state().enter(Instant::now(), &mut waits_for)?;
            match leave {
                Leave::Sent { probe } => {
                    return Ok(Permit {
                        gate: self.clone(),
                        probe,
                        done: false,
                        took: None,
                    });
                }
                Leave::Waits(Some(at)) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                Leave::Waits(None) => changed.await,
            }
        }
    }
}

impl Permit {
    /// Notes how long the host took to answer.
    pub(super) fn took(&mut self, took: Duration) {
        self.took = Some(took);
    }

    /// Ends the request of the record of `row`, and says what its failure costs.
    pub(super) fn exit(mut self, row: u32, sign: Sign) -> Cost {
        self.done = true;
        let mut state = self.gate.state();
        state.leave(self.probe);
        let now = Instant::now();
        let cost = match sign {
            Sign::None => Cost::Attempt,
            Sign::Good => {
                state.good(self.took);
                Cost::Attempt
            }
            Sign::Throttled(asked) => state.throttled(now, row, asked),
            Sign::Bad { connect, reason } => state.bad(now, row, self.probe, connect, reason),
        };
        drop(state);
        self.gate.changed.notify_waiters();
        cost
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.done {
            self.gate.state().leave(self.probe);
            self.gate.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(connect: bool) -> Sign {
        Sign::Bad {
            connect,
            reason: "refused".into(),
        }
    }

    async fn enter(gate: &Arc<Gate>) -> Permit {
        gate.enter().await.ok().unwrap()
    }

    /// Whether a request would have to wait now.
    async fn waits(gate: &Arc<Gate>) -> bool {
        tokio::time::timeout(Duration::from_millis(5), gate.enter())
            .await
            .is_err()
    }

    #[tokio::test]
    async fn no_more_at_once_than_configured() {
        let gate = Gate::new(2, PATIENCE);
        let (first, second) = (enter(&gate).await, enter(&gate).await);
        assert!(waits(&gate).await);
        let third = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.is_ok() }
        });
        drop(first);
        assert!(third.await.unwrap());
        second.exit(1, Sign::Good);
    }

    #[tokio::test]
    async fn a_host_that_throttles_is_left_alone_and_gets_less() {
        let gate = Gate::new(8, PATIENCE);
        enter(&gate).await.exit(1, Sign::Good);
        let (a, b) = (enter(&gate).await, enter(&gate).await);
        let asked = Some(Duration::from_millis(400));
        let start = Instant::now();
        assert_eq!(a.exit(2, Sign::Throttled(asked)), Cost::Wait(asked));
        assert!(!waits(&gate).await, "one record's wait is its own");
        assert_eq!(b.exit(3, Sign::Throttled(asked)), Cost::Time);
        assert!(waits(&gate).await);
        let permits = [
            enter(&gate).await,
            enter(&gate).await,
            enter(&gate).await,
            enter(&gate).await,
        ];
        assert!(start.elapsed() >= Duration::from_millis(400));
        assert!(waits(&gate).await, "half of 8 at once");
        for permit in permits {
            permit.exit(2, Sign::Good);
        }
        assert!(gate.state().limit > 4.5);
    }

    #[tokio::test]
    async fn a_host_that_becomes_slow_gets_less_and_all_of_it_back() {
        let gate = Gate::new(16, PATIENCE);
        let answers = async |count: u32, took: u64| {
            for row in 0..count {
                let mut permit = enter(&gate).await;
                permit.took(Duration::from_millis(took));
                permit.exit(row, Sign::Good);
            }
            gate.state().limit
        };
        assert_eq!(answers(500, 200).await, 16.0);
        assert!(answers(80, 900).await < 16.0);
        assert!(answers(100, 900).await >= 4.0, "never below a quarter");
        // What stays slow is not slow because of us.
        assert_eq!(answers(1000, 900).await, 16.0);
        assert_eq!(answers(500, 200).await, 16.0);
    }

    #[tokio::test]
    async fn one_record_that_fails_is_its_own_affair() {
        let gate = Gate::new(2, PATIENCE);
        enter(&gate).await.exit(1, Sign::Good);
        for _ in 0..10 {
            assert_eq!(enter(&gate).await.exit(2, bad(false)), Cost::Attempt);
        }
        assert!(!waits(&gate).await);
    }

    #[tokio::test]
    async fn a_host_that_never_answered_costs_attempts() {
        let gate = Gate::new(2, PATIENCE);
        for row in 0..10 {
            assert_eq!(enter(&gate).await.exit(row, bad(true)), Cost::Attempt);
        }
    }

    #[tokio::test]
    async fn a_host_that_fails_for_all_is_tried_by_one_at_a_time_until_it_is_back() {
        let gate = Gate::new(4, PATIENCE);
        enter(&gate).await.exit(1, Sign::Good);
        let permits = [enter(&gate).await, enter(&gate).await, enter(&gate).await];
        let costs: Vec<Cost> = (2..)
            .zip(permits)
            .map(|(row, permit)| permit.exit(row, bad(false)))
            .collect();
        assert_eq!(costs, [Cost::Attempt, Cost::Attempt, Cost::Time]);
        let probe = enter(&gate).await;
        assert!(probe.probe && waits(&gate).await);
        // A probe that is given up leaves the way to another, and one that fails costs an attempt:
        // the record may be bad, and the host well.
        drop(probe);
        assert_eq!(enter(&gate).await.exit(2, bad(false)), Cost::Attempt);
        let probe = enter(&gate).await;
        assert!(probe.probe);
        probe.exit(2, Sign::Good);
        assert!(!enter(&gate).await.probe);
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_reached_is_given_up_but_tried_again_and_again() {
        let gate = Gate::new(4, Duration::from_millis(300));
        enter(&gate).await.exit(1, Sign::Good);
        assert_eq!(enter(&gate).await.exit(2, bad(true)), Cost::Time);
        tokio::time::sleep(Duration::from_millis(310)).await;
        assert_eq!(enter(&gate).await.exit(2, bad(true)), Cost::All);
        // Who waits for a try fails with it.
        let probe = enter(&gate).await;
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.err() }
        });
        // One thread: the other task runs until it waits.
        tokio::task::yield_now().await;
        assert_eq!(probe.exit(3, bad(true)), Cost::All);
        let refused = waiting.await.unwrap().unwrap();
        assert!(refused.starts_with("not tried, for the host has been down"));
        assert!(refused.ends_with("refused"));
        enter(&gate).await.exit(4, Sign::Good);
        assert!(!waits(&gate).await);
    }

    #[tokio::test]
    async fn bad_records_in_a_row_end_by_their_own_attempts_and_cost_no_other_its_result() {
        let gate = Gate::new(1, Duration::from_millis(200));
        enter(&gate).await.exit(1, Sign::Good);
        let start = Instant::now();
        for row in 2..50 {
            for _ in 0..4 {
                let cost = enter(&gate).await.exit(row, bad(false));
                // The one that opens the circuit was no try of a host that is down.
                assert!(
                    matches!(cost, Cost::Attempt | Cost::Time),
                    "{row}: {cost:?}"
                );
            }
        }
        assert!(start.elapsed() > Duration::from_millis(200));
        enter(&gate).await.exit(50, Sign::Good);
        assert!(!waits(&gate).await);
    }

    #[tokio::test]
    async fn a_host_that_fails_for_very_many_is_given_up() {
        let gate = Gate::new(1, Duration::from_millis(50));
        enter(&gate).await.exit(1, Sign::Good);
        let mut costs = Vec::new();
        for row in 2..150 {
            costs.push(enter(&gate).await.exit(row, bad(false)));
        }
        assert!(!costs[..99].contains(&Cost::All));
        assert_eq!(costs.last(), Some(&Cost::All));
    }
}
