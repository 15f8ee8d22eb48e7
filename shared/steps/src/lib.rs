//! The step kinds of a pipeline, and how each processes a record.
//!
//! [`runner`] sets up a step once per child; [`Runner::run`] is then called for each record, several
//! at a time. A step never fails because of a record: whatever goes wrong is reported in the
//! record's row.
//!
//! | module | step |
//! |---|---|
//! | `http` | sends a request and extracts outputs from the response |
//! | `command` | runs a program that reads and writes JSON Lines |
//! | `sentiment`, `language`, `classify` | analyze a text offline |
//! | `translate` | translates a text with a service |
//!
//! All requests pass the address guard ([`Guard`]), which refuses private addresses. A host gets
//! requests at the step's rate (`rate_limiter`) and only as many concurrent requests as it can handle
//! (`http::host_limiter`). What steps need from outside is in [`StepDeps`].
//!
//! The terms are defined in `docs/glossary.md`.

mod answers;
mod cache;
mod classify;
mod command;
#[cfg(test)]
mod cpu_time;
mod digits;
mod guard;
mod http;
mod language;
mod pacer;
mod predict;
mod rate_limiter;
mod redacting;
mod sentiment;
mod timestamps;
mod translate;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::record::Outputs;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Row, Value};
use rowmill_pipeline::{Step, StepKind};
use tokio::time::Instant;

pub use answers::Answers;
pub use guard::{Guard, GuardError, Refused, refused_range};
#[cfg(feature = "fuzzing")]
pub use http::fuzzing;
pub use predict::{PredictError, labels, predict};
pub use rate_limiter::Permits;
pub use translate::{Limit, Translation, TranslationError, Translator};

/// A step that is ready to process records.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Processes a record. Called for several records at once, each with a different row number. The
    /// step stays usable if a call is dropped before it returns.
    async fn run(&self, row: Row<'_>) -> StepResult;

    /// Ends programs and closes connections after the last record. If the step is dropped instead,
    /// its programs are killed.
    async fn close(&self);
}

/// The result of a step for one record.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The columns that the step adds, without those that have no value; or the reason of the
    /// failure, for the row's `error`.
    pub outputs: Result<Outputs, String>,
    /// Number of attempts, at least 1.
    pub attempts: u32,
    /// Texts for the row's `error` although the record is `ok`, such as why an output is empty.
    pub notes: Vec<String>,
}

impl StepResult {
    /// The input text of a step. Without text, the result of the record: the columns `adds` stay
    /// empty, and the row says why.
    fn input_text(row: Row<'_>, column: &str, adds: &[&str]) -> Result<String, StepResult> {
        let text = row.get(column).map(Value::to_text);
        text.filter(|t| !t.trim().is_empty()).ok_or_else(|| {
            let adds = adds.join(" and ");
            StepResult::empty(format!("{adds} not set: column `{column}` is empty"))
        })
    }

    /// An `ok` record without the step's columns, and a note that says why.
    fn empty(note: String) -> StepResult {
        StepResult {
            notes: vec![note],
            ..StepResult::ok(Vec::new(), 1)
        }
    }

    pub(crate) fn ok(outputs: Outputs, attempts: u32) -> StepResult {
        StepResult {
            outputs: Ok(outputs),
            attempts,
            notes: Vec::new(),
        }
    }

    pub(crate) fn failed(reason: impl Into<String>, attempts: u32) -> StepResult {
        StepResult {
            outputs: Err(reason.into()),
            attempts,
            notes: Vec::new(),
        }
    }
}

/// What a step needs from the child that runs it.
#[derive(Clone)]
pub struct StepDeps {
    /// Records processed at a time, at least 1.
    pub concurrency: usize,
    /// The working directory of programs and the base of relative paths: the pipeline's directory.
    pub directory: PathBuf,
    /// The values of the secrets that the pipeline declares.
    pub secrets: Arc<Secrets>,
    /// The values of the run's parameters.
    pub parameters: Arc<ParameterValues>,
    /// Amazon Translate; `None` without AWS.
    pub amazon: Option<Arc<dyn Translator>>,
    /// Rate permits that the children of all runs share. Without them, a rate applies to this child
    /// alone.
    pub permits: Option<Arc<dyn Permits>>,
    /// When the child's time limit ends it. A record that would have to wait for longer because of a
    /// `Crawl-delay` fails at once. `None`: it waits.
    pub deadline: Option<Instant>,
    /// Answers that the children of a run share. Without them, translations and responses are cached
    /// in this child alone.
    pub answers: Option<Arc<dyn Answers>>,
}

impl StepDeps {
    /// Dependencies without secrets, AWS, and anything shared with other children.
    pub fn new(concurrency: usize, directory: impl Into<PathBuf>) -> StepDeps {
        StepDeps {
            concurrency,
            directory: directory.into(),
            secrets: Arc::default(),
            parameters: Arc::default(),
            amazon: None,
            permits: None,
            deadline: None,
            answers: None,
        }
    }
}

/// Why a step cannot be set up: a problem of the pipeline or of the machine, not of a record.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An expression of an `http` output is invalid.
    #[error("output `{output}`: invalid {language} `{expression}`: {message}")]
    Expression {
        /// The column of the output.
        output: String,
        /// The expression as written in the pipeline.
        expression: String,
        /// The language of the expression, such as `JSONPath`.
        language: &'static str,
        /// What is wrong with the expression.
        message: String,
    },
    /// The name of a header is invalid.
    #[error("invalid HTTP header name `{0}`")]
    Header(String),
    /// An entry of `allow_hosts` is not a host.
    #[error(transparent)]
    AllowHosts(#[from] GuardError),
    /// The URL of the `proxy` is invalid.
    #[error("proxy: {0}; write a URL such as \"http://proxy.example:3128\"")]
    Proxy(String),
    /// A template of `auth` fails, or its URL is invalid.
    #[error("auth: {0}")]
    Auth(String),
    /// `ca` does not contain a certificate.
    #[error("ca: invalid PEM certificate: {0}")]
    Certificate(String),
    /// The HTTP client cannot be set up, for example because the machine has no root certificates.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
    /// An entry of `languages` cannot be detected.
    #[error("languages: `{code}` cannot be detected; supported: {known}")]
    Language {
        /// The entry as written.
        code: String,
        /// All languages that can be detected.
        known: String,
    },
    /// The model of a `classify` step is missing or invalid.
    #[error("model {file}: {source}")]
    Model {
        /// The path of the model.
        file: String,
        /// What is wrong, and what to do.
        source: rowmill_classify::ModelError,
    },
    /// The `service` of a `translate` step cannot be used.
    #[error("service: {0}")]
    Service(String),
    /// A `translate` step uses Amazon Translate on a machine without AWS.
    #[error(
        "service \"amazon\" is Amazon Translate, which is available only on AWS; on this machine, use a server with LibreTranslate's API: service = {{ url = \"http://localhost:5000\", allow_hosts = [\"localhost\"] }}"
    )]
    NoAmazon,
    /// An argument of a `command` step is a parameter without a value.
    #[error("the parameter `{0}` has no value")]
    Parameter(String),
    /// The program of a `command` step does not exist.
    #[error(
        "program `{program}` not found in {searched}; install it, or write its path (relative to {directory})"
    )]
    ProgramNotFound {
        /// The program as written.
        program: String,
        /// The directory that was searched, or `PATH`.
        searched: String,
        /// The base of relative paths.
        directory: String,
    },
}

/// Sets up a step. The results of the returned runner never contain the value of a secret.
///
/// # Errors
/// The step cannot be set up; this is known before the first record.
pub fn runner(step: &Step, deps: &StepDeps) -> Result<Box<dyn Runner>, SetupError> {
    let runner = build(step, deps)?;
    Ok(if deps.secrets.is_empty() {
        runner
    } else {
        Box::new(redacting::Redacting {
            inner: runner,
            secrets: deps.secrets.clone(),
        })
    })
}

fn build(step: &Step, deps: &StepDeps) -> Result<Box<dyn Runner>, SetupError> {
    Ok(match &step.kind {
        StepKind::Http(http) => Box::new(http::Http::new(http, deps)?),
        StepKind::Command(command) => Box::new(command::Command::new(command, deps)?),
        StepKind::Classify(classify) => Box::new(classify::Classify::new(classify, deps)?),
        StepKind::Language(language) => Box::new(language::Language::new(language)?),
        StepKind::Translate(translate) => Box::new(translate::Translate::new(translate, deps)?),
        StepKind::Sentiment(sentiment) => Box::new(sentiment::Sentiment::new(sentiment)),
    })
}

/// Puts `text` on one line and truncates it to `max` characters.
pub(crate) fn truncate(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.trim().chars().enumerate() {
        if i == max {
            out.push_str("...");
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
