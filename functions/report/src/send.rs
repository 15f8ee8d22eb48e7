//! The mail of a run: stored, then sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use rowmill_domain::event::Invocation;
use rowmill_domain::run::Failure;
use rowmill_domain::{Manifest, RunItem, RunState, keys};
use rowmill_pipeline::{Pipeline, from_manifest};
use rowmill_ports::{Envelope, ErrorKind, PortError, Put, RunPatch};
use rowmill_runs::Transition;

use crate::ending::{Attached, Ending, end_state};
use crate::error::ReportError;
use crate::mail::{self, Allowed, Content, Recipients};
use crate::stage::Report;

/// Metadata of a stored mail: the state in which the run ends.
const STATE: &str = "state";

impl Report {
    /// Stores the mail, sends it, and records both.
    pub(crate) async fn keep_and_send(
        &self,
        run: &RunItem,
        ending: Ending,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let failed = |message: String| ReportError::Mail {
            run: run.id.clone(),
            message,
        };
        let make = |name: &str, content: &Content, attachment| {
            let rendered = mail::render(ending.state, content).map_err(|e| e.to_string())?;
            let (from, to) = (&self.config.from, &ending.recipients);
            mail::mime(name, from, to, rendered, attachment, cx.now).map(Bytes::from)
        };
        let (content, mut attachment) = (&ending.content, None);
        if let Some(Attached { bytes, linked }) = ending.attached {
            if let Some(linked) = linked {
                let mut by_link = content.clone();
                by_link.workbook = Some(linked);
                let name = format!("{}-linked", run.id);
                let mime = make(&name, &by_link, None).map_err(failed)?;
                let key = keys::linked_mail(&run.id);
                self.keep(&key, mime, ending.state, false).await?;
            }
            attachment = content.workbook.as_ref().map(|w| (w.name.clone(), bytes));
        }
        let mime = make(run.id.as_str(), content, attachment).map_err(failed)?;
        let key = keys::mail(&run.id);
        match self.keep(&key, mime.clone(), ending.state, true).await {
            Ok(()) => {}
            // Another invocation, whose lease has expired, stored a mail first: that one counts.
            Err(error) if error.kind == ErrorKind::Conflict => {
                return match self.send_kept(run, cx).await? {
                    true => Ok(()),
                    false => Err(failed("the stored mail is missing".to_owned())),
                };
            }
            Err(error) => return Err(error.into()),
        }
        // Only now: an attempt that could not store its email must have no effect.
        self.change(&run.id, Transition::RecordResult, ending.record, cx)
            .await?;
        self.end(run, ending.state, &ending.recipients, &mime, cx)
            .await
    }

    /// Sends the mail that an earlier attempt has stored. `false` if there is none.
    pub(crate) async fn send_kept(
        &self,
        run: &RunItem,
        cx: &Invocation,
    ) -> Result<bool, ReportError> {
        let Some(mime) = self.work.find(&keys::mail(&run.id)).await? else {
            return Ok(false);
        };
        let manifest = self.readable_manifest(run).await?;
        let recipients = self.recipients(run, manifest.as_ref()).await?;
        let key = keys::mail(&run.id);
        let kept = self.work.head(&key).await?.metadata;
        let kept = kept.get(STATE).map(String::as_str);
        let state = [
            RunState::Delivered,
            RunState::DeliveredWithErrors,
            RunState::Failed,
        ]
        .into_iter()
        .find(|state| kept == Some(state.name()))
        // A mail of an earlier version.
        .unwrap_or_else(|| end_state(run.counts, run.failure.as_ref()));
        if state == RunState::Failed && run.failure.is_none() {
            // Interrupted after the mail was stored, before the failure was recorded.
            let failure = RunPatch {
                failure: Some(Failure {
                    stage: "report".to_owned(),
                    what: "The run has no result".to_owned(),
                    advice: "The mail of the run says why, and what to do.".to_owned(),
                }),
                ..RunPatch::default()
            };
            self.change(&run.id, Transition::RecordResult, failure, cx)
                .await?;
        }
        self.end(run, state, &recipients, &mime, cx).await?;
        Ok(true)
    }

    async fn keep(
        &self,
        key: &str,
        mime: Bytes,
        state: RunState,
        if_absent: bool,
    ) -> Result<(), PortError> {
        let put = Put {
            content_type: Some("message/rfc822".to_owned()),
            metadata: BTreeMap::from([(STATE.to_owned(), state.name().to_owned())]),
            if_absent,
        };
        self.work.put(key, mime, put).await.map(drop)
    }

    /// Sends a mail of a run. Returns the id of the mail.
    pub(crate) async fn send(
        &self,
        run: &RunItem,
        recipients: &Recipients,
        mime: &[u8],
    ) -> Result<String, ReportError> {
        let from = mail::address(&self.config.from).map_err(|message| ReportError::Mail {
            run: run.id.clone(),
            message,
        })?;
        let envelope = Envelope {
            run: run.id.clone(),
            from,
            to: recipients.addresses(),
        };
        Ok(self.mailer.send(&envelope, mime).await?)
    }

    /// Sends the mail that ends the run.
    async fn end(
        &self,
        run: &RunItem,
        state: RunState,
        recipients: &Recipients,
        mime: &[u8],
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let id = match self.send(run, recipients, mime).await {
            Err(ReportError::Port(refusal)) if !refusal.is_retryable() => {
                self.report_refusal(run, recipients, mime, refusal, cx)
                    .await?
            }
            sent => sent?,
        };
        tracing::info!(run = %run.id, state = state.name(), mail = id, "mail sent");
        let transition = match state {
            RunState::Delivered => Transition::Deliver,
            RunState::DeliveredWithErrors => Transition::DeliverWithErrors,
            // The remaining end state.
            _ => Transition::Fail,
        };
        let sent = RunPatch {
            mail: Some(id),
            ..RunPatch::default()
        };
        self.change(&run.id, transition, sent, cx).await
    }

    /// Sends a mail that the mail service refuses to the default recipient, with the reason, so
    /// that one invalid recipient does not prevent delivery to the others.
    async fn report_refusal(
        &self,
        run: &RunItem,
        recipients: &Recipients,
        mime: &[u8],
        refusal: PortError,
        cx: &Invocation,
    ) -> Result<String, ReportError> {
        tracing::error!(run = %run.id, error = %refusal, "the mail service refused the mail");
        let default = match Recipients::choose(&[], self.allowed()) {
            Ok(default) if default.to != recipients.to => default,
            _ => return Err(refusal.into()),
        };
        let why = refusal.to_string();
        let (from, tried) = (&self.config.from, recipients.addresses());
        let notice = mail::refused(&run.id, from, &default, &tried, &why, mime, cx.now);
        let notice = notice.map_err(|message| ReportError::Mail {
            run: run.id.clone(),
            message,
        })?;
        self.send(run, &default, &notice).await
    }

    /// The recipients: those that the upload names, else the pipeline's, else the default.
    pub(crate) async fn recipients(
        &self,
        run: &RunItem,
        manifest: Option<&Manifest>,
    ) -> Result<Recipients, ReportError> {
        let none = Vec::new();
        let uploaded = manifest.map_or(&none, |m| &m.notify);
        let by_pipeline = self.notified(run, manifest).await?;
        Recipients::choose(&[uploaded, &by_pipeline], self.allowed()).map_err(|tried| {
            ReportError::NoRecipient {
                run: run.id.clone(),
                tried,
            }
        })
    }

    /// The recipients in the run's pipeline: the one in its manifest, else the file in the work
    /// bucket. A pipeline that cannot be read names nobody, because the mail that reports a failure
    /// must go out.
    async fn notified(
        &self,
        run: &RunItem,
        manifest: Option<&Manifest>,
    ) -> Result<Vec<String>, ReportError> {
        let pipeline = match manifest {
            Some(manifest) => from_manifest(manifest)
                .map(Some)
                .map_err(|error| error.to_string()),
            None => {
                let key = keys::pipeline(&run.id.pipeline());
                match self.work.find(&key).await {
                    Ok(file) => file.map(|file| parse(&key, &file)).transpose(),
                    Err(error) if !error.is_retryable() => Err(error.to_string()),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(match pipeline {
            Ok(pipeline) => pipeline.map_or_else(Vec::new, |pipeline| pipeline.notify.to),
            Err(error) => {
                tracing::warn!(
                    run = %run.id, error,
                    "the pipeline cannot be read; the mail goes to the default recipient"
                );
                Vec::new()
            }
        })
    }

    fn allowed(&self) -> Allowed<'_> {
        Allowed {
            domains: &self.config.allowed_domains,
            default_to: &self.config.default_to,
        }
    }
}

fn parse(file: &str, toml: &[u8]) -> Result<Pipeline, String> {
    let toml = std::str::from_utf8(toml).map_err(|error| format!("{file}: {error}"))?;
    Pipeline::parse(file, toml).map_err(|error| error.one_line())
}
