//! Runs, claims and jobs in `ledger.db`; turns in `lanes.db`; outcomes in one database a run.

mod lanes;
mod table;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::run::Work;
use rowmill_domain::{Outcome, RunId, RunItem, RunState};
use rowmill_ports::{
    Asked, Claim, ErrorKind, JobRecord, Ledger, PortError, Result, RunPatch, TablePlan,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value;

use crate::LocalError;
use crate::db;
use lanes::Lanes;
use table::{Table, Writes};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS run (
        id TEXT PRIMARY KEY,
        item TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS claim (
        run TEXT NOT NULL,
        work TEXT NOT NULL,
        owner TEXT NOT NULL,
        until INTEGER NOT NULL,            -- epoch milliseconds; 0: given back
        done INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run, work)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS job (
        run TEXT NOT NULL,
        name TEXT NOT NULL,
        id TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run, name)
    ) WITHOUT ROWID;
";

/// The ledger of a state directory. Several processes may work on it at once.
///
/// What a call has written is on the disk when it returns, and survives kill -9 and a power cut.
pub struct SqliteLedger {
    path: PathBuf,
    tables: PathBuf,
    conn: Arc<Mutex<Connection>>,
    lanes: Arc<Lanes>,
    /// Tables in use: opened once a process.
    open: Arc<Mutex<HashMap<RunId, Arc<Table>>>>,
}

impl SqliteLedger {
    /// Opens `<state>/ledger.db`, creating both where they are absent.
    ///
    /// # Errors
    /// The directory or the database cannot be made or read, or is of a newer format.
    pub fn open(state: &Path) -> std::result::Result<SqliteLedger, LocalError> {
        let tables = state.join("tables");
        std::fs::create_dir_all(&tables).map_err(LocalError::file(&tables))?;
        let path = state.join("ledger.db");
        let conn = db::open(&path, SCHEMA)?;
        Ok(SqliteLedger {
            path,
            tables,
            conn: Arc::new(Mutex::new(conn)),
            lanes: Arc::new(Lanes::new(state)),
            open: Arc::default(),
        })
    }

    /// How many rows of a run have an outcome, of any stage. Reads one counter per stage,
    /// whatever the number of rows, and waits for no writer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without a table.
    pub async fn progress(&self, run: &RunId) -> Result<u64> {
        self.progress_at(run, 0).await
    }

    /// How many rows of a run have an outcome of that stage or a later one.
    ///
    /// # Errors
    /// As [`SqliteLedger::progress`].
    pub async fn progress_at(&self, run: &RunId, stage: u16) -> Result<u64> {
        self.with_table("GetItem", run, move |table| table.stored(stage))
            .await
    }

    /// Works on `ledger.db` in one transaction that no other process interleaves with.
    async fn transact<T: Send + 'static>(
        &self,
        operation: &'static str,
        resource: &str,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, Refusal> + Send + 'static,
    ) -> Result<T> {
        let conn = Arc::clone(&self.conn);
        let done = tokio::task::spawn_blocking(move || {
            // A panic within `work` has rolled its transaction back.
            let mut conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        let path = &self.path;
        let result = done.await.unwrap_or_else(|e| Err(Refusal::panicked(e)));
        result.map_err(|refusal| refusal.into_port(operation, resource, path))
    }

    /// Works on a run's table.
    async fn with_table<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: &RunId,
        work: impl FnOnce(&Table) -> std::result::Result<T, Refusal> + Send + 'static,
    ) -> Result<T> {
        let path = self.table_path(run);
        let (open, id, file) = (Arc::clone(&self.open), run.clone(), path.clone());
        let done = tokio::task::spawn_blocking(move || {
            let table = use_table(&open, id, &file)?;
            work(&table)
        });
        let result = done.await.unwrap_or_else(|e| Err(Refusal::panicked(e)));
        result.map_err(|refusal| refusal.into_port(operation, run.as_str(), &path))
    }

    fn table_path(&self, run: &RunId) -> PathBuf {
        self.tables.join(format!("{run}.db"))
    }
}

/// The run's table as it is on the disk now.
fn use_table(
    open: &Mutex<HashMap<RunId, Arc<Table>>>,
    run: RunId,
    path: &Path,
) -> std::result::Result<Arc<Table>, Refusal> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = open.get(&run)
        && table.is_current()
    {
        return Ok(Arc::clone(table));
    }
    open.remove(&run);
    if !path.exists() {
        return Err(Refusal::Other(
            ErrorKind::NotFound,
            "the run has no table".into(),
        ));
    }
    let table = Arc::new(Table::open(path)?);
    open.insert(run, Arc::clone(&table));
    Ok(table)
}

/// Why work on a database came to nothing.
#[derive(Debug)]
enum Refusal {
    Sql(rusqlite::Error),
    Local(LocalError),
    Other(ErrorKind, String),
}

impl Refusal {
    fn panicked(error: tokio::task::JoinError) -> Refusal {
        Refusal::Other(ErrorKind::Unavailable, error.to_string())
    }

    fn into_port(self, operation: &'static str, resource: &str, path: &Path) -> PortError {
        match self {
            Refusal::Sql(error) => LocalError::database(path)(error).into_port(operation, resource),
            Refusal::Local(error) => error.into_port(operation, resource),
            Refusal::Other(kind, message) => PortError::new(operation, resource, kind, message),
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        Refusal::Sql(error)
    }
}

impl From<LocalError> for Refusal {
    fn from(error: LocalError) -> Refusal {
        Refusal::Local(error)
    }
}

impl From<serde_json::Error> for Refusal {
    /// What this program wrote, it reads; else another one wrote it.
    fn from(error: serde_json::Error) -> Refusal {
        Refusal::Other(ErrorKind::Invalid, format!("unreadable item: {error}"))
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
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

    async fn run(&self, id: &RunId) -> Result<Option<RunItem>> {
        let key = id.clone();
        self.transact("GetItem", id.as_str(), move |t| read_run(t, &key))
            .await
    }

    async fn runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        let after = after.map_or("", RunId::as_str).to_owned();
        self.transact("Query", "runs", move |t| {
            let mut select =
                t.prepare_cached("SELECT item FROM run WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = select.query(params![after, limit])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                runs.push(serde_json::from_str(
                    row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
                )?);
            }
            Ok(runs)
        })
        .await
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
                return Err(Refusal::Other(ErrorKind::NotFound, "no such run".into()));
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

    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        let (run, owner) = (id.clone(), owner.to_owned());
        self.transact("UpdateItem", id.as_str(), move |t| {
            let held: Option<(String, i64, bool)> = t
                .prepare_cached(
                    "SELECT owner, until, done FROM claim WHERE run = ?1 AND work = ?2",
                )?
                .query_row(params![run.as_str(), work.name()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let now = now.timestamp_millis();
            match &held {
                Some((_, _, true)) => return Ok(Claim::Done),
                Some((holder, until, false)) if *holder != owner && *until > now => {
                    return Ok(Claim::Held {
                        owner: holder.clone(),
                        until: DateTime::from_timestamp_millis(*until).unwrap_or_default(),
                    });
                }
                _ => {}
            }
            let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
            t.prepare_cached(
                "INSERT INTO claim (run, work, owner, until) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET owner = ?3, until = ?4",
            )?
            .execute(params![
                run.as_str(),
                work.name(),
                owner,
                now.saturating_add(lease)
            ])?;
            Ok(Claim::Taken {
                resumed: held.is_some(),
            })
        })
        .await
    }

    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        let (run, owner) = (id.clone(), owner.to_owned());
        self.transact("UpdateItem", id.as_str(), move |t| {
            // Again by the same owner is the retry of a call whose answer was lost.
            let changed = t
                .prepare_cached(
                    "UPDATE claim SET done = 1 WHERE run = ?1 AND work = ?2 AND owner = ?3",
                )?
                .execute(params![run.as_str(), work.name(), owner])?;
            if changed == 0 {
                let message = format!("{owner} does not hold {}", work.name());
                return Err(Refusal::Other(ErrorKind::Conflict, message));
            }
            Ok(())
        })
        .await
    }

    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        let (run, owner) = (id.clone(), owner.to_owned());
        self.transact("UpdateItem", id.as_str(), move |t| {
            // The row stays: it says that somebody began. No owner has the empty name.
            t.prepare_cached(
                "UPDATE claim SET owner = '', until = 0
                 WHERE run = ?1 AND work = ?2 AND owner = ?3 AND done = 0",
            )?
            .execute(params![run.as_str(), work.name(), owner])?;
            Ok(())
        })
        .await
    }

    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        let (run, name, job) = (id.clone(), name.clone(), job.clone());
        self.transact("PutItem", id.as_str(), move |t| {
            let kept = keep_job(t, &run, &name, &job)?;
            if kept != job {
                let message = format!("{name} is job {kept} already, and not {job}");
                return Err(Refusal::Other(ErrorKind::Conflict, message));
            }
            Ok(())
        })
        .await
    }

    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32> {
        let (run, name, job) = (id.clone(), name.clone(), job.clone());
        self.transact("UpdateItem", id.as_str(), move |t| {
            keep_job(t, &run, &name, &job)?;
            // By id as well: a stray job of the same name is not the one that counts.
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
        self.transact("Query", id.as_str(), move |t| {
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

    async fn take_turns(
        &self,
        lane: &str,
        turns: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        // Nanoseconds reach to the year 2262.
        let now = now.timestamp_nanos_opt().unwrap_or(i64::MAX);
        let gap = i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX);
        let taken = gap.saturating_mul(turns.into());
        let (lanes, name) = (Arc::clone(&self.lanes), lane.to_owned());
        let done = tokio::task::spawn_blocking(move || lanes.take(&name, taken, now));
        let first = done.await.unwrap_or_else(|e| Err(Refusal::panicked(e)));
        first
            .map(DateTime::from_timestamp_nanos)
            .map_err(|refusal| refusal.into_port("UpdateItem", lane, &self.lanes.path))
    }

    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        let (question, owner) = (question.to_owned(), owner.to_owned());
        let now = now.timestamp_millis();
        let until = now.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        self.with_table("UpdateItem", id, move |table| {
            table.ask(&question, &owner, now, until)
        })
        .await
    }

    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()> {
        let (question, owner) = (question.to_owned(), owner.to_owned());
        let answer = answer.map(str::to_owned);
        self.with_table("UpdateItem", id, move |table| {
            table.answer(&question, &owner, answer.as_deref())
        })
        .await
    }

    async fn create_table(&self, id: &RunId, _plan: TablePlan) -> Result<()> {
        let path = self.table_path(id);
        let done = tokio::task::spawn_blocking(move || Table::open(&path).map(|_| ()));
        let result = done.await.map_err(Refusal::panicked);
        result
            .and_then(|opened| opened.map_err(Refusal::Local))
            .map_err(|refusal| refusal.into_port("CreateTable", id.as_str(), &self.tables))
    }

    async fn drop_table(&self, id: &RunId) -> Result<()> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        let path = self.table_path(id);
        let done = tokio::task::spawn_blocking(move || Table::remove(&path));
        let result = done.await.map_err(Refusal::panicked);
        result
            .and_then(|removed| removed.map_err(Refusal::Local))
            .map_err(|refusal| refusal.into_port("DeleteTable", id.as_str(), &self.tables))
    }

    async fn tables(&self) -> Result<Vec<RunId>> {
        let failed = |error: std::io::Error| {
            LocalError::file(&self.tables)(error).into_port("ListTables", "")
        };
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&self.tables).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let run = name.to_str().and_then(|name| name.strip_suffix(".db"));
            runs.extend(run.and_then(|run| run.parse::<RunId>().ok()));
        }
        runs.sort_unstable();
        Ok(runs)
    }

    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()> {
        // Written as JSON before any lock is taken.
        let writes = Writes::of(outcomes).map_err(|refusal| {
            refusal.into_port("BatchWriteItem", id.as_str(), &self.table_path(id))
        })?;
        self.with_table("BatchWriteItem", id, move |table| table.put(chunk, &writes))
            .await
    }

    async fn outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>> {
        self.with_table("Query", id, move |table| table.read(chunk, rows))
            .await
    }
}

fn read_run(conn: &Connection, id: &RunId) -> std::result::Result<Option<RunItem>, Refusal> {
    let json: Option<String> = conn
        .prepare_cached("SELECT item FROM run WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// Keeps the job's id under its name where none is kept, and gives the one that is.
fn keep_job(
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
