//! Outputs out of a response: by JSONPath (RFC 9535), CSS selector or regular expression, from
//! its headers, or its status.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use rowmill_domain::pipeline::{Extract, HttpOutput};
use rowmill_domain::record::Outputs;
use rowmill_domain::{Kind, Value};
use scraper::{Html, Selector};
use serde_json_path::JsonPath;
use url::Url;

use crate::{SetupError, brief};

/// What stands between the texts of several elements in one cell.
const BETWEEN: &str = "; ";
/// Bytes of texts kept of all pages of a record; a cell holds 32,767 characters.
const GATHERED_MAX: usize = 1024 * 1024;
/// Integers beyond this are not exact as doubles; they stay text, so that no digit is lost.
const EXACT_INTEGER: u64 = 1 << 53;

/// All outputs of a step.
pub(super) struct Extractor {
    outputs: Vec<Output>,
}

struct Output {
    name: Arc<str>,
    /// As the pipeline has it, for reasons.
    expression: String,
    from: From,
    kind: Option<Kind>,
    optional: bool,
}

enum From {
    Json(JsonPath),
    JsonAll(JsonPath),
    Css(Selector),
    CssAll(Selector),
    CssAttribute(Selector, String),
    Regex(Regex),
    RegexAll(Regex),
    Header(HeaderName),
    Status,
}

/// A response as far as outputs are concerned.
pub(super) struct Fetched {
    /// Where it came from, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
}

impl crate::cache::Answer for Fetched {
    fn bytes(&self) -> usize {
        self.body.len()
    }
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
        let parsed = self.json.get_or_insert_with(|| parse_json(self.fetched));
        parsed.as_ref().map_err(Clone::clone)
    }

    fn text(&mut self) -> &str {
        self.text.get_or_insert_with(|| decode(self.fetched))
    }

    fn html(&mut self) -> &Html {
        let fetched = self.fetched;
        self.html
            .get_or_insert_with(|| Html::parse_document(&decode(fetched)))
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
}

/// Outputs of several pages as they come.
#[derive(Default)]
pub(super) struct Gathered {
    /// By output: the first value, or all texts.
    found: Vec<(Option<Value>, Vec<String>)>,
    bytes: usize,
    pages: usize,
}

impl Extractor {
    /// Adds a page. Whether an output got a value out of its body.
    pub(super) fn gather(&self, fetched: &Fetched, into: &mut Gathered) -> Result<bool, String> {
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
                any |= value.is_some() && !matches!(output.from, From::Header(_) | From::Status);
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
    pub(super) fn gathered(&self, gathered: Gathered) -> Result<Outputs, String> {
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

    /// The text of the only output.
    pub(super) fn only(&self, fetched: &Fetched) -> Option<String> {
        let value = self.values(fetched).next()?.1.ok()??;
        Some(value.to_text())
    }
}

impl Output {
    /// Whether it takes all matches.
    fn is_all(&self) -> bool {
        matches!(
            self.from,
            From::JsonAll(_) | From::CssAll(_) | From::RegexAll(_)
        )
    }

    fn new(output: &HttpOutput) -> Result<Output, SetupError> {
        let wrong = |expression: &str, language, message: String| SetupError::Expression {
            output: output.name.clone(),
            expression: expression.to_owned(),
            language,
            message,
        };
        let css = |selector: &str| {
            let parsed = Selector::parse(selector);
            parsed.map_err(|e| wrong(selector, "CSS selector", e.to_string()))
        };
        let json = |path: &str| {
            let parsed = JsonPath::parse(path);
            parsed.map_err(|e| wrong(path, "JSONPath", e.to_string()))
        };
        let regex = |text: &str| {
            let parsed = Regex::new(text);
            parsed.map_err(|e| wrong(text, "regular expression", e.to_string()))
        };
        let (expression, from) = match &output.from {
            Extract::Json(path) => (path.clone(), From::Json(json(path)?)),
            Extract::JsonAll(path) => (path.clone(), From::JsonAll(json(path)?)),
            Extract::Css(selector) => (selector.clone(), From::Css(css(selector)?)),
            Extract::CssAll(selector) => (selector.clone(), From::CssAll(css(selector)?)),
            Extract::CssAttribute {
                selector,
                attribute,
            } => (
                format!("{attribute} of {selector}"),
                From::CssAttribute(css(selector)?, attribute.clone()),
            ),
            Extract::Regex(text) => (text.clone(), From::Regex(regex(text)?)),
            Extract::RegexAll(text) => (text.clone(), From::RegexAll(regex(text)?)),
            Extract::Header(name) => {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let parsed = parsed.map_err(|e| wrong(name, "header", e.to_string()))?;
                (format!("header {name}"), From::Header(parsed))
            }
            Extract::Status => ("the status".to_owned(), From::Status),
        };
        Ok(Output {
            name: output.name.as_str().into(),
            expression,
            from,
            kind: output.kind,
            optional: output.optional,
        })
    }

    fn value(&self, forms: &mut Forms<'_>) -> Result<Option<Value>, String> {
        let text = match &self.from {
            From::Json(path) => {
                return match path.query(forms.json()?).first() {
                    Some(node) => self.value_of_json(node),
                    None => Ok(None),
                };
            }
            From::Css(selector) => {
                let first = forms.html().select(selector).next();
                first.map(|element| words(element.text()))
            }
            From::JsonAll(_) | From::CssAll(_) | From::RegexAll(_) => {
                Some(self.all(forms)?.join(BETWEEN))
            }
            From::CssAttribute(selector, attribute) => {
                let first = forms.html().select(selector).next();
                first
                    .and_then(|element| element.attr(attribute))
                    .map(|text| text.trim().to_owned())
            }
            From::Regex(regex) => regex.captures(forms.text()).as_ref().map(group),
            From::Header(name) => {
                let value = forms.fetched.headers.get(name);
                value.map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned())
            }
            From::Status => {
                let status = serde_json::Value::from(forms.fetched.status.as_u16());
                return self.value_of_json(&status);
            }
        };
        match text {
            Some(text) => self.value_of_text(&text),
            None => Ok(None),
        }
    }

    /// The texts of all matches that are not empty.
    fn all(&self, forms: &mut Forms<'_>) -> Result<Vec<String>, String> {
        let mut texts: Vec<String> = match &self.from {
            From::JsonAll(path) => {
                let nodes = path.query(forms.json()?).all();
                let text = |node: &serde_json::Value| match node {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                nodes.into_iter().map(text).collect()
            }
            From::CssAll(selector) => {
                let all = forms.html().select(selector);
                all.map(|element| words(element.text())).collect()
            }
            From::RegexAll(regex) => {
                let all = regex.captures_iter(forms.text());
                all.map(|found| group(&found)).collect()
            }
            _ => Vec::new(),
        };
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    /// `null` and the empty text are no values.
    fn value_of_json(&self, node: &serde_json::Value) -> Result<Option<Value>, String> {
        use serde_json::Value as Json;
        match (node, self.kind) {
            (Json::Null, _) => Ok(None),
            (Json::String(text), _) => self.value_of_text(text),
            (Json::Number(number), None) if !is_exact(number) => {
                Ok(Some(Value::Text(number.to_string())))
            }
            (Json::Number(number), None | Some(Kind::Number)) => {
                Ok(number.as_f64().map(Value::Number))
            }
            (Json::Bool(b), None | Some(Kind::Bool)) => Ok(Some(Value::Bool(*b))),
            (node, Some(Kind::Text)) => Ok(Some(Value::Text(node.to_string()))),
            (Json::Array(_) | Json::Object(_), _) => Err(format!(
                "output `{}`: {} gives a JSON {}, which is no cell's value; take a part of it, or all of it as text with type = \"text\"",
                self.name,
                self.expression,
                if node.is_array() { "array" } else { "object" }
            )),
            (node, Some(kind)) => Err(self.mismatch(&node.to_string(), kind)),
        }
    }

    fn value_of_text(&self, text: &str) -> Result<Option<Value>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let kind = self.kind.unwrap_or(Kind::Text);
        match Value::parse(text, kind) {
            Some(value) => Ok(Some(value)),
            None => Err(self.mismatch(text, kind)),
        }
    }

    fn mismatch(&self, text: &str, kind: Kind) -> String {
        format!(
            "output `{}`: {} gives `{}`, which is no {kind}",
            self.name,
            self.expression,
            brief(text, 80)
        )
    }
}

/// The first group of a match, or all of it.
fn group(found: &regex::Captures<'_>) -> String {
    let part = found.get(1).or_else(|| found.get(0));
    part.map_or("", |part| part.as_str()).trim().to_owned()
}

fn is_exact(number: &serde_json::Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n <= EXACT_INTEGER,
        (None, Some(n)) => n.unsigned_abs() <= EXACT_INTEGER,
        (None, None) => true,
    }
}

/// JSON is UTF-8 (RFC 8259), and yet some servers declare another charset and send it.
fn parse_json(fetched: &Fetched) -> Result<serde_json::Value, String> {
    let bytes = &fetched.body[..];
    // A reader may pass over a byte order mark; some servers send one.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let parsed = match declared(fetched) {
        Some(encoding) if encoding != encoding_rs::UTF_8 => {
            serde_json::from_str(&encoding.decode(bytes).0)
        }
        _ => serde_json::from_slice(bytes),
    };
    parsed.map_err(|e| match &*excerpt(bytes) {
        "" => "the response is empty where JSON is expected".to_owned(),
        start => format!("the response is no JSON ({e}): {start}"),
    })
}

/// The start of a body, for reasons.
fn excerpt(body: &[u8]) -> String {
    let body = body.trim_ascii_start();
    brief(&String::from_utf8_lossy(&body[..body.len().min(400)]), 80)
}

/// An element's text as a reader sees it: runs of white space are one space.
fn words<'a>(text: impl Iterator<Item = &'a str>) -> String {
    let text: String = text.collect();
    let mut words = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words
}

/// The page's text: by byte order mark, else by the charset of Content-Type, else of a `<meta>`
/// in the first kilobyte, else UTF-8.
fn decode(fetched: &Fetched) -> Cow<'_, str> {
    let start = &fetched.body[..fetched.body.len().min(1024)];
    let encoding = declared(fetched)
        .or_else(|| charset(&String::from_utf8_lossy(start)))
        .unwrap_or(encoding_rs::UTF_8);
    encoding.decode(&fetched.body).0
}

/// The charset of Content-Type.
fn declared(fetched: &Fetched) -> Option<&'static encoding_rs::Encoding> {
    charset(fetched.headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

/// The encoding after the first `charset=`.
fn charset(text: &str) -> Option<&'static encoding_rs::Encoding> {
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once("charset=")?;
    let rest = rest.trim_start_matches(['"', '\'']);
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c)));
    encoding_rs::Encoding::for_label(&rest.as_bytes()[..end.unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn output(name: &str, from: Extract, kind: Option<Kind>, optional: bool) -> HttpOutput {
        HttpOutput {
            name: name.into(),
            from,
            kind,
            optional,
        }
    }

    fn json(path: &str) -> Extract {
        Extract::Json(path.into())
    }

    fn css(selector: &str) -> Extract {
        Extract::Css(selector.into())
    }

    fn extract_as(outputs: &[HttpOutput], body: &[u8], media: &str) -> Result<Outputs, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(media).unwrap());
        headers.insert("x-total", HeaderValue::from_static(" 17 "));
        Extractor::new(outputs).unwrap().extract(&Fetched {
            url: Url::parse("http://a.example/").unwrap(),
            status: StatusCode::OK,
            headers,
            body: bytes::Bytes::copy_from_slice(body),
        })
    }

    fn one(from: Extract, kind: Option<Kind>, body: &str) -> Result<Option<Value>, String> {
        extract_as(
            &[output("x", from, kind, true)],
            body.as_bytes(),
            "text/html",
        )
        .map(|found| found.into_iter().next().map(|(_, v)| v))
    }

    #[test]
    fn json_values_by_type() {
        let body = r#"{"n":812.5,"t":"812.50","z":"00501","big":1234567890123456789,"b":true,
                       "null":null,"empty":"","list":[1,2],"o":{"a":1},"d":"2026-11-21","w":5}"#;
        let number = |n: f64| Ok(Some(Value::Number(n)));
        let text = |t: &str| Ok(Some(Value::from(t)));
        let get = |path: &str, kind| one(json(path), kind, body);
        assert_eq!(get("$.n", None), number(812.5));
        assert_eq!(get("$.n", Some(Kind::Text)), text("812.5"));
        assert_eq!(get("$.w", Some(Kind::Text)), text("5"));
        assert_eq!(get("$.t", None), text("812.50"));
        assert_eq!(get("$.t", Some(Kind::Number)), number(812.5));
        assert_eq!(get("$.z", None), text("00501"));
        assert_eq!(get("$.big", None), text("1234567890123456789"));
        assert_eq!(
            get("$.big", Some(Kind::Number)),
            number(1234567890123456789.0)
        );
        assert_eq!(get("$.b", None), Ok(Some(Value::Bool(true))));
        assert_eq!(get("$.null", None), Ok(None));
        assert_eq!(get("$.empty", Some(Kind::Number)), Ok(None));
        assert_eq!(get("$.missing", None), Ok(None));
        assert_eq!(get("$.list[1]", None), number(2.0));
        assert_eq!(get("$..a", None), number(1.0));
        assert_eq!(get("$.list", Some(Kind::Text)), text("[1,2]"));
        assert_eq!(
            get("$.d", Some(Kind::Date)),
            Ok(Value::parse("2026-11-21", Kind::Date))
        );
        assert_eq!(
            get("$.d", Some(Kind::Number)).unwrap_err(),
            "output `x`: $.d gives `2026-11-21`, which is no number"
        );
        assert!(
            get("$.n", Some(Kind::Date))
                .unwrap_err()
                .contains("is no date")
        );
        assert!(
            get("$.b", Some(Kind::Number))
                .unwrap_err()
                .contains("is no number")
        );
        assert!(get("$.list", None).unwrap_err().contains("JSON array"));
        assert!(
            get("$.o", Some(Kind::Number))
                .unwrap_err()
                .contains("JSON object")
        );
    }

    #[test]
    fn the_text_of_the_first_element() {
        let body = "<table><tr><td class=owner> Ada\n <b>Lovelace</b></td></tr>\
                    <tr><td class=owner>Other</td></tr><tr><td id=due>812.50</td><td id=no> </td></table>";
        assert_eq!(
            one(css("td.owner"), None, body),
            Ok(Some("Ada Lovelace".into()))
        );
        assert_eq!(
            one(css("#due"), Some(Kind::Number), body),
            Ok(Some(812.5.into()))
        );
        assert_eq!(one(css("#no"), None, body), Ok(None));
        assert_eq!(one(css("#absent"), None, body), Ok(None));
        assert!(
            one(css("td.owner"), Some(Kind::Number), body)
                .unwrap_err()
                .contains("`Ada Lovelace`, which is no number")
        );
    }

    #[test]
    fn attributes_all_matches_regex_headers_and_status() {
        let body = r#"<ul><li> <a href=" /p/1 ">One</a><li><a>Two</a><li> </ul>Due: EUR 812.50."#;
        let get = |from, kind| one(from, kind, body);
        let attribute = |name: &str| Extract::CssAttribute {
            selector: "li a".into(),
            attribute: name.into(),
        };
        assert_eq!(get(attribute("href"), None), Ok(Some("/p/1".into())));
        assert_eq!(get(attribute("title"), None), Ok(None));
        let all = Extract::CssAll("li".into());
        assert_eq!(get(all, None), Ok(Some("One; Two".into())));
        assert_eq!(get(Extract::CssAll("b".into()), None), Ok(None));
        let regex = |text: &str| Extract::Regex(text.into());
        assert_eq!(
            get(Extract::RegexAll("<a[^>]*>([^<]+)".into()), None),
            Ok(Some("One; Two".into()))
        );
        let list = r#"{"i":[{"n":"a"},{"n":2},{"n":null},{"n":true},{"n":[1]}]}"#;
        assert_eq!(
            one(Extract::JsonAll("$.i[*].n".into()), None, list),
            Ok(Some("a; 2; true; [1]".into()))
        );
        assert_eq!(
            get(regex(r"EUR ([\d.]+\d)"), Some(Kind::Number)),
            Ok(Some(812.5.into()))
        );
        assert_eq!(get(regex("EUR"), None), Ok(Some("EUR".into())));
        assert_eq!(get(regex("USD"), None), Ok(None));
        let header = Extract::Header("X-Total".into());
        assert_eq!(get(header, Some(Kind::Number)), Ok(Some(17.0.into())));
        assert_eq!(get(Extract::Header("x-none".into()), None), Ok(None));
        assert_eq!(get(Extract::Status, None), Ok(Some(200.0.into())));
        assert_eq!(
            get(Extract::Status, Some(Kind::Text)),
            Ok(Some("200".into()))
        );
    }

    #[test]
    fn a_required_output_without_value_is_the_reason() {
        let outputs = [
            output("a", json("$.a"), None, true),
            output("due", json("$.due"), Some(Kind::Number), false),
        ];
        let extract = |body: &str| extract_as(&outputs, body.as_bytes(), "application/json");
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

    #[test]
    fn pages_are_decoded_by_header_meta_or_mark() {
        let outputs = [output("x", css("p"), None, false)];
        let value =
            |body: &[u8], media: &str| extract_as(&outputs, body, media).unwrap()[0].1.to_text();
        assert_eq!(
            value(b"<p>caf\xe9", "text/html; charset=ISO-8859-1"),
            "café"
        );
        assert_eq!(
            value(b"<meta charset='windows-1252'><p>caf\xe9", "text/html"),
            "café"
        );
        assert_eq!(value("<p>café".as_bytes(), "text/html"), "café");
        assert_eq!(
            value(b"\xef\xbb\xbf<p>caf\xc3\xa9", "text/html; charset=latin1"),
            "café"
        );
    }

    #[test]
    fn json_is_decoded_as_its_header_says() {
        let outputs = [output("x", json("$.x"), None, false)];
        let value =
            |body: &[u8], media: &str| extract_as(&outputs, body, media).unwrap()[0].1.to_text();
        let latin = b"{\"x\":\"caf\xe9\"}";
        assert_eq!(value(latin, "application/json; charset=iso-8859-1"), "café");
        assert_eq!(
            value(
                "{\"x\":\"café\"}".as_bytes(),
                "application/json; charset=utf-8"
            ),
            "café"
        );
        let wrong = extract_as(&outputs, latin, "application/json").unwrap_err();
        assert!(wrong.contains("no JSON"), "{wrong}");
    }

    #[test]
    fn expressions_that_do_not_parse_are_told_at_once() {
        for (from, language) in [
            (json("$.["), "JSONPath"),
            (css("td["), "CSS selector"),
            (Extract::CssAll("[".into()), "CSS selector"),
            (Extract::Regex("(".into()), "regular expression"),
            (Extract::Header("a b".into()), "header"),
        ] {
            let error = Extractor::new(&[output("x", from, None, false)])
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains("output `x`") && error.contains(language),
                "{error}"
            );
        }
    }
}
