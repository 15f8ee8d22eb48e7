//! `[[step]]`, by kind.

use std::time::Duration;

use super::batch::{MEMORY, resources};
use super::http::{allow_hosts, rate};
use super::{Builder, timeout, units, whole};
use crate::keys::{FETCH, SERVER, STEP_KINDS, STEPS};
use crate::names::suggest;
use crate::parse::reader::{Node, TomlTable};
use crate::step::SENTIMENT_OUTPUTS;
use crate::{
    Argument, BatchSettings, ClassifyStep, ClassifyWords, CommandStep, Fetch, FetchKind,
    LanguageStep, ProcessPer, SentimentStep, Step, StepKind, TranslateServer, TranslateService,
    TranslateStep,
};

impl<'a> Builder<'a> {
    /// Reads a step. `None`: an error leaves its columns unknown.
    pub(super) fn step(&mut self, mut table: TomlTable<'a>, batch: &BatchSettings) -> Option<Step> {
        let kind = table.required("kind");
        let at = kind.and_then(|n| step_kind(&n))?;
        table.extend(STEPS[at]);
        let table = &table;
        let image = table.optional("image").and_then(|n| n.text());
        let resources = resources(table, batch.capacity, batch.resources);
        let kind = match STEP_KINDS[at] {
            "http" => self.http(table).map(|http| StepKind::Http(Box::new(http))),
            "command" => self.command(table).map(StepKind::Command),
            "sentiment" => self.sentiment(table).map(StepKind::Sentiment),
            "language" => self.language(table).map(StepKind::Language),
            "translate" => self
                .translate(table)
                .map(|translate| StepKind::Translate(Box::new(translate))),
            _ => self.classify(table).map(StepKind::Classify),
        };
        Some(Step {
            kind: kind?,
            image: image.map(str::to_owned),
            resources,
        })
    }

    fn command(&mut self, table: &TomlTable<'a>) -> Option<CommandStep> {
        let program = table.required("program").and_then(|n| {
            let arguments = n.list()?;
            if arguments.is_empty() {
                n.error(
                    "`program` is empty",
                    Some("write program = [\"python3\", \"score.py\"]"),
                );
            }
            // Arguments can repeat and can be empty.
            arguments
                .iter()
                .enumerate()
                .map(|(i, a)| match a.value.as_str() {
                    Some("") if i > 0 => Some(Argument::from("")),
                    _ => self.argument(a, i),
                })
                .collect::<Option<Vec<Argument>>>()
        });
        let outputs = table.required("outputs").and_then(|n| {
            let texts = n.texts()?;
            if texts.is_empty() {
                n.error("`outputs` must have at least one column", None);
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
        let process = table.optional("process").and_then(|n| n.one_of());
        let memory = table.optional("process_memory");
        let process_memory_mib = memory.and_then(|n| n.read(units::memory, MEMORY));
        let fetch = table.optional("fetch").map(|n| fetch(&n));
        let aws = table.optional("aws").and_then(|n| n.bool());
        table.finish();
        Some(CommandStep {
            program: program?,
            outputs: outputs?,
            timeout,
            attempts,
            process: match process {
                Some("record") => ProcessPer::Record,
                _ => ProcessPer::Child,
            },
            process_memory_mib,
            fetch: match fetch {
                None => None,
                Some(fetch) => Some(fetch?),
            },
            aws: aws.unwrap_or(false),
        })
    }

    fn sentiment(&mut self, table: &TomlTable<'a>) -> Option<SentimentStep> {
        let column = self.text_column(table);
        for output in SENTIMENT_OUTPUTS {
            self.add(output, &table.at);
        }
        table.finish();
        Some(SentimentStep { column: column? })
    }

    fn language(&mut self, table: &TomlTable<'a>) -> Option<LanguageStep> {
        let column = self.text_column(table);
        let languages = table.optional("languages").and_then(|n| n.texts());
        let least = table.optional("min_confidence");
        let min_confidence = least.as_ref().and_then(Node::number).unwrap_or(0.5);
        if let Some(node) = least
            && min_confidence > 1.0
        {
            node.error("`min_confidence` is at most 1", None);
        }
        let [detected, confidence] = self.prefixed(table, ["lang_detected", "confidence"]);
        table.finish();
        let languages = languages.unwrap_or_default();
        Some(LanguageStep {
            column: column?,
            languages: languages.into_iter().map(|(t, _)| t.to_owned()).collect(),
            min_confidence,
            detected,
            confidence,
        })
    }

    fn translate(&mut self, table: &TomlTable<'a>) -> Option<TranslateStep> {
        let column = self.text_column(table);
        let to = table.optional("to");
        let to = to.map_or(Some("en"), |node| {
            let code = node.text()?;
            if !is_language(code) {
                node.error(
                    format!("{code:?} is not a language code"),
                    Some("write for example \"en\" or \"pt-BR\""),
                );
            }
            Some(code)
        });
        let from = table.optional("from").and_then(|node| {
            let name = node.text().filter(|name| *name != "auto")?;
            self.mention(name, node.at.clone(), self.outputs.len());
            Some(name.to_owned())
        });
        let service = table.required("service").and_then(|n| self.service(&n));
        let [translated] = self.prefixed(table, ["translated"]);
        table.finish();
        Some(TranslateStep {
            column: column?,
            to: to?.to_owned(),
            from,
            service: service?,
            translated,
        })
    }

    fn service(&mut self, node: &Node<'a>) -> Option<TranslateService> {
        if let Some(name) = node.value.as_str() {
            if name != "amazon" {
                node.error(
                    format!("unknown service {name:?}"),
                    Some("write \"amazon\", or { url = \"https://translate.example.com\" }"),
                );
            }
            return Some(TranslateService::Amazon);
        }
        let table = node.table(&[&SERVER])?;
        let url = table.required("url").and_then(|n| {
            let url = n.text()?;
            if !["http://", "https://"].iter().any(|s| url.starts_with(s)) {
                n.error(
                    "`url` must start with http:// or https://",
                    Some("write the full URL of the server, including the scheme"),
                );
            }
            Some(url.trim_end_matches('/'))
        });
        let api_key = table.optional("api_key").and_then(|n| {
            let key = self.template(&n)?;
            if !key.references().is_empty() {
                n.error("`api_key` cannot depend on the record", None);
            }
            Some(key)
        });
        let max_chars = table.optional("max_chars").and_then(|n| n.whole());
        let server = TranslateServer {
            url: url.unwrap_or_default().to_owned(),
            api_key,
            max_chars,
            timeout: timeout(&table, Duration::from_secs(30)),
            attempts: whole(&table, "attempts", 4),
            rate: rate(&table),
            allow_hosts: allow_hosts(&table),
        };
        table.finish();
        Some(TranslateService::Server(server))
    }

    /// Adds columns with these names after the step's `prefix`.
    fn prefixed<const N: usize>(&mut self, table: &TomlTable<'a>, names: [&str; N]) -> [String; N] {
        let prefix = table.optional("prefix");
        let at = prefix.as_ref().map_or(&table.at, |n| &n.at).clone();
        let prefix = prefix.and_then(|n| n.text()).unwrap_or_default();
        names.map(|name| {
            let name = format!("{prefix}{name}");
            self.add(&name, &at);
            name
        })
    }

    fn classify(&mut self, table: &TomlTable<'a>) -> Option<ClassifyStep> {
        let column = self.text_column(table);
        let model = table.required("model").and_then(|n| n.text());
        let explain = table.optional("explain");
        let (label, probability, words) = match &explain {
            None => {
                let [label, probability] = self.prefixed(table, ["label", "probability"]);
                (label, probability, String::new())
            }
            Some(_) => self
                .prefixed(table, ["label", "probability", "words"])
                .into(),
        };
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

    /// Reads `column`, the text column of a step: an input column or one added so far.
    fn text_column(&mut self, table: &TomlTable<'a>) -> Option<String> {
        let node = table.required("column")?;
        let text = node.text()?;
        self.mention(text, node.at.clone(), self.outputs.len());
        Some(text.to_owned())
    }
}

fn fetch(node: &Node<'_>) -> Option<Fetch> {
    let table = node.table(&[&FETCH])?;
    let url = table.required("url").and_then(|n| {
        let url = n.text()?;
        let object = url.strip_prefix("s3://").map(|at| at.split_once('/'));
        let named = !url.ends_with('/') && !matches!(object, Some(None | Some(("", _))));
        if !named || (object.is_none() && url.contains("://")) {
            n.error(
                format!("{url:?} is not a valid program URL"),
                Some("write \"s3://bucket/key\", or a path in the pipeline's folder"),
            );
        }
        Some(url)
    });
    let sha256 = table.required("sha256").and_then(|n| {
        let text = n.text()?;
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            n.error(
                "`sha256` must have 64 hexadecimal digits",
                Some("`sha256sum FILE` prints them"),
            );
        }
        Some(text.to_ascii_lowercase())
    });
    let kind = table.optional("type").and_then(|n| n.one_of());
    table.finish();
    let url = url?;
    Some(Fetch {
        kind: match kind {
            Some("zip") => FetchKind::Zip,
            None if url.to_ascii_lowercase().ends_with(".zip") => FetchKind::Zip,
            _ => FetchKind::Script,
        },
        url: url.to_owned(),
        sha256: sha256?,
    })
}

/// Whether a text looks like a language code such as `en`, `zh-TW` or `fr-CA` (roughly BCP 47).
fn is_language(code: &str) -> bool {
    let mut parts = code.split('-');
    let language = parts.next().unwrap_or_default();
    let letters = |t: &str| t.bytes().all(|b| b.is_ascii_alphabetic());
    (2..=3).contains(&language.len())
        && letters(language)
        && parts.all(|t| (2..=8).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Returns the kind of a step as an index into [`STEP_KINDS`]. Records an error if it is unknown.
fn step_kind(node: &Node<'_>) -> Option<usize> {
    let text = node.text()?;
    let kind = STEP_KINDS.iter().position(|k| *k == text);
    if kind.is_none() {
        let message = format!("unknown step kind `{text}`");
        let help = suggest(text, STEP_KINDS.iter().copied());
        node.error(message, help.as_deref());
    }
    kind
}
