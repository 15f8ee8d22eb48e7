//! Answers that the children of a run share, in the run's table.

use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_ports::{Asked, ErrorKind};
use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::LedgerError;
use super::table::Table;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS answer (
        question TEXT PRIMARY KEY,
        owner TEXT NOT NULL,               -- who held the question last
        until INTEGER NOT NULL,            -- epoch milliseconds; 0: released
        answer TEXT
    ) WITHOUT ROWID;
";

impl Table {
    /// Returns the answer to a question, or gives the question to `owner` until `until`. Times
    /// are milliseconds since the epoch.
    pub(super) fn ask(
        &self,
        question: &str,
        owner: &str,
        now: i64,
        until: i64,
    ) -> Result<Asked, LedgerError> {
        self.answers(|conn| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: Option<(String, i64, Option<String>)> = transaction
                .prepare_cached("SELECT owner, until, answer FROM answer WHERE question = ?1")?
                .query_row([question], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            match found {
                Some((_, _, Some(answer))) => return Ok(Asked::Known(answer)),
                Some((holder, until, None)) if holder != owner && until > now => {
                    return Ok(Asked::Awaited);
                }
                _ => {}
            }
            transaction
                .prepare_cached(
                    "INSERT INTO answer (question, owner, until) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET owner = ?2, until = ?3",
                )?
                .execute(params![question, owner, until])?;
            transaction.commit()?;
            Ok(Asked::Yours)
        })
    }

    /// Stores the answer to a question. With `None`, releases the question.
    pub(super) fn answer(
        &self,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<(), LedgerError> {
        if let Some(bytes) = answer.map(str::len).filter(|bytes| *bytes > OUTCOME_BYTES) {
            let message = format!("the answer has {bytes} bytes; the limit is {OUTCOME_BYTES}");
            return Err(LedgerError::Other(ErrorKind::Invalid, message));
        }
        self.answers(|conn| {
            match answer {
                Some(answer) => conn
                    .prepare_cached(
                        "INSERT INTO answer (question, owner, until, answer) VALUES (?1, ?2, 0, ?3)
                         ON CONFLICT DO UPDATE SET answer = ?3",
                    )?
                    .execute(params![question, owner, answer])?,
                None => conn
                    .prepare_cached(
                        "UPDATE answer SET until = 0
                         WHERE question = ?1 AND owner = ?2 AND answer IS NULL",
                    )?
                    .execute(params![question, owner])?,
            };
            Ok(())
        })
    }
}
