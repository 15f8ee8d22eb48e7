//! A result that cannot be created for now: a permission or memory is missing, or time runs out. In a
//! deployment nobody waits at a terminal, so the starts of report are counted.

use rowmill_domain::event::Invocation;
use rowmill_domain::run::{Failure, REPORT_PAUSE, REPORT_STARTS, ReportStarts};
use rowmill_domain::{RunItem, keys};
use rowmill_ports::RunPatch;
use rowmill_runs::Transition;

use crate::config::Given;
use crate::ending::Ending;
use crate::error::ReportError;
use crate::mail;
use crate::stage::Report;

impl Report {
    /// Records that report starts on the result. Returns how often it started; `None` on one machine,
    /// where a person repeats the command.
    pub(crate) async fn start(
        &self,
        run: &RunItem,
        cx: &Invocation,
    ) -> Result<Option<ReportStarts>, ReportError> {
        let starts = match self.config.given {
            Given::Command => None,
            Given::Upload => Some(self.next_start(run, cx).await),
        };
        let started = RunPatch {
            report: starts.clone(),
            ..RunPatch::default()
        };
        self.change(&run.id, Transition::StartReport, started, cx)
            .await?;
        Ok(starts)
    }

    async fn next_start(&self, run: &RunItem, cx: &Invocation) -> ReportStarts {
        let mut starts = ReportStarts::after(run.report.as_ref(), cx.now);
        if starts.count > REPORT_STARTS && !starts.announced && cx.now < starts.until() {
            match self.announce(run, &starts, cx).await {
                Ok(()) => starts.announced = true,
                // The next start tries again. The result is more important.
                Err(error) => {
                    tracing::error!(run = %run.id, %error, "no email about a late result")
                }
            }
        }
        starts
    }

    /// Tells the recipients that the result is late.
    async fn announce(
        &self,
        run: &RunItem,
        starts: &ReportStarts,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let manifest = self.readable_manifest(run).await?;
        let recipients = self.recipients(run, manifest.as_ref()).await?;
        let late = mail::Late {
            file: keys::file_name(&run.source.key),
            why: why(run),
            starts: starts.count - 1,
            hours: REPORT_PAUSE.as_secs() / 3600,
            until: starts.until(),
        };
        let notice = mail::late(&run.id, &self.config.from, &recipients, &late, cx.now);
        let notice = notice.map_err(|message| ReportError::Mail {
            run: run.id.clone(),
            message,
        })?;
        let id = self.send(run, &recipients, &notice).await?;
        tracing::warn!(run = %run.id, mail = id, starts = starts.count, "the result is late");
        Ok(())
    }

    /// Records why a start failed, for the email. Best effort: the service that failed may be the ledger.
    pub(crate) async fn record_error(
        &self,
        run: &RunItem,
        starts: Option<ReportStarts>,
        error: &ReportError,
        cx: &Invocation,
    ) {
        let Some(starts) = starts else { return };
        let failed = RunPatch {
            report: Some(ReportStarts {
                error: Some(error.to_string()),
                ..starts
            }),
            ..RunPatch::default()
        };
        let change = Transition::RecordResult;
        if let Err(error) = self.change(&run.id, change, failed, cx).await {
            tracing::warn!(run = %run.id, %error, "the failed start is not recorded");
        }
    }

    /// The ending of a run whose result could not be created for two weeks.
    pub(crate) async fn given_up(
        &self,
        run: &RunItem,
        starts: &ReportStarts,
        cx: &Invocation,
    ) -> Result<Ending, ReportError> {
        let manifest = self.readable_manifest(run).await?;
        let failure = Failure {
            stage: "report".to_owned(),
            what: format!(
                "The result workbook could not be created in {} days and {} starts. {}",
                (cx.now - starts.first).num_days(),
                starts.count - 1,
                why(run)
            ),
            advice: "Forward this mail to the person who operates Rowmill. The processed rows are \
                     removed: once the cause is fixed, upload the file again."
                .to_owned(),
        };
        self.failed(run, manifest.as_ref(), &failure, run.counts, cx)
            .await
    }
}

/// Why the last start failed, and what to do.
fn why(run: &RunItem) -> String {
    match run
        .report
        .as_ref()
        .and_then(|starts| starts.error.as_deref())
    {
        Some(error) => format!("The last error was: {error}"),
        None => {
            "The function `report` was ended before it finished: it ran out of memory, or longer \
                 than 15 minutes. Increase the parameter ReportMemory of the stack, which makes it \
                 faster too."
                .to_owned()
        }
    }
}
