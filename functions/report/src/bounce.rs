//! Mail that bounced.

use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::event::{Bounce, Invocation};
use rowmill_domain::keys;
use rowmill_domain::run::Work;
use rowmill_ports::RunPatch;
use rowmill_runs::{Claimed, Transition, with_claim};

use crate::error::ReportError;
use crate::stage::Report;

impl Report {
    /// Records on the run which recipients its mail did not reach, and why. If the size of the
    /// workbook was the reason, the mail is sent once more to all recipients, with a link instead
    /// of the workbook.
    ///
    /// One event is about one recipient or several, and may arrive twice. Events of a run are
    /// handled one at a time.
    pub(crate) async fn bounced(
        &self,
        bounce: &Bounce,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let run = &bounce.run;
        tracing::warn!(%run, mail = bounce.mail, recipients = ?bounce.recipients, "the mail bounced");
        if self.runs.find_run(run).await?.is_none() {
            tracing::info!(%run, "unknown run: the bounced mail is ignored");
            return Ok(());
        }
        let note = async |_resumed| self.note_bounce(bounce, cx).await;
        match with_claim(&*self.coordination, run, Work::Bounce, cx, note).await? {
            Claimed::Worked(()) => Ok(()),
            Claimed::Held(_) | Claimed::Done => Err(ReportError::Busy(run.clone())),
        }
    }

    async fn note_bounce(&self, bounce: &Bounce, cx: &Invocation) -> Result<(), ReportError> {
        // Read under the claim: another event may have changed the run just before.
        let run = self.runs.find_run(&bounce.run).await?;
        let run = run.ok_or_else(|| ReportError::UnknownRun(bounce.run.clone()))?;
        let mut bounced = run.bounced.clone();
        bounced.extend(bounce.recipients.clone());
        let note = RunPatch {
            bounced: Some(bounced),
            ..RunPatch::default()
        };
        self.change(&run.id, Transition::RecordBounce, note, cx)
            .await?;
        if !bounce.by_workbook || run.linked_mail.is_some() {
            return Ok(());
        }
        // There is none if the first mail already had a link.
        let Some(mime) = self.work.find(&keys::linked_mail(&run.id)).await? else {
            return Ok(());
        };
        let Some(about) = self.work.find(&keys::about(&run.id)).await? else {
            return Ok(());
        };
        let about = ArchiveInfo::from_json(&about).map_err(|error| ReportError::Inconsistent {
            run: run.id.clone(),
            what: format!("{}: {error}", keys::about(&run.id)),
        })?;
        let recipients = self.recipients(&run, Some(&about.manifest)).await?;
        let id = self.send(&run, &recipients, &mime).await?;
        tracing::info!(run = %run.id, mail = id, "sent the mail again, with a link");
        let sent = RunPatch {
            linked_mail: Some(id),
            ..RunPatch::default()
        };
        self.change(&run.id, Transition::RecordBounce, sent, cx)
            .await
    }
}
