//! Runs and their jobs, in `ledger.db`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::{ErrorKind, JobRecord, Result, RunPatch, Runs};
use rusqlite::{Connection, OptionalExtension, Rows, params};
use serde_json::Value;

use super::{LedgerError, SqliteLedger};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS run (
        id TEXT PRIMARY KEY,
        item TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS job (
        run TEXT NOT NULL,
        name TEXT NOT NULL,
        id TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run, name)
    ) WITHOUT ROWID;
";

/// Also in a ledger of an earlier version. Times are texts here, so within a second their order may
/// differ from that of the runs.
pub(super) const NEWEST: &str =
    "CREATE INDEX IF NOT EXISTS run_newest ON run (json_extract(item, '$.created'), id);";

/// The index of the runs that are not cleaned up. A ledger of an earlier version has the same format,
/// but not this index.
pub(super) const OPEN_RUNS: &str = "
    CREATE INDEX IF NOT EXISTS run_open ON run (id) WHERE item ->> 'cleaned' IS NULL;
";
/// With the condition of the index, so that SQLite uses it.
const OPEN: &str =
    "SELECT item FROM run WHERE item ->> 'cleaned' IS NULL AND id > ?1 ORDER BY id LIMIT ?2";

impl SqliteLedger {
    /// Runs of a query whose parameters are the id before the first one and the limit.
    async fn select_runs(
        &self,
        query: &'static str,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<RunItem>> {
        let after = after.map_or("", RunId::as_str).to_owned();
        self.read("Query", "runs", move |t| {
            let mut select = t.prepare_cached(query)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            read_runs(select.query(params![after, limit])?)
        })
        .await
    }
}

#[async_trait]
impl Runs for SqliteLedger {
    async fn create_run(&self, run: &RunItem) -> Result<bool> {
        let item = run.clone();
        self.transact("PutItem", run.id.as_str(), move |t| {
            let json = serde_json::to_string(&item)?;
            let added = t
                .prepare_cached(
                    "INSERT INTO run (id, item) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?
                .execute(params![item.id.as_str(), json])?;
            Ok(added == 1)
        })
        .await
    }

    async fn find_run(&self, id: &RunId) -> Result<Option<RunItem>> {
        let key = id.clone();
        self.read("GetItem", id.as_str(), move |t| read_run(t, &key))
            .await
    }

    async fn list_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        self.select_runs(
            "SELECT item FROM run WHERE id > ?1 ORDER BY id LIMIT ?2",
            after,
            limit,
        )
        .await
    }

    async fn newest_runs(
        &self,
        before: Option<&(DateTime<Utc>, RunId)>,
        limit: usize,
    ) -> Result<Vec<RunItem>> {
        let before = before.cloned();
        self.read("Query", "runs", move |t| {
            let (created, id) = match before {
                // As in the item.
                Some((created, id)) => (serde_json::to_value(created)?, id.to_string()),
                // After the text of every time.
                None => (Value::from("~"), String::new()),
            };
            let mut select = t.prepare_cached(
                "SELECT item FROM run
                 WHERE json_extract(item, '$.created') <= ?1
                   AND (json_extract(item, '$.created') < ?1 OR id < ?2)
                 ORDER BY json_extract(item, '$.created') DESC, id DESC LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            read_runs(select.query(params![created.as_str(), id, limit])?)
        })
        .await
    }

    async fn delete_run(&self, id: &RunId) -> Result<()> {
        let run = id.to_string();
        self.transact("DeleteItem", id.as_str(), move |t| {
            for delete in [
                "DELETE FROM job WHERE run = ?1",
                "DELETE FROM claim WHERE run = ?1",
                "DELETE FROM run WHERE id = ?1",
            ] {
                t.prepare_cached(delete)?.execute([&run])?;
            }
            Ok(())
        })
        .await
    }

    async fn open_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        self.select_runs(OPEN, after, limit).await
    }

    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let (key, from) = (id.clone(), from.to_vec());
        self.transact("UpdateItem", id.as_str(), move |t| {
            let Some(run) = read_run(t, &key)? else {
                return Err(LedgerError::Other(
                    ErrorKind::NotFound,
                    "no such run".into(),
                ));
            };
            if !from.contains(&run.state) {
                return Ok(false);
            }
            let mut item = serde_json::to_value(run)?;
            if let Value::Object(item) = &mut item {
                item.extend(patch.fields(now)?);
            }
            t.prepare_cached("UPDATE run SET item = ?2 WHERE id = ?1")?
                .execute(params![key.as_str(), item.to_string()])?;
            Ok(true)
        })
        .await
    }

    async fn update_result(
        &self,
        id: &RunId,
        from: &[ResultState],
        storage: &ResultStorage,
    ) -> Result<bool> {
        let (key, from, storage) = (id.clone(), from.to_vec(), storage.clone());
        self.transact("UpdateItem", id.as_str(), move |t| {
            let Some(mut run) = read_run(t, &key)? else {
                return Err(LedgerError::Other(
                    ErrorKind::NotFound,
                    "no such run".into(),
                ));
            };
            let state = run.storage.as_ref().map_or(ResultState::Hot, |s| s.state);
            if !from.contains(&state) {
                return Ok(false);
            }
            run.storage = Some(storage);
            t.prepare_cached("UPDATE run SET item = ?2 WHERE id = ?1")?
                .execute(params![key.as_str(), serde_json::to_string(&run)?])?;
            Ok(true)
        })
        .await
    }

    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        let (run, name, job) = (id.clone(), name.clone(), job.clone());
        self.transact("PutItem", id.as_str(), move |t| {
            let recorded = insert_job(t, &run, &name, &job)?;
            if recorded != job {
                let message = format!("{name} is already recorded as {recorded}, not {job}");
                return Err(LedgerError::Other(ErrorKind::Conflict, message));
            }
            Ok(())
        })
        .await
    }

    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32> {
        let (run, name, job) = (id.clone(), name.clone(), job.clone());
        self.transact("UpdateItem", id.as_str(), move |t| {
            insert_job(t, &run, &name, &job)?;
            // Also by id: a stray job with the same name does not count.
            t.prepare_cached("UPDATE job SET ended = 1 WHERE run = ?1 AND name = ?2 AND id = ?3")?
                .execute(params![run.as_str(), name.0, job.0])?;
            let ended = t
                .prepare_cached("SELECT count(*) FROM job WHERE run = ?1 AND ended = 1")?
                .query_row([run.as_str()], |row| row.get(0))?;
            Ok(ended)
        })
        .await
    }

    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>> {
        let run = id.clone();
        self.read("Query", id.as_str(), move |t| {
            let mut select =
                t.prepare_cached("SELECT name, id, ended FROM job WHERE run = ?1 ORDER BY name")?;
            let jobs = select.query_map([run.as_str()], |row| {
                Ok(JobRecord {
                    name: JobName(row.get(0)?),
                    id: JobId(row.get(1)?),
                    ended: row.get(2)?,
                })
            })?;
            Ok(jobs.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn read_runs(mut rows: Rows<'_>) -> std::result::Result<Vec<RunItem>, LedgerError> {
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let item = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        runs.push(serde_json::from_str(item)?);
    }
    Ok(runs)
}

fn read_run(conn: &Connection, id: &RunId) -> std::result::Result<Option<RunItem>, LedgerError> {
    let json: Option<String> = conn
        .prepare_cached("SELECT item FROM run WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// Records the job's id if its name has none, and returns the recorded id.
fn insert_job(
    conn: &Connection,
    run: &RunId,
    name: &JobName,
    job: &JobId,
) -> rusqlite::Result<JobId> {
    conn.prepare_cached(
        "INSERT INTO job (run, name, id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![run.as_str(), name.0, job.0])?;
    conn.prepare_cached("SELECT id FROM job WHERE run = ?1 AND name = ?2")?
        .query_row(params![run.as_str(), name.0], |row| row.get(0).map(JobId))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_runs_are_found_by_their_index() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        conn.execute_batch(OPEN_RUNS).unwrap();
        let plan = conn
            .prepare(&format!("EXPLAIN QUERY PLAN {OPEN}"))
            .unwrap()
            .query_row(params!["", 3], |row| row.get::<_, String>(3))
            .unwrap();
        assert!(plan.contains("run_open"), "{plan}");
    }
}
