//! Mail that came back.

use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::event::{Bounce, Invocation};
use rowmill_domain::run::Work;
use rowmill_domain::{RunItem, RunState, keys};
use rowmill_ports::{Claim, RunPatch};

use crate::error::ReportError;
use crate::stage::{LEASE, Report};

impl Report {
    /// Notes on the run's record whom its mail did not reach, and why. Where the workbook was the
    /// reason, the mail goes once more to all its recipients, with a link in place of the workbook.
    ///
    /// Such events come one for each recipient or one for several, and each perhaps twice; they are
    /// worked on one at a time.
    pub(crate) async fn bounced(
        &self,
        bounce: &Bounce,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let run = &bounce.run;
        tracing::warn!(%run, mail = bounce.mail, recipients = ?bounce.recipients, "the mail came back");
        if self.ledger.run(run).await?.is_none() {
            tracing::info!(%run, "the run of this mail is not in the ledger");
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
        // Read under the claim: another event may just have changed it.
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
        // There is none where the workbook was linked from the start.
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
        tracing::info!(run = %run.id, mail = id, "the mail is sent once more, with a link");
        let sent = RunPatch {
            linked_mail: Some(id),
            ..RunPatch::default()
        };
        self.note(&run, sent, cx).await
    }

    /// Changes a run in whatever state it is: mail may come back before its sending is noted.
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
