//! The events of split.

use rowmill_domain::event::Invocation;
use rowmill_events::{EventErrors, ToSplit, to_split};
use serde_json::Value;
use tracing::Instrument;

use crate::{Split, SplitError, run_id};

impl Split {
    /// Handles a notification by S3, which arrives directly or through SNS, and may be about
    /// several uploads, or a request for a retry. An upload that fails does not affect the others.
    ///
    /// # Errors
    /// The payload is not such an event, or an upload failed. The same event can be delivered
    /// again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, SplitError> {
        let mut errors = EventErrors::new(SplitError::is_retryable);
        for event in to_split(payload)? {
            let span = match &event {
                ToSplit::Created(object) => {
                    tracing::info_span!("split", run = %run_id(object), key = object.key)
                }
                ToSplit::Retry(request) => tracing::info_span!("retry", of = %request.run),
            };
            let handle = async {
                match &event {
                    ToSplit::Created(object) => self.handle(object, cx).await,
                    ToSplit::Retry(request) => self.retry(request, cx).await,
                }
            };
            let worked = async { errors.collect(handle.await) };
            worked.instrument(span).await;
        }
        errors.finish(None)
    }
}
