//! The routes, and the events of API Gateway that reach them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

#[cfg(feature = "lambda")]
use tokio::time::timeout;

use crate::access::{LocalAccess, own_site, with_token};
use crate::assets::assets;
#[cfg(any(feature = "lambda", test))]
use crate::claims::{ClaimsAccess, sign_in, with_claims};
use crate::download::download;
use crate::problem::Problem;
use crate::routes::{
    control, export, feedback, pipelines, predict, previews, reviews, rows, runs, tiers, uploads,
};
use crate::service::Service;
use crate::stage::{Api, health, not_found};

/// The routes.
///
/// | route | answer |
/// |---|---|
/// | `GET /health` | 200 with the version, whether the work bucket answers, and whether the sender of mail is verified |
/// | `GET /d/{token}` | 302 to the result that the link in an email names. The signed token replaces a sign-in |
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/d/{token}", get(download))
        .fallback(not_found)
        .with_state(api)
}

/// The routes of `rowmill serve`: the page for everybody on this machine, and the API for whoever has the
/// token.
pub fn local_router(service: Arc<Service>, access: LocalAccess) -> Router {
    // On AWS, S3 takes the file.
    let upload = Router::new().route("/uploads/{upload}", post(uploads::receive));
    api(service.clone())
        .merge(
            upload
                .layer(DefaultBodyLimit::disable())
                .with_state(service),
        )
        .layer(from_fn_with_state(access.clone(), with_token))
        .merge(assets())
        .fallback(unknown)
        .method_not_allowed_fallback(async || Problem::method())
        .layer(from_fn_with_state(access, own_site))
        .layer(from_fn(headers))
}

/// The routes of the function: those of [`router`], the page for everybody, and the API for whoever API
/// Gateway let in with a role.
#[cfg(any(feature = "lambda", test))]
pub fn deployed_router(public: Arc<Api>, service: Arc<Service>, access: &ClaimsAccess) -> Router {
    let policy = access.content_security_policy();
    api(service)
        .layer(from_fn_with_state(access.clone(), with_claims))
        .merge(sign_in(access))
        .merge(assets())
        .merge(router(public))
        .method_not_allowed_fallback(async || Problem::method())
        .layer(from_fn(move |request: Request, next: Next| {
            let policy = policy.clone();
            async move {
                let mut response = next.run(request).await;
                let headers = response.headers_mut();
                headers
                    .entry(header::CONTENT_SECURITY_POLICY)
                    .or_insert(policy);
                response
            }
        }))
        .layer(from_fn(headers))
}

/// Defines the routes of the API, and a list of them for tests.
macro_rules! routes {
    ($($path:literal => $($method:ident $handler:path),+;)*) => {
        /// The routes of the API.
        fn api(service: Arc<Service>) -> Router {
            Router::new()
                $(.route($path, MethodRouter::new()$(.$method($handler))+))*
                // Bodies of JSON and files have their own limits.
                .layer(DefaultBodyLimit::disable())
                .with_state(service)
        }

        /// The method and the path of each route.
        #[cfg(test)]
        pub(crate) const ROUTES: &[(&str, &str)] = &[$($((stringify!($method), $path)),+),*];
    };
}

routes! {
    "/session" => get pipelines::session;
    "/pipelines" => get pipelines::list;
    "/uploads" => post uploads::create;
    "/preview" => post previews::preview;
    "/runs" => get runs::list, post control::start;
    "/runs/{run}" => get runs::show, delete control::delete;
    "/runs/{run}/workbook" => get runs::workbook;
    "/runs/{run}/cancel" => post control::cancel;
    "/runs/{run}/retry" => post control::retry;
    "/runs/{run}/rows" => get rows::list;
    "/runs/{run}/rows/{row}/approve" => post reviews::approve;
    "/runs/{run}/rows/{row}/override" => post reviews::override_;
    "/runs/{run}/rows/{row}/undo" => post reviews::undo;
    "/runs/{run}/reviews" => post reviews::batch;
    "/runs/{run}/reviews/filter" => post reviews::filter;
    "/runs/{run}/reviews/filter/{id}" => delete reviews::undo_filter;
    "/runs/{run}/export.csv" => get export::csv;
    "/runs/{run}/export.jsonl" => get export::jsonl;
    "/runs/{run}/export.xlsx" => get export::xlsx;
    "/predict" => post predict::predict;
    "/submitters/{address}/tier" => put tiers::set;
    "/feedback" => get feedback::list, post feedback::give;
}

async fn unknown() -> Response {
    Problem::not_found("This address does not exist. /openapi.json lists all of them.")
        .into_response()
}

/// Nothing from another site is loaded, and no other site can embed or read what is served.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Adds [`HEADERS`] to every response, except for those that it already has.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// The function: its routes, and what it does between requests.
#[cfg(feature = "lambda")]
pub struct Deployed {
    /// The routes.
    pub router: Router,
    /// What the routes of the API use.
    pub service: Arc<Service>,
}

#[cfg(feature = "lambda")]
impl Deployed {
    /// Answers a request of API Gateway, or builds an export that another invocation asked for.
    ///
    /// # Errors
    /// The payload is neither, or the export failed.
    pub async fn invoke(
        &self,
        payload: &serde_json::Value,
        cx: &rowmill_domain::event::Invocation,
    ) -> Result<Option<serde_json::Value>, crate::ApiError> {
        match payload.get(EXPORT) {
            Some(asked) => {
                let asked = serde::Deserialize::deserialize(asked)?;
                crate::build_export(&self.service, &asked).await?;
                Ok(None)
            }
            // An invocation may take longer, but nobody waits for its answer.
            None => match timeout(ANSWER_WITHIN, invoke(&self.router, payload, cx)).await {
                Ok(answered) => answered,
                Err(_) => Ok(Some(too_late())),
            },
        }
    }
}

/// Source: quotas of API Gateway for HTTP APIs, "Maximum integration timeout", 30 seconds.
#[cfg(feature = "lambda")]
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(29);

#[cfg(feature = "lambda")]
fn too_late() -> serde_json::Value {
    tracing::error!("a request had no answer in time");
    let problem = Problem::unavailable();
    serde_json::json!({
        "statusCode": problem.status(),
        "headers": { "content-type": "application/problem+json", "retry-after": "5" },
        "body": problem.json().to_string(),
        "isBase64Encoded": false,
    })
}

/// The member of an event that asks for an export.
#[cfg(feature = "lambda")]
const EXPORT: &str = "export";

/// The event that asks for an export.
#[cfg(feature = "lambda")]
pub fn export_event(asked: &crate::ExportAsked) -> serde_json::Value {
    serde_json::json!({ EXPORT: asked })
}

/// Answers a request from API Gateway (HTTP API, payload version 2.0) through the routes.
///
/// # Errors
/// The payload is not such a request.
#[cfg(any(feature = "lambda", test))]
pub(crate) async fn invoke(
    router: &Router,
    payload: &serde_json::Value,
    cx: &rowmill_domain::event::Invocation,
) -> Result<Option<serde_json::Value>, crate::error::ApiError> {
    use lambda_http::lambda_runtime::{Context, LambdaEvent};
    use lambda_http::request::LambdaRequest;
    use lambda_http::{Adapter, Service as _};

    let payload = serde_json::from_value::<LambdaRequest>(payload.clone())?;
    let mut context = Context::default();
    context.request_id.clone_from(&cx.owner);
    let answered = Adapter::from(router.clone())
        .call(LambdaEvent { payload, context })
        .await;
    // A router's error is `Infallible`.
    let response = match answered {
        Ok(response) => response,
        Err(never) => match never {},
    };
    Ok(Some(serde_json::to_value(response)?))
}
