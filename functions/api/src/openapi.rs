//! The OpenAPI document of the API, for tests: `docs/openapi.json` is generated from it.
//!
//! Requests are the types that the routes read. A function here stands for each route, and a type for each
//! answer; schemathesis compares the answers of `rowmill serve` with them.

#![allow(dead_code)]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use crate::routes::control::{NewRetry, NewRun};
use crate::routes::export::Wanted;
use crate::routes::feedback::NewFeedback;
use crate::routes::predict::NewPrediction;
use crate::routes::previews::NewPreview;
use crate::routes::reviews::{Batch, NewFilter, NewValue, Seen};
use crate::routes::tiers::NewTier;
use crate::routes::uploads::NewUpload;
use crate::routes::{export, feedback, rows, runs};

/// The document.
pub(crate) fn document() -> Document {
    Api::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rowmill",
        description = "Upload a workbook, process its rows with a pipeline, review what it predicted, and download the result."
    ),
    paths(
        session, pipelines, upload, preview, list_runs, start, show, remove, workbook, cancel,
        retry, list_rows, approve, override_, undo, verdicts, filter, undo_filter, export_csv,
        export_jsonl, export_xlsx, predict, set_tier, list_feedback, give_feedback
    ),
    components(schemas(Problem, ExportStarted, rows::Sort, export::Rows)),
    modifiers(&Common),
    security(("token" = []))
)]
struct Api;

/// What all routes have: the token, and their errors.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.description = Some("`rowmill serve` prints the token with its address.".to_owned());
        components.add_security_scheme("token", SecurityScheme::Http(token));
        for (_, name, what) in ERRORS {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build();
            let response = ResponseBuilder::new()
                .description(what)
                .content("application/problem+json", content)
                .build();
            components
                .responses
                .insert(name.to_owned(), response.into());
        }
        for path in document.paths.paths.values_mut() {
            for (operation, writes) in [
                (&mut path.get, false),
                (&mut path.post, true),
                (&mut path.put, true),
                (&mut path.delete, true),
            ] {
                if let Some(operation) = operation {
                    add_errors(operation, writes);
                }
            }
        }
    }
}

/// The errors of all routes: status, name and meaning.
const ERRORS: [(&str, &str, &str); 8] = [
    (
        "400",
        "Invalid",
        "The request is invalid, and how to fix it.",
    ),
    ("401", "SignIn", "The token is missing or wrong."),
    ("403", "NotAllowed", "The caller may not do this."),
    ("404", "NotFound", "What the address names does not exist."),
    (
        "409",
        "Conflict",
        "The request does not fit the present state.",
    ),
    ("413", "TooLarge", "The body is too large."),
    ("415", "MediaType", "The body has another media type."),
    (
        "503",
        "Unavailable",
        "A service does not answer. Try again after the pause in `Retry-After`.",
    ),
];

fn add_errors(operation: &mut Operation, writes: bool) {
    let has_body = operation.request_body.is_some();
    for (status, name, _) in ERRORS {
        if has_body || !["413", "415"].contains(&status) {
            let responses = &mut operation.responses.responses;
            responses.insert(status.to_owned(), Ref::from_response_name(name).into());
        }
    }
    if writes {
        operation.parameters.get_or_insert_default().push(
            utoipa::openapi::path::ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(utoipa::openapi::path::ParameterIn::Header)
                .description(Some(
                    "A write with the same key and content takes effect once.",
                ))
                .schema(Some(
                    utoipa::openapi::ObjectBuilder::new()
                        .schema_type(utoipa::openapi::schema::Type::String)
                        .min_length(Some(1))
                        .max_length(Some(200))
                        .pattern(Some("^[!-~]+$")),
                ))
                .build()
                .into(),
        );
    }
}

// ------------------------------------------------------------------------------------------ words

/// The state of a run.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunState {
    Splitting,
    Running,
    Reporting,
    Delivered,
    DeliveredWithErrors,
    Failed,
}

/// The status of a row.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    Failed,
    Missing,
}

/// What a person decides.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Approve,
    Override,
    Undo,
}

/// What counts for a row.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Decided {
    Approved,
    Overridden,
}

/// Which rows are retried.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryRows {
    /// Those that are failed or missing.
    Unfinished,
    Failed,
    Missing,
    /// Those for which a CEL expression is true.
    Where(String),
}

/// Why a request is not answered with what it asks for (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Problem {
    #[schema(rename = "type")]
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// For a verdict that came too late: the review that was first.
    #[schema(required = false)]
    review: Option<Review>,
}

// ------------------------------------------------------------------------------------------ answers

/// Who calls.
#[derive(Serialize, ToSchema)]
struct Session {
    name: String,
    role: Role,
    /// Whether the server is `rowmill serve`.
    local: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    Viewer,
    Reviewer,
    Operator,
}

#[derive(Serialize, ToSchema)]
struct Pipelines {
    pipelines: Vec<Pipeline>,
}

#[derive(Serialize, ToSchema)]
struct Pipeline {
    name: String,
    description: Option<String>,
    /// The columns that a workbook needs.
    columns: Vec<String>,
    steps: Vec<Step>,
    review: Option<ReviewedColumn>,
    /// Whether `POST /predict` works with it.
    predict: bool,
    /// What is wrong with its file.
    error: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Step {
    name: String,
    kind: String,
    /// The columns that it adds.
    columns: Vec<String>,
}

/// The column that is reviewed, and the values that a reviewer can choose.
#[derive(Serialize, ToSchema)]
struct ReviewedColumn {
    column: String,
    labels: Vec<String>,
}

/// Where to send the file: as a form with `fields`, and then the file as `file`, at most 1 GiB. On AWS the
/// address is that of the bucket.
#[derive(Serialize, ToSchema)]
struct UploadTarget {
    upload: String,
    url: String,
    /// The fields of the form before `file`.
    fields: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct Preview {
    columns: Vec<String>,
    rows: Vec<PreviewRow>,
    records: u64,
    rejected: u64,
    plan: Option<Plan>,
    /// Why there is no preview.
    problem: Option<PreviewProblem>,
}

#[derive(Serialize, ToSchema)]
struct PreviewRow {
    row: u32,
    status: PreviewStatus,
    error: Option<String>,
    values: BTreeMap<String, Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PreviewStatus {
    Ok,
    Failed,
    Unfinished,
}

/// What a run on AWS would take and cost.
#[derive(Serialize, ToSchema)]
struct Plan {
    cost_usd: f64,
    makespan_seconds: f64,
    children: u64,
    bottleneck: String,
}

#[derive(Serialize, ToSchema)]
struct PreviewProblem {
    title: String,
    detail: String,
}

#[derive(Serialize, ToSchema)]
struct Started {
    run: String,
}

#[derive(Serialize, ToSchema)]
struct Runs {
    runs: Vec<Run>,
    /// `after` of the next page.
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Run {
    run: String,
    pipeline: String,
    file: String,
    state: RunState,
    #[schema(format = DateTime)]
    created: String,
    #[schema(format = DateTime)]
    updated: String,
    counts: Option<Counts>,
    /// At the list prices of AWS. Null until the plan is known.
    cost_usd: Option<f64>,
    /// Why it was stopped early.
    stopped: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Counts {
    records: u64,
    rejected: u64,
    ok: u64,
    failed: u64,
    missing: u64,
}

#[derive(Serialize, ToSchema)]
struct RunDetails {
    #[serde(flatten)]
    run: Run,
    processed: Option<u64>,
    rate_per_second: Option<f64>,
    seconds_left: Option<f64>,
    jobs: Jobs,
    reasons: Vec<Reason>,
    failure: Option<Failure>,
    /// Whether there is a result.
    workbook: bool,
    /// What the run used and cost, once it has a result.
    cost: Option<Cost>,
    review: Option<ReviewedColumn>,
    reviews: Option<Reviews>,
    accuracy: Vec<Accuracy>,
}

/// What a run used, and what that costs at the list prices of AWS.
#[derive(Serialize, ToSchema)]
struct Cost {
    usd: f64,
    usd_per_record: Option<f64>,
    /// By what it is for: `vcpu`, `memory`, `storage`, `addresses`, `logs`, `ledger`, `functions` and
    /// `objects` add up to `usd`; `on_demand` is vCPUs and memory without Spot.
    usd_by: BTreeMap<String, f64>,
    /// Attempts of children that started.
    tasks: u64,
    task_seconds: f64,
    vcpu_seconds: f64,
    gib_seconds: f64,
    /// What was expected before the run.
    planned: Option<Planned>,
}

#[derive(Serialize, ToSchema)]
struct Planned {
    seconds: f64,
    cost: f64,
    /// If each record had a child of its own.
    cost_one_per_child: f64,
}

#[derive(Serialize, ToSchema)]
struct Jobs {
    total: u64,
    ended: u64,
}

#[derive(Serialize, ToSchema)]
struct Reason {
    status: String,
    reason: String,
    count: u64,
    example_row: Option<u32>,
    advice: String,
}

#[derive(Serialize, ToSchema)]
struct Failure {
    stage: String,
    what: String,
    advice: String,
}

#[derive(Serialize, ToSchema)]
struct Reviews {
    total: u64,
    approved: u64,
    overridden: u64,
    open: u64,
}

/// The tier of a submitter.
#[derive(Serialize, ToSchema)]
struct GivenTier {
    submitter: String,
    tier: String,
    #[schema(format = DateTime)]
    since: String,
}

/// How often a predicted label was right.
#[derive(Serialize, ToSchema)]
struct Accuracy {
    label: String,
    reviewed: u64,
    right: u64,
}

#[derive(Serialize, ToSchema)]
struct RowsPage {
    columns: Vec<String>,
    rows: Vec<RowDetails>,
    next: Option<String>,
    facets: Option<Facets>,
    total: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct RowDetails {
    row: u32,
    status: Status,
    error: Option<String>,
    prediction: Option<String>,
    probability: Option<f64>,
    values: BTreeMap<String, Value>,
    review: Option<Review>,
}

#[derive(Serialize, ToSchema)]
struct Facets {
    status: BTreeMap<String, u64>,
    label: BTreeMap<String, u64>,
    verdict: BTreeMap<String, u64>,
}

#[derive(Serialize, ToSchema)]
struct Review {
    verdict: Decided,
    r#final: String,
    reviewer: String,
    #[schema(format = DateTime)]
    time: String,
    /// To be sent with the next verdict on the row.
    version: u32,
}

#[derive(Serialize, ToSchema)]
struct BatchResults {
    results: Vec<BatchResult>,
}

#[derive(Serialize, ToSchema)]
struct BatchResult {
    row: u32,
    review: Option<Review>,
    problem: Option<Problem>,
}

#[derive(Serialize, ToSchema)]
struct FilterAnswer {
    /// The number of rows.
    count: u64,
    /// The id, to undo it.
    filter_verdict: String,
}

#[derive(Serialize, ToSchema)]
struct Prediction {
    label: String,
    probabilities: BTreeMap<String, f64>,
    words: Vec<Word>,
}

#[derive(Serialize, ToSchema)]
struct Word {
    word: String,
    weight: f64,
}

#[derive(Serialize, ToSchema)]
struct FeedbackPage {
    feedback: Vec<Feedback>,
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Feedback {
    text: String,
    prediction: String,
    r#final: String,
    verdict: Decided,
    reviewer: String,
    #[schema(format = DateTime)]
    time: String,
}

/// The answer with its ETag, or 304.
#[derive(IntoResponses)]
enum Unchanged {
    /// Nothing changed since the answer with the ETag in `If-None-Match`.
    #[response(status = 304)]
    NotModified,
}

/// On AWS, files do not go through the function.
#[derive(IntoResponses)]
enum OnAws {
    /// On AWS: the address of the file, which is valid for a short time.
    #[response(status = 302)]
    Found,
}

/// On AWS, an export is built beside the request.
#[derive(IntoResponses)]
enum BuiltOnAws {
    /// On AWS: the export is being built. Ask again with the parameter `export` after `Retry-After` seconds.
    #[response(status = 202)]
    Accepted(ExportStarted),
}

#[derive(Serialize, ToSchema)]
struct ExportStarted {
    export: String,
}

#[derive(Serialize, ToSchema)]
struct Empty {}

// ------------------------------------------------------------------------------------------ routes

/// Who you are.
#[utoipa::path(get, path = "/session", responses((status = 200, description = "The caller.", body = Session)))]
fn session() {}

/// The pipelines.
#[utoipa::path(get, path = "/pipelines", responses(
    (status = 200, description = "The pipelines with the columns that they need, their steps, and what is wrong with a file.", body = Pipelines),
    Unchanged,
))]
fn pipelines() {}

/// Announces an upload.
#[utoipa::path(post, path = "/uploads", request_body = NewUpload, responses(
    (status = 201, description = "Where to send the file.", body = UploadTarget),
))]
fn upload() {}

/// The first records with their results.
#[utoipa::path(post, path = "/preview", request_body = NewPreview, responses(
    (status = 200, description = "The first records. It takes at most 25 seconds; records that are not finished then are `unfinished`.", body = Preview),
))]
fn preview() {}

/// The runs, newest first.
#[utoipa::path(get, path = "/runs", params(runs::Filter), responses(
    (status = 200, description = "A page of runs.", body = Runs),
    Unchanged,
))]
fn list_runs() {}

/// Starts the run of an upload.
#[utoipa::path(post, path = "/runs", request_body = NewRun, responses(
    (status = 202, description = "The run starts.", body = Started),
))]
fn start() {}

/// A run.
#[utoipa::path(get, path = "/runs/{run}", params(("run" = String, Path)), responses(
    (status = 200, description = "State, counts, progress, jobs, reasons, cost and reviews.", body = RunDetails),
    Unchanged,
))]
fn show() {}

/// Deletes a run with everything that is kept of it.
#[utoipa::path(delete, path = "/runs/{run}", params(("run" = String, Path)), responses(
    (status = 204, description = "It is deleted."),
))]
fn remove() {}

/// The result workbook.
#[utoipa::path(get, path = "/runs/{run}/workbook", params(("run" = String, Path)), responses(
    (status = 200, description = "The workbook.", body = Vec<u8>, content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    OnAws,
))]
fn workbook() {}

/// Stops a run. What is done is delivered.
#[utoipa::path(post, path = "/runs/{run}/cancel", params(("run" = String, Path)), responses(
    (status = 202, description = "The run stops.", body = Empty),
))]
fn cancel() {}

/// Processes rows of a run again, as another run.
#[utoipa::path(post, path = "/runs/{run}/retry", params(("run" = String, Path)), request_body = NewRetry, responses(
    (status = 202, description = "The retry starts.", body = Started),
))]
fn retry() {}

/// Rows of a run that has ended.
#[utoipa::path(get, path = "/runs/{run}/rows", params(("run" = String, Path), rows::Page), responses(
    (status = 200, description = "A page of rows.", body = RowsPage),
    Unchanged,
))]
fn list_rows() {}

/// The prediction is right.
#[utoipa::path(post, path = "/runs/{run}/rows/{row}/approve", params(("run" = String, Path), ("row" = u32, Path)), request_body = Seen, responses(
    (status = 200, description = "The review.", body = Option<Review>),
))]
fn approve() {}

/// Another value is right.
#[utoipa::path(post, path = "/runs/{run}/rows/{row}/override", params(("run" = String, Path), ("row" = u32, Path)), request_body = NewValue, responses(
    (status = 200, description = "The review.", body = Option<Review>),
))]
fn override_() {}

/// The last verdict does not count.
#[utoipa::path(post, path = "/runs/{run}/rows/{row}/undo", params(("run" = String, Path), ("row" = u32, Path)), request_body = Seen, responses(
    (status = 200, description = "The review before it, or null.", body = Option<Review>),
))]
fn undo() {}

/// Up to 100 verdicts, each with its own result.
#[utoipa::path(post, path = "/runs/{run}/reviews", params(("run" = String, Path)), request_body = Batch, responses(
    (status = 200, description = "The results, in order.", body = BatchResults),
))]
fn verdicts() {}

/// One verdict on all rows that a filter matches now.
#[utoipa::path(post, path = "/runs/{run}/reviews/filter", params(("run" = String, Path)), request_body = NewFilter, responses(
    (status = 201, description = "The verdict.", body = FilterAnswer),
))]
fn filter() {}

/// Undoes a verdict on a filter.
#[utoipa::path(delete, path = "/runs/{run}/reviews/filter/{id}", params(("run" = String, Path), ("id" = String, Path)), responses(
    (status = 204, description = "It is undone."),
))]
fn undo_filter() {}

/// The reviewed rows as csv.
#[utoipa::path(get, path = "/runs/{run}/export.csv", params(("run" = String, Path), Wanted), responses(
    (status = 200, description = "The rows.", body = String, content_type = "text/csv"),
    OnAws,
    BuiltOnAws,
))]
fn export_csv() {}

/// The reviewed rows as JSON Lines.
#[utoipa::path(get, path = "/runs/{run}/export.jsonl", params(("run" = String, Path), Wanted), responses(
    (status = 200, description = "The rows.", body = String, content_type = "application/jsonl"),
    OnAws,
    BuiltOnAws,
))]
fn export_jsonl() {}

/// The reviewed rows as a workbook.
#[utoipa::path(get, path = "/runs/{run}/export.xlsx", params(("run" = String, Path), Wanted), responses(
    (status = 200, description = "The workbook.", body = Vec<u8>, content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    OnAws,
    BuiltOnAws,
))]
fn export_xlsx() {}

/// The label of a text.
#[utoipa::path(post, path = "/predict", request_body = NewPrediction, responses(
    (status = 200, description = "The label, the probability of each label, and the words that contribute most.", body = Prediction),
))]
fn predict() {}

/// Gives a submitter a tier, from the next upload on.
#[utoipa::path(put, path = "/submitters/{address}/tier", params(("address" = String, Path, description = "The email address of the submitter.")), request_body = NewTier, responses(
    (status = 200, description = "The submitter has the tier.", body = GivenTier),
))]
fn set_tier() {}

/// What people said about predictions.
#[utoipa::path(get, path = "/feedback", params(feedback::Page), responses(
    (status = 200, description = "A page of feedback.", body = FeedbackPage),
))]
fn list_feedback() {}

/// Whether the label of a text is right.
#[utoipa::path(post, path = "/feedback", request_body = NewFeedback, responses(
    (status = 201, description = "The feedback as it is stored.", body = Feedback),
))]
fn give_feedback() {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::ROUTES;

    fn file() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
    }

    #[test]
    fn the_document_has_every_route() {
        let mut routes: Vec<(String, String)> = ROUTES
            .iter()
            .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let mut described: Vec<(String, String)> = paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (method.clone(), path.clone()))
            })
            .collect();
        routes.sort();
        described.sort();
        assert_eq!(described, routes);

        // Every reference leads somewhere.
        let text = document.to_string();
        for part in text.split("\"#/components/").skip(1) {
            let path = part.split('"').next().unwrap();
            let found = document.pointer(&format!("/components/{path}"));
            assert!(found.is_some(), "{path}");
        }
    }

    #[test]
    fn the_file_is_the_document() {
        let text = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("ROWMILL_BLESS").is_some() {
            std::fs::write(file(), &text).unwrap();
        }
        let stored = std::fs::read_to_string(file()).unwrap_or_default();
        assert!(
            stored == text,
            "docs/openapi.json is stale. Run `ROWMILL_BLESS=1 cargo test -p rowmill-api --features \
             openapi openapi`."
        );
    }
}
