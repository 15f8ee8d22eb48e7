//! How a step signs in: with a token that a child gets once, or with an answer to a challenge.

mod digest;
mod oauth;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use rowmill_pipeline::Auth as Settings;

use self::digest::Digest;
use self::oauth::OAuth;
use super::Http;
use super::attempt_error::AttemptError;
use super::client::fixed;
use super::request::Request;
use super::response::HttpResponse;
use crate::{SetupError, StepDeps, StepResult};

pub(super) enum Auth {
    OAuth(OAuth),
    Digest(Digest),
}

impl Auth {
    pub(super) fn new(settings: &Settings, deps: &StepDeps) -> Result<Auth, SetupError> {
        let text = |template| fixed(template, deps).map_err(SetupError::Auth);
        Ok(match settings {
            Settings::Digest { user, password } => {
                Auth::Digest(Digest::new(text(user)?, text(password)?))
            }
            Settings::OAuth {
                url,
                client_id,
                client_secret,
                fields,
                in_body,
            } => {
                let fields = fields.iter().map(|(name, value)| Ok((*name, text(value)?)));
                Auth::OAuth(OAuth::new(
                    &text(url)?,
                    text(client_id)?,
                    text(client_secret)?,
                    fields.collect::<Result<_, SetupError>>()?,
                    *in_body,
                )?)
            }
        })
    }

    /// Replaces the token in the results of a step.
    pub(super) async fn redact(&self, result: &mut StepResult) {
        if let Auth::OAuth(oauth) = self {
            oauth.redact(result).await;
        }
    }
}

impl Http {
    /// Adds credentials to a request.
    ///
    /// # Errors
    /// No token is issued.
    pub(super) async fn sign(&self, request: &mut Request) -> Result<(), AttemptError> {
        let header = match &self.auth {
            None => None,
            Some(Auth::Digest(digest)) => digest.header(request),
            Some(Auth::OAuth(oauth)) => Some(format!("Bearer {}", oauth.token(self).await?)),
        };
        if let Some(header) = header {
            let mut value = HeaderValue::from_str(&header)
                .map_err(|_| AttemptError::not_sent("auth: invalid characters"))?;
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// Whether a refused request can be signed again with better credentials.
    pub(super) async fn can_sign_again(&self, request: &Request, response: &HttpResponse) -> bool {
        if response.status != reqwest::StatusCode::UNAUTHORIZED {
            return false;
        }
        match &self.auth {
            None => false,
            Some(Auth::Digest(digest)) => digest.challenge(response),
            Some(Auth::OAuth(oauth)) => oauth.refused(request).await,
        }
    }
}
