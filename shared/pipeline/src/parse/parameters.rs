//! `[parameters]`, and arguments that refer to them.

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
    /// Reads an entry: a fixed text, or a table that lets uploads set the value.
    pub(super) fn parameter(&mut self, name: &str, at: &Range<usize>, node: &Node<'a>) {
        let from = match node.value {
            DeValue::Table(_) => {
                if !is_name(name) {
                    let message =
                        format!("`{name}` is not a valid name for a parameter that uploads set");
                    let help = "use up to 64 lower-case letters, digits, - and _, because the name becomes object metadata";
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

    /// Reads an argument of a program and resolves `Ref::name`. `place` is its index; 0 is the program
    /// itself.
    pub(super) fn argument(&self, node: &Node<'a>, place: usize) -> Option<Argument> {
        let text = node.text()?;
        let Some(name) = text.strip_prefix("Ref::") else {
            return Some(Argument::from(text));
        };
        let Some(found) = self.parameters.iter().find(|p| p.name == name) else {
            let help = suggest(name, self.parameters.iter().map(|p| p.name.as_str()));
            let help = help.unwrap_or_else(|| format!("add {name} = \"..\" to [parameters]"));
            node.error(format!("unknown parameter `{name}`"), Some(&help));
            return None;
        };
        match &found.from {
            ParameterSource::Pipeline(text) => Some(Argument::Text(text.clone())),
            ParameterSource::Upload { .. } if place == 0 => {
                let help = format!("set a fixed value in [parameters]: {name} = \"..\"");
                node.error("an upload cannot choose the program", Some(&help));
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
                "`matches` is not a valid regular expression",
                Some("write for example \"[0-9]{4}-[0-9]{2}\""),
            );
        }
        matches.ok()
    });
    table.finish();
    let rule = ParameterRule {
        kind: kind.and_then(Kind::parse).unwrap_or(Kind::Text),
        matches,
    };
    let default = default.and_then(|n| {
        let text = n.text()?;
        if let Err(why) = rule.check(text) {
            n.error(format!("`default` cannot be `{text}`: {why}"), None);
        }
        Some(text.to_owned())
    });
    Some(ParameterSource::Upload { default, rule })
}
