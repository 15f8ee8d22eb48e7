//! One attempt: a request and its redirects.

use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::Http;
use super::attempt_error::AttemptError;
use super::content_encoding::ACCEPTED;
use super::cookies::Cookies;
use super::host_limiter::{HostSignal, InFlight};
use super::request::Request;
use super::response::{HttpResponse, PARSE_TIME_MIN, Part, read};
use super::reused::{is_closed, is_reused};

/// Redirects followed in one attempt; more are taken for a loop. Source: reqwest's default.
const REDIRECTS_MAX: usize = 10;

/// The answer to one request of a redirect chain.
pub(super) enum HopResult {
    Response(Box<HttpResponse>),
    Redirect(StatusCode, String),
}

impl Http {
    /// Sends the request, follows its redirects and reads the whole body. Records the latency of
    /// the host if it answered without a redirect.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        in_flight: &mut InFlight,
    ) -> Result<HttpResponse, AttemptError> {
        let mut hop = request.clone();
        self.sign(&mut hop).await?;
        let mut may_sign_again = true;
        let own = Cookies::default();
        let cookies = Some(self.cookies.as_ref().unwrap_or(&own));
        let mut left = self.timeout;
        for redirects in 0..=REDIRECTS_MAX {
            // The guard checks the URL of every hop here, and its address in the resolver.
            let checked = self.guard.check_url(&hop.url);
            checked.map_err(|e| AttemptError::not_sent(e.to_string()))?;
            let of_hop = |mut error: AttemptError| {
                // The target of a redirect says nothing about the host that the step requested.
                if redirects > 0 {
                    error.signal = HostSignal::Unknown;
                }
                error
            };
            self.wait_to_send(&hop).await.map_err(of_hop)?;
            let start = Instant::now();
            let answer = tokio::time::timeout(left, self.send(&hop, Part::Whole, cookies)).await;
            let Ok(answer) = answer else {
                let reason = format!("no answer within {:?}", self.timeout);
                return Err(AttemptError::transient(reason, false));
            };
            match answer.map_err(of_hop)? {
                HopResult::Response(response)
                    if may_sign_again
                        && hop.url.origin() == request.url.origin()
                        && self.can_sign_again(&hop, &response).await =>
                {
                    may_sign_again = false;
                    self.sign(&mut hop).await?;
                }
                HopResult::Response(mut response) => {
                    let left = left.saturating_sub(start.elapsed());
                    response.parse_time = left.max(PARSE_TIME_MIN);
                    if redirects == 0 {
                        in_flight.set_latency(start.elapsed());
                    }
                    return Ok(*response);
                }
                HopResult::Redirect(status, location) => {
                    let redirected = hop.redirected(status, &location);
                    hop = redirected.map_err(AttemptError::permanent)?;
                }
            }
            left = left.saturating_sub(start.elapsed());
        }
        let reason = format!("more than {REDIRECTS_MAX} redirects");
        Err(AttemptError::permanent(reason))
    }

    /// Sends one request, without following a redirect, and reads this part of the response.
    ///
    /// A request that is safe to repeat is repeated at once if it was sent on an idle connection that
    /// the server had closed (RFC 9112, section 9.3.1). That says nothing about the host.
    pub(super) async fn send(
        &self,
        hop: &Request,
        part: Part,
        cookies: Option<&Cookies>,
    ) -> Result<HopResult, AttemptError> {
        let mut headers = hop.headers.clone();
        if let Some(cookies) = cookies {
            cookies.add(&hop.url, &mut headers);
        }
        let response = loop {
            let (sent, reused) = is_reused(self.request(hop, &headers).send()).await;
            match sent {
                Ok(response) => break response,
                // Each repetition removes an idle connection, so this ends.
                Err(error) if reused && is_closed(&error) && hop.method.is_idempotent() => {
                    tracing::debug!(%hop, "an idle connection was closed; repeating the request");
                }
                Err(error) => return Err(AttemptError::of(&error)),
            }
        };
        if let Some(cookies) = cookies {
            cookies.keep(&hop.url, response.headers());
        }
        let status = response.status();
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && let Some(location) = response.headers().get(LOCATION)
        {
            return Ok(HopResult::Redirect(status, address(location.as_bytes())));
        }
        Ok(HopResult::Response(Box::new(read(response, part).await?)))
    }

    fn request(&self, hop: &Request, headers: &HeaderMap) -> reqwest::RequestBuilder {
        let mut builder = self
            .client
            .request(hop.method.clone(), hop.url.clone())
            .headers(headers.clone());
        if let Some(body) = &hop.body {
            builder = builder.body(body.clone());
        } else if [Method::POST, Method::PUT, Method::PATCH].contains(&hop.method) {
            // Some servers reject these methods without a length (RFC 9110, section 8.6).
            builder = builder.header(CONTENT_LENGTH, 0);
        }
        if !headers.contains_key(ACCEPT_ENCODING) {
            builder = builder.header(ACCEPT_ENCODING, ACCEPTED);
        }
        builder
    }
}

/// The address in a `Location` header. Bytes that are not ASCII are percent-encoded as they are,
/// whatever their charset, as in browsers (WHATWG Fetch, "location URL").
fn address(location: &[u8]) -> String {
    let mut address = String::with_capacity(location.len());
    for byte in location {
        match byte.is_ascii() {
            true => address.push(char::from(*byte)),
            false => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_location_are_percent_encoded() {
        assert_eq!(address(b"/caf\xe9?q=a b"), "/caf%E9?q=a b");
        assert_eq!(address("/café%20".as_bytes()), "/caf%C3%A9%20");
    }
}
