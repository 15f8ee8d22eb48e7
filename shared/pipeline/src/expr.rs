//! Rules and derived columns: CEL expressions in which missing is never a value.
//!
//! CEL (Common Expression Language) with these differences, made when an expression is compiled:
//!
//! - Columns are mentioned by literal names only, `row["Customer ID"]`, `row.ZIP`, and outputs so
//!   far by their bare name, so that they are known before the first row.
//! - A column that is empty is an error wherever it is met, and so is a text that meets a number,
//!   in `==`, `!=` and `in` too. `has(row["Note"])` asks for presence. As in CEL, `&&` and `||`
//!   pass over an error where the other side alone decides.
//! - Numbers are doubles, as in Excel, and integer literals meet them as such; `%` has the sign of
//!   the dividend, and a division by zero is an error.
//! - There is no `null`. Dates and times are their ISO 8601 text, which compares as they do.

mod explain;
mod functions;
mod rewrite;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::common::types::{CelBool, CelDouble, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use rowmill_domain::record::{Columns, Record, Row};
use rowmill_domain::value::Value;

use crate::names::{CompileError, Origin, Reference};

/// Every function as the reference writes it, and whether it is called on a value.
pub(crate) fn functions() -> impl Iterator<Item = (&'static str, bool)> {
    functions::FUNCTIONS.iter().map(|f| (f.name, f.member))
}

/// A compiled CEL expression. Cheap to clone.
#[derive(Clone)]
pub struct Expr(Arc<Inner>);

struct Inner {
    source: String,
    tree: IdedExpr,
    references: Vec<Reference>,
    slots: Vec<Slot>,
}

/// A variable of the compiled tree.
#[derive(Debug)]
struct Slot {
    /// Its name in the tree; no identifier that a source can spell stands for another slot.
    key: String,
    what: SlotKind,
}

#[derive(Debug)]
enum SlotKind {
    /// The value of a column.
    Column(Origin, Arc<str>),
    /// Whether a column has a value.
    Has(Origin, Arc<str>),
    /// A regular expression, compiled.
    Pattern(functions::Pattern),
}

/// Why an expression or a template gave no value for a record: the reason of an empty cell.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.0.source).finish()
    }
}

impl Expr {
    /// Compiles; the error says what is wrong and where in `source`.
    pub fn compile(source: &str) -> Result<Expr, CompileError> {
        let rewritten = rewrite::rewrite(source)?;
        Ok(Expr(Arc::new(Inner {
            source: source.to_owned(),
            tree: rewritten.tree,
            references: rewritten.references,
            slots: rewritten.slots,
        })))
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The columns it mentions, in the order of the text.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// Its value where it mentions no column, and so is the same for all records.
    pub(crate) fn constant(&self) -> Option<Result<Value, EvalError>> {
        let columns = Columns::default();
        let record = Record {
            row: 0,
            values: Vec::new(),
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        self.references().is_empty().then(|| self.eval(row))
    }

    /// Its value for a record: a text, a finite number or a boolean. An absent value, a text met by
    /// a number and the like are errors that name the column and what it holds.
    pub fn eval(&self, row: Row<'_>) -> Result<Value, EvalError> {
        let variables = Variables {
            row,
            slots: &self.0.slots,
        };
        let mut context = cel::Context::with_env(functions::environment());
        context.set_variable_resolver(&variables);
        match context.resolve(&self.0.tree) {
            Ok(value) => cell(&value),
            Err(_) => Err(explain::explain(&self.0.tree, &context, &self.0.slots)),
        }
        .map_err(EvalError)
    }
}

/// The result of an expression as a cell's value.
fn cell(value: &cel::Value) -> Result<Value, String> {
    if let Some(n) = number(value) {
        return match n.is_finite() {
            true => Ok(Value::Number(n)),
            false => Err("the result is too large for a number".to_owned()),
        };
    }
    match value {
        cel::Value::Bool(b) => Ok(Value::Bool(*b)),
        cel::Value::String(t) => Ok(Value::Text(t.as_str().to_owned())),
        other => Err(format!(
            "the result is {}, which no cell can hold",
            explain::kind(other)
        )),
    }
}

/// A value as a number, if it is one.
fn number(value: &cel::Value) -> Option<f64> {
    match value {
        cel::Value::Float(n) => Some(*n),
        cel::Value::Int(n) => Some(*n as f64),
        _ => None,
    }
}

/// A record as the variables of a tree.
struct Variables<'a> {
    row: Row<'a>,
    slots: &'a [Slot],
}

impl<'a> Variables<'a> {
    fn column(&self, origin: Origin, name: &str) -> Option<&'a Value> {
        match origin {
            Origin::Row => self.row.get(name),
            Origin::Outputs => self.row.output(name),
        }
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let slot = self.slots.iter().find(|s| s.key == variable)?;
        Some(match &slot.what {
            SlotKind::Column(origin, name) => match self.column(*origin, name)? {
                Value::Bool(b) => CowVal::owned(CelBool::from(*b)),
                Value::Number(n) => CowVal::owned(CelDouble::from(*n)),
                Value::Text(t) => CowVal::owned(CelString::from(t.as_str())),
                other => CowVal::owned(CelString::from(other.to_text())),
            },
            SlotKind::Has(origin, name) => {
                CowVal::owned(CelBool::from(self.column(*origin, name).is_some()))
            }
            SlotKind::Pattern(pattern) => CowVal::Borrowed(pattern),
        })
    }
}
