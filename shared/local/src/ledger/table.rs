//! The outcomes of one run's records: one database, so that dropping it is deleting a file.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rowmill_domain::Outcome;
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_ports::{Asked, ErrorKind};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::Refusal;
use crate::LocalError;
use crate::db;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outcome (
        chunk INTEGER NOT NULL,
        row INTEGER NOT NULL,
        stage INTEGER NOT NULL,
        json BLOB NOT NULL,
        PRIMARY KEY (chunk, row)
    ) WITHOUT ROWID;
    -- How many rows have an outcome of that stage: kept beside them, since counting them would
    -- read them all.
    CREATE TABLE IF NOT EXISTS stored (
        stage INTEGER PRIMARY KEY,
        rows INTEGER NOT NULL
    );
    -- Answers that children share.
    CREATE TABLE IF NOT EXISTS answer (
        question TEXT PRIMARY KEY,
        owner TEXT NOT NULL,               -- who was at it last
        until INTEGER NOT NULL,            -- epoch milliseconds; 0: given back
        answer TEXT
    ) WITHOUT ROWID;
";

/// An open table. Writers and readers have a connection each, so that in WAL mode neither waits
/// for the other.
pub(super) struct Table {
    path: PathBuf,
    /// Device and inode: a table that was dropped and created again is another file.
    identity: (u64, u64),
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// For the answers that children share; opened when first needed.
    shared: Mutex<Option<Connection>>,
}

/// Outcomes on their way into a table.
pub(super) struct Writes {
    /// Row, stage, and where its JSON ends in `json`.
    rows: Vec<(u32, u16, usize)>,
    json: Vec<u8>,
}

impl Writes {
    /// Refuses what an item of DynamoDB cannot hold, before anything is written.
    pub(super) fn of(outcomes: &[Outcome]) -> Result<Writes, Refusal> {
        let mut json = Vec::with_capacity(outcomes.len() * 192);
        let mut rows = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let start = json.len();
            serde_json::to_writer(&mut json, outcome)?;
            let bytes = json.len() - start;
            if bytes > OUTCOME_BYTES {
                let message = format!(
                    "the outcome of row {} has {bytes} bytes, and at most {OUTCOME_BYTES} are taken",
                    outcome.row
                );
                return Err(Refusal::Other(ErrorKind::Invalid, message));
            }
            rows.push((outcome.row, outcome.stage, json.len()));
        }
        Ok(Writes { rows, json })
    }
}

impl Table {
    /// Opens the table, creating it where it is absent.
    pub(super) fn open(path: &Path) -> Result<Table, LocalError> {
        let writer = db::open(path, SCHEMA)?;
        let reader = db::open(path, SCHEMA)?;
        Ok(Table {
            path: path.to_owned(),
            identity: identity(path).map_err(LocalError::file(path))?,
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            shared: Mutex::default(),
        })
    }

    /// Removes a table's files; nothing happens where there are none.
    pub(super) fn remove(path: &Path) -> Result<(), LocalError> {
        // The database last: while it is there, the table is, and removing it goes on.
        for suffix in ["-wal", "-shm", ""] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            let file = PathBuf::from(file);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LocalError::file(&file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the file at the path is still the one that is open.
    pub(super) fn is_current(&self) -> bool {
        identity(&self.path).is_ok_and(|now| now == self.identity)
    }

    /// Gives the answer to a question, or the question to `owner` until then.
    pub(super) fn ask(
        &self,
        question: &str,
        owner: &str,
        now: i64,
        until: i64,
    ) -> Result<Asked, Refusal> {
        self.shared(|conn| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: Option<(String, i64, Option<String>)> = transaction
                .prepare_cached("SELECT owner, until, answer FROM answer WHERE question = ?1")?
                .query_row([question], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            match found {
                Some((_, _, Some(answer))) => return Ok(Asked::Known(answer)),
                Some((holder, until, None)) if holder != owner && until > now => {
                    return Ok(Asked::Awaited);
                }
                _ => {}
            }
            transaction
                .prepare_cached(
                    "INSERT INTO answer (question, owner, until) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET owner = ?2, until = ?3",
                )?
                .execute(params![question, owner, until])?;
            transaction.commit()?;
            Ok(Asked::Yours)
        })
    }

    /// Keeps the answer to a question, or gives the question back.
    pub(super) fn answer(
        &self,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<(), Refusal> {
        if let Some(bytes) = answer.map(str::len).filter(|bytes| *bytes > OUTCOME_BYTES) {
            let message =
                format!("the answer has {bytes} bytes, and at most {OUTCOME_BYTES} are taken");
            return Err(Refusal::Other(ErrorKind::Invalid, message));
        }
        self.shared(|conn| {
            match answer {
                Some(answer) => conn
                    .prepare_cached(
                        "INSERT INTO answer (question, owner, until, answer) VALUES (?1, ?2, 0, ?3)
                         ON CONFLICT DO UPDATE SET answer = ?3",
                    )?
                    .execute(params![question, owner, answer])?,
                None => conn
                    .prepare_cached(
                        "UPDATE answer SET until = 0
                         WHERE question = ?1 AND owner = ?2 AND answer IS NULL",
                    )?
                    .execute(params![question, owner])?,
            };
            Ok(())
        })
    }

    /// Works on the answers.
    fn shared<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut place = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *place {
            Some(conn) => work(conn),
            empty => {
                let conn = db::open(&self.path, SCHEMA)?;
                // Children ask many times a second, and wait for it; for an answer that a power
                // cut loses one asks again.
                conn.pragma_update(None, "synchronous", "normal")?;
                work(empty.insert(conn))
            }
        }
    }

    /// Stores outcomes in one transaction; a row's later one replaces the earlier.
    pub(super) fn put(&self, chunk: u32, writes: &Writes) -> Result<(), Refusal> {
        let mut conn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut added = Added::default();
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO outcome (chunk, row, stage, json) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )?;
            let mut start = 0;
            for &(row, stage, end) in &writes.rows {
                let json = &writes.json[start..end];
                start = end;
                if insert.execute(params![chunk, row, stage, json])? == 0 {
                    added.at(replace(&transaction, chunk, row, stage, json)?, -1);
                }
                added.at(stage, 1);
            }
        }
        let mut count = transaction.prepare_cached(
            "INSERT INTO stored (stage, rows) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET rows = rows + ?2",
        )?;
        for (stage, rows) in added.0 {
            count.execute(params![stage, rows])?;
        }
        drop(count);
        Ok(transaction.commit()?)
    }

    /// The outcomes of a chunk's rows, in the order of rows.
    pub(super) fn read(
        &self,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>, Refusal> {
        let conn = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = conn.prepare_cached(
            "SELECT json FROM outcome WHERE chunk = ?1 AND row BETWEEN ?2 AND ?3 ORDER BY row",
        )?;
        let mut found = select.query(params![chunk, rows.start(), rows.end()])?;
        let mut outcomes = Vec::new();
        while let Some(row) = found.next()? {
            // From SQLite's page straight into the value.
            let json = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            outcomes.push(serde_json::from_slice(json)?);
        }
        Ok(outcomes)
    }

    /// How many rows have an outcome of that stage or a later one.
    pub(super) fn stored(&self, stage: u16) -> Result<u64, Refusal> {
        let conn = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: i64 = conn
            .prepare_cached("SELECT coalesce(sum(rows), 0) FROM stored WHERE stage >= ?1")?
            .query_row([stage], |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    }
}

/// Replaces a row's outcome, and gives the stage of the one before.
fn replace(
    transaction: &Transaction<'_>,
    chunk: u32,
    row: u32,
    stage: u16,
    json: &[u8],
) -> rusqlite::Result<u16> {
    let before = transaction
        .prepare_cached("SELECT stage FROM outcome WHERE chunk = ?1 AND row = ?2")?
        .query_row(params![chunk, row], |found| found.get(0))
        .optional()?;
    transaction
        .prepare_cached("UPDATE outcome SET stage = ?3, json = ?4 WHERE chunk = ?1 AND row = ?2")?
        .execute(params![chunk, row, stage, json])?;
    Ok(before.unwrap_or(stage))
}

/// How many more rows a transaction leaves at each stage.
#[derive(Default)]
struct Added(Vec<(u16, i64)>);

impl Added {
    fn at(&mut self, stage: u16, rows: i64) {
        match self.0.iter_mut().find(|(at, _)| *at == stage) {
            Some((_, n)) => *n += rows,
            None => self.0.push((stage, rows)),
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
