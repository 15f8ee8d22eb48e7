//! Describes a result workbook, except for its rows.

use chrono::{NaiveDateTime, TimeDelta};
use rowmill_domain::run::Counts;
use rowmill_domain::{Kind, Reason};

/// The columns and properties of a result workbook.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSpec {
    /// The columns of the input, in order.
    pub columns: Vec<ColumnSpec>,
    /// The names of the columns that steps and expressions add, in order.
    pub added: Vec<String>,
    /// How many of the first columns stay visible when the sheet is scrolled, unless they are wider
    /// than about half a screen.
    pub frozen: usize,
    /// The indexes of the columns in which addresses become links. Input columns are counted first.
    pub links: Vec<usize>,
    /// The column in which a person corrects a reviewed one. It follows the added columns.
    pub review: Option<ReviewSpec>,
    /// The run ID, for the document properties.
    pub run_id: String,
    /// The document title.
    pub title: String,
}

impl ResultSpec {
    /// The name of a column. Input columns are counted first.
    pub(super) fn column_name(&self, at: usize) -> &str {
        let inputs = self.columns.iter().map(|column| column.name.as_str());
        let mut names = inputs.chain(self.added.iter().map(String::as_str));
        names.nth(at).unwrap_or_default()
    }
}

/// A column that has the values of a reviewed column, for a person to correct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewSpec {
    /// The header.
    pub name: String,
    /// The index of the reviewed column among [`ResultSpec::added`].
    pub of: usize,
    /// Labels that its cells offer.
    pub labels: Vec<String>,
    /// Whether these are all labels. If not, the values that occur are offered too, as long as there are
    /// at most 1,000.
    pub closed: bool,
    /// What to do with the corrected workbook, for the note at the header.
    pub advice: String,
}

/// A column of the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSpec {
    /// The header.
    pub name: String,
    /// The kind of its values; `None` if they are mixed.
    pub kind: Option<Kind>,
    /// The Excel number format of its numbers or dates.
    pub format: Option<String>,
    /// The length of its longest value in characters; 0 if unknown.
    pub width: u32,
}

/// The content of the sheet `Summary`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// How the run ended, as a sentence.
    pub verdict: String,
    /// Why rows have no result, most frequent first.
    pub reasons: Vec<Reason>,
    /// The number of rows whose reasons are not among `reasons`.
    pub further: u64,
    /// Names and values, one per line, such as the file, the run and the duration.
    pub facts: Vec<(String, Fact)>,
    /// The number of rows by outcome.
    pub counts: Counts,
    /// Figures for each step.
    pub steps: Vec<StepFigures>,
    /// The distribution of a column, if the pipeline requests it.
    pub chart: Option<Chart>,
    /// Notes about the run.
    pub notes: Vec<String>,
}

/// A value on the sheet `Summary`.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// Text.
    Text(String),
    /// A number of something.
    Count(u64),
    /// A time in UTC.
    Time(NaiveDateTime),
    /// A duration.
    Duration(TimeDelta),
}

/// Figures of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepFigures {
    /// The name of the step.
    pub step: String,
    /// The number of records on which it succeeded.
    pub ok: u64,
    /// The number of records on which it failed.
    pub failed: u64,
    /// Mean time per record in milliseconds.
    pub mean_ms: f64,
    /// 95th percentile of the time per record in milliseconds.
    pub p95_ms: f64,
    /// Maximum time per record in milliseconds.
    pub max_ms: f64,
}

/// A bar chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// The label and the value of each bar.
    pub bars: Vec<(String, u64)>,
}
