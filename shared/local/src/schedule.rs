//! Scheduled messages in `cloud.db`. On AWS, this is EventBridge Scheduler. The dispatcher publishes
//! the messages when they are due.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::message::RunMessage;
use rowmill_ports::{Result, Scheduler, check_schedule_name, message_text};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use crate::bus::Chaos;
use crate::topic::publish_scheduled;
use crate::{Cloud, RunScope};

/// The scheduler. A message is a row until it is due, and is then published in one transaction. A
/// message that becomes due while no command is running is published by the next one.
pub struct LocalScheduler {
    cloud: Cloud,
}

impl LocalScheduler {
    /// A scheduler that stores its messages in `cloud`.
    pub fn new(cloud: Cloud) -> LocalScheduler {
        LocalScheduler { cloud }
    }
}

#[async_trait]
impl Scheduler for LocalScheduler {
    async fn at(&self, name: &str, when: DateTime<Utc>, message: &RunMessage) -> Result<()> {
        const OPERATION: &str = "CreateSchedule";
        check_schedule_name(OPERATION, name)?;
        let text = message_text(message, OPERATION, name)?;
        // Rounded up to the next millisecond, so that the message is never early.
        let due = when.timestamp_millis().saturating_add(1);
        self.cloud
            .with(|conn| {
                conn.prepare_cached(
                    "INSERT OR REPLACE INTO schedule (name, due, message) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![name, due, text])
            })
            .map_err(|error| error.into_port(OPERATION, name))?;
        Ok(())
    }

    async fn cancel(&self, name: &str) -> Result<()> {
        self.cloud
            .with(|conn| {
                conn.prepare_cached("DELETE FROM schedule WHERE name = ?1")?
                    .execute([name])
            })
            .map_err(|error| error.into_port("DeleteSchedule", name))?;
        Ok(())
    }
}

/// Publishes all messages, or those of one run, that are due at `now`. Returns when the next one is due. Both times are in
/// epoch milliseconds.
pub(crate) fn publish_due(
    conn: &mut Connection,
    chaos: Option<&Chaos>,
    scope: Option<&RunScope>,
    now: i64,
) -> rusqlite::Result<Option<i64>> {
    let next = next(conn, scope)?;
    if next.is_none_or(|due| due > now) {
        return Ok(next);
    }
    let transaction = conn.transaction()?;
    let name = name(scope);
    let due: Vec<RunMessage> = transaction
        .prepare_cached(
            "DELETE FROM schedule WHERE due <= ?1 AND (?2 IS NULL OR name = ?2) RETURNING message",
        )?
        .query_map(params![now, name], |row| {
            serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for message in &due {
        publish_scheduled(&transaction, chaos, message)?;
    }
    let next = self::next(&transaction, scope)?;
    transaction.commit()?;
    Ok(next)
}

fn next(conn: &Connection, scope: Option<&RunScope>) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT due FROM schedule WHERE ?1 IS NULL OR name = ?1 ORDER BY due LIMIT 1",
    )?
    .query_row([name(scope)], |row| row.get(0))
    .optional()
}

/// The name of a run's schedule.
fn name(scope: Option<&RunScope>) -> Option<&str> {
    scope.map(|run| run.id.as_str())
}
