//! [`Runs`](rowmill_ports::Runs), [`Outcomes`](rowmill_ports::Outcomes) and
//! [`Coordination`](rowmill_ports::Coordination) in SQLite.

mod answers;
mod coordination;
mod outcomes;
mod permits;
mod readers;
mod reviews;
mod runs;
mod submitters;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rowmill_domain::RunId;
use rowmill_ports::{ErrorKind, PortError, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::LocalError;
use crate::db;
use crate::private::create_private;
use permits::Permits;
use readers::Readers;
use table::Table;

/// The ledger of a state directory: `ledger.db`, `permits.db`, and one database per run under
/// `tables/`. Several processes may use it at the same time.
///
/// Writes to runs, claims and outcomes are on disk when a call returns: they survive kill -9 and
/// a power failure. Permits and answers survive kill -9.
pub struct SqliteLedger {
    path: PathBuf,
    tables: PathBuf,
    /// The one connection that writes.
    conn: Arc<Mutex<Connection>>,
    readers: Arc<Readers>,
    permits: Arc<Permits>,
    /// Tables in use. Each process opens a table once.
    open: Arc<Mutex<HashMap<RunId, Arc<Table>>>>,
}

impl SqliteLedger {
    /// Opens `<state>/ledger.db`. Creates the directory and the database if they do not exist.
    ///
    /// # Errors
    /// The directory or the database cannot be created or read, or has a newer format.
    pub fn open(state: &Path) -> std::result::Result<SqliteLedger, LocalError> {
        let tables = state.join("tables");
        create_private(state).map_err(LocalError::file(state))?;
        std::fs::create_dir_all(&tables).map_err(LocalError::file(&tables))?;
        let path = state.join("ledger.db");
        let schema = [runs::SCHEMA, coordination::SCHEMA].concat();
        let conn = db::open(&path, &schema)?;
        // A ledger of an earlier version has the same format, but not all tables and indexes.
        let later = [
            reviews::SCHEMA,
            submitters::SCHEMA,
            runs::NEWEST,
            runs::OPEN_RUNS,
        ];
        conn.execute_batch(&later.concat())
            .map_err(LocalError::database(&path))?;
        Ok(SqliteLedger {
            readers: Arc::new(Readers::new(path.clone())),
            path,
            tables,
            conn: Arc::new(Mutex::new(conn)),
            permits: Arc::new(Permits::new(state)),
            open: Arc::default(),
        })
    }

    /// Forgets the jobs and claims of runs that are not over: the queue and the jobs of the local Batch
    /// were lost, so all work is done again. Outcomes stay. Returns whether there was anything.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_open_work(&self) -> std::result::Result<bool, LocalError> {
        let mut conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forget = || {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut forgotten = 0;
            for table in ["job", "claim"] {
                let open = "SELECT id FROM run WHERE json_extract(item, '$.cleaned') IS NULL";
                let delete = format!("DELETE FROM {table} WHERE run IN ({open})");
                forgotten += transaction.execute(&delete, [])?;
            }
            transaction.commit()?;
            Ok(forgotten > 0)
        };
        forget().map_err(LocalError::database(&self.path))
    }

    /// Runs `work`, which writes, on `ledger.db` in one transaction, isolated from all other processes.
    async fn transact<T: Send + 'static>(
        &self,
        operation: &'static str,
        resource: &str,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, LedgerError> + Send + 'static,
    ) -> Result<T> {
        let conn = Arc::clone(&self.conn);
        blocking(operation, resource, &self.path, move || {
            // If `work` panicked earlier, its transaction was rolled back.
            let mut conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
        .await
    }

    /// Reads from `ledger.db`, as it is when the call starts. Does not wait for a transaction that
    /// writes, nor does one wait for it.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        resource: &str,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, LedgerError> + Send + 'static,
    ) -> Result<T> {
        let readers = Arc::clone(&self.readers);
        blocking(operation, resource, &self.path, move || readers.read(work)).await
    }

    /// Runs `work` on a run's table.
    async fn with_table<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: &RunId,
        work: impl FnOnce(&Table) -> std::result::Result<T, LedgerError> + Send + 'static,
    ) -> Result<T> {
        let path = self.table_path(run);
        let (open, id, file) = (Arc::clone(&self.open), run.clone(), path.clone());
        blocking(operation, run.as_str(), &path, move || {
            let table = use_table(&open, id, &file)?;
            work(&table)
        })
        .await
    }

    fn table_path(&self, run: &RunId) -> PathBuf {
        self.tables.join(format!("{run}.db"))
    }
}

/// Runs `work`, which uses the database at this path, on a thread that may block.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    resource: &str,
    path: &Path,
    work: impl FnOnce() -> std::result::Result<T, LedgerError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let result = done.unwrap_or_else(|e| Err(LedgerError::panicked(e)));
    result.map_err(|error| error.into_port(operation, resource, path))
}

/// Returns the run's table, reopened if its file was replaced.
fn use_table(
    open: &Mutex<HashMap<RunId, Arc<Table>>>,
    run: RunId,
    path: &Path,
) -> std::result::Result<Arc<Table>, LedgerError> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = open.get(&run)
        && table.is_current()
    {
        return Ok(Arc::clone(table));
    }
    open.remove(&run);
    // An error, such as a missing permission, does not mean that there is no table.
    if !path.try_exists().map_err(LocalError::file(path))? {
        return Err(LedgerError::Other(
            ErrorKind::NotFound,
            "the run has no table".into(),
        ));
    }
    let table = Arc::new(Table::open(path)?);
    open.insert(run, Arc::clone(&table));
    Ok(table)
}

/// A failed operation on one of the ledger's databases.
#[derive(Debug)]
enum LedgerError {
    Sql(rusqlite::Error),
    Local(LocalError),
    Other(ErrorKind, String),
}

impl LedgerError {
    fn panicked(error: tokio::task::JoinError) -> LedgerError {
        LedgerError::Other(ErrorKind::Unavailable, error.to_string())
    }

    fn into_port(self, operation: &'static str, resource: &str, path: &Path) -> PortError {
        match self {
            LedgerError::Sql(error) => {
                LocalError::database(path)(error).into_port(operation, resource)
            }
            LedgerError::Local(error) => error.into_port(operation, resource),
            LedgerError::Other(kind, message) => PortError::new(operation, resource, kind, message),
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> LedgerError {
        LedgerError::Sql(error)
    }
}

impl From<LocalError> for LedgerError {
    fn from(error: LocalError) -> LedgerError {
        LedgerError::Local(error)
    }
}

impl From<serde_json::Error> for LedgerError {
    /// This program reads everything it writes, so another program wrote the item.
    fn from(error: serde_json::Error) -> LedgerError {
        LedgerError::Other(ErrorKind::Invalid, format!("unreadable item: {error}"))
    }
}
