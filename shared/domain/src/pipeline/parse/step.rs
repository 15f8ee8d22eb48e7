//! `[[step]]`, dispatched on its kind.

use std::time::Duration;

use super::{Builder, MEMORY, timeout, units, whole};
use crate::pipeline::keys::{LATER_KINDS, STEP_KINDS, STEPS};
use crate::pipeline::names::suggest;
use crate::pipeline::parse::reader::{Node, Table};
use crate::pipeline::{
    ClassifyStep, ClassifyWords, CommandStep, ProcessPer, SentimentStep, Step, StepKind,
};

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
        let process = table.optional("process").and_then(|n| n.one_of());
        let memory = table.optional("memory");
        let memory_mib = memory.and_then(|n| n.read(units::memory, MEMORY));
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
            memory_mib,
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
