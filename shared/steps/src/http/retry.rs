//! What is worth another attempt, and when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng;
use reqwest::StatusCode;

/// The wait before the second attempt, doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait of our own choosing.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait that a source can ask for by Retry-After; a longer one is cut to this, so
/// that no header can hold a child until its time limit.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// Whether a status is likely to be another one later: timeouts (408, 504, 522, 524), too many
/// requests (429), and errors of the server or of what stands before it (500, 502, 503).
pub(super) fn is_retryable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        408 | 429 | 500 | 502 | 503 | 504 | 522 | 524
    )
}

/// How long to wait after the failed attempt number `attempt` (from 1): exponential with jitter,
/// between half and all of it, so that clients that failed together do not come back together;
/// and never less than the source asked for.
pub(super) fn wait(attempt: u32, asked: Option<Duration>) -> Duration {
    let full = FIRST_WAIT
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(LONGEST_WAIT);
    let jittered = full.mul_f64(rand::rng().random_range(0.5..=1.0));
    jittered.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// Reads a Retry-After: seconds, or a date in any of the three forms (RFC 9110, sections 10.2.3
/// and 5.6.7). A date gone by is no wait.
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
    fn waits_grow_jitter_and_end() {
        for _ in 0..100 {
            for (attempt, full) in [(1, 250), (2, 500), (3, 1000), (8, 30_000), (40, 30_000)] {
                let ms = wait(attempt, None).as_millis();
                assert!((full / 2..=full).contains(&ms), "{attempt}: {ms}");
            }
        }
        let asked = |s| wait(1, Some(Duration::from_secs(s)));
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(86_400), LONGEST_ASKED);
        assert!(asked(0) >= FIRST_WAIT / 2);
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

    #[test]
    fn the_statuses_tried_again() {
        let again: Vec<u16> = (100..600)
            .filter(|s| is_retryable(StatusCode::from_u16(*s).unwrap()))
            .collect();
        assert_eq!(again, [408, 429, 500, 502, 503, 504, 522, 524]);
    }
}
