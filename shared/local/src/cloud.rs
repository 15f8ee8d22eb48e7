//! `cloud.db`: the database that stands for the queues of the cloud.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::{LocalError, db};

/// The queue ([`crate::bus`]) and what waits for its time ([`crate::LocalScheduler`]). The local
/// Batch adds its own tables.
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
        id INTEGER PRIMARY KEY,            -- the message's
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
        let conn = db::open(&path, SCHEMA)?;
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
