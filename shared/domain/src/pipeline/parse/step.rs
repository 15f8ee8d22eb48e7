//! `[[step]]`, dispatched on its kind.

use std::time::Duration;

use super::{Builder, timeout, units, whole};
use crate::pipeline::keys::{EXTRACT, LATER_KINDS, STEP_KINDS, STEPS};
use crate::pipeline::names::suggest;
use crate::pipeline::parse::reader::{Node, Table};
use crate::pipeline::{
    ClassifyStep, ClassifyWords, CommandStep, Extract, HttpMethod, HttpOutput, HttpStep,
    ProcessPer, SentimentStep, Step, StepKind, Template,
};
use crate::value::Kind;

impl<'a> Builder<'a> {
    /// `None` where the step has an error that leaves its columns unknown.
    pub(super) fn step(&mut self, mut table: Table<'a>) -> Option<Step> {
        let kind = table.required("kind");
        let at = kind.and_then(|n| step_kind(&n))?;
        table.extend(STEPS[at]);
        let table = &table;
        let image = table.optional("image").and_then(|n| n.text());
        let kind = match STEP_KINDS[at] {
            "http" => self.http(table).map(|http| StepKind::Http(Box::new(http))),
            "command" => self.command(table).map(StepKind::Command),
            "sentiment" => self.sentiment(table).map(StepKind::Sentiment),
            _ => self.classify(table).map(StepKind::Classify),
        };
        Some(Step {
            kind: kind?,
            image: image.map(str::to_owned),
        })
    }

    fn http(&mut self, table: &Table<'a>) -> Option<HttpStep> {
        let url = table.required("url").and_then(|n| self.url(&n));
        let method = table.optional("method");
        let is_post = method.as_ref().and_then(|n| n.one_of()) == Some("POST");
        let headers = table.optional("headers").and_then(|n| n.entries());
        let headers = self.headers(headers.unwrap_or_default());
        let body = table.optional("body");
        if let Some(node) = &body
            && !is_post
        {
            node.error("a GET has no body", Some("add `method = \"POST\"`"));
        }
        let body = body.and_then(|n| self.template(&n));
        let timeout = timeout(table, Duration::from_secs(30));
        let attempts = whole(table, "attempts", 4);
        let rate = table
            .optional("rate")
            .and_then(|n| n.read(units::rate, "\"50/s\", \"10/m\" or \"1000/h\""));
        let allow_hosts = table.optional("allow_hosts").and_then(|n| n.texts());
        let allow_hosts = allow_hosts.unwrap_or_default();
        for (host, node) in &allow_hosts {
            let is_address = host.parse::<std::net::IpAddr>().is_ok();
            if !is_address && host.contains(['/', ':', '@', ' ']) {
                node.error(
                    format!("{host:?} is no host"),
                    Some("write its name or address, without scheme, port and path"),
                );
            }
        }
        let outputs = table.required("outputs").and_then(|n| {
            let entries = n.entries()?;
            if entries.is_empty() {
                n.error(
                    "`outputs` names no column",
                    Some("add `name = { json = \"$.path\" }`"),
                );
            }
            Some(entries)
        });
        let outputs = outputs.map(|all| {
            all.into_iter()
                .filter_map(|(name, at, node)| {
                    let output = http_output(name, &node);
                    self.add(name, &at);
                    output
                })
                .collect()
        });
        table.finish();
        Some(HttpStep {
            method: if is_post {
                HttpMethod::Post
            } else {
                HttpMethod::Get
            },
            url: url?,
            query: Vec::new(),
            headers,
            body,
            form: Vec::new(),
            timeout,
            attempts,
            rate,
            allow_hosts: allow_hosts.into_iter().map(|(h, _)| h.to_owned()).collect(),
            cache: false,
            ok_when: None,
            outputs: outputs?,
        })
    }

    fn url(&mut self, node: &Node<'a>) -> Option<Template> {
        let template = self.template(node)?;
        let source = template.source();
        let schemes = ["http://", "https://", "{{", "{%"];
        if !schemes.iter().any(|s| source.starts_with(s)) {
            node.error(
                "`url` begins with neither http:// nor https://",
                Some("write the whole address, with its scheme"),
            );
        }
        Some(template)
    }

    fn headers(
        &mut self,
        entries: Vec<(&'a str, std::ops::Range<usize>, Node<'a>)>,
    ) -> Vec<(String, Template)> {
        let mut headers = Vec::with_capacity(entries.len());
        for (name, at, node) in entries {
            // RFC 9110, 5.6.2: token.
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                self.file
                    .error(at, format!("{name:?} cannot be the name of a header"), None);
            }
            if let Some(value) = self.template(&node) {
                headers.push((name.to_owned(), value));
            }
        }
        headers
    }

    fn command(&mut self, table: &Table<'a>) -> Option<CommandStep> {
        let program = table.required("program").and_then(|n| {
            let arguments = n.list()?;
            if arguments.is_empty() {
                n.error(
                    "`program` is empty",
                    Some("write program = [\"python3\", \"score.py\"]"),
                );
            }
            // Arguments may be repeated, and may be empty texts.
            arguments
                .iter()
                .enumerate()
                .map(|(i, a)| match a.value.as_str() {
                    Some("") if i > 0 => Some(String::new()),
                    _ => a.text().map(str::to_owned),
                })
                .collect::<Option<Vec<String>>>()
        });
        let outputs = table.required("outputs").and_then(|n| {
            let texts = n.texts()?;
            if texts.is_empty() {
                n.error("`outputs` names no column", None);
            }
            Some(texts)
        });
        let outputs = outputs.map(|all| {
            all.into_iter()
                .map(|(name, node)| {
                    self.add(name, &node.at);
                    name.to_owned()
                })
                .collect()
        });
        let timeout = timeout(table, Duration::from_secs(60));
        let attempts = whole(table, "attempts", 1);
        table.finish();
        Some(CommandStep {
            program: program?,
            outputs: outputs?,
            timeout,
            attempts,
            process: ProcessPer::default(),
            memory_mib: None,
        })
    }

    fn sentiment(&mut self, table: &Table<'a>) -> Option<SentimentStep> {
        let column = self.text_column(table);
        for output in SENTIMENT_OUTPUTS {
            self.add(output, &table.at);
        }
        table.finish();
        Some(SentimentStep { column: column? })
    }

    fn classify(&mut self, table: &Table<'a>) -> Option<ClassifyStep> {
        let column = self.text_column(table);
        let model = table.required("model").and_then(|n| n.text());
        let explain = table.optional("explain");
        let prefix = table.optional("prefix");
        let at = prefix.as_ref().map_or(&table.at, |n| &n.at).clone();
        let prefix = prefix.and_then(|n| n.text()).unwrap_or_default();
        let [label, probability, words] =
            ["label", "probability", "words"].map(|name| format!("{prefix}{name}"));
        self.add(&label, &at);
        self.add(&probability, &at);
        if explain.is_some() {
            self.add(&words, &at);
        }
        let words = explain.and_then(|n| n.whole()).map(|most| ClassifyWords {
            column: words,
            most,
        });
        table.finish();
        Some(ClassifyStep {
            column: column?,
            model: model?.to_owned(),
            label,
            probability,
            words,
        })
    }

    /// The column whose text a step reads: of the input, or added so far.
    fn text_column(&mut self, table: &Table<'a>) -> Option<String> {
        let node = table.required("column")?;
        let text = node.text()?;
        self.mention(text, node.at.clone(), self.outputs.len());
        Some(text.to_owned())
    }
}

/// The columns that a sentiment step adds.
pub(in crate::pipeline) const SENTIMENT_OUTPUTS: [&str; 2] = ["sa_class", "sa_score"];

/// The kind of a step, as its place in [`STEP_KINDS`]; noted where there is none of that name.
fn step_kind(node: &Node<'_>) -> Option<usize> {
    let text = node.text()?;
    let kind = STEP_KINDS.iter().position(|k| *k == text);
    if kind.is_none() {
        let message = if LATER_KINDS.contains(&text) {
            format!("steps of kind `{text}` are not in this version")
        } else {
            format!("there is no kind of step `{text}`")
        };
        let help = suggest(text, STEP_KINDS.iter().copied());
        node.error(message, help.as_deref());
    }
    kind
}

fn http_output(name: &str, node: &Node<'_>) -> Option<HttpOutput> {
    let table = node.table(&[&EXTRACT])?;
    let json = table.optional("json");
    let css = table.optional("css");
    let from = match (&json, &css) {
        (Some(path), None) => path.text().map(|text| {
            if !text.starts_with('$') {
                path.error(
                    format!("{text:?} is no JSONPath"),
                    Some("it begins with $, the whole answer: $.due"),
                );
            }
            Extract::Json(text.to_owned())
        }),
        (None, Some(selector)) => selector.text().map(|t| Extract::Css(t.to_owned())),
        _ => {
            node.error(
                format!("`{name}` needs one of `json` and `css`"),
                Some("write { json = \"$.path\" } or { css = \"td.name\" }"),
            );
            None
        }
    };
    let kind = table.optional("type").and_then(|n| n.one_of());
    let optional = table.optional("optional").and_then(|n| n.bool());
    table.finish();
    Some(HttpOutput {
        name: name.to_owned(),
        from: from?,
        kind: kind.and_then(Kind::parse),
        optional: optional.unwrap_or(false),
    })
}
