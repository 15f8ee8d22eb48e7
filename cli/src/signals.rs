//! Ctrl-C, Ctrl-Z and SIGTERM.

use rustix::process::Signal as TerminalSignal;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::CliError;
use crate::exit::Exit;

/// Listens for SIGINT and SIGTERM. The first signal sets the watch to true: finish and store the
/// records in progress. The second ends the process at once, with exit code `second`; nothing that
/// was stored is lost.
pub(crate) fn stop(second: Exit) -> Result<watch::Receiver<bool>, CliError> {
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        sender.send_replace(true);
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(second.code().into());
    });
    Ok(stop)
}

/// Listens for SIGINT, SIGTERM and Ctrl-Z, each of which sets the watch to true: a command that follows a
/// run leaves it.
pub(crate) fn detach() -> Result<watch::Receiver<bool>, CliError> {
    let (mut interrupt, mut terminate, mut suspend) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
        listen(SignalKind::from_raw(TerminalSignal::TSTP.as_raw()))?,
    );
    let (sender, detach) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            () = either(&mut interrupt, &mut terminate) => {}
            _ = suspend.recv() => {}
        }
        sender.send_replace(true);
    });
    Ok(detach)
}

fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|e| CliError::failed("cannot listen for signals", e))
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
