//! What is known of a host, and what follows for the requests to it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::super::latency::Latency;
use super::super::retry;
use super::Cost;

/// Failures in a row, of more than one record, after which a host that answers is down.
const STREAK: u32 = 3;
/// Records that fail without one success between them, before a host that takes connections is
/// given up: so many bad records in a row are no accident.
const EVIDENCE: usize = 100;
/// Longest pause that a host gets by Retry-After. It is asked again then; a record that is told to
/// wait again loses no attempt by it.
const PAUSE: Duration = Duration::from_secs(30);

/// What is known of a host.
pub(super) struct State {
    /// Requests at once that are configured.
    most: f64,
    /// How long the host is waited for while it is down.
    patience: Duration,
    /// Requests at once that the host bears, at least 1.
    pub(super) limit: f64,
    latency: Latency,
    under_way: u32,
    /// No request before this.
    not_before: Option<Instant>,
    /// Whether it has ever answered well.
    answered: bool,
    /// Pauses since the last good answer.
    pauses: u32,
    /// Failures since the last good answer, and the rows that failed (at most [`EVIDENCE`]).
    streak: u32,
    failing: HashSet<u32>,
    /// Rows that were told to wait; two are enough to know.
    throttled: HashSet<u32>,
    /// Since when it is down, and why.
    down: Option<(Instant, String)>,
    /// Whether the last failure was to connect.
    unreachable: bool,
    probing: bool,
    /// Tries of the host while it was down.
    probes: u64,
}

/// Whether a request may be sent now.
pub(super) enum Leave {
    /// It may; `probe` where it tries whether the host is up again.
    Sent { probe: bool },
    /// Not before then, or before something changes.
    Waits(Option<Instant>),
}

impl State {
    pub(super) fn new(most: f64, patience: Duration) -> State {
        State {
            most,
            patience,
            limit: most,
            latency: Latency::default(),
            under_way: 0,
            not_before: None,
            answered: false,
            pauses: 0,
            streak: 0,
            failing: HashSet::new(),
            throttled: HashSet::new(),
            down: None,
            unreachable: false,
            probing: false,
            probes: 0,
        }
    }

    /// Lets a request go, or not yet; an error where the host is given up. `waits_for` is the try
    /// of a host given up that the record waits for.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        waits_for: &mut Option<u64>,
    ) -> Result<Leave, String> {
        let given_up = self.given_up(now);
        let paused = self.not_before.filter(|at| *at > now && !given_up);
        match &self.down {
            Some((since, reason)) if waits_for.is_some_and(|n| n != self.probes) => {
                return Err(format!(
                    "not tried, for the host has been down for {} s: {reason}",
                    since.elapsed().as_secs()
                ));
            }
            Some(_) if paused.is_some() || self.probing => {
                if given_up {
                    *waits_for = Some(self.probes);
                }
                return Ok(Leave::Waits(paused));
            }
            Some(_) => self.probing = true,
            None if paused.is_some() => return Ok(Leave::Waits(paused)),
            None if f64::from(self.under_way) + 1.0 > self.limit => return Ok(Leave::Waits(None)),
            None => {}
        }
        self.under_way += 1;
        Ok(Leave::Sent {
            probe: self.down.is_some(),
        })
    }

    /// A request is over, however it went.
    pub(super) fn leave(&mut self, probe: bool) {
        self.under_way -= 1;
        if probe {
            self.probing = false;
            self.probes += 1;
        }
    }

    /// The host works, and took so long where that is known.
    pub(super) fn good(&mut self, took: Option<Duration>) {
        let at_once = self.limit;
        let slower = took.and_then(|took| self.latency.learn(took, at_once));
        if slower == Some(true) {
            // A quarter of what is configured stays, as nothing says that less would help.
            let least = (self.most / 4.0).max(1.0).min(self.limit);
            self.limit = (self.limit * 0.75).max(least);
            tracing::debug!(limit = self.limit, "the host has become slow");
        } else if !self.latency.is_slow() {
            self.limit = (self.limit + 1.0 / self.limit).min(self.most);
        }
        self.answered = true;
        self.streak = 0;
        self.failing.clear();
        self.pauses = 0;
        self.down = None;
    }

    /// The host asks for less, for so long where it says.
    pub(super) fn throttled(&mut self, now: Instant, row: u32, asked: Option<Duration>) -> Cost {
        if self.throttled.len() < 2 {
            self.throttled.insert(row);
        }
        if self.throttled.len() < 2 {
            return Cost::Wait(asked);
        }
        if self.pause(now, asked.map(|a| a.min(PAUSE)), Duration::MAX) {
            self.limit = (self.limit / 2.0).max(1.0);
        }
        match self.answered {
            true => Cost::Time,
            false => Cost::Attempt,
        }
    }

    /// The host does not work, or not for this record; see [`super::Sign::Bad`].
    pub(super) fn bad(
        &mut self,
        now: Instant,
        row: u32,
        probe: bool,
        connect: bool,
        reason: String,
    ) -> Cost {
        self.streak += 1;
        self.unreachable = connect;
        if self.failing.len() < EVIDENCE {
            self.failing.insert(row);
        }
        let all = self.streak >= STREAK && self.failing.len() > 1;
        if self.down.is_none() && self.answered && (connect || all) {
            tracing::warn!(reason, "the host is down; its records wait");
            self.down = Some((now, reason));
        }
        if self.down.is_none() {
            return Cost::Attempt;
        }
        if self.given_up(now) {
            return Cost::All;
        }
        // 5 s and 1 s where the patience is 2 minutes: what takes no connection needs longer to
        // come back.
        let longest = self.patience / if connect { 24 } else { 120 };
        self.pause(now, None, longest);
        match connect || !probe {
            true => Cost::Time,
            false => Cost::Attempt,
        }
    }

    /// Whether it is down for so long and so surely that records need not wait for it.
    fn given_up(&self, now: Instant) -> bool {
        let long = self
            .down
            .as_ref()
            .is_some_and(|(since, _)| now >= *since + self.patience);
        long && (self.unreachable || self.failing.len() >= EVIDENCE)
    }

    /// Makes a pause, longer with each one since the last good answer, or keeps to the one that
    /// there is: what was under way together fails together, and is one sign. Whether it is new.
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
