//! The durable queue between stages, in `cloud.db`: what SNS, EventBridge and Lambda's own
//! queue for asynchronous invocations are in AWS.
//!
//! Payloads are the envelopes that AWS sends (see the crate `rowmill-events`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use crate::{Cloud, LocalError};

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

/// A message that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The message's number.
    pub id: i64,
    /// Where it was to go.
    pub target: Target,
    /// The envelope.
    pub payload: Value,
    /// What the last try answered.
    pub error: String,
    /// When it was given up.
    pub died: DateTime<Utc>,
}

/// Messages that were given up, oldest first. They are kept until somebody looks.
///
/// # Errors
/// The database cannot be read.
pub fn dead_letters(cloud: &Cloud) -> Result<Vec<DeadLetter>, LocalError> {
    cloud.with(|conn| {
        let mut select = conn.prepare_cached(
            "SELECT id, target, payload, error, died FROM dead_letter ORDER BY died, id",
        )?;
        let rows = select.query_map([], |row| {
            Ok(DeadLetter {
                id: row.get(0)?,
                target: target_column(row, 1)?,
                payload: payload_column(row, 2)?,
                error: row.get(3)?,
                died: DateTime::from_timestamp_millis(row.get(4)?).unwrap_or_default(),
            })
        })?;
        rows.collect()
    })
}

/// Puts a message that was given up back on the queue, under its number, so that it resumes the
/// claims that it took. Nothing happens where there is none of that number.
///
/// # Errors
/// The database fails.
pub fn redrive(cloud: &Cloud, id: i64) -> Result<(), LocalError> {
    cloud.with(|conn| {
        let transaction = conn.transaction()?;
        transaction.execute(
            "INSERT INTO message (id, target, payload, due)
             SELECT id, target, payload, ?2 FROM dead_letter WHERE id = ?1",
            params![id, Utc::now().timestamp_millis()],
        )?;
        transaction.execute("DELETE FROM dead_letter WHERE id = ?1", [id])?;
        transaction.commit()
    })
}

/// What is on the queue, first due first, with what is being handled.
///
/// # Errors
/// The database cannot be read.
pub fn queue(cloud: &Cloud) -> Result<Vec<(Target, Value)>, LocalError> {
    let messages = cloud.with(|conn| first(conn, u32::MAX))?.into_iter();
    Ok(messages.map(|m| (m.target, m.payload)).collect())
}

/// A message as the dispatcher takes it from the queue.
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) target: Target,
    pub(crate) payload: Value,
    /// Epoch milliseconds.
    pub(crate) due: i64,
    pub(crate) failures: u32,
}

/// The messages that are due first, at most `limit`.
pub(crate) fn first(conn: &Connection, limit: u32) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(
        "SELECT id, target, payload, due, failures FROM message ORDER BY due, id LIMIT ?1",
    )?
    .query_map([limit], |row| {
        Ok(Message {
            id: row.get(0)?,
            target: target_column(row, 1)?,
            payload: payload_column(row, 2)?,
            due: row.get(3)?,
            failures: row.get(4)?,
        })
    })?
    .collect()
}

/// Takes a message off the queue for good.
pub(crate) fn remove(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM message WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Puts a message that failed back, to be tried again then.
pub(crate) fn postpone(conn: &Connection, id: i64, due: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE message SET failures = failures + 1, due = ?2 WHERE id = ?1")?
        .execute([id, due])?;
    Ok(())
}

/// Gives a message up: off the queue, among the dead letters.
pub(crate) fn bury(conn: &Connection, id: i64, error: &str, now: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO dead_letter (id, target, payload, error, died)
         SELECT id, target, payload, ?2, ?3 FROM message WHERE id = ?1",
    )?
    .execute(params![id, error, now])?;
    remove(conn, id)
}

fn target_column(row: &Row<'_>, at: usize) -> rusqlite::Result<Target> {
    let name = row.get_ref(at)?.as_str()?;
    Target::parse(name).ok_or_else(|| {
        let error = format!("`{name}` is no stage");
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into())
    })
}

fn payload_column(row: &Row<'_>, at: usize) -> rusqlite::Result<Value> {
    serde_json::from_str(row.get_ref(at)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into())
    })
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
