//! The table of one run: outcomes and shared answers, in a database of its own. Dropping it means
//! deleting a file.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rowmill_domain::Outcome;
use rowmill_domain::limits::{OUTCOME_BYTES, OUTCOMES_PAGE_BYTES};
use rowmill_domain::tally::Tally;
use rowmill_ports::{ErrorKind, OutcomesPage};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{LedgerError, answers};
use crate::LocalError;
use crate::db;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outcome (
        chunk INTEGER NOT NULL,
        row INTEGER NOT NULL,
        phase INTEGER NOT NULL,
        json BLOB NOT NULL,
        PRIMARY KEY (chunk, row)
    ) WITHOUT ROWID;
    -- Number of rows whose outcome is of that phase. Counting them would read every row.
    CREATE TABLE IF NOT EXISTS stored (
        phase INTEGER PRIMARY KEY,
        rows INTEGER NOT NULL
    );
    -- One row, which children add to.
    CREATE TABLE IF NOT EXISTS tally (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        ok INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        tasks INTEGER NOT NULL
    );
    -- Billed time of children, by phase.
    CREATE TABLE IF NOT EXISTS billed (
        phase INTEGER PRIMARY KEY,
        ms INTEGER NOT NULL
    );
";

/// An open table. Writers and readers have separate connections: in WAL mode, neither waits for the
/// other.
pub(super) struct Table {
    path: PathBuf,
    /// Device and inode. A table that was dropped and recreated is a different file.
    identity: (u64, u64),
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// For shared answers. Opened at first use.
    shared: Mutex<Option<Connection>>,
}

/// Serialized outcomes to store.
pub(super) struct Writes {
    /// Row, phase, and the end of its JSON in `json`.
    rows: Vec<(u32, u16, usize)>,
    json: Vec<u8>,
}

impl Writes {
    /// Serializes outcomes.
    ///
    /// # Errors
    /// An outcome is too large for a DynamoDB item.
    pub(super) fn of(outcomes: &[Outcome]) -> Result<Writes, LedgerError> {
        let mut json = Vec::with_capacity(outcomes.len() * 192);
        let mut rows = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let start = json.len();
            serde_json::to_writer(&mut json, outcome)?;
            let bytes = json.len() - start;
            if bytes > OUTCOME_BYTES {
                let message = format!(
                    "the outcome of row {} has {bytes} bytes; the limit is {OUTCOME_BYTES}",
                    outcome.row
                );
                return Err(LedgerError::Other(ErrorKind::Invalid, message));
            }
            rows.push((outcome.row, outcome.phase, json.len()));
        }
        Ok(Writes { rows, json })
    }
}

impl Table {
    /// Opens the table. Creates it if it does not exist.
    pub(super) fn open(path: &Path) -> Result<Table, LocalError> {
        let (writer, reader) = (connect(path)?, connect(path)?);
        Ok(Table {
            path: path.to_owned(),
            identity: identity(path).map_err(LocalError::file(path))?,
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            shared: Mutex::default(),
        })
    }

    /// Deletes a table's files, if there are any.
    pub(super) fn remove(path: &Path) -> Result<(), LocalError> {
        // The database last: as long as it exists, so does the table, and a retry deletes the rest.
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

    /// Whether the open file is still the one at the path.
    pub(super) fn is_current(&self) -> bool {
        identity(&self.path).is_ok_and(|now| now == self.identity)
    }

    /// Runs `work` on the connection for shared answers.
    pub(super) fn answers<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut slot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(conn) => work(conn),
            empty => {
                let conn = connect(&self.path)?;
                // Children ask many times per second and wait for each reply. An answer lost to a
                // power failure is requested again.
                conn.pragma_update(None, "synchronous", "normal")?;
                work(empty.insert(conn))
            }
        }
    }

    /// Stores outcomes in one transaction. An outcome replaces the one of its row, except one of a later
    /// phase.
    pub(super) fn put(&self, chunk: u32, writes: &Writes) -> Result<(), LedgerError> {
        let mut conn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut added = Added::default();
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO outcome (chunk, row, phase, json) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )?;
            let mut start = 0;
            for &(row, phase, end) in &writes.rows {
                let json = &writes.json[start..end];
                start = end;
                if insert.execute(params![chunk, row, phase, json])? == 0 {
                    match replace(&transaction, chunk, row, phase, json)? {
                        Some(before) => added.at(before, -1),
                        None => continue,
                    }
                }
                added.at(phase, 1);
            }
        }
        let mut count = transaction.prepare_cached(
            "INSERT INTO stored (phase, rows) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET rows = rows + ?2",
        )?;
        for (phase, rows) in added.0 {
            count.execute(params![phase, rows])?;
        }
        drop(count);
        Ok(transaction.commit()?)
    }

    /// Returns the first outcomes of a chunk's rows, in row order.
    pub(super) fn read(
        &self,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<OutcomesPage, LedgerError> {
        let conn = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = conn.prepare_cached(
            "SELECT json, row FROM outcome WHERE chunk = ?1 AND row BETWEEN ?2 AND ?3 ORDER BY row",
        )?;
        let mut found = select.query(params![chunk, rows.start(), rows.end()])?;
        let (mut page, mut bytes) = (OutcomesPage::default(), 0);
        while let Some(row) = found.next()? {
            if bytes >= OUTCOMES_PAGE_BYTES {
                page.next = Some(row.get(1)?);
                break;
            }
            // Parsed directly from SQLite's page, without a copy.
            let json = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            bytes += json.len();
            page.outcomes.push(serde_json::from_slice(json)?);
        }
        Ok(page)
    }

    /// Adds to the tally and returns the sum.
    pub(super) fn add_tally(&self, more: &Tally) -> Result<Tally, LedgerError> {
        let mut conn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        transaction
            .prepare_cached(
                "INSERT INTO tally (id, ok, failed, tasks) VALUES (0, ?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET ok = ok + ?1, failed = failed + ?2, tasks = tasks + ?3",
            )?
            .execute(params![
                whole(more.ok),
                whole(more.failed),
                whole(more.tasks)
            ])?;
        for (phase, ms) in more.billed_ms.iter().enumerate().filter(|(_, ms)| **ms > 0) {
            transaction
                .prepare_cached(
                    "INSERT INTO billed (phase, ms) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET ms = ms + ?2",
                )?
                .execute(params![whole(phase as u64), whole(*ms)])?;
        }
        let sum = read_tally(&transaction)?;
        transaction.commit()?;
        Ok(sum)
    }

    /// The tally.
    pub(super) fn tally(&self) -> Result<Tally, LedgerError> {
        let mut conn = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        // Both tables as of the same moment.
        let transaction = conn.transaction()?;
        Ok(read_tally(&transaction)?)
    }

    /// Returns how many rows have an outcome of `phase` or a later one.
    pub(super) fn stored(&self, phase: u16) -> Result<u64, LedgerError> {
        let conn = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: i64 = conn
            .prepare_cached("SELECT coalesce(sum(rows), 0) FROM stored WHERE phase >= ?1")?
            .query_row([phase], |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    }
}

fn read_tally(conn: &Connection) -> rusqlite::Result<Tally> {
    let counts = conn
        .prepare_cached("SELECT ok, failed, tasks FROM tally")?
        .query_row((), |row| {
            let at = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok((at(0)?, at(1)?, at(2)?))
        })
        .optional()?;
    let (ok, failed, tasks) = counts.unwrap_or_default();
    let mut tally = Tally {
        ok,
        failed,
        tasks,
        billed_ms: Vec::new(),
    };
    let mut billed = conn.prepare_cached("SELECT phase, ms FROM billed")?;
    let mut rows = billed.query(())?;
    while let Some(row) = rows.next()? {
        let (phase, ms): (u16, i64) = (row.get(0)?, row.get(1)?);
        tally.add_billed(phase.into(), ms.unsigned_abs());
    }
    Ok(tally)
}

/// Replaces a row's outcome and returns the phase of the previous one. Changes nothing and returns
/// `None` if that is of a later phase.
fn replace(
    transaction: &Transaction<'_>,
    chunk: u32,
    row: u32,
    phase: u16,
    json: &[u8],
) -> rusqlite::Result<Option<u16>> {
    let before: u16 = transaction
        .prepare_cached("SELECT phase FROM outcome WHERE chunk = ?1 AND row = ?2")?
        .query_row(params![chunk, row], |found| found.get(0))?;
    if before > phase {
        return Ok(None);
    }
    transaction
        .prepare_cached("UPDATE outcome SET phase = ?3, json = ?4 WHERE chunk = ?1 AND row = ?2")?
        .execute(params![chunk, row, phase, json])?;
    Ok(Some(before))
}

/// How a transaction changes the number of rows at each phase.
#[derive(Default)]
struct Added(Vec<(u16, i64)>);

impl Added {
    fn at(&mut self, phase: u16, rows: i64) {
        match self.0.iter_mut().find(|(at, _)| *at == phase) {
            Some((_, n)) => *n += rows,
            None => self.0.push((phase, rows)),
        }
    }
}

fn connect(path: &Path) -> Result<Connection, LocalError> {
    db::open(path, &[SCHEMA, answers::SCHEMA].concat())
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
