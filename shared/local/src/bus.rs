//! The durable queue between stages, in `cloud.db`: what SNS, EventBridge and Lambda's own
//! queue for asynchronous invocations are in AWS.
//!
//! Payloads are the envelopes that AWS sends (see the crate `rowmill-events`).

use std::time::Duration;

use chrono::Utc;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, params};
use serde_json::Value;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        target TEXT NOT NULL,
        payload TEXT NOT NULL,
        due INTEGER NOT NULL,              -- epoch milliseconds
        failures INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS message_due ON message (due, id);
    CREATE TABLE IF NOT EXISTS dead_letter (
        id INTEGER PRIMARY KEY,            -- the message's
        target TEXT NOT NULL,
        payload TEXT NOT NULL,
        error TEXT NOT NULL,
        died INTEGER NOT NULL              -- epoch milliseconds
    );
";

/// The stage that a message enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// An object was put into the inbox.
    Split,
    /// A run's manifest is written.
    Submit,
    /// A job ended, or a run failed.
    Report,
    /// A run was reported, or the schedule calls for a sweep.
    Cleanup,
}

impl Target {
    /// All stages that messages enter, in the order of the flow.
    pub const ALL: [Target; 4] = [
        Target::Split,
        Target::Submit,
        Target::Report,
        Target::Cleanup,
    ];

    /// Its name: `split`, `submit`, `report`, `cleanup`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Split => "split",
            Target::Submit => "submit",
            Target::Report => "report",
            Target::Cleanup => "cleanup",
        }
    }

    /// The target of that name.
    pub fn parse(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Bad weather for tests, the same for the same seed: every message may be delivered twice and
/// late, so that messages overtake each other. AWS promises at least once and no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Decides, together with the message's number, what happens to it.
    pub seed: u64,
}

impl Chaos {
    /// Longest delay of a copy. Long against a stage's work on one event, short against a test.
    const DELAY_MAX: Duration = Duration::from_millis(50);

    /// How late each copy of a message is delivered: one or two copies.
    fn delays(self, message: i64) -> Vec<Duration> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (message as u64).rotate_left(32));
        let copies = if rng.random_bool(0.5) { 2 } else { 1 };
        (0..copies)
            .map(|_| rng.random_range(Duration::ZERO..=Chaos::DELAY_MAX))
            .collect()
    }
}

/// Puts a message for `target` on the queue, for delivery at once. It is there when the
/// transaction that `conn` is in commits; without one, when this returns.
///
/// # Errors
/// What SQLite answers.
pub fn enqueue(
    conn: &Connection,
    chaos: Option<&Chaos>,
    target: Target,
    payload: &Value,
) -> rusqlite::Result<()> {
    let mut insert =
        conn.prepare_cached("INSERT INTO message (target, payload, due) VALUES (?1, ?2, ?3)")?;
    let payload = payload.to_string();
    let now = Utc::now().timestamp_millis();
    let delays = match chaos {
        Some(chaos) => chaos.delays(next_id(conn)?),
        None => vec![Duration::ZERO],
    };
    for delay in delays {
        let due = now + delay.as_millis() as i64;
        insert.execute(params![target.name(), payload, due])?;
    }
    Ok(())
}

fn next_id(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'message'",
    )?
    .query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chaos_is_the_same_for_the_same_seed_and_differs_between_messages() {
        let all = |seed| {
            (1..200)
                .map(|n| Chaos { seed }.delays(n))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        let twice = all(7).iter().filter(|d| d.len() == 2).count();
        assert!((60..140).contains(&twice), "{twice} of 199 came twice");
    }
}
