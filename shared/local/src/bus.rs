//! The durable queue between stages, in `cloud.db`. On AWS, this is SNS, EventBridge and Lambda's
//! queue for asynchronous invocations.
//!
//! Payloads are events in the format of AWS (see the crate `rowmill-events`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, Row, params};
use serde_json::Value;

pub use crate::topic::subscriber;
use crate::{Cloud, LocalError};

/// The stage that receives a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// An object was put into the inbox.
    Split,
    /// The manifest of a run was written.
    Submit,
    /// A job ended, or a run failed.
    Report,
    /// A run was reported, or a sweep is due.
    Cleanup,
    /// A result is needed again, its time has come, or a copy of an archived object is complete.
    Retention,
}

impl Target {
    /// All stages that receive messages, in the order of the flow.
    pub const ALL: [Target; 5] = [
        Target::Split,
        Target::Submit,
        Target::Report,
        Target::Cleanup,
        Target::Retention,
    ];

    /// The name of the stage: `split`, `submit`, `report`, `cleanup` or `retention`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Split => "split",
            Target::Submit => "submit",
            Target::Report => "report",
            Target::Cleanup => "cleanup",
            Target::Retention => "retention",
        }
    }

    /// The stage with this name.
    pub fn parse(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Duplicates and delays messages in tests, so that they arrive out of order. AWS guarantees
/// delivery at least once, in no order. The same seed has the same effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Determines, together with the number of a message, what happens to it.
    pub seed: u64,
}

impl Chaos {
    /// Longest delay of a copy: longer than a stage takes for an event, but short for a test.
    const DELAY_MAX: Duration = Duration::from_millis(50);

    /// The delays of the copies of a message. There are one or two copies.
    fn delays(self, message: i64) -> Vec<Duration> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (message as u64).rotate_left(32));
        let copies = if rng.random_bool(0.5) { 2 } else { 1 };
        (0..copies)
            .map(|_| rng.random_range(Duration::ZERO..=Chaos::DELAY_MAX))
            .collect()
    }
}

/// Puts a message for `target` on the queue, for immediate delivery. It is part of the transaction
/// of `conn`, if there is one.
///
/// # Errors
/// The database cannot be written.
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

/// Puts a message for `target` on the queue, for delivery at `due`, up to a minute from now.
///
/// # Errors
/// The database cannot be written.
pub(crate) fn enqueue_at(
    conn: &Connection,
    target: Target,
    payload: &Value,
    due: DateTime<Utc>,
) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO message (target, payload, due) VALUES (?1, ?2, ?3)")?
        .execute(params![
            target.name(),
            payload.to_string(),
            due.timestamp_millis()
        ])?;
    Ok(())
}

fn next_id(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'message'",
    )?
    .query_row([], |row| row.get(0))
}

/// A message that a stage failed to handle.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The number of the message.
    pub id: i64,
    /// The stage that failed to handle it.
    pub target: Target,
    /// The event.
    pub payload: Value,
    /// The error of the last attempt.
    pub error: String,
    /// When the last attempt failed.
    pub died: DateTime<Utc>,
}

/// All dead letters, oldest first. They stay until they are redriven.
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

/// Puts a dead letter back on the queue. It keeps its number, and so the claims that it holds. Does
/// nothing if there is no dead letter with this number.
///
/// # Errors
/// The database cannot be written.
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

/// All messages on the queue in the order of their due times, including those being handled.
///
/// # Errors
/// The database cannot be read.
pub fn queue(cloud: &Cloud) -> Result<Vec<(Target, Value)>, LocalError> {
    let messages = cloud.with(|conn| first(conn, u32::MAX))?.into_iter();
    Ok(messages.map(|m| (m.target, m.payload)).collect())
}

/// A message on the queue.
pub(crate) struct QueuedMessage {
    pub(crate) id: i64,
    pub(crate) target: Target,
    pub(crate) payload: Value,
    /// When it is delivered, in epoch milliseconds.
    pub(crate) due: i64,
    pub(crate) failures: u32,
}

/// The longest delay of a message on the queue. A message that is due later was queued or postponed
/// when the clock was ahead.
pub(crate) const LATEST: i64 = 60_000;

/// Makes messages due at `now` (epoch milliseconds) that are due much later, because the clock was
/// set back since.
pub(crate) fn catch_up(conn: &Connection, now: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE message SET due = ?1 WHERE due > ?1 + ?2")?
        .execute([now, LATEST])?;
    Ok(())
}

/// The first `limit` messages in the order of their due times.
pub(crate) fn first(conn: &Connection, limit: u32) -> rusqlite::Result<Vec<QueuedMessage>> {
    conn.prepare_cached(
        "SELECT id, target, payload, due, failures FROM message ORDER BY due, id LIMIT ?1",
    )?
    .query_map([limit], |row| {
        Ok(QueuedMessage {
            id: row.get(0)?,
            target: target_column(row, 1)?,
            payload: payload_column(row, 2)?,
            due: row.get(3)?,
            failures: row.get(4)?,
        })
    })?
    .collect()
}

/// Removes a message from the queue.
pub(crate) fn remove(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM message WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Schedules a message that failed for another attempt at `due`.
pub(crate) fn postpone(conn: &Connection, id: i64, due: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE message SET failures = failures + 1, due = ?2 WHERE id = ?1")?
        .execute([id, due])?;
    Ok(())
}

/// Moves a message to the dead letters.
pub(crate) fn dead_letter(
    conn: &Connection,
    id: i64,
    error: &str,
    now: i64,
) -> rusqlite::Result<()> {
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
        let error = format!("unknown stage `{name}`");
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
    fn chaos_depends_only_on_the_seed_and_the_message() {
        let all = |seed| {
            (1..200)
                .map(|n| Chaos { seed }.delays(n))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        let twice = all(7).iter().filter(|d| d.len() == 2).count();
        assert!(
            (60..140).contains(&twice),
            "{twice} of 199 messages are duplicated"
        );
    }
}
