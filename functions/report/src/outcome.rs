//! How a run ends: the state, the workbook, the mail.

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::event::Invocation;
use rowmill_domain::kept::{About, KEPT_VERSION};
use rowmill_domain::limits::MAIL_MAX;
use rowmill_domain::link::LINK_DAYS;
use rowmill_domain::message::Failure;
use rowmill_domain::run::Counts;
use rowmill_domain::{Manifest, Pipeline, RunItem, RunState, keys};
use rowmill_ports::{Envelope, ErrorKind, Location, PortError, Put, RunPatch};

use crate::ended::Ended;
use crate::figures::Figures;
use crate::mail::{self, Allowed, Content, Recipients, Workbook};
use crate::workbook::{pipeline, summary};
use crate::{Report, ReportError};

/// Media type of a workbook.
pub(crate) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// How long a link to the object itself works, in hours: as long as S3 lets one. Source: S3 user
/// guide, "Download and upload objects with presigned URLs" (7 days).
const LINK_HOURS: u64 = 7 * 24;

/// What is known of a run when its mail is written.
struct Ending {
    state: RunState,
    content: Content,
    recipients: Recipients,
    /// The workbook's bytes, where it is attached.
    attachment: Option<Vec<u8>>,
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
        ended: &Ended,
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
        ended: &Ended,
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
        let pipeline = pipeline(&manifest)?;

        let directory = tempfile::tempdir()?;
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
        let (workbook, attachment) = self.workbook(run, &key, &path, cx.now).await?;
        content.workbook = Some(workbook);
        Ok(Ending {
            state: state(counts, None),
            content,
            recipients,
            attachment,
        })
    }

    /// Keeps what the kept rows do not tell.
    async fn keep_about(
        &self,
        run: &RunItem,
        manifest: &Manifest,
        finished: DateTime<Utc>,
    ) -> Result<(), ReportError> {
        let about = About {
            v: KEPT_VERSION,
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
            attachment: None,
        })
    }

    /// The run's manifest, where there is one that can be read: one that cannot may be the very
    /// failure that is to be told.
    async fn readable_manifest(&self, run: &RunItem) -> Result<Option<Manifest>, ReportError> {
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
    ) -> Result<(Workbook, Option<Vec<u8>>), ReportError> {
        let name = keys::file_name(key).to_owned();
        let size = tokio::fs::metadata(path).await?.len();
        // Base64 makes four bytes of three, and a line end of two for every 76; the rest of the
        // mail is small.
        let encoded = size / 3 * 4 / 76 * 78 + 64 * 1024;
        if size <= self.config.attach_limit && encoded <= MAIL_MAX as u64 {
            let attached = Workbook {
                name,
                size,
                link: None,
                until: None,
            };
            return Ok((attached, Some(tokio::fs::read(path).await?)));
        }
        let (link, until) = match &self.config.links {
            Some(links) => {
                let expires = now + TimeDelta::days(LINK_DAYS);
                let until = expires.format("%-d %B %Y").to_string();
                (links.to(&run.id, key, expires), Some(until))
            }
            None => {
                let at = Location::new(&self.config.work_bucket, key);
                let valid = std::time::Duration::from_secs(LINK_HOURS * 3600);
                (self.objects.link(&at, &name, valid).await?, None)
            }
        };
        let linked = Workbook {
            name,
            size,
            link: Some(link),
            until,
        };
        Ok((linked, None))
    }

    /// Keeps the mail, sends it, and notes both.
    async fn keep_and_send(
        &self,
        run: &RunItem,
        ending: Ending,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let failed = |message: String| ReportError::Mail {
            run: run.id.clone(),
            message,
        };
        let rendered =
            mail::render(ending.state, &ending.content).map_err(|e| failed(e.to_string()))?;
        let attachment = ending
            .attachment
            .zip(ending.content.workbook)
            .map(|(bytes, workbook)| (workbook.name, bytes));
        let mime = mail::mime(
            &run.id,
            &self.config.from,
            &ending.recipients,
            rendered,
            attachment,
            cx.now,
        )
        .map_err(failed)?;

        let key = keys::mail(&run.id);
        let mime = Bytes::from(mime);
        let put = Put {
            content_type: Some("message/rfc822".to_owned()),
            if_absent: true,
            ..Put::default()
        };
        let kept = self
            .objects
            .put(&self.config.work_bucket, &key, mime.clone(), put)
            .await;
        let mime = match kept {
            Ok(_) => mime,
            // Another invocation, whose lease ended meanwhile, kept one first: that one counts.
            Err(error) if error.kind == ErrorKind::Conflict => self
                .kept_mail(run)
                .await?
                .ok_or_else(|| failed("the mail kept is gone".to_owned()))?,
            Err(error) => return Err(error.into()),
        };
        self.send(run, ending.state, &ending.recipients, &mime, cx)
            .await
    }

    /// Sends the mail that an earlier try has kept. `false` where there is none.
    async fn send_kept(&self, run: &RunItem, cx: &Invocation) -> Result<bool, ReportError> {
        let Some(mime) = self.kept_mail(run).await? else {
            return Ok(false);
        };
        let manifest = self.readable_manifest(run).await?;
        let recipients = self.recipients(run, manifest.as_ref()).await?;
        let state = state(run.counts, run.failure.as_ref());
        self.send(run, state, &recipients, &mime, cx).await?;
        Ok(true)
    }

    async fn kept_mail(&self, run: &RunItem) -> Result<Option<Bytes>, PortError> {
        let at = Location::new(&self.config.work_bucket, keys::mail(&run.id));
        match self.objects.get(&at).await {
            Ok(object) => Ok(Some(object.body)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(
        &self,
        run: &RunItem,
        state: RunState,
        recipients: &Recipients,
        mime: &[u8],
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let envelope = Envelope {
            from: mail::address(&self.config.from).map_err(|message| ReportError::Mail {
                run: run.id.clone(),
                message,
            })?,
            to: recipients.addresses(),
        };
        let id = self.mailer.send(&envelope, mime).await?;
        tracing::info!(run = %run.id, state = state.name(), mail = id, "the mail is sent");
        let patch = RunPatch {
            state: Some(state),
            mail: Some(id),
            ..RunPatch::default()
        };
        self.update(&run.id, patch, cx).await
    }

    /// Whom the mail goes to: those the upload names, else the pipeline's, else the default.
    async fn recipients(
        &self,
        run: &RunItem,
        manifest: Option<&Manifest>,
    ) -> Result<Recipients, ReportError> {
        let none = Vec::new();
        let uploaded = manifest.map_or(&none, |m| &m.notify);
        let pipeline = match manifest {
            Some(manifest) => Some(manifest.pipeline_toml.clone()),
            None => self.pipeline_file(run).await?,
        };
        // Of a pipeline that cannot be read, nobody can tell whom it notifies.
        let pipeline = pipeline
            .and_then(|toml| Pipeline::parse("pipeline.toml", &toml).ok())
            .map_or(none.clone(), |pipeline| pipeline.notify.to);
        let allowed = Allowed {
            domains: &self.config.allowed_domains,
            default_to: &self.config.default_to,
        };
        Recipients::choose(&[uploaded, &pipeline], allowed).map_err(|tried| {
            ReportError::NoRecipient {
                run: run.id.clone(),
                tried,
            }
        })
    }

    /// The pipeline's file in the work bucket, where the run has no manifest that holds it.
    async fn pipeline_file(&self, run: &RunItem) -> Result<Option<String>, ReportError> {
        let key = keys::pipeline(run.id.pipeline());
        let at = Location::new(&self.config.work_bucket, key);
        match self.objects.get(&at).await {
            Ok(object) => Ok(String::from_utf8(object.body.into()).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The state that a run ends in.
fn state(counts: Counts, failure: Option<&Failure>) -> RunState {
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
