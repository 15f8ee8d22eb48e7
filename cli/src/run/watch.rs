//! Watches a run until it ends.

use std::time::Duration;

use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Failure;
use rowmill_domain::{RunId, RunItem};
use rowmill_local::bus::Target;
use rowmill_ports::{PortError, Runs, Topic};
use tokio::sync::watch;

use super::progress::ProgressDisplay;
use super::upload::is_over;
use crate::error::CliError;
use crate::stack::{LocalStack, RunningStack};

/// How often to look at the run if nothing reports a change.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// The least time between two looks, however much changes.
const LOOK_LEAST: Duration = Duration::from_millis(15);

/// Why watching a run ended.
pub(super) enum WatchEnd {
    /// The run is over.
    Over(Box<RunItem>),
    /// A signal arrived.
    Stopped,
    /// The run cannot end, with the reason for the person: a stage failed too often, or the state
    /// directory failed.
    CannotContinue(String),
}

/// Watches the run until it is over, a signal arrives, or it cannot continue.
pub(super) async fn watch(
    stack: &LocalStack,
    running: &RunningStack,
    id: &RunId,
    phases: u16,
    mut stop: watch::Receiver<bool>,
    progress: &mut ProgressDisplay,
) -> Result<WatchEnd, CliError> {
    let failed = |e: PortError| CliError::failed("cannot read the ledger", e);
    let mut changed = stack.cloud.changed();
    let mut handled = 0;
    loop {
        // Before the look, so that a change during it triggers the next one.
        changed.borrow_and_update();
        let run = stack.ledger.find_run(id).await.map_err(failed)?;
        if let Some(run) = &run {
            if is_over(run) {
                return Ok(WatchEnd::Over(Box::new(run.clone())));
            }
            let at = stack.progress(run, phases).await.map_err(failed)?;
            progress.show(at, run.counts);
        }
        if running.is_over() {
            let why = "the state directory failed".to_owned();
            return Ok(WatchEnd::CannotContinue(why));
        }
        if let Some(run) = &run
            && let Some(end) = handle_dead_letters(stack, run, &mut handled, progress).await?
        {
            return Ok(end);
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(WatchEnd::Stopped),
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = changed.changed() => tokio::time::sleep(LOOK_LEAST).await,
        }
    }
}

/// Handles the next dead letter of the run, if there is one beyond the first `handled`.
///
/// A dead letter of split or submit fails the run, and report sends the mail about it. One of report
/// cannot be reported by mail, so the command ends; running it again retries. One of cleanup does
/// not change the result.
async fn handle_dead_letters(
    stack: &LocalStack,
    run: &RunItem,
    handled: &mut usize,
    progress: &ProgressDisplay,
) -> Result<Option<WatchEnd>, CliError> {
    let letters = stack.dead_letters(run);
    let letters = letters.map_err(|e| CliError::failed("cannot read the queue", e))?;
    let Some(letter) = letters.get(*handled) else {
        return Ok(None);
    };
    let stage = letter.target.name();
    let why = format!("{stage} failed too often: {}", letter.error);
    match letter.target {
        Target::Split | Target::Submit => {}
        Target::Report => return Ok(Some(WatchEnd::CannotContinue(why))),
        Target::Cleanup => {
            progress.say(&format!(
                "{why}\nFix the cause, then the same command cleans up."
            ));
            return Ok(Some(WatchEnd::Over(Box::new(run.clone()))));
        }
    }
    progress.say(&why);
    *handled += 1;
    let message = RunMessage::Failed {
        run: run.id.clone(),
        failure: Failure {
            stage: stage.to_owned(),
            what: letter.error.clone(),
            advice: "Fix the cause, then run it again with --force.".to_owned(),
        },
    };
    let sent = stack.topic.publish(&message).await;
    sent.map_err(|e| CliError::failed("cannot write to the queue", e))?;
    Ok(None)
}
