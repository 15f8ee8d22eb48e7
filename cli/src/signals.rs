//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::{Exit, Stop};

/// Listens for SIGINT and SIGTERM from now on. The first sets the watch to true: finish what is
/// begun and store it. The second ends the process at once, with that exit code; nothing that was
/// stored is lost.
pub(crate) fn stop(second: Exit) -> Result<watch::Receiver<bool>, Stop> {
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        told.send_replace(true);
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(second.code().into());
    });
    Ok(stop)
}

fn listen(kind: SignalKind) -> Result<Signal, Stop> {
    signal(kind).map_err(|e| Stop::failed("cannot listen for signals", e))
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
