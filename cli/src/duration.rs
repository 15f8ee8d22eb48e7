//! Times as people read them.

use std::time::Duration;

/// A duration as `3.2 s` or `4 min 10 s`.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// Seconds as a clock shows them: `0:16`, `12:05` or `2:00:00`.
pub(crate) fn clock(seconds: f64) -> String {
    // The cast saturates, so even an absurd estimate prints.
    let s = seconds.ceil() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_clocks_are_readable() {
        assert_eq!(human(Duration::from_millis(3240)), "3.2 s");
        assert_eq!(human(Duration::from_secs(250)), "4 min 10 s");
        assert_eq!(clock(15.2), "0:16");
        assert_eq!(clock(7200.0), "2:00:00");
    }
}
