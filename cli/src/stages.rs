//! The stages, each entered by its event.

use async_trait::async_trait;
use rowmill_cleanup::Cleanup;
use rowmill_domain::event::Invocation;
use rowmill_domain::message::Message;
use rowmill_events::{
    EventError, ToCleanup, ToReport, s3_created, sns_messages, to_cleanup, to_report,
};
use rowmill_local::bus::Target;
use rowmill_local::{Handler, HandlerError};
use rowmill_report::{Report, ReportEvent};
use rowmill_split::Split;
use rowmill_submit::Submit;
use serde_json::Value;

/// What runs as one function each on AWS.
pub(crate) struct Stages {
    pub(crate) split: Split,
    pub(crate) submit: Submit,
    pub(crate) report: Report,
    pub(crate) cleanup: Cleanup,
}

#[async_trait]
impl Handler for Stages {
    async fn handle(
        &self,
        target: Target,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, HandlerError> {
        let mut answer = None;
        match target {
            Target::Split => {
                for object in s3_created(payload).map_err(malformed)? {
                    let done = self.split.handle(&object, cx).await;
                    done.map_err(|e| failed(&e, e.is_retryable()))?;
                }
            }
            Target::Submit => {
                for message in sns_messages(payload).map_err(malformed)? {
                    // The subscription takes no other.
                    if let Message::Split { run } = message {
                        let done = self.submit.handle(&run, cx).await;
                        done.map_err(|e| failed(&e, e.is_retryable()))?;
                    }
                }
            }
            Target::Report => {
                for event in to_report(payload).map_err(malformed)? {
                    let event = match event {
                        ToReport::Job(change) => ReportEvent::Job(change),
                        ToReport::Failed { run, failure } => ReportEvent::Failed { run, failure },
                        ToReport::Check { run } => ReportEvent::Check { run },
                    };
                    let done = self.report.handle(&event, cx).await;
                    let reported = done.map_err(|e| failed(&e, e.is_retryable()))?;
                    answer = reported
                        .map(|r| serde_json::json!({ "run": r.run }))
                        .or(answer);
                }
            }
            Target::Cleanup => match to_cleanup(payload).map_err(malformed)? {
                Some(ToCleanup::Reported(reported)) => {
                    let done = self.cleanup.handle(&reported, cx).await;
                    done.map_err(|e| failed(&e, e.is_retryable()))?;
                }
                Some(ToCleanup::Sweep) => {
                    let done = self.cleanup.sweep(cx).await;
                    let swept = done.map_err(|e| failed(&e, e.is_retryable()))?;
                    for action in &swept.actions {
                        tracing::info!(?action, "sweep");
                    }
                    for error in &swept.errors {
                        tracing::warn!(%error, "sweep");
                    }
                }
                None => {}
            },
        }
        Ok(answer)
    }
}

fn malformed(error: EventError) -> HandlerError {
    failed(&error, false)
}

fn failed(error: &dyn std::fmt::Display, retryable: bool) -> HandlerError {
    HandlerError {
        message: error.to_string(),
        retryable,
    }
}
