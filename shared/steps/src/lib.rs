//! The step kinds: what is done to each record.
//!
//! [`runner`] builds a step once per child; [`Runner::run`] is then called for each record, for
//! several at once. Nothing that happens to a record is an error of the step: it is the reason
//! in the record's row.

mod answers;
mod cache;
mod classify;
mod command;
mod digits;
mod guard;
mod http;
mod language;
mod pace;
mod redacting;
mod sentiment;
mod translate;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::record::Outputs;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Row, Value};
use rowmill_pipeline::{Step, StepKind};

pub use answers::Answers;
pub use translate::{Limit, Translation, Translator, Untranslated};

pub use guard::{Guard, GuardError, Refused, refused_range};
pub use turns::Turns;

/// A step, ready to work on records.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Works on a record. Called for several records at once, each with a row number of its own.
    /// A call that is dropped before it ends leaves the step usable.
    async fn run(&self, row: Row<'_>) -> StepResult;

    /// Ends programs and gives sockets back; no more records follow. What a step leaves running
    /// when it is dropped instead is killed.
    async fn close(&self);
}

/// What a step made of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The columns it adds, those without a value left out; or why there are none, for the row's
    /// `error`.
    pub outputs: Result<Outputs, String>,
    /// How often it was tried; 1 where nothing was tried twice.
    pub attempts: u32,
    /// What the row's `error` should say although the record is `ok`, as why an output is empty.
    pub notes: Vec<String>,
}

impl StepResult {
    /// The text that a step works on, or the result of a record without one: the cells stay
    /// empty, and the row says why. `adds` are the columns that it misses.
    fn text(row: Row<'_>, column: &str, adds: &[&str]) -> Result<String, StepResult> {
        let text = row.get(column).map(Value::to_text);
        text.filter(|t| !t.trim().is_empty()).ok_or_else(|| {
            let adds = adds.join(" and ");
            StepResult::none(format!("no {adds}: column `{column}` is empty"))
        })
    }

    /// The record stays `ok` without the step's columns, and its row says why.
    fn none(why: String) -> StepResult {
        StepResult {
            notes: vec![why],
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

/// What a step needs to know of its surroundings.
#[derive(Clone)]
pub struct Setup {
    /// Records at once; at least 1.
    pub concurrency: usize,
    /// Where programs run and relative paths start: the pipeline's directory.
    pub directory: PathBuf,
    /// The secrets that the pipeline declares, with their values.
    pub secrets: Arc<Secrets>,
    /// The run's values of the parameters that uploads give.
    pub parameters: Arc<ParameterValues>,
    /// Amazon Translate; `None` on a machine that has no AWS.
    pub amazon: Option<Arc<dyn Translator>>,
    /// Turns for requests that the children of all runs share. Without them a rate holds for this
    /// child alone.
    pub turns: Option<Arc<dyn Turns>>,
    /// Answers that all children of a run share. Without them a text is translated, and a
    /// response kept, for this child alone.
    pub answers: Option<Arc<dyn Answers>>,
}

impl Setup {
    /// Surroundings without secrets and without a service of AWS.
    pub fn new(concurrency: usize, directory: impl Into<PathBuf>) -> Setup {
        Setup {
            concurrency,
            directory: directory.into(),
            secrets: Arc::default(),
            parameters: Arc::default(),
            amazon: None,
            turns: None,
            answers: None,
        }
    }
}

/// A step that cannot be set up: nothing about a record, but about the pipeline or the machine.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An expression of an `http` output does not parse.
    #[error("output `{output}`: `{expression}` is no {language}: {message}")]
    Expression {
        /// The output's column.
        output: String,
        /// The expression as written.
        expression: String,
        /// `JSONPath` or `CSS selector`.
        language: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A name or value that cannot be a header.
    #[error("header `{0}` is not a valid HTTP header name")]
    Header(String),
    /// An entry of `allow_hosts` is no host.
    #[error(transparent)]
    AllowHosts(#[from] GuardError),
    /// A `proxy` that is none.
    #[error("`proxy`: {0}; write it like \"http://proxy.example:3128\"")]
    Proxy(String),
    /// A `ca` that holds no certificate.
    #[error("`ca` holds no certificate in PEM: {0}")]
    Certificate(String),
    /// The HTTP client cannot be built, as where the machine has no certificates.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// An entry of `languages` that no text can be told to be.
    #[error("languages: `{code}` cannot be told; these can: {known}")]
    Language {
        /// As written.
        code: String,
        /// All that can be told.
        known: String,
    },
    /// The model of a `classify` step is not there, or is no model.
    #[error("model {file}: {why}")]
    Model {
        /// Where it was looked for.
        file: String,
        /// What is wrong, and what to do.
        why: rowmill_classify::ModelError,
    },
    /// The `service` of a `translate` step cannot be asked.
    #[error("service: {0}")]
    Service(String),
    /// A `translate` step asks for Amazon Translate where there is none.
    #[error(
        "service \"amazon\" is Amazon Translate, which only children on AWS can reach; here, name a server that speaks LibreTranslate's protocol: service = {{ url = \"http://localhost:5000\", allow_hosts = [\"localhost\"] }}"
    )]
    NoAmazon,
    /// An argument of a `command` step is a parameter of which there is no value.
    #[error("the parameter `{0}` has no value")]
    Parameter(String),
    /// The program of a `command` step does not exist.
    #[error(
        "program `{program}` was not found in {searched}; install it, or name it with its path (relative to {directory})"
    )]
    ProgramNotFound {
        /// As written.
        program: String,
        /// Where it was looked for.
        searched: String,
        /// Where relative paths start.
        directory: String,
    },
}

/// Builds a step. What is wrong with it is told here, before the first record. Whatever it makes
/// of a record holds no value of a secret.
pub fn runner(step: &Step, setup: &Setup) -> Result<Box<dyn Runner>, SetupError> {
    let runner = bare(step, setup)?;
    Ok(if setup.secrets.is_empty() {
        runner
    } else {
        Box::new(redacting::Redacting {
            inner: runner,
            secrets: setup.secrets.clone(),
        })
    })
}

fn bare(step: &Step, setup: &Setup) -> Result<Box<dyn Runner>, SetupError> {
    Ok(match &step.kind {
        StepKind::Http(http) => Box::new(http::Http::new(http, setup)?),
        StepKind::Command(command) => Box::new(command::Command::new(command, setup)?),
        StepKind::Classify(classify) => Box::new(classify::Classify::new(classify, setup)?),
        StepKind::Language(language) => Box::new(language::Language::new(language)?),
        StepKind::Translate(translate) => Box::new(translate::Translate::new(translate, setup)?),
        StepKind::Sentiment(sentiment) => Box::new(sentiment::Sentiment::new(sentiment)),
    })
}

/// `text` on one line and at most `max` characters long, for a cell.
pub(crate) fn brief(text: &str, max: usize) -> String {
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
