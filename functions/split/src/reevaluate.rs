//! Re-evaluation: only checks, derived columns and the like differ from an earlier run of the same
//! workbook, so its archived rows are evaluated again and no step runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::manifest::{Continuation, ParameterValues};
use rowmill_domain::{Columns, Manifest, Outcome, PipelineName, Record, RunId, keys};
use rowmill_pipeline::{Pipeline, compare, whole_from_manifest};
use rowmill_ports::{Location, Optional};
use rowmill_runs::scratch_folder;

use crate::archived::{Choice, archive_of, cut_archived};
use crate::cut::Cut;
use crate::error::{OrRefusal, Refusal, SplitError};
use crate::resolve::ResolvedPipeline;
use crate::retry::Continued;
use crate::stage::{Split, Upload, source};
use crate::upload_options::{LIMIT_METADATA, REEVALUATE_METADATA, UploadOptions};

/// What to do if an upload cannot be re-evaluated.
const ADVICE: &str = "To process every row, upload the workbook again without the metadata \
                      `reevaluate`; on one machine, run it with --force.";

/// What a re-evaluation will do.
#[derive(Debug)]
pub struct Reevaluation {
    /// The run whose archived rows are evaluated again.
    pub base: ArchiveInfo,
    cut: Cut,
}

impl Reevaluation {
    /// The number of rows that are evaluated again: those that went through all steps.
    pub fn records(&self) -> u64 {
        self.cut.records()
    }
}

/// What a run does to a workbook.
#[derive(Clone, Copy, Debug)]
pub struct Processing<'a> {
    /// The name of the pipeline.
    pub name: &'a PipelineName,
    /// The text of the pipeline file.
    pub toml: &'a str,
    /// The parsed text.
    pub pipeline: &'a Pipeline,
    /// The values of its parameters.
    pub parameters: &'a ParameterValues,
}

impl Split {
    /// Finds the archived rows of `run` that a pipeline can evaluate again without running a step.
    /// Changes nothing.
    ///
    /// # Errors
    /// [`SplitError::Refused`] if the run has not ended or has no archived rows, did other steps, or none
    /// of its rows went through all steps. Otherwise, a service or the local disk failed.
    pub async fn plan_reevaluation(
        &self,
        run: &RunId,
        wanted: Processing<'_>,
    ) -> Result<Reevaluation, SplitError> {
        let refused = |what: String| SplitError::from(Refusal::new(what, ADVICE));
        if let Some(item) = self.runs.find_run(run).await?
            && !item.state.is_terminal()
        {
            let state = item.state.name();
            return Err(refused(format!("run {run} has not ended: it is {state}")));
        }
        let base = archive_of(&self.work, run).await?;
        let before = whole_from_manifest(&base.manifest).map_err(|e| refused(e.to_string()))?;
        if let Some(what) = differs(&base.manifest, &before, wanted).map_err(refused)? {
            return Err(refused(what));
        }
        let steps = before.steps.len();
        // A row that failed in a step, or is missing, keeps its outcome. All others have the results of
        // all steps, unless an earlier version wrote them.
        let choose = move |_: &Columns, _: &Record, outcome: &Outcome| {
            let outputs = before.outputs_of(steps as u16);
            match outcome.after(steps as u16, &outputs) {
                Some(after) => Choice::Again(Some(after)),
                None => Choice::Keep,
            }
        };
        let cut = cut_archived(&self.work, &base, choose).await?;
        match cut.records() {
            0 => Err(refused(format!(
                "no row of run {run} went through all steps"
            ))),
            _ => Ok(Reevaluation { base, cut }),
        }
    }

    /// Stores the run of an upload that asks for the re-evaluation of `of`.
    pub(crate) async fn reevaluate(
        &self,
        run: &RunId,
        event: &ObjectCreated,
        resolved: ResolvedPipeline,
        (upload, options): (Upload, UploadOptions),
        of: &RunId,
        cx: &Invocation,
    ) -> Result<OrRefusal<Manifest>, SplitError> {
        let ResolvedPipeline {
            name,
            toml,
            pipeline,
        } = resolved;
        let wanted = Processing {
            name: &name,
            toml: &toml,
            pipeline: &pipeline,
            parameters: &options.parameters,
        };
        let planned = match self.plan_reevaluation(of, wanted).await {
            Err(SplitError::Refused(refusal)) => return Ok(Err(*refusal)),
            planned => planned?,
        };
        let Reevaluation { base, cut } = planned;
        if let Some(refusal) = self.other_upload(&upload, &base.manifest).await? {
            return Ok(Err(refusal));
        }
        let continued = Continued {
            run: run.clone(),
            base: base.manifest,
            by: Continuation::Reevaluation,
            source: Some(source(event)),
            pipeline: pipeline.after_steps(),
            toml,
            parameters: options.parameters,
            notify: Some(options.notify),
            notes: Vec::new(),
            mixed: false,
        };
        self.store_continued(continued, cut, cx).await
    }

    /// Why an upload does not have the records of a run: it is another file, or has another limit.
    async fn other_upload(
        &self,
        upload: &Upload,
        base: &Manifest,
    ) -> Result<Option<Refusal>, SplitError> {
        let run = &base.run;
        let directory = scratch_folder("rowmill-inbox-")?;
        let path = directory.path().join("earlier");
        let at = Location {
            version: Some(base.source.version.clone()),
            ..Location::new(&base.source.bucket, &base.source.key)
        };
        let Some(info) = self.inbox.download(&at, &path).await.optional()? else {
            let what = format!(
                "the workbook of run {run} was removed from the inbox, so this one cannot be compared with it"
            );
            return Ok(Some(Refusal::new(what, ADVICE)));
        };
        let name = keys::file_name(&base.source.key);
        if info.metadata.get(LIMIT_METADATA) != upload.metadata.get(LIMIT_METADATA) {
            let what = format!("the metadata `{LIMIT_METADATA}` is not that of run {run}");
            return Ok(Some(Refusal::new(what, ADVICE)));
        }
        let now = upload.path.clone();
        let same = tokio::task::spawn_blocking(move || same_content(&now, &path)).await;
        Ok((!same.map_err(io::Error::other)??).then(|| {
            let what = format!("{} is not the workbook of run {run} ({name})", upload.name);
            Refusal::new(what, ADVICE)
        }))
    }
}

/// Why the results of a run's steps cannot be used. `Err`: its pipeline cannot be read.
fn differs(
    base: &Manifest,
    before: &Pipeline,
    wanted: Processing<'_>,
) -> Result<Option<String>, String> {
    let run = &base.run;
    let changes = compare(
        (&base.pipeline_toml, before),
        (wanted.toml, wanted.pipeline),
    )
    .map_err(|error| error.to_string())?;
    let mixed = base.base.as_ref().is_some_and(|base| base.mixed);
    Ok(if base.pipeline != *wanted.name {
        Some(format!("run {run} is of the pipeline {}", base.pipeline))
    } else if !changes.only_after_steps {
        Some(format!(
            "the pipeline of run {run} differs in more than [[check]], [[column]], [[review]], [report] and [notify]"
        ))
    } else if mixed {
        Some(format!(
            "rows of run {run} are the results of other steps: it is a retry with a corrected pipeline"
        ))
    } else if base.parameters != *wanted.parameters {
        Some(format!("run {run} had other parameters"))
    } else {
        None
    })
}

/// Whether two files have the same bytes.
fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut from_a, mut from_b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = a.read(&mut from_a)?;
        if read == 0 {
            return Ok(true);
        }
        b.read_exact(&mut from_b[..read])?;
        if from_a[..read] != from_b[..read] {
            return Ok(false);
        }
    }
}

/// Reads the metadata [`REEVALUATE_METADATA`] of the object `name`.
pub(crate) fn read_base(name: &str, text: &str) -> Result<RunId, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            format!("{name}: the metadata `{REEVALUATE_METADATA}` is `{text}`, which is not the id of a run"),
            "Upload the file again with the id of a run, which is in its email, or without this metadata.",
        )
    })
}
