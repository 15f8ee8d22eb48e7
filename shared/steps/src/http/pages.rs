//! Answers that go on in further pages.

use std::collections::HashSet;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::LINK;
use rowmill_domain::Row;
use rowmill_pipeline::{Extract, HttpOutput, NextPage, Pages};
use url::Url;

use super::Http;
use super::extract::{Extractor, Gathered};
use super::fetch::Tried;
use super::request::{Request, shown};
use super::response::Fetched;
use crate::{SetupError, StepResult, brief};

/// How a step goes from page to page.
pub(super) struct Paging {
    next: Next,
    max: u32,
    hosts: Vec<String>,
}

enum Next {
    /// `Link: <..>; rel="next"` (RFC 8288).
    LinkHeader,
    Part(Extractor),
    Number {
        query: String,
        from: u32,
    },
}

impl Paging {
    pub(super) fn new(pages: &Pages) -> Result<Paging, SetupError> {
        let next = match &pages.next {
            NextPage::Link(Extract::Header(name)) if name.eq_ignore_ascii_case("link") => {
                Next::LinkHeader
            }
            NextPage::Link(from) => Next::Part(Extractor::new(&[HttpOutput {
                name: "next".to_owned(),
                from: from.clone(),
                kind: None,
                optional: true,
            }])?),
            NextPage::Number { query, from } => Next::Number {
                query: query.clone(),
                from: *from,
            },
        };
        Ok(Paging {
            next,
            max: pages.max,
            hosts: pages.hosts.iter().map(|h| h.to_lowercase()).collect(),
        })
    }

    /// The request for page number `n`, from 0, where it is known without the page before.
    fn numbered(&self, first: &Request, n: u32) -> Option<Request> {
        let Next::Number { query, from } = &self.next else {
            return (n == 0).then(|| first.clone());
        };
        let mut page = first.clone();
        let number = from.saturating_add(n).to_string();
        page.url.query_pairs_mut().append_pair(query, &number);
        Some(page)
    }

    /// Where a page says that the next one is; an error where it may not be there.
    fn after(&self, page: &Fetched, first: &Url) -> Result<Option<Url>, String> {
        let found = match &self.next {
            Next::LinkHeader => {
                let values = page.headers.get_all(LINK).iter();
                let values: Vec<&str> = values.filter_map(|v| v.to_str().ok()).collect();
                next_link(&values.join(", "))
            }
            Next::Part(extractor) => extractor
                .address(page)
                .map_err(|e| format!("`next` in [step.pages]: {e}"))?,
            Next::Number { .. } => None,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let url = page.url.join(found.trim()).map_err(|e| {
            let found = brief(&found, 200);
            format!("the next page, `{found}`, is no valid URL: {e}")
        })?;
        let host = url.host_str().unwrap_or_default();
        if Some(host) != first.host_str() && !self.hosts.iter().any(|h| h == host) {
            return Err(format!(
                "the next page, {}, is on another host; where that is right, write hosts = \
                 [\"{host}\"] in [step.pages]",
                shown(&url)
            ));
        }
        Ok(Some(url))
    }
}

/// The address of `rel="next"` in a Link header. Commas and semicolons may stand within `<>`.
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (address, parameters) = after.split_once('>')?;
        // Up to the next link; what is quoted has no angle brackets in practice.
        let end = parameters.find('<').unwrap_or(parameters.len());
        let is_next = parameters[..end].split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return false;
            };
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value.split(' ').any(|r| r.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(address.to_owned());
        }
        rest = parameters;
    }
    None
}

impl Http {
    /// Fetches page after page, and takes the outputs out of all of them.
    pub(super) async fn paged(
        &self,
        record: Row<'_>,
        first: Request,
        paging: &Paging,
    ) -> StepResult {
        let counted = matches!(paging.next, Next::Number { .. });
        let (mut gathered, mut attempts) = (Gathered::default(), 0);
        let mut seen = HashSet::new();
        let mut last = Bytes::new();
        let mut request = paging.numbered(&first, 0);
        for n in 1..=paging.max {
            let Some(page) = request.take() else { break };
            seen.insert(page.url.clone());
            // After the last page there may be none.
            let judge = |fetched: &Fetched| {
                let gone = matches!(fetched.status, StatusCode::NOT_FOUND | StatusCode::GONE);
                if counted && n > 1 && gone && self.ok_when.is_none() {
                    return Ok(false);
                }
                self.succeeds(record, fetched).map(|()| true)
            };
            let Tried { result, tries } = self.get(record.record.row, &page, &judge).await;
            attempts = attempts.max(tries);
            let told = |reason: String| match n {
                1 => StepResult::failed(reason, attempts),
                n => StepResult::failed(format!("page {n}: {reason}"), attempts),
            };
            let fetched = match result {
                Ok((fetched, true)) => fetched,
                Ok((_, false)) => break,
                Err(reason) => return told(reason),
            };
            if counted && n > 1 && fetched.body == last {
                break;
            }
            match self.extractor.gather(&fetched, &mut gathered) {
                Ok(false) if counted => break,
                Ok(_) => {}
                Err(reason) => return told(format!("{page}: {reason}")),
            }
            request = match paging.after(&fetched, &first.url) {
                Ok(Some(url)) if seen.contains(&url) => None,
                Ok(Some(url)) => match page.clone().towards(url) {
                    Ok(next) => Some(next),
                    Err(reason) => return told(format!("{page}: the next page: {reason}")),
                },
                Ok(None) => paging.numbered(&first, n).filter(|_| counted),
                Err(reason) => return told(format!("{page}: {reason}")),
            };
            last = fetched.body.clone();
        }
        let mut result = match self.extractor.gathered(gathered) {
            Ok(outputs) => StepResult::ok(outputs, attempts),
            Err(reason) => return StepResult::failed(format!("{first}: {reason}"), attempts),
        };
        if request.is_some() {
            result.notes.push(format!(
                "only the first {} pages were read, and there {} more: raise `max` in [step.pages]",
                paging.max,
                if counted { "may be" } else { "are" }
            ));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_of_a_link_header() {
        for (header, next) in [
            ("<https://a/?p=2>; rel=\"next\"", Some("https://a/?p=2")),
            (
                "<https://a/?p=1>; rel=\"prev\", </x?a=1,2;b>; title=\"t, u\"; rel=next",
                Some("/x?a=1,2;b"),
            ),
            ("<a>; REL=\"last Next\"", Some("a")),
            ("<a>; rel=\"nextish\"", None),
            ("<a>; rel=last", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_link(header).as_deref(), next, "{header}");
        }
    }
}
