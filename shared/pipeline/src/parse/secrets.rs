//! `secrets`: a list of names, or a table with the location of each value.

use std::ops::Range;

use rowmill_domain::secret::is_name;
use toml::de::DeValue;

use super::Builder;
use super::reader::Node;
use crate::names::nearest;
use crate::secrets::{Secret, SecretSource};
use crate::template::SecretMention;

impl Builder<'_> {
    /// Reads the declared secrets.
    pub(super) fn secrets(&mut self, node: &Node<'_>) -> Vec<Secret> {
        let mut secrets = Vec::new();
        if matches!(node.value, DeValue::Table(_)) {
            for (name, at, value) in node.entries().unwrap_or_default() {
                let from = value.text().and_then(|text| {
                    let from = SecretSource::parse(text);
                    if from.is_none() {
                        value.error(
                            format!("{text:?} is not a valid location of a secret"),
                            Some("write \"tax/key\" for Secrets Manager, \"ssm:tax/key\" for Parameter Store, or an ARN; never the value itself"),
                        );
                    }
                    from
                });
                self.secret(name, &at, from, &mut secrets);
            }
        } else {
            for (name, node) in node.texts().unwrap_or_default() {
                let from = SecretSource::Manager(name.to_owned());
                self.secret(name, &node.at, Some(from), &mut secrets);
            }
        }
        secrets
    }

    fn secret(
        &mut self,
        name: &str,
        at: &Range<usize>,
        from: Option<SecretSource>,
        secrets: &mut Vec<Secret>,
    ) {
        if !is_name(name) {
            let message = format!("{name:?} is not a valid name for a secret");
            let help = "use up to 64 capital letters, digits and _, such as \"API_KEY\"";
            self.file.error(at.clone(), message, Some(help.to_owned()));
            return;
        }
        self.secrets.push(name.to_owned());
        secrets.extend(from.map(|from| Secret {
            name: name.to_owned(),
            from,
        }));
    }

    /// Records an error for each mentioned secret that is not declared.
    pub(super) fn known_secrets(&mut self, text: &Range<usize>, mentions: &[SecretMention]) {
        for mention in mentions {
            let name = &*mention.name;
            if self.secrets.iter().any(|s| s == name) {
                continue;
            }
            let mut known = self.secrets.iter().map(String::as_str);
            let help = match nearest(name, &mut known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("declare it at the start of the file: secrets = [\"{name}\"]"),
            };
            let at = self.file.within(text, &mention.at);
            let message = format!("undeclared secret `{name}`");
            self.file.error(at, message, Some(help));
        }
    }
}
