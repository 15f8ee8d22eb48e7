//! The stage around the cut.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Counts, Source, Work};
use rowmill_domain::{Manifest, RunId, RunItem, RunState, keys};
use rowmill_pipeline::BatchSettings;
use rowmill_ports::{
    Claim, ErrorKind, Holder, Ledger, Location, Objects, Optional, Put, RunPatch, Scheduler,
    TablePlan, Topic,
};
use rowmill_workbook::{ReadError, ReadLimits, ReadOptions};
use tempfile::TempDir;

use crate::cut::{RunDetails, cut, refusal};
use crate::error::{CutError, OrRefusal, Refusal, SplitError};
use crate::resolve::{ResolvedPipeline, Resolver};
use crate::upload_options::UploadOptions;

/// How long a claim on a run's split is held: as long as a Lambda function can run.
pub const LEASE: Duration = Duration::from_secs(15 * 60);
/// The run that an upload makes.
pub fn run_id(event: &ObjectCreated) -> RunId {
    RunId::new(
        &event.bucket,
        &event.key,
        &event.version,
        event.time,
        keys::folder(&event.key).unwrap_or_default(),
    )
}

/// The stage.
pub struct Split {
    /// Inbox and work bucket.
    pub objects: Arc<dyn Objects>,
    /// Runs.
    pub ledger: Arc<dyn Ledger>,
    /// Where the message to submit goes.
    pub topic: Arc<dyn Topic>,
    /// Where a run's first time is set, at which cleanup looks whether it stands still.
    pub scheduler: Arc<dyn Scheduler>,
    /// The work bucket's name.
    pub work_bucket: String,
    /// When that is: cleanup's `stalled_after`.
    pub stalled_after: Duration,
    /// Is kept at the number of data rows read so far, for progress.
    pub rows_read: Arc<AtomicU64>,
}

/// An upload on the machine's disk.
struct Upload {
    directory: TempDir,
    path: PathBuf,
    name: String,
    metadata: BTreeMap<String, String>,
}

/// What a run is made from.
struct RunInput {
    pipeline: ResolvedPipeline,
    upload: Upload,
}

/// Stops the cut, which blocks another thread, when its caller is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Split {
    /// Works on an upload: in the end the run's manifest is there and submit is told, or the run
    /// is refused and report is told. Nothing happens where that was done before, where another
    /// invocation is at it, and for the empty objects by which the S3 console shows folders.
    ///
    /// # Errors
    /// Trouble of the surroundings only. The same event may be given again at any time.
    pub async fn handle(&self, event: &ObjectCreated, cx: &Invocation) -> Result<(), SplitError> {
        if event.key.ends_with('/') {
            return Ok(());
        }
        let run = run_id(event);
        let claim = self
            .ledger
            .claim(&run, Work::Split, &cx.owner, cx.now, LEASE)
            .await?;
        let (item, input) = match claim {
            // Nobody has begun, so it is to be read. That changes nothing, and goes on beside.
            Claim::Taken { resumed: false } => {
                let (item, input) = tokio::join!(self.begin(&run, event, cx), self.input(event));
                (item?, Some(input?))
            }
            Claim::Taken { resumed: true } => (self.begin(&run, event, cx).await?, None),
            Claim::Done => return Ok(()),
            Claim::Held(Holder { owner, until }) => {
                tracing::info!(%run, %owner, %until, "another invocation is splitting this run");
                return Ok(());
            }
        };
        match (item.state, item.failure) {
            (RunState::Splitting, None) => self.split(&run, event, input, cx).await?,
            (RunState::Splitting, Some(failure)) => {
                self.topic
                    .publish(&RunMessage::Failed {
                        run: run.clone(),
                        failure,
                    })
                    .await?;
            }
            (RunState::Running, _) => {
                self.topic
                    .publish(&RunMessage::Split { run: run.clone() })
                    .await?;
            }
            // Whoever moved it on had the message.
            _ => {}
        }
        match self.ledger.complete(&run, Work::Split, &cx.owner).await {
            // The lease ran out and another invocation has done the same.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            other => Ok(other?),
        }
    }

    /// The run in the ledger, where it is now if it was not.
    async fn begin(
        &self,
        run: &RunId,
        event: &ObjectCreated,
        cx: &Invocation,
    ) -> Result<RunItem, SplitError> {
        // Before there is a run, so that there is none that nobody looks at.
        let due = RunMessage::Due { run: run.clone() };
        self.scheduler
            .at(run.as_str(), cx.now + self.stalled_after, &due)
            .await?;
        let item = RunItem::new(run.clone(), source(event), cx.now);
        Ok(match self.ledger.create_run(&item).await? {
            true => item,
            false => self.ledger.run(run).await?.unwrap_or(item),
        })
    }

    /// `input`: what the run is made of, where it is the first try.
    async fn split(
        &self,
        run: &RunId,
        event: &ObjectCreated,
        input: Option<OrRefusal<RunInput>>,
        cx: &Invocation,
    ) -> Result<(), SplitError> {
        let read = match input {
            Some(input) => self.read(run, event, input, cx).await?,
            None => match self.committed(run).await? {
                Some(read) => read,
                None => {
                    let input = self.input(event).await?;
                    self.read(run, event, input, cx).await?
                }
            },
        };
        match read {
            Ok(manifest) => {
                let patch = RunPatch {
                    state: Some(RunState::Running),
                    jobs: Some(manifest.jobs()),
                    counts: Some(Counts {
                        records: manifest.records,
                        rejected: manifest.rejected_total(),
                        ..Counts::default()
                    }),
                    ..RunPatch::default()
                };
                self.ledger
                    .update_run(run, &[RunState::Splitting], patch, cx.now)
                    .await?;
                self.topic
                    .publish(&RunMessage::Split { run: run.clone() })
                    .await?;
            }
            Err(refusal) => {
                tracing::info!(%run, what = %refusal.what, "input refused");
                let failure = refusal.failure();
                let patch = RunPatch {
                    failure: Some(failure.clone()),
                    counts: Some(Counts {
                        rejected: refusal.rejected,
                        ..Counts::default()
                    }),
                    ..RunPatch::default()
                };
                let splitting = [RunState::Splitting];
                // Where another invocation, taking this one for dead, has moved the run on, it is
                // no failure of the run.
                if self
                    .ledger
                    .update_run(run, &splitting, patch, cx.now)
                    .await?
                {
                    let run = run.clone();
                    self.topic
                        .publish(&RunMessage::Failed { run, failure })
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// The manifest, where an earlier try came so far.
    async fn committed(&self, run: &RunId) -> Result<Option<OrRefusal<Manifest>>, SplitError> {
        let at = Location::new(&self.work_bucket, keys::manifest(run));
        let object = self.objects.get(&at).await.optional()?;
        Ok(object.map(|object| {
            Manifest::from_json(&object.body).map_err(|error| {
                Refusal::new(format!("{at}: {error}"), "upload the workbook again")
            })
        }))
    }

    /// The pipeline and the workbook.
    async fn input(&self, event: &ObjectCreated) -> Result<OrRefusal<RunInput>, SplitError> {
        let resolver = Resolver {
            objects: &*self.objects,
            work_bucket: &self.work_bucket,
        };
        let input = |pipeline, upload| RunInput { pipeline, upload };
        if event.size <= ReadLimits::default().file_bytes {
            let (pipeline, upload) =
                tokio::try_join!(resolver.resolve(&event.key), self.fetch(event))?;
            return Ok(pipeline.and_then(|pipeline| Ok(input(pipeline, upload?))));
        }
        // A larger file is downloaded only if the pipeline raises the limit.
        let pipeline = match resolver.resolve(&event.key).await? {
            Ok(pipeline) => pipeline,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let limits = ReadOptions::from_input(&pipeline.pipeline.input).limits;
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
        } = match input {
            Ok(input) => input,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ResolvedPipeline {
            name: pipeline_name,
            toml,
            pipeline,
        } = resolved;
        let Upload {
            directory,
            path,
            name,
            metadata,
        } = upload;
        let UploadOptions {
            limit,
            notify,
            parameters,
        } = match UploadOptions::read(&name, &metadata, &pipeline) {
            Ok(options) => options,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stop_on_drop = StopOnDrop(stop.clone());
        let rows_read = self.rows_read.clone();
        // Relaxed: a progress bar and a stop flag order nothing else.
        let progress = move |rows| {
            rows_read.store(rows, Ordering::Relaxed);
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let batch = pipeline.batch.clone();
        let phases = pipeline.phase_count();
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

        let chunks = cut.chunks(&batch, phases);
        let table = async {
            let plan = table_plan(&chunks, &batch);
            Ok::<_, SplitError>(self.ledger.create_table(run, plan).await?)
        };
        let stored = cut.store(&self.objects, &self.work_bucket, run, &chunks);
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

    /// Downloads an upload.
    async fn fetch(&self, event: &ObjectCreated) -> Result<OrRefusal<Upload>, SplitError> {
        let name = keys::file_name(&event.key).to_owned();
        let directory = tempfile::Builder::new()
            .prefix("rowmill-inbox-")
            .tempdir()?;
        let path = directory.path().join(safe_name(&name));
        let at = Location {
            version: event.versioned.then(|| event.version.clone()),
            ..Location::new(&event.bucket, &event.key)
        };
        let Some(info) = self.objects.download(&at, &path).await.optional()? else {
            return Ok(Err(Refusal::new(
                format!("{name}: was deleted from the inbox before it could be read"),
                "upload it again",
            )));
        };
        Ok(Ok(Upload {
            directory,
            path,
            name,
            metadata: info.metadata,
        }))
    }

    /// Writes the manifest, unless another invocation did so first: then that one holds.
    async fn commit(&self, manifest: Manifest) -> Result<OrRefusal<Manifest>, SplitError> {
        let key = keys::manifest(&manifest.run);
        let json = serde_json::to_vec(&manifest).map_err(io::Error::from)?;
        let put = Put {
            content_type: Some("application/json".into()),
            if_absent: true,
            ..Put::default()
        };
        match self
            .objects
            .put(&self.work_bucket, &key, Bytes::from(json), put)
            .await
        {
            Ok(_) => Ok(Ok(manifest)),
            Err(error) if error.kind == ErrorKind::Conflict => {
                match self.committed(&manifest.run).await? {
                    Some(read) => Ok(read),
                    // It was there a moment ago, so another invocation is far ahead.
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn source(event: &ObjectCreated) -> Source {
    Source {
        bucket: event.bucket.clone(),
        key: event.key.clone(),
        version: event.version.clone(),
        size: event.size,
        uploaded: event.time,
    }
}

/// A file's name that any file system takes. The reader names a sheet of delimited text after it.
fn safe_name(name: &str) -> String {
    let mut safe: String = name.chars().filter(|c| !c.is_control()).collect();
    // File names have at most 255 bytes nearly everywhere.
    while safe.len() > 200 {
        safe.remove(0);
    }
    match safe.as_str() {
        "" | "." | ".." => "workbook".to_owned(),
        _ => safe,
    }
}

/// What the run's table must take: every child at work at once, each as fast as the pipeline
/// expects, but no more a second than there are records.
fn table_plan(chunks: &[ChunkPlan], batch: &BatchSettings) -> TablePlan {
    let records: u64 = chunks.iter().map(|c| u64::from(c.records)).sum();
    let children: f64 = chunks.iter().map(|c| f64::from(c.children)).sum();
    let a_second = children * f64::from(batch.concurrency) / batch.seconds_per_record;
    TablePlan {
        // A float's conversion stops at the ends of the integer.
        writes_per_second: a_second.min(records as f64).ceil() as u32,
        records,
    }
}
