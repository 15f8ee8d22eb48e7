//! Rewrites the tree of CEL's parser into the tree that is evaluated, and finds every column in it.

use std::ops::Range;
use std::sync::Arc;

use cel::Env;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    MapEntryExpr, MapExpr, SelectExpr, SourceInfo, operators,
};

use super::functions::{self, FUNCTIONS, Pattern};
use super::steps::STEPS;
use super::{Slot, SlotKind};
use crate::names::{CompileError, Origin, Reference};

/// Maximum length of an expression, in bytes. With [`DEPTH_MAX`] it keeps recursive walks over a tree
/// within the stack of a thread.
pub(super) const LENGTH_MAX: usize = 8 * 1024;
/// Maximum nesting of a tree. A sum of n terms has depth n.
const DEPTH_MAX: usize = 200;

const WRITE_OUT: &str = "write row[\"Column\"], with the column name in quotes";

/// A tree that can be evaluated.
pub(super) struct Rewritten {
    pub(super) tree: IdedExpr,
    pub(super) references: Vec<Reference>,
    pub(super) slots: Vec<Slot>,
}

/// Parses and rewrites an expression.
pub(super) fn rewrite(source: &str) -> Result<Rewritten, CompileError> {
    if source.trim().is_empty() {
        return Err(CompileError::new(
            "the expression is empty",
            0..source.len(),
        ));
    }
    if source.len() > LENGTH_MAX {
        let message = format!("the expression is longer than {LENGTH_MAX} bytes");
        return Err(CompileError::new(message, 0..source.len()));
    }
    // Without the standard macros: CEL's `has` does not accept `has(row["X"])`, and `exists` and
    // `all` are expanded below.
    let (tree, info) = Env::default()
        .with_optional_support(false)
        .parser()
        .parse_with_source_info(source)
        .map_err(|errors| syntax_error(&errors, source))?;
    let mut rewriter = Rewriter {
        source,
        info: &info,
        references: Vec::new(),
        slots: Vec::new(),
        locals: Vec::new(),
        depth: 0,
    };
    let tree = rewriter.expr(tree)?;
    let mut references = rewriter.references;
    references.sort_by_key(|r| r.at.start);
    Ok(Rewritten {
        tree,
        references,
        slots: rewriter.slots,
    })
}

fn syntax_error(errors: &cel::ParseErrors, source: &str) -> CompileError {
    let Some(first) = errors.errors.first() else {
        return CompileError::new("invalid expression", 0..source.len());
    };
    let (line, column) = first.pos;
    let line_start: usize = source
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).unwrap_or(0))
        .map(str::len)
        .sum();
    let rest = source.get(line_start..).unwrap_or_default();
    let at = line_start
        + rest
            .char_indices()
            .nth(usize::try_from(column - 1).unwrap_or(0))
            .map_or(rest.trim_end().len(), |(i, _)| i);
    let end = source
        .get(at..)
        .and_then(|s| s.chars().next())
        .map_or(at, |c| at + c.len_utf8());
    let (what, help) = in_words(&first.msg);
    let error = CompileError::new(format!("invalid expression: {what}"), at..end);
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Returns the parser's message without its token sets, and help for syntax of other languages.
fn in_words(message: &str) -> (String, Option<&'static str>) {
    let message = message.lines().next().unwrap_or_default();
    let message = message.trim_start_matches("Syntax error: ");
    let token = message
        .split_once('\'')
        .and_then(|(_, rest)| rest.rsplit_once('\'').map(|(token, _)| token))
        .map(|token| token.split("' expecting").next().unwrap_or(token).trim());
    let Some(token) = token.filter(|t| !t.is_empty()) else {
        return ("it is incomplete".to_owned(), None);
    };
    if token == "<EOF>" {
        return ("it ends too early".to_owned(), None);
    }
    let help = match token.to_lowercase().as_str() {
        "and" => Some("write && for `and`"),
        "or" => Some("write || for `or`"),
        "not" => Some("write ! for `not`"),
        "if" | "then" | "else" => Some("write condition ? value : other value"),
        t if t.starts_with('=') => Some("write == to compare"),
        t if t.starts_with(['\'', '"']) => Some("text must end with the quote that it starts with"),
        _ => None,
    };
    (format!("unexpected `{token}`"), help)
}

struct Rewriter<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    references: Vec<Reference>,
    slots: Vec<Slot>,
    /// Variables of `exists` and `all`, innermost last.
    locals: Vec<String>,
    depth: usize,
}

fn call(id: u64, func_name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: func_name.to_owned(),
            target: None,
            args,
        }),
    }
}

fn ident(id: u64, name: &str) -> IdedExpr {
    IdedExpr {
        id,
        expr: Expr::Ident(name.to_owned()),
    }
}

fn is_int(expr: &IdedExpr) -> bool {
    matches!(expr.expr, Expr::Literal(LiteralValue::Int(_)))
}

impl Rewriter<'_> {
    /// Returns the position of a node in bytes.
    fn at(&self, id: u64) -> Range<usize> {
        let Some((start, stop)) = self.info.offset_for(id) else {
            return 0..self.source.len();
        };
        let start = self.source.floor_char_boundary(start as usize);
        let stop = self.source.ceil_char_boundary(stop as usize + 1);
        start..stop.max(start)
    }

    fn is_row(&self, expr: &IdedExpr) -> bool {
        matches!(&expr.expr, Expr::Ident(name) if name == "row") && !self.is_local("row")
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|l| l == name)
    }

    /// Returns the column that an expression mentions, if it is one.
    fn reference(&self, expr: &IdedExpr) -> Option<Reference> {
        let (name, from, at) = match &expr.expr {
            Expr::Ident(name) if name != "row" && !self.is_local(name) => {
                (name.clone(), Origin::Outputs, self.at(expr.id))
            }
            Expr::Select(select) if !select.test && self.is_row(&select.operand) => {
                let start = self.at(select.operand.id).start;
                let after = self.at(expr.id).start;
                let end = self.source[after..]
                    .find(select.field.as_str())
                    .map_or(after, |i| after + i + select.field.len());
                (select.field.clone(), Origin::Row, start..end)
            }
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [operand, index] if self.is_row(operand) => match &index.expr {
                    Expr::Literal(LiteralValue::String(name)) => {
                        let end = self.at(index.id).end;
                        let close = self.source[end..].find(']').map_or(end, |i| end + i + 1);
                        let start = self.at(operand.id).start;
                        (name.inner().to_owned(), Origin::Row, start..close)
                    }
                    _ => return None,
                },
                _ => return None,
            },
            _ => return None,
        };
        Some(Reference {
            name: name.into(),
            from,
            at,
        })
    }

    /// Returns the variable that stands for a column or for its presence.
    fn slot(&mut self, id: u64, reference: Reference, presence: bool) -> IdedExpr {
        let Reference { name, from, .. } = &reference;
        let key = match (from, presence) {
            (Origin::Outputs, false) => name.to_string(),
            (Origin::Outputs, true) => format!("has({name})"),
            (Origin::Row, false) => format!("row[{name:?}]"),
            (Origin::Row, true) => format!("has(row[{name:?}])"),
        };
        if !self.slots.iter().any(|s| s.key == key) {
            let name: Arc<str> = name.clone();
            let what = if presence {
                SlotKind::Has(*from, name)
            } else {
                SlotKind::Column(*from, name)
            };
            let key = key.clone();
            self.slots.push(Slot { key, what });
        }
        self.references.push(reference);
        ident(id, &key)
    }

    fn all(&mut self, exprs: Vec<IdedExpr>) -> Result<Vec<IdedExpr>, CompileError> {
        exprs.into_iter().map(|e| self.expr(e)).collect()
    }

    fn expr(&mut self, expr: IdedExpr) -> Result<IdedExpr, CompileError> {
        if self.depth >= DEPTH_MAX {
            let message = format!("the expression is nested more than {DEPTH_MAX} levels deep");
            return Err(CompileError::new(message, self.at(expr.id))
                .help("split it into several columns; each can use the earlier ones"));
        }
        self.depth += 1;
        let result = self.node(expr);
        self.depth -= 1;
        result
    }

    fn node(&mut self, expr: IdedExpr) -> Result<IdedExpr, CompileError> {
        if let Some(reference) = self.reference(&expr) {
            return Ok(self.slot(expr.id, reference, false));
        }
        let id = expr.id;
        let expr = match expr.expr {
            Expr::Literal(literal) => Expr::Literal(match literal {
                LiteralValue::Int(i) => LiteralValue::Double((*i.inner() as f64).into()),
                LiteralValue::UInt(i) => LiteralValue::Double((*i.inner() as f64).into()),
                LiteralValue::Null => {
                    return Err(CompileError::new("`null` is not supported", self.at(id))
                        .help("to test for a value, write has(row[\"Column\"])"));
                }
                LiteralValue::Bytes(_) => {
                    return Err(CompileError::new("bytes are not supported", self.at(id))
                        .help("remove the `b` before the quotes"));
                }
                other => other,
            }),
            Expr::Ident(name) if self.is_local(&name) => Expr::Ident(name),
            // Every other identifier is a reference.
            Expr::Ident(_) => {
                return Err(CompileError::new(
                    "`row` is the whole record; choose one column",
                    self.at(id),
                )
                .help(WRITE_OUT));
            }
            Expr::Select(select) => Expr::Select(SelectExpr {
                operand: Box::new(self.expr(*select.operand)?),
                ..select
            }),
            Expr::List(list) => Expr::List(ListExpr::new(self.all(list.elements)?)),
            Expr::Map(map) => self.map(map)?,
            Expr::Call(call) => return self.call(id, call),
            Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                return Err(CompileError::new("this is not supported", self.at(id)));
            }
        };
        Ok(IdedExpr { id, expr })
    }

    fn map(&mut self, map: MapExpr) -> Result<Expr, CompileError> {
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in map.entries {
            let EntryExpr::MapEntry(pair) = entry.expr else {
                continue;
            };
            if !matches!(pair.key.expr, Expr::Literal(LiteralValue::String(_))) {
                return Err(CompileError::new(
                    "the keys of a map must be text",
                    self.at(pair.key.id),
                )
                .help("write {\"1\": ..}, and convert numbers with string(x)"));
            }
            entries.push(IdedEntryExpr {
                id: entry.id,
                expr: EntryExpr::MapEntry(MapEntryExpr {
                    key: pair.key,
                    value: self.expr(pair.value)?,
                    optional: false,
                }),
            });
        }
        Ok(Expr::Map(MapExpr { entries }))
    }

    fn call(&mut self, id: u64, mut node: CallExpr) -> Result<IdedExpr, CompileError> {
        if node.target.is_some() || !is_operator(&node.func_name) {
            return self.function(id, node);
        }
        let own = match node.func_name.as_str() {
            operators::EQUALS => functions::EQUALS,
            operators::NOT_EQUALS => {
                let equal = call(id, functions::EQUALS, self.all(node.args)?);
                return Ok(call(id, operators::LOGICAL_NOT, vec![equal]));
            }
            operators::IN => functions::IN,
            operators::DIVIDE => functions::DIVIDE,
            operators::MODULO => functions::REMAINDER,
            operators::INDEX => return self.index(id, node),
            _ => {
                node.args = self.all(node.args)?;
                return Ok(IdedExpr {
                    id,
                    expr: Expr::Call(node),
                });
            }
        };
        if own == functions::IN && node.args.get(1).is_some_and(|e| self.is_row(e)) {
            return Err(CompileError::new("`in row` is not supported", self.at(id))
                .help("write has(row[\"Column\"])"));
        }
        Ok(call(id, own, self.all(node.args)?))
    }

    /// Rewrites `list[0]` and `map["key"]`. A literal index stays an integer.
    fn index(&mut self, id: u64, node: CallExpr) -> Result<IdedExpr, CompileError> {
        if node.args.first().is_some_and(|e| self.is_row(e)) {
            return Err(CompileError::new(
                "the column name must be a literal, so that it can be checked",
                self.at(id),
            )
            .help(WRITE_OUT));
        }
        let mut args = Vec::with_capacity(2);
        for (i, arg) in node.args.into_iter().enumerate() {
            args.push(if i == 1 && is_int(&arg) {
                arg
            } else {
                self.expr(arg)?
            });
        }
        Ok(call(id, operators::INDEX, args))
    }

    fn function(&mut self, id: u64, node: CallExpr) -> Result<IdedExpr, CompileError> {
        let in_math = matches!(node.target.as_deref(), Some(t) if matches!(&t.expr, Expr::Ident(n) if n == "math"));
        let is_member = node.target.is_some() && !in_math;
        let name = if in_math {
            format!("math.{}", node.func_name)
        } else {
            node.func_name.clone()
        };
        match (name.as_str(), is_member) {
            ("has", false) => return self.has(id, node.args),
            ("matches", _) => return self.matches(id, node),
            ("exists" | "all", true) => return self.quantifier(id, node),
            _ => {}
        }
        let Some(function) = FUNCTIONS
            .iter()
            .find(|f| f.name == name && f.member == is_member)
        else {
            let kind = if is_member { "method" } else { "function" };
            return Err(
                CompileError::new(format!("unknown {kind} `{name}`"), self.at(id))
                    .suggest(&name, functions::names(is_member)),
            );
        };
        let (least, most) = function.arguments;
        if !(least..=most).contains(&node.args.len()) {
            let wanted = match (least, most) {
                (0, 0) => "no argument".to_owned(),
                (1, 1) => "one argument".to_owned(),
                (a, b) if a == b => format!("{a} arguments"),
                (a, b) => format!("{a} to {b} arguments"),
            };
            return Err(CompileError::new(
                format!("`{name}` takes {wanted}, not {}", node.args.len()),
                self.at(id),
            ));
        }
        let mut args = Vec::with_capacity(node.args.len());
        for (i, arg) in node.args.into_iter().enumerate() {
            args.push(match (i >= function.whole_from, is_int(&arg)) {
                (true, true) => arg,
                (true, false) => {
                    let arg = self.expr(arg)?;
                    call(arg.id, functions::INDEX, vec![arg])
                }
                _ => self.expr(arg)?,
            });
        }
        if function.takes_steps {
            args.push(ident(id, STEPS));
        }
        let target = match node.target {
            Some(target) if in_math => Some(target),
            Some(target) => Some(Box::new(self.expr(*target)?)),
            None => None,
        };
        let result = IdedExpr {
            id,
            expr: Expr::Call(CallExpr {
                func_name: function.own.map_or(node.func_name, str::to_owned),
                target,
                args,
            }),
        };
        Ok(match function.whole_result {
            true => call(id, "double", vec![result]),
            false => result,
        })
    }

    fn has(&mut self, id: u64, args: Vec<IdedExpr>) -> Result<IdedExpr, CompileError> {
        let reference = match args.as_slice() {
            [argument] => self.reference(argument),
            _ => None,
        };
        match reference {
            Some(reference) => Ok(self.slot(id, reference, true)),
            None => Err(CompileError::new("`has` takes one column", self.at(id))
                .help("write has(row[\"Column\"]), or has(output)")),
        }
    }

    /// Rewrites `text.matches("pattern")`, with the pattern compiled once.
    fn matches(&mut self, id: u64, node: CallExpr) -> Result<IdedExpr, CompileError> {
        let mut args: Vec<IdedExpr> = node.target.into_iter().map(|t| *t).collect();
        args.extend(node.args);
        let pattern = args.pop();
        let (Some(text), Some(pattern), true) = (args.pop(), pattern, args.is_empty()) else {
            return Err(CompileError::new(
                "`matches` takes one pattern",
                self.at(id),
            ));
        };
        let Expr::Literal(LiteralValue::String(literal)) = &pattern.expr else {
            return Err(CompileError::new(
                "the pattern must be a literal, so that it can be checked",
                self.at(pattern.id),
            )
            .help("write text.matches(\"^[0-9]+$\")"));
        };
        let compiled = regex::Regex::new(literal.inner()).map_err(|e| {
            let what = e.to_string();
            let what = what.lines().last().unwrap_or_default().trim();
            CompileError::new(
                format!("invalid regular expression: {what}"),
                self.at(pattern.id),
            )
        })?;
        let key = format!("pattern {}", self.slots.len());
        self.slots.push(Slot {
            key: key.clone(),
            what: SlotKind::Pattern(Pattern(compiled)),
        });
        let text = self.expr(text)?;
        Ok(call(id, functions::MATCHES, vec![text, ident(id, &key)]))
    }

    /// Expands `list.exists(x, ..)` and `list.all(x, ..)` like CEL's standard macros.
    fn quantifier(&mut self, id: u64, node: CallExpr) -> Result<IdedExpr, CompileError> {
        const RESULT: &str = "@result";
        let exists = node.func_name == "exists";
        let Ok([variable, condition]) = <[IdedExpr; 2]>::try_from(node.args) else {
            return Err(CompileError::new(
                format!("`{}` takes a variable and a condition", node.func_name),
                self.at(id),
            ));
        };
        let Expr::Ident(variable) = variable.expr else {
            return Err(CompileError::new(
                "a variable name is expected",
                self.at(variable.id),
            ));
        };
        let Some(target) = node.target else {
            return Err(CompileError::new(
                "`{}` needs a list before the dot",
                self.at(id),
            ));
        };
        let iter_range = self.expr(*target)?;
        self.locals.push(variable.clone());
        let condition = self.expr(condition);
        self.locals.pop();
        let step = if exists {
            operators::LOGICAL_OR
        } else {
            operators::LOGICAL_AND
        };
        let result = || ident(id, RESULT);
        let loop_condition = if exists {
            call(id, operators::LOGICAL_NOT, vec![result()])
        } else {
            result()
        };
        let loop_condition = call(id, operators::NOT_STRICTLY_FALSE, vec![loop_condition]);
        Ok(IdedExpr {
            id,
            expr: Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range,
                iter_var: variable,
                iter_var2: None,
                accu_var: RESULT.to_owned(),
                accu_init: IdedExpr {
                    id,
                    expr: Expr::Literal(LiteralValue::Boolean((!exists).into())),
                },
                loop_cond: call(id, functions::STEP, vec![ident(id, STEPS), loop_condition]),
                loop_step: call(id, step, vec![result(), condition?]),
                result: result(),
            })),
        })
    }
}

/// Whether a call without a target is an operator rather than a function.
fn is_operator(name: &str) -> bool {
    matches!(
        name,
        operators::CONDITIONAL
            | operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::SUBSTRACT
            | operators::ADD
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::GREATER_EQUALS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::LESS
            | operators::NEGATE
            | operators::INDEX
            | operators::IN
    )
}
