//! The events of retention.

use rowmill_domain::event::Invocation;
use rowmill_events::{EventErrors, ToRetention, to_retention};
use serde_json::Value;
use tracing::Instrument;

use crate::{Retention, RetentionError};

impl Retention {
    /// Handles a request to restore a result, the scheduled check of one, or an event of S3 about a copy
    /// of an archived object.
    ///
    /// # Errors
    /// The payload is none of these, or handling it failed. The same event can be delivered again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, RetentionError> {
        let mut errors = EventErrors::new(RetentionError::is_retryable);
        for event in to_retention(payload)? {
            errors.collect(self.enter(event, cx).await);
        }
        errors.finish(None)
    }

    async fn enter(&self, event: ToRetention, cx: &Invocation) -> Result<(), RetentionError> {
        match event {
            ToRetention::Restore { run, speed, by } => {
                let span = tracing::info_span!("restore", %run);
                self.restore(&run, speed, &by, cx).instrument(span).await
            }
            ToRetention::Retain { run } => {
                let span = tracing::info_span!("retain", %run);
                self.resume(&run, cx).instrument(span).await
            }
            ToRetention::Copy { bucket, key } => {
                let span = tracing::info_span!("copy", bucket, key);
                self.copy_changed(&bucket, &key, cx).instrument(span).await
            }
        }
    }
}
