//! `secrets`: a list of names, or a table that also says where their values are.

use std::ops::Range;

use rowmill_domain::secret::is_name;
use toml::de::DeValue;

use super::Builder;
use super::reader::Node;
use crate::names::nearest;
use crate::secrets::{Secret, SecretSource};
use crate::template::SecretMention;

impl Builder<'_> {
    /// The secrets that the file declares.
    pub(super) fn secrets(&mut self, node: &Node<'_>) -> Vec<Secret> {
        let mut secrets = Vec::new();
        if matches!(node.value, DeValue::Table(_)) {
            for (name, at, value) in node.entries().unwrap_or_default() {
                let from = value.text().and_then(|text| {
                    let from = SecretSource::parse(text);
                    if from.is_none() {
                        value.error(
                            format!("{text:?} is no place of a secret"),
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
            let message = format!("{name:?} cannot be the name of a secret");
            let help = "write it in capitals, digits and _, as \"API_KEY\"; at most 64";
            self.file.error(at.clone(), message, Some(help.to_owned()));
            return;
        }
        self.secrets.push(name.to_owned());
        secrets.extend(from.map(|from| Secret {
            name: name.to_owned(),
            from,
        }));
    }

    /// Notes the secrets of a text that the file does not declare.
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
            let message = format!("the pipeline declares no secret `{name}`");
            self.file.error(at, message, Some(help));
        }
    }
}
