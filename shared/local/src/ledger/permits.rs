//! Rate permits in `permits.db`: for each rate key, the time of its next permit.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, params};

use super::LedgerError;
use crate::LocalError;
use crate::db;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS permit (
        rate_key TEXT PRIMARY KEY,
        next INTEGER NOT NULL              -- epoch nanoseconds
    ) WITHOUT ROWID;
";

/// The permits of a state directory.
pub(super) struct Permits {
    pub(super) path: PathBuf,
    /// Opened at first use.
    conn: Mutex<Option<Connection>>,
}

impl Permits {
    pub(super) fn new(state: &Path) -> Permits {
        Permits {
            path: state.join("permits.db"),
            conn: Mutex::default(),
        }
    }

    /// Takes permits that last `duration` in total and returns the time of the first: `now`, or
    /// after all permits taken earlier. All times are nanoseconds since the epoch.
    pub(super) fn take(&self, rate_key: &str, duration: i64, now: i64) -> Result<i64, LedgerError> {
        let mut slot = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match &mut *slot {
            Some(conn) => conn,
            empty => empty.insert(self.open(now)?),
        };
        let first = conn
            .prepare_cached(
                "INSERT INTO permit (rate_key, next) VALUES (?1, ?2 + ?3)
                 ON CONFLICT DO UPDATE SET next = max(next, ?2) + ?3
                 RETURNING next - ?3",
            )?
            .query_row(params![rate_key, now, duration], |row| row.get(0))?;
        Ok(first)
    }

    fn open(&self, now: i64) -> Result<Connection, LocalError> {
        let conn = db::open(&self.path, SCHEMA)?;
        let prepare = || {
            // A power failure may lose permits, because it also ends the processes that took
            // them. Children take permits many times per second and wait for each.
            conn.pragma_update(None, "synchronous", "normal")?;
            // A key without future permits behaves like an absent one.
            conn.execute("DELETE FROM permit WHERE next < ?1", [now])
        };
        prepare().map_err(LocalError::database(&self.path))?;
        Ok(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_permits_and_unused_rate_keys_are_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (Permits::new(state.path()), Permits::new(state.path()));
        assert_eq!(one.take("a", 10, 100).unwrap(), 100);
        assert_eq!(one.take("b", 500, 100).unwrap(), 100);
        assert_eq!(two.take("a", 10, 100).unwrap(), 110, "another process");
        let later = Permits::new(state.path());
        assert_eq!(later.take("c", 10, 300).unwrap(), 300);
        let conn = later.conn.lock().unwrap();
        let mut keys = conn
            .as_ref()
            .unwrap()
            .prepare("SELECT rate_key FROM permit")
            .unwrap();
        let keys: Vec<String> = keys
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(keys, ["b", "c"]);
    }
}
