//! Names of columns in templates and expressions, and suggestions for misspelled names.

use std::ops::Range;
use std::sync::Arc;

/// A literal mention of a column in a template or an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name of the column.
    pub name: Arc<str>,
    /// The syntax of the mention.
    pub from: Origin,
    /// The position in bytes of the source text.
    pub at: Range<usize>,
}

/// The syntax of a mention, which decides where the value is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `row["Name"]`, `row['Name']` or `row.Name`: an output of an earlier step, otherwise an input
    /// column.
    Row,
    /// A bare `name`: an output of an earlier step or an earlier derived column.
    Outputs,
}

/// An error in the source of a template or an expression: what is wrong, where, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What is wrong, without the position.
    pub message: String,
    /// The position in bytes of the source text.
    pub at: Range<usize>,
    /// How to fix it.
    pub help: Option<String>,
}

impl CompileError {
    /// Creates an error without help.
    pub(crate) fn new(message: impl Into<String>, at: Range<usize>) -> CompileError {
        CompileError {
            message: message.into(),
            at,
            help: None,
        }
    }

    /// Adds help.
    pub(crate) fn help(mut self, help: impl Into<String>) -> CompileError {
        self.help = Some(help.into());
        self
    }

    /// Adds the candidate that `name` probably stands for as help.
    pub(crate) fn suggest<'a>(
        mut self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str> + Clone,
    ) -> CompileError {
        self.help = suggest(name, candidates);
        self
    }
}

/// Returns the candidate most similar to a name, if at most a third of the letters differ, ignoring
/// case.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&name, &c.to_lowercase()), c))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns help for an unknown name: the most similar candidate, otherwise all of them if there are
/// at most 20.
pub(crate) fn suggest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(nearest) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let all: Vec<String> = candidates
        .into_iter()
        .map(|c| format!("`{c}`"))
        .take(21)
        .collect();
    match all.len() {
        0 | 21.. => None,
        1 => Some(format!("available: {}", all[0])),
        _ => Some(format!("available: {}", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_suggested_and_others_are_not() {
        let names = ["timeout", "attempts", "url", "Customer ID"];
        assert_eq!(nearest("timout", names), Some("timeout"));
        assert_eq!(nearest("atempst", names), Some("attempts"));
        assert_eq!(nearest("customer id", names), Some("Customer ID"));
        assert_eq!(nearest("uri", names), Some("url"));
        assert_eq!(nearest("color", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(
            suggest("color", ["a", "b"]).as_deref(),
            Some("available: `a`, `b`")
        );
    }
}
