//! The work on one upload.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rowmill_domain::cost::Planned;
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Counts, UploadSource, Work};
use rowmill_domain::tally::CostRates;
use rowmill_domain::{Manifest, PipelineName, RunId, RunItem, RunState, Submitter, keys};
use rowmill_pipeline::{Pipeline, from_manifest};
use rowmill_planning::{Quotas, Work as PlannedWork, plan, rates};
use rowmill_ports::{
    Coordination, ErrorKind, Location, Objects, Optional, Outcomes, Put, RunPatch, Runs, Scheduler,
    Submitters, TablePlan, Topic,
};
use rowmill_runs::{
    ManifestLoadError, Transition, WorkBucket, fail, find_manifest, measured_run, publish_failure,
    scratch_folder, with_claim,
};
use rowmill_tiers::{CurrentTiers, CurrentTiersError, SubmitterTier};
use rowmill_workbook::{ReadError, ReadLimits};
use tempfile::TempDir;

use crate::cut::{RunDetails, cut, refusal};
use crate::error::{CutError, OrRefusal, Refusal, SplitError};
use crate::limits::{above_limits, above_tier, too_large};
use crate::read_options::read_options;
use crate::resolve::{ResolvedPipeline, resolve};
use crate::upload_options::{SUBMITTER_METADATA, UploadOptions};

/// The id of the run that an upload starts.
pub fn run_id(event: &ObjectCreated) -> RunId {
    event.run_id()
}

/// The stage, with the services it uses.
pub struct Split {
    /// The store that has the inbox.
    pub inbox: Arc<dyn Objects>,
    /// The work bucket.
    pub work: WorkBucket,
    /// Runs.
    pub runs: Arc<dyn Runs>,
    /// The submitters of runs.
    pub submitters: Arc<dyn Submitters>,
    /// The limits of submitters.
    pub tiers: CurrentTiers,
    /// The submitter of uploads that name none: the default recipient.
    pub default_submitter: Option<Submitter>,
    /// The table that each run gets for its outcomes.
    pub outcomes: Arc<dyn Outcomes>,
    /// Claims.
    pub coordination: Arc<dyn Coordination>,
    /// Receives the message for submit, or the failure of the run.
    pub topic: Arc<dyn Topic>,
    /// Schedules the first check of a run, which finds out whether it is stalled.
    pub scheduler: Arc<dyn Scheduler>,
    /// How long after the upload that check is: cleanup's `stalled_after`.
    pub stalled_after: Duration,
    /// What the run can use, for its plan.
    pub quotas: Quotas,
    /// The number of data rows read so far, for a progress display.
    pub rows_read: Arc<AtomicU64>,
}

/// An upload on the local disk.
pub(crate) struct Upload {
    directory: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What a run is made from.
struct RunInput {
    pipeline: ResolvedPipeline,
    upload: Upload,
    /// The tier of its submitter. `None`: there are no tiers.
    tier: Option<SubmitterTier>,
}

/// Stops the cut, which blocks another thread, when its caller is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Split {
    /// Handles an upload. Afterwards the run's manifest exists and the message for submit is sent,
    /// or the run is refused and the message for report is sent. Does nothing if this was done
    /// before, if another invocation is doing it, or if the object is one of the empty ones that
    /// the S3 console creates for folders.
    ///
    /// # Errors
    /// A service or the local disk failed. The same event can be handled again at any time.
    pub async fn handle(&self, event: &ObjectCreated, cx: &Invocation) -> Result<(), SplitError> {
        if event.key.ends_with('/') {
            return Ok(());
        }
        let run = run_id(event);
        let split = async |resumed| {
            let submitter = self.submitter(&self.upload_at(event)).await?;
            let begin = self.begin(&run, source(event), submitter.clone(), cx);
            let (item, input) = if resumed {
                (begin.await?, None)
            } else {
                // The input is needed, since nobody has started. Reading it changes nothing, so
                // both can happen at the same time.
                let (item, input) = tokio::join!(begin, self.input(event, submitter.as_ref(), cx));
                (item?, Some(input?))
            };
            match (item.state, &item.failure) {
                (RunState::Splitting, None) => {
                    // That of the run: it was recorded first.
                    let submitter = item.submitter.or(submitter);
                    self.split(&run, event, submitter.as_ref(), input, cx).await
                }
                _ => self.pass_on(&run, Some(item)).await,
            }
        };
        with_claim(&*self.coordination, &run, Work::Split, cx, split).await?;
        Ok(())
    }

    /// Publishes again what an earlier attempt may not have published.
    pub(crate) async fn pass_on(
        &self,
        run: &RunId,
        item: Option<RunItem>,
    ) -> Result<(), SplitError> {
        match item.map(|item| (item.state, item.failure)) {
            Some((RunState::Splitting, Some(failure))) => {
                Ok(publish_failure(&*self.topic, run, failure).await?)
            }
            Some((RunState::Running, _)) => self.publish_split(run).await,
            // The stage that moved the run on has received its message.
            _ => Ok(()),
        }
    }

    /// The run in the ledger. Creates it if it does not exist.
    pub(crate) async fn begin(
        &self,
        run: &RunId,
        source: UploadSource,
        submitter: Option<Submitter>,
        cx: &Invocation,
    ) -> Result<RunItem, SplitError> {
        // Before the run is created, so that every run is eventually checked.
        let due = RunMessage::Due { run: run.clone() };
        self.scheduler
            .at(run.as_str(), cx.now + self.stalled_after, &due)
            .await?;
        if let Some(submitter) = &submitter {
            // Before the run, so that every run of a submitter is found.
            self.submitters.add_run(submitter, run).await?;
        }
        let item = RunItem {
            submitter: submitter.clone(),
            ..RunItem::new(run.clone(), source, cx.now)
        };
        if self.runs.create_run(&item).await? {
            return Ok(item);
        }
        let item = self.runs.find_run(run).await?.unwrap_or(item);
        if item.submitter.is_none() && submitter.is_some() {
            // The API has created the run.
            let record = RunPatch {
                submitter,
                ..RunPatch::default()
            };
            Transition::RecordSubmitter
                .apply(&*self.runs, run, record, cx.now)
                .await?;
        }
        if item.cleaned.is_some() {
            // This attempt came after the cleanup, which had removed the scheduled check.
            self.scheduler.cancel(run.as_str()).await?;
        }
        Ok(item)
    }

    /// `input`: what the run is made from, if this is the first attempt.
    async fn split(
        &self,
        run: &RunId,
        event: &ObjectCreated,
        submitter: Option<&Submitter>,
        input: Option<OrRefusal<RunInput>>,
        cx: &Invocation,
    ) -> Result<(), SplitError> {
        let read = match input {
            Some(input) => self.read(run, event, input, cx).await?,
            None => match self.committed(run).await? {
                Some(read) => read,
                None => {
                    let input = self.input(event, submitter, cx).await?;
                    self.read(run, event, input, cx).await?
                }
            },
        };
        self.conclude(run, read, cx).await
    }

    /// Records that the manifest is written, or why the input is refused, and publishes it.
    pub(crate) async fn conclude(
        &self,
        run: &RunId,
        read: OrRefusal<Manifest>,
        cx: &Invocation,
    ) -> Result<(), SplitError> {
        match read {
            Ok(manifest) => {
                let (cost_rates, planned) = self.expected(&manifest, cx).await?.unzip();
                let split = RunPatch {
                    jobs: Some(manifest.jobs()),
                    counts: Some(Counts {
                        records: manifest.processed(),
                        rejected: manifest.rejected_total(),
                        ..Counts::default()
                    }),
                    cost_rates,
                    planned,
                    ..RunPatch::default()
                };
                Transition::FinishSplit
                    .apply(&*self.runs, run, split, cx.now)
                    .await?;
                self.publish_split(run).await
            }
            Err(refusal) => {
                tracing::info!(%run, what = %refusal.what, "input refused");
                let counts = Counts {
                    rejected: refusal.rejected,
                    ..Counts::default()
                };
                let (runs, topic) = (&*self.runs, &*self.topic);
                let (change, failure) = (Transition::FailSplit, refusal.failure());
                fail(runs, topic, run, change, failure, Some(counts), cx.now).await?;
                Ok(())
            }
        }
    }

    /// What the run costs for what its children do, and what to expect. `None`: its pipeline cannot be
    /// read, which submit reports.
    async fn expected(
        &self,
        manifest: &Manifest,
        cx: &Invocation,
    ) -> Result<Option<(CostRates, Planned)>, SplitError> {
        let Ok(pipeline) = from_manifest(manifest) else {
            return Ok(None);
        };
        let name = manifest.run.pipeline();
        let work = self
            .work_of(&name, &pipeline, manifest.processed(), cx)
            .await?;
        let plan = plan(&work, &self.quotas);
        let (chosen, jobs) = (&plan.chosen, manifest.jobs().into());
        let planned = Planned {
            seconds: chosen.makespan_seconds,
            cost: chosen.cost.total(),
            cost_one_per_child: plan.one_record_per_child.cost.total(),
        };
        let rates = rates(&work, &self.quotas, jobs, chosen.table_writes);
        Ok(Some((rates, planned)))
    }

    async fn publish_split(&self, run: &RunId) -> Result<(), SplitError> {
        let message = RunMessage::Split { run: run.clone() };
        Ok(self.topic.publish(&message).await?)
    }

    /// The manifest, if an earlier attempt has written it.
    pub(crate) async fn committed(
        &self,
        run: &RunId,
    ) -> Result<Option<OrRefusal<Manifest>>, SplitError> {
        match find_manifest(&self.work, run).await {
            Ok(manifest) => Ok(manifest.map(Ok)),
            Err(ManifestLoadError::Port(error)) => Err(error.into()),
            Err(error) => {
                let refusal = Refusal::new(error.to_string(), "Upload the workbook again.");
                Ok(Some(Err(refusal)))
            }
        }
    }

    /// The tier of a submitter. `None`: there are no tiers, or nobody is known.
    async fn tier(
        &self,
        submitter: Option<&Submitter>,
        cx: &Invocation,
    ) -> Result<OrRefusal<Option<SubmitterTier>>, SplitError> {
        let Some(submitter) = submitter else {
            return Ok(Ok(None));
        };
        let found = self.tiers.tier_of(&*self.submitters, submitter, cx.now);
        match found.await {
            Ok(tier) => Ok(Ok(tier)),
            Err(CurrentTiersError::Port(error)) => Err(error.into()),
            Err(CurrentTiersError::File(error)) => {
                let what = error.to_string().replace('\n', "; ");
                let advice = format!(
                    "Ask the person who operates Rowmill to correct {} in the bucket {}. Then upload the \
                     workbook again.",
                    keys::TIERS,
                    self.work.name()
                );
                Ok(Err(Refusal::new(what, advice)))
            }
        }
    }

    /// The pipeline and the workbook. A workbook above a limit of its submitter's tier is not downloaded.
    async fn input(
        &self,
        event: &ObjectCreated,
        submitter: Option<&Submitter>,
        cx: &Invocation,
    ) -> Result<OrRefusal<RunInput>, SplitError> {
        let tier = match self.tier(submitter, cx).await? {
            Ok(tier) => tier,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let file = keys::file_name(&event.key);
        let refused = tier
            .as_ref()
            .and_then(|tier| too_large(file, event.size, tier));
        if let Some(refusal) = refused {
            return Ok(Err(refusal));
        }
        let input = |pipeline, upload| RunInput {
            pipeline,
            upload,
            tier,
        };
        if event.size <= ReadLimits::default().file_bytes {
            let (pipeline, upload) =
                tokio::try_join!(resolve(&self.work, &event.key), self.fetch(event))?;
            return Ok(pipeline.and_then(|pipeline| Ok(input(pipeline, upload?))));
        }
        // A larger file is downloaded only if the pipeline raises the limit.
        let pipeline = match resolve(&self.work, &event.key).await? {
            Ok(pipeline) => pipeline,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let limits = read_options(&pipeline.pipeline).limits;
        if event.size > limits.file_bytes {
            let name = keys::file_name(&event.key);
            let error = ReadError::Limit {
                file: name.into(),
                limit: "file_bytes",
                found: event.size,
                allowed: limits.file_bytes,
            };
            return Ok(Err(refusal(&error, name.as_ref(), name)));
        }
        let upload = self.fetch(event).await?;
        Ok(upload.map(|upload| input(pipeline, upload)))
    }

    async fn read(
        &self,
        run: &RunId,
        event: &ObjectCreated,
        input: OrRefusal<RunInput>,
        cx: &Invocation,
    ) -> Result<OrRefusal<Manifest>, SplitError> {
        let RunInput {
            pipeline: resolved,
            upload,
            tier,
        } = match input {
            Ok(input) => input,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let options = match UploadOptions::read(&upload.name, &upload.metadata, &resolved.pipeline)
        {
            Ok(options) => options,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(of) = options.reevaluate.clone() {
            let asked = (upload, options);
            return self.reevaluate(run, event, resolved, asked, &of, cx).await;
        }
        let ResolvedPipeline {
            name: pipeline_name,
            toml,
            pipeline,
        } = resolved;
        let Upload {
            directory,
            path,
            name,
            ..
        } = upload;
        let UploadOptions {
            limit,
            notify,
            parameters,
            ..
        } = options;
        let stop = Arc::new(AtomicBool::new(false));
        let stop_on_drop = StopOnDrop(stop.clone());
        let rows_read = self.rows_read.clone();
        // Relaxed ordering is enough: nothing else depends on these values.
        let progress = move |rows| {
            rows_read.store(rows, Ordering::Relaxed);
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let phases = pipeline.phase_count();
        let (batch, upload_name) = (pipeline.batch.clone(), name.clone());
        let work = self.work_of(&pipeline_name, &pipeline, 0, cx).await?;
        let cut = tokio::task::spawn_blocking(move || {
            let cut = cut(&path, &name, &pipeline, limit, progress);
            // Frees the disk space of the workbook before the chunks need theirs.
            drop(directory);
            cut
        })
        .await
        .map_err(io::Error::other)?;
        drop(stop_on_drop);
        let cut = match cut {
            Ok(cut) => cut,
            Err(CutError::Refused(refusal)) => return Ok(Err(*refusal)),
            Err(CutError::Temporary(error)) => return Err(error.into()),
            Err(CutError::Stopped) => return Err(SplitError::Stopped),
        };

        let work = PlannedWork {
            records: cut.records(),
            ..work
        };
        let chosen = plan(&work, &self.quotas).chosen;
        if let Some(refusal) = above_limits(&upload_name, work.records, &chosen, &batch) {
            return Ok(Err(refusal));
        }
        let above = |tier| above_tier(&upload_name, work.records, &chosen, tier);
        if let Some(refusal) = tier.as_ref().and_then(above) {
            return Ok(Err(refusal));
        }
        let chunks = cut.chunks(&chosen.division);
        let table = async {
            let plan = TablePlan {
                writes_per_second: chosen.table_writes,
                records: work.records,
            };
            Ok::<_, SplitError>(self.outcomes.create_table(run, plan).await?)
        };
        let stored = cut.store(&self.work, run, &chunks);
        tokio::try_join!(stored, table)?;
        let manifest = cut.manifest(
            RunDetails {
                run: run.clone(),
                source: source(event),
                created: cx.now,
                pipeline: pipeline_name,
                pipeline_toml: toml,
                phases,
                notify,
                parameters,
            },
            chunks,
        );
        self.commit(manifest).await
    }

    /// What a run with this number of records asks of the planner.
    pub(crate) async fn work_of(
        &self,
        name: &PipelineName,
        pipeline: &Pipeline,
        records: u64,
        cx: &Invocation,
    ) -> Result<PlannedWork, SplitError> {
        let kinds: Vec<&str> = pipeline.steps.iter().map(|step| step.kind_name()).collect();
        let measured = measured_run(&*self.runs, name, &kinds, cx.now).await?;
        Ok(pipeline.work(records, measured.as_ref().map(|run| &run.seconds[..])))
    }

    /// Where the upload is.
    fn upload_at(&self, event: &ObjectCreated) -> Location {
        Location {
            version: event.versioned.then(|| event.version.clone()),
            ..Location::new(&event.bucket, &event.key)
        }
    }

    /// Who submitted an upload, according to its metadata; otherwise the default. What is not an address
    /// names nobody, such as the name of a user of `rowmill serve`.
    pub(crate) async fn submitter(&self, at: &Location) -> Result<Option<Submitter>, SplitError> {
        let info = self.inbox.head(at).await.optional()?;
        let named = info.and_then(|info| info.metadata.get(SUBMITTER_METADATA)?.parse().ok());
        Ok(named.or_else(|| self.default_submitter.clone()))
    }

    /// Downloads the upload.
    async fn fetch(&self, event: &ObjectCreated) -> Result<OrRefusal<Upload>, SplitError> {
        let name = keys::file_name(&event.key).to_owned();
        let directory = scratch_folder("rowmill-inbox-")?;
        let path = directory.path().join(safe_name(&name));
        let at = self.upload_at(event);
        let Some(info) = self.inbox.download(&at, &path).await.optional()? else {
            return Ok(Err(Refusal::new(
                format!("{name}: the file was deleted from the inbox before it could be read"),
                "Upload it again.",
            )));
        };
        Ok(Ok(Upload {
            directory,
            path,
            name,
            metadata: info.metadata,
        }))
    }

    /// Writes the manifest. If another invocation wrote one first, that one counts.
    pub(crate) async fn commit(
        &self,
        manifest: Manifest,
    ) -> Result<OrRefusal<Manifest>, SplitError> {
        let key = keys::manifest(&manifest.run);
        let json = serde_json::to_vec(&manifest).map_err(io::Error::from)?;
        let put = Put {
            content_type: Some("application/json".into()),
            if_absent: true,
            ..Put::default()
        };
        match self.work.put(&key, Bytes::from(json), put).await {
            Ok(_) => Ok(Ok(manifest)),
            Err(error) if error.kind == ErrorKind::Conflict => {
                match self.committed(&manifest.run).await? {
                    Some(read) => Ok(read),
                    // It existed a moment ago, so another invocation has already finished the run.
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn source(event: &ObjectCreated) -> UploadSource {
    UploadSource {
        bucket: event.bucket.clone(),
        key: event.key.clone(),
        version: event.version.clone(),
        size: event.size,
        uploaded: event.time,
    }
}

/// A file name that any file system accepts. The reader names the sheet of a CSV file after it.
fn safe_name(name: &str) -> String {
    let mut safe: String = name.chars().filter(|c| !c.is_control()).collect();
    // Nearly all file systems limit names to 255 bytes.
    while safe.len() > 200 {
        safe.remove(0);
    }
    match safe.as_str() {
        "" | "." | ".." => "workbook".to_owned(),
        _ => safe,
    }
}
