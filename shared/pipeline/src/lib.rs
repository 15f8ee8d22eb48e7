//! The pipeline file: what a TOML file says is done to each record.

mod built_in;
mod check;
mod embedded;
mod error;
pub mod expr;
mod keys;
mod mentions;
pub mod names;
mod parameters;
mod parse;
mod phases;
mod pipeline;
pub mod plan;
mod reference;
pub mod secrets;
mod step;
pub mod template;
#[cfg(test)]
mod tests;

pub use built_in::{BUILT_IN, built_in};
pub use check::{RESULT_COLUMNS, result_headers};
pub use embedded::{EmbeddedPipelineError, from_manifest};
pub use error::PipelineError;
pub use expr::Expr;
pub use parameters::{Parameter, ParameterRule, ParameterSource};
pub use pipeline::{
    BatchSettings, Check, DerivedColumn, Input, Notify, OnFailure, Pipeline, ReportSpec,
    read_limits,
};
pub use plan::Plan;
pub use step::{
    Argument, ClassifyStep, ClassifyWords, CommandStep, Extract, Fetch, FetchKind, HttpMethod,
    HttpOutput, HttpStep, LanguageStep, NextPage, Pages, ProcessPer, SentimentStep, Step, StepKind,
    TranslateServer, TranslateService, TranslateStep,
};
pub use template::Template;
