//! The columns that a pipeline file mentions by name.

use std::ops::Range;
use std::sync::Arc;

/// A column that the file mentions by name and that only the header can confirm.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) name: Arc<str>,
    /// Where, in the file.
    pub(crate) at: Range<usize>,
    /// How many of the added columns exist by then; an input column may always be named.
    pub(crate) outputs: usize,
}

/// The file a pipeline was read from and the columns it mentions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mentions {
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) all: Vec<Mention>,
    /// The columns that are added, with what adds them.
    pub(crate) added: Vec<(Arc<str>, Range<usize>)>,
}
