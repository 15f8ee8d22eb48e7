//! Checks column names against the header of the workbook, before the first row is read.

use rowmill_domain::limits::SHEET_COLUMNS;

use crate::names::suggest;
use crate::parse::reader::SourceFile;
use crate::{Pipeline, PipelineError};

impl Pipeline {
    /// Checks the pipeline against the header of a workbook, before the first row is read: every
    /// column that it mentions exists in the header or is an output of an earlier step, no added
    /// column exists in the header already, and the result fits into a sheet. Returns all errors in
    /// the order of the file.
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
                    format!("`{name}` is not available here: a later step adds it"),
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
                let message = format!("the workbook already has a column `{name}`");
                let help = "rename or remove one of them; the result of an earlier run contains the columns that its steps added";
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
                "the result would have {columns} columns, but a sheet can have only {SHEET_COLUMNS}: {} from the workbook, up to `{}`, {} added, and {}",
                header.len(),
                header.last().map_or("", String::as_str),
                added.len(),
                RESULT_COLUMNS.map(|name| format!("`{name}`")).join(", "),
            );
            let help = "remove columns that you do not need from the workbook; if it has far fewer, delete stray cells in its last columns";
            file.error(at, message, Some(help.to_owned()));
        }
        file.into_errors()
    }
}

/// The last columns of every result.
pub const RESULT_COLUMNS: [&str; 4] = ["status", "error", "attempts", "input row"];

/// The name of the result's column for corrections, if no other column has it.
pub const FINAL_COLUMN: &str = "final";

/// Returns the name of the column in which people correct the reviewed one in the result, given the
/// columns of the input and the added ones: [`FINAL_COLUMN`], with the suffix ` (review)`, made unique, if
/// another column has this name.
pub fn final_column(inputs: &[&str], added: &[String]) -> String {
    let taken = |name: &str| inputs.contains(&name) || added.iter().any(|own| own == name);
    let more = (2..).map(|n| format!("{FINAL_COLUMN} (review {n})"));
    let names = [FINAL_COLUMN.to_owned(), format!("{FINAL_COLUMN} (review)")];
    let mut names = names.into_iter().chain(more);
    names.find(|name| !taken(name)).unwrap_or_default()
}

/// Returns the headers of the input columns in the result. A column with the name of one of
/// [`RESULT_COLUMNS`] gets the suffix ` (input)`, made unique; all others keep their names.
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
