//! What a pipeline file says, but for its steps.

use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Kind, SheetRef};

use crate::expr::Expr;
use crate::keys;
use crate::mentions::Mentions;
use crate::parameters::{self, Parameter};
use crate::secrets::{self, Secret, UnusableSecret};
use crate::step::Step;

/// A pipeline, read and compiled: every template and expression in it is known to parse.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// The secrets that its steps may use.
    pub secrets: Vec<Secret>,
    /// Texts for the arguments of programs, in the order of the file.
    pub parameters: Vec<Parameter>,
    /// Which sheet and columns come in.
    pub input: Input,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Rules on the outputs, after the steps.
    pub checks: Vec<Check>,
    /// Derived columns, after the checks.
    pub columns: Vec<DerivedColumn>,
    /// The result workbook.
    pub report: ReportSpec,
    /// Who gets the mail.
    pub notify: Notify,
    /// How the work is spread.
    pub batch: BatchSettings,
    /// The columns it mentions, with their places.
    pub(crate) mentions: Mentions,
}

/// `[input]`
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Default: the first visible sheet.
    pub sheet: Option<SheetRef>,
    /// Columns whose value must be present.
    pub required: Vec<String>,
    /// Columns that together are unique; later duplicates are rejected.
    pub key: Vec<String>,
    /// Types per column, in the order of the file.
    pub types: Vec<(String, Kind)>,
    /// The header's row in the sheet, from 1; default: found.
    pub header_row: Option<u32>,
    /// Whether hidden rows stay out, where the file tells them.
    pub skip_hidden_rows: bool,
    /// Limits of reading other than the defaults, by the names of [`read_limits`].
    pub limits: Vec<(&'static str, u64)>,
}

/// The limits that `[input.limits]` may name, with their defaults as the reference tells them.
pub fn read_limits() -> impl Iterator<Item = (&'static str, &'static str)> {
    let keys = keys::LIMITS.keys.iter();
    keys.map(|key| (key.name, key.default.unwrap_or_default()))
}

impl Pipeline {
    /// The values of the parameters that an upload may give, from what it gives and the defaults.
    ///
    /// # Errors
    /// All that is wrong, each in words: a name that is no parameter or is fixed, a value of
    /// another form, one that is missing.
    pub fn parameter_values(
        &self,
        given: &ParameterValues,
    ) -> Result<ParameterValues, Vec<String>> {
        parameters::values(&self.parameters, given)
    }

    /// The values of the secrets that the pipeline declares, as far as they can be used, and what
    /// is wrong with the others.
    pub fn secret_values(&self, all: &Secrets) -> (Secrets, Vec<UnusableSecret>) {
        secrets::usable(&self.secrets, all)
    }

    /// The columns that the steps and `[[column]]`s add, in order, without repeats.
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

/// `[[check]]`
#[derive(Clone, Debug)]
pub struct Check {
    /// True where the record passes; an error (an absent value) does not pass.
    pub rule: Expr,
    /// What a record that does not pass becomes.
    pub on_failure: OnFailure,
}

/// `on_failure`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The row is `failed`.
    Fail,
    /// The row stays `ok`, with the warning in `error`.
    Warn,
}

/// `[[column]]`
#[derive(Clone, Debug)]
pub struct DerivedColumn {
    /// Its header.
    pub name: String,
    /// Its value.
    pub value: Expr,
}

/// `[report]`
#[derive(Clone, Debug, Default)]
pub struct ReportSpec {
    /// The column whose distribution `Summary` charts.
    pub chart: Option<String>,
    /// The columns whose addresses can be followed in the result.
    pub links: Vec<String>,
}

/// `[notify]`
#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// Recipients.
    pub to: Vec<String>,
}

/// `[batch]`
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSettings {
    /// Expected seconds of work on a record. Default 0.01; above 0.
    pub seconds_per_record: f64,
    /// Records at once in a child. Default 16; 1 to 1,000.
    pub concurrency: u32,
    /// Children of one phase over all chunks. Default 2,000; at least 1.
    pub max_children: u32,
    /// vCPUs of a child. Default 0.25.
    pub vcpu: f64,
    /// Memory of a child in MiB. Default 512.
    pub memory_mib: u32,
    /// Attempts of a child, 1 to 10. Default 10: only machine faults are tried again.
    pub attempts: u32,
    /// Time limit of an attempt of a child in seconds, at least 60. Default 3,600.
    pub timeout_seconds: u32,
}

impl Default for BatchSettings {
    fn default() -> BatchSettings {
        BatchSettings {
            seconds_per_record: 0.01,
            concurrency: 16,
            max_children: 2000,
            vcpu: 0.25,
            memory_mib: 512,
            attempts: 10,
            timeout_seconds: 3600,
        }
    }
}
