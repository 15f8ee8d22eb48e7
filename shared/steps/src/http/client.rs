//! The HTTP client of a step: its resolver, proxy and certificates.

use std::sync::Arc;

use reqwest::{Certificate, Client, Proxy};
use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row};
use rowmill_pipeline::HttpStep;
use url::Url;

use super::fault::innermost;
use super::{AGENT, IDLE};
use crate::guard::{Guard, Lookup};
use crate::{Setup, SetupError};

/// A client for a step. HTTP/2 is spoken where a host offers it.
pub(super) fn client(
    step: &HttpStep,
    guard: Guard,
    setup: &Setup,
    lookup: Arc<dyn Lookup>,
) -> Result<(Client, Arc<Guard>), SetupError> {
    // Fails where a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let failed = |e: reqwest::Error| SetupError::Client(innermost(&e));
    let mut builder = Client::builder()
        .user_agent(AGENT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(setup.concurrency.max(1))
        .pool_idle_timeout(IDLE);
    let mut guard = guard;
    if let Some(url) = proxy(step, setup)? {
        guard.reach_by_name(&url);
        builder = builder.proxy(Proxy::all(url).map_err(failed)?);
    }
    if let Some(pem) = &step.ca {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|e| SetupError::Certificate(innermost(&e)))?;
        if certificates.is_empty() {
            return Err(SetupError::Certificate("it holds none".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    let guard = Arc::new(guard);
    let builder = builder.dns_resolver(Arc::new(guard.resolver(lookup)));
    let client = builder.build().map_err(|e| match &step.ca {
        // All else is known to be good.
        Some(_) => SetupError::Certificate(innermost(&e)),
        None => failed(e),
    })?;
    Ok((client, guard))
}

/// The step's proxy.
fn proxy(step: &HttpStep, setup: &Setup) -> Result<Option<Url>, SetupError> {
    let Some(template) = &step.proxy else {
        return Ok(None);
    };
    // It mentions secrets and no columns.
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
    let text = template
        .render_with(row, &setup.secrets)
        .map_err(|e| SetupError::Proxy(e.to_string()))?;
    let url = Url::parse(text.trim()).map_err(|e| SetupError::Proxy(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        let why = "it is neither http:// nor https:// with a host".to_owned();
        return Err(SetupError::Proxy(why));
    }
    Ok(Some(url))
}
