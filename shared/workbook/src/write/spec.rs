//! What a result workbook is made of.

use rowmill_domain::Kind;
use rowmill_domain::run::Counts;

/// What a result workbook has besides its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSpec {
    /// The input's columns, in order.
    pub columns: Vec<ColumnSpec>,
    /// Names of the columns that steps and expressions added, in order.
    pub added: Vec<String>,
    /// The places of the columns whose addresses can be followed, the input's counted first.
    pub links: Vec<usize>,
    /// The run, for the document's properties.
    pub run_id: String,
    /// The document's title.
    pub title: String,
}

impl ResultSpec {
    /// The name of a column, of the input's and then of the added ones.
    pub(super) fn column_name(&self, at: usize) -> &str {
        let inputs = self.columns.iter().map(|column| column.name.as_str());
        let mut names = inputs.chain(self.added.iter().map(String::as_str));
        names.nth(at).unwrap_or_default()
    }
}

/// A column of the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSpec {
    /// Its header.
    pub name: String,
    /// What its values are; `None` where they are mixed.
    pub kind: Option<Kind>,
    /// Excel's number format for its numbers or dates.
    pub format: Option<String>,
    /// Characters of its longest value; 0 where that is not known.
    pub width: u32,
}

/// What the sheet `Summary` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Names and values, one a line: the file, the run, how long it took.
    pub facts: Vec<(String, String)>,
    /// Rows in and out.
    pub counts: Counts,
    /// Per step.
    pub steps: Vec<StepFigures>,
    /// The distribution of a column, as asked for by the pipeline.
    pub chart: Option<Chart>,
    /// What the reader of the workbook should know.
    pub notes: Vec<String>,
}

/// What a step took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepFigures {
    /// The step.
    pub step: String,
    /// Records it was done for.
    pub ok: u64,
    /// Records it failed on.
    pub failed: u64,
    /// Milliseconds a record on average.
    pub mean_ms: f64,
    /// Milliseconds that 95 of 100 records stayed within.
    pub p95_ms: f64,
    /// Milliseconds of the slowest record.
    pub max_ms: f64,
}

/// A bar chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Its title.
    pub title: String,
    /// A bar each: its label and its height.
    pub bars: Vec<(String, u64)>,
}
