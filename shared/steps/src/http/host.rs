//! What a child knows of a host: how it bears requests, and what it asks for in its robots.txt.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, USER_AGENT};
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::{Position, Url};

use super::Http;
use super::attempt::Answer;
use super::fault::Fault;
use super::gate::{Gate, Sign};
use super::request::{Request, shown};
use super::robots::{Robots, token};
use crate::turns::Rate;

/// Redirects followed on the way to a robots.txt. Source: RFC 9309, section 2.3.1.2.
const REDIRECTS: usize = 5;
/// How long a robots.txt that cannot be read is not asked for again: those that wait for it
/// together fail together.
const FAILED: Duration = Duration::from_secs(1);

/// A host and port.
pub(super) struct Host {
    pub(super) gate: Arc<Gate>,
    robots: OnceCell<Robots>,
    /// When its robots.txt could not be read, and why.
    failed: Mutex<Option<(Instant, String)>>,
    /// `None` where nothing bounds the rate.
    rate: OnceLock<Option<Rate>>,
}

impl Http {
    /// The host of a URL.
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
                    gate: Gate::new(self.concurrency, self.patience),
                    robots: OnceCell::new(),
                    failed: Mutex::default(),
                    rate: OnceLock::new(),
                });
                hosts.insert(name.to_owned(), host.clone());
                host
            }
        }
    }

    /// Waits for leave to send a hop: refused where the host's robots.txt does, later where it or
    /// the step's rate says.
    pub(super) async fn may_send(&self, hop: &Request) -> Result<(), Fault> {
        let host = self.host(&hop.url);
        let mut delay = None;
        if self.robots {
            let robots = self.robots(&host, hop).await?;
            if let Some((rule, line)) = robots.refuses(&hop.url) {
                return Err(Fault::unsent(format!(
                    "refused by {}: `{rule}` (line {line}); set robots = false where the source \
                     has given leave",
                    shown(&address(&hop.url))
                )));
            }
            delay = robots.delay;
        }
        let rate = host.rate.get_or_init(|| {
            let gap = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
            let name = &hop.url[Position::BeforeHost..Position::AfterPort];
            // Who names another rate takes other turns: else a pipeline that is slow with the
            // host would hold up all that are fast.
            let rate = |gap| {
                let lane = format!("{name} every {gap:?}");
                Rate::new(gap, self.turns.clone(), &lane)
            };
            gap.max(delay).map(rate)
        });
        if let Some(rate) = rate {
            rate.turn().await.map_err(Fault::unsent)?;
        }
        Ok(())
    }

    /// The host's robots.txt, fetched once.
    async fn robots<'h>(&self, host: &'h Host, hop: &Request) -> Result<&'h Robots, Fault> {
        let failed = || match host.failed.lock() {
            Ok(failed) => failed,
            Err(poisoned) => poisoned.into_inner(),
        };
        let fetch = || async {
            if let Some((when, reason)) = &*failed()
                && when.elapsed() < FAILED
            {
                return Err(Fault::passing(reason.clone(), false));
            }
            let fetched = tokio::time::timeout(self.timeout, self.fetch_robots(hop)).await;
            let fetched = fetched.unwrap_or_else(|_| {
                let reason = format!("no answer within {:?}", self.timeout);
                Err(Fault::passing(reason, false))
            });
            fetched.map_err(|fault| {
                let name = address(&hop.url);
                let reason = format!("{}: {}", shown(&name), fault.reason);
                *failed() = Some((Instant::now(), reason.clone()));
                let sign = match fault.sign {
                    Sign::Bad { connect, .. } => Sign::Bad {
                        connect,
                        reason: reason.clone(),
                    },
                    other => other,
                };
                Fault {
                    reason,
                    sign,
                    ..fault
                }
            })
        };
        host.robots.get_or_try_init(fetch).await
    }

    /// Where there is none, nothing is refused. Where the host does not say whether there is one,
    /// that is a fault that may pass (RFC 9309, sections 2.3.1.3 and 2.3.1.4).
    async fn fetch_robots(&self, hop: &Request) -> Result<Robots, Fault> {
        let mut headers = HeaderMap::new();
        let mut agent = super::AGENT;
        if let Some(own) = hop.headers.get(USER_AGENT) {
            agent = own.to_str().unwrap_or_default();
            headers.insert(USER_AGENT, own.clone());
        }
        let mut ask = Request {
            method: Method::GET,
            url: address(&hop.url),
            headers,
            body: None,
            confides: false,
        };
        for _ in 0..=REDIRECTS {
            let checked = self.guard.check_url(&ask.url);
            checked.map_err(|e| Fault::unsent(e.to_string()))?;
            match self.send(&ask).await? {
                Answer::Redirect(status, location) => {
                    ask = ask.redirected(status, &location).map_err(Fault::answered)?;
                }
                Answer::Fetched(fetched) => {
                    let status = fetched.status;
                    return if status.is_success() {
                        Ok(Robots::parse(&fetched.body, token(agent)))
                    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                        let reason = format!(
                            "{status}, so that nobody knows what it refuses; where the source has \
                             given leave, set robots = false"
                        );
                        Err(Fault::status(&fetched, reason))
                    } else {
                        Ok(Robots::default())
                    };
                }
            }
        }
        Ok(Robots::default())
    }
}

/// Where the robots.txt of a URL's host is.
fn address(url: &Url) -> Url {
    let mut address = url.clone();
    // The URL has a host, so none of these fails.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_path("/robots.txt");
    address.set_query(None);
    address.set_fragment(None);
    address
}
