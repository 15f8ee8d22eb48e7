//! Column names against the workbook's header, before the first row is read.

use rowmill_domain::limits::SHEET_COLUMNS;

use crate::names::suggest;
use crate::parse::reader::SourceFile;
use crate::{Pipeline, PipelineError};

impl Pipeline {
    /// Checks every literal column name in templates, expressions, `[input]`, steps that read a
    /// text, and the chart against the workbook's header and the outputs of earlier steps, before
    /// the first row is read; and that the result can be a sheet: no column of the header is added
    /// once more, and not more columns than a sheet has. All that is wrong, in the file's order.
    pub fn check_columns(&self, header: &[String]) -> Vec<PipelineError> {
        let file = SourceFile::new(&self.mentions.file, &self.mentions.text);
        let added = self.added_columns();
        for mention in &self.mentions.all {
            let name = &*mention.name;
            let earlier = &added[..mention.outputs.min(added.len())];
            let mut known = header.iter().chain(earlier).map(String::as_str);
            if known.any(|k| k == name) {
                continue;
            }
            let (message, help) = if added.iter().any(|a| a == name) {
                (
                    format!("`{name}` is not there yet: a later part of the pipeline makes it"),
                    None,
                )
            } else {
                let known = header.iter().chain(earlier).map(String::as_str);
                (
                    format!("the workbook has no column `{name}`"),
                    suggest(name, known),
                )
            };
            file.error(mention.at.clone(), message, help);
        }
        for (name, at) in &self.mentions.added {
            if header.iter().any(|h| **h == **name) {
                let message =
                    format!("the workbook has a column `{name}` already, and this adds another");
                let help = "rename or remove one of them; a result of an earlier run has all that its steps added";
                file.error(at.clone(), message, Some(help.to_owned()));
            }
        }
        let columns = header.len() + added.len() + RESULT_COLUMNS.len();
        if columns > SHEET_COLUMNS as usize {
            let at = self
                .mentions
                .added
                .last()
                .map_or(0..0, |(_, at)| at.clone());
            let message = format!(
                "the result would have {columns} columns, and a sheet has {SHEET_COLUMNS}: {} of the workbook, up to `{}`, {} added, and {}",
                header.len(),
                header.last().map_or("", String::as_str),
                added.len(),
                RESULT_COLUMNS.map(|name| format!("`{name}`")).join(", "),
            );
            let help = "remove columns from the workbook that the result need not show; if it should have far fewer, clear the stray cells in its last columns";
            file.error(at, message, Some(help.to_owned()));
        }
        file.into_errors()
    }
}

/// The columns that every result has after all others.
pub const RESULT_COLUMNS: [&str; 3] = ["status", "error", "attempts"];

/// The headers of the input's columns in the result: their own, but for those that would stand
/// there twice, with `status`, `error` or `attempts`: these get ` (input)` behind them.
pub fn result_headers<S: AsRef<str>>(columns: &[S]) -> Vec<String> {
    let own = |name: &str| columns.iter().any(|c| c.as_ref() == name);
    let renamed = |name: &str| {
        let first = format!("{name} (input)");
        let more = (2..).map(|n| format!("{name} (input {n})"));
        let mut names = std::iter::once(first).chain(more);
        names.find(|n| !own(n)).unwrap_or_default()
    };
    let headers = columns.iter().map(AsRef::as_ref);
    headers
        .map(|name| match RESULT_COLUMNS.contains(&name) {
            true => renamed(name),
            false => name.to_owned(),
        })
        .collect()
}
