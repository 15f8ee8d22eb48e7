//! Parses a pipeline file into a [`Pipeline`]. It walks toml's spanned tree by hand, so that every
//! error has its position and all errors are found, not only the first.

mod auth;
mod batch;
mod http;
mod pages;
mod parameters;
pub(crate) mod reader;
mod secrets;
mod step;
mod units;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rowmill_domain::limits::RECIPIENTS_MAX;
use rowmill_domain::value::{Kind, Value};
use rowmill_domain::{Delimiter, SheetRef};
use toml::de::{DeTable, DeValue};

use self::reader::{Node, SourceFile, TomlTable};
use crate::check::RESULT_COLUMNS;
use crate::keys::Section;
use crate::locale::Locale;
use crate::mentions::{Mention, Mentions};
use crate::names::{Origin, Reference, nearest};
use crate::{
    Check, DerivedColumn, Expr, Input, Notify, OnFailure, Parameter, Pipeline, PipelineError,
    ReportSpec, ReviewSpec, Template, keys,
};

const RULE: &str = "write a condition on a column, such as \"tax_due >= 0\"";
const DURATION: &str = "\"20s\", \"500ms\", \"2m\" or \"1h\"";

impl Pipeline {
    /// Parses and compiles a pipeline file. `name` is the name of the file in messages.
    ///
    /// # Errors
    /// The first error in the order of the file; [`PipelineError::others`] has the rest.
    pub fn parse(name: &str, text: &str) -> Result<Pipeline, Box<PipelineError>> {
        let file = SourceFile::new(name, text);
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                return Err(Box::new(file.at(at, error.message().trim(), None)));
            }
        };
        let mut builder = Builder {
            file: &file,
            outputs: Vec::new(),
            unsure: false,
            mentions: Vec::new(),
            secrets: Vec::new(),
            parameters: Vec::new(),
            added: Vec::new(),
        };
        let mut pipeline =
            builder.pipeline(&TomlTable::new(&file, root.get_ref(), 0..0, &[&keys::ROOT]));
        pipeline.mentions = Mentions {
            file: name.into(),
            text: text.into(),
            all: builder.mentions,
            added: builder.added,
        };
        let mut errors = file.into_errors().into_iter();
        match errors.next() {
            None => Ok(pipeline),
            Some(mut first) => {
                first.others = errors.collect();
                Err(Box::new(first))
            }
        }
    }
}

/// Reads a file section by section. Records each error in the file and continues.
struct Builder<'a> {
    file: &'a SourceFile<'a>,
    /// The columns added so far.
    outputs: Vec<Arc<str>>,
    /// Whether a step with errors could add columns that are not in `outputs`.
    unsure: bool,
    mentions: Vec<Mention>,
    /// The names of the declared secrets.
    secrets: Vec<String>,
    /// `[parameters]`, in the order of the file.
    parameters: Vec<Parameter>,
    added: Vec<(Arc<str>, Range<usize>)>,
}

impl<'a> Builder<'a> {
    fn pipeline(&mut self, root: &TomlTable<'a>) -> Pipeline {
        let mut pipeline = Pipeline {
            description: root
                .optional("description")
                .and_then(|n| n.text())
                .map(str::to_owned),
            ..Pipeline::default()
        };
        if let Some(node) = root.optional("secrets") {
            pipeline.secrets = self.secrets(&node);
        }
        let parameters = root.optional("parameters").and_then(|n| n.entries());
        for (name, at, node) in parameters.unwrap_or_default() {
            self.parameter(name, &at, &node);
        }
        if let Some(table) = table(root, "input", &keys::INPUT) {
            pipeline.input = self.input(&table);
        }
        // Before the steps, which take what they do not set from it.
        if let Some(table) = table(root, "batch", &keys::BATCH) {
            pipeline.batch = batch::batch(&table);
        }
        for table in tables(root, "step", &keys::STEP) {
            match self.step(table, &pipeline.batch) {
                Some(step) => pipeline.steps.push(step),
                None => self.unsure = true,
            }
        }
        for table in tables(root, "check", &keys::CHECK) {
            pipeline.checks.extend(self.check(&table));
        }
        for table in tables(root, "column", &keys::COLUMN) {
            pipeline.columns.extend(self.column(&table));
        }
        let (mut reviews, mut reviewed) = (tables(root, "review", &keys::REVIEW).into_iter(), None);
        if let Some(table) = reviews.next() {
            reviewed = self.review(&table);
        }
        for table in reviews {
            if let Some(column) = table.required("column") {
                column.error(
                    "a second `[[review]]`; a pipeline reviews one column".to_owned(),
                    Some("remove one of them"),
                );
            }
            table.optional("labels");
            table.optional("reviewers");
            table.finish();
        }
        pipeline.review = reviewed;
        if let Some(table) = table(root, "report", &keys::REPORT) {
            pipeline.report = self.report(&table);
        }
        if let Some(table) = table(root, "notify", &keys::NOTIFY) {
            pipeline.notify = notify(&table);
        }
        root.finish();
        pipeline.parameters = std::mem::take(&mut self.parameters);
        pipeline
    }

    /// Records the mention of a column: an input column, or one of the first `outputs` added ones.
    fn mention(&mut self, name: &str, at: Range<usize>, outputs: usize) {
        let name = name.into();
        self.mentions.push(Mention { name, at, outputs });
    }

    fn input(&mut self, table: &TomlTable<'a>) -> Input {
        let sheet = table.optional("sheet").and_then(|node| match node.value {
            DeValue::Integer(_) => node.whole().map(SheetRef::Index),
            _ => node.text().map(|t| SheetRef::Name(t.to_owned())),
        });
        let header_row = table.optional("header_row").and_then(|n| n.whole());
        let delimiter = table.optional("delimiter").and_then(|n| n.one_of());
        let required = self.columns(table, "required", 0);
        let key = self.columns(table, "key", 0);
        let mut types = Vec::new();
        let entries = table.optional("types").and_then(|n| n.entries());
        for (column, at, node) in entries.unwrap_or_default() {
            self.mention(column, at, 0);
            if let Some(kind) = node.one_of().and_then(Kind::parse) {
                types.push((column.to_owned(), kind));
            }
        }
        let is_written = |kind: &Kind| {
            matches!(
                kind,
                Kind::Number | Kind::Date | Kind::DateTime | Kind::Time
            )
        };
        let locale = table.optional("locale").and_then(|node| {
            if !types.iter().any(|(_, kind)| is_written(kind)) {
                node.error(
                    "`locale` has no effect: no column is a number, a date or a time".to_owned(),
                    Some("name the columns in `types`"),
                );
            }
            locale_of(&node)
        });
        let mut locales = Vec::new();
        let entries = table.optional("locales").and_then(|n| n.entries());
        for (column, at, node) in entries.unwrap_or_default() {
            self.mention(column, at, 0);
            if !types
                .iter()
                .any(|(name, kind)| name == column && is_written(kind))
            {
                node.error(
                    format!("the locale of `{column}` has no effect: it is not a number, a date or a time"),
                    Some("name the column in `types`"),
                );
            }
            if let Some(locale) = locale_of(&node) {
                locales.push((column.to_owned(), locale));
            }
        }
        let hidden_rows = table.optional("hidden_rows").and_then(|n| n.one_of());
        let limits = table.optional("limits");
        let limits = limits.and_then(|n| n.table(&[&keys::LIMITS]));
        table.finish();
        Input {
            sheet,
            required,
            key,
            types,
            locale,
            locales,
            header_row,
            delimiter: delimiter.and_then(Delimiter::parse),
            skip_hidden_rows: hidden_rows == Some("skip"),
            limits: limits.map_or_else(Vec::new, |table| limits_given(&table)),
        }
    }

    /// Reads a list of columns: input columns, or among the first `outputs` added ones.
    fn columns(&mut self, table: &TomlTable<'a>, key: &str, outputs: usize) -> Vec<String> {
        let texts = table.optional(key).and_then(|n| n.texts());
        let texts = texts.unwrap_or_default();
        for (name, node) in &texts {
            self.mention(name, node.at.clone(), outputs);
        }
        texts.into_iter().map(|(t, _)| t.to_owned()).collect()
    }

    fn check(&mut self, table: &TomlTable<'a>) -> Option<Check> {
        let rule = table.required("rule").and_then(|n| {
            let rule = self.expression(&n)?;
            let what = match rule.constant() {
                None | Some(Ok(Value::Bool(_))) => return Some(rule),
                Some(Ok(other)) => {
                    format!(
                        "is always the {} `{}`, not true or false",
                        other.kind(),
                        other.to_text()
                    )
                }
                Some(Err(reason)) => format!("never has a value: {reason}"),
            };
            n.error(format!("the rule {what}"), Some(RULE));
            None
        });
        let on_failure = table.optional("on_failure").and_then(|n| n.one_of());
        table.finish();
        Some(Check {
            rule: rule?,
            on_failure: match on_failure {
                Some("warn") => OnFailure::Warn,
                _ => OnFailure::Fail,
            },
        })
    }

    fn column(&mut self, table: &TomlTable<'a>) -> Option<DerivedColumn> {
        let name = table.required("name");
        let value = table.required("value").and_then(|n| {
            let value = self.expression(&n)?;
            if let Some(Err(reason)) = value.constant() {
                n.error(format!("the value can never be computed: {reason}"), None);
            }
            Some(value)
        });
        // After its value, because a column cannot use itself.
        let name = name.and_then(|n| {
            let text = n.text()?;
            self.add(text, &n.at).then(|| text.to_owned())
        });
        table.finish();
        Some(DerivedColumn {
            name: name?,
            value: value?,
        })
    }

    fn review(&mut self, table: &TomlTable<'a>) -> Option<ReviewSpec> {
        let column = table.required("column").and_then(|n| {
            let text = n.text()?;
            if !self.unsure && !self.outputs.iter().any(|output| **output == *text) {
                n.error(
                    format!("no step and no `[[column]]` adds `{text}`"),
                    Some("name a column that the pipeline adds, such as the `label` of `classify`"),
                );
                return None;
            }
            Some(text.to_owned())
        });
        let texts = |key| {
            let texts = table.optional(key).and_then(|n| n.texts());
            let texts = texts.unwrap_or_default().into_iter();
            texts.map(|(text, _)| text.to_owned()).collect()
        };
        let (labels, reviewers) = (texts("labels"), texts("reviewers"));
        table.finish();
        Some(ReviewSpec {
            column: column?,
            labels,
            reviewers,
        })
    }

    fn report(&mut self, table: &TomlTable<'a>) -> ReportSpec {
        let chart = table.optional("chart").and_then(|n| {
            let text = n.text()?;
            self.mention(text, n.at.clone(), self.outputs.len());
            Some(text.to_owned())
        });
        let links = self.columns(table, "links", self.outputs.len());
        table.finish();
        ReportSpec { chart, links }
    }

    /// Adds a column. Records an error if the name is taken or invalid.
    fn add(&mut self, name: &str, at: &Range<usize>) -> bool {
        let (message, help) = if self.outputs.iter().any(|o| &**o == name) {
            (
                format!("an earlier part of the pipeline already adds a column `{name}`"),
                "rename one of them",
            )
        } else if RESULT_COLUMNS.contains(&name) {
            (
                format!("every result already has a column `{name}`"),
                "choose another name",
            )
        } else if name != name.trim() || name.contains(char::is_control) {
            (
                format!("{name:?} is not a valid column name"),
                "remove white space at both ends, tabs and line breaks",
            )
        } else {
            let name: Arc<str> = name.into();
            self.outputs.push(name.clone());
            self.added.push((name, at.clone()));
            return true;
        };
        self.file.error(at.clone(), message, Some(help.to_owned()));
        false
    }

    fn template(&mut self, node: &Node<'a>) -> Option<Template> {
        match Template::compile(node.text()?) {
            Ok(template) => {
                self.references(&node.at, template.references(), &[]);
                self.known_secrets(&node.at, template.secrets());
                Some(template)
            }
            Err(error) => {
                self.file.text_error(&node.at, error);
                None
            }
        }
    }

    fn expression(&mut self, node: &Node<'a>) -> Option<Expr> {
        self.expression_with(node, &[])
    }

    /// Compiles an expression that can use the names in `more` besides the outputs so far.
    fn expression_with(&mut self, node: &Node<'a>, more: &[&str]) -> Option<Expr> {
        match Expr::compile(node.text()?) {
            Ok(expr) => {
                self.references(&node.at, expr.references(), more);
                Some(expr)
            }
            Err(error) => {
                self.file.text_error(&node.at, error);
                None
            }
        }
    }

    /// Checks references: a bare name must be an output so far or in `more`. References through `row`
    /// are checked later, against the header.
    fn references(&mut self, text: &Range<usize>, references: &[Reference], more: &[&str]) {
        for reference in references {
            let at = self.file.within(text, &reference.at);
            let name = &*reference.name;
            match reference.from {
                Origin::Row => self.mention(name, at, self.outputs.len()),
                Origin::Outputs => {
                    let outputs = self.outputs.iter().map(|o| &**o);
                    let mut known = outputs.chain(more.iter().copied());
                    if self.unsure || known.clone().any(|k| k == name) {
                        continue;
                    }
                    let help = match nearest(name, &mut known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("to use a column of the workbook, write row[\"{name}\"]"),
                    };
                    let message = match more {
                        [] => format!("no earlier step adds `{name}`"),
                        _ => format!("neither this step nor an earlier one adds `{name}`"),
                    };
                    self.file.error(at, message, Some(help));
                }
            }
        }
    }
}

/// Returns the table of `[key]`.
fn table<'a>(root: &TomlTable<'a>, key: &str, section: &'static Section) -> Option<TomlTable<'a>> {
    root.optional(key).and_then(|n| n.table(&[section]))
}

/// Returns the tables of `[[key]]`.
fn tables<'a>(root: &TomlTable<'a>, key: &str, section: &'static Section) -> Vec<TomlTable<'a>> {
    let nodes = root.optional(key).and_then(|n| n.list());
    let nodes = nodes.unwrap_or_default();
    nodes.iter().filter_map(|n| n.table(&[section])).collect()
}

fn whole(table: &TomlTable<'_>, key: &str, default: u32) -> u32 {
    table
        .optional(key)
        .and_then(|n| n.whole())
        .unwrap_or(default)
}

fn timeout(table: &TomlTable<'_>, default: Duration) -> Duration {
    table
        .optional("timeout")
        .and_then(|n| n.read(units::duration, DURATION))
        .unwrap_or(default)
}

/// A locale. The name of a language that is written in several ways, or of another country, has no
/// similar name but related ones.
fn locale_of(node: &Node<'_>) -> Option<&'static Locale> {
    let name = node.text()?;
    let language = name.split(['-', '_']).next().unwrap_or_default();
    let related = Locale::NAMES
        .iter()
        .filter(|known| known.split('-').next() == Some(language));
    let related: Vec<String> = related.map(|known| format!("`{known}`")).collect();
    if Locale::parse(name).is_none() && !related.is_empty() {
        node.error(
            format!("invalid value {name:?} for `{}`", node.name),
            Some(&format!("write {}", related.join(" or "))),
        );
        return None;
    }
    node.one_of().and_then(Locale::parse)
}

/// Reads the limits that a file sets.
fn limits_given(table: &TomlTable<'_>) -> Vec<(&'static str, u64)> {
    let given = keys::LIMITS.keys.iter().filter_map(|key| {
        let value = table.optional(key.name)?.count()?;
        Some((key.name, value))
    });
    let given = given.collect();
    table.finish();
    given
}

fn notify(table: &TomlTable<'_>) -> Notify {
    let to = table.optional("to");
    let texts = to.as_ref().and_then(Node::texts).unwrap_or_default();
    for (address, node) in &texts {
        if !is_address(address) {
            node.error(format!("{address:?} is not a mail address"), None);
        }
    }
    if let Some(to) = &to
        && texts.len() > RECIPIENTS_MAX
    {
        to.error(
            format!("an email can have at most {RECIPIENTS_MAX} recipients"),
            Some("use the address of a mailing list"),
        );
    }
    table.finish();
    Notify {
        to: texts.into_iter().map(|(t, _)| t.to_owned()).collect(),
    }
}

/// Whether a text has the form `name@domain`, without a display name.
fn is_address(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"@".contains(c);
    text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty()
            && name.chars().all(plain)
            && domain.chars().all(plain)
            && domain.split('.').all(|label| !label.is_empty())
    })
}
