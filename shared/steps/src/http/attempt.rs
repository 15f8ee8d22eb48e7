//! One attempt: a request, and where redirects lead it.

use reqwest::header::{CONTENT_LENGTH, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::Http;
use super::fault::Fault;
use super::gate::{Permit, Sign};
use super::request::Request;
use super::response::{Fetched, read};

/// Redirects followed on one attempt; what is beyond is taken for a loop. Source: reqwest's own
/// default.
const REDIRECTS_MAX: usize = 10;

/// What a hop gave.
pub(super) enum Answer {
    Fetched(Fetched),
    Redirect(StatusCode, String),
}

impl Http {
    /// One attempt: the request, its redirects, and the whole body.
    /// Tells the permit how long the host took, where it answered itself.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        permit: &mut Permit,
    ) -> Result<Fetched, Fault> {
        let mut hop = request.clone();
        let mut left = self.timeout;
        for redirects in 0..=REDIRECTS_MAX {
            // Every hop is checked here, and its address in the guard's resolver.
            let checked = self.guard.check_url(&hop.url);
            checked.map_err(|e| Fault::unsent(e.to_string()))?;
            let elsewhere = |mut fault: Fault| {
                // Where a redirect leads says nothing of the host that the step asked.
                if redirects > 0 {
                    fault.sign = Sign::None;
                }
                fault
            };
            self.may_send(&hop).await.map_err(elsewhere)?;
            let start = Instant::now();
            let answer = tokio::time::timeout(left, self.send(&hop)).await;
            let Ok(answer) = answer else {
                let reason = format!("no answer within {:?}", self.timeout);
                return Err(Fault::passing(reason, false));
            };
            match answer.map_err(elsewhere)? {
                Answer::Fetched(fetched) => {
                    if redirects == 0 {
                        permit.took(start.elapsed());
                    }
                    return Ok(fetched);
                }
                Answer::Redirect(status, location) => {
                    hop = hop.redirected(status, &location).map_err(Fault::answered)?;
                }
            }
            left = left.saturating_sub(start.elapsed());
        }
        let reason = format!("more than {REDIRECTS_MAX} redirects");
        Err(Fault::answered(reason))
    }

    /// One hop.
    pub(super) async fn send(&self, hop: &Request) -> Result<Answer, Fault> {
        let mut builder = self
            .client
            .request(hop.method.clone(), hop.url.clone())
            .headers(hop.headers.clone());
        if let Some(body) = &hop.body {
            builder = builder.body(body.clone());
        } else if [Method::POST, Method::PUT, Method::PATCH].contains(&hop.method) {
            // Some servers take none of these without a length (RFC 9110, section 8.6).
            builder = builder.header(CONTENT_LENGTH, 0);
        }
        let response = builder.send().await.map_err(|e| Fault::of(&e))?;
        let status = response.status();
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && let Some(location) = response.headers().get(LOCATION)
        {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            return Ok(Answer::Redirect(status, location));
        }
        Ok(Answer::Fetched(read(response).await?))
    }
}
