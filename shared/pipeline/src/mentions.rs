//! The columns that a pipeline file mentions by name.

use std::ops::Range;
use std::sync::Arc;

/// A mention of a column that can be checked only against the header.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) name: Arc<str>,
    /// The position in the file.
    pub(crate) at: Range<usize>,
    /// How many of the added columns exist at this point. Input columns exist everywhere.
    pub(crate) outputs: usize,
}

/// The source text of a pipeline and the columns that it mentions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mentions {
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) all: Vec<Mention>,
    /// The added columns, with the position that adds each.
    pub(crate) added: Vec<(Arc<str>, Range<usize>)>,
}
