//! `rowmill serve`: the page and the API on this machine, and the runs that they start.

mod host;
mod pipelines;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;

use miette::miette;
use rowmill_api::{Indexes, LocalAccess, Rates, Service, local_router};
use rowmill_domain::config;
use rowmill_domain::secret::Secrets;
use rowmill_local::{LocalError, LocalTopic, SmtpMailer};
use rowmill_runs::WorkBucket;
use rowmill_tiers::CurrentTiers;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::host::LocalHost;
use self::pipelines::PipelineFolder;
use crate::args::ServeArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::signals;
use crate::stack::{INBOX, LocalStack, StackOptions, WORK};

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn serve(
    args: &ServeArgs,
    relay: Option<String>,
    secrets: &Secrets,
) -> Result<Exit, CliError> {
    let mut stop = signals::stop(Exit::Interrupted)?;
    let relay = relay.map(|url| SmtpMailer::new(&url)).transpose();
    let relay = relay.map_err(|e| CliError::refused(miette!("{}: {e}", config::ROWMILL_SMTP)))?;
    let options = StackOptions {
        slots: args.slots,
        chaos: None,
        relay,
    };
    let stack = LocalStack::open(&args.out, options).map_err(|e| match e {
        LocalError::Locked { .. } => CliError::refused(miette!("{e}")),
        e => CliError::refused(miette!(
            help = "make this directory writable, or choose another one with --out",
            "cannot open the state directory in {}: {e}",
            args.out.display()
        )),
    })?;
    let stack = Arc::new(stack);
    let folder = PipelineFolder::new(args.pipelines.as_deref())?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let listener = TcpListener::bind(address).await.map_err(|e| {
        CliError::refused(miette!(
            help = "choose another port with --port N, or any free one with --port 0",
            "cannot listen on {address}: {e}"
        ))
    })?;
    let port = listener
        .local_addr()
        .map_err(|e| CliError::failed("cannot listen", e))?
        .port();
    let token = token().map_err(|e| CliError::failed("cannot create a token", e))?;

    let host = Arc::new(LocalHost::new(stack.clone(), folder, secrets.clone()));
    let ready = host.start().await;
    ready.map_err(|e| CliError::failed("cannot prepare the state directory", e))?;
    let service = Arc::new(Service {
        work: WorkBucket::new(WORK, stack.objects.clone()),
        inbox: WorkBucket::new(INBOX, stack.objects.clone()),
        runs: stack.ledger.clone(),
        outcomes: stack.ledger.clone(),
        host,
        background: None,
        topic: Arc::new(LocalTopic::new(stack.cloud.clone(), None)),
        reviews: stack.ledger.clone(),
        submitters: stack.ledger.clone(),
        tiers: CurrentTiers::new(WorkBucket::new(WORK, stack.objects.clone())),
        indexes: Indexes::default(),
        rates: Rates::default(),
    });
    let router = local_router(service, LocalAccess::new(&token, port));
    let running = stack.start();

    let url = format!("http://127.0.0.1:{port}/#token={token}");
    output::line(&url);
    say!(
        "serving until Ctrl-C; results are in {}",
        args.out.display()
    );
    if args.open {
        open(&url);
    }
    let (end, mut ended) = watch::channel(false);
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        // Fails only if the sender is gone, and then the command has ended.
        let _ = ended.wait_for(|ended| *ended).await;
    });
    let server = tokio::spawn(server.into_future());
    let state_failed = loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break false,
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {
                if running.is_over() {
                    break true;
                }
            }
        }
    };
    end.send_replace(true);
    if !state_failed {
        say!(
            "stopping: finishing the records in progress (press Ctrl-C again to stop immediately)"
        );
    }
    let stopped = running.stop().await;
    // A page that keeps a request open must not keep the program.
    server.abort();
    stopped.map_err(|e| CliError::failed("cannot read or write the state directory", e))?;
    say!("stopped; `rowmill serve` with the same --out continues the runs");
    Ok(Exit::Done)
}

/// 256 random bits as hex digits.
fn token() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Opens the page in the browser of this machine. Without one, the person opens the printed address.
fn open(url: &str) {
    let program = match cfg!(target_os = "macos") {
        true => "open",
        false => "xdg-open",
    };
    let mut command = Command::new(program);
    command.arg(url);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        // Waits for it, so that it does not stay as a zombie.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(_) => say!("cannot open a browser ({program}); open the address above"),
    }
}
