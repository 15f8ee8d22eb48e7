//! How a run ends: its state, its workbook, what its mail says.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::archive::{ARCHIVE_VERSION, ARCHIVED_REASONS, ArchiveInfo};
use rowmill_domain::cost::{CostReport, RunCost};
use rowmill_domain::event::Invocation;
use rowmill_domain::limits::MAIL_MAX;
use rowmill_domain::link::LINK_DAYS;
use rowmill_domain::run::{Counts, Failure, Stop};
use rowmill_domain::{Manifest, Reason, RunItem, RunState, keys};
use rowmill_pipeline::{Pipeline, Tolerance, from_manifest};
use rowmill_ports::{Optional, Put, RunPatch};
use rowmill_runs::{ManifestLoadError, Transition, find_manifest, load_manifest, scratch_folder};

use crate::error::ReportError;
use crate::figures::Figures;
use crate::jobs::EndedJobs;
use crate::mail::{Content, Recipients, Workbook, XLSX};
use crate::second_round::notes;
use crate::stage::Report;
use crate::workbook::{all_reasons, summary};

/// How long a presigned link works, in hours: the longest that S3 allows. Source: S3 user guide,
/// "Download and upload objects with presigned URLs" (7 days).
const LINK_HOURS: u64 = 7 * 24;

/// What the mail of a run is made from.
pub(crate) struct Ending {
    pub(crate) state: RunState,
    /// What is recorded on the run once the mail is stored: until then, another try may end
    /// differently.
    pub(crate) record: RunPatch,
    pub(crate) content: Content,
    pub(crate) recipients: Recipients,
    /// The workbook, if it is attached.
    pub(crate) attached: Option<Attached>,
}

/// An attached workbook.
pub(crate) struct Attached {
    pub(crate) bytes: Vec<u8>,
    /// The link that a second mail has instead if a mailbox refuses the size of the first. `None`
    /// if bounces are not reported here.
    pub(crate) linked: Option<Workbook>,
}

impl Report {
    /// Ends a run that failed in another stage.
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
                records: manifest.processed(),
                rejected: manifest.rejected_total(),
                missing: manifest.processed(),
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
        let starts = self.start(run, cx).await?;
        let result = match starts.as_ref().filter(|starts| starts.until() <= cx.now) {
            Some(starts) => self.given_up(run, starts, cx).await,
            None => self.result(run, ended, cx).await,
        };
        let ending = match result {
            // A retry would fail again, and every run ends with a mail.
            Err(error) if error.is_permanent() => {
                tracing::error!(run = %run.id, %error, "cannot create the result");
                let manifest = self.readable_manifest(run).await?;
                let failure = Failure {
                    stage: "report".to_owned(),
                    what: format!("The result workbook could not be created: {error}"),
                    advice: "This is an error in Rowmill or in its setup, not in your file. \
                             Forward this mail to the person who operates Rowmill. Uploading the \
                             file again may help."
                        .to_owned(),
                };
                self.failed(run, manifest.as_ref(), &failure, run.counts, cx)
                    .await?
            }
            // A problem that can be fixed must not end the run, whose outcomes would be removed.
            Err(error) => {
                self.record_error(run, starts, &error, cx).await;
                return Err(error);
            }
            Ok(ending) => ending,
        };
        self.keep_and_send(run, ending, cx).await
    }

    /// Creates and stores the result. If no record has an outcome, the run failed instead.
    async fn result(
        &self,
        run: &RunItem,
        ended: &EndedJobs,
        cx: &Invocation,
    ) -> Result<Ending, ReportError> {
        let mut manifest = load_manifest(&self.work, &run.id).await?;
        let pipeline = from_manifest(&manifest)?;
        if let Some((round, _)) = &ended.second {
            manifest.notes.extend(notes(round, &pipeline));
        }

        let directory = scratch_folder("rowmill-report-")?;
        let path = directory.path().join("result.xlsx");
        let (figures, notes) = self
            .build(&manifest, &pipeline, ended, directory.path(), &path, |f| {
                summary(&manifest, f, run.created, cx.now)
            })
            .await?;
        let reasons = all_reasons(&figures, &manifest);
        self.keep_about(run, &manifest, &reasons, cx.now).await?;
        let counts = figures.counts();
        if counts.ok + counts.failed == 0 {
            let failure = nothing_done(&figures, ended.stop.as_ref());
            return self
                .failed(run, Some(&manifest), &failure, counts, cx)
                .await;
        }

        let key = keys::result(&run.id, &run.source.key);
        let put = Put {
            content_type: Some(XLSX.to_owned()),
            ..Put::default()
        };
        self.work.upload(&key, &path, put).await?;
        let used = self.used(run, &pipeline).await?;
        let result = RunPatch {
            counts: Some(counts),
            result: Some(key.clone()),
            used: used.clone(),
            measured: Some(figures.measured(&pipeline)),
            ..RunPatch::default()
        };
        self.change(&run.id, Transition::RecordResult, result, cx)
            .await?;

        let mut recipients = self.recipients(run, Some(&manifest)).await?;
        let mut content = Content::new(run, Some(&manifest), counts, self.config.given, cx.now);
        content.figures(&figures);
        let cost = used.map(|used| CostReport::new(&used, run.planned, counts.records));
        content.cost(cost.as_ref());
        content.notes.extend(notes);
        content.notes.append(&mut recipients.notes);
        let (workbook, attached) = self.workbook(run, &key, &path, cx.now).await?;
        content.workbook = Some(workbook);
        content.failure = above_tolerance(counts, pipeline.batch.tolerate);
        Ok(Ending {
            state: end_state(counts, content.failure.as_ref()),
            record: RunPatch {
                failure: content.failure.clone(),
                ..RunPatch::default()
            },
            content,
            recipients,
            attached,
        })
    }

    /// What the run used and cost. `None`: its rates are unknown, or its table is gone.
    async fn used(
        &self,
        run: &RunItem,
        pipeline: &Pipeline,
    ) -> Result<Option<RunCost>, ReportError> {
        let Some(rates) = &run.cost_rates else {
            return Ok(None);
        };
        let tally = self.outcomes.tally(&run.id).await.optional()?;
        Ok(tally.map(|tally| rates.run_cost(&tally, &pipeline.phase_resources())))
    }

    /// Archives what the archived rows do not contain: the manifest, the reasons and the times.
    async fn keep_about(
        &self,
        run: &RunItem,
        manifest: &Manifest,
        reasons: &[Reason],
        finished: DateTime<Utc>,
    ) -> Result<(), ReportError> {
        let about = ArchiveInfo {
            v: ARCHIVE_VERSION,
            started: run.created,
            finished,
            reasons: reasons.iter().take(ARCHIVED_REASONS).cloned().collect(),
            manifest: manifest.archived(),
        };
        let json = serde_json::to_vec(&about).map_err(std::io::Error::from)?;
        let put = Put {
            content_type: Some("application/json".to_owned()),
            ..Put::default()
        };
        let key = keys::about(&run.id);
        self.work.put(&key, json.into(), put).await?;
        Ok(())
    }

    /// The ending of a run that failed.
    pub(crate) async fn failed(
        &self,
        run: &RunItem,
        manifest: Option<&Manifest>,
        failure: &Failure,
        counts: Counts,
        cx: &Invocation,
    ) -> Result<Ending, ReportError> {
        let mut recipients = self.recipients(run, manifest).await?;
        let mut content = Content::new(run, manifest, counts, self.config.given, cx.now);
        content.failure = Some(failure.clone());
        content.notes.append(&mut recipients.notes);
        Ok(Ending {
            state: RunState::Failed,
            record: RunPatch {
                counts: Some(counts),
                failure: Some(failure.clone()),
                ..RunPatch::default()
            },
            content,
            recipients,
            attached: None,
        })
    }

    /// The run's manifest, or `None` if it is missing or unreadable, which may be the failure that
    /// the mail reports.
    pub(crate) async fn readable_manifest(
        &self,
        run: &RunItem,
    ) -> Result<Option<Manifest>, ReportError> {
        match find_manifest(&self.work, &run.id).await {
            Err(ManifestLoadError::Port(error)) => Err(error.into()),
            manifest => Ok(manifest.unwrap_or(None)),
        }
    }

    /// The workbook as the mail presents it: attached if it is small enough, else linked.
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
        // Base64 turns three bytes into four and adds a line break of two for every 76. The rest of
        // the mail is small.
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
                let valid = std::time::Duration::from_secs(LINK_HOURS * 3600);
                Workbook {
                    link: Some(self.work.link(key, &name, valid).await?),
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

/// The failure of a run with more bad records than its pipeline tolerates. Its result is delivered all the
/// same.
fn above_tolerance(counts: Counts, tolerate: Option<Tolerance>) -> Option<Failure> {
    let bad = counts.failed + counts.missing;
    let limit = tolerate.filter(|limit| limit.is_exceeded(bad, counts.records))?;
    Some(Failure {
        stage: "report".to_owned(),
        what: format!(
            "{bad} of {} records are failed or missing, and the pipeline tolerates {limit} \
             (tolerate under [batch])",
            counts.records
        ),
        advice: "The result has all rows, each with its reason. Do not use it without them."
            .to_owned(),
    })
}

/// The failure of a run in which no record has an outcome.
fn nothing_done(figures: &Figures, stop: Option<&Stop>) -> Failure {
    if let Some(stop) = stop {
        return Failure {
            stage: "enrich".to_owned(),
            what: format!("The run was stopped before a row was processed: {stop}"),
            advice: "To process the file, run or upload it again.".to_owned(),
        };
    }
    let reasons = figures.reasons();
    let why = match reasons.first() {
        Some(reason) => format!(": {}", reason.text),
        None => String::new(),
    };
    Failure {
        stage: "enrich".to_owned(),
        what: format!(
            "None of the {} rows could be processed{why}",
            figures.counts().records
        ),
        advice: "The cause is a machine, a service or the setup, not your rows. Forward this mail \
                 to the person who operates Rowmill: the logs of the jobs have the details. Then \
                 upload the file again."
            .to_owned(),
    }
}
