//! How the stage is entered.

use rowmill_domain::event::Invocation;
use rowmill_domain::message::RunMessage;
use rowmill_events::{Tried, sns_messages};
use serde_json::Value;
use tracing::Instrument;

use crate::{Submit, SubmitError};

impl Submit {
    /// Submits every run that messages of the topic say is split; other messages are passed over.
    /// One that fails keeps no other from being worked on.
    ///
    /// # Errors
    /// It is no event by SNS, or a run failed: then the same event may be given again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, SubmitError> {
        let mut tried = Tried::new(SubmitError::is_retryable);
        for message in sns_messages(payload)? {
            // The subscription takes no other.
            let RunMessage::Split { run } = message else {
                continue;
            };
            let span = tracing::info_span!("submit", %run);
            let worked = async { tried.keep(self.handle(&run, cx).await) };
            worked.instrument(span).await;
        }
        tried.end(None)
    }
}
