//! `[[step]]` with `kind = "http"`.

use std::ops::Range;
use std::time::Duration;

use rowmill_domain::value::Kind;

use super::pages::pages;
use super::{Builder, timeout, units, whole};
use crate::keys::{EXTRACT, EXTRACT_SOURCES};
use crate::names::Origin;
use crate::parse::reader::{Node, TomlTable};
use crate::step::RETRY_ON;
use crate::{CookieScope, Expr, Extract, HttpMethod, HttpOutput, HttpStep, Template};

/// The name of the response status in `ok_when`. No output can have this name.
const STATUS: &str = "status";

/// Headers that the client derives from the rest of the request. Setting them could contradict the
/// derived ones and allow request smuggling (RFC 9112, section 11.2).
const OWN_HEADERS: [(&str, &str); 5] = [
    ("Content-Length", "it is computed from the body; remove it"),
    (
        "Transfer-Encoding",
        "it is computed from the body; remove it",
    ),
    ("Host", "it is the host in `url`; remove it"),
    (
        "Connection",
        "connections are managed automatically; remove it",
    ),
    ("Upgrade", "other protocols are not supported; remove it"),
];

/// The highest rate, in requests per second. No source sets a higher limit.
const RATE_MAX: f64 = 10_000.0;
/// The lowest rate: one request per day.
const RATE_MIN: f64 = 1.0 / 86_400.0;

/// The entries of a table with arbitrary keys: name, position of the name, value.
type Entries<'a> = Vec<(&'a str, Range<usize>, Node<'a>)>;

impl<'a> Builder<'a> {
    /// Reads an `http` step. `None`: an error leaves its columns unknown.
    pub(super) fn http(&mut self, table: &TomlTable<'a>) -> Option<HttpStep> {
        let url = table.required("url").and_then(|n| self.url(&n));
        let method = method(table);
        let query = entries(table, "query");
        let query = self.templates(query);
        let headers = entries(table, "headers");
        for (name, at, _) in &headers {
            if !is_token(name) {
                let message = format!("{name:?} is not a valid header name");
                self.file.error(at.clone(), message, None);
            } else if let Some((_, why)) = OWN_HEADERS
                .iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(name))
            {
                let message = format!("the header `{name}` cannot be set");
                self.file
                    .error(at.clone(), message, Some((*why).to_owned()));
            }
        }
        let headers = self.templates(headers);
        let (body, form) = self.body(table, method);
        let timeout = timeout(table, Duration::from_secs(30));
        let attempts = whole(table, "attempts", 4);
        let retry_on = table.optional("retry_on").and_then(|n| n.statuses());
        let rate = rate(table);
        let robots = table.optional("robots").and_then(|n| n.bool());
        let allow_hosts = allow_hosts(table);
        let proxy = table.optional("proxy").and_then(|n| self.proxy(&n));
        let ca = table.optional("ca").and_then(|n| certificates(&n));
        let cache = cache(table, method);
        let cookies = table.optional("cookies").and_then(|n| n.one_of());
        let auth = table.optional("auth").map(|n| self.auth(&n));
        let pages = table.optional("pages").and_then(|n| pages(&n, method));
        let outputs = self.http_outputs(table, method);
        // Without the outputs it is unknown which names `ok_when` can use.
        self.unsure |= outputs.is_none();
        let ok_when = table.optional("ok_when").and_then(|n| self.ok_when(&n));
        table.finish();
        Some(HttpStep {
            method: method?,
            url: url?,
            query,
            headers,
            body,
            form,
            timeout,
            attempts,
            retry_on: retry_on.unwrap_or_else(|| RETRY_ON.to_vec()),
            rate,
            robots: robots.unwrap_or(true),
            allow_hosts,
            proxy,
            ca,
            cache,
            ok_when,
            auth: match auth {
                None => None,
                Some(auth) => Some(auth?),
            },
            cookies: match cookies {
                Some("step") => CookieScope::Step,
                _ => CookieScope::Redirects,
            },
            pages,
            outputs: outputs?,
        })
    }

    fn url(&mut self, node: &Node<'a>) -> Option<Template> {
        let template = self.template(node)?;
        let source = template.source();
        let schemes = ["http://", "https://", "{{", "{%"];
        if !schemes.iter().any(|s| source.starts_with(s)) {
            node.error(
                "`url` must start with http:// or https://",
                Some("write the full URL, including the scheme"),
            );
        }
        Some(template)
    }

    fn proxy(&mut self, node: &Node<'a>) -> Option<Template> {
        let template = self.template(node)?;
        if !template.references().is_empty() {
            let message = "`proxy` cannot depend on the record";
            node.error(message, None);
        }
        let source = template.source();
        if !["http://", "https://", "{{"]
            .iter()
            .any(|s| source.starts_with(s))
        {
            node.error(
                "`proxy` must start with http:// or https://",
                Some("write for example \"http://proxy.example:3128\""),
            );
        }
        Some(template)
    }

    /// Compiles the templates of a table, in the order of the file.
    fn templates(&mut self, entries: Entries<'a>) -> Vec<(String, Template)> {
        let compiled = entries
            .into_iter()
            .filter_map(|(name, _, node)| Some((name.to_owned(), self.template(&node)?)));
        compiled.collect()
    }

    /// Reads `body` and `form`. A request can have one of them, and GET and HEAD have neither.
    fn body(
        &mut self,
        table: &TomlTable<'a>,
        method: Option<HttpMethod>,
    ) -> (Option<Template>, Vec<(String, Template)>) {
        let body = table.optional("body");
        let form = table.optional("form");
        if let Some(method @ (HttpMethod::Get | HttpMethod::Head)) = method {
            for node in [&body, &form].into_iter().flatten() {
                let method = method.name();
                let message = format!(
                    "a {method} request has no body, so `{}` is not allowed",
                    node.name
                );
                node.error(message, Some("add `method = \"POST\"`"));
            }
        } else if let (Some(_), Some(form)) = (&body, &form) {
            form.error(
                "a request can have `body` or `form`, not both",
                Some("remove one of them"),
            );
        }
        let body = body.and_then(|n| self.template(&n));
        let fields = form.as_ref().and_then(Node::entries);
        if let (Some(form), Some([])) = (&form, fields.as_deref()) {
            form.error(
                "`form` must have at least one field",
                Some("add `name = \"value\"`"),
            );
        }
        (body, self.templates(fields.unwrap_or_default()))
    }

    fn http_outputs(
        &mut self,
        table: &TomlTable<'a>,
        method: Option<HttpMethod>,
    ) -> Option<Vec<HttpOutput>> {
        let node = table.required("outputs")?;
        let entries = node.entries()?;
        if entries.is_empty() {
            node.error(
                "`outputs` must have at least one column",
                Some("add `name = { json = \"$.path\" }`"),
            );
        }
        let mut outputs = Vec::with_capacity(entries.len());
        for (name, at, node) in entries {
            let output = http_output(name, &node);
            self.add(name, &at);
            if let Some(HttpOutput { from, .. }) = &output
                && method == Some(HttpMethod::Head)
                && !matches!(from, Extract::Header(_) | Extract::Status)
            {
                node.error(
                    "the response to a HEAD request has no body to take a value from",
                    Some("use `header` or `status`, or remove `method`"),
                );
            }
            outputs.extend(output);
        }
        Some(outputs)
    }

    /// Reads `ok_when`, which can also use the step's own outputs and `status`.
    fn ok_when(&mut self, node: &Node<'a>) -> Option<Expr> {
        let rule = self.expression_with(node, &[STATUS])?;
        for reference in rule.references() {
            if reference.from == Origin::Row && &*reference.name == STATUS {
                let at = self.file.within(&node.at, &reference.at);
                let message = "in `ok_when`, `status` is the status of the response, not a column";
                let help = "write `status` without `row`";
                self.file.error(at, message, Some(help.to_owned()));
            }
        }
        Some(rule)
    }
}

/// Reads the method. `None`: it is unknown.
fn method(table: &TomlTable<'_>) -> Option<HttpMethod> {
    let Some(node) = table.optional("method") else {
        return Some(HttpMethod::Get);
    };
    let name = node.one_of()?;
    HttpMethod::ALL.into_iter().find(|m| m.name() == name)
}

/// Reads the entries of an optional table.
fn entries<'a>(table: &TomlTable<'a>, key: &str) -> Entries<'a> {
    let entries = table.optional(key).and_then(|n| n.entries());
    entries.unwrap_or_default()
}

/// Whether a text is a valid header name (RFC 9110, section 5.6.2: token).
pub(super) fn is_token(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}

pub(super) fn allow_hosts(table: &TomlTable<'_>) -> Vec<String> {
    let hosts = table.optional("allow_hosts").and_then(|n| n.texts());
    let hosts = hosts.unwrap_or_default();
    for (host, node) in &hosts {
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if !is_address && host.contains(['/', ':', '@', ' ']) {
            node.error(
                format!("{host:?} is not a host"),
                Some("write the name or address without scheme, port and path"),
            );
        }
    }
    hosts.into_iter().map(|(h, _)| h.to_owned()).collect()
}

/// Reads `rate` in requests per second.
pub(super) fn rate(table: &TomlTable<'_>) -> Option<f64> {
    let node = table.optional("rate")?;
    let rate = node.read(units::rate, "\"50/s\", \"10/m\" or \"1000/h\"")?;
    if rate > RATE_MAX {
        node.error(
            format!("`rate` must be at most {RATE_MAX}/s"),
            Some("remove it if the source needs no limit"),
        );
    } else if rate < RATE_MIN {
        node.error("`rate` must be at least one request per day", None);
    }
    Some(rate)
}

/// Reads the text of a PEM file. The certificates are parsed when the step is prepared.
fn certificates(node: &Node<'_>) -> Option<String> {
    let pem = node.text()?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        node.error(
            "`ca` is not a certificate in PEM format",
            Some("write the content of the file between triple quotes: ca = \"\"\"-----BEGIN CERTIFICATE-----..\"\"\""),
        );
    }
    Some(pem.to_owned())
}

fn cache(table: &TomlTable<'_>, method: Option<HttpMethod>) -> bool {
    let node = table.optional("cache");
    let cache = node.as_ref().and_then(Node::bool).unwrap_or(false);
    if let (Some(node), true, Some(method)) = (node, cache, method)
        && method != HttpMethod::Get
    {
        let method = method.name();
        node.error(
            format!("a {method} request may change data at the source, so its responses cannot be cached"),
            Some("remove `cache`; only GET requests can be cached"),
        );
    }
    cache
}

fn http_output(name: &str, node: &Node<'_>) -> Option<HttpOutput> {
    let table = node.table(&[&EXTRACT])?;
    let from = extract(name, node, &table);
    let kind = table.optional("type").and_then(|n| n.one_of());
    let optional = table.optional("optional").and_then(|n| n.bool());
    let absolute = table.optional("absolute").and_then(|n| n.bool());
    if let (Some(true), Some(kind)) = (absolute, kind)
        && kind != Kind::Text.name()
    {
        node.error(format!("`absolute` gives text, not {kind}"), None);
    }
    if let (Some(Extract::JsonAll(_) | Extract::CssAll(_) | Extract::RegexAll(_)), Some(kind)) =
        (&from, kind)
        && kind != Kind::Text.name()
    {
        node.error(format!("`all` gives text, not {kind}"), None);
    }
    table.finish();
    Some(HttpOutput {
        name: name.to_owned(),
        from: from?,
        kind: kind.and_then(Kind::parse),
        absolute: absolute.unwrap_or(false),
        optional: optional.unwrap_or(false),
    })
}

/// Reads the one source of an output.
fn extract<'a>(name: &str, node: &Node<'a>, table: &TomlTable<'a>) -> Option<Extract> {
    let sources = EXTRACT_SOURCES.map(|key| table.optional(key));
    let all = table.optional("all");
    let attribute = table.optional("attribute");
    let mut given = sources.into_iter().flatten();
    let (Some(source), None) = (given.next(), given.next()) else {
        let keys = EXTRACT_SOURCES.map(|key| format!("`{key}`")).join(", ");
        node.error(
            format!("`{name}` needs exactly one of {keys}"),
            Some("write { json = \"$.path\" } or, for HTML and XML, { css = \"td.name\" }"),
        );
        return None;
    };
    if source.name != "css"
        && let Some(node) = &attribute
    {
        let message = format!(
            "`attribute` can be used only with `css`, not with `{}`",
            source.name
        );
        node.error(message, None);
    }
    if matches!(&*source.name, "header" | "status") {
        if let Some(node) = &all {
            let message = format!("there is only one {}, so `all` is not allowed", source.name);
            node.error(message, None);
        }
    } else if let (Some(_), Some(attribute)) = (&all, &attribute) {
        attribute.error("use `all` or `attribute`, not both", None);
    }
    if source.name == "status" {
        if !source.bool()? {
            source.error("`status` can only be `true`", None);
        }
        return Some(Extract::Status);
    }
    let text = source.text()?;
    let all = all.map_or(Some(false), |n| n.bool())?;
    Some(match &*source.name {
        "json" => {
            if !text.starts_with('$') {
                source.error(
                    format!("{text:?} is not a JSONPath"),
                    Some("it starts with $, the whole response: $.due"),
                );
            }
            if all {
                Extract::JsonAll(text.to_owned())
            } else {
                Extract::Json(text.to_owned())
            }
        }
        "css" => {
            if text.starts_with(['/', '.', '(']) && text.contains('/') {
                source.error(
                    format!("{text:?} is an XPath, and elements are found by CSS selectors"),
                    Some("write book > title for //book/title, and add attribute = \"href\" for @href"),
                );
            }
            let selector = text.to_owned();
            match attribute {
                Some(attribute) => Extract::CssAttribute {
                    selector,
                    attribute: attribute.text()?.to_owned(),
                },
                None if all => Extract::CssAll(selector),
                None => Extract::Css(selector),
            }
        }
        "regex" => {
            if let Err(error) = regex::Regex::new(text) {
                let what = error.to_string();
                let what = what.lines().last().unwrap_or_default().trim();
                source.error(format!("invalid regular expression: {what}"), None);
            }
            if all {
                Extract::RegexAll(text.to_owned())
            } else {
                Extract::Regex(text.to_owned())
            }
        }
        _ => {
            if !is_token(text) {
                source.error(format!("{text:?} is not a valid header name"), None);
            }
            Extract::Header(text.to_owned())
        }
    })
}
