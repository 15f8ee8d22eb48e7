//! How the stage is entered.

use rowmill_domain::event::Invocation;
use rowmill_events::{ToCleanup, to_cleanup};
use serde_json::Value;
use tracing::Instrument;

use crate::{Cleanup, CleanupError};

impl Cleanup {
    /// Handles what report answered, or the schedule's call for a sweep.
    ///
    /// # Errors
    /// It is neither, or what it asks for failed: then the same event may be given again. What a
    /// sweep could not move on is logged and left to the next one.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, CleanupError> {
        match to_cleanup(payload)? {
            Some(ToCleanup::Reported(reported)) => {
                let span = tracing::info_span!("cleanup", run = %reported.run);
                self.handle(&reported, cx).instrument(span).await?;
            }
            Some(ToCleanup::Sweep) => {
                self.sweep(cx).await?;
            }
            None => {}
        }
        Ok(None)
    }
}
