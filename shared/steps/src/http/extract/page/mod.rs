//! A parsed HTML page. Its markup decides neither how long parsing takes nor how much memory the page
//! needs: both are limited in proportion to its size.

mod feed;
mod select;
mod sink;
mod text;
mod tree;
mod xml;

use std::cell::Cell;

use html5ever::interface::TreeSink;
use html5ever::local_name;
use html5ever::tokenizer::TokenSink;
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5gum::Tokenizer;

use self::feed::Feeder;
pub(super) use self::select::{Element, Selector};
use self::sink::Sink;
use self::tree::Tree;
use super::budget::{Budget, Spent};

/// How many elements may be open at once. Source: twice the limit of Chrome.
const DEPTH_MAX: usize = 1024;
/// Memory of a page per byte of its text. Markup without text, such as `<p><p>`, takes up to 11; a page
/// whose unclosed elements are opened again in each paragraph takes more.
const BYTES_PER_BYTE: usize = 128;
/// Memory of a small page.
const BYTES_MIN: usize = 1024 * 1024;
/// Memory of the largest page.
const BYTES_MAX: usize = 192 * 1024 * 1024;

/// A page.
pub(super) struct Page {
    tree: Tree,
    /// Whether it is XML: names are matched in any case, as in HTML, and no element is hidden.
    is_xml: bool,
}

/// Why a page is not read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stopped {
    Spent(Spent),
    Memory,
    Depth,
}

/// Why a page cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PageError {
    /// See [`Spent`].
    Spent(Spent),
    /// The reason.
    Refused(String),
}

impl Page {
    /// The address in the first `<base href>`.
    pub(super) fn base(&self, budget: &Budget) -> Option<&str> {
        let base = Selector::parse("base[href]").ok()?;
        let found = self.select(&base, budget).next()?;
        self.tree.attribute(found.id(), &local_name!("href"))
    }

    /// Parses a page.
    ///
    /// # Errors
    /// Parsing takes too many steps or too long, the page takes too much memory, or too many elements are open at once.
    pub(super) fn parse(text: &str, budget: &Budget) -> Result<Page, PageError> {
        // As the tokenizer of html5ever does.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let bytes_max = (BYTES_MIN + BYTES_PER_BYTE * text.len()).min(BYTES_MAX);
        let builder = TreeBuilder::new(Sink::new(budget), TreeBuilderOpts::default());
        let stopped = Cell::new(None);
        let feeder = Feeder::new(&builder, bytes_max, &stopped);
        // The tokenizer yields something only if it is stopped.
        let _ = Tokenizer::new_with_emitter(text, feeder).next();
        match stopped.get() {
            None => {
                builder.end();
                Ok(Page {
                    tree: builder.sink.finish(),
                    is_xml: false,
                })
            }
            Some(stopped) => Err(stopped.error(text.len(), bytes_max)),
        }
    }
}

impl Stopped {
    /// The reason, for a text and a limit of this many bytes.
    fn error(self, length: usize, bytes_max: usize) -> PageError {
        match self {
            Stopped::Spent(spent) => PageError::Spent(spent),
            Stopped::Memory => PageError::Refused(format!(
                "the page is not read: the elements of its {} KiB of markup take more than {} MiB of memory",
                length.div_ceil(1024),
                bytes_max / (1024 * 1024)
            )),
            Stopped::Depth => PageError::Refused(format!(
                "the page is not read: its elements are nested more than {DEPTH_MAX} levels deep, or are not closed"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
