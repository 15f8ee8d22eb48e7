//! Connections that only read `ledger.db`.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};

use super::LedgerError;
use crate::db;

/// The most reads at the same time. More would only share the processors of one machine.
const READERS: usize = 4;

/// Connections for reads, opened when they are needed. In WAL mode, a read sees the last commit before
/// it, and neither waits for the connection that writes nor holds it up.
pub(super) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    in_use: usize,
}

/// A connection in use. It returns to the pool even if the read panics.
struct Lent<'a> {
    readers: &'a Readers,
    /// `None`: not opened.
    conn: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.lock();
        pool.in_use -= 1;
        pool.idle.extend(self.conn.take());
        drop(pool);
        self.readers.returned.notify_one();
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one transaction that cannot write. Blocks the thread while [`READERS`] reads are
    /// in progress.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut lent = self.lend();
        let conn = match &mut lent.conn {
            Some(conn) => conn,
            none => none.insert(db::open_reader(&self.path)?),
        };
        // Deferred, which is the default: the first statement takes the snapshot, and no lock.
        let transaction = conn.transaction()?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    fn lend(&self) -> Lent<'_> {
        let mut pool = self.lock();
        while pool.in_use >= READERS {
            let woken = self.returned.wait(pool);
            pool = woken.unwrap_or_else(PoisonError::into_inner);
        }
        pool.in_use += 1;
        Lent {
            conn: pool.idle.pop(),
            readers: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use rusqlite::TransactionBehavior;

    use super::*;
    use crate::SqliteLedger;

    fn count(transaction: &Transaction<'_>) -> Result<u32, LedgerError> {
        Ok(transaction.query_row("SELECT count(*) FROM claim", [], |row| row.get(0))?)
    }

    const INSERT: &str =
        "INSERT INTO claim (run, work, owner, until) VALUES ('r', 'split', 'o', 0)";

    #[test]
    fn a_read_does_not_wait_for_a_write_and_sees_it_once_it_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(folder.path()).unwrap();
        let mut conn = ledger.conn.lock().unwrap();
        let write = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .unwrap();
        write.execute(INSERT, []).unwrap();

        let (send, receive) = mpsc::channel();
        let readers = Arc::clone(&ledger.readers);
        std::thread::spawn(move || send.send(readers.read(count).unwrap()).unwrap());
        // With the lock of the write, this read would never end.
        let during = receive.recv_timeout(Duration::from_secs(20)).unwrap();
        write.commit().unwrap();
        assert_eq!((during, ledger.readers.read(count).unwrap()), (0, 1));
    }

    #[test]
    fn a_reader_cannot_write_and_returns_after_a_failure_and_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(folder.path()).unwrap();
        for _ in 0..2 * READERS {
            let written = ledger.readers.read(|t| Ok(t.execute(INSERT, [])?));
            assert!(matches!(written, Err(LedgerError::Sql(_))), "{written:?}");
            let readers = &ledger.readers;
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let read = |_: &Transaction<'_>| -> Result<(), LedgerError> { panic!("test") };
                readers.read(read)
            }));
            assert!(panicked.is_err());
        }
        assert_eq!(ledger.readers.read(count).unwrap(), 0);
        let pool = ledger.readers.lock();
        assert_eq!((pool.in_use, pool.idle.len()), (0, 1));
    }
}
