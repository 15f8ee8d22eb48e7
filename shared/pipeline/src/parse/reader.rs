//! Reads toml's spanned tree key by key and collects every error with its position.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use miette::{NamedSource, SourceSpan};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::units;
use crate::keys::{KINDS, Key, Section, Shape};
use crate::names::{CompileError, suggest};
use crate::{Locale, PipelineError, Tolerance};

/// The text of a pipeline file and the errors found in it.
pub(crate) struct SourceFile<'a> {
    name: &'a str,
    text: &'a str,
    errors: RefCell<Vec<PipelineError>>,
}

impl<'a> SourceFile<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> SourceFile<'a> {
        SourceFile {
            name,
            text,
            errors: RefCell::default(),
        }
    }

    /// Creates an error at a position of this file.
    pub(super) fn at(
        &self,
        at: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> PipelineError {
        PipelineError {
            message: message.into(),
            help,
            file: NamedSource::new(self.name, self.text.to_owned()).with_language("TOML"),
            at: SourceSpan::from(at),
            others: Vec::new(),
        }
    }

    /// Records an error.
    pub(crate) fn error(&self, at: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let error = self.at(at, message, help);
        self.errors.borrow_mut().push(error);
    }

    /// Records an error inside a string value, with the position mapped to the file.
    pub(super) fn text_error(&self, value: &Range<usize>, error: CompileError) {
        self.error(self.within(value, &error.at), error.message, error.help);
    }

    /// Maps a range of a string's content to the file. `value` is the position of the string with its
    /// quotes; `part` counts bytes after escapes are resolved.
    pub(super) fn within(&self, value: &Range<usize>, part: &Range<usize>) -> Range<usize> {
        let Some(raw) = self.text.get(value.clone()) else {
            return value.clone();
        };
        let quote = if raw.starts_with("\"\"\"") || raw.starts_with("'''") {
            3
        } else {
            1
        };
        let escapes = raw.starts_with('"');
        let mut rest = quote;
        // A line break directly after three quotes is not part of the content.
        if quote == 3 {
            rest += match &raw.as_bytes()[quote.min(raw.len())..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => 0,
            };
        }
        let at = |offset: usize| {
            let (mut raw_at, mut content) = (rest, 0);
            while content < offset && raw_at < raw.len() {
                let (raw_step, step) = match raw.as_bytes()[raw_at] {
                    b'\\' if escapes => escape(&raw[raw_at..]),
                    _ => (1, 1),
                };
                raw_at += raw_step;
                content += step;
            }
            value.start + raw_at.min(raw.len().saturating_sub(quote))
        };
        at(part.start)..at(part.end)
    }

    /// Returns all errors in the order of the file.
    pub(crate) fn into_errors(self) -> Vec<PipelineError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|e| e.at.offset());
        errors
    }
}

/// Returns the length of an escape in the file and in the content, in bytes.
fn escape(raw: &str) -> (usize, usize) {
    let code = |digits: usize| {
        let length = raw
            .get(2..2 + digits)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .and_then(char::from_u32)
            .map_or(1, char::len_utf8);
        (2 + digits, length)
    };
    match raw.as_bytes().get(1) {
        Some(b'x') => code(2),
        Some(b'u') => code(4),
        Some(b'U') => code(8),
        // An escaped line break removes all white space after it.
        Some(b'\n' | b'\r' | b' ' | b'\t') => {
            let after = raw[1..].trim_start();
            (raw.len() - after.len(), 0)
        }
        _ => (2, 1),
    }
}

/// A value with its position and its name in messages.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) file: &'a SourceFile<'a>,
    pub(super) name: String,
    pub(super) value: &'a DeValue<'a>,
    pub(super) at: Range<usize>,
    /// The values that the table of keys accepts here.
    shape: Option<&'static Shape>,
}

impl<'a> Node<'a> {
    pub(super) fn error(&self, message: impl Into<String>, help: Option<&str>) {
        self.file
            .error(self.at.clone(), message, help.map(str::to_owned));
    }

    fn wrong(&self, wanted: &str) {
        let is = match self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(format!("`{}` must be {wanted}, not {is}", self.name), None);
    }

    /// Returns a text that is not empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value.as_str() {
            Some(text) if !text.trim().is_empty() => Some(text),
            Some(_) => {
                self.error(format!("`{}` is empty", self.name), None);
                None
            }
            None => {
                self.wrong("text");
                None
            }
        }
    }

    /// Parses a text with `read`. `example` goes into the help.
    pub(super) fn read<T>(&self, read: impl Fn(&str) -> Option<T>, example: &str) -> Option<T> {
        let text = self.text()?;
        let value = read(text);
        if value.is_none() {
            self.error(
                format!("invalid value {text:?} for `{}`", self.name),
                Some(&format!("write for example {example}")),
            );
        }
        value
    }

    /// Returns one of the texts that the table of keys lists.
    pub(super) fn one_of(&self) -> Option<&'static str> {
        let allowed: &[&str] = match self.shape {
            Some(Shape::OneOf(allowed)) => allowed,
            Some(Shape::Types) => KINDS,
            Some(Shape::Locales) => Locale::NAMES,
            _ => &[],
        };
        let text = self.text()?;
        let found = allowed.iter().copied().find(|a| *a == text);
        if found.is_none() {
            self.file.error(
                self.at.clone(),
                format!("invalid value {text:?} for `{}`", self.name),
                suggest(text, allowed.iter().copied()),
            );
        }
        found
    }

    pub(super) fn bool(&self) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong("true or false");
        }
        value
    }

    /// Returns a whole number in the range that the table of keys gives.
    pub(super) fn whole(&self) -> Option<u32> {
        let (least, most) = match self.shape {
            Some(Shape::Whole(least, most)) => (*least, *most),
            _ => (1, u32::MAX),
        };
        let DeValue::Integer(integer) = self.value else {
            self.wrong("a whole number");
            return None;
        };
        let value = u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|n| (least..=most).contains(n));
        if value.is_none() {
            let range = format!("`{}` must be between {least} and {most}", self.name);
            self.error(range, None);
        }
        value
    }

    /// Returns a list of distinct statuses of HTTP responses.
    pub(super) fn statuses(&self) -> Option<Vec<u16>> {
        let mut statuses = Vec::new();
        for node in self.list()? {
            let status = match node.value {
                DeValue::Integer(integer) => u16::from_str_radix(integer.as_str(), integer.radix()),
                _ => Ok(0),
            };
            match status {
                Ok(status @ 100..=599) if !statuses.contains(&status) => statuses.push(status),
                Ok(100..=599) => {
                    node.error("the status is in the list twice", None);
                    return None;
                }
                _ => {
                    node.wrong("a status from 100 to 599");
                    return None;
                }
            }
        }
        Some(statuses)
    }

    /// Returns a whole number above 0.
    pub(super) fn count(&self) -> Option<u64> {
        let DeValue::Integer(integer) = self.value else {
            self.wrong("a whole number");
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|n| *n > 0);
        if value.is_none() {
            self.error(
                format!("`{}` must be a whole number above 0", self.name),
                None,
            );
        }
        value
    }

    /// Returns a share, such as `"5%"`, or a whole number from 0.
    pub(super) fn tolerance(&self) -> Option<Tolerance> {
        let DeValue::Integer(integer) = self.value else {
            return self
                .read(units::share, "\"5%\", or a number of records")
                .map(Tolerance::Share);
        };
        let count = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if count.is_none() {
            self.error(
                format!("`{}` must be a whole number from 0", self.name),
                None,
            );
        }
        count.map(Tolerance::Count)
    }

    /// Returns a number above 0.
    pub(super) fn number(&self) -> Option<f64> {
        let number: Option<f64> = match self.value {
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
                .ok()
                .map(|i| i as f64),
            DeValue::Float(f) => f.as_str().parse().ok(),
            _ => {
                self.wrong("a number");
                return None;
            }
        };
        let number = number.filter(|n| n.is_finite() && *n > 0.0);
        if number.is_none() {
            self.error(format!("`{}` must be a number above 0", self.name), None);
        }
        number
    }

    /// Returns the elements of a list.
    pub(super) fn list(&self) -> Option<Vec<Node<'a>>> {
        let DeValue::Array(array) = self.value else {
            self.wrong("a list");
            return None;
        };
        Some(array.iter().map(|e| self.part(&self.name, e)).collect())
    }

    /// Returns the texts of a list. Records an error for empty and duplicate ones.
    pub(super) fn texts(&self) -> Option<Vec<(&'a str, Node<'a>)>> {
        let mut texts: Vec<(&str, Node<'a>)> = Vec::new();
        for node in self.list()? {
            if let Some(text) = node.text() {
                if texts.iter().any(|(t, _)| *t == text) {
                    node.error(format!("`{text}` is listed twice in `{}`", self.name), None);
                }
                texts.push((text, node));
            }
        }
        Some(texts)
    }

    /// Returns the entries of a table with arbitrary keys, in the order of the file.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Range<usize>, Node<'a>)>> {
        let DeValue::Table(table) = self.value else {
            self.wrong("a table");
            return None;
        };
        Some(
            table
                .iter()
                .map(|(key, value)| {
                    let key_text: &str = key.get_ref();
                    (key_text, key.span(), self.part(key_text, value))
                })
                .collect(),
        )
    }

    fn part(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Node<'a> {
        Node {
            file: self.file,
            name: name.to_owned(),
            value: value.get_ref(),
            at: value.span(),
            shape: self.shape,
        }
    }

    /// Returns the table, to be read with the keys of these sections.
    pub(super) fn table(&self, sections: &[&'static Section]) -> Option<TomlTable<'a>> {
        let DeValue::Table(table) = self.value else {
            self.wrong("a table");
            return None;
        };
        Some(TomlTable::new(self.file, table, self.at.clone(), sections))
    }
}

/// A table whose keys are known.
pub(super) struct TomlTable<'a> {
    pub(super) file: &'a SourceFile<'a>,
    table: &'a DeTable<'a>,
    /// The position of the header or of the braces.
    pub(super) at: Range<usize>,
    sections: Vec<&'static Section>,
    asked: Cell<usize>,
}

impl<'a> TomlTable<'a> {
    pub(super) fn new(
        file: &'a SourceFile<'a>,
        table: &'a DeTable<'a>,
        at: Range<usize>,
        sections: &[&'static Section],
    ) -> TomlTable<'a> {
        TomlTable {
            file,
            table,
            at,
            sections: sections.to_vec(),
            asked: Cell::new(0),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &'static Key> + Clone {
        self.sections.clone().into_iter().flat_map(|s| s.keys)
    }

    /// Adds the keys of one more section.
    pub(super) fn extend(&mut self, section: &'static Section) {
        self.sections.push(section);
    }

    /// Returns the value of an optional key.
    pub(super) fn optional(&self, name: &str) -> Option<Node<'a>> {
        let key = self.keys().find(|k| k.name == name);
        debug_assert!(key.is_some(), "`{name}` is not in the table of keys");
        self.asked.set(self.asked.get() + 1);
        self.table.get(name).map(|value| Node {
            file: self.file,
            name: name.to_owned(),
            value: value.get_ref(),
            at: value.span(),
            shape: key.map(|k| &k.shape),
        })
    }

    /// Returns the value of a required key. Records an error if it is missing.
    pub(super) fn required(&self, key: &str) -> Option<Node<'a>> {
        let node = self.optional(key);
        if node.is_none() {
            self.file.error(
                self.at.clone(),
                format!("`{key}` is missing"),
                Some(format!("add a line `{key} = ..`")),
            );
        }
        node
    }

    /// Records an error for every unknown key. Call it after all keys of the sections were read; in
    /// debug builds it asserts that, which keeps the parser and the table of keys in step.
    pub(super) fn finish(&self) {
        debug_assert_eq!(
            self.keys().count(),
            self.asked.get(),
            "number of keys read of {}",
            self.sections.last().map_or("", |s| s.title)
        );
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if !self.keys().any(|k| k.name == name) {
                self.file.error(
                    key.span(),
                    format!("unknown key `{name}`"),
                    suggest(name, self.keys().map(|k| k.name)),
                );
            }
        }
    }
}
