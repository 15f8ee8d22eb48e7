//! Detects when a host becomes slow: compares the median latency of its last answers with its best
//! median.
//!
//! The median, because requests differ: a few slow or fast answers say nothing about the others.
//! The best median instead of a fixed time, because a host that is always slow has not become slow.

use std::time::Duration;

/// Fewest answers in a window.
const WINDOW_MIN: usize = 20;
/// Seconds that a median may always exceed the best one: network latency varies.
const SLACK: f64 = 0.050;
/// Factor by which the best median grows after each slow window. A host that stays slow at a lower
/// limit is not slow because of our requests; it gets its old limit back after about eight windows.
const DECAY: f64 = 1.1;

/// The latency of a host's answers.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Latencies in the current window, in seconds.
    window: Vec<f64>,
    /// The best median so far, in seconds.
    best: Option<f64>,
    slow: bool,
}

impl Latency {
    /// Adds an answer. Returns, at the end of a window, whether the host was slow in it. A window
    /// has two answers for each of the `limit` concurrent requests.
    pub(super) fn record(&mut self, latency: Duration, limit: f64) -> Option<bool> {
        self.window.push(latency.as_secs_f64());
        if self.window.len() < WINDOW_MIN.max(2 * limit as usize) {
            return None;
        }
        let middle = self.window.len() / 2;
        let (_, median, _) = self.window.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        self.window.clear();
        let best = self.best.unwrap_or(median);
        self.slow = median > 2.0 * best + SLACK;
        self.best = Some(if self.slow {
            best * DECAY
        } else {
            best.min(median)
        });
        Some(self.slow)
    }

    /// Whether the host was slow in the last window.
    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(latency: &mut Latency, of: impl Fn(usize) -> u64, count: usize) -> Vec<bool> {
        let latencies = (0..count).map(|i| Duration::from_millis(of(i)));
        latencies.filter_map(|t| latency.record(t, 10.0)).collect()
    }

    #[test]
    fn a_host_with_constant_or_varying_latency_has_not_become_slow() {
        for of in [
            |_| 5,
            |_| 3000,
            |i| if i % 10 == 0 { 5 } else { 900 },
            |i| (i as u64 * 7919) % 400,
        ] {
            let mut latency = Latency::default();
            assert!(windows(&mut latency, of, 400).iter().all(|slow| !slow));
        }
    }

    #[test]
    fn a_host_that_becomes_slow_counts_as_normal_after_some_windows() {
        let mut latency = Latency::default();
        assert_eq!(windows(&mut latency, |_| 100, 40), [false, false]);
        assert_eq!(
            windows(&mut latency, |_| 240, 20),
            [false],
            "within the slack"
        );
        let slow = windows(&mut latency, |_| 400, 400);
        let first = slow.iter().position(|slow| !slow).unwrap();
        assert!((4..10).contains(&first), "{slow:?}");
        assert!(slow[first..].iter().all(|slow| !slow));
    }
}
