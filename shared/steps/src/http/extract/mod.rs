//! Extracts outputs from a response: from its body by JSONPath (RFC 9535), CSS selector or regular
//! expression, from its headers, or from its status.

mod budget;
mod document;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(unreachable_pub, reason = "the fuzz targets reach it")]
pub mod fuzzing;
mod gathered;
mod json_path;
mod output;
mod page;
mod parser_thread;

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use rowmill_domain::Value;
use rowmill_domain::record::Outputs;
use rowmill_pipeline::HttpOutput;
use url::Url;

use self::budget::Budget;
use self::document::Keep;
pub(super) use self::gathered::Gathered;
use self::output::Output;
use self::page::{Page, PageError};
use super::lenient::Json;
use super::response::{HttpResponse, excerpt};
use crate::SetupError;

/// Separates the texts of several elements in one cell.
const SEPARATOR: &str = "; ";
/// Bytes of text kept for an output, of all matches and pages. A cell holds 32,767 characters.
const TEXT_MAX: usize = 1024 * 1024;

/// All outputs of a step.
pub(super) struct Extractor {
    outputs: Vec<Output>,
}

/// What a response has for each output, or why it has nothing.
#[derive(Default)]
pub(super) struct Extracted(Vec<Result<Found, String>>);

enum Found {
    One(Option<Value>),
    /// The texts of all matches.
    All(Vec<String>),
}

/// A response with its body as JSON, HTML and text, each parsed when first needed.
struct ParsedBody<'a> {
    response: &'a HttpResponse,
    outputs: &'a [Output],
    json: Option<Result<Option<Json>, String>>,
    page: Option<Result<Page, String>>,
    until: Instant,
    text: Option<Cow<'a, str>>,
}

impl<'a> ParsedBody<'a> {
    fn new(response: &'a HttpResponse, outputs: &'a [Output]) -> ParsedBody<'a> {
        ParsedBody {
            response,
            outputs,
            json: None,
            page: None,
            until: Instant::now() + response.parse_time,
            text: None,
        }
    }

    /// The parts of the body as JSON that outputs can select. `None` if there is nothing to extract from: an
    /// empty body, or an error page that the step's rule accepts as a success.
    fn json(&mut self) -> Result<Option<&Json>, String> {
        let (response, outputs) = (self.response, self.outputs);
        let parsed = self.json.get_or_insert_with(|| {
            let bytes = Cell::new(0);
            let keep = Keep::new(outputs.iter().filter_map(Output::json_parts), &bytes);
            let of_line = |line| match line {
                None => keep.clone(),
                Some(line) => keep.item(line),
            };
            match response.json(&of_line) {
                Err(_) if response.is_empty() || !response.status.is_success() => Ok(None),
                parsed => parsed.map(Some),
            }
        });
        parsed.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn text(&mut self) -> &str {
        self.text.get_or_insert_with(|| self.response.text())
    }

    /// The body as HTML or XML.
    fn page(&mut self) -> Result<&Page, String> {
        let (response, budget) = (self.response, self.budget());
        let parsed = self.page.get_or_insert_with(|| {
            let parse = match response.is_xml() {
                true => Page::parse_xml,
                false => Page::parse,
            };
            parse(&response.text(), &budget).map_err(|error| match error {
                PageError::Spent(spent) => spent.reason("parsing the page"),
                PageError::Refused(reason) => reason,
            })
        });
        parsed.as_ref().map_err(Clone::clone)
    }

    /// What addresses in the response are relative to: the `<base>` of a page, or else its URL.
    fn base(&mut self) -> Result<Url, String> {
        let url = &self.response.url;
        if !self.response.is_html() && self.page.is_none() {
            return Ok(url.clone());
        }
        let budget = self.budget();
        let base = self.page()?.base(&budget).map(str::to_owned);
        let base = base.and_then(|base| url.join(base.trim()).ok());
        // A base that leads nowhere is ignored, as in browsers (WHATWG HTML, "set the frozen base
        // URL").
        let base = base.filter(|base| !matches!(base.scheme(), "data" | "javascript"));
        Ok(base.unwrap_or_else(|| url.clone()))
    }

    /// What may be spent on one use of the body.
    fn budget(&self) -> Budget {
        Budget::of(self.response.body.len(), self.until)
    }
}

impl Extractor {
    pub(super) fn new(outputs: &[HttpOutput]) -> Result<Extractor, SetupError> {
        let outputs = outputs.iter().map(Output::new).collect::<Result<_, _>>()?;
        Ok(Extractor { outputs })
    }

    /// Extracts the outputs from a response.
    pub(super) async fn read(self: &Arc<Self>, response: &Arc<HttpResponse>) -> Extracted {
        self.parse(response, |extractor, body| {
            let found = extractor.outputs.iter().map(|output| output.found(body));
            Extracted(found.collect())
        })
        .await
    }

    /// The value of the first output as a URL, and what it is relative to.
    ///
    /// # Errors
    /// The value cannot be an address.
    pub(super) async fn address(
        self: &Arc<Self>,
        response: &Arc<HttpResponse>,
    ) -> Result<Option<(Url, String)>, String> {
        self.parse(response, |extractor, body| {
            let Some(output) = extractor.outputs.first() else {
                return Ok(None);
            };
            match output.address(body)? {
                Some(address) => Ok(Some((body.base()?, address))),
                None => Ok(None),
            }
        })
        .await
    }

    /// The value of the first output as a cursor, of which `false` is none.
    ///
    /// # Errors
    /// The value cannot be a cursor.
    pub(super) async fn cursor(
        self: &Arc<Self>,
        response: &Arc<HttpResponse>,
    ) -> Result<Option<String>, String> {
        self.parse(response, |extractor, body| {
            let Some(output) = extractor.outputs.first() else {
                return Ok(None);
            };
            Ok(match output.value(body)? {
                None | Some(Value::Bool(false)) => None,
                Some(cursor) => Some(cursor.to_text()),
            })
        })
        .await
    }

    /// Works on a response, on the thread for large ones.
    async fn parse<T: Send + 'static>(
        self: &Arc<Self>,
        response: &Arc<HttpResponse>,
        work: impl FnOnce(&Extractor, &mut ParsedBody<'_>) -> T + Send + 'static,
    ) -> T {
        let (extractor, response) = (self.clone(), response.clone());
        parser_thread::parse(response.body.len(), move || {
            work(
                &extractor,
                &mut ParsedBody::new(&response, &extractor.outputs),
            )
        })
        .await
    }

    /// The outputs that have a value.
    ///
    /// # Errors
    /// A required output has no value, or a value has the wrong type.
    pub(super) fn outputs(
        &self,
        response: &HttpResponse,
        extracted: Extracted,
    ) -> Result<Outputs, String> {
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (output, found) in self.outputs.iter().zip(extracted.0) {
            let value = match found? {
                Found::One(value) => value,
                Found::All(texts) => output.joined(&texts)?,
            };
            match value {
                Some(value) => outputs.push((output.name.clone(), value)),
                None if output.optional => {}
                None => {
                    let place = match response.is_empty() {
                        true => ": the response is empty".to_owned(),
                        false => format!(" in the response ({})", excerpt(&response.body)),
                    };
                    return Err(format!(
                        "output `{}`: {} has no value{place}",
                        output.name, output.expression,
                    ));
                }
            }
        }
        Ok(outputs)
    }

    /// The outputs that have a value. All others are ignored.
    pub(super) fn present(&self, extracted: &Extracted) -> Outputs {
        let found = self.outputs.iter().zip(&extracted.0);
        let values = found.filter_map(|(output, found)| {
            let value = match found {
                Ok(Found::One(value)) => value.clone(),
                Ok(Found::All(texts)) => output.joined(texts).ok()?,
                Err(_) => None,
            };
            Some((output.name.clone(), value?))
        });
        values.collect()
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::Kind;
    use rowmill_pipeline::Extract;

    use super::*;

    fn extract(outputs: &[HttpOutput], response: HttpResponse) -> Result<Outputs, String> {
        let extractor = Arc::new(Extractor::new(outputs).unwrap());
        let response = Arc::new(response);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let extracted = runtime.block_on(extractor.read(&response));
        extractor.outputs(&response, extracted)
    }

    #[test]
    fn a_required_output_without_a_value_is_an_error() {
        let output = |name: &str, path: &str, kind, optional| HttpOutput {
            name: name.into(),
            from: Extract::Json(path.into()),
            kind,
            optional,
            absolute: false,
        };
        let outputs = [
            output("a", "$.a", None, true),
            output("due", "$.due", Some(Kind::Number), false),
        ];
        let extract_from = |status: u16, body: &str| {
            let mut response = HttpResponse::of(body.as_bytes(), "application/json");
            response.status = reqwest::StatusCode::from_u16(status).unwrap();
            extract(&outputs, response)
        };
        let extract = |body: &str| extract_from(200, body);
        assert_eq!(
            extract(r#"{"due":3}"#),
            Ok(vec![("due".into(), 3.0.into())])
        );
        assert_eq!(
            extract(r#"{"due":null}"#).unwrap_err(),
            r#"output `due`: $.due has no value in the response ({"due":null})"#
        );
        for (status, body) in [(200, ""), (204, ""), (200, " \n")] {
            assert_eq!(
                extract_from(status, body).unwrap_err(),
                "output `due`: $.due has no value: the response is empty"
            );
        }
        assert_eq!(
            extract_from(404, "<h1>None</h1>").unwrap_err(),
            "output `due`: $.due has no value in the response (<h1>None</h1>)"
        );
        let html = extract("<html><body>Maintenance").unwrap_err();
        assert!(
            html.contains("not JSON") && html.contains("Maintenance"),
            "{html}"
        );
        assert_eq!(extract("\u{feff}{\"due\":3}").unwrap().len(), 1);
    }

    #[test]
    fn optional_outputs_have_no_value_if_the_body_is_not_json() {
        let output = |name: &str, from| HttpOutput {
            name: name.into(),
            from,
            kind: None,
            optional: true,
            absolute: false,
        };
        let outputs = [
            output("due", Extract::Json("$.due".into())),
            output("tags", Extract::JsonAll("$.tags[*]".into())),
        ];
        let extract = |status: u16, body: &str| {
            let mut response = HttpResponse::of(body.as_bytes(), "text/html");
            response.status = reqwest::StatusCode::from_u16(status).unwrap();
            super::tests::extract(&outputs, response)
        };
        assert_eq!(extract(204, ""), Ok(vec![]));
        assert_eq!(extract(200, "\r\n"), Ok(vec![]));
        assert_eq!(extract(404, "<h1>No such parcel</h1>"), Ok(vec![]));
        assert_eq!(
            extract(404, r#"{"due":3}"#),
            Ok(vec![("due".into(), 3.0.into())])
        );
        // A page instead of JSON in a successful response is an error: a proxy, or maintenance.
        assert!(
            extract(200, "<h1>Soon</h1>")
                .unwrap_err()
                .contains("not JSON")
        );
    }
}
