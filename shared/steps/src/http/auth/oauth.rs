//! OAuth 2.0 with client credentials (RFC 6749, section 4.4).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use rowmill_domain::Value;
use rowmill_domain::secret::Secrets;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::http::Http;
use crate::http::attempt::HopResult;
use crate::http::attempt_error::AttemptError;
use crate::http::host_limiter::HostSignal;
use crate::http::request::{Request, redacted_url};
use crate::http::response::{HttpResponse, Part};
use crate::redacting::redact;
use crate::{SetupError, StepResult};

/// How long a token is used whose answer does not say how long it is valid.
const LIFE_DEFAULT: Duration = Duration::from_secs(300);
/// A token is renewed this long before it expires, or after 9/10 of its life if that is later.
const MARGIN: Duration = Duration::from_secs(60);

pub(in crate::http) struct OAuth {
    request: Request,
    /// The current token. Locked while a new one is requested, so that there is one request.
    token: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds. Some servers write text.
    expires_in: Option<serde_json::Value>,
}

impl OAuth {
    pub(super) fn new(
        url: &str,
        client_id: String,
        client_secret: String,
        fields: Vec<(&'static str, String)>,
        in_body: bool,
    ) -> Result<OAuth, SetupError> {
        let invalid = |e: &dyn std::fmt::Display| SetupError::Auth(format!("url: {e}"));
        let url = Url::parse(url.trim()).map_err(|e| invalid(&e))?;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.extend_pairs(fields);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form_type = "application/x-www-form-urlencoded";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form_type));
        if in_body {
            form.append_pair("client_id", &client_id);
            form.append_pair("client_secret", &client_secret);
        } else {
            // Encoded as in a form (RFC 6749, section 2.3.1).
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&client_id), encoded(&client_secret));
            let header = format!("Basic {}", BASE64.encode(pair));
            let mut header = HeaderValue::from_str(&header).map_err(|e| invalid(&e))?;
            header.set_sensitive(true);
            headers.insert(AUTHORIZATION, header);
        }
        Ok(OAuth {
            request: Request {
                method: Method::POST,
                url,
                headers,
                body: Some(form.finish().into()),
                has_secret_body: true,
            },
            token: Mutex::new(None),
        })
    }

    /// The token: a new one if there is none, or it is about to expire.
    pub(super) async fn token(&self, http: &Http) -> Result<String, AttemptError> {
        let mut token = self.token.lock().await;
        if let Some(token) = &*token
            && Instant::now() < token.renew_at
        {
            return Ok(token.text.clone());
        }
        let new = self
            .request_token(http)
            .await
            .map_err(|error| AttemptError {
                reason: format!(
                    "token from {}: {}",
                    redacted_url(&self.request.url),
                    error.reason
                ),
                // It is another host.
                signal: HostSignal::Unknown,
                ..error
            })?;
        Ok(token.insert(new).text.clone())
    }

    async fn request_token(&self, http: &Http) -> Result<Token, AttemptError> {
        let checked = http.guard.check_url(&self.request.url);
        checked.map_err(|e| AttemptError::not_sent(e.to_string()))?;
        let sent = Instant::now();
        let answer = http.send(&self.request, Part::Whole, None);
        let answer = tokio::time::timeout(http.timeout, answer).await;
        let Ok(answer) = answer else {
            let reason = format!("no answer within {:?}", http.timeout);
            return Err(AttemptError::transient(reason, false));
        };
        match answer? {
            HopResult::Redirect(status, _) => {
                let reason = format!("{status}; write the address that it leads to in `url`");
                Err(AttemptError::permanent(reason))
            }
            HopResult::Response(response) => read(&response, sent, &http.retry_on),
        }
    }

    /// Whether the source refused the current token. Then the next request gets a new one.
    pub(super) async fn refused(&self, request: &Request) -> bool {
        let mut token = self.token.lock().await;
        let header = request
            .headers
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let used = header.and_then(|header| header.strip_prefix(b"Bearer "));
        let is_current = token
            .as_ref()
            .is_some_and(|t| Some(t.text.as_bytes()) == used);
        if is_current {
            *token = None;
        }
        // Otherwise another record has renewed it.
        used.is_some()
    }

    pub(super) async fn redact(&self, result: &mut StepResult) {
        let token = self.token.lock().await;
        let Some(token) = &*token else { return };
        let secrets: Secrets = [("TOKEN", token.text.as_str())].into_iter().collect();
        match &mut result.outputs {
            Ok(outputs) => {
                for (_, value) in outputs {
                    if let Value::Text(text) = value {
                        redact(&secrets, text);
                    }
                }
            }
            Err(reason) => redact(&secrets, reason),
        }
    }
}

fn read(response: &HttpResponse, sent: Instant, retry_on: &[u16]) -> Result<Token, AttemptError> {
    if !response.status.is_success() {
        let reason = response.status_and_start();
        return Err(AttemptError::status(response, reason, retry_on));
    }
    // The body may contain a token, so it is not shown.
    let answer: Answer = serde_json::from_slice(&response.body)
        .map_err(|_| AttemptError::permanent("the answer has no `access_token`"))?;
    let seconds = match &answer.expires_in {
        Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
        Some(number) => number.as_f64(),
        None => None,
    };
    let life = seconds.and_then(|s: f64| Duration::try_from_secs_f64(s).ok());
    let life = life.unwrap_or(LIFE_DEFAULT);
    Ok(Token {
        text: answer.access_token,
        renew_at: sent + life.saturating_sub(MARGIN).max(life / 10 * 9),
    })
}
