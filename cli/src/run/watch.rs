//! Watches a run until it ends.

use std::time::Duration;

use rowmill_domain::RunItem;
use rowmill_local::RunScope;
use rowmill_local::bus::Target;
use rowmill_ports::{PortError, Runs};
use tokio::sync::watch;

use super::progress::ProgressDisplay;
use super::upload::is_over;
use crate::error::CliError;
use crate::stack::{LocalStack, RunningStack};

/// How often to look at the run if nothing reports a change.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// Minimum time between two polls.
const LOOK_LEAST: Duration = Duration::from_millis(15);

/// Why watching a run ended.
pub(super) enum WatchEnd {
    /// The run is over.
    Over(Box<RunItem>),
    /// A signal arrived.
    Stopped,
    /// The run cannot end, with the reason for the person: a stage failed on every attempt, or the state
    /// directory failed.
    CannotContinue(String),
}

/// Watches a run until it is over, a signal arrives, or it cannot continue.
pub(super) async fn watch(
    stack: &LocalStack,
    running: &RunningStack,
    scope: &RunScope,
    phases: u16,
    mut stop: watch::Receiver<bool>,
    progress: &mut ProgressDisplay,
) -> Result<WatchEnd, CliError> {
    let failed = |e: PortError| CliError::failed("cannot read the ledger", e);
    let mut changed = stack.cloud.changed();
    let mut said = None;
    loop {
        // Before the look, so that a change during it triggers the next one.
        changed.borrow_and_update();
        let run = stack.ledger.find_run(&scope.id).await.map_err(failed)?;
        if let Some(run) = &run {
            if is_over(run) {
                return Ok(WatchEnd::Over(Box::new(run.clone())));
            }
            let at = stack.progress(run, phases).await.map_err(failed)?;
            progress.show(at, run.counts);
        }
        let cannot_start = stack.cannot_start();
        if let Some(why) = &cannot_start
            && cannot_start != said
        {
            progress.say(&format!("children cannot start, trying again: {why}"));
            said = cannot_start;
        }
        if running.is_over() {
            let why = "the state directory failed".to_owned();
            return Ok(WatchEnd::CannotContinue(why));
        }
        if let Some(end) = handle_dead_letters(stack, scope, run.as_ref(), progress)? {
            return Ok(end);
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(WatchEnd::Stopped),
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = changed.changed() => tokio::time::sleep(LOOK_LEAST).await,
        }
    }
}

/// Ends the command if a message of the run is a dead letter.
///
/// No email is sent about it: what failed on this machine can be repaired, and the same command then
/// puts the message back on the queue. A dead letter of cleanup does not change the result.
fn handle_dead_letters(
    stack: &LocalStack,
    scope: &RunScope,
    run: Option<&RunItem>,
    progress: &ProgressDisplay,
) -> Result<Option<WatchEnd>, CliError> {
    let letters = stack.dead_letters(scope);
    let letters = letters.map_err(|e| CliError::failed("cannot read the queue", e))?;
    let Some(letter) = letters.first() else {
        return Ok(None);
    };
    let stage = letter.target.name();
    let why = format!("{stage} failed on every attempt: {}", letter.error);
    Ok(Some(match (letter.target, run) {
        (Target::Cleanup, Some(run)) => {
            progress.say(&format!(
                "{why}\nFix the cause, then run the same command again to clean up."
            ));
            WatchEnd::Over(Box::new(run.clone()))
        }
        _ => WatchEnd::CannotContinue(why),
    }))
}
