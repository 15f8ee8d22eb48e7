//! A parsed pipeline file: all sections except the steps.

use std::fmt;
use std::time::Duration;

use rowmill_domain::index::ReviewedColumn;
use rowmill_domain::job::{Capacity, Resources};
use rowmill_domain::limits::NEW_TABLE_WRITES;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Delimiter, Kind, SheetRef};

use crate::expr::Expr;
use crate::keys;
use crate::locale::Locale;
use crate::mentions::Mentions;
use crate::parameters::{self, Parameter};
use crate::secrets::{self, Secret, UnusableSecret};
use crate::step::{SENTIMENT_OUTPUTS, Step, StepKind};

/// A parsed and compiled pipeline file, with the default for every key that the file leaves out.
///
/// ```
/// use rowmill_pipeline::Pipeline;
///
/// let error = Pipeline::parse("p.toml", "[batch]\nvcpus = 1\n").unwrap_err();
/// assert_eq!(error.one_line(), "p.toml:2:1: unknown key `vcpus`; did you mean `vcpu`?");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// One sentence that says what the pipeline is for.
    pub description: Option<String>,
    /// The secrets that steps can use.
    pub secrets: Vec<Secret>,
    /// The parameters for arguments of programs, in the order of the file.
    pub parameters: Vec<Parameter>,
    /// Which sheet and columns to read.
    pub input: Input,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Rules that each record must pass after the steps.
    pub checks: Vec<Check>,
    /// Derived columns, computed after the checks.
    pub columns: Vec<DerivedColumn>,
    /// The column that people review.
    pub review: Option<ReviewSpec>,
    /// Settings of the result workbook.
    pub report: ReportSpec,
    /// Who receives the email.
    pub notify: Notify,
    /// How the work is distributed over children.
    pub batch: BatchSettings,
    /// Whether the results of all steps exist already: only checks and columns are evaluated.
    pub steps_done: bool,
    /// The columns that the file mentions, for [`Pipeline::check_columns`].
    pub(crate) mentions: Mentions,
}

/// `[input]`: which sheet and columns to read.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The sheet. `None`: the first visible one.
    pub sheet: Option<SheetRef>,
    /// Columns that must have a value. Rows without one are rejected.
    pub required: Vec<String>,
    /// Columns that together identify a row. Later rows with the same values are rejected.
    pub key: Vec<String>,
    /// The types of columns, in the order of the file.
    pub types: Vec<(String, Kind)>,
    /// How texts in columns with a type are written. `None`: as [`rowmill_domain::Value::parse`]
    /// describes.
    pub locale: Option<&'static Locale>,
    /// The locales of columns that differ from it.
    pub locales: Vec<(String, &'static Locale)>,
    /// The row number of the header, from 1. `None`: it is detected.
    pub header_row: Option<u32>,
    /// What separates the values of csv and tsv files. `None`: it is detected.
    pub delimiter: Option<Delimiter>,
    /// Whether to skip hidden rows, in formats that mark them.
    pub skip_hidden_rows: bool,
    /// The limits that the file changes, by the names of [`read_limits`].
    pub limits: Vec<(&'static str, u64)>,
}

impl Input {
    /// The locale of a column.
    pub fn locale_of(&self, column: &str) -> Option<&'static Locale> {
        let mut own = self.locales.iter();
        let own = own.find(|(name, _)| name == column);
        own.map(|(_, locale)| *locale).or(self.locale)
    }
}

/// Returns the names of the limits in `[input.limits]` with their documented defaults.
pub fn read_limits() -> impl Iterator<Item = (&'static str, &'static str)> {
    let keys = keys::LIMITS.keys.iter();
    keys.map(|key| (key.name, key.default.unwrap_or_default()))
}

impl Pipeline {
    /// Returns the pipeline for records whose steps are all done. It has one phase without steps, and
    /// needs no image, secret or model.
    pub fn after_steps(mut self) -> Pipeline {
        self.steps_done = true;
        self.secrets.clear();
        self
    }

    /// Returns the values of the parameters that an upload can set: those in `given`, and defaults.
    ///
    /// # Errors
    /// One message for each unknown or fixed parameter, invalid value and missing value.
    pub fn parameter_values(
        &self,
        given: &ParameterValues,
    ) -> Result<ParameterValues, Vec<String>> {
        parameters::values(&self.parameters, given)
    }

    /// Returns the usable values of the secrets that the pipeline declares, and the secrets that
    /// cannot be used. Values that the pipeline does not declare are left out.
    pub fn secret_values(&self, all: &Secrets) -> (Secrets, Vec<UnusableSecret>) {
        secrets::usable(&self.secrets, all)
    }

    /// Returns the columns of the workbook that the pipeline mentions, in order and without
    /// duplicates.
    pub fn input_columns(&self) -> Vec<String> {
        let added = self.added_columns();
        let mut names: Vec<String> = Vec::new();
        for mention in &self.mentions.all {
            let name = &*mention.name;
            if !added.iter().chain(&names).any(|n| n == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Returns the columns that steps and `[[column]]` add, in order and without duplicates.
    pub fn added_columns(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let steps = self.steps.iter().flat_map(|s| s.outputs());
        for name in steps.chain(self.columns.iter().map(|c| c.name.as_str())) {
            if !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// `[[check]]`: a rule that each record must pass after the steps.
#[derive(Clone, Debug)]
pub struct Check {
    /// True if the record passes. A record for which it cannot be evaluated does not pass.
    pub rule: Expr,
    /// What happens to a record that does not pass.
    pub on_failure: OnFailure,
}

/// `on_failure` of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The row is `failed`.
    Fail,
    /// The row stays `ok`, with a warning in `error`.
    Warn,
}

/// `[[column]]`: a column computed from other columns.
#[derive(Clone, Debug)]
pub struct DerivedColumn {
    /// The header of the column.
    pub name: String,
    /// The value. If it cannot be evaluated, the cell is empty.
    pub value: Expr,
}

/// `[[review]]`: the column whose values people review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewSpec {
    /// The column.
    pub column: String,
    /// The values that a reviewer can choose. Empty: those of the model.
    pub labels: Vec<String>,
    /// Who may review. Empty: everybody who may review.
    pub reviewers: Vec<String>,
}

impl Pipeline {
    /// Returns the reviewed column and the column with its probability.
    pub fn reviewed_column(&self) -> Option<ReviewedColumn> {
        let review = self.review.as_ref()?;
        let probability = self.steps.iter().find_map(|step| match &step.kind {
            StepKind::Classify(step) if step.label == review.column => {
                Some(step.probability.clone())
            }
            _ => None,
        });
        Some(ReviewedColumn {
            column: review.column.clone(),
            probability,
        })
    }
}

impl Pipeline {
    /// Returns the values that a column can have, if its step fixes them.
    pub fn fixed_labels(&self, column: &str) -> Vec<String> {
        let is_sentiment = |step: &Step| matches!(step.kind, StepKind::Sentiment(_));
        match self.steps.iter().any(is_sentiment) && column == SENTIMENT_OUTPUTS[0] {
            true => ["negative", "neutral", "positive"]
                .map(str::to_owned)
                .into(),
            false => Vec::new(),
        }
    }
}

/// `[report]`: settings of the result workbook.
#[derive(Clone, Debug, Default)]
pub struct ReportSpec {
    /// The column whose values are counted and charted on the sheet Summary.
    pub chart: Option<String>,
    /// The columns whose URLs and mail addresses become links.
    pub links: Vec<String>,
}

/// `[notify]`: who receives the email.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// Mail addresses. Empty: the default recipient of the deployment.
    pub to: Vec<String>,
}

/// How many records may be bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// A share, 0 to 1.
    Share(f64),
    /// A number.
    Count(u64),
}

impl Tolerance {
    /// Whether `bad` of `all` records are more than this.
    pub fn is_exceeded(self, bad: u64, all: u64) -> bool {
        match self {
            // Rounded to a millionth of a record: 5% of 100 are 5.
            Tolerance::Share(share) => bad as f64 > share * all as f64 + 1e-6,
            Tolerance::Count(count) => bad > count,
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Without the error of the division.
            Tolerance::Share(share) => write!(f, "{}%", (share * 1e8).round() / 1e6),
            Tolerance::Count(count) => write!(f, "{count}"),
        }
    }
}

/// `[batch]`: how the work is distributed over children.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSettings {
    /// Expected seconds of processing per record, above 0. Default 0.01.
    pub seconds_per_record: f64,
    /// Records that a child processes at the same time, 1 to 1,000. Default 16.
    pub concurrency: u32,
    /// Maximum number of children of one phase over all chunks, at least 1. `None`: no limit.
    pub max_children: Option<u32>,
    /// The number of records of each child, at least 1. `None`: the planner chooses.
    pub records_per_child: Option<u32>,
    /// The time in which the run should end. `None`: no target.
    pub within: Option<Duration>,
    /// The most records of a run. `None`: no limit.
    pub max_records: Option<u32>,
    /// The most that a run may cost, in USD. `None`: no limit.
    pub max_cost: Option<f64>,
    /// The most records that may fail before the run is stopped, of those processed. `None`: no limit.
    pub stop_after: Option<Tolerance>,
    /// The most records that may be failed or missing in the end, of all. `None`: no limit.
    pub tolerate: Option<Tolerance>,
    /// What the sizes are for. [`Capacity::Fargate`]: they run on any deployment. [`Capacity::Ec2`]:
    /// only on a deployment with EC2 instances. Default: Fargate.
    pub capacity: Capacity,
    /// What a child gets, unless a step says otherwise: a size in
    /// [`rowmill_domain::limits::FARGATE_SIZES`], or with [`Capacity::Ec2`] a whole number of vCPUs and
    /// any memory. Default [`Resources::SMALLEST`].
    pub resources: Resources,
    /// Jobs with a higher priority start first, 0 to 9,999. Default 0.
    pub priority: u32,
    /// Maximum number of attempts of a child, 1 to 10. Default 10: only faults of the machine or a
    /// service are retried.
    pub attempts: u32,
    /// Time limit for one attempt of a child in seconds, at least 60. Default 3,600.
    pub timeout_seconds: u32,
    /// The most writes per second for which the run's table is prepared when it is created. AWS
    /// charges those above the default, [`rowmill_domain::limits::NEW_TABLE_WRITES`], for each run.
    pub table_writes: u32,
}

impl Default for BatchSettings {
    fn default() -> BatchSettings {
        BatchSettings {
            seconds_per_record: 0.01,
            concurrency: 16,
            max_children: None,
            records_per_child: None,
            within: None,
            max_records: None,
            max_cost: None,
            stop_after: None,
            tolerate: None,
            capacity: Capacity::Fargate,
            resources: Resources::SMALLEST,
            priority: 0,
            attempts: 10,
            timeout_seconds: 3600,
            table_writes: NEW_TABLE_WRITES,
        }
    }
}
