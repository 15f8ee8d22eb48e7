//! One output: its expression, and how its value is extracted.

use std::sync::Arc;

use html5ever::LocalName;
use regex::Regex;
use reqwest::header::HeaderName;
use rowmill_domain::{Kind, Value};
use rowmill_pipeline::{Extract, HttpOutput};

use super::super::lenient;
use super::budget::Budget;
use super::json_path::{Part, Path};
use super::page::{Element, Selector};
use super::{Found, ParsedBody, SEPARATOR, TEXT_MAX};
use crate::digits::is_exact;
use crate::{SetupError, timestamps, truncate};

pub(super) struct Output {
    pub(super) name: Arc<str>,
    /// As written in the pipeline, for error messages.
    pub(super) expression: String,
    from: Source,
    kind: Option<Kind>,
    pub(super) optional: bool,
    /// Whether the value is an address that becomes absolute.
    absolute: bool,
}

enum Source {
    Json(Path),
    JsonAll(Path),
    Css(Selector),
    CssAll(Selector),
    CssAttribute(Selector, LocalName),
    Regex(Regex),
    RegexAll(Regex),
    Header(HeaderName),
    Status,
}

impl Output {
    /// Whether it joins all matches.
    pub(super) fn is_all(&self) -> bool {
        matches!(
            self.from,
            Source::JsonAll(_) | Source::CssAll(_) | Source::RegexAll(_)
        )
    }

    /// What it selects of JSON.
    pub(super) fn json_parts(&self) -> Option<&[Part]> {
        match &self.from {
            Source::Json(path) | Source::JsonAll(path) => Some(&path.parts),
            _ => None,
        }
    }

    /// Whether its value comes from the body.
    pub(super) fn is_of_body(&self) -> bool {
        !matches!(self.from, Source::Header(_) | Source::Status)
    }

    pub(super) fn new(output: &HttpOutput) -> Result<Output, SetupError> {
        let invalid = |expression: &str, language, message: String| SetupError::Expression {
            output: output.name.clone(),
            expression: expression.to_owned(),
            language,
            message,
        };
        let css = |selector: &str| {
            let parsed = Selector::parse(selector);
            parsed.map_err(|e| invalid(selector, "CSS selector", e))
        };
        let json = |path: &str| {
            let parsed = Path::parse(path);
            parsed.map_err(|e| invalid(path, "JSONPath", e.to_string()))
        };
        let regex = |text: &str| {
            let parsed = Regex::new(text);
            parsed.map_err(|e| invalid(text, "regular expression", e.to_string()))
        };
        let (expression, from) = match &output.from {
            Extract::Json(path) => (path.clone(), Source::Json(json(path)?)),
            Extract::JsonAll(path) => (path.clone(), Source::JsonAll(json(path)?)),
            Extract::Css(selector) => (selector.clone(), Source::Css(css(selector)?)),
            Extract::CssAll(selector) => (selector.clone(), Source::CssAll(css(selector)?)),
            Extract::CssAttribute {
                selector,
                attribute,
            } => (
                format!("{attribute} of {selector}"),
                Source::CssAttribute(css(selector)?, attribute.as_str().into()),
            ),
            Extract::Regex(text) => (text.clone(), Source::Regex(regex(text)?)),
            Extract::RegexAll(text) => (text.clone(), Source::RegexAll(regex(text)?)),
            Extract::Header(name) => {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let parsed = parsed.map_err(|e| invalid(name, "header", e.to_string()))?;
                (format!("header {name}"), Source::Header(parsed))
            }
            Extract::Status => ("the status".to_owned(), Source::Status),
        };
        Ok(Output {
            name: output.name.as_str().into(),
            expression,
            from,
            kind: output.kind,
            optional: output.optional,
            absolute: output.absolute,
        })
    }

    /// The value in a response, if there is one.
    ///
    /// # Errors
    /// The body cannot be parsed, or the value has the wrong type.
    pub(super) fn value(&self, body: &mut ParsedBody<'_>) -> Result<Option<Value>, String> {
        let value = self.value_as_it_is(body)?;
        match value {
            Some(Value::Text(text)) if self.absolute && !self.is_all() => {
                Ok(Some(Value::Text(self.absolute(&text, body)?)))
            }
            value => Ok(value),
        }
    }

    /// An address as an absolute one.
    fn absolute(&self, address: &str, body: &mut ParsedBody<'_>) -> Result<String, String> {
        let base = body.base()?;
        let joined = base.join(address.trim()).map_err(|e| {
            format!(
                "output `{}`: {} is `{}`, which is not an address: {e}",
                self.name,
                self.expression,
                truncate(address, 80)
            )
        })?;
        Ok(joined.into())
    }

    fn value_as_it_is(&self, body: &mut ParsedBody<'_>) -> Result<Option<Value>, String> {
        let text = match &self.from {
            Source::Json(path) => {
                return self.query(body, path, |nodes| match nodes.first() {
                    Some(node) => self.value_of_json(node),
                    None => Ok(None),
                });
            }
            Source::Css(selector) => self.select(body, selector, |found| {
                Ok(found.next().map(|element| element.visible_text()))
            })?,
            Source::JsonAll(_) | Source::CssAll(_) | Source::RegexAll(_) => {
                return self.joined(&self.all(body)?);
            }
            Source::CssAttribute(selector, attribute) => self.select(body, selector, |found| {
                let value = found
                    .next()
                    .and_then(|element| element.attribute(attribute));
                Ok(value.map(|text| text.trim().to_owned()))
            })?,
            Source::Regex(regex) => regex.captures(body.text()).as_ref().map(group),
            Source::Header(name) => {
                let value = body.response.headers.get(name);
                value.map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned())
            }
            Source::Status => {
                let status = serde_json::Value::from(body.response.status.as_u16());
                return self.value_of_json(&status);
            }
        };
        match text {
            Some(text) => self.value_of_text(&text),
            None => Ok(None),
        }
    }

    /// What a response has for the output.
    pub(super) fn found(&self, body: &mut ParsedBody<'_>) -> Result<Found, String> {
        match self.is_all() {
            true => self.all(body).map(Found::All),
            false => self.value(body).map(Found::One),
        }
    }

    /// The value of several texts.
    pub(super) fn joined(&self, texts: &[String]) -> Result<Option<Value>, String> {
        self.value_of_text(&texts.join(SEPARATOR))
    }

    /// The value as an address. `false` and `null` mean that there is none.
    pub(super) fn address(&self, body: &mut ParsedBody<'_>) -> Result<Option<String>, String> {
        use serde_json::Value as Json;
        if let Source::Json(path) = &self.from {
            let is_none = self.query(body, path, |nodes| match nodes.first() {
                Some(Json::Bool(false)) => Ok(true),
                None | Some(Json::Null | Json::String(_)) => Ok(false),
                Some(other) => Err(format!(
                    "{} is {}, which is not a URL; select the part that is one",
                    self.expression,
                    truncate(&other.to_string(), 80)
                )),
            })?;
            if is_none {
                return Ok(None);
            }
        }
        Ok(self.value(body)?.map(|value| value.to_text()))
    }

    /// The non-empty texts of all matches.
    pub(super) fn all(&self, body: &mut ParsedBody<'_>) -> Result<Vec<String>, String> {
        let texts = self.all_as_they_are(body)?;
        match self.absolute {
            true => texts.iter().map(|text| self.absolute(text, body)).collect(),
            false => Ok(texts),
        }
    }

    fn all_as_they_are(&self, body: &mut ParsedBody<'_>) -> Result<Vec<String>, String> {
        match &self.from {
            Source::JsonAll(path) => self.query(body, path, |nodes| {
                let texts = self.texts(nodes.iter().map(|node| match node {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                }))?;
                texts.iter().try_for_each(|text| self.check(text))?;
                Ok(texts)
            }),
            Source::CssAll(selector) => self.select(body, selector, |found| {
                self.texts(found.map(|element| element.visible_text()))
            }),
            Source::RegexAll(regex) => {
                let budget = body.budget();
                let all = regex.captures_iter(body.text());
                let all = all.take_while(|_| {
                    // A match may have been searched to the end of the text.
                    budget.look();
                    budget.check().is_ok()
                });
                let texts = self.texts(all.map(|found| group(&found)))?;
                self.is_within(&budget)?;
                Ok(texts)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Reads the values that a path selects.
    fn query<T>(
        &self,
        body: &mut ParsedBody<'_>,
        path: &Path,
        read: impl FnOnce(&[&serde_json::Value]) -> Result<T, String>,
    ) -> Result<T, String> {
        let budget = body.budget();
        let nodes = body.json()?.map(|json| path.select(json, &budget));
        self.is_within(&budget)?;
        read(&nodes.unwrap_or_default())
    }

    /// Reads the elements that a selector matches.
    fn select<T>(
        &self,
        body: &mut ParsedBody<'_>,
        selector: &Selector,
        read: impl FnOnce(&mut dyn Iterator<Item = Element<'_>>) -> Result<T, String>,
    ) -> Result<T, String> {
        let budget = body.budget();
        let found = read(&mut body.page()?.select(selector, &budget));
        // What was found without the budget is not complete.
        self.is_within(&budget)?;
        found
    }

    fn is_within(&self, budget: &Budget) -> Result<(), String> {
        let spent = budget.check();
        spent.map_err(|spent| spent.reason(&format!("output `{}`: {}", self.name, self.expression)))
    }

    /// The texts that are not empty.
    ///
    /// # Errors
    /// Together they are far larger than a cell.
    fn texts(&self, texts: impl Iterator<Item = String>) -> Result<Vec<String>, String> {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for text in texts.filter(|text| !text.is_empty()) {
            bytes += text.len() + SEPARATOR.len();
            if bytes > TEXT_MAX {
                return Err(format!(
                    "output `{}`: the text of all matches of {} does not fit a cell",
                    self.name, self.expression
                ));
            }
            kept.push(text);
        }
        Ok(kept)
    }

    /// `null` and empty text are not values.
    fn value_of_json(&self, node: &serde_json::Value) -> Result<Option<Value>, String> {
        use serde_json::Value as Json;
        match (node, self.kind) {
            (Json::Null, _) => Ok(None),
            (Json::String(text), _) => {
                self.check(text)?;
                self.value_of_text(text)
            }
            (Json::Number(number), None) if !is_exact(number) => {
                Ok(Some(Value::Text(number.to_string())))
            }
            (Json::Number(number), None | Some(Kind::Number)) => {
                Ok(number.as_f64().map(Value::Number))
            }
            (Json::Bool(b), None | Some(Kind::Bool)) => Ok(Some(Value::Bool(*b))),
            (node, Some(Kind::Text)) => {
                let text = node.to_string();
                self.check(&text)?;
                Ok(Some(Value::Text(text)))
            }
            (Json::Array(_) | Json::Object(_), _) => Err(format!(
                "output `{}`: {} is a JSON {}, which does not fit a cell; select a part of it, or set type = \"text\" to keep it as text",
                self.name,
                self.expression,
                if node.is_array() { "array" } else { "object" }
            )),
            (node, Some(kind)) => Err(self.mismatch(&node.to_string(), kind)),
        }
    }

    /// # Errors
    /// The text contains a value that is not valid JSON.
    fn check(&self, text: &str) -> Result<(), String> {
        match lenient::complaint(text) {
            Some(complaint) => Err(format!(
                "output `{}`: {} {complaint}",
                self.name, self.expression
            )),
            None => Ok(()),
        }
    }

    fn value_of_text(&self, text: &str) -> Result<Option<Value>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let kind = self.kind.unwrap_or(Kind::Text);
        match timestamps::parse(text, kind) {
            Some(value) => Ok(Some(value)),
            None => Err(self.mismatch(text, kind)),
        }
    }

    fn mismatch(&self, text: &str, kind: Kind) -> String {
        format!(
            "output `{}`: {} is `{}`, which is not a valid {kind}",
            self.name,
            self.expression,
            truncate(text, 80)
        )
    }
}

/// The first group of a match, or the whole match.
fn group(found: &regex::Captures<'_>) -> String {
    let part = found.get(1).or_else(|| found.get(0));
    part.map_or("", |part| part.as_str()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::HttpResponse;
    use super::*;

    fn output(from: Extract, kind: Option<Kind>) -> Result<Output, SetupError> {
        Output::new(&HttpOutput {
            name: "x".into(),
            from,
            kind,
            optional: true,
            absolute: false,
        })
    }

    fn value(output: Output, response: &HttpResponse) -> Result<Option<Value>, String> {
        let outputs = [output];
        outputs[0].value(&mut ParsedBody::new(response, &outputs))
    }

    fn json(path: &str) -> Extract {
        Extract::Json(path.into())
    }

    fn css(selector: &str) -> Extract {
        Extract::Css(selector.into())
    }

    fn one(from: Extract, kind: Option<Kind>, body: &str) -> Result<Option<Value>, String> {
        let mut response = HttpResponse::of(body.as_bytes(), "text/html");
        let total = reqwest::header::HeaderValue::from_static(" 17 ");
        response.headers.insert("x-total", total);
        value(output(from, kind).unwrap(), &response)
    }

    #[test]
    fn json_values_are_converted_by_type() {
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
        for beyond in ["12345678901234567890123", "18446744073709551616"] {
            let body = format!(r#"{{"n":{beyond}}}"#);
            let get = |kind| one(json("$.n"), kind, &body);
            assert_eq!(get(None), text(beyond));
            assert_eq!(get(Some(Kind::Text)), text(beyond));
            assert_eq!(get(Some(Kind::Number)), number(beyond.parse().unwrap()));
        }
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
            "output `x`: $.d is `2026-11-21`, which is not a valid number"
        );
        assert!(
            get("$.n", Some(Kind::Date))
                .unwrap_err()
                .contains("is not a valid date")
        );
        assert!(
            get("$.b", Some(Kind::Number))
                .unwrap_err()
                .contains("is not a valid number")
        );
        assert!(get("$.list", None).unwrap_err().contains("JSON array"));
        assert!(
            get("$.o", Some(Kind::Number))
                .unwrap_err()
                .contains("JSON object")
        );
    }

    #[test]
    fn values_that_json_does_not_have_fail_the_outputs_that_use_them() {
        let body = r#"{"v":"ok","n":NaN,"h":"\ud83d","l":[1,-Infinity]}"#;
        let get = |path: &str, kind| one(json(path), kind, body);
        assert_eq!(get("$.v", None), Ok(Some("ok".into())));
        assert_eq!(
            get("$.n", Some(Kind::Number)).unwrap_err(),
            "output `x`: $.n is NaN, which is not valid JSON"
        );
        assert!(get("$.h", None).unwrap_err().contains("unpaired surrogate"));
        assert!(
            get("$.l", Some(Kind::Text))
                .unwrap_err()
                .contains("-Infinity")
        );
        let all = one(Extract::JsonAll("$.l[*]".into()), None, body);
        assert!(all.unwrap_err().contains("-Infinity"));
    }

    #[test]
    fn a_css_output_is_the_text_of_the_first_element() {
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
                .contains("`Ada Lovelace`, which is not a valid number")
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
    fn addresses_become_absolute() {
        let get = |from, media: &str, body: &str| {
            let mut response = HttpResponse::of(body.as_bytes(), media);
            response.url = url::Url::parse("https://a.example/list/?page=1").unwrap();
            let output = Output::new(&HttpOutput {
                name: "x".into(),
                from,
                kind: None,
                absolute: true,
                optional: true,
            });
            value(output.unwrap(), &response)
        };
        let link = || Extract::CssAttribute {
            selector: "a".into(),
            attribute: "href".into(),
        };
        let html = "text/html; charset=utf-8";
        for (head, expected) in [
            ("", "https://a.example/list/p?q=1"),
            ("<base href='/sub/'>", "https://a.example/sub/p?q=1"),
            (
                "<base target=x><base href='//b.example/x/y'>",
                "https://b.example/x/p?q=1",
            ),
            (
                "<base href='data:text/plain,x'>",
                "https://a.example/list/p?q=1",
            ),
        ] {
            let body = format!("{head}<a href=' p?q=1 '>x</a>");
            assert_eq!(
                get(link(), html, &body),
                Ok(Some(expected.into())),
                "{head}"
            );
        }
        let json = r#"{"u":"../x","all":["y","https://c.example"],"n":5,"bad":"http://["}"#;
        let path = |path: &str| Extract::Json(path.into());
        let of_json = |from| get(from, "application/json", json);
        assert_eq!(of_json(path("$.u")), Ok(Some("https://a.example/x".into())));
        assert_eq!(of_json(path("$.n")), Ok(Some(5.0.into())));
        assert_eq!(of_json(path("$.none")), Ok(None));
        assert!(
            of_json(path("$.bad"))
                .unwrap_err()
                .contains("is not an address")
        );
        assert_eq!(
            of_json(Extract::JsonAll("$.all[*]".into())),
            Ok(Some("https://a.example/list/y; https://c.example/".into()))
        );
        let all = Extract::RegexAll("href=([^ >]+)".into());
        let body = "<base href=/b/><a href=1>x</a>";
        assert_eq!(
            get(all, html, body),
            Ok(Some("https://a.example/b/; https://a.example/b/1".into()))
        );
    }

    #[test]
    fn xml_is_read_by_css_selectors() {
        let rss = r#"<?xml version="1.0"?><!DOCTYPE rss><rss xmlns:dc="http://purl.org/dc/"><channel>
            <title>News</title><link>http://x.example/</link>
            <item><title><![CDATA[A & B <i>]]></title><link>http://x.example/1</link><!-- c -->
            <description>x &amp; y &#233; &unknown;</description><pubDate>Mon</pubDate>
            <dc:creator>Ada</dc:creator><guid isPermaLink="false" id='g1'>1</guid>
            <style>s</style><template>t</template>
            <address><street>Main St</street><city>Rome</city></address>
            <formula>H<sub>2</sub>O</formula></item></channel></rss>"#;
        let get = |from| {
            let response = HttpResponse::of(rss.as_bytes(), "application/rss+xml");
            value(output(from, None).unwrap(), &response)
        };
        for (selector, expected) in [
            ("item > title", "A & B <i>"),
            ("item link", "http://x.example/1"),
            ("description", "x & y \u{e9} &unknown;"),
            ("pubDate", "Mon"),
            ("pubdate", "Mon"),
            ("dc\\:creator", "Ada"),
            ("[isPermaLink=false]", "1"),
            ("#g1", "1"),
            ("style", "s"),
            ("template", "t"),
            ("address", "Main St Rome"),
            ("formula", "H2O"),
        ] {
            assert_eq!(get(css(selector)), Ok(Some(expected.into())), "{selector}");
        }
        let attribute = Extract::CssAttribute {
            selector: "guid".into(),
            attribute: "isPermaLink".into(),
        };
        assert_eq!(get(attribute), Ok(Some("false".into())));
        assert_eq!(
            get(Extract::CssAll("link".into())),
            Ok(Some("http://x.example/; http://x.example/1".into()))
        );
    }

    #[test]
    fn xml_that_is_not_well_formed_or_too_deep_is_an_error() {
        let get = |body: &str| {
            let response = HttpResponse::of(body.as_bytes(), "text/xml");
            value(output(css("a"), None).unwrap(), &response).unwrap_err()
        };
        for body in [
            "<a><b></a>",
            "<r><a>1</a>",
            "<r>\n<a x=1></a></r>",
            "<a",
            "<a>&#xZZ;</b>",
        ] {
            let error = get(body);
            assert!(
                error.contains("not well-formed XML (line "),
                "{body}: {error}"
            );
        }
        assert!(get(&"<a>".repeat(100_000)).contains("nested more than"));
    }

    #[test]
    fn which_responses_are_xml() {
        for (media, body, xml) in [
            ("application/xml", "<r/>", true),
            ("text/xml; charset=utf-8", "<r/>", true),
            ("application/atom+xml", "<r/>", true),
            ("text/plain", "<?xml version=\"1.0\"?><r/>", true),
            (
                "application/octet-stream",
                "\n<?xml version=\"1.0\"?><r/>",
                true,
            ),
            ("text/html", "<?xml version=\"1.0\"?><r/>", false),
            ("text/plain", "<r/>", false),
            (
                "application/xhtml+xml",
                "<?xml version=\"1.0\"?><HTML>",
                false,
            ),
            ("application/xml", "<!DOCTYPE html><html>", false),
        ] {
            let response = HttpResponse::of(body.as_bytes(), media);
            assert_eq!(response.is_xml(), xml, "{media} {body}");
        }
    }

    #[test]
    fn invalid_expressions_are_rejected_at_setup() {
        for (from, language) in [
            (json("$.["), "JSONPath"),
            (css("td["), "CSS selector"),
            (Extract::CssAll("[".into()), "CSS selector"),
            (Extract::Regex("(".into()), "regular expression"),
            (Extract::Header("a b".into()), "header"),
        ] {
            let error = output(from, None).err().unwrap().to_string();
            assert!(
                error.contains("output `x`") && error.contains(language),
                "{error}"
            );
        }
    }
}
