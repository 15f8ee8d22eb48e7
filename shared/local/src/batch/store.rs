//! Job definitions, jobs, their states and events in `cloud.db`.
//!
//! The states in memory ([`super::machine::Machine`]) mirror the tables. They are read once, and
//! every change is written before it becomes visible.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::DateTime;
use rowmill_domain::job::{JobDefinition, JobStatus};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::job::Spec;
use super::machine::{Changes, Machine};
use super::unit::{StateChange, Unit, UnitState};
use crate::bus::{self, Chaos, Target};

/// How long an ended job is stored. Source: AWS Batch, "Job states" (at least 7 days).
const RETENTION_MILLIS: i64 = 7 * 24 * 3600 * 1000;

/// The value of the column `child` for the job itself.
const ITSELF: i64 = -1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS job_definition (
        arn TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        active INTEGER NOT NULL,
        content TEXT NOT NULL,             -- JSON
        UNIQUE (name, revision)
    );
    CREATE TABLE IF NOT EXISTS job (
        number INTEGER PRIMARY KEY,        -- in the order of submission
        spec TEXT NOT NULL                 -- JSON; fixed
    );
    CREATE TABLE IF NOT EXISTS job_state (
        job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
        child INTEGER NOT NULL,            -- -1: the job itself
        status TEXT NOT NULL,
        status_reason TEXT,
        exit_code INTEGER,
        reason TEXT,
        attempts INTEGER NOT NULL,
        created_at INTEGER NOT NULL,       -- epoch milliseconds, as all times here
        started_at INTEGER,
        stopped_at INTEGER,
        stop TEXT,                         -- why it is being terminated or cancelled
        PRIMARY KEY (job, child)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS job_event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
        child INTEGER NOT NULL,
        status TEXT NOT NULL,
        status_reason TEXT,
        at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS job_event_job ON job_event (job);
";

/// Creates missing tables, and deletes jobs that ended long ago.
pub(super) fn prepare(conn: &mut Connection, now: i64) -> rusqlite::Result<()> {
    conn.execute_batch(SCHEMA)?;
    conn.execute(
        "DELETE FROM job WHERE number IN
            (SELECT job FROM job_state WHERE child = ?1 AND stopped_at < ?2)",
        (ITSELF, now - RETENTION_MILLIS),
    )?;
    Ok(())
}

/// Reads all jobs.
pub(super) fn load(conn: &Connection) -> rusqlite::Result<Machine> {
    let mut states: HashMap<i64, (Option<UnitState>, Vec<UnitState>)> = HashMap::new();
    let mut statement = conn.prepare(
        "SELECT job, child, status, status_reason, exit_code, reason, attempts, created_at,
            started_at, stopped_at, stop FROM job_state ORDER BY job, child",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (own, children) = states.entry(row.get(0)?).or_default();
        let state = state(row)?;
        // In the order of `child`: the job itself first, then its children by index.
        if row.get::<_, i64>(1)? == ITSELF {
            *own = Some(state);
        } else {
            children.push(state);
        }
    }
    let mut statement = conn.prepare("SELECT number, spec FROM job ORDER BY number")?;
    let mut rows = statement.query(())?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let spec: Spec = json(&row.get::<_, String>(1)?, 1)?;
        if let Some((Some(own), children)) = states.remove(&number) {
            jobs.push((number, spec, own, children));
        }
    }
    Ok(Machine::load(jobs))
}

fn state(row: &Row<'_>) -> rusqlite::Result<UnitState> {
    let text = |index: usize| row.get::<_, Option<String>>(index);
    Ok(UnitState {
        status: status(&row.get::<_, String>(2)?, 2)?,
        status_reason: text(3)?.map(Arc::from),
        exit_code: row.get(4)?,
        reason: text(5)?.map(Arc::from),
        attempts: row.get(6)?,
        created_at: row.get(7)?,
        started_at: row.get(8)?,
        stopped_at: row.get(9)?,
        stop: text(10)?.map(Arc::from),
    })
}

fn status(name: &str, column: usize) -> rusqlite::Result<JobStatus> {
    JobStatus::parse(name).ok_or_else(|| {
        let why = format!("unknown job state `{name}`");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
    })
}

fn json<T: serde::de::DeserializeOwned>(text: &str, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn child(unit: Unit) -> i64 {
    unit.index.map_or(ITSELF, i64::from)
}

/// Saves changes and publishes their events in one transaction. As on AWS, report gets the ends of
/// jobs without `arrayProperties.index`. Returns the number of the last event.
pub(super) fn save(
    conn: &mut Connection,
    machine: &Machine,
    changes: &Changes,
    chaos: Option<&Chaos>,
) -> rusqlite::Result<i64> {
    let tx = conn.transaction()?;
    for &number in &changes.submitted {
        if let Some(job) = machine.job(number) {
            tx.prepare_cached("INSERT INTO job (number, spec) VALUES (?1, ?2)")?
                .execute((number, to_json(job.spec.as_ref())?))?;
        }
    }
    let mut write = tx.prepare_cached(
        "INSERT OR REPLACE INTO job_state (job, child, status, status_reason, exit_code, reason,
            attempts, created_at, started_at, stopped_at, stop)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for unit in &changes.units {
        let Some(job) = machine.job(unit.job) else {
            continue;
        };
        let state = job.state(unit.index);
        write.execute(params![
            unit.job,
            child(*unit),
            state.status.name(),
            state.status_reason.as_deref(),
            state.exit_code,
            state.reason.as_deref(),
            state.attempts,
            state.created_at,
            state.started_at,
            state.stopped_at,
            state.stop.as_deref(),
        ])?;
    }
    drop(write);
    let mut insert = tx.prepare_cached(
        "INSERT INTO job_event (job, child, status, status_reason, at)
            VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for change in &changes.events {
        insert.execute(params![
            change.unit.job,
            child(change.unit),
            change.status.name(),
            change.status_reason.as_deref(),
            change.at,
        ])?;
        if change.unit.index.is_some() || !change.status.is_terminal() {
            continue;
        }
        if let Some(job) = machine.job(change.unit.job) {
            let at = DateTime::from_timestamp_millis(change.at).unwrap_or_default();
            let event =
                rowmill_events::job_state_change_event(&job.detail(None), &job.spec.queue, at);
            bus::enqueue(&tx, chaos, Target::Report, &event)?;
        }
    }
    drop(insert);
    let last = last_event(&tx)?;
    tx.commit()?;
    Ok(last)
}

/// The number of the last event.
pub(super) fn last_event(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(max(number), 0) FROM job_event", (), |r| {
        r.get(0)
    })
}

/// At most `limit` events after number `after`, in order.
pub(super) fn events(
    conn: &Connection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, StateChange)>> {
    let mut statement = conn.prepare_cached(
        "SELECT number, job, child, status, status_reason, at FROM job_event
            WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let rows = statement.query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
        let unit = Unit {
            job: row.get(1)?,
            index: u32::try_from(row.get::<_, i64>(2)?).ok(),
        };
        let change = StateChange {
            unit,
            status: status(&row.get::<_, String>(3)?, 3)?,
            status_reason: row.get::<_, Option<String>>(4)?.map(Arc::from),
            at: row.get(5)?,
        };
        Ok((row.get(0)?, change))
    })?;
    rows.collect()
}

/// Registers a definition, or returns the active one with the same content.
pub(super) fn register(
    conn: &mut Connection,
    definition: &JobDefinition,
    arn: impl Fn(&str, i64) -> String,
) -> rusqlite::Result<String> {
    let tx = conn.transaction()?;
    let content = to_json(definition)?;
    let same: Option<String> = tx
        .query_row(
            "SELECT arn FROM job_definition WHERE name = ?1 AND content = ?2 AND active
                ORDER BY revision LIMIT 1",
            (&definition.name, &content),
            |row| row.get(0),
        )
        .optional()?;
    if let Some(arn) = same {
        return Ok(arn);
    }
    let revision: i64 = tx.query_row(
        "SELECT coalesce(max(revision), 0) + 1 FROM job_definition WHERE name = ?1",
        [&definition.name],
        |row| row.get(0),
    )?;
    let arn = arn(&definition.name, revision);
    tx.execute(
        "INSERT INTO job_definition (arn, name, revision, active, content)
            VALUES (?1, ?2, ?3, 1, ?4)",
        params![arn, definition.name, revision, content],
    )?;
    tx.commit()?;
    Ok(arn)
}

/// ARNs of active definitions, by name and revision.
pub(super) fn definitions(conn: &Connection, prefix: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare_cached(
        "SELECT arn FROM job_definition
            WHERE active AND substr(name, 1, length(?1)) = ?1 ORDER BY name, revision",
    )?;
    let rows = statement.query_map([prefix], |row| row.get(0))?;
    rows.collect()
}

/// An active definition by ARN, by name and revision, or by name (the latest revision).
pub(super) fn definition(
    conn: &Connection,
    reference: &str,
) -> rusqlite::Result<Option<JobDefinition>> {
    conn.prepare_cached(
        "SELECT content FROM job_definition
            WHERE active AND (arn = ?1 OR name = ?1 OR name || ':' || revision = ?1)
            ORDER BY revision DESC LIMIT 1",
    )?
    .query_row([reference], |row| json(&row.get::<_, String>(0)?, 0))
    .optional()
}

/// Makes a definition inactive.
pub(super) fn deregister(conn: &Connection, arn: &str) -> rusqlite::Result<()> {
    conn.execute("UPDATE job_definition SET active = 0 WHERE arn = ?1", [arn])?;
    Ok(())
}
