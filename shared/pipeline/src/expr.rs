//! Rules and derived columns: CEL expressions in which missing is never a value.
//!
//! The language is CEL (Common Expression Language) with these differences, which the compiler
//! introduces:
//!
//! - Column names are literal, `row["Customer ID"]` or `row.ZIP`, and outputs can be written by their
//!   bare name. All references are therefore known before the first row.
//! - Using an empty column is an error, and so is combining text with a number, even with `==`, `!=`
//!   and `in`. `has(row["Note"])` tests for a value. As in CEL, `&&` and `||` ignore an error if the
//!   other side decides the result.
//! - Numbers are doubles, as in Excel, and integer literals are doubles too. `%` has the sign of the
//!   dividend, and division by zero is an error.
//! - `null` is not supported. Dates and times are their ISO 8601 text, which sorts in the same order.

mod bounded;
mod explain;
mod functions;
mod rewrite;
mod steps;
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

use self::steps::{STEPS, Steps, TEXT_STEP};
use crate::names::{CompileError, Origin, Reference};

pub(crate) use self::steps::{TEXT_MAX, too_long};

/// Returns every function as the reference writes it, and whether it is a method of a value.
pub(crate) fn functions() -> impl Iterator<Item = (&'static str, bool)> {
    functions::FUNCTIONS.iter().map(|f| (f.name, f.member))
}

/// A compiled CEL expression. Cheap to clone.
///
/// ```
/// use rowmill_domain::Value;
/// use rowmill_domain::record::{Columns, Record, Row};
/// use rowmill_pipeline::Expr;
///
/// let expr = Expr::compile("row.Amount > 100 ? 'large' : 'small'").unwrap();
/// let columns = Columns::new(["Amount"]);
/// let eval = |amount: Option<Value>| {
///     let record = Record { row: 2, values: vec![amount] };
///     expr.eval(Row { columns: &columns, record: &record, outputs: &[] })
/// };
/// assert_eq!(eval(Some(250.0.into())), Ok("large".into()));
/// // Missing is never a value, and text is never a number.
/// assert_eq!(eval(None).unwrap_err().0, "`Amount` is empty");
/// let text = eval(Some("250".into())).unwrap_err();
/// assert_eq!(text.0, "`Amount` is the text \"250\", not a number");
/// ```
#[derive(Clone)]
pub struct Expr(Arc<CompiledExpr>);

struct CompiledExpr {
    source: String,
    tree: IdedExpr,
    references: Vec<Reference>,
    slots: Vec<Slot>,
}

/// A variable of the compiled tree.
#[derive(Debug)]
struct Slot {
    /// The name in the tree. An identifier in a source never names another slot.
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

/// Why an expression or a template has no value for a record. The text names the column.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.0.source).finish()
    }
}

impl Expr {
    /// Compiles an expression.
    ///
    /// # Errors
    /// The syntax is invalid, or the expression uses something that is not supported.
    pub fn compile(source: &str) -> Result<Expr, CompileError> {
        let rewritten = rewrite::rewrite(source)?;
        Ok(Expr(Arc::new(CompiledExpr {
            source: source.to_owned(),
            tree: rewritten.tree,
            references: rewritten.references,
            slots: rewritten.slots,
        })))
    }

    /// Returns the source text.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Returns the columns that the expression mentions, in the order of the source.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// Returns the value of an expression that mentions no column, which is the same for all records.
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

    /// Evaluates the expression for a record, to text, a finite number or a boolean.
    ///
    /// # Errors
    /// A column is empty, types do not match, or a function fails. The message names the column and
    /// its value.
    pub fn eval(&self, row: Row<'_>) -> Result<Value, EvalError> {
        let variables = Variables {
            row,
            slots: &self.0.slots,
            steps: Steps::new(),
        };
        let mut context = cel::Context::with_env(functions::environment());
        context.set_variable_resolver(&variables);
        match context.resolve(&self.0.tree) {
            _ if variables.steps.are_spent() => Err(steps::spent()),
            Ok(value) => cell(&value),
            Err(_) => {
                // The reason is found by evaluating parts again.
                variables.steps.reset();
                Err(explain::explain(&self.0.tree, &context, &self.0.slots))
            }
        }
        .map_err(EvalError)
    }
}

/// Converts the result of an expression to the value of a cell.
fn cell(value: &cel::Value) -> Result<Value, String> {
    if let Some(n) = number(value) {
        return match n.is_finite() {
            true => Ok(Value::Number(n)),
            false => Err("the result is too large for a number".to_owned()),
        };
    }
    match value {
        cel::Value::Bool(b) => Ok(Value::Bool(*b)),
        cel::Value::String(t) if t.len() > TEXT_MAX => Err(too_long()),
        cel::Value::String(t) => Ok(Value::Text(t.as_str().to_owned())),
        other => Err(format!(
            "the result is {}, which a cell cannot hold",
            explain::kind(other)
        )),
    }
}

/// Returns the number in a value, if it is one.
fn number(value: &cel::Value) -> Option<f64> {
    match value {
        cel::Value::Float(n) => Some(*n),
        cel::Value::Int(n) => Some(*n as f64),
        _ => None,
    }
}

/// Resolves the variables of a tree for one record.
struct Variables<'a> {
    row: Row<'a>,
    slots: &'a [Slot],
    steps: Steps,
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
        if variable == STEPS {
            return Some(CowVal::Borrowed(&self.steps));
        }
        let slot = self.slots.iter().find(|s| s.key == variable)?;
        Some(match &slot.what {
            SlotKind::Column(origin, name) => match self.column(*origin, name)? {
                Value::Bool(b) => CowVal::owned(CelBool::from(*b)),
                Value::Number(n) => CowVal::owned(CelDouble::from(*n)),
                // Without steps, the evaluation ends at the next opportunity, and its result does not
                // count.
                Value::Text(t) => match self.steps.take(t.len() / TEXT_STEP) {
                    true => CowVal::owned(CelString::from(t.as_str())),
                    false => CowVal::owned(CelString::from("")),
                },
                other => CowVal::owned(CelString::from(other.to_text())),
            },
            SlotKind::Has(origin, name) => {
                CowVal::owned(CelBool::from(self.column(*origin, name).is_some()))
            }
            SlotKind::Pattern(pattern) => CowVal::Borrowed(pattern),
        })
    }
}
