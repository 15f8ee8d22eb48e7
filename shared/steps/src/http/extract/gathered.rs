//! Outputs of an answer in several pages.

use rowmill_domain::Value;
use rowmill_domain::record::Outputs;

use super::{BETWEEN, Extractor, Fetched, Forms};

/// Bytes of texts kept of all pages of a record; a cell holds 32,767 characters.
const GATHERED_MAX: usize = 1024 * 1024;

/// Outputs of several pages as they come.
#[derive(Default)]
pub(in super::super) struct Gathered {
    /// By output: the first value, or all texts.
    found: Vec<(Option<Value>, Vec<String>)>,
    bytes: usize,
    pages: usize,
}

impl Extractor {
    /// Adds a page. Whether an output got a value out of its body.
    pub(in super::super) fn gather(
        &self,
        fetched: &Fetched,
        into: &mut Gathered,
    ) -> Result<bool, String> {
        into.found.resize_with(self.outputs.len(), Default::default);
        into.pages += 1;
        let mut forms = Forms::new(fetched);
        let mut any = false;
        for (output, (first, all)) in self.outputs.iter().zip(&mut into.found) {
            if output.is_all() {
                let texts = output.all(&mut forms)?;
                any |= !texts.is_empty();
                into.bytes += texts.iter().map(String::len).sum::<usize>();
                all.extend(texts);
            } else {
                let value = output.value(&mut forms)?;
                any |= value.is_some() && output.is_of_body();
                if first.is_none() {
                    *first = value;
                }
            }
        }
        if into.bytes > GATHERED_MAX {
            let pages = into.pages;
            return Err(format!("{pages} pages give more text than fits a cell"));
        }
        Ok(any)
    }

    /// The outputs that have a value, or why a required one has none.
    pub(in super::super) fn gathered(&self, gathered: Gathered) -> Result<Outputs, String> {
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (output, (first, all)) in self.outputs.iter().zip(gathered.found) {
            let value = match all.is_empty() {
                true => first,
                false => Some(Value::Text(all.join(BETWEEN))),
            };
            match value {
                Some(value) => outputs.push((output.name.clone(), value)),
                None if output.optional => {}
                None => {
                    return Err(format!(
                        "output `{}`: {} gives no value on any of {} pages",
                        output.name, output.expression, gathered.pages
                    ));
                }
            }
        }
        Ok(outputs)
    }
}
