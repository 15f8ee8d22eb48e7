//! `[parameters]`, and the arguments that refer to them.

use std::ops::Range;

use rowmill_domain::value::Kind;
use toml::de::DeValue;

use super::Builder;
use super::reader::Node;
use crate::keys::PARAMETER;
use crate::names::suggest;
use crate::parameters::{is_name, whole};
use crate::{Argument, Parameter, ParameterRule, ParameterSource};

impl<'a> Builder<'a> {
    /// Reads an entry: a text, or a table of what an upload may give.
    pub(super) fn parameter(&mut self, name: &str, at: &Range<usize>, node: &Node<'a>) {
        let from = match node.value {
            DeValue::Table(_) => {
                if !is_name(name) {
                    let message =
                        format!("`{name}` cannot be the name of a parameter that uploads give");
                    let help = "it becomes metadata of an object: write lower-case letters, digits, - and _, at most 64";
                    self.file.error(at.clone(), message, Some(help.to_owned()));
                }
                from_upload(node)
            }
            _ => node.text().map(|t| ParameterSource::Pipeline(t.to_owned())),
        };
        let name = name.to_owned();
        self.parameters
            .extend(from.map(|from| Parameter { name, from }));
    }

    /// An argument of a program, in its place among them: what `Ref::name` stands for, else as it
    /// is.
    pub(super) fn argument(&self, node: &Node<'a>, place: usize) -> Option<Argument> {
        let text = node.text()?;
        let Some(name) = text.strip_prefix("Ref::") else {
            return Some(Argument::from(text));
        };
        let Some(found) = self.parameters.iter().find(|p| p.name == name) else {
            let help = suggest(name, self.parameters.iter().map(|p| p.name.as_str()));
            let help = help.unwrap_or_else(|| format!("add it: [parameters], {name} = \"..\""));
            node.error(format!("there is no parameter `{name}`"), Some(&help));
            return None;
        };
        match &found.from {
            ParameterSource::Pipeline(text) => Some(Argument::Text(text.clone())),
            ParameterSource::Upload { .. } if place == 0 => {
                let help = format!("fix it: [parameters], {name} = \"..\"");
                node.error("no upload says which program runs", Some(&help));
                None
            }
            ParameterSource::Upload { .. } => Some(Argument::Parameter(name.to_owned())),
        }
    }
}

fn from_upload(node: &Node<'_>) -> Option<ParameterSource> {
    let table = node.table(&[&PARAMETER])?;
    let default = table.optional("default");
    let kind = table.optional("type").and_then(|n| n.one_of());
    let matches = table.optional("matches").and_then(|n| {
        let matches = whole(n.text()?);
        if matches.is_err() {
            n.error(
                "`matches` is no regular expression",
                Some("write it like \"[0-9]{4}-[0-9]{2}\""),
            );
        }
        matches.ok()
    });
    table.finish();
    let form = ParameterRule {
        kind: kind.and_then(Kind::parse).unwrap_or(Kind::Text),
        matches,
    };
    let default = default.and_then(|n| {
        let text = n.text()?;
        if let Err(why) = form.check(text) {
            n.error(format!("`default` cannot be `{text}`: {why}"), None);
        }
        Some(text.to_owned())
    });
    Some(ParameterSource::Upload { default, form })
}
