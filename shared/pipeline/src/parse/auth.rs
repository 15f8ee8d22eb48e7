//! `[step.auth]` of an `http` step.

use super::Builder;
use super::reader::{Node, TomlTable};
use crate::keys::{AUTH, DIGEST, OAUTH};
use crate::{Auth, Template};

impl<'a> Builder<'a> {
    /// Reads the table. `None`: an error leaves it unknown.
    pub(super) fn auth(&mut self, node: &Node<'a>) -> Option<Auth> {
        let table = node.table(&[&AUTH])?;
        let ways = ["oauth", "digest"].map(|key| table.optional(key));
        table.finish();
        let mut given = ways.into_iter().flatten();
        let (Some(way), None) = (given.next(), given.next()) else {
            node.error(
                "`auth` needs exactly one of `oauth` and `digest`",
                Some("for Basic authentication, set the header `Authorization`"),
            );
            return None;
        };
        match &*way.name {
            "oauth" => self.oauth(&way.table(&[&OAUTH])?),
            _ => {
                let table = way.table(&[&DIGEST])?;
                let user = self.fixed(table.required("user"));
                let password = self.fixed(table.required("password"));
                table.finish();
                Some(Auth::Digest {
                    user: user?,
                    password: password?,
                })
            }
        }
    }

    fn oauth(&mut self, table: &TomlTable<'a>) -> Option<Auth> {
        let url = table.required("url");
        if let Some(url) = &url
            && let Some(text) = url.value.as_str()
            && !["http://", "https://", "{{"]
                .iter()
                .any(|s| text.starts_with(s))
        {
            url.error("`url` must start with http:// or https://", None);
        }
        let url = self.fixed(url);
        let client_id = self.fixed(table.required("client_id"));
        let client_secret = self.fixed(table.required("client_secret"));
        let fields = ["scope", "audience"].map(|key| (key, table.optional(key)));
        let credentials = table.optional("credentials").and_then(|n| n.one_of());
        table.finish();
        let fields = fields.into_iter().filter_map(|(key, node)| {
            let node = node?;
            Some((key, self.fixed(Some(node))?))
        });
        let fields = fields.collect();
        Some(Auth::OAuth {
            url: url?,
            client_id: client_id?,
            client_secret: client_secret?,
            fields,
            in_body: credentials == Some("body"),
        })
    }

    /// Compiles a template that is the same for all records.
    fn fixed(&mut self, node: Option<Node<'a>>) -> Option<Template> {
        let node = node?;
        let template = self.template(&node)?;
        if !template.references().is_empty() {
            node.error(format!("`{}` cannot depend on the record", node.name), None);
        }
        Some(template)
    }
}
