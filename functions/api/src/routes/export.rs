//! `GET /runs/{run}/export.csv`, `.jsonl` and `.xlsx`: the rows with their reviews.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use rowmill_runs::scratch_folder;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::runs::find;
use crate::access::Caller;
use crate::answer::{XLSX, attachment, file};
use crate::built::{self, ExportAsked, export_name};
use crate::export::{Export, ExportFormat, TextForm, TextFormat};
use crate::problem::Problem;
use crate::request::{InPath, Parameters};
use crate::service::Service;

/// Parts that wait for the network.
const AHEAD: usize = 2;

/// The parameters of an export.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub(crate) struct Wanted {
    #[serde(default)]
    rows: Rows,
    /// Also the texts with feedback about the pipeline of the run.
    #[serde(default)]
    feedback: bool,
    /// On AWS, the id of an export that was started before.
    export: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) enum Rows {
    /// Only rows with a verdict.
    #[default]
    Verified,
    /// All rows.
    All,
}

pub(crate) async fn csv(
    service: State<Arc<Service>>,
    caller: Caller,
    run: InPath<String>,
    wanted: Parameters<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    export(service, caller, run, wanted, headers, ExportFormat::Csv).await
}

pub(crate) async fn jsonl(
    service: State<Arc<Service>>,
    caller: Caller,
    run: InPath<String>,
    wanted: Parameters<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    export(
        service,
        caller,
        run,
        wanted,
        headers,
        ExportFormat::JsonLines,
    )
    .await
}

pub(crate) async fn xlsx(
    service: State<Arc<Service>>,
    caller: Caller,
    run: InPath<String>,
    wanted: Parameters<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    export(
        service,
        caller,
        run,
        wanted,
        headers,
        ExportFormat::Workbook,
    )
    .await
}

async fn export(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    Parameters(wanted): Parameters<Wanted>,
    headers: HeaderMap,
    format: ExportFormat,
) -> Result<Response, Problem> {
    let run = find(&service, &caller, &run).await?;
    let all = wanted.rows == Rows::All;
    if let Some(background) = &service.background {
        if let Some(id) = &wanted.export {
            return built::look(&service, &headers, &run.id, format, id).await;
        }
        // Says now what is wrong with the run.
        service.indexes.get(&service.work, &run).await?;
        let asked = ExportAsked::new(run.id, format, all, wanted.feedback)?;
        return built::start(&service, &**background, &headers, &asked).await;
    }
    let name = export_name(&run.source.key, format);
    let export = Export::new(&service, &run, all, wanted.feedback).await?;
    match format.text() {
        Some(text) => Ok(send_text(service, export, text, &name)),
        None => workbook(&service, export, &name).await,
    }
}

/// Text is sent while it is made.
fn send_text(service: Arc<Service>, export: Export, format: TextFormat, name: &str) -> Response {
    let (send, receive) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let form = TextForm::new(format, &export.index, send.clone());
        let sent = match export.walk(&service, form).await {
            Ok(form) => form.finish().await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            // The connection is closed before its end, so that the file is known to be incomplete.
            tracing::error!(%error, "an export failed");
            let _ = send.send(Err(error)).await;
        }
    });
    let parts = stream::unfold(receive, async |mut receive| {
        receive.recv().await.map(|part| (part, receive))
    });
    let kind = match format {
        TextFormat::Csv => "text/csv; charset=utf-8",
        TextFormat::JsonLines => "application/jsonl",
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, attachment(name)),
    ];
    (headers, Body::from_stream(parts)).into_response()
}

/// The directory of a workbook comes last, and its rows are compressed: it is made on disk first.
async fn workbook(service: &Service, export: Export, name: &str) -> Result<Response, Problem> {
    let folder = scratch_folder("rowmill-export-")?;
    let path = folder.path().join("reviewed.xlsx");
    export.save_workbook(service, &path).await?;
    file(&path, XLSX, name).await
}
