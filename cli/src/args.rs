//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rowmill_domain::manifest::ParameterValues;

const EXAMPLES: &str = "\
Examples:
  rowmill run examples/reviews/reviews.xlsx
  rowmill run customers.xlsx --pipeline tax/pipeline.toml --limit 20 --out trial
  rowmill check tax/pipeline.toml customers.xlsx
  rowmill preview customers.xlsx --pipeline tax/pipeline.toml --rows 5
  rowmill new tax --kind http
  rowmill train messages.csv --text message --label topic --out topics.model
  rowmill predict topics.model \"My parcel is late\"";

const EXIT_CODES: &str = "\
Exit codes:
  0    done; of `run`: delivered, and every record is ok
  1    the run failed; a mail says why and what to do
  2    wrong usage, or an input refused before anything was begun
  3    delivered, but some rows are failed or missing; of `preview`: some rows failed
  130  stopped by Ctrl-C or SIGTERM; the same command goes on where it stopped";

/// Every row of a workbook becomes a record, every record goes through a pipeline, and the
/// workbook comes back with the results.
#[derive(Debug, Parser)]
#[command(name = "rowmill", version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workbook through its pipeline and deliver the result
    ///
    /// Writes DIR/<name>-result.xlsx and DIR/<name>-mail.eml. All state is kept under
    /// DIR/.rowmill until the run is delivered: after Ctrl-C, a crash or a power cut the same
    /// command goes on with the records that are missing. The same workbook with the same
    /// pipeline is delivered once; `--force` runs it again.
    ///
    /// Mail stays a file, unless the variable ROWMILL_SMTP names a relay:
    /// smtps://user:password@host or smtp://user:password@host:587.
    #[command(after_long_help = EXIT_CODES)]
    Run(RunArgs),
    /// Show what a run would be: chunks, children, jobs and time
    Plan(PlanArgs),
    /// Run the pipeline on the first rows of a workbook, and show what comes of them
    ///
    /// Rows are cleaned as `run` cleans them, and steps really ask their sources and start their
    /// programs; nothing is kept, and no mail is sent. Exit code 3 where a row failed.
    Preview(PreviewArgs),
    /// Check a pipeline file, and a workbook against it
    ///
    /// Reports everything that is wrong with its place, and runs nothing. Exit code 2 where
    /// something is wrong.
    Check(CheckArgs),
    /// Make a folder with a pipeline and a sample workbook to start from
    New(NewArgs),
    /// Run the first stage alone: a workbook becomes chunks and a manifest
    ///
    /// Writes DIR/runs/<run id>/manifest.json, chunks/*.json and rejected.jsonl.
    Split(SplitArgs),
    /// Run the last half alone: the workbook again, from the rows kept of a run
    ///
    /// DIR is the --out directory of `run`, or a folder `results/<run id>` copied from anywhere. The
    /// sheets Results and Rejected have the same cells as those delivered.
    Report(ReportArgs),
    /// Train a text classifier on labelled texts, for steps of kind `classify`
    ///
    /// Prints how well models trained in the same way label texts that they were not trained on:
    /// the texts are dealt to N parts, and each part is labelled by a model trained on the others.
    /// The same data gives the same file.
    Train(TrainArgs),
    /// Label a text with a model that `train` made
    ///
    /// Without a text, every line of standard input is one; each is answered by a line with label,
    /// probability and words, with tabs between them.
    Predict(PredictArgs),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// One child of a Batch job; started by the local Batch, not by people
    #[command(hide = true)]
    Enrich,
}

/// What an upload may give beside the workbook.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Give a parameter of the pipeline a value; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = named)]
    set: Vec<(String, String)>,
}

impl SetArgs {
    /// The values by name; of two for one name the last.
    pub(crate) fn values(&self) -> ParameterValues {
        self.set.iter().cloned().collect()
    }
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The workbook: xlsx, xlsm, xlsb, xls, ods, csv or tsv
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml beside the workbook]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// Where the result, the mail and the state go
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Work on the first N records only; the other rows are listed as rejected
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) given: SetArgs,
    /// Children at work at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) slots: Option<u16>,
    /// Run again what was delivered already
    #[arg(long)]
    pub(crate) force: bool,
    /// Print one JSON object: run_id, state, records, ok, failed, missing, rejected, result,
    /// mail, seconds
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what the stages log
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Deliver every event twice and out of order, seeded; for tests
    #[arg(long, value_name = "SEED", hide = true)]
    pub(crate) chaos: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The workbook
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml beside the workbook, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// Plan for the first N records only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// The workbook
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml beside the workbook]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) given: SetArgs,
    /// How many records
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) rows: u8,
    /// Print one JSON object: columns, added, and rows with row, status, values, error, attempts
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The pipeline file
    pub(crate) pipeline: PathBuf,
    /// A workbook whose columns the pipeline must find
    pub(crate) workbook: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The folder to make; its name names the pipeline
    pub(crate) name: PathBuf,
    /// What its first step does
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
}

/// What `new` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Fetch something from a web source for each row
    Http,
    /// Run a program of your own on each row
    Command,
    /// Score the sentiment of a text, offline
    Sentiment,
}

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// The workbook
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml beside the workbook, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// Where `runs/<run id>/` goes
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Take the first N records only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) given: SetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// What `run` was given as --out, or a folder results/<run id>
    pub(crate) dir: PathBuf,
    /// The workbook to write [default: DIR/<name>-result.xlsx]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The data: csv or a workbook, one text a row
    pub(crate) data: PathBuf,
    /// The column with the texts
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text: String,
    /// The column with the labels, 2 to 256 different ones
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: String,
    /// Where the model goes
    #[arg(long, value_name = "MODEL")]
    pub(crate) out: PathBuf,
    /// Parts of the cross-validation
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub(crate) folds: u8,
    /// Print one JSON object: texts, left_out, labels, folds, accuracy, macro_f1, confusion,
    /// features, bytes, seconds
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The model's file
    pub(crate) model: PathBuf,
    /// The text [default: each line of standard input]
    pub(crate) text: Option<String>,
    /// Show at most N words that spoke for the label
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) words: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
