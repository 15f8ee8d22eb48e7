//! What a child knows about a host, and which requests that allows.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::super::latency::Latency;
use super::super::retry;
use super::Cost;

/// Consecutive failures, of more than one record, after which a host is down.
const FAILURES_MAX: u32 = 3;
/// Records that fail without a success between them before a host that accepts connections is
/// abandoned. That many bad records in a row are not a coincidence.
const FAILED_ROWS_MAX: usize = 100;
/// Longest pause that Retry-After can impose on all records. After it the host is asked again; a
/// record that is throttled again loses no attempt.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a child knows about a host.
pub(super) struct HostState {
    /// Concurrent requests that the step allows.
    max: f64,
    /// How long records wait while the host is down.
    host_wait: Duration,
    /// Concurrent requests that the host can handle, at least 1.
    pub(super) limit: f64,
    latency: Latency,
    in_flight: u32,
    /// No request before this time.
    not_before: Option<Instant>,
    /// Whether the host has ever been healthy.
    answered: bool,
    /// Pauses since the last success.
    pauses: u32,
    /// Failures since the last success, and the rows that failed (at most [`FAILED_ROWS_MAX`]).
    failures: u32,
    failed_rows: HashSet<u32>,
    /// Rows that were throttled; at most two are kept.
    throttled_rows: HashSet<u32>,
    /// Since when the host is down, and why.
    down: Option<(Instant, String)>,
    /// Whether the last failure was a failure to connect.
    unreachable: bool,
    probing: bool,
    /// Probes that have ended.
    probes: u64,
}

/// Whether a request may be sent now.
pub(super) enum Admission {
    /// Yes. `probe`: this request tests whether the host is up again.
    Granted { probe: bool },
    /// No: ask again at this time, or when something changes.
    Wait(Option<Instant>),
}

impl HostState {
    pub(super) fn new(max: f64, host_wait: Duration) -> HostState {
        HostState {
            max,
            host_wait,
            limit: max,
            latency: Latency::default(),
            in_flight: 0,
            not_before: None,
            answered: false,
            pauses: 0,
            failures: 0,
            failed_rows: HashSet::new(),
            throttled_rows: HashSet::new(),
            down: None,
            unreachable: false,
            probing: false,
            probes: 0,
        }
    }

    /// Decides whether a request may be sent. `waits_for` remembers, between calls for one record,
    /// the probe of an abandoned host that the record waits for.
    ///
    /// # Errors
    /// The host is abandoned, and the probe that the record waited for has ended.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        waits_for: &mut Option<u64>,
    ) -> Result<Admission, String> {
        let abandoned = self.abandoned(now);
        let paused = self.not_before.filter(|at| *at > now && !abandoned);
        match &self.down {
            Some((since, reason)) if waits_for.is_some_and(|n| n != self.probes) => {
                return Err(format!(
                    "not attempted: the host has been down for {} s: {reason}",
                    since.elapsed().as_secs()
                ));
            }
            Some(_) if paused.is_some() || self.probing => {
                if abandoned {
                    *waits_for = Some(self.probes);
                }
                return Ok(Admission::Wait(paused));
            }
            Some(_) => self.probing = true,
            None if paused.is_some() => return Ok(Admission::Wait(paused)),
            None if f64::from(self.in_flight) + 1.0 > self.limit => {
                return Ok(Admission::Wait(None));
            }
            None => {}
        }
        self.in_flight += 1;
        Ok(Admission::Granted {
            probe: self.down.is_some(),
        })
    }

    /// A request has ended, with any result.
    pub(super) fn release(&mut self, probe: bool) {
        self.in_flight -= 1;
        if probe {
            self.probing = false;
            self.probes += 1;
        }
    }

    /// The host answered, after `latency` if that was measured.
    pub(super) fn healthy(&mut self, latency: Option<Duration>) {
        let limit = self.limit;
        let slow = latency.and_then(|latency| self.latency.record(latency, limit));
        if slow == Some(true) {
            // A quarter of the configured limit remains: nothing indicates that less would help.
            let min = (self.max / 4.0).max(1.0).min(self.limit);
            self.limit = (self.limit * 0.75).max(min);
            tracing::debug!(limit = self.limit, "the host has become slow");
        } else if !self.latency.is_slow() {
            self.limit = (self.limit + 1.0 / self.limit).min(self.max);
        }
        self.answered = true;
        self.failures = 0;
        self.failed_rows.clear();
        self.pauses = 0;
        self.down = None;
    }

    /// The host asked for fewer requests, and perhaps for a pause.
    pub(super) fn throttled(&mut self, now: Instant, row: u32, pause: Option<Duration>) -> Cost {
        if self.throttled_rows.len() < 2 {
            self.throttled_rows.insert(row);
        }
        if self.throttled_rows.len() < 2 {
            return Cost::Wait(pause);
        }
        if self.pause(now, pause.map(|pause| pause.min(PAUSE_MAX)), Duration::MAX) {
            self.limit = (self.limit / 2.0).max(1.0);
        }
        match self.answered {
            true => Cost::Time,
            false => Cost::Attempt,
        }
    }

    /// An attempt failed; see [`super::HostSignal::Failing`].
    pub(super) fn failing(
        &mut self,
        now: Instant,
        row: u32,
        probe: bool,
        connect: bool,
        reason: String,
    ) -> Cost {
        self.failures += 1;
        self.unreachable = connect;
        if self.failed_rows.len() < FAILED_ROWS_MAX {
            self.failed_rows.insert(row);
        }
        let repeated = self.failures >= FAILURES_MAX && self.failed_rows.len() > 1;
        if self.down.is_none() && self.answered && (connect || repeated) {
            tracing::warn!(reason, "the host is down; records wait for it");
            self.down = Some((now, reason));
        }
        if self.down.is_none() {
            return Cost::Attempt;
        }
        if self.abandoned(now) {
            return Cost::All;
        }
        // 5 s or 1 s for a wait of 2 minutes: a host that accepts no connection takes longer to
        // come back.
        let longest = self.host_wait / if connect { 24 } else { 120 };
        self.pause(now, None, longest);
        match connect || !probe {
            true => Cost::Time,
            false => Cost::Attempt,
        }
    }

    /// Whether records no longer wait for the host.
    fn abandoned(&self, now: Instant) -> bool {
        let long = self
            .down
            .as_ref()
            .is_some_and(|(since, _)| now >= *since + self.host_wait);
        long && (self.unreachable || self.failed_rows.len() >= FAILED_ROWS_MAX)
    }

    /// Starts a pause, longer with each one since the last success, unless one is already running:
    /// requests that were in flight together fail together and count once. Returns whether the
    /// pause is new.
    fn pause(&mut self, now: Instant, asked: Option<Duration>, longest: Duration) -> bool {
        let new = self.not_before.is_none_or(|at| at <= now);
        if new {
            self.pauses += 1;
        }
        let until = now + retry::wait(self.pauses.max(1), asked).min(longest);
        if new || asked.is_some() {
            self.not_before = self.not_before.max(Some(until));
        }
        new
    }
}
