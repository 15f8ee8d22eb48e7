//! The databases of a state directory: how each is opened, and the one that stands for the cloud.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use crate::LocalError;

/// Format of the state directory's databases, in SQLite's `user_version`. Since 2 `cloud.db` has
/// the table `schedule`, since 3 the table of a run `answer`.
const FORMAT: i64 = 3;

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
    if found > FORMAT {
        return Err(LocalError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    if found < FORMAT {
        // Two processes may meet here: the schema says IF NOT EXISTS.
        let script = format!("BEGIN IMMEDIATE; {schema} PRAGMA user_version = {FORMAT}; COMMIT;");
        conn.execute_batch(&script)
            .map_err(LocalError::database(path))?;
    }
    Ok(conn)
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

/// `cloud.db`: messages and jobs, in one database, so that a job's change and the event
/// that tells of it are one transaction. Cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    path: PathBuf,
    conn: Mutex<Connection>,
    changed: watch::Sender<()>,
}

impl Cloud {
    /// Opens `<state>/cloud.db`, creating both where they are absent.
    ///
    /// # Errors
    /// The directory or the database cannot be made or read, or is of a newer format.
    pub fn open(state: &Path) -> Result<Cloud, LocalError> {
        std::fs::create_dir_all(state).map_err(LocalError::file(state))?;
        let path = state.join("cloud.db");
        let schema = format!("{} {}", crate::bus::SCHEMA, crate::schedule::SCHEMA);
        let conn = open(&path, &schema)?;
        Ok(Cloud(Arc::new(Inner {
            path,
            conn: Mutex::new(conn),
            changed: watch::Sender::new(()),
        })))
    }

    /// Works on the database, alone among this process's threads; wakes all that wait on
    /// [`Cloud::changed`] where a row changed. Blocks for as long as `work` takes, so keep it
    /// short: statements, no waiting.
    ///
    /// # Errors
    /// What `work` answers, with the database's path.
    pub fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LocalError> {
        // A panic within `work` has rolled its transaction back: the connection is as good as new.
        let mut conn = self.0.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = conn.total_changes();
        let result = work(&mut conn);
        let changed = conn.total_changes() != before;
        drop(conn);
        if changed {
            self.0.changed.send_replace(());
        }
        result.map_err(LocalError::database(&self.0.path))
    }

    /// Tells of every change made through this value and its clones. Take the receiver before
    /// reading, read, then await `changed()` on it: no change is missed, and nothing polls.
    /// Changes by other processes are not told of.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}
