//! Starts attempts while there are free slots, waits for them, and records how they ended.
//!
//! Each round writes the ends since the last round and its own starts in one transaction, so that
//! many short children share the wait for the disk. A program is started before its start is
//! written. If the host is killed in between, no state mentions the child: it ends at the end of its
//! standard input, or the next [`LocalBatch::open`] kills it. It is then started a second time,
//! which is allowed for every child.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::BoxFuture};
use rowmill_domain::limits;
use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::exit::AttemptExit;
use super::job::Launch;
use super::machine::Machine;
use super::process::{Attempt, Interrupt};
use super::unit::Unit;
use super::{LocalBatch, now};
use crate::{LocalError, RunScope};

/// The running attempts.
#[derive(Default)]
struct ActiveAttempts {
    attempts: FuturesUnordered<BoxFuture<'static, (Unit, AttemptExit)>>,
    interrupts: HashMap<Unit, mpsc::UnboundedSender<Interrupt>>,
}

impl ActiveAttempts {
    fn add(
        &mut self,
        unit: Unit,
        attempt: Attempt,
        limit: Option<Duration>,
        memory_mib: Option<u32>,
        grace: Duration,
    ) {
        let (interrupts, received) = mpsc::unbounded_channel();
        self.interrupts.insert(unit, interrupts);
        let end = attempt.supervise(limit, memory_mib, grace, received);
        self.attempts.push(end.map(move |end| (unit, end)).boxed());
    }

    fn interrupt(&self, unit: Unit, interrupt: Interrupt) {
        if let Some(interrupts) = self.interrupts.get(&unit) {
            // Fails if the attempt has just ended, which is fine.
            let _ = interrupts.send(interrupt);
        }
    }

    /// Waits until an attempt ends. Returns all attempts that have ended.
    async fn ended(&mut self) -> Vec<(Unit, AttemptExit)> {
        let mut ended: Vec<_> = self.attempts.next().await.into_iter().collect();
        while let Some(Some(end)) = self.attempts.next().now_or_never() {
            ended.push(end);
        }
        for (unit, _) in &ended {
            self.interrupts.remove(unit);
        }
        ended
    }
}

impl LocalBatch {
    /// Runs jobs until `stop` becomes true or its sender is dropped. Running attempts then get
    /// SIGTERM, and SIGKILL 30 seconds later; those that do not succeed become RUNNABLE again and
    /// lose no attempt. A second call waits until the first returns.
    ///
    /// Dropping the future kills all running attempts; the next [`LocalBatch::open`] makes them
    /// RUNNABLE again.
    ///
    /// # Errors
    /// The database cannot be read or written. All attempts are killed.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), LocalError> {
        self.run_scope(None, stop).await
    }

    /// Like [`LocalBatch::run`], for the jobs of one run. Others stay as they are.
    ///
    /// # Errors
    /// Those of [`LocalBatch::run`].
    pub async fn run_scope(
        &self,
        scope: Option<&RunScope>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), LocalError> {
        let inner = &self.inner;
        let mut received = inner.received.lock().await;
        // Attempts of a call that was dropped.
        self.transact(|machine| machine.lose_all(now()))?;
        let slots = inner.config.slots.max(1);
        let mut active = ActiveAttempts::default();
        let mut ended = Vec::new();
        let mut backoff = Backoff::new(inner.config.clock_scale);
        let mut stopping = false;
        loop {
            let free = if stopping {
                0
            } else {
                slots - active.attempts.len()
            };
            let started = self.start_programs(free, &backoff, scope)?;
            let more = self.record(
                &mut active,
                &mut ended,
                started,
                &mut backoff,
                scope,
                stopping,
            )?;
            if more && !stopping && active.attempts.len() < slots {
                continue;
            }
            if stopping && active.attempts.is_empty() {
                return Ok(());
            }
            tokio::select! {
                new = active.ended(), if !active.attempts.is_empty() => ended = new,
                Some((unit, interrupt)) = received.recv() => active.interrupt(unit, interrupt),
                () = inner.wake.notified() => {}
                () = backoff.over(), if !stopping && active.attempts.len() < slots => {}
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    for unit in active.interrupts.keys() {
                        active.interrupt(*unit, Interrupt::Terminate);
                    }
                }
            }
        }
    }

    /// Starts the programs of the first `max` units that wait for capacity, and not for the time of
    /// their next attempt.
    fn start_programs(
        &self,
        max: usize,
        backoff: &Backoff,
        scope: Option<&RunScope>,
    ) -> Result<Vec<(Launch, io::Result<Attempt>)>, LocalError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let launches = self.transact(|machine| launches(machine, max, backoff, scope))?;
        let config = &self.inner.config;
        let start = |launch: Launch| {
            let attempt = Attempt::start(config, &launch);
            (launch, attempt)
        };
        Ok(launches.into_iter().map(start).collect())
    }

    /// Saves which attempts ended and started. Returns whether more units wait for capacity.
    fn record(
        &self,
        active: &mut ActiveAttempts,
        ended: &mut Vec<(Unit, AttemptExit)>,
        started: Vec<(Launch, io::Result<Attempt>)>,
        backoff: &mut Backoff,
        scope: Option<&RunScope>,
        stopping: bool,
    ) -> Result<bool, LocalError> {
        let now = now();
        let (kept, more) = self.transact(|machine| {
            for (unit, end) in ended.drain(..) {
                let interrupted = stopping && matches!(end, AttemptExit::Exited(code) if code != 0);
                if interrupted {
                    machine.lost(unit, now);
                } else {
                    machine.ended(unit, &end, now);
                    // Another host can start it at once.
                    if end != AttemptExit::HostTerminated && machine.is_runnable(unit) {
                        backoff.failed(unit);
                    }
                }
            }
            let mut kept = Vec::new();
            for (launch, attempt) in started {
                match attempt {
                    // If a call ended the unit in the meantime, the attempt is dropped and killed.
                    Ok(attempt) => {
                        self.set_cannot_start(None);
                        backoff.started(launch.unit);
                        if machine.start(launch.unit, now) {
                            kept.push((launch, attempt));
                        }
                    }
                    // The cause is this machine: a file that is replaced, a limit on processes,
                    // descriptors or memory, a full disk. It costs no attempt unless it lasts.
                    Err(error) if backoff.not_started(launch.unit) => {
                        tracing::warn!(job = launch.id, %error, "cannot start a child; retrying");
                        self.set_cannot_start(Some(error.to_string()));
                    }
                    Err(error) => machine.not_started(launch.unit, error.to_string(), now),
                }
            }
            backoff.forget(|unit| machine.is_over(unit));
            let more = !launches(machine, 1, backoff, scope).is_empty();
            (kept, more)
        })?;
        let grace = self.scaled(limits::STOP_TIMEOUT_SECONDS);
        for (launch, attempt) in kept {
            let limit = launch.spec.timeout_seconds.map(|s| self.scaled(s));
            active.add(launch.unit, attempt, limit, launch.spec.memory_mib, grace);
        }
        Ok(more)
    }
}

/// The first `max` units, or those of one run, that wait for capacity, and not for the time of their next attempt.
fn launches(
    machine: &Machine,
    max: usize,
    backoff: &Backoff,
    scope: Option<&RunScope>,
) -> Vec<Launch> {
    let in_scope = |unit: Unit| {
        let Some(run) = scope else { return true };
        let job = machine.job(unit.job);
        job.is_some_and(|job| run.has_job(&job.spec.name))
    };
    machine.launches(max, |unit| backoff.holds(unit) || !in_scope(unit))
}
