//! How the stage is entered.

use rowmill_domain::event::Invocation;
use rowmill_events::{Tried, s3_created};
use serde_json::Value;
use tracing::Instrument;

use crate::{Split, SplitError, run_id};

impl Split {
    /// Works on every upload that a notification by S3 tells of, direct or through SNS. One that
    /// fails keeps no other from being worked on.
    ///
    /// # Errors
    /// It is no such notification, or an upload failed: then the same event may be given again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, SplitError> {
        let mut tried = Tried::new(SplitError::is_retryable);
        for object in s3_created(payload)? {
            let run = run_id(&object);
            let span = tracing::info_span!("split", %run, key = object.key);
            let worked = async { tried.keep(self.handle(&object, cx).await) };
            worked.instrument(span).await;
        }
        tried.end(None)
    }
}
