//! Column names against the workbook's header, before the first row is read.

use std::ops::Range;
use std::sync::Arc;

use super::names::suggest;
use super::parse::reader::File;
use super::{Pipeline, PipelineError};

/// A column that the file mentions by name and that only the header can confirm.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) name: Arc<str>,
    /// Where, in the file.
    pub(super) at: Range<usize>,
    /// How many of the added columns exist by then; an input column may always be named.
    pub(super) outputs: usize,
}

/// The file a pipeline was read from and the columns it mentions.
#[derive(Clone, Debug, Default)]
pub(super) struct Mentions {
    pub(super) file: Arc<str>,
    pub(super) text: Arc<str>,
    pub(super) all: Vec<Mention>,
}

impl Pipeline {
    /// Checks every literal column name in templates, expressions, `[input]`, steps that read a
    /// text, and the chart against the workbook's header and the outputs of earlier steps, before
    /// the first row is read. All that is wrong, in the file's order.
    pub fn check_columns(&self, header: &[String]) -> Vec<PipelineError> {
        let file = File::new(&self.mentions.file, &self.mentions.text);
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
        file.into_errors()
    }
}
