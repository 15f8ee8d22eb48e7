//! The stages, each entered by its event.

use async_trait::async_trait;
use rowmill_cleanup::Cleanup;
use rowmill_domain::event::Invocation;
use rowmill_domain::message::Message;
use rowmill_events::{ToCleanup, s3_created, sns_messages, to_cleanup, to_report};
use rowmill_local::bus::Target;
use rowmill_local::{Handler, HandlerError};
use rowmill_report::Report;
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
        match target {
            Target::Split => {
                for object in s3_created(payload).map_err(malformed)? {
                    self.split.handle(&object, cx).await.map_err(failed)?;
                }
            }
            Target::Submit => {
                for message in sns_messages(payload).map_err(malformed)? {
                    if let Message::Split { run } = message {
                        self.submit.handle(&run, cx).await.map_err(failed)?;
                    }
                }
            }
            Target::Report => {
                for event in to_report(payload).map_err(malformed)? {
                    let reported = self.report.handle(&event, cx).await.map_err(failed)?;
                }
            }
            Target::Cleanup => match to_cleanup(payload).map_err(malformed)? {
                Some(ToCleanup::Reported(reported)) => self.cleanup.handle(&reported, cx).await.map_err(failed)?,
                Some(ToCleanup::Sweep) => self.cleanup.sweep(cx).await.map_err(failed)?,
                None => {}
            },
        }
        Ok(None)
    }
}
