//! The events of split.

use rowmill_domain::event::Invocation;
use rowmill_events::{EventErrors, s3_created};
use serde_json::Value;
use tracing::Instrument;

use crate::{Split, SplitError, run_id};

impl Split {
    /// Handles a notification by S3, which arrives directly or through SNS, and may be about
    /// several uploads. An upload that fails does not affect the others.
    ///
    /// # Errors
    /// The payload is not such a notification, or an upload failed. The same event can be delivered
    /// again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, SplitError> {
        let mut errors = EventErrors::new(SplitError::is_retryable);
        for object in s3_created(payload)? {
            let run = run_id(&object);
            let span = tracing::info_span!("split", %run, key = object.key);
            let worked = async { errors.collect(self.handle(&object, cx).await) };
            worked.instrument(span).await;
        }
        errors.finish(None)
    }
}
