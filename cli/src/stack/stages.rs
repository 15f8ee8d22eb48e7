//! The stages, each triggered by its event.

use async_trait::async_trait;
use rowmill_cleanup::{Cleanup, CleanupError};
use rowmill_domain::event::Invocation;
use rowmill_local::bus::Target;
use rowmill_local::{Handler, HandlerError};
use rowmill_report::{Report, ReportError};
use rowmill_retention::{Retention, RetentionError};
use rowmill_split::{Split, SplitError};
use rowmill_submit::{Submit, SubmitError};
use serde_json::Value;

/// The stages. On AWS each is a function.
pub(crate) struct Stages {
    pub(crate) split: Split,
    pub(crate) submit: Submit,
    pub(crate) report: Report,
    pub(crate) cleanup: Cleanup,
    pub(crate) retention: Retention,
}

#[async_trait]
impl Handler for Stages {
    async fn handle(
        &self,
        target: Target,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, HandlerError> {
        match target {
            Target::Split => {
                let answer = self.split.invoke(payload, cx).await;
                answer.map_err(|e| failed(&e, SplitError::is_retryable))
            }
            Target::Submit => {
                let answer = self.submit.invoke(payload, cx).await;
                answer.map_err(|e| failed(&e, SubmitError::is_retryable))
            }
            Target::Report => {
                let answer = self.report.invoke(payload, cx).await;
                answer.map_err(|e| failed(&e, ReportError::is_retryable))
            }
            Target::Cleanup => {
                let answer = self.cleanup.invoke(payload, cx).await;
                answer.map_err(|e| failed(&e, CleanupError::is_retryable))
            }
            Target::Retention => {
                let answer = self.retention.invoke(payload, cx).await;
                answer.map_err(|e| failed(&e, RetentionError::is_retryable))
            }
        }
    }
}

fn failed<E: std::fmt::Display>(error: &E, is_retryable: fn(&E) -> bool) -> HandlerError {
    HandlerError {
        message: error.to_string(),
        retryable: is_retryable(error),
    }
}
