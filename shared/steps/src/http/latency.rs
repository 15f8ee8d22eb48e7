//! Whether a host has become slow: the median of its last answers, against the best that it was.
//!
//! A median, since answers differ by what is asked for: a few slow ones say nothing, and a few
//! fast ones are no measure for the others. Against the best window and not a fixed time, so that
//! a host that always takes its time is not slow.

use std::time::Duration;

/// Fewest answers of a window.
const WINDOW: usize = 20;
/// What a median may be longer than the best in any case: networks vary.
const SLACK: f64 = 0.050;
/// How much longer the best is taken to be after each slow window: what stays slow with less at
/// once is not slow because of us, and gets back what it had after eight windows or so.
const FORGET: f64 = 1.1;

/// What is known of a host's answers.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Seconds, of the window under way.
    window: Vec<f64>,
    /// The best median so far.
    best: Option<f64>,
    slow: bool,
}

impl Latency {
    /// Takes note of an answer. At the end of a window, of two answers for each request at once,
    /// says whether the host was slow in it.
    pub(super) fn learn(&mut self, took: Duration, at_once: f64) -> Option<bool> {
        self.window.push(took.as_secs_f64());
        if self.window.len() < WINDOW.max(2 * at_once as usize) {
            return None;
        }
        let middle = self.window.len() / 2;
        let (_, median, _) = self.window.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        self.window.clear();
        let best = self.best.unwrap_or(median);
        self.slow = median > 2.0 * best + SLACK;
        self.best = Some(if self.slow {
            best * FORGET
        } else {
            best.min(median)
        });
        Some(self.slow)
    }

    /// Whether it was in the last window.
    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(latency: &mut Latency, of: impl Fn(usize) -> u64, count: usize) -> Vec<bool> {
        let took = (0..count).map(|i| Duration::from_millis(of(i)));
        took.filter_map(|t| latency.learn(t, 10.0)).collect()
    }

    #[test]
    fn a_host_that_always_takes_its_time_or_varies_is_not_slow() {
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
    fn one_that_becomes_slow_is_until_it_is_known_to_stay_so() {
        let mut latency = Latency::default();
        assert_eq!(windows(&mut latency, |_| 100, 40), [false, false]);
        assert_eq!(windows(&mut latency, |_| 240, 20), [false], "within bounds");
        let slow = windows(&mut latency, |_| 400, 400);
        let first = slow.iter().position(|slow| !slow).unwrap();
        assert!((4..10).contains(&first), "{slow:?}");
        assert!(slow[first..].iter().all(|slow| !slow));
    }
}
