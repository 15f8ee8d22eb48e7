//! How each database of a state directory is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::LocalError;

/// Format of the state directory's databases, in SQLite's `user_version`; 0 in a new one. Only this
/// one is opened: format 3 called phases "stages".
const FORMAT: i64 = 4;

/// How long a statement waits for another process's transaction. Transactions last milliseconds;
/// this leaves room for a disk that stalls.
const BUSY: Duration = Duration::from_secs(30);

/// Opens a database in WAL mode, creating it with `schema` where it is new.
///
/// A commit is on the disk when it returns (`synchronous=FULL`): it survives kill -9 and a power
/// cut. NORMAL would lose the last commits to a power cut, and with them the outcomes of children
/// that another database already calls SUCCEEDED: rows nobody would work on again. For 200,000
/// outcomes in transactions of 1,000 by two processes it would take 0.55 s instead of 1.0 s.
pub(crate) fn open(path: &Path, schema: &str) -> Result<Connection, LocalError> {
    let conn = Connection::open(path).map_err(LocalError::database(path))?;
    prepare(&conn).map_err(LocalError::database(path))?;
    let found = version(&conn).map_err(LocalError::database(path))?;
    match found {
        FORMAT => Ok(conn),
        0 => {
            // Two processes may meet here: the schema says IF NOT EXISTS.
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

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}
