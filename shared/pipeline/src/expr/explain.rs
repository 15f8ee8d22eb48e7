//! Explains why an evaluation failed, with the name of the column and its value.
//!
//! CEL's errors name types, not columns. The tree is therefore walked again, down to the innermost
//! node that fails although its children do not.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};
use cel::{Context, ExecutionError, Value};
use rowmill_domain::value::number_text;

use super::steps::STEPS;
use super::{Slot, SlotKind, functions, number};

/// Returns the reason why `tree` has no value in `context`.
pub(super) fn explain(tree: &IdedExpr, context: &Context<'_, '_>, slots: &[Slot]) -> String {
    Explainer { context, slots }.explain(tree)
}

/// Returns the type of a value in words, such as `a number`.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "true or false",
        Value::Float(_) | Value::Int(_) | Value::UInt(_) => "a number",
        Value::String(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        _ => "something else",
    }
}

/// Returns a value in words, such as `the text "abc"`.
pub(super) fn held(value: &Value) -> String {
    /// Maximum length of a text that is shown in full, in characters.
    const SHOWN: usize = 40;
    match value {
        Value::Bool(b) => b.to_string(),
        Value::String(t) if t.chars().count() > SHOWN => {
            // The dots follow the text directly, so that redaction recognizes a truncated secret.
            let start: String = t.chars().take(SHOWN).collect();
            format!("the text {:?}", start + "...")
        }
        Value::String(t) => format!("the text {:?}", t.as_str()),
        other => match number(other) {
            Some(n) => format!("the number {}", number_text(n)),
            None => kind(other).to_owned(),
        },
    }
}

struct Explainer<'a, 'p, 'v> {
    context: &'a Context<'p, 'v>,
    slots: &'a [Slot],
}

impl<'a> Explainer<'a, '_, '_> {
    fn value(&self, expr: &IdedExpr) -> Result<Value, ExecutionError> {
        self.context.resolve(expr)
    }

    /// Whether a variable is none of the source: a compiled pattern, or the steps.
    fn is_internal(&self, expr: &IdedExpr) -> bool {
        let Expr::Ident(key) = &expr.expr else {
            return false;
        };
        if key == STEPS {
            return true;
        }
        let mut slots = self.slots.iter().filter(|s| s.key == *key);
        slots.any(|s| matches!(s.what, SlotKind::Pattern(_)))
    }

    /// Returns the column that a variable of the tree stands for.
    fn column(&self, expr: &IdedExpr) -> Option<&'a str> {
        match &expr.expr {
            Expr::Ident(key) => self.column_of(key),
            _ => None,
        }
    }

    fn column_of(&self, key: &str) -> Option<&'a str> {
        let slot = self.slots.iter().find(|s| s.key == key)?;
        match &slot.what {
            SlotKind::Column(_, name) => Some(name),
            SlotKind::Has(..) | SlotKind::Pattern(_) => None,
        }
    }

    fn explain(&self, expr: &'a IdedExpr) -> String {
        let Err(error) = self.value(expr) else {
            return String::new();
        };
        if let Some(column) = self.column(expr) {
            return format!("`{column}` is empty");
        }
        let parts: Vec<&IdedExpr> = match &expr.expr {
            Expr::Call(call) => return self.call(call, &error),
            Expr::Select(select) => vec![&select.operand],
            Expr::List(list) => list.elements.iter().collect(),
            Expr::Map(map) => map
                .entries
                .iter()
                .flat_map(|e| match &e.expr {
                    EntryExpr::MapEntry(e) => [&e.key, &e.value],
                    EntryExpr::StructField(e) => [&e.value, &e.value],
                })
                .collect(),
            Expr::Comprehension(all) => vec![&all.iter_range],
            _ => Vec::new(),
        };
        match parts.into_iter().find(|p| self.value(p).is_err()) {
            Some(part) => self.explain(part),
            None => self.plain(&error),
        }
    }

    /// Returns CEL's own reason, for errors that no column explains.
    fn plain(&self, error: &ExecutionError) -> String {
        match error {
            ExecutionError::UndeclaredReference(key) => match self.column_of(key) {
                Some(column) => format!("`{column}` is empty"),
                None => format!("`{key}` has no value"),
            },
            ExecutionError::NoSuchKey(key) => format!("the map has no entry {key:?}"),
            ExecutionError::FunctionError { message, .. } => message.clone(),
            ExecutionError::IndexOutOfBounds(_) => {
                "the index is beyond the end of the list".to_owned()
            }
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                "division by zero".to_owned()
            }
            ExecutionError::NoSuchOverload(_)
            | ExecutionError::ValuesNotComparable(..)
            | ExecutionError::UnsupportedBinaryOperator(..) => {
                "values of different types are combined, such as text and a number".to_owned()
            }
            other => other.to_string(),
        }
    }

    fn call(&self, call: &'a CallExpr, error: &ExecutionError) -> String {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => {
                return match self.value(condition) {
                    Err(_) => self.explain(condition),
                    Ok(value) => match value {
                        Value::Bool(true) => self.explain(yes),
                        Value::Bool(false) => self.explain(no),
                        _ => self.not(condition, &value, "true or false", "the part before `?`"),
                    },
                };
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, sides) => {
                for side in sides {
                    match self.value(side) {
                        Err(_) => return self.explain(side),
                        Ok(v) if !matches!(v, Value::Bool(_)) => {
                            let whose = format!("one side of `{}`", symbol(name));
                            return self.not(side, &v, "true or false", &whose);
                        }
                        Ok(_) => {}
                    }
                }
                return self.plain(error);
            }
            _ => {}
        }
        let is_namespace = |e: &IdedExpr| matches!(&e.expr, Expr::Ident(n) if n == "math");
        let operands: Vec<&IdedExpr> = call
            .target
            .iter()
            .map(|t| &**t)
            .filter(|t| !is_namespace(t))
            .chain(&call.args)
            .filter(|o| !self.is_internal(o))
            .collect();
        let mut values = Vec::with_capacity(operands.len());
        for operand in &operands {
            match self.value(operand) {
                Ok(value) => values.push(value),
                Err(_) => return self.explain(operand),
            }
        }
        let symbol = symbol(name);
        match (operands.as_slice(), values.as_slice()) {
            ([_, divisor], _)
                if matches!(
                    error,
                    ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_)
                ) =>
            {
                match self.column(divisor) {
                    Some(column) => format!("division by zero: `{column}` is 0"),
                    None => self.plain(error),
                }
            }
            // These errors already say what is wrong.
            _ if matches!(
                error,
                ExecutionError::FunctionError { .. }
                    | ExecutionError::NoSuchKey(_)
                    | ExecutionError::IndexOutOfBounds(_)
            ) =>
            {
                let reason = self.plain(error);
                match operands.iter().find_map(|o| self.column(o)) {
                    Some(column) => format!("`{column}`: {reason}"),
                    None => reason,
                }
            }
            ([a, b], [x, y]) if is_operator(name) => self.binary(symbol, (a, x), (b, y)),
            ([a], [x]) if name == operators::LOGICAL_NOT => {
                self.not(a, x, "true or false", "what follows `!`")
            }
            ([a], [x]) if name == operators::NEGATE => {
                self.not(a, x, "a number", "what follows `-`")
            }
            _ => {
                let shown: Vec<String> = operands
                    .iter()
                    .zip(&values)
                    .map(|(o, v)| match self.column(o) {
                        Some(column) => format!("`{column}`, which is {}", held(v)),
                        None => held(v),
                    })
                    .collect();
                format!("`{symbol}` does not accept {}", shown.join(" and "))
            }
        }
    }

    /// Formats `` `tax_due` is the text "abc", not a number ``. `whose` describes a node that is
    /// not a column.
    fn not(&self, expr: &IdedExpr, value: &Value, wanted: &str, whose: &str) -> String {
        let whose = match self.column(expr) {
            Some(column) => format!("`{column}`"),
            None => whose.to_owned(),
        };
        format!("{whose} is {}, not {wanted}", held(value))
    }

    fn binary(
        &self,
        symbol: &str,
        (a, x): (&IdedExpr, &Value),
        (b, y): (&IdedExpr, &Value),
    ) -> String {
        let left = format!("the left side of `{symbol}`");
        let right = format!("the right side of `{symbol}`");
        if symbol == "in" {
            return match y {
                Value::List(_) => format!(
                    "{} is {}, but the list has values of another type",
                    self.column(a).map_or(left, |c| format!("`{c}`")),
                    held(x)
                ),
                _ => self.not(b, y, "a list", &right),
            };
        }
        if matches!(symbol, "-" | "*" | "/" | "%") {
            return match number(x) {
                None => self.not(a, x, "a number", &left),
                Some(_) => self.not(b, y, "a number", &right),
            };
        }
        match (self.column(a), self.column(b)) {
            (Some(_), None) => self.not(a, x, kind(y), &left),
            (None, Some(_)) => self.not(b, y, kind(x), &right),
            (Some(a), Some(b)) => format!(
                "`{a}` is {} and `{b}` is {}: `{symbol}` needs values of the same type",
                held(x),
                held(y)
            ),
            (None, None) => format!(
                "{left} is {}, the right side is {}: both must have the same type",
                held(x),
                held(y)
            ),
        }
    }
}

/// Returns an operator or function as a source writes it.
fn symbol(name: &str) -> &str {
    match name {
        functions::EQUALS => "==",
        functions::IN => "in",
        functions::DIVIDE => "/",
        functions::REMAINDER => "%",
        functions::MATCHES => "matches",
        "@text" => "string",
        "@number" => "double",
        "@whole" => "int",
        operators::ADD => "+",
        operators::SUBSTRACT => "-",
        operators::MULTIPLY => "*",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::INDEX => "[..]",
        // An overload of our own.
        other => other.strip_prefix('@').unwrap_or(other),
    }
}

fn is_operator(name: &str) -> bool {
    matches!(
        name,
        functions::EQUALS
            | functions::IN
            | functions::DIVIDE
            | functions::REMAINDER
            | operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
    )
}
