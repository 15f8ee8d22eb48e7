//! Retries: rows of a run that has ended are processed again, as a run of its own, and its result has
//! all rows.

use std::sync::{Arc, Mutex, PoisonError};

use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::event::Invocation;
use rowmill_domain::manifest::{Base, Continuation, ParameterValues};
use rowmill_domain::message::{RetryRequest, RetryRows};
use rowmill_domain::run::{UploadSource, Work};
use rowmill_domain::{
    Columns, Manifest, Outcome, Record, Row, RunId, RunState, Status, Value, keys,
};
use rowmill_pipeline::names::Origin;
use rowmill_pipeline::{Changes, Expr, ParameterSource, Pipeline, compare, whole_from_manifest};
use rowmill_ports::{Location, TablePlan};
use rowmill_runs::with_claim;

use crate::archived::{Choice, archive_of, cut_archived};
use crate::cut::{Cut, RunDetails};
use crate::error::{OrRefusal, Refusal, SplitError};
use crate::limits::above_limits;
use crate::stage::Split;

/// What the expression of [`RetryRows::Where`] can use besides the columns.
const STATUS: &str = "status";
const ERROR: &str = "error";
const ATTEMPTS: &str = "attempts";

/// What a retry will process.
#[derive(Debug)]
pub struct RetryPlan {
    /// The run whose archived rows are retried.
    pub base: ArchiveInfo,
    /// How the pipeline differs from that of the run.
    pub changes: Changes,
    /// What the person who retries should know.
    pub notes: Vec<String>,
    pipeline: Pipeline,
    toml: String,
    parameters: ParameterValues,
    mixed: bool,
    cut: Cut,
}

impl RetryPlan {
    /// The number of rows that are processed again.
    pub fn records(&self) -> u64 {
        self.cut.records()
    }

    /// The pipeline of the retry.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The values of its parameters.
    pub fn parameters(&self) -> &ParameterValues {
        &self.parameters
    }
}

impl Split {
    /// Finds the rows that a request retries. Changes nothing.
    ///
    /// # Errors
    /// [`SplitError::Refused`] if the run has not ended or has no archived rows, or the expression or the
    /// pipeline of the request cannot be used. Otherwise, a service or the local disk failed.
    pub async fn plan_retry(&self, request: &RetryRequest) -> Result<RetryPlan, SplitError> {
        let run = &request.run;
        if let Some(item) = self.runs.find_run(run).await?
            && !item.state.is_terminal()
        {
            let what = format!("run {run} has not ended: it is {}", item.state.name());
            return Err(Refusal::new(what, "Retry it when its email is sent.").into());
        }
        let base = archive_of(&self.work, run).await?;
        let manifest = &base.manifest;
        let before = whole_from_manifest(manifest)
            .map_err(|error| Refusal::new(error.to_string(), "Run the workbook again."))?;
        let (pipeline, toml) = match &request.pipeline {
            None => (before.clone(), manifest.pipeline_toml.clone()),
            Some(text) => (corrected(manifest, text)?, text.clone()),
        };
        let changes = compare((&manifest.pipeline_toml, &before), (&toml, &pipeline))
            .map_err(|error| Refusal::new(error.to_string(), "Correct the pipeline."))?;
        if changes.input {
            let what =
                "[input] of the corrected pipeline differs, and decides how the workbook is read";
            let advice = "Restore [input], or run the workbook again with the corrected pipeline.";
            return Err(Refusal::new(what, advice).into());
        }
        let parameters = parameters(manifest, &pipeline)?;
        let selection = Selection::new(&request.rows, manifest, &before)?;

        let unclear = Arc::new(Mutex::new(Unclear::default()));
        let (same, all, count) = (changes.same_steps, before.steps.len(), unclear.clone());
        let choose = move |columns: &Columns, record: &Record, outcome: &Outcome| match selection
            .has(columns, record, outcome)
        {
            Ok(false) => Choice::Keep,
            Ok(true) => Choice::Again(continued(outcome, &before, same, all)),
            Err(reason) => {
                let mut unclear = count.lock().unwrap_or_else(PoisonError::into_inner);
                unclear.add(record.row, reason);
                Choice::Keep
            }
        };
        let cut = cut_archived(&self.work, &base, choose).await?;
        let unclear = unclear
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note();
        let was_mixed = manifest.base.as_ref().is_some_and(|base| base.mixed);
        Ok(RetryPlan {
            mixed: was_mixed || !changes.all_steps_same,
            changes,
            notes: unclear.into_iter().collect(),
            pipeline,
            toml,
            parameters,
            cut,
            base,
        })
    }

    /// Handles a request. Afterwards the manifest of the retry exists and the message for submit is
    /// sent. Does nothing if this was done before, if another invocation is doing it, or if no row of
    /// the run is to be retried.
    ///
    /// # Errors
    /// As [`Split::plan_retry`]. Then there is no retry, and the same request can be handled again at any
    /// time.
    pub async fn retry(&self, request: &RetryRequest, cx: &Invocation) -> Result<(), SplitError> {
        let run = retry_id(request)?;
        let split = async |_resumed| {
            let known = self.runs.find_run(&run).await?;
            let planned = match &known {
                Some(item) if item.state != RunState::Splitting => None,
                _ => Some(self.plan_retry(request).await?),
            };
            let Some(plan) = planned else {
                return self.pass_on(&run, known).await;
            };
            if plan.records() == 0 {
                tracing::info!(%run, "nothing to retry");
                return Ok(());
            }
            let source = plan.base.manifest.source.clone();
            let base = self.runs.find_run(&request.run).await?;
            let submitter = match base.and_then(|base| base.submitter) {
                Some(submitter) => Some(submitter),
                // The run is of an earlier version, or its record has expired. The version of the upload
                // can be an ETag, so that of today decides.
                None => {
                    self.submitter(&Location::new(&source.bucket, &source.key))
                        .await?
                }
            };
            let item = self.begin(&run, source, submitter, cx).await?;
            if (item.state, &item.failure) != (RunState::Splitting, &None) {
                return self.pass_on(&run, Some(item)).await;
            }
            let read = match self.committed(&run).await? {
                Some(read) => read,
                None => self.store_retry(&run, plan, cx).await?,
            };
            self.conclude(&run, read, cx).await
        };
        with_claim(&*self.coordination, &run, Work::Split, cx, split).await?;
        Ok(())
    }

    async fn store_retry(
        &self,
        run: &RunId,
        plan: RetryPlan,
        cx: &Invocation,
    ) -> Result<OrRefusal<Manifest>, SplitError> {
        let continued = Continued {
            run: run.clone(),
            base: plan.base.manifest,
            by: Continuation::Retry,
            source: None,
            pipeline: plan.pipeline,
            toml: plan.toml,
            parameters: plan.parameters,
            notify: None,
            notes: plan.notes,
            mixed: plan.mixed,
        };
        self.store_continued(continued, plan.cut, cx).await
    }

    /// Stores the chunks and the manifest of a run that continues another.
    pub(crate) async fn store_continued(
        &self,
        continued: Continued,
        mut cut: Cut,
        cx: &Invocation,
    ) -> Result<OrRefusal<Manifest>, SplitError> {
        let Continued {
            run,
            base,
            pipeline,
            ..
        } = continued;
        let work = self
            .work_of(&base.pipeline, &pipeline, cut.records(), cx)
            .await?;
        let chosen = rowmill_planning::plan(&work, &self.quotas).chosen;
        let name = keys::file_name(&base.source.key);
        if let Some(refusal) = above_limits(name, work.records, &chosen, &pipeline.batch) {
            return Ok(Err(refusal));
        }
        let chunks = cut.chunks(&chosen.division);
        let table = TablePlan {
            writes_per_second: chosen.table_writes,
            records: work.records,
        };
        self.outcomes.create_table(&run, table).await?;
        cut.store(&self.work, &run, &chunks).await?;
        cut.notes.extend(continued.notes);
        let processed = cut.records();
        let details = RunDetails {
            run,
            created: cx.now,
            source: continued.source.unwrap_or(base.source),
            pipeline: base.pipeline,
            pipeline_toml: continued.toml,
            phases: pipeline.phase_count(),
            notify: continued.notify.unwrap_or(base.notify),
            parameters: continued.parameters,
        };
        let mut manifest = cut.manifest(details, chunks);
        manifest.records = base.records;
        manifest.base = Some(Base {
            run: base.run,
            by: continued.by,
            records: processed,
            chunks: base.chunks,
            mixed: continued.mixed,
        });
        self.commit(manifest).await
    }
}

/// A run that continues another.
pub(crate) struct Continued {
    pub(crate) run: RunId,
    /// Its upload. `None`: that of the other run.
    pub(crate) source: Option<UploadSource>,
    /// The archived manifest of the other run.
    pub(crate) base: Manifest,
    pub(crate) by: Continuation,
    pub(crate) pipeline: Pipeline,
    pub(crate) toml: String,
    pub(crate) parameters: ParameterValues,
    /// Recipients that replace those of the pipeline. `None`: as for the other run.
    pub(crate) notify: Option<Vec<String>>,
    /// Notes for the email and the workbook.
    pub(crate) notes: Vec<String>,
    /// See [`Base::mixed`].
    pub(crate) mixed: bool,
}

/// The id of the retry that a request asks for.
fn retry_id(request: &RetryRequest) -> Result<RunId, SplitError> {
    let run = &request.run;
    let Some(id) = request.id() else {
        let what = format!("run {run} cannot be retried again");
        return Err(Refusal::new(what, "Run the workbook again.").into());
    };
    let follows = id.original() == run.original() && id.retry_number() > run.retry_number();
    if !follows {
        let what = format!("`{id}` is not a retry of run {run}");
        return Err(Refusal::new(what, "Leave out `as`.").into());
    }
    Ok(id)
}

/// Parses a corrected pipeline.
fn corrected(manifest: &Manifest, text: &str) -> Result<Pipeline, Refusal> {
    let correct = |what| Refusal::new(what, "Correct the pipeline and retry again.");
    let file = format!("{}.toml", manifest.pipeline);
    let pipeline = Pipeline::parse(&file, text).map_err(|error| correct(error.one_line()))?;
    let header: Vec<String> = manifest.columns.iter().map(|c| c.name.clone()).collect();
    match pipeline.check_columns(&header).first() {
        Some(error) => Err(correct(error.one_line())),
        None => Ok(pipeline),
    }
}

/// The values of the pipeline's parameters: those of the run, and new defaults.
fn parameters(manifest: &Manifest, pipeline: &Pipeline) -> Result<ParameterValues, Refusal> {
    let is_set = |name: &String| {
        pipeline.parameters.iter().any(|parameter| {
            parameter.name == *name && matches!(parameter.from, ParameterSource::Upload { .. })
        })
    };
    let mut given = manifest.parameters.clone();
    given.retain(|name, _| is_set(name));
    pipeline.parameter_values(&given).map_err(|wrong| {
        let what = wrong.join("; ");
        Refusal::new(what, "Run the workbook again with these parameters.")
    })
}

/// What is done already for a row that is retried: the steps before the one that failed, if they are the
/// same. A row that went through all steps starts over, because it is their results that are not wanted,
/// unless a re-evaluation left it without an outcome.
fn continued(outcome: &Outcome, before: &Pipeline, same: u16, all: usize) -> Option<Outcome> {
    let done = usize::from(outcome.steps);
    if done == 0 || (done >= all && outcome.status != Status::Missing) {
        return None;
    }
    let steps = outcome.steps.min(same);
    outcome
        .after(steps, &before.outputs_of(steps))
        .filter(|_| steps > 0)
}

/// Which rows are retried.
enum Selection {
    Status(Vec<Status>),
    Where {
        rule: Expr,
        columns: Vec<&'static str>,
    },
}

impl Selection {
    fn new(
        rows: &RetryRows,
        manifest: &Manifest,
        pipeline: &Pipeline,
    ) -> Result<Selection, Refusal> {
        let text = match rows {
            RetryRows::Unfinished => {
                return Ok(Selection::Status(vec![Status::Failed, Status::Missing]));
            }
            RetryRows::Failed => return Ok(Selection::Status(vec![Status::Failed])),
            RetryRows::Missing => return Ok(Selection::Status(vec![Status::Missing])),
            RetryRows::Where(text) => text,
        };
        let refused = |what: String| {
            Refusal::new(
                format!("invalid expression `{text}`: {what}"),
                "Write a condition such as `row.Country == 'DE'`, `tax_due < 0` or \
                 `status == 'failed' && error.contains('503')`.",
            )
        };
        let rule = Expr::compile(text).map_err(|error| refused(error.message))?;
        let input = manifest.columns();
        // A column of the workbook keeps its meaning.
        let mut columns = vec![STATUS, ERROR, ATTEMPTS];
        columns.retain(|name| input.position(name).is_none());
        let added = pipeline.added_columns();
        for mention in rule.references() {
            let name = &*mention.name;
            let known = added.iter().any(|a| a == name)
                || columns.contains(&name)
                || (mention.from == Origin::Row && input.position(name).is_some());
            if !known {
                let help = match input.position(name) {
                    Some(_) => format!("; `row.{name}` is the column of the workbook"),
                    None => String::new(),
                };
                return Err(refused(format!("the result has no column `{name}`{help}")));
            }
        }
        Ok(Selection::Where { rule, columns })
    }

    /// Whether a row is retried.
    ///
    /// # Errors
    /// The expression has no value for it.
    fn has(&self, columns: &Columns, record: &Record, outcome: &Outcome) -> Result<bool, String> {
        let (rule, more) = match self {
            Selection::Status(statuses) => return Ok(statuses.contains(&outcome.status)),
            Selection::Where { rule, columns } => (rule, columns),
        };
        let mut outputs = outcome.outputs.clone();
        for name in more {
            let value: Value = match *name {
                STATUS => outcome.status.name().into(),
                ERROR => outcome.error.as_deref().unwrap_or_default().into(),
                _ => f64::from(outcome.attempts).into(),
            };
            outputs.push(((*name).into(), value));
        }
        let row = Row {
            columns,
            record,
            outputs: &outputs,
        };
        match rule.eval(row).map_err(|error| error.0)? {
            Value::Bool(chosen) => Ok(chosen),
            other => Err(format!(
                "the result is the {} `{}` instead of true or false",
                other.kind(),
                other.to_text()
            )),
        }
    }
}

/// Rows for which an expression has no value.
#[derive(Default)]
struct Unclear {
    rows: u64,
    first: Option<(u32, String)>,
}

impl Unclear {
    fn add(&mut self, row: u32, reason: String) {
        self.rows += 1;
        self.first.get_or_insert((row, reason));
    }

    fn note(&self) -> Option<String> {
        let (row, reason) = self.first.as_ref()?;
        let (rows, is) = match self.rows {
            1 => ("1 row".to_owned(), "is"),
            rows => (format!("{rows} rows"), "are"),
        };
        Some(format!(
            "{rows} {is} not retried, because the expression cannot be evaluated, such as row {row}: {reason}"
        ))
    }
}
