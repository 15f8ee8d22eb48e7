//! Builds the HTTP client of a step: its resolver, proxy and certificates.

use std::sync::Arc;

use reqwest::{Certificate, Client, Proxy};
use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row};
use rowmill_pipeline::{HttpStep, Template};
use url::Url;

use super::attempt_error::innermost;
use super::reused::MarkConnects;
use super::{IDLE_TIMEOUT, USER_AGENT_DEFAULT};
use crate::guard::{Guard, Lookup};
use crate::{SetupError, StepDeps};

/// Maximum number of headers of a response. Some sources send a hundred cookies; hyper allows 100 headers.
const HEADERS_MAX: usize = 1_000;

/// Builds the client of a step, and its guard. The client uses HTTP/2 if the host offers it.
pub(super) fn client(
    step: &HttpStep,
    guard: Guard,
    deps: &StepDeps,
    lookup: Arc<dyn Lookup>,
) -> Result<(Client, Arc<Guard>), SetupError> {
    // Fails if a provider is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let failed = |e: reqwest::Error| SetupError::Client(innermost(&e));
    let mut builder = Client::builder()
        .user_agent(USER_AGENT_DEFAULT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Answers that browsers and curl accept.
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_max_headers(HEADERS_MAX)
        .connector_layer(MarkConnects)
        .pool_max_idle_per_host(deps.concurrency.max(1))
        .pool_idle_timeout(IDLE_TIMEOUT);
    let mut guard = guard;
    if let Some(url) = proxy(step, deps)? {
        guard.allow_proxy(&url);
        builder = builder.proxy(Proxy::all(url).map_err(failed)?);
    }
    if let Some(pem) = &step.ca {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|e| SetupError::Certificate(innermost(&e)))?;
        if certificates.is_empty() {
            return Err(SetupError::Certificate("no certificate found".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    let guard = Arc::new(guard);
    let builder = builder.dns_resolver(Arc::new(guard.resolver(lookup)));
    let client = builder.build().map_err(|e| match &step.ca {
        // Everything else was checked before.
        Some(_) => SetupError::Certificate(innermost(&e)),
        None => failed(e),
    })?;
    Ok((client, guard))
}

/// The URL of the step's proxy.
fn proxy(step: &HttpStep, deps: &StepDeps) -> Result<Option<Url>, SetupError> {
    let Some(template) = &step.proxy else {
        return Ok(None);
    };
    let text = fixed(template, deps).map_err(SetupError::Proxy)?;
    let url = Url::parse(text.trim()).map_err(|e| SetupError::Proxy(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        let reason = "it must be an http:// or https:// URL with a host".to_owned();
        return Err(SetupError::Proxy(reason));
    }
    Ok(Some(url))
}

/// The text of a template that may use secrets, but no columns.
pub(super) fn fixed(template: &Template, deps: &StepDeps) -> Result<String, String> {
    let (columns, record) = (
        Columns::default(),
        Record {
            row: 0,
            values: Vec::new(),
        },
    );
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &[],
    };
    template
        .render_with(row, &deps.secrets)
        .map_err(|e| e.to_string())
}
