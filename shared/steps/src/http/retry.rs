//! When a request is retried.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng;

/// The wait before the second attempt. It doubles for each further attempt.
const WAIT_MIN: Duration = Duration::from_millis(250);
/// The longest wait without Retry-After.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest wait with Retry-After. Longer values are capped, so that a header cannot block a
/// child until its time limit.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// The wait after failed attempt number `attempt` (from 1): exponential backoff, but at least
/// `retry_after`. Jitter reduces it by up to half, so that clients that failed together do not retry
/// together.
pub(super) fn wait(attempt: u32, retry_after: Option<Duration>) -> Duration {
    let full = WAIT_MIN
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(WAIT_MAX);
    let jittered = full.mul_f64(rand::rng().random_range(0.5..=1.0));
    jittered.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// Parses a Retry-After header: seconds, or a date in any of the three forms (RFC 9110, sections
/// 10.2.3 and 5.6.7). A date in the past means no wait.
pub(super) fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::<Utc>::from(httpdate::parse_http_date(header).ok()?);
    Some((until - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_jitter_up_to_a_maximum() {
        for _ in 0..100 {
            for (attempt, full) in [(1, 250), (2, 500), (3, 1000), (8, 30_000), (40, 30_000)] {
                let ms = wait(attempt, None).as_millis();
                assert!((full / 2..=full).contains(&ms), "{attempt}: {ms}");
            }
        }
        let with_header = |s| wait(1, Some(Duration::from_secs(s)));
        assert_eq!(with_header(7), Duration::from_secs(7));
        assert_eq!(with_header(86_400), RETRY_AFTER_MAX);
        assert!(with_header(0) >= WAIT_MIN / 2);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        for (header, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sat, 21 Nov 2026 10:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("Saturday, 21-Nov-26 10:01:30 GMT", Some(90)),
            ("Sat Nov 21 10:01:30 2026", Some(90)),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
            ("", None),
        ] {
            let found = retry_after(header, now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{header}");
        }
    }
}
