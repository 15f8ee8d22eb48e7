//! Answers that are split into pages.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::LINK;
use rowmill_domain::Row;
use rowmill_pipeline::{Extract, HttpOutput, NextPage, Pages};
use url::Url;

use super::Http;
use super::extract::{Extracted, Extractor, Gathered};
use super::fetch::FetchResult;
use super::request::{Request, redacted_url};
use super::response::HttpResponse;
use crate::{SetupError, StepResult, truncate};

/// How a step finds the next page.
pub(super) struct Paging {
    next: Next,
    max: u32,
    hosts: Vec<String>,
}

enum Next {
    /// `Link: <..>; rel="next"` (RFC 8288).
    LinkHeader,
    Part(Arc<Extractor>),
    Cursor {
        query: String,
        place: Arc<Extractor>,
    },
    Number {
        query: String,
        from: u32,
        step: u32,
    },
}

impl Paging {
    pub(super) fn new(pages: &Pages) -> Result<Paging, SetupError> {
        let part = |from: &Extract| {
            let extractor = Extractor::new(&[HttpOutput {
                name: "next".to_owned(),
                from: from.clone(),
                kind: None,
                optional: true,
                absolute: false,
            }])?;
            Ok::<_, SetupError>(Arc::new(extractor))
        };
        let next = match &pages.next {
            NextPage::Link(Extract::Header(name)) if name.eq_ignore_ascii_case("link") => {
                Next::LinkHeader
            }
            NextPage::Link(from) => Next::Part(part(from)?),
            NextPage::Cursor { query, from } => Next::Cursor {
                query: query.clone(),
                place: part(from)?,
            },
            NextPage::Number { query, from, step } => Next::Number {
                query: query.clone(),
                from: *from,
                step: *step,
            },
        };
        Ok(Paging {
            next,
            max: pages.max,
            hosts: pages.hosts.iter().map(|h| h.to_lowercase()).collect(),
        })
    }

    /// The request for page `n` (from 0), if it does not depend on the page before.
    fn numbered(&self, first: &Request, n: u32) -> Option<Request> {
        let Next::Number { query, from, step } = &self.next else {
            return (n == 0).then(|| first.clone());
        };
        let mut page = first.clone();
        let number = from.saturating_add(n.saturating_mul(*step)).to_string();
        page.url.query_pairs_mut().append_pair(query, &number);
        Some(page)
    }

    /// The URL of the next page, as the current page names it.
    ///
    /// # Errors
    /// The URL is invalid, or on a host that the step does not allow.
    async fn next_url(&self, page: &Arc<HttpResponse>, first: &Url) -> Result<Option<Url>, String> {
        let found = match &self.next {
            Next::LinkHeader => {
                let values = page.headers.get_all(LINK).iter();
                let values: Vec<&str> = values.filter_map(|v| v.to_str().ok()).collect();
                next_link(&values.join(", ")).map(|found| (page.url.clone(), found))
            }
            Next::Part(extractor) => extractor
                .address(page)
                .await
                .map_err(|e| format!("`next` in [step.pages]: {e}"))?,
            Next::Cursor { query, place } => {
                let cursor = place
                    .cursor(page)
                    .await
                    .map_err(|e| format!("`cursor` in [step.pages]: {e}"))?;
                return Ok(cursor.map(|cursor| with_parameter(first, query, &cursor)));
            }
            Next::Number { .. } => None,
        };
        let Some((base, found)) = found else {
            return Ok(None);
        };
        let url = base.join(found.trim()).map_err(|e| {
            let found = truncate(&found, 200);
            format!("invalid URL of the next page, `{found}`: {e}")
        })?;
        let host = url.host_str().unwrap_or_default();
        if Some(host) != first.host_str() && !self.hosts.iter().any(|h| h == host) {
            return Err(format!(
                "the next page, {}, is on another host; to allow it, set hosts = [\"{host}\"] in \
                 [step.pages]",
                redacted_url(&url)
            ));
        }
        Ok(Some(url))
    }
}

/// A URL with another value for a query parameter.
fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(n, _)| n != name)
        .map(|(n, v)| (n.into_owned(), v.into_owned()))
        .collect();
    let mut url = url.clone();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair(name, value);
    url
}

/// The address with `rel="next"` in a Link header. It may contain commas and semicolons.
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (address, parameters) = after.split_once('>')?;
        // Up to the next link. In practice, quoted text contains no angle brackets.
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
    /// Fetches all pages and extracts the outputs from them.
    pub(super) async fn run_paged(
        &self,
        record: Row<'_>,
        first: Request,
        paging: &Paging,
    ) -> StepResult {
        let numbered = matches!(paging.next, Next::Number { .. });
        let (mut gathered, mut attempts) = (Gathered::default(), 0);
        let mut seen = HashSet::new();
        let mut last = Bytes::new();
        let mut request = paging.numbered(&first, 0);
        for n in 1..=paging.max {
            let Some(page) = request.take() else { break };
            seen.insert(page.url.clone());
            // A numbered page after the last one may not exist.
            let judge = |response: &HttpResponse, extracted: Extracted| {
                let gone = matches!(response.status, StatusCode::NOT_FOUND | StatusCode::GONE);
                if numbered && n > 1 && gone && self.ok_when.is_none() {
                    return Ok(None);
                }
                self.check_success(record, response, &extracted)?;
                Ok(Some(extracted))
            };
            let FetchResult {
                result,
                attempts: page_attempts,
            } = self.get(record.record.row, &page, &judge).await;
            attempts = attempts.max(page_attempts);
            let failed = |reason: String| match n {
                1 => StepResult::failed(reason, attempts),
                n => StepResult::failed(format!("page {n}: {reason}"), attempts),
            };
            let (response, extracted) = match result {
                Ok((response, Some(extracted))) => (response, extracted),
                Ok((_, None)) => break,
                Err(reason) => return failed(reason),
            };
            if numbered && n > 1 && response.body == last {
                break;
            }
            match self.extractor.gather(extracted, &mut gathered) {
                Ok(false) if numbered => break,
                Ok(_) => {}
                Err(reason) => return failed(format!("{page}: {reason}")),
            }
            request = match paging.next_url(&response, &first.url).await {
                Ok(Some(url)) if seen.contains(&url) => None,
                Ok(Some(url)) => match page.clone().with_url(url) {
                    Ok(next) => Some(next),
                    Err(reason) => return failed(format!("{page}: the next page: {reason}")),
                },
                Ok(None) => paging.numbered(&first, n).filter(|_| numbered),
                Err(reason) => return failed(format!("{page}: {reason}")),
            };
            last = response.body.clone();
        }
        let mut result = match self.extractor.finish(gathered) {
            Ok(outputs) => StepResult::ok(outputs, attempts),
            Err(reason) => return StepResult::failed(format!("{first}: {reason}"), attempts),
        };
        if request.is_some() {
            result.notes.push(format!(
                "only the first {} pages were read, and there {} more; increase `max` in [step.pages]",
                paging.max,
                if numbered { "may be" } else { "are" }
            ));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_address_of_a_link_header() {
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
