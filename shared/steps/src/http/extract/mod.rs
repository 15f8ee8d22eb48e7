//! Outputs out of a response: by JSONPath (RFC 9535), CSS selector or regular expression, from
//! its headers, or its status.

mod gathered;
mod output;

use std::borrow::Cow;

use rowmill_domain::Value;
use rowmill_domain::pipeline::HttpOutput;
use rowmill_domain::record::Outputs;
use scraper::Html;

pub(super) use self::gathered::Gathered;
use self::output::Output;
use super::response::{Fetched, excerpt};
use crate::SetupError;

/// What stands between the texts of several elements in one cell.
const BETWEEN: &str = "; ";

/// All outputs of a step.
pub(super) struct Extractor {
    outputs: Vec<Output>,
}

/// A response's body in the forms that outputs are taken from, each made when first needed.
struct Forms<'a> {
    fetched: &'a Fetched,
    json: Option<Result<serde_json::Value, String>>,
    html: Option<Html>,
    text: Option<Cow<'a, str>>,
}

impl<'a> Forms<'a> {
    fn new(fetched: &'a Fetched) -> Forms<'a> {
        Forms {
            fetched,
            json: None,
            html: None,
            text: None,
        }
    }

    fn json(&mut self) -> Result<&serde_json::Value, String> {
        let parsed = self.json.get_or_insert_with(|| self.fetched.json());
        parsed.as_ref().map_err(Clone::clone)
    }

    fn text(&mut self) -> &str {
        self.text.get_or_insert_with(|| self.fetched.text())
    }

    fn html(&mut self) -> &Html {
        let fetched = self.fetched;
        self.html
            .get_or_insert_with(|| Html::parse_document(&fetched.text()))
    }
}

impl Extractor {
    pub(super) fn new(outputs: &[HttpOutput]) -> Result<Extractor, SetupError> {
        let outputs = outputs.iter().map(Output::new).collect::<Result<_, _>>()?;
        Ok(Extractor { outputs })
    }

    /// The outputs that have a value, or why a required one has none.
    pub(super) fn extract(&self, fetched: &Fetched) -> Result<Outputs, String> {
        let mut found = Vec::with_capacity(self.outputs.len());
        for (output, value) in self.values(fetched) {
            match value? {
                Some(value) => found.push((output.name.clone(), value)),
                None if output.optional => {}
                None => {
                    return Err(format!(
                        "output `{}`: {} gives no value in the response ({})",
                        output.name,
                        output.expression,
                        excerpt(&fetched.body)
                    ));
                }
            }
        }
        Ok(found)
    }

    /// The outputs that have a value; nothing is said of the others.
    pub(super) fn present(&self, fetched: &Fetched) -> Outputs {
        self.values(fetched)
            .filter_map(|(output, value)| Some((output.name.clone(), value.ok()??)))
            .collect()
    }

    fn values<'a>(
        &'a self,
        fetched: &'a Fetched,
    ) -> impl Iterator<Item = (&'a Output, Result<Option<Value>, String>)> {
        let mut forms = Forms::new(fetched);
        self.outputs
            .iter()
            .map(move |output| (output, output.value(&mut forms)))
    }

    /// The text of the only output.
    pub(super) fn only(&self, fetched: &Fetched) -> Option<String> {
        let value = self.values(fetched).next()?.1.ok()??;
        Some(value.to_text())
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::Kind;
    use rowmill_domain::pipeline::Extract;

    use super::*;

    #[test]
    fn a_required_output_without_value_is_the_reason() {
        let output = |name: &str, path: &str, kind, optional| HttpOutput {
            name: name.into(),
            from: Extract::Json(path.into()),
            kind,
            optional,
        };
        let outputs = [
            output("a", "$.a", None, true),
            output("due", "$.due", Some(Kind::Number), false),
        ];
        let extract = |body: &str| {
            let fetched = Fetched::of(body.as_bytes(), "application/json");
            Extractor::new(&outputs).unwrap().extract(&fetched)
        };
        assert_eq!(
            extract(r#"{"due":3}"#),
            Ok(vec![("due".into(), 3.0.into())])
        );
        assert_eq!(
            extract(r#"{"due":null}"#).unwrap_err(),
            r#"output `due`: $.due gives no value in the response ({"due":null})"#
        );
        assert!(extract("").unwrap_err().contains("the response is empty"));
        let html = extract("<html><body>Maintenance").unwrap_err();
        assert!(
            html.contains("no JSON") && html.contains("Maintenance"),
            "{html}"
        );
        assert_eq!(extract("\u{feff}{\"due\":3}").unwrap().len(), 1);
    }
}
