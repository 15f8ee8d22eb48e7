//! Finds every column that a template mentions, and refuses syntax that could hide one.

use std::ops::Range;
use std::sync::Arc;

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use super::{LookupKind, NAME, SecretMention, TemplateLookup};
use crate::names::{CompileError, Origin, Reference};

/// The filters that a template can use. `default` is excluded on purpose: missing is never a value.
const FILTERS: [&str; 26] = [
    "abs",
    "base64",
    "capitalize",
    "first",
    "float",
    "format",
    "int",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "max",
    "min",
    "replace",
    "reverse",
    "round",
    "sort",
    "split",
    "string",
    "title",
    "tojson",
    "trim",
    "upper",
    "urlencode",
];

/// The tests (`is ..`) that a template can use.
const TESTS: [&str; 10] = [
    "boolean",
    "divisibleby",
    "endingwith",
    "even",
    "in",
    "integer",
    "number",
    "odd",
    "startingwith",
    "string",
];

/// Returns the filters, for the reference.
pub(crate) fn filters() -> &'static [&'static str] {
    &FILTERS
}

/// Returns the tests, for the reference.
pub(crate) fn tests_known() -> &'static [&'static str] {
    &TESTS
}

/// Maximum length of a template, in bytes. With [`DEPTH_MAX`] it keeps recursive walks over a tree
/// within the stack of a thread.
pub(super) const LENGTH_MAX: usize = 32 * 1024;
/// Maximum nesting of expressions and blocks.
const DEPTH_MAX: usize = 200;

/// The filter that turns a boolean into text. A template cannot name it.
pub(super) const AS_TEXT: &str = "_as_text";
/// The filter that counts a text. A template cannot name it.
pub(super) const COUNTED: &str = "_counted";

const PRESENCE: &str =
    "to test for a value, use `has`: {% if has(row['Column']) %}..{% else %}..{% endif %}";

/// The result of a walk.
pub(super) struct Walked {
    /// The text to compile, with `has(..)` and `secret(..)` replaced by variables.
    pub(super) source: String,
    pub(super) references: Vec<Reference>,
    pub(super) secrets: Vec<SecretMention>,
    pub(super) lookups: Vec<TemplateLookup>,
}

/// Parses and walks a template.
pub(super) fn walk(source: &str) -> Result<Walked, CompileError> {
    if source.len() > LENGTH_MAX {
        let message = format!("the template is longer than {LENGTH_MAX} bytes");
        return Err(CompileError::new(message, 0..source.len()));
    }
    let tree = parse(source, NAME, SyntaxConfig::default()).map_err(|e| text_error(&e, source))?;
    let mut walker = Walker {
        references: Vec::new(),
        secrets: Vec::new(),
        lookups: Vec::new(),
        replaced: Vec::new(),
        locals: Vec::new(),
        depth: 0,
    };
    walker.statement(&tree)?;
    let mut text = source.to_owned();
    walker.replaced.sort_by_key(|(at, _)| at.start);
    for (at, name) in walker.replaced.iter().rev() {
        text.replace_range(at.clone(), name);
    }
    walker.references.sort_by_key(|r| r.at.start);
    walker.secrets.sort_by_key(|s| s.at.start);
    Ok(Walked {
        source: text,
        references: walker.references,
        secrets: walker.secrets,
        lookups: walker.lookups,
    })
}

/// Converts an error of minijinja's parser.
pub(super) fn text_error(error: &minijinja::Error, source: &str) -> CompileError {
    let at = error.range().unwrap_or(0..source.len());
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    CompileError::new(format!("invalid template: {what}"), at)
}

struct Walker {
    references: Vec<Reference>,
    secrets: Vec<SecretMention>,
    lookups: Vec<TemplateLookup>,
    /// Calls of `has` and `secret` with the variables that replace them, and text to insert.
    replaced: Vec<(Range<usize>, String)>,
    /// The names that the template defines, innermost last.
    locals: Vec<String>,
    depth: usize,
}

fn range(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

impl Walker {
    fn statements(&mut self, all: &[Stmt<'_>]) -> Result<(), CompileError> {
        all.iter().try_for_each(|s| self.statement(s))
    }

    /// Walks a block. Its definitions end with it.
    fn block(&mut self, all: &[Stmt<'_>]) -> Result<(), CompileError> {
        let outer = self.locals.len();
        self.statements(all)?;
        self.locals.truncate(outer);
        Ok(())
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Result<(), CompileError> {
        match statement {
            Stmt::Template(t) => self.statements(&t.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(e) => self.expression(&e.expr),
            Stmt::IfCond(i) => {
                self.expression(&i.expr)?;
                self.block(&i.true_body)?;
                self.block(&i.false_body)
            }
            Stmt::ForLoop(f) => {
                self.expression(&f.iter)?;
                let outer = self.locals.len();
                self.define(&f.target);
                self.locals.push("loop".to_owned());
                if let Some(filter) = &f.filter_expr {
                    self.expression(filter)?;
                }
                self.statements(&f.body)?;
                self.locals.truncate(outer);
                self.block(&f.else_body)
            }
            Stmt::WithBlock(w) => {
                let outer = self.locals.len();
                for (target, value) in &w.assignments {
                    self.expression(value)?;
                    self.define(target);
                }
                self.statements(&w.body)?;
                self.locals.truncate(outer);
                Ok(())
            }
            Stmt::Set(s) => {
                self.expression(&s.expr)?;
                self.define(&s.target);
                Ok(())
            }
            other => Err(CompileError::new(
                "unsupported tag: templates support {{ .. }}, {% if %}, {% for %}, {% set %} and {% with %}",
                range(span(other)),
            )),
        }
    }

    fn define(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(v) => self.locals.push(v.id.to_owned()),
            Expr::List(l) => l.items.iter().for_each(|t| self.define(t)),
            Expr::Tuple(t) => t.items.iter().for_each(|t| self.define(t)),
            _ => {}
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|l| l == name)
    }

    /// Returns the column that an expression mentions, if it is `row.X`, `row['X']` or a bare `x`.
    fn reference(&self, expr: &Expr<'_>) -> Option<Reference> {
        let is_row =
            |e: &Expr<'_>| matches!(e, Expr::Var(v) if v.id == "row") && !self.is_local("row");
        let (name, from) = match expr {
            Expr::GetAttr(a) if is_row(&a.expr) => (a.name.to_owned(), Origin::Row),
            Expr::GetItem(i) if is_row(&i.expr) => match &i.subscript_expr {
                Expr::Const(c) => (c.value.as_str()?.to_owned(), Origin::Row),
                _ => return None,
            },
            Expr::Var(v) if v.id != "row" && !self.is_local(v.id) => {
                (v.id.to_owned(), Origin::Outputs)
            }
            _ => return None,
        };
        Some(Reference {
            name: name.into(),
            from,
            at: range(expr.span()),
        })
    }

    fn look_up(&mut self, name: Arc<str>, what: LookupKind) {
        let lookup = TemplateLookup { name, what };
        if !self.lookups.contains(&lookup) {
            self.lookups.push(lookup);
        }
    }

    fn expressions(&mut self, all: &[Expr<'_>]) -> Result<(), CompileError> {
        all.iter().try_for_each(|e| self.expression(e))
    }

    fn optional(&mut self, expr: Option<&Expr<'_>>) -> Result<(), CompileError> {
        expr.map_or(Ok(()), |e| self.expression(e))
    }

    fn arguments(&mut self, all: &[CallArg<'_>]) -> Result<(), CompileError> {
        all.iter().try_for_each(|argument| match argument {
            CallArg::Pos(e)
            | CallArg::Kwarg(_, e)
            | CallArg::PosSplat(e)
            | CallArg::KwargSplat(e) => self.expression(e),
        })
    }

    fn expression(&mut self, expr: &Expr<'_>) -> Result<(), CompileError> {
        if self.depth >= DEPTH_MAX {
            let message = format!("the template is nested more than {DEPTH_MAX} levels deep");
            return Err(CompileError::new(message, range(expr.span())));
        }
        self.depth += 1;
        let result = self.part(expr);
        self.depth -= 1;
        result
    }

    fn part(&mut self, expr: &Expr<'_>) -> Result<(), CompileError> {
        if let Some(reference) = self.reference(expr) {
            let what = match reference.from {
                Origin::Row => LookupKind::Row,
                Origin::Outputs => LookupKind::Output,
            };
            self.look_up(reference.name.clone(), what);
            self.references.push(reference);
            return Ok(());
        }
        let at = range(expr.span());
        match expr {
            Expr::Var(v) if v.id == "row" && !self.is_local("row") => Err(CompileError::new(
                "`row` is the whole record; choose one column",
                at,
            )
            .help("write row['Column'], with the column name in quotes")),
            Expr::Var(_) => Ok(()),
            Expr::Const(c) if c.value.is_none() || c.value.is_undefined() => {
                Err(CompileError::new("`none` is not supported", at).help(PRESENCE))
            }
            Expr::Const(_) => Ok(()),
            Expr::Slice(s) => {
                self.expression(&s.expr)?;
                self.optional(s.start.as_ref())?;
                self.optional(s.stop.as_ref())?;
                self.optional(s.step.as_ref())
            }
            Expr::UnaryOp(u) => self.expression(&u.expr),
            Expr::BinOp(b) => {
                self.expression(&b.left)?;
                self.expression(&b.right)?;
                for operand in [&b.left, &b.right] {
                    match b.op {
                        BinOpKind::Concat => self.as_text(operand),
                        BinOpKind::Add | BinOpKind::Mul => self.counted(operand),
                        _ => {}
                    }
                }
                Ok(())
            }
            Expr::Compare(c) => {
                self.expression(&c.expr)?;
                c.ops.iter().try_for_each(|op| self.expression(&op.expr))
            }
            Expr::IfExpr(i) => {
                self.expression(&i.test_expr)?;
                self.expression(&i.true_expr)?;
                self.optional(i.false_expr.as_ref())
            }
            Expr::Filter(f) => {
                self.optional(f.expr.as_ref())?;
                self.arguments(&f.args)?;
                if FILTERS.contains(&f.name) {
                    return Ok(());
                }
                let error = CompileError::new(format!("unknown filter `{}`", f.name), at);
                Err(match f.name {
                    "default" | "d" => error.help(PRESENCE),
                    name => error.suggest(name, FILTERS),
                })
            }
            Expr::Test(t) => {
                self.expression(&t.expr)?;
                self.arguments(&t.args)?;
                if TESTS.contains(&t.name) {
                    return Ok(());
                }
                let error = CompileError::new(format!("unknown test `is {}`", t.name), at);
                Err(match t.name {
                    "defined" | "undefined" | "none" => error.help(PRESENCE),
                    name => error.suggest(name, TESTS),
                })
            }
            Expr::GetAttr(a) => self.expression(&a.expr),
            Expr::GetItem(i) => {
                if matches!(&i.expr, Expr::Var(v) if v.id == "row") && !self.is_local("row") {
                    return Err(CompileError::new(
                        "the column name must be a literal, so that it can be checked",
                        at,
                    )
                    .help("write row['Column'], with the column name in quotes"));
                }
                self.expression(&i.expr)?;
                self.expression(&i.subscript_expr)
            }
            Expr::Call(c) => {
                match &c.expr {
                    Expr::Var(v) if v.id == "has" => return self.has(&c.args, at),
                    Expr::Var(v) if v.id == "secret" => return self.secret(&c.args, at),
                    Expr::Var(v) if v.id == "range" => {}
                    Expr::Var(v) => {
                        let error = CompileError::new(format!("unknown function `{}`", v.id), at);
                        return Err(error.suggest(v.id, ["has", "range", "secret"]));
                    }
                    Expr::GetAttr(a) => self.expression(&a.expr)?,
                    other => self.expression(other)?,
                }
                self.arguments(&c.args)
            }
            Expr::List(l) => self.expressions(&l.items),
            Expr::Tuple(t) => self.expressions(&t.items),
            Expr::Map(m) => {
                self.expressions(&m.keys)?;
                self.expressions(&m.values)
            }
        }
    }

    /// Converts an operand of `~` that may be a boolean to text.
    fn as_text(&mut self, operand: &Expr<'_>) {
        let is_has = |c: &minijinja::machinery::ast::Call<'_>| matches!(&c.expr, Expr::Var(v) if v.id == "has");
        let can_be_boolean = match operand {
            Expr::Var(_) => true,
            Expr::Const(c) => c.value.kind() == ValueKind::Bool,
            Expr::Call(c) => is_has(c),
            other => self.reference(other).is_some(),
        };
        if can_be_boolean {
            let end = range(operand.span()).end;
            self.replaced.push((end..end, format!("|{AS_TEXT}")));
        }
    }

    /// Counts an operand that can be a long text.
    fn counted(&mut self, operand: &Expr<'_>) {
        if matches!(operand, Expr::Var(_)) || self.reference(operand).is_some() {
            let end = range(operand.span()).end;
            self.replaced.push((end..end, format!("|{COUNTED}")));
        }
    }

    /// Replaces `has(row['X'])` by a variable, because looking up a missing value is an error before a
    /// function could receive it.
    fn has(&mut self, arguments: &[CallArg<'_>], at: Range<usize>) -> Result<(), CompileError> {
        let reference = match arguments {
            [CallArg::Pos(argument)] => self.reference(argument),
            _ => None,
        };
        let reference = reference.ok_or_else(|| {
            CompileError::new("`has` takes one column", at.clone())
                .help("write has(row['Column']), or has(output)")
        })?;
        let variable = format!("_has_{}_", self.replaced.len());
        self.look_up(
            variable.as_str().into(),
            LookupKind::Has(reference.from, reference.name.clone()),
        );
        self.replaced.push((at, variable));
        self.references.push(reference);
        Ok(())
    }
}

impl Walker {
    /// Replaces `secret('NAME')` by a variable. The name is a literal, so that it is known before the
    /// first row.
    fn secret(&mut self, arguments: &[CallArg<'_>], at: Range<usize>) -> Result<(), CompileError> {
        let name = match arguments {
            [CallArg::Pos(Expr::Const(c))] => c.value.as_str().map(Arc::<str>::from),
            _ => None,
        };
        let name = name.ok_or_else(|| {
            CompileError::new("`secret` takes the name of one secret", at.clone())
                .help("write secret('API_KEY'), with the name in quotes")
        })?;
        let variable = format!("_secret_{}_", self.replaced.len());
        self.look_up(variable.as_str().into(), LookupKind::Secret(name.clone()));
        self.replaced.push((at.clone(), variable));
        self.secrets.push(SecretMention { name, at });
        Ok(())
    }
}

/// Returns the position of an unsupported statement.
fn span(statement: &Stmt<'_>) -> Span {
    match statement {
        Stmt::Template(s) => s.span(),
        Stmt::EmitExpr(s) => s.span(),
        Stmt::EmitRaw(s) => s.span(),
        Stmt::ForLoop(s) => s.span(),
        Stmt::IfCond(s) => s.span(),
        Stmt::WithBlock(s) => s.span(),
        Stmt::Set(s) => s.span(),
        Stmt::SetBlock(s) => s.span(),
        Stmt::AutoEscape(s) => s.span(),
        Stmt::FilterBlock(s) => s.span(),
        Stmt::Block(s) => s.span(),
        Stmt::Import(s) => s.span(),
        Stmt::FromImport(s) => s.span(),
        Stmt::Extends(s) => s.span(),
        Stmt::Include(s) => s.span(),
        Stmt::Macro(s) => s.span(),
        Stmt::CallBlock(s) => s.span(),
        Stmt::Do(s) => s.span(),
    }
}
