//! `[step.pages]` of an `http` step.

use super::http::is_token;
use super::reader::Node;
use super::whole;
use crate::keys::{NEXT, PAGE, PAGES};
use crate::{Extract, HttpMethod, NextPage, Pages};

/// Reads the table. `None`: an error leaves the next page unknown.
pub(super) fn pages(node: &Node<'_>, method: Option<HttpMethod>) -> Option<Pages> {
    let table = node.table(&[&PAGES])?;
    let (next, page) = (table.optional("next"), table.optional("page"));
    let max = whole(&table, "max", 10);
    let hosts = table.optional("hosts").and_then(|n| n.texts());
    let hosts = hosts.unwrap_or_default();
    table.finish();
    if method == Some(HttpMethod::Head) {
        node.error("the response to a HEAD request has no pages", None);
    }
    let next = match (next, page) {
        (Some(next), None) => NextPage::Link(link(&next)?),
        (None, Some(page)) => number(&page)?,
        _ => {
            node.error(
                "`pages` needs exactly one of `next` and `page`",
                Some("write next = { json = \"$.next\" } or page = { query = \"page\" }"),
            );
            return None;
        }
    };
    Some(Pages {
        next,
        max,
        hosts: hosts.into_iter().map(|(h, _)| h.to_owned()).collect(),
    })
}

fn link(node: &Node<'_>) -> Option<Extract> {
    let table = node.table(&[&NEXT])?;
    let sources = ["json", "css", "regex", "header"].map(|key| table.optional(key));
    let attribute = table.optional("attribute");
    table.finish();
    let mut given = sources.into_iter().flatten();
    let (Some(source), None) = (given.next(), given.next()) else {
        node.error(
            "`next` needs exactly one of `json`, `css`, `regex` and `header`",
            Some("write { json = \"$.next\" } or { header = \"Link\" }"),
        );
        return None;
    };
    if source.name != "css"
        && let Some(attribute) = &attribute
    {
        let message = format!(
            "`attribute` can be used only with `css`, not with `{}`",
            source.name
        );
        attribute.error(message, None);
    }
    let text = source.text()?;
    Some(match &*source.name {
        "json" => Extract::Json(text.to_owned()),
        "regex" => {
            if let Err(error) = regex::Regex::new(text) {
                let what = error.to_string();
                let what = what.lines().last().unwrap_or_default().trim();
                source.error(format!("invalid regular expression: {what}"), None);
            }
            Extract::Regex(text.to_owned())
        }
        "header" => {
            if !is_token(text) {
                source.error(format!("{text:?} is not a valid header name"), None);
            }
            Extract::Header(text.to_owned())
        }
        _ => Extract::CssAttribute {
            selector: text.to_owned(),
            attribute: match attribute {
                Some(attribute) => attribute.text()?.to_owned(),
                None => "href".to_owned(),
            },
        },
    })
}

fn number(node: &Node<'_>) -> Option<NextPage> {
    let table = node.table(&[&PAGE])?;
    let query = table.required("query").and_then(|n| n.text());
    let from = whole(&table, "from", 1);
    table.finish();
    Some(NextPage::Number {
        query: query?.to_owned(),
        from,
    })
}
