//! The events of report.

use rowmill_domain::RunId;
use rowmill_domain::event::Invocation;
use rowmill_domain::job::JobName;
use rowmill_events::{EventErrors, ToReport, to_report};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::error::ReportError;
use crate::stage::Report;

impl Report {
    /// Handles an event from EventBridge, the topic or SES. Returns `{"run": ..}`, which goes to
    /// cleanup, if the mail of a run is sent. A record that fails does not affect the others.
    ///
    /// # Errors
    /// The payload is not such an event, or a record failed. The same event can be delivered again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, ReportError> {
        let mut errors = EventErrors::new(ReportError::is_retryable);
        let mut answer = None;
        for event in to_report(payload)? {
            let span = match run(&event) {
                Some(run) => tracing::info_span!("report", %run),
                None => tracing::Span::none(),
            };
            let worked = async { errors.collect(self.handle(&event, cx).await) };
            // SNS and EventBridge deliver one record at a time, so there is one run to clean.
            if let Some(Some(reported)) = worked.instrument(span).await {
                answer = Some(json!(reported));
            }
        }
        errors.finish(answer)
    }
}

/// The run that an event is about. `None` for a job that is not part of a run.
fn run(event: &ToReport) -> Option<RunId> {
    match event {
        ToReport::Job(change) => Some(JobName::parse(&change.name.0)?.0),
        ToReport::Failed { run, .. } | ToReport::Check { run } => Some(run.clone()),
        ToReport::Bounced(bounce) => Some(bounce.run.clone()),
    }
}
