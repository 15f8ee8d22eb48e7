//! `cloud.db`: the database that replaces AWS's queues.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::private::create_private;
use crate::{LocalError, db};

const FILE: &str = "cloud.db";

/// The tables of the queue ([`crate::bus`]) and of scheduled messages ([`crate::LocalScheduler`]).
/// The local Batch adds its own.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        target TEXT NOT NULL,
        payload TEXT NOT NULL,
        due INTEGER NOT NULL,              -- epoch milliseconds
        failures INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS message_due ON message (due, id);
    CREATE TABLE IF NOT EXISTS dead_letter (
        id INTEGER PRIMARY KEY,            -- of the message
        target TEXT NOT NULL,
        payload TEXT NOT NULL,
        error TEXT NOT NULL,
        died INTEGER NOT NULL              -- epoch milliseconds
    );
    CREATE TABLE IF NOT EXISTS schedule (
        name TEXT PRIMARY KEY,
        due INTEGER NOT NULL,              -- epoch milliseconds
        message TEXT NOT NULL              -- JSON
    );
    CREATE INDEX IF NOT EXISTS schedule_due ON schedule (due);
";

/// `cloud.db`: messages and jobs in one database, so that a change of a job and its event are one
/// transaction. Cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    path: PathBuf,
    conn: Mutex<Connection>,
    changed: watch::Sender<()>,
}

impl Cloud {
    /// Whether a state directory has no `cloud.db`.
    pub fn is_missing(state: &Path) -> bool {
        matches!(state.join(FILE).try_exists(), Ok(false))
    }

    /// Opens `<state>/cloud.db`. Creates the directory and the database if they do not exist.
    ///
    /// # Errors
    /// The directory or the database cannot be created or read, or the database has another format.
    pub fn open(state: &Path) -> Result<Cloud, LocalError> {
        create_private(state).map_err(LocalError::file(state))?;
        let path = state.join(FILE);
        let conn = db::open(&path, SCHEMA)?;
        Ok(Cloud(Arc::new(Inner {
            path,
            conn: Mutex::new(conn),
            changed: watch::Sender::new(()),
        })))
    }

    /// Runs `work` with exclusive access among the threads of this process. Notifies
    /// [`Cloud::changed`] if a row changed. Blocks as long as `work` runs, so `work` should only
    /// execute statements.
    ///
    /// # Errors
    /// The error of `work`, with the path of the database.
    pub fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LocalError> {
        // A panic within `work` rolled back its transaction, so the connection is usable.
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

    /// Notifies of every change made through this value and its clones, but not by other processes.
    /// Get the receiver before reading, read, then await `changed()`: no change is missed.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}
