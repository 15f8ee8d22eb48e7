//! `[step.pages]` of an `http` step.

use super::http::is_token;
use super::reader::{Node, TomlTable};
use super::whole;
use crate::keys::{CURSOR, NEXT, OFFSET, PAGE, PAGES, Section};
use crate::{Extract, HttpMethod, NextPage, Pages};

/// Reads the table. `None`: an error leaves the next page unknown.
pub(super) fn pages(node: &Node<'_>, method: Option<HttpMethod>) -> Option<Pages> {
    let table = node.table(&[&PAGES])?;
    let ways = ["next", "cursor", "page", "offset"].map(|key| table.optional(key));
    let max = whole(&table, "max", 10);
    let hosts = table.optional("hosts").and_then(|n| n.texts());
    let hosts = hosts.unwrap_or_default();
    table.finish();
    if method == Some(HttpMethod::Head) {
        node.error("the response to a HEAD request has no pages", None);
    }
    let mut given = ways.into_iter().flatten();
    let (Some(way), None) = (given.next(), given.next()) else {
        node.error(
            "`pages` needs exactly one of `next`, `cursor`, `page` and `offset`",
            Some("write next = { json = \"$.next\" } or page = { query = \"page\" }"),
        );
        return None;
    };
    let next = match &*way.name {
        "next" => NextPage::Link(place(&way.table(&[&NEXT])?, &way, Some("href"))?),
        "cursor" => cursor(&way)?,
        "page" => number(&way, &PAGE, 1)?,
        _ => number(&way, &OFFSET, 0)?,
    };
    Some(Pages {
        next,
        max,
        hosts: hosts.into_iter().map(|(h, _)| h.to_owned()).collect(),
    })
}

/// Reads where a page holds something: the keys of [`NEXT`] and [`CURSOR`]. `attribute` is the default
/// with `css`; without one, it is the element's text.
fn place<'a>(table: &TomlTable<'a>, node: &Node<'a>, default: Option<&str>) -> Option<Extract> {
    let sources = ["json", "css", "regex", "header"].map(|key| table.optional(key));
    let attribute = table.optional("attribute");
    table.finish();
    let mut given = sources.into_iter().flatten();
    let (Some(source), None) = (given.next(), given.next()) else {
        node.error(
            format!(
                "`{}` needs exactly one of `json`, `css`, `regex` and `header`",
                node.name
            ),
            Some("write for example json = \"$.next\" or header = \"Link\""),
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
        _ => {
            let selector = text.to_owned();
            let attribute = match &attribute {
                Some(attribute) => Some(attribute.text()?),
                None => default,
            };
            match attribute {
                Some(attribute) => Extract::CssAttribute {
                    selector,
                    attribute: attribute.to_owned(),
                },
                None => Extract::Css(selector),
            }
        }
    })
}

fn cursor(node: &Node<'_>) -> Option<NextPage> {
    let table = node.table(&[&CURSOR])?;
    let query = table.required("query").and_then(|n| n.text());
    let from = place(&table, node, None);
    Some(NextPage::Cursor {
        query: query?.to_owned(),
        from: from?,
    })
}

fn number(node: &Node<'_>, section: &'static Section, first: u32) -> Option<NextPage> {
    let table = node.table(&[section])?;
    let query = table.required("query").and_then(|n| n.text());
    let from = whole(&table, "from", first);
    let step = match section.keys.iter().any(|key| key.name == "size") {
        true => table.required("size").and_then(|n| n.whole()),
        false => Some(1),
    };
    table.finish();
    Some(NextPage::Number {
        query: query?.to_owned(),
        from,
        step: step?,
    })
}
