//! Opens the databases of a state directory.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::LocalError;

/// The format of the databases, stored as SQLite's `user_version` (0 in a new database). No other
/// format can be opened: format 3 called phases "stages", format 4 had no tally, and format 5 had no
/// billed time by phase.
const FORMAT: i64 = 6;

/// How long a statement waits for the transaction of another process. Transactions take milliseconds;
/// the rest is for a disk that stalls.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a database in WAL mode. A new database is created with `schema`.
///
/// A commit is on the disk when it returns (`synchronous=FULL`), so it survives kill -9 and a power
/// failure. With NORMAL, a power failure could lose the last commits, and with them the outcomes of
/// children that another database already records as SUCCEEDED: those rows would never be processed
/// again. For 200,000 outcomes in transactions of 1,000 by two processes, NORMAL takes 0.55 s and
/// FULL 1.0 s.
pub(crate) fn open(path: &Path, schema: &str) -> Result<Connection, LocalError> {
    let conn = Connection::open(path).map_err(LocalError::database(path))?;
    prepare(&conn).map_err(LocalError::database(path))?;
    let found = version(&conn).map_err(LocalError::database(path))?;
    match found {
        FORMAT => Ok(conn),
        0 => {
            // Two processes may do this at the same time: the schema uses IF NOT EXISTS.
            let script =
                format!("BEGIN IMMEDIATE; {schema} PRAGMA user_version = {FORMAT}; COMMIT;");
            conn.execute_batch(&script)
                .map_err(LocalError::database(path))?;
            Ok(conn)
        }
        _ => Err(LocalError::Format {
            path: path.to_owned(),
            found,
            known: FORMAT,
        }),
    }
}

/// Opens a database that [`open`] has created, for statements that only read.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, LocalError> {
    let conn = Connection::open(path).map_err(LocalError::database(path))?;
    let prepared = conn
        .busy_timeout(BUSY_TIMEOUT)
        .and_then(|()| conn.pragma_update(None, "query_only", true));
    prepared.map_err(LocalError::database(path))?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}
