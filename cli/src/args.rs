//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rowmill_domain::Submitter;
use rowmill_domain::manifest::ParameterValues;

use crate::exit::EXIT_CODES;
use crate::output::quoted;

const EXAMPLES: &str = "\
Examples:
  rowmill run examples/reviews/reviews.xlsx
  rowmill run customers.xlsx --pipeline tax/pipeline.toml --limit 20 --out trial
  rowmill retry 20261121-tax --out trial
  rowmill serve --open
  rowmill check tax/pipeline.toml customers.xlsx
  rowmill runs --out trial
  rowmill preview customers.xlsx --pipeline tax/pipeline.toml --rows 5
  rowmill new tax --kind http --from customers.xlsx
  rowmill train messages.csv --text message --label topic --out topics.model
  rowmill predict topics.model \"My parcel is late\"";

/// Runs every row of a workbook through a pipeline, and returns the workbook with the results
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
    /// Writes DIR/<name>-result.xlsx and DIR/<name>-mail.eml. All state is stored under
    /// DIR/.rowmill: after Ctrl-C, a crash or a power cut the same command resumes with the
    /// records that are not done. The same workbook with the same pipeline is delivered once. If
    /// only checks, derived columns, [report] or [notify] changed since, archived rows are evaluated
    /// again and no step runs. `--force` processes every row.
    ///
    /// The email is written to a file and not sent, unless the environment variable ROWMILL_SMTP
    /// names a relay: smtps://user:password@host or smtp://user:password@host:587.
    #[command(after_long_help = EXIT_CODES)]
    Run(RunArgs),
    /// Process failed and missing rows of a run again
    ///
    /// Only these rows go through the pipeline, from the step that failed. The result has all rows of
    /// the run in their order, and replaces it in DIR. A retry is a run of its own, `<run id>-r1`, with
    /// its own email. After Ctrl-C or a crash the same command resumes it. Without rows to retry it
    /// does nothing.
    ///
    /// With --stack, the retry is only started; `rowmill attach` follows it.
    #[command(after_long_help = EXIT_CODES)]
    Retry(RetryArgs),
    /// Serve the page and the API on this machine
    ///
    /// The first line on standard output is the address with its token. The page uploads workbooks,
    /// previews and runs them, and shows their progress; programs send the token as `Authorization:
    /// Bearer TOKEN`. Only this machine can connect. Runs are processed while it serves, and continue
    /// when it is started again with the same --out.
    Serve(ServeArgs),
    /// Show the children, time and cost of a run on AWS without starting it
    ///
    /// Chooses the cheapest plan that meets `[batch] within`, or without it the fastest that costs at
    /// most 10% more than the cheapest. A run uses the same plan.
    Plan(PlanArgs),
    /// Run the pipeline on the first rows of a workbook, and show the results
    ///
    /// Rows are cleaned as in `run`, and steps do send requests and start programs.
    /// Nothing is stored, and no email is sent. Exit code 3 if a row failed.
    Preview(PreviewArgs),
    /// Check a pipeline file, and a workbook against it
    ///
    /// Reports every error with its line and column, and runs nothing. Exit code 2 if there are
    /// errors.
    Check(CheckArgs),
    /// Create a folder with a pipeline to start from
    ///
    /// With --from, the pipeline is for the columns of that workbook: their types and the key are
    /// guessed from all rows, and the command says what it guessed. Otherwise the folder also has a
    /// small sample workbook.
    New(NewArgs),
    /// Run the first stage alone: turn a workbook into chunks and a manifest
    ///
    /// Writes DIR/runs/<run id>/manifest.json, chunks/*.json and rejected.jsonl.
    Split(SplitArgs),
    /// Upload a workbook to a stack, and download the result
    ///
    /// The result is also sent by email. Ctrl-C and Ctrl-Z detach: the run goes on, and `rowmill attach`
    /// follows it again, from any machine.
    #[command(after_long_help = EXIT_CODES)]
    Upload(UploadArgs),
    /// Follow a run to its end, and download the result
    ///
    /// Ctrl-C and Ctrl-Z detach: the run goes on.
    #[command(after_long_help = EXIT_CODES)]
    Attach(AttachArgs),
    /// Show version and environment, and the settings of a stack
    ///
    /// Values of the environment that can be secret are hidden. The settings of a stack have no secrets.
    Info(InfoArgs),
    /// List the runs of a directory or stack
    Runs(RunsArgs),
    /// Show how far a run is, or how it ended
    Status(OneRunArgs),
    /// Show what a run used and cost at the list prices of AWS, compared with its plan
    ///
    /// The figures come from what the children measured: vCPU and GiB seconds, and the cost of each
    /// service. For a run on this machine they say what it would have cost. Exit code 2 if the run has
    /// no result.
    Cost(OneRunArgs),
    /// Stop a run and deliver what is done
    ///
    /// Records in progress are finished; the others are `missing` in the result, with who cancelled the
    /// run as the reason. If another command is working on the run, that command delivers the result.
    /// Otherwise this one does, as `run` would: with the same exit codes, 0 meaning that every record was
    /// already done. Exit code 2 if there is no such run, or it has ended.
    ///
    /// With --stack, the stack finishes the records in progress and sends the result.
    Cancel(OneRunArgs),
    /// Write the result workbook of a run that has ended to a file
    ///
    /// The file is named after the workbook: DIR/<name>-result.xlsx. Exit code 2 if the run has no result,
    /// or the file exists and --force is not given.
    Download(DownloadArgs),
    /// Print what the children of a run and their programs wrote
    Logs(LogsArgs),
    /// Remove the results and logs of runs that ended long ago
    ///
    /// Removes the logs of such a run, and its result and archived rows from the state directory. Files
    /// that were delivered stay. A run that has not ended keeps everything; `rowmill cancel` ends it.
    Clean(CleanArgs),
    /// Find and remove what killed commands left in the state directory
    ///
    /// Removes tables, temporary objects and files that belong to no run, or to a run that is over. Runs
    /// that were interrupted keep everything; their own command continues them. Refused while another
    /// command works in the directory.
    ///
    /// With --stack, the stack sweeps now instead of within the hour.
    Sweep(SweepArgs),
    /// Show the tiers of submitters, and give a submitter another one
    #[command(subcommand)]
    Tier(TierCommand),
    /// Rebuild the result workbook of a run from its archived rows
    ///
    /// DIR is the --out directory of `run`, or a copy of a folder `results/<run id>`. The sheets
    /// Results and Rejected have the same cells as in the delivered workbook.
    Report(ReportArgs),
    /// Train a text classifier on labeled texts, for steps of kind `classify`
    ///
    /// Prints how well the model labels unseen texts: the texts are divided into N parts, and each
    /// part is labeled by a model trained on the other parts. The same data gives the same file.
    Train(TrainArgs),
    /// Label a text with a model from `train`
    ///
    /// Without a text, labels each line of standard input, and prints label, probability and words
    /// for it, separated by tabs.
    Predict(PredictArgs),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Print the script that completes this command line in a shell
    Completions(CompletionsArgs),
    /// Write the man pages
    Man(ManArgs),
    /// Run one child of a Batch job; started by the local Batch and not meant to be run directly
    #[command(hide = true)]
    Enrich,
}

impl Command {
    /// Whether the command prints its result as JSON.
    pub(crate) fn prints_json(&self) -> bool {
        match self {
            Command::Run(args) => args.json,
            Command::Retry(args) => args.json,
            Command::Plan(args) => args.json,
            Command::Preview(args) => args.json,
            Command::Runs(args) => args.json,
            Command::Status(args) | Command::Cost(args) | Command::Cancel(args) => args.json,
            Command::Download(args) => args.one.json,
            Command::Attach(args) => args.one.json,
            Command::Upload(args) => args.json,
            Command::Info(args) => args.json,
            Command::Logs(args) => args.json,
            Command::Clean(args) => args.json,
            Command::Sweep(args) => args.json,
            Command::Tier(TierCommand::Show(args)) => args.json,
            Command::Tier(TierCommand::Set(args)) => args.json,
            Command::Train(args) => args.json,
            _ => false,
        }
    }
}

/// What an upload can set besides the workbook.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Set a parameter of the pipeline (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

impl SetArgs {
    /// The values by name. If a name is given twice, the last value counts.
    pub(crate) fn values(&self) -> ParameterValues {
        self.set.iter().cloned().collect()
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The workbook: xlsx, xlsm, xlsb, xls, ods, csv or tsv
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml next to the workbook]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// The directory for the result, the email and the state
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Process only the first N records; other rows are listed as rejected
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) given: SetArgs,
    /// How many children run at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) slots: Option<u16>,
    /// Process every row, even if the workbook was already delivered, or has results of the same steps
    #[arg(long)]
    pub(crate) force: bool,
    /// Print one JSON object: run_id, state, records, ok, failed, missing, rejected, reasons,
    /// failure, result, mail, logs, seconds; or state and errors if nothing could start
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the logs of the stages
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Deliver every event twice and in random order, from this seed; for tests
    #[arg(long, value_name = "SEED", hide = true)]
    pub(crate) chaos: Option<u64>,
}

/// Where the runs are that a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct Where {
    /// The --out directory of `run`
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// The stack on AWS with this name, instead of a directory. Region and credentials are chosen as for
    /// the AWS CLI, with AWS_REGION and AWS_PROFILE
    #[arg(long, value_name = "NAME", conflicts_with = "out")]
    pub(crate) stack: Option<String>,
}

impl Where {
    /// The options that name the same place, for a command that a person can repeat.
    pub(crate) fn options(&self) -> String {
        match &self.stack {
            Some(stack) => format!("--stack {}", quoted(stack)),
            None => format!("--out {}", quoted(&self.out.display().to_string())),
        }
    }
}

/// `out`, or `the stack rowmill`.
impl std::fmt::Display for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.stack {
            Some(stack) => write!(f, "the stack {stack}"),
            None => self.out.display().fmt(f),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    pub(crate) at: Where,
    /// Print a JSON array with the object of `status` for each run
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneRunArgs {
    /// The id of the run, or the start of it
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) at: Where,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    #[command(flatten)]
    pub(crate) one: OneRunArgs,
    #[command(flatten)]
    pub(crate) to: ToArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// The workbook: xlsx, xlsm, xlsb, xls, ods, csv or tsv
    pub(crate) workbook: PathBuf,
    /// The name of the pipeline
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: String,
    /// The stack on AWS with this name. Region and credentials are chosen as for the AWS CLI, with
    /// AWS_REGION and AWS_PROFILE
    #[arg(long, value_name = "NAME")]
    pub(crate) stack: String,
    #[command(flatten)]
    pub(crate) given: SetArgs,
    /// Do not wait for the end of the run
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) to: ToArgs,
    /// Print one JSON object: that of `attach`, or of `status` with --detach
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) one: OneRunArgs,
    #[command(flatten)]
    pub(crate) to: ToArgs,
}

/// Where a result is downloaded to.
#[derive(Debug, Args)]
pub(crate) struct ToArgs {
    /// The directory for the file
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) to: PathBuf,
    /// Replace a file of the same name
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The stack on AWS with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The id of the run, or the start of it
    pub(crate) run: String,
    /// The --out directory of `run`
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Only those of the children that processed the row with this number in the workbook
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) row: Option<u32>,
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    /// Runs that ended longer ago than this: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = age)]
    pub(crate) older_than: chrono::TimeDelta,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The --out directory of `run`
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Print a JSON array with the runs that were removed: run_id, state, ended
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TierCommand {
    /// Show the limits of all tiers, and what archiving costs and saves
    ///
    /// The figures are for the results that the state directory has now, at the list prices of AWS.
    Show(TierShowArgs),
    /// Give a submitter a tier, from the next upload on
    Set(TierSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TierShowArgs {
    /// Also show the tier of this submitter: an email address
    pub(crate) submitter: Option<Submitter>,
    /// The --out directory of `run`
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TierSetArgs {
    /// The submitter: an email address
    pub(crate) submitter: Submitter,
    /// The name of the tier in tiers.toml
    pub(crate) tier: String,
    /// The --out directory of `run`
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) at: Where,
    /// Print one JSON object: dry_run, findings, errors, interrupted
    #[arg(long)]
    pub(crate) json: bool,
}

/// `30d`, `12h`, `15m` or `0s`.
fn age(text: &str) -> Result<chrono::TimeDelta, String> {
    let wrong = || "expected a number with s, m, h or d, such as 30d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: i64 = text[..split].parse().map_err(|_| wrong())?;
    let seconds = match &text[split..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(seconds)
        .and_then(chrono::TimeDelta::try_seconds)
        .ok_or_else(wrong)
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The port on 127.0.0.1; 0 chooses a free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// The directory for the state, with all uploads and results
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// A folder with pipelines, as <name>/pipeline.toml or <name>.toml [default: <name>/pipeline.toml in
    /// the current folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) pipelines: Option<PathBuf>,
    /// Open the page in the browser
    #[arg(long)]
    pub(crate) open: bool,
    /// How many children run at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) slots: Option<u16>,
    /// Show the logs of the stages
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The run: its id, or the start of it
    pub(crate) run: String,
    /// Only rows that are failed
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only rows that are missing
    #[arg(long)]
    pub(crate) missing: bool,
    /// Rows of any status for which an expression is true, such as "error.contains('503')". It can
    /// use status, error, attempts, the columns that the pipeline added, and row.<column>
    #[arg(long = "where", value_name = "CEL", conflicts_with_all = ["failed", "missing"])]
    pub(crate) rows_where: Option<String>,
    /// A corrected pipeline file [default: the pipeline as it was when the run started]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) at: Where,
    /// How many children run at once [default: the number of cores]
    #[arg(long, value_name = "N", conflicts_with = "stack", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) slots: Option<u16>,
    /// Print one JSON object, as `run` does
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the logs of the stages
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Deliver every event twice and in random order, from this seed; for tests
    #[arg(long, value_name = "SEED", hide = true)]
    pub(crate) chaos: Option<u64>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["workbook", "rows"]))]
pub(crate) struct PlanArgs {
    /// The workbook
    pub(crate) workbook: Option<PathBuf>,
    /// Plan for N records without a workbook
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) rows: Option<u64>,
    /// The pipeline file [default: pipeline.toml next to the workbook, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// Plan only for the first N records of the workbook
    #[arg(long, value_name = "N", conflicts_with = "rows", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// The --out directory of earlier runs, whose measured times replace `seconds_per_record`
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// The most vCPUs in use at the same time: `MaxVcpus` of the stack, or the quota of the account
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_vcpus: u32,
    /// Print one JSON object: records, children, records_per_child, makespan_seconds, cost_usd,
    /// bottleneck and more, and the same under one_record_per_child
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// The workbook
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml next to the workbook]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) given: SetArgs,
    /// The number of records
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
    /// A workbook to check the pipeline's columns against
    pub(crate) workbook: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The folder to create; the pipeline is named after it
    pub(crate) name: PathBuf,
    /// What the first step does
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    /// Your workbook, whose columns the pipeline reads
    #[arg(long, value_name = "WORKBOOK")]
    pub(crate) from: Option<PathBuf>,
}

/// The kinds of pipeline that `new` creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Request a web source for each row
    Http,
    /// Run your own program on each row
    Command,
    /// Score the sentiment of a text, offline
    Sentiment,
    /// Detect the language of a text, offline
    Language,
    /// Translate a text
    Translate,
    /// Label a text with your own model, offline
    Classify,
}

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// The workbook
    pub(crate) workbook: PathBuf,
    /// The pipeline file [default: pipeline.toml next to the workbook, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// The directory in which to create `runs/<run id>/`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Take only the first N records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) given: SetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The --out directory of `run`, or a folder results/<run id>
    pub(crate) dir: PathBuf,
    /// The workbook to write [default: DIR/<name>-result.xlsx]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The data: a csv file or a workbook with one text per row
    pub(crate) data: PathBuf,
    /// The column with the texts
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text: String,
    /// The column with the labels, 2 to 256 distinct ones
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: String,
    /// The model file to write
    #[arg(long, value_name = "MODEL")]
    pub(crate) out: PathBuf,
    /// The number of parts for cross-validation
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub(crate) folds: u8,
    /// Print one JSON object: texts, left_out, labels, folds, accuracy, macro_f1, confusion,
    /// features, bytes, seconds
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The model file
    pub(crate) model: PathBuf,
    /// The text [default: each line of standard input]
    pub(crate) text: Option<String>,
    /// Show at most N words that contributed most to the label
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) words: usize,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory for the pages, rowmill.1 and one for each command
    pub(crate) dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        assert_eq!(age("30d"), Ok(chrono::TimeDelta::days(30)));
        assert_eq!(age("0s"), Ok(chrono::TimeDelta::zero()));
        for wrong in ["30", "d", "-1d", "1.5h", "99999999999999999d", "1 d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clap_accepts_the_definition() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
