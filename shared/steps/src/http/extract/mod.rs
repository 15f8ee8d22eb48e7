//! Outputs out of a response: by JSONPath (RFC 9535), CSS selector or regular expression, from
//! its headers, or its status.

mod gathered;
mod output;
mod page;

use std::borrow::Cow;

use rowmill_domain::Value;
use rowmill_domain::record::Outputs;
use rowmill_pipeline::HttpOutput;
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
    json: Option<Result<Option<serde_json::Value>, String>>,
    html: Option<Result<Html, String>>,
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

    /// `None` where there is nothing to take a value from: an empty body, or the page that a
    /// server shows with a status that is no success and that the step's rule takes for one.
    fn json(&mut self) -> Result<Option<&serde_json::Value>, String> {
        let fetched = self.fetched;
        let parsed = self.json.get_or_insert_with(|| match fetched.json() {
            Err(_) if fetched.is_empty() || !fetched.status.is_success() => Ok(None),
            parsed => parsed.map(Some),
        });
        parsed.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn text(&mut self) -> &str {
        self.text.get_or_insert_with(|| self.fetched.text())
    }

    fn html(&mut self) -> Result<&Html, String> {
        let fetched = self.fetched;
        let parsed = self
            .html
            .get_or_insert_with(|| page::parse(&fetched.text()));
        parsed.as_ref().map_err(Clone::clone)
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
                    let held = match fetched.is_empty() {
                        true => ": the response is empty".to_owned(),
                        false => format!(" in the response ({})", excerpt(&fetched.body)),
                    };
                    return Err(format!(
                        "output `{}`: {} gives no value{held}",
                        output.name, output.expression,
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

    /// The address that the only output gives, or why what it finds is none.
    pub(super) fn address(&self, fetched: &Fetched) -> Result<Option<String>, String> {
        match self.outputs.first() {
            Some(output) => output.address(&mut Forms::new(fetched)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::Kind;
    use rowmill_pipeline::Extract;

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
        let answered = |status: u16, body: &str| {
            let mut fetched = Fetched::of(body.as_bytes(), "application/json");
            fetched.status = reqwest::StatusCode::from_u16(status).unwrap();
            Extractor::new(&outputs).unwrap().extract(&fetched)
        };
        let extract = |body: &str| answered(200, body);
        assert_eq!(
            extract(r#"{"due":3}"#),
            Ok(vec![("due".into(), 3.0.into())])
        );
        assert_eq!(
            extract(r#"{"due":null}"#).unwrap_err(),
            r#"output `due`: $.due gives no value in the response ({"due":null})"#
        );
        for (status, body) in [(200, ""), (204, ""), (200, " \n")] {
            assert_eq!(
                answered(status, body).unwrap_err(),
                "output `due`: $.due gives no value: the response is empty"
            );
        }
        assert_eq!(
            answered(404, "<h1>None</h1>").unwrap_err(),
            "output `due`: $.due gives no value in the response (<h1>None</h1>)"
        );
        let html = extract("<html><body>Maintenance").unwrap_err();
        assert!(
            html.contains("no JSON") && html.contains("Maintenance"),
            "{html}"
        );
        assert_eq!(extract("\u{feff}{\"due\":3}").unwrap().len(), 1);
    }

    #[test]
    fn a_body_that_holds_no_json_gives_optional_outputs_no_value() {
        let output = |name: &str, from| HttpOutput {
            name: name.into(),
            from,
            kind: None,
            optional: true,
        };
        let outputs = [
            output("due", Extract::Json("$.due".into())),
            output("tags", Extract::JsonAll("$.tags[*]".into())),
        ];
        let extract = |status: u16, body: &str| {
            let mut fetched = Fetched::of(body.as_bytes(), "text/html");
            fetched.status = reqwest::StatusCode::from_u16(status).unwrap();
            Extractor::new(&outputs).unwrap().extract(&fetched)
        };
        assert_eq!(extract(204, ""), Ok(vec![]));
        assert_eq!(extract(200, "\r\n"), Ok(vec![]));
        assert_eq!(extract(404, "<h1>No such parcel</h1>"), Ok(vec![]));
        assert_eq!(
            extract(404, r#"{"due":3}"#),
            Ok(vec![("due".into(), 3.0.into())])
        );
        // Where JSON is promised, a page is a fault: of a proxy, of maintenance.
        assert!(
            extract(200, "<h1>Soon</h1>")
                .unwrap_err()
                .contains("no JSON")
        );
    }
}
