//! The hosts that a step requests: their limits and their robots.txt.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, USER_AGENT};
use reqwest::{Method, StatusCode};
use rowmill_pipeline::RETRY_ON;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::{Position, Url};

use super::Http;
use super::attempt::HopResult;
use super::attempt_error::AttemptError;
use super::host_limiter::{HostLimiter, HostSignal};
use super::request::{Request, redacted_url};
use super::response::Part;
use super::robots::{Robots, SIZE_MAX, token};
use crate::rate_limiter::{AcquireError, RateLimiter};

/// Redirects followed to a robots.txt. Source: RFC 9309, section 2.3.1.2.
const REDIRECTS_MAX: usize = 5;
/// How long a failure to read a robots.txt is remembered: the records that wait for it together
/// fail together.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// A host and port.
pub(super) struct Host {
    pub(super) limiter: Arc<HostLimiter>,
    robots: OnceCell<Robots>,
    /// When robots.txt last failed to load, and why.
    failed: Mutex<Option<(Instant, String)>>,
    /// `None` if the rate is not limited.
    rate_limiter: OnceLock<Option<RateLimiter>>,
}

impl Http {
    /// The host and port of a URL, created at its first request.
    pub(super) fn host(&self, url: &Url) -> Arc<Host> {
        let name = &url[Position::BeforeHost..Position::AfterPort];
        let mut hosts = match self.hosts.lock() {
            Ok(hosts) => hosts,
            Err(poisoned) => poisoned.into_inner(),
        };
        match hosts.get(name) {
            Some(host) => host.clone(),
            None => {
                let host = Arc::new(Host {
                    limiter: HostLimiter::new(self.concurrency, self.host_wait),
                    robots: OnceCell::new(),
                    failed: Mutex::default(),
                    rate_limiter: OnceLock::new(),
                });
                hosts.insert(name.to_owned(), host.clone());
                host
            }
        }
    }

    /// Waits until a request may be sent, at the rate of the step and of the host's robots.txt.
    ///
    /// # Errors
    /// robots.txt disallows the URL or cannot be read, or no permit can be taken.
    pub(super) async fn wait_to_send(&self, hop: &Request) -> Result<(), AttemptError> {
        let host = self.host(&hop.url);
        let mut delay = None;
        if self.robots {
            let robots = self.robots(&host, hop).await?;
            if let Some((rule, line)) = robots.disallows(&hop.url) {
                return Err(AttemptError::not_sent(format!(
                    "disallowed by {}: `{rule}` (line {line}); set robots = false if the source \
                     permits these requests",
                    redacted_url(&robots_url(&hop.url))
                )));
            }
            delay = robots.delay;
        }
        let interval = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let rate_limiter = host.rate_limiter.get_or_init(|| {
            let name = &hop.url[Position::BeforeHost..Position::AfterPort];
            // The rate is part of the key: otherwise a pipeline with a low rate would slow down
            // all others that use the host.
            let limiter = |interval| {
                let rate_key = format!("{name} every {interval:?}");
                RateLimiter::new(interval, self.permits.clone(), &rate_key)
            };
            interval.max(delay).map(limiter)
        });
        let Some(rate_limiter) = rate_limiter else {
            return Ok(());
        };
        // A rate that the pipeline sets is meant to take its time.
        let delay = delay.filter(|delay| interval.is_none_or(|interval| *delay > interval));
        let deadline = self.deadline.filter(|_| delay.is_some());
        let acquired = rate_limiter.acquire(deadline).await;
        acquired.map_err(|error| match (error, delay) {
            (AcquireError::TooLate(wait), Some(delay)) => AttemptError::not_sent(format!(
                "{} allows one request every {} s (`Crawl-delay: {}`); the wait of {} s for the next \
                 one would exceed the time limit of the child; set robots = false if the source \
                 permits faster requests",
                redacted_url(&robots_url(&hop.url)),
                delay.as_secs_f64(),
                delay.as_secs_f64(),
                wait.as_secs()
            )),
            (error, _) => AttemptError::not_sent(error.to_string()),
        })
    }

    /// The host's robots.txt, fetched once per child.
    async fn robots<'h>(&self, host: &'h Host, hop: &Request) -> Result<&'h Robots, AttemptError> {
        let failed = || match host.failed.lock() {
            Ok(failed) => failed,
            Err(poisoned) => poisoned.into_inner(),
        };
        let fetch = || async {
            if let Some((when, reason)) = &*failed()
                && when.elapsed() < FAILURE_KEPT
            {
                return Err(AttemptError::transient(reason.clone(), false));
            }
            let fetched = tokio::time::timeout(self.timeout, self.fetch_robots(hop)).await;
            let fetched = fetched.unwrap_or_else(|_| {
                let reason = format!("no answer within {:?}", self.timeout);
                Err(AttemptError::transient(reason, false))
            });
            fetched.map_err(|error| {
                let url = robots_url(&hop.url);
                let reason = format!("{}: {}", redacted_url(&url), error.reason);
                *failed() = Some((Instant::now(), reason.clone()));
                let signal = match error.signal {
                    HostSignal::Failing { connect, .. } => HostSignal::Failing {
                        connect,
                        reason: reason.clone(),
                    },
                    other => other,
                };
                AttemptError {
                    reason,
                    signal,
                    ..error
                }
            })
        };
        host.robots.get_or_try_init(fetch).await
    }

    /// A missing robots.txt allows everything. If the host does not say whether there is one, the
    /// request may be retried (RFC 9309, sections 2.3.1.3 and 2.3.1.4).
    async fn fetch_robots(&self, hop: &Request) -> Result<Robots, AttemptError> {
        let mut headers = HeaderMap::new();
        let mut agent = super::USER_AGENT_DEFAULT;
        if let Some(own) = hop.headers.get(USER_AGENT) {
            agent = own.to_str().unwrap_or_default();
            headers.insert(USER_AGENT, own.clone());
        }
        let mut request = Request {
            method: Method::GET,
            url: robots_url(&hop.url),
            headers,
            body: None,
            has_secret_body: false,
        };
        for _ in 0..=REDIRECTS_MAX {
            let checked = self.guard.check_url(&request.url);
            checked.map_err(|e| AttemptError::not_sent(e.to_string()))?;
            match self.send(&request, Part::Start(SIZE_MAX + 1), None).await? {
                HopResult::Redirect(status, location) => {
                    let redirected = request.redirected(status, &location);
                    request = redirected.map_err(AttemptError::permanent)?;
                }
                HopResult::Response(response) => {
                    let status = response.status;
                    return if status.is_success() {
                        Ok(Robots::parse(&response.body, token(agent)))
                    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                        let reason = format!(
                            "{status}, so robots.txt could not be read; set robots = false if \
                             the source permits these requests"
                        );
                        Err(AttemptError::status(&response, reason, &RETRY_ON))
                    } else {
                        Ok(Robots::default())
                    };
                }
            }
        }
        Ok(Robots::default())
    }
}

/// The URL of the robots.txt of a URL's host.
fn robots_url(url: &Url) -> Url {
    let mut address = url.clone();
    // The URL has a host, so none of these fails.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_path("/robots.txt");
    address.set_query(None);
    address.set_fragment(None);
    address
}
