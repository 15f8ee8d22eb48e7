//! The events of cleanup.

use rowmill_domain::event::Invocation;
use rowmill_events::{EventErrors, ToCleanup, to_cleanup};
use serde_json::Value;
use tracing::Instrument;

use crate::{Cleanup, CleanupError, Mode};

impl Cleanup {
    /// Handles the result of report, the scheduled check of a run, the scheduled sweep, or a sweep that
    /// someone asks for. Answers to a sweep with what it found.
    ///
    /// # Errors
    /// The payload is none of these, or handling it failed. The same event can be delivered again.
    /// What fails within a sweep is logged, and the next sweep tries again.
    pub async fn invoke(
        &self,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, CleanupError> {
        let mut errors = EventErrors::new(CleanupError::is_retryable);
        let mut answer = None;
        for event in to_cleanup(payload)? {
            let entered = self.enter(event, cx).await;
            errors.collect(entered.map(|found| answer = found));
        }
        errors.finish(answer)
    }

    async fn enter(
        &self,
        event: ToCleanup,
        cx: &Invocation,
    ) -> Result<Option<Value>, CleanupError> {
        match event {
            ToCleanup::Reported(reported) => {
                let span = tracing::info_span!("cleanup", run = %reported.run);
                self.handle(&reported, cx).instrument(span).await?;
            }
            ToCleanup::Due { run } => {
                let span = tracing::info_span!("due", %run);
                self.due(&run, cx).instrument(span).await?;
            }
            ToCleanup::Sweep { dry_run } => {
                let mode = match dry_run {
                    true => Mode::DryRun,
                    false => Mode::Repair,
                };
                return Ok(Some(self.sweep(mode, cx).await?.json(mode)));
            }
        }
        Ok(None)
    }
}
