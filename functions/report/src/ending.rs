//! How a run ends: the state, the workbook, what the mail says.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::archive::{ARCHIVE_VERSION, ArchiveInfo};
use rowmill_domain::event::Invocation;
use rowmill_domain::limits::MAIL_MAX;
use rowmill_domain::link::LINK_DAYS;
use rowmill_domain::run::{Counts, Failure};
use rowmill_domain::{Manifest, RunItem, RunState, keys};
use rowmill_pipeline::from_manifest;
use rowmill_ports::{Location, Put, RunPatch};

use crate::error::ReportError;
use crate::figures::Figures;
use crate::jobs::EndedJobs;
use crate::mail::{Content, Recipients, Workbook, XLSX};
use crate::stage::Report;
use crate::workbook::summary;

/// How long a link to the object itself works, in hours: as long as S3 lets one. Source: S3 user
/// guide, "Download and upload objects with presigned URLs" (7 days).
const LINK_HOURS: u64 = 7 * 24;

/// What is known of a run when its mail is written.
pub(crate) struct Ending {
    pub(crate) state: RunState,
    pub(crate) content: Content,
    pub(crate) recipients: Recipients,
    /// The workbook, where it is attached.
    pub(crate) attached: Option<Attached>,
}

/// A workbook that goes with a mail.
pub(crate) struct Attached {
    pub(crate) bytes: Vec<u8>,
    /// How the mail presents it instead where a mailbox refuses its size; `None` where nobody
    /// would tell.
    pub(crate) linked: Option<Workbook>,
}

impl Report {
    /// Ends a run that another stage gave up.
    pub(crate) async fn report_failure(
        &self,
        run: &RunItem,
        failure: &Failure,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        if self.send_kept(run, cx).await? {
            return Ok(());
        }
        let manifest = self.readable_manifest(run).await?;
        let counts = match &manifest {
            Some(manifest) => Counts {
                records: manifest.records,
                rejected: manifest.rejected_total(),
                missing: manifest.records,
                ..Counts::default()
            },
            None => run.counts,
        };
        let ending = self
            .failed(run, manifest.as_ref(), failure, counts, cx)
            .await?;
        self.keep_and_send(run, ending, cx).await
    }

    /// Ends a run whose jobs have all ended.
    pub(crate) async fn report_jobs(
        &self,
        run: &RunItem,
        ended: &EndedJobs,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        if self.send_kept(run, cx).await? {
            return Ok(());
        }
        let reporting = RunPatch {
            state: Some(RunState::Reporting),
            ..RunPatch::default()
        };
        self.update(&run.id, reporting, cx).await?;
        let ending = match self.result(run, ended, cx).await {
            // Nothing would change at the next try, and a run ends with a mail.
            Err(error) if !error.is_retryable() => {
                tracing::error!(run = %run.id, %error, "the result cannot be made");
                let manifest = self.readable_manifest(run).await?;
                let failure = Failure {
                    stage: "report".to_owned(),
                    what: format!("The result of the run cannot be made: {error}"),
                    advice: "This is a defect of Rowmill or of its set-up: report it with this \
                             text. Meanwhile the file can be uploaded again."
                        .to_owned(),
                };
                self.failed(run, manifest.as_ref(), &failure, run.counts, cx)
                    .await?
            }
            ending => ending?,
        };
        self.keep_and_send(run, ending, cx).await
    }

    /// Makes and stores the result; or finds that nothing came of the run.
    async fn result(
        &self,
        run: &RunItem,
        ended: &EndedJobs,
        cx: &Invocation,
    ) -> Result<Ending, ReportError> {
        let inconsistent = |what: String| ReportError::Inconsistent {
            run: run.id.clone(),
            what,
        };
        let manifest = self
            .manifest(&run.id)
            .await?
            .ok_or_else(|| inconsistent("the manifest is gone".to_owned()))?;
        let pipeline = from_manifest(&manifest)?;

        let directory = tempfile::TempDir::with_prefix("rowmill-report-")?;
        let path = directory.path().join("result.xlsx");
        let (figures, notes) = self
            .build(&manifest, &pipeline, ended, directory.path(), &path, |f| {
                summary(&manifest, f, run.created, cx.now)
            })
            .await?;
        self.keep_about(run, &manifest, cx.now).await?;
        let counts = figures.counts();
        if counts.ok + counts.failed == 0 {
            let failure = nothing_done(&figures);
            return self
                .failed(run, Some(&manifest), &failure, counts, cx)
                .await;
        }

        let key = keys::result(&run.id, &run.source.key);
        let put = Put {
            content_type: Some(XLSX.to_owned()),
            ..Put::default()
        };
        self.objects
            .upload(&self.config.work_bucket, &key, &path, put)
            .await?;
        let patch = RunPatch {
            counts: Some(counts),
            result: Some(key.clone()),
            ..RunPatch::default()
        };
        self.update(&run.id, patch, cx).await?;

        let mut recipients = self.recipients(run, Some(&manifest)).await?;
        let mut content = Content::new(run, Some(&manifest), counts, cx.now);
        content.figures(&figures);
        content.notes.extend(notes);
        content.notes.append(&mut recipients.notes);
        let (workbook, attached) = self.workbook(run, &key, &path, cx.now).await?;
        content.workbook = Some(workbook);
        Ok(Ending {
            state: end_state(counts, None),
            content,
            recipients,
            attached,
        })
    }

    /// Keeps what the kept rows do not tell.
    async fn keep_about(
        &self,
        run: &RunItem,
        manifest: &Manifest,
        finished: DateTime<Utc>,
    ) -> Result<(), ReportError> {
        let about = ArchiveInfo {
            v: ARCHIVE_VERSION,
            started: run.created,
            finished,
            manifest: manifest.clone(),
        };
        let json = serde_json::to_vec(&about).map_err(std::io::Error::from)?;
        let put = Put {
            content_type: Some("application/json".to_owned()),
            ..Put::default()
        };
        let key = keys::about(&run.id);
        self.objects
            .put(&self.config.work_bucket, &key, json.into(), put)
            .await?;
        Ok(())
    }

    /// The ending of a run that failed.
    async fn failed(
        &self,
        run: &RunItem,
        manifest: Option<&Manifest>,
        failure: &Failure,
        counts: Counts,
        cx: &Invocation,
    ) -> Result<Ending, ReportError> {
        let patch = RunPatch {
            counts: Some(counts),
            failure: Some(failure.clone()),
            ..RunPatch::default()
        };
        self.update(&run.id, patch, cx).await?;
        let mut recipients = self.recipients(run, manifest).await?;
        let mut content = Content::new(run, manifest, counts, cx.now);
        content.failure = Some(failure.clone());
        content.notes.append(&mut recipients.notes);
        Ok(Ending {
            state: RunState::Failed,
            content,
            recipients,
            attached: None,
        })
    }

    /// The run's manifest, where there is one that can be read: one that cannot may be the very
    /// failure that is to be told.
    pub(crate) async fn readable_manifest(
        &self,
        run: &RunItem,
    ) -> Result<Option<Manifest>, ReportError> {
        match self.manifest(&run.id).await {
            Err(ReportError::Inconsistent { .. }) => Ok(None),
            manifest => manifest,
        }
    }

    /// The workbook as the mail presents it: attached where it is small enough, else linked.
    async fn workbook(
        &self,
        run: &RunItem,
        key: &str,
        path: &Path,
        now: DateTime<Utc>,
    ) -> Result<(Workbook, Option<Attached>), ReportError> {
        let name = keys::file_name(key).to_owned();
        let size = tokio::fs::metadata(path).await?.len();
        let by_api = self.config.links.as_ref().map(|links| {
            let expires = now + TimeDelta::days(LINK_DAYS);
            Workbook {
                name: name.clone(),
                size,
                link: Some(links.to(&run.id, key, expires)),
                until: Some(expires.format("%-d %B %Y").to_string()),
            }
        });
        // Base64 makes four bytes of three, and a line end of two for every 76; the rest of the
        // mail is small.
        let encoded = size / 3 * 4 / 76 * 78 + 64 * 1024;
        if size <= self.config.attach_limit && encoded <= MAIL_MAX as u64 {
            let attached = Attached {
                bytes: tokio::fs::read(path).await?,
                linked: by_api,
            };
            let workbook = Workbook {
                name,
                size,
                link: None,
                until: None,
            };
            return Ok((workbook, Some(attached)));
        }
        let linked = match by_api {
            Some(linked) => linked,
            None => {
                let at = Location::new(&self.config.work_bucket, key);
                let valid = std::time::Duration::from_secs(LINK_HOURS * 3600);
                Workbook {
                    link: Some(self.objects.link(&at, &name, valid).await?),
                    name,
                    size,
                    until: None,
                }
            }
        };
        Ok((linked, None))
    }
}

/// The state that a run ends in.
pub(crate) fn end_state(counts: Counts, failure: Option<&Failure>) -> RunState {
    match failure {
        Some(_) => RunState::Failed,
        None if counts.ok == counts.records => RunState::Delivered,
        None => RunState::DeliveredWithErrors,
    }
}

/// The failure of a run of which no record has an outcome.
fn nothing_done(figures: &Figures) -> Failure {
    let reasons = figures.reasons();
    let why = match reasons.first() {
        Some(reason) => format!(": {}", reason.text),
        None => String::new(),
    };
    Failure {
        stage: "enrich".to_owned(),
        what: format!(
            "None of the {} records could be worked on{why}",
            figures.counts().records
        ),
        advice: "Every job of the run failed, which is never because of a record: see the job's \
                 log, mend what it names, and upload the file again."
            .to_owned(),
    }
}
