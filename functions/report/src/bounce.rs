//! Mail that bounced.

use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::event::{Bounce, Invocation};
use rowmill_domain::run::Work;
use rowmill_domain::{RunItem, RunState, keys};
use rowmill_ports::{Claim, RunPatch};

use crate::error::ReportError;
use crate::stage::{LEASE, Report};

impl Report {
    /// Records on the run which recipients its mail did not reach, and why. If the size of the
    /// workbook was the reason, the mail is sent once more to all recipients, with a link instead of
    /// the workbook.
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
        if self.ledger.run(run).await?.is_none() {
            tracing::info!(%run, "unknown run: the bounced mail is ignored");
            return Ok(());
        }
        let (owner, work) = (&cx.owner, Work::Bounce);
        let claim = self.ledger.claim(run, work, owner, cx.now, LEASE).await?;
        if !matches!(claim, Claim::Taken { .. }) {
            return Err(ReportError::Busy(run.clone()));
        }
        let worked = self.note_bounce(bounce, cx).await;
        self.ledger.release(run, work, owner).await?;
        worked
    }

    async fn note_bounce(&self, bounce: &Bounce, cx: &Invocation) -> Result<(), ReportError> {
        // Read under the claim: another event may have changed the run just before.
        let run = self.ledger.run(&bounce.run).await?;
        let run = run.ok_or_else(|| ReportError::UnknownRun(bounce.run.clone()))?;
        let mut bounced = run.bounced.clone();
        bounced.extend(bounce.recipients.clone());
        let note = RunPatch {
            bounced: Some(bounced),
            ..RunPatch::default()
        };
        self.note(&run, note, cx).await?;
        if !bounce.by_workbook || run.linked_mail.is_some() {
            return Ok(());
        }
        // There is none if the first mail already had a link.
        let Some(mime) = self.object(&keys::linked_mail(&run.id)).await? else {
            return Ok(());
        };
        let Some(about) = self.object(&keys::about(&run.id)).await? else {
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
        self.note(&run, sent, cx).await
    }

    /// Changes a run in any state: mail may bounce before the run's state says that it is sent.
    async fn note(
        &self,
        run: &RunItem,
        patch: RunPatch,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let any = RunState::ALL;
        self.ledger.update_run(&run.id, &any, patch, cx.now).await?;
        Ok(())
    }
}
