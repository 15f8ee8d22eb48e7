//! Starts attempts while there are slots, waits for them, and writes how they ended.
//!
//! What ended since the last round and what was started in this one is one transaction, so that
//! many short children share the wait for the disk. A program is started before its start is
//! written: a host that dies in between leaves a child that no state tells of, which ends at the
//! end of its standard input or is found at the next [`LocalBatch::open`]. It is then started a
//! second time, as every child may be.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::BoxFuture};
use rowmill_domain::limits;
use tokio::sync::{mpsc, watch};

use super::exit::AttemptEnd;
use super::job::Launch;
use super::process::{Attempt, Order};
use super::unit::Unit;
use super::{LocalBatch, now};
use crate::LocalError;

/// The attempts under way.
#[derive(Default)]
struct AtWork {
    attempts: FuturesUnordered<BoxFuture<'static, (Unit, AttemptEnd)>>,
    orders: HashMap<Unit, mpsc::UnboundedSender<Order>>,
}

impl AtWork {
    fn add(&mut self, unit: Unit, attempt: Attempt, limit: Option<Duration>, grace: Duration) {
        let (orders, received) = mpsc::unbounded_channel();
        self.orders.insert(unit, orders);
        let end = attempt.attend(limit, grace, received);
        self.attempts.push(end.map(move |end| (unit, end)).boxed());
    }

    fn order(&self, unit: Unit, order: Order) {
        if let Some(orders) = self.orders.get(&unit) {
            // One that has just ended needs no order.
            let _ = orders.send(order);
        }
    }

    /// Waits for an end, and takes all that are there with it.
    async fn ended(&mut self) -> Vec<(Unit, AttemptEnd)> {
        let mut ended: Vec<_> = self.attempts.next().await.into_iter().collect();
        while let Some(Some(end)) = self.attempts.next().now_or_never() {
            ended.push(end);
        }
        for (unit, _) in &ended {
            self.orders.remove(unit);
        }
        ended
    }
}

impl LocalBatch {
    /// Runs jobs until `stop` becomes true (or its sender is dropped): then attempts under way
    /// get SIGTERM, and SIGKILL 30 seconds later; those that did not succeed wait for a place
    /// again, without an attempt less, for the next call. One call at a time: a second one waits
    /// for the first.
    ///
    /// Dropped, it kills all attempts under way; the next [`LocalBatch::open`] takes them up.
    ///
    /// # Errors
    /// The database fails. All attempts are killed then.
    pub async fn work(&self, mut stop: watch::Receiver<bool>) -> Result<(), LocalError> {
        let inner = &self.inner;
        let mut received = inner.received.lock().await;
        // Those of a call that was dropped.
        self.transact(|machine| machine.lose_all(now()))?;
        let slots = inner.config.slots.max(1);
        let grace = self.scaled(limits::STOP_TIMEOUT_SECONDS);
        let mut at_work = AtWork::default();
        let mut ended = Vec::new();
        let mut stopping = false;
        loop {
            let free = if stopping {
                0
            } else {
                slots - at_work.attempts.len()
            };
            let started = self.start_programs(free)?;
            let more = self.record(&mut at_work, &mut ended, started, grace, stopping)?;
            if more && !stopping && at_work.attempts.len() < slots {
                continue;
            }
            if stopping && at_work.attempts.is_empty() {
                return Ok(());
            }
            tokio::select! {
                new = at_work.ended(), if !at_work.attempts.is_empty() => ended = new,
                Some((unit, order)) = received.recv() => at_work.order(unit, order),
                () = inner.wake.notified() => {}
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    for unit in at_work.orders.keys() {
                        at_work.order(*unit, Order::Stop);
                    }
                }
            }
        }
    }

    /// Starts the programs of the first `most` units that wait for a place.
    fn start_programs(
        &self,
        most: usize,
    ) -> Result<Vec<(Launch, io::Result<Attempt>)>, LocalError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let launches = self.transact(|machine| machine.launches(most))?;
        let config = &self.inner.config;
        let start = |launch: Launch| {
            let attempt = Attempt::start(config, &launch);
            (launch, attempt)
        };
        Ok(launches.into_iter().map(start).collect())
    }

    /// Writes what ended and what was started. Answers whether more waits for a place.
    fn record(
        &self,
        at_work: &mut AtWork,
        ended: &mut Vec<(Unit, AttemptEnd)>,
        started: Vec<(Launch, io::Result<Attempt>)>,
        grace: Duration,
        stopping: bool,
    ) -> Result<bool, LocalError> {
        let now = now();
        let (kept, more) = self.transact(|machine| {
            for (unit, end) in ended.drain(..) {
                let by_us = stopping && matches!(end, AttemptEnd::Exited(code) if code != 0);
                if by_us {
                    machine.lost(unit, now);
                } else {
                    machine.ended(unit, &end, now);
                }
            }
            let mut kept = Vec::new();
            for (launch, attempt) in started {
                match attempt {
                    // Ended by a call since it was picked: dropped, and so killed.
                    Ok(attempt) => {
                        if machine.start(launch.unit, now) {
                            kept.push((launch, attempt));
                        }
                    }
                    Err(error) => machine.not_started(launch.unit, error.to_string(), now),
                }
            }
            (kept, !machine.runnable(1).is_empty())
        })?;
        for (launch, attempt) in kept {
            let limit = launch.spec.timeout_seconds.map(|s| self.scaled(s));
            at_work.add(launch.unit, attempt, limit, grace);
        }
        Ok(more)
    }
}
