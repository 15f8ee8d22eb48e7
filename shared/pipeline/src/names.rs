//! Names of columns as templates and expressions mention them, and which name was probably meant.

use std::ops::Range;
use std::sync::Arc;

/// A column that a template or an expression mentions by a literal name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The column.
    pub name: Arc<str>,
    /// How it is mentioned.
    pub from: Origin,
    /// Where, in bytes of the template's or expression's text.
    pub at: Range<usize>,
}

/// How a column is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `row["Name"]`, `row['Name']` or `row.Name`: an output so far, else an input column.
    Row,
    /// A bare `name`: an output of an earlier step or an earlier derived column.
    Outputs,
}

/// A text that cannot be compiled: what is wrong, where in the text, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes of the text.
    pub at: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

impl CompileError {
    /// An error at a place, without help.
    pub(crate) fn new(message: impl Into<String>, at: Range<usize>) -> CompileError {
        CompileError {
            message: message.into(),
            at,
            help: None,
        }
    }

    /// The same error with what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> CompileError {
        self.help = Some(help.into());
        self
    }

    /// The same error with what was probably meant in place of `name`.
    pub(crate) fn suggest<'a>(
        mut self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str> + Clone,
    ) -> CompileError {
        self.help = suggest(name, candidates);
        self
    }
}

/// The candidate that is nearest to a name, where one is near enough to have been meant: at most a
/// third of its letters differ, case aside.
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

/// Help for a name that is not one of the candidates: the nearest, else all of them where they are
/// few.
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
        1 => Some(format!("there is only {}", all[0])),
        _ => Some(format!("there are {}", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["timeout", "attempts", "url", "Customer ID"];
        assert_eq!(nearest("timout", names), Some("timeout"));
        assert_eq!(nearest("atempst", names), Some("attempts"));
        assert_eq!(nearest("customer id", names), Some("Customer ID"));
        assert_eq!(nearest("uri", names), Some("url"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(
            suggest("colour", ["a", "b"]).as_deref(),
            Some("there are `a`, `b`")
        );
    }
}
