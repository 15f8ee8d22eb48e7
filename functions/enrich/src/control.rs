//! What a child tells about its work, and whether its run is stopped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rowmill_domain::limits::{BILLED_SECONDS_MIN, STOP_AFTER_SAMPLE};
use rowmill_domain::run::StopReason;
use rowmill_domain::tally::{CostRates, Tally};
use rowmill_domain::{Manifest, RunId, Status};
use rowmill_pipeline::{BatchSettings, Tolerance};
use rowmill_ports::{Outcomes, PortError, Runs, Topic};
use rowmill_runs::{request_stop, retry_transient};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::stage::Enrich;

/// The most reports per second of all children of a run together. A partition of DynamoDB takes 1,000
/// writes per second, and the one that holds all runs of a deployment serves 3,000 consistent reads.
/// Source: DynamoDB developer guide, "Best practices for designing and using partition keys".
const REPORTS_PER_SECOND: u32 = 250;
/// The shortest time between two reports of a child.
const REPORT_EVERY_MIN: Duration = Duration::from_secs(1);

/// Adds what a child does to the tally of its run, checks the limits of the run, and looks at the flag on
/// the run that stops all children.
pub(crate) struct Control<'a> {
    runs: &'a dyn Runs,
    outcomes: &'a dyn Outcomes,
    topic: &'a dyn Topic,
    run: RunId,
    phase: u16,
    every: Duration,
    max_cost: Option<f64>,
    stop_after: Option<Tolerance>,
    /// Known from the first look.
    rates: OnceLock<CostRates>,
    began: Instant,
    ok: AtomicU64,
    failed: AtomicU64,
    /// What is in the tally of the run.
    reported: Mutex<Tally>,
    /// Wakes [`Control::watch`] early.
    urgent: Notify,
    stopped: AtomicBool,
}

impl<'a> Control<'a> {
    /// Of a child that starts now. The more children its run has, the less often each of them reports.
    pub(crate) fn new(
        stage: &'a Enrich,
        manifest: &Manifest,
        batch: &BatchSettings,
        phase: u16,
    ) -> Control<'a> {
        let children: u32 = manifest.chunks.iter().map(|chunk| chunk.children).sum();
        Control {
            runs: &*stage.runs,
            outcomes: &*stage.outcomes,
            topic: &*stage.topic,
            run: manifest.run.clone(),
            phase,
            every: REPORT_EVERY_MIN.max(Duration::from_secs(1) * children / REPORTS_PER_SECOND),
            max_cost: batch.max_cost,
            stop_after: batch.stop_after,
            rates: OnceLock::new(),
            began: Instant::now(),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reported: Mutex::default(),
            urgent: Notify::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Whether the run was stopped at the last look.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Counts a record that this phase processed.
    pub(crate) fn count(&self, status: Status) {
        let counter = match status {
            Status::Ok => &self.ok,
            Status::Failed | Status::Missing => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if status != Status::Ok && self.is_above(&self.unreported()) {
            // Other children may be well, so this does not decide alone.
            self.urgent.notify_one();
        }
    }

    /// Looks whether the run is stopped.
    ///
    /// # Errors
    /// The run cannot be read.
    pub(crate) async fn look(&self) -> Result<bool, PortError> {
        let item = retry_transient(|| self.runs.find_run(&self.run)).await?;
        let Some(item) = item else {
            return Ok(self.is_stopped());
        };
        if let Some(rates) = item.cost_rates {
            // The same every time.
            let _ = self.rates.set(rates);
        }
        if let Some(stop) = item.stop {
            tracing::info!(%stop, "the run is stopped");
            self.stopped.store(true, Ordering::Relaxed);
        }
        Ok(self.is_stopped())
    }

    /// Reports and looks again and again, until the run is stopped.
    pub(crate) async fn watch(&self) {
        while !self.is_stopped() {
            tokio::select! {
                () = sleep(self.every) => {}
                () = self.urgent.notified() => {}
            }
            self.report().await;
            if !self.is_stopped()
                && let Err(error) = self.look().await
            {
                tracing::warn!(%error, "cannot see whether the run is stopped; looking again");
            }
        }
    }

    /// Adds what was done since the last report to the tally of the run, and stops the run if a limit is
    /// reached. A report that fails is repeated with the next one.
    pub(crate) async fn report(&self) {
        let more = self.unreported();
        let sum = match self.outcomes.add_tally(&self.run, &more).await {
            Ok(sum) => sum,
            Err(error) => {
                tracing::warn!(%error, "cannot report progress; trying again");
                return;
            }
        };
        self.reported().add(&more);
        if self.is_stopped() {
            return;
        }
        let Some(reason) = self.reached(&sum) else {
            return;
        };
        match request_stop(self.topic, &self.run, reason).await {
            Ok(()) => {
                tracing::info!("a limit of the run is reached");
                self.stopped.store(true, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "cannot stop the run; trying again"),
        }
    }

    /// What this child has done that is not in the tally.
    fn unreported(&self) -> Tally {
        let billed = self.began.elapsed().as_secs_f64().max(BILLED_SECONDS_MIN);
        let billed_ms = (billed * 1000.0) as u64;
        let reported = self.reported();
        let mut more = Tally {
            ok: self.ok.load(Ordering::Relaxed) - reported.ok,
            failed: self.failed.load(Ordering::Relaxed) - reported.failed,
            tasks: 1 - reported.tasks,
            billed_ms: Vec::new(),
        };
        let before: u64 = reported.billed_ms.iter().sum();
        more.add_billed(self.phase.into(), billed_ms.saturating_sub(before));
        more
    }

    fn reported(&self) -> MutexGuard<'_, Tally> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which limit is reached with this tally of the run.
    fn reached(&self, sum: &Tally) -> Option<StopReason> {
        if let (Some(limit), Some(rates)) = (self.max_cost, self.rates.get())
            && rates.cost(sum).total() > limit
        {
            return Some(StopReason::MaxCost { limit });
        }
        let limit = self.stop_after.filter(|_| self.is_above(sum))?;
        Some(StopReason::StopAfter {
            limit: limit.to_string(),
            failed: sum.failed,
            done: sum.done(),
        })
    }

    /// Whether more of these records failed than `stop_after` allows.
    fn is_above(&self, tally: &Tally) -> bool {
        match self.stop_after {
            Some(Tolerance::Share(_)) if tally.done() < STOP_AFTER_SAMPLE => false,
            Some(limit) => limit.is_exceeded(tally.failed, tally.done()),
            None => false,
        }
    }
}
