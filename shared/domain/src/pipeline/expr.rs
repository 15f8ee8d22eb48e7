//! Rules and derived columns: CEL expressions in which missing is never a value.

use crate::record::Row;
use crate::value::Value;

/// A compiled CEL expression.
#[derive(Clone, Debug)]
pub struct Expr {
    source: String,
}

/// Why an expression gave no value for a record: the reason of an empty cell.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

impl Expr {
    /// Compiles; the error says what is wrong and the byte offset in `source`.
    pub fn compile(source: &str) -> Result<Expr, (String, usize)> {
        Ok(Expr {
            source: source.to_owned(),
        })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its value for a record. An absent value, a text met by a number and the like are errors.
    pub fn eval(&self, row: Row<'_>) -> Result<Value, EvalError> {
        let _ = row;
        Err(EvalError(String::new()))
    }
}
