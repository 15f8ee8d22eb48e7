//! Outputs of an answer that is split into pages.

use rowmill_domain::Value;
use rowmill_domain::record::Outputs;

use super::{Extracted, Extractor, Found, SEPARATOR, TEXT_MAX};

/// The outputs of the pages read so far.
#[derive(Default)]
pub(in super::super) struct Gathered {
    /// For each output: the first value, or all texts.
    found: Vec<(Option<Value>, Vec<String>)>,
    bytes: usize,
    pages: usize,
}

impl Extractor {
    /// Adds a page. Returns whether its body has a value for any output.
    pub(in super::super) fn gather(
        &self,
        page: Extracted,
        into: &mut Gathered,
    ) -> Result<bool, String> {
        into.found.resize_with(self.outputs.len(), Default::default);
        into.pages += 1;
        let mut any = false;
        let found = self.outputs.iter().zip(page.0).zip(&mut into.found);
        for ((output, found), (first, all)) in found {
            match found? {
                Found::All(texts) => {
                    any |= !texts.is_empty();
                    into.bytes += texts.iter().map(String::len).sum::<usize>();
                    all.extend(texts);
                }
                Found::One(value) => {
                    any |= value.is_some() && output.is_of_body();
                    if first.is_none() {
                        *first = value;
                    }
                }
            }
        }
        if into.bytes > TEXT_MAX {
            let pages = into.pages;
            return Err(format!("the text of {pages} pages does not fit a cell"));
        }
        Ok(any)
    }

    /// The outputs that have a value.
    ///
    /// # Errors
    /// A required output has no value.
    pub(in super::super) fn finish(&self, gathered: Gathered) -> Result<Outputs, String> {
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (output, (first, all)) in self.outputs.iter().zip(gathered.found) {
            let value = match all.is_empty() {
                true => first,
                false => Some(Value::Text(all.join(SEPARATOR))),
            };
            match value {
                Some(value) => outputs.push((output.name.clone(), value)),
                None if output.optional => {}
                None => {
                    return Err(format!(
                        "output `{}`: {} has no value on any page (pages read: {})",
                        output.name, output.expression, gathered.pages
                    ));
                }
            }
        }
        Ok(outputs)
    }
}
