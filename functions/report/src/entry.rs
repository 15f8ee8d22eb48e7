//! How the stage is entered.

use rowmill_domain::RunId;
use rowmill_domain::event::Invocation;
use rowmill_domain::job::JobName;
use rowmill_events::{ToReport, Tried, to_report};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::error::ReportError;
use crate::stage::Report;

impl Report {
    /// Handles what EventBridge, the topic or SES says. Answers `{"run": ..}`, which goes to cleanup,
    /// where a run's mail is sent. One record that fails keeps no other from being worked on.
    ///
    /// # Errors
    /// It is none of their events, or a record failed: then the same event may be given again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, ReportError> {
        let mut tried = Tried::new(ReportError::is_retryable);
        let mut answer = None;
        for event in to_report(payload)? {
            let span = match run(&event) {
                Some(run) => tracing::info_span!("report", %run),
                None => tracing::Span::none(),
            };
            let worked = async { tried.keep(self.handle(&event, cx).await) };
            // SNS and EventBridge hand over one record at a time, so there is one run to clean.
            if let Some(Some(reported)) = worked.instrument(span).await {
                answer = Some(json!(reported));
            }
        }
        tried.end(answer)
    }
}

/// The run that an event is of. `None` for a job of somebody else.
fn run(event: &ToReport) -> Option<RunId> {
    match event {
        ToReport::Job(change) => Some(JobName::parse(&change.name.0)?.0),
        ToReport::Failed { run, .. } | ToReport::Check { run } => Some(run.clone()),
        ToReport::Bounced(bounce) => Some(bounce.run.clone()),
    }
}
