//! The pipeline file: a TOML file that says what to do with each record of a workbook.
//!
//! [`Pipeline::parse`] reads and compiles a whole file, and reports every error with its position.
//! After that, templates, expressions and references to columns are known to be valid, so a record
//! can fail only because of its values.
//!
//! | module | content |
//! |---|---|
//! | `pipeline`, `step` | the parsed file: sections and kinds of steps |
//! | `parse` | TOML to [`Pipeline`], with the position of every error |
//! | `keys` | the table of all keys, from which parser, reference and schema are derived |
//! | [`expr`] | rules and derived columns: CEL, in which missing is never a value |
//! | [`template`] | URLs, headers and bodies: minijinja, in which missing is never a value |
//! | `check` | column names against the header of a workbook |
//! | `parameters`, [`secrets`] | values from uploads and from the environment |
//! | `phases`, `work` | steps grouped by container; what they ask of the planner |
//! | `compare` | how two pipelines differ |
//! | `embedded` | the pipeline that a run's manifest embeds |
//! | `reference` | generates `docs/pipeline.md` and `docs/pipeline.schema.json` |
//!
//! ```
//! use rowmill_domain::record::{Columns, Record, Row};
//! use rowmill_domain::Value;
//! use rowmill_pipeline::{Pipeline, StepKind};
//!
//! let pipeline = Pipeline::parse(
//!     "tax.toml",
//!     r#"
//!     [[step]]
//!     kind = "http"
//!     url = "https://tax.example.gov/parcels/{{ row['Customer ID'] | urlencode }}"
//!     [step.outputs]
//!     tax_due = { json = "$.due", type = "number" }
//!
//!     [[column]]
//!     name = "credit_worthy"
//!     value = "tax_due < 1000 ? 'yes' : 'no'"
//!     "#,
//! )
//! .unwrap();
//! assert_eq!(pipeline.added_columns(), ["tax_due", "credit_worthy"]);
//!
//! let columns = Columns::new(["Customer ID"]);
//! let record = Record { row: 2, values: vec![Some(Value::from("C/17"))] };
//! let row = Row { columns: &columns, record: &record, outputs: &[] };
//! let StepKind::Http(http) = &pipeline.steps[0].kind else { unreachable!() };
//! assert_eq!(http.url.render(row).unwrap(), "https://tax.example.gov/parcels/C%2F17");
//! ```
//!
//! The terms are defined in `docs/glossary.md`.

mod built_in;
mod check;
mod compare;
mod embedded;
mod error;
pub mod expr;
mod keys;
mod locale;
mod mentions;
pub mod names;
mod parameters;
mod parse;
mod phases;
mod pipeline;
mod reference;
mod resubmitted;
pub mod secrets;
mod step;
pub mod template;
#[cfg(test)]
mod tests;
mod work;

pub use built_in::{BUILT_IN, built_in};
pub use check::{FINAL_COLUMN, RESULT_COLUMNS, final_column, result_headers};
pub use compare::{Changes, ColumnChange, compare};
pub use embedded::{EmbeddedPipelineError, from_manifest, whole_from_manifest};
pub use error::PipelineError;
pub use expr::Expr;
pub use locale::{LocalNumber, Locale, Unit};
pub use parameters::{Parameter, ParameterRule, ParameterSource};
pub use pipeline::{
    BatchSettings, Check, DerivedColumn, Input, Notify, OnFailure, Pipeline, ReportSpec,
    ReviewSpec, Tolerance, read_limits,
};
pub use resubmitted::{REJECTED_COLUMNS, Resubmitted};
pub use step::{
    Argument, Auth, ClassifyStep, ClassifyWords, CommandStep, CookieScope, Extract, Fetch,
    FetchKind, HttpMethod, HttpOutput, HttpStep, LanguageStep, NextPage, Pages, ProcessPer,
    RETRY_ON, SentimentStep, Step, StepKind, TranslateServer, TranslateService, TranslateStep,
};
pub use template::Template;
