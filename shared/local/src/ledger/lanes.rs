//! Lanes in `lanes.db`: when the next turn of each is.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, params};

use super::Refusal;
use crate::LocalError;
use crate::db;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS lane (
        name TEXT PRIMARY KEY,
        next INTEGER NOT NULL              -- epoch nanoseconds
    ) WITHOUT ROWID;
";

/// The lanes of a state directory.
pub(super) struct Lanes {
    pub(super) path: PathBuf,
    /// Opened when first needed.
    conn: Mutex<Option<Connection>>,
}

impl Lanes {
    pub(super) fn new(state: &Path) -> Lanes {
        Lanes {
            path: state.join("lanes.db"),
            conn: Mutex::default(),
        }
    }

    /// Moves a lane on by `taken`, from `now` at the earliest; the time it is moved from. All in
    /// epoch nanoseconds.
    pub(super) fn take(&self, lane: &str, taken: i64, now: i64) -> Result<i64, Refusal> {
        let mut place = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match &mut *place {
            Some(conn) => conn,
            empty => empty.insert(self.open(now)?),
        };
        let first = conn
            .prepare_cached(
                "INSERT INTO lane (name, next) VALUES (?1, ?2 + ?3)
                 ON CONFLICT DO UPDATE SET next = max(next, ?2) + ?3
                 RETURNING next - ?3",
            )?
            .query_row(params![lane, now, taken], |row| row.get(0))?;
        Ok(first)
    }

    fn open(&self, now: i64) -> Result<Connection, LocalError> {
        let conn = db::open(&self.path, SCHEMA)?;
        let prepare = || {
            // Turns lost to a power cut were of a machine that is gone as well; children ask many
            // times a second, and wait for the answer.
            conn.pragma_update(None, "synchronous", "normal")?;
            // A lane whose turns are past is as good as none.
            conn.execute("DELETE FROM lane WHERE next < ?1", [now])
        };
        prepare().map_err(LocalError::database(&self.path))?;
        Ok(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_shared_and_those_that_nobody_asks_for_are_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (Lanes::new(state.path()), Lanes::new(state.path()));
        assert_eq!(one.take("a", 10, 100).unwrap(), 100);
        assert_eq!(one.take("b", 500, 100).unwrap(), 100);
        assert_eq!(two.take("a", 10, 100).unwrap(), 110, "another process");
        let later = Lanes::new(state.path());
        assert_eq!(later.take("c", 10, 300).unwrap(), 300);
        let conn = later.conn.lock().unwrap();
        let mut names = conn
            .as_ref()
            .unwrap()
            .prepare("SELECT name FROM lane")
            .unwrap();
        let names: Vec<String> = names
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(names, ["b", "c"]);
    }
}
