//! The events of submit.

use rowmill_domain::event::Invocation;
use rowmill_domain::message::RunMessage;
use rowmill_events::{EventErrors, sns_messages};
use serde_json::Value;
use tracing::Instrument;

use crate::{Submit, SubmitError};

impl Submit {
    /// Submits the runs that messages of the topic announce as split, ends the waiting jobs of those
    /// that are stopped, and ignores other messages. A run that fails does not affect the others.
    ///
    /// # Errors
    /// The payload is not an event by SNS, or a run failed. The same event can be delivered again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, SubmitError> {
        let mut errors = EventErrors::new(SubmitError::is_retryable);
        for message in sns_messages(payload)? {
            let (run, stopped) = match message {
                RunMessage::Split { run } => (run, None),
                RunMessage::Stop { run, reason } => (run, Some(reason)),
                // The subscription filters out other messages.
                _ => continue,
            };
            let span = tracing::info_span!("submit", %run);
            let worked = async {
                errors.collect(match stopped {
                    Some(reason) => self.stop(&run, reason, cx).await,
                    None => self.handle(&run, cx).await,
                })
            };
            worked.instrument(span).await;
        }
        errors.finish(None)
    }
}
