//! `rowmill run`: puts the workbook into the inbox, and watches until its run is over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use miette::miette;
use rowmill_domain::message::Message;
use rowmill_domain::run::Failure;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{RunId, RunItem, RunState, config, keys};
use rowmill_local::bus::Target;
use rowmill_local::{LocalError, SmtpMailer};
use rowmill_pipeline::plan::stages;
use rowmill_ports::{Ledger, Location, Objects, Optional, PortError, Topic};
use serde_json::json;
use tokio::sync::watch;

use crate::args::RunArgs;
use crate::cloud::{AtWork, Machine, STATE, Setup, WORK};
use crate::exit::{Exit, Stop};
use crate::output::say;
use crate::progress::{Progress, seconds};
use crate::upload::{Upload, is_over};
use crate::{check, input, output, report, signals, upload};

/// How often the run is looked at where nothing tells of a change.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// The least time between two looks, however much changes.
const LOOK_LEAST: Duration = Duration::from_millis(15);

/// How watching a run ended.
enum Ended {
    /// The run is over.
    Over(Box<RunItem>),
    /// A signal came.
    Stopped,
    /// A stage gave up, so that the run cannot end: what it was, for the person.
    GaveUp(String),
}

/// Carries `rowmill run` out.
pub(crate) async fn run(
    args: &RunArgs,
    relay: Option<String>,
    secrets: &Secrets,
) -> Result<Exit, Stop> {
    let began = Instant::now();
    input::is_file(&args.workbook)?;
    let chosen = input::required(&args.workbook, args.pipeline.as_deref())?;
    let given = args.given.values();
    let lacks = check::set_up(&chosen, chosen.parameters(&given)?, secrets)?;
    let lacks = lacks
        .iter()
        .map(|lack| miette!("{lack}"))
        .collect::<Vec<_>>();
    if let Some(stop) = Stop::all_refused(lacks) {
        return Err(stop);
    }
    chosen.check_columns(&args.workbook)?;

    let stop = signals::stop(Exit::Interrupted)?;
    let relay = relay.map(|url| SmtpMailer::new(&url)).transpose();
    let relay = relay.map_err(|e| Stop::refused(miette!("{}: {e}", config::ROWMILL_SMTP)))?;
    let setup = Setup {
        slots: args.slots,
        chaos: args.chaos,
        relay,
    };
    let machine = Machine::open(&args.out, setup).map_err(|e| match e {
        LocalError::Locked { .. } => Stop::refused(miette!("{e}")),
        e => Stop::refused(miette!(
            help = "name another directory with --out, or see to it that this one can be written",
            "cannot open the state directory in {}: {e}",
            args.out.display()
        )),
    })?;
    let failed = |e: PortError| Stop::failed("cannot put the workbook into the inbox", e);
    upload::pipeline(&*machine.objects, &chosen)
        .await
        .map_err(failed)?;
    let uploaded = upload::workbook(
        &*machine.objects,
        &*machine.ledger,
        &args.workbook,
        &chosen,
        upload::Order {
            limit: args.limit,
            parameters: &given,
        },
        args.force,
    )
    .await
    .map_err(failed)?;

    let id = match uploaded {
        Upload::Known(run) if is_over(&run) => {
            say!(
                "{} by run {} of {}; --force runs it again",
                if run.state == RunState::Failed {
                    "tried already"
                } else {
                    "delivered already"
                },
                run.id,
                run.created
                    .with_timezone(&chrono::Local)
                    .format("%Y-%m-%d %H:%M"),
            );
            return finish(args, &machine, &run, began.elapsed()).await;
        }
        Upload::Known(run) => {
            say!("going on with run {}", run.id);
            let again = machine.redrive(&run).and_then(|()| machine.sweep());
            again.map_err(|e| Stop::failed("cannot write to the queue", e))?;
            run.id
        }
        Upload::New(object, id) => {
            let sent = machine.announce(&object);
            sent.map_err(|e| Stop::failed("cannot send the inbox's event", e))?;
            say!("run {id}");
            id
        }
    };

    let mut progress = Progress::new(machine.rows_read().clone());
    let work = machine.start();
    let stages = u16::try_from(stages(&chosen.pipeline).len()).unwrap_or(u16::MAX);
    let ended = watch(&machine, &work, &id, stages, stop, &mut progress).await;
    match ended? {
        Ended::Over(run) => {
            progress.finish();
            // Whatever is left to them is no part of this run.
            let _ = work.end().await;
            finish(args, &machine, &run, began.elapsed()).await
        }
        Ended::Stopped => {
            progress.abandon();
            say!("stopping: records at work are finished and stored (Ctrl-C again: at once)");
            let ended = work.end().await;
            ended.map_err(|e| Stop::failed("the state directory failed", e))?;
            say!(
                "stopped. The same command goes on with what is missing:\n  {}",
                command_line()
            );
            Ok(Exit::Interrupted)
        }
        Ended::GaveUp(why) => {
            progress.abandon();
            let why = work.end().await.err().unwrap_or(why);
            Err(Stop::failed(
                format_args!("run {id} cannot go on"),
                format_args!("{why}\nThe same command tries again:\n  {}", command_line()),
            ))
        }
    }
}

/// Looks at the run until it is over, a signal comes, or a stage has given up.
async fn watch(
    machine: &Machine,
    work: &AtWork,
    id: &RunId,
    stages: u16,
    mut stop: watch::Receiver<bool>,
    progress: &mut Progress,
) -> Result<Ended, Stop> {
    let failed = |e: PortError| Stop::failed("cannot read the ledger", e);
    let mut changed = machine.cloud.changed();
    let mut told = 0;
    loop {
        // Before the look, so that a change during it is seen by the next one.
        changed.borrow_and_update();
        let run = machine.ledger.run(id).await.map_err(failed)?;
        if let Some(run) = &run {
            if is_over(run) {
                return Ok(Ended::Over(Box::new(run.clone())));
            }
            progress.show(machine.at(run, stages).await.map_err(failed)?);
        }
        if work.is_over() {
            return Ok(Ended::GaveUp("the state directory failed".to_owned()));
        }
        if let Some(run) = &run
            && let Some(ended) = mourn(machine, run, &mut told, progress).await?
        {
            return Ok(ended);
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = changed.changed() => tokio::time::sleep(LOOK_LEAST).await,
        }
    }
}

/// Looks for messages of the run that a stage gave up. What split or submit gave up report tells,
/// by the mail of a failed run. What report gave up nobody can tell, and the same command may try
/// it again. What cleanup gave up takes nothing from the result.
async fn mourn(
    machine: &Machine,
    run: &RunItem,
    told: &mut usize,
    progress: &Progress,
) -> Result<Option<Ended>, Stop> {
    let dead = machine.given_up(run);
    let dead = dead.map_err(|e| Stop::failed("cannot read the queue", e))?;
    let Some(letter) = dead.get(*told) else {
        return Ok(None);
    };
    let stage = letter.target.name();
    let why = format!("{stage} gave up: {}", letter.error);
    match letter.target {
        Target::Split | Target::Submit => {}
        Target::Report => return Ok(Some(Ended::GaveUp(why))),
        Target::Cleanup => {
            progress.say(&format!(
                "{why}\nThe same command cleans up once that is mended."
            ));
            return Ok(Some(Ended::Over(Box::new(run.clone()))));
        }
    }
    progress.say(&why);
    *told += 1;
    let message = Message::Failed {
        run: run.id.clone(),
        failure: Failure {
            stage: stage.to_owned(),
            what: letter.error.clone(),
            advice: "Look at the reason, then run it again with --force.".to_owned(),
        },
    };
    let sent = machine.topic.publish(&message).await;
    sent.map_err(|e| Stop::failed("cannot write to the queue", e))?;
    Ok(None)
}

/// Copies what the run left to where the person wants it, and says how it ended.
async fn finish(
    args: &RunArgs,
    machine: &Machine,
    run: &RunItem,
    took: Duration,
) -> Result<Exit, Stop> {
    let stem = keys::stem(&run.source.key);
    let result = match &run.result {
        Some(key) => {
            let to = args.out.join(format!("{stem}-result.xlsx"));
            Some(match fetch(machine, key, &to).await? {
                Some(result) => result,
                None => remake(args, machine, run, to).await?,
            })
        }
        None => None,
    };
    let to = args.out.join(format!("{stem}-mail.eml"));
    let mail = fetch(machine, &keys::mail(&run.id), &to).await?;

    let exit = match run.state {
        RunState::Delivered => Exit::Done,
        RunState::DeliveredWithErrors => Exit::DeliveredWithErrors,
        _ => Exit::RunFailed,
    };
    if args.json {
        output::json(&json!({
            "run_id": run.id,
            "state": run.state.name(),
            "records": run.counts.records,
            "ok": run.counts.ok,
            "failed": run.counts.failed,
            "missing": run.counts.missing,
            "rejected": run.counts.rejected,
            "result": result,
            "mail": mail,
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }));
    } else {
        output::line(summary(run, took));
        for (name, path) in [("result", &result), ("mail", &mail)] {
            if let Some(path) = path {
                output::line(format_args!("  {name:7} {}", path.display()));
            }
        }
    }
    Ok(exit)
}

/// `delivered with errors: 330 records, 318 ok, 12 failed, 6 rows rejected, in 9.1 s`
fn summary(run: &RunItem, took: Duration) -> String {
    let counts = run.counts;
    let mut line = format!(
        "{}: {} records, {} ok",
        run.state.name().replace('_', " "),
        counts.records,
        counts.ok
    );
    for (count, word) in [
        (counts.failed, "failed"),
        (counts.missing, "missing"),
        (counts.rejected, "rows rejected"),
    ] {
        if count > 0 {
            line += &format!(", {count} {word}");
        }
    }
    line += &format!(", in {}", seconds(took));
    if let Some(failure) = &run.failure {
        line += &format!(
            "\n  {}: {}\n  {}",
            failure.stage, failure.what, failure.advice
        );
    }
    line
}

/// Makes a result that is kept no more again, from the rows kept of its run.
async fn remake(
    args: &RunArgs,
    machine: &Machine,
    run: &RunItem,
    to: PathBuf,
) -> Result<PathBuf, Stop> {
    let folder = machine.state.join(WORK).join(keys::results_prefix(&run.id));
    if !folder.join(keys::ABOUT).is_file() {
        return Err(Stop::refused(miette!(
            help = "run it again with --force",
            "the result of run {} was removed from {}, and so were the rows kept of it",
            run.id,
            args.out.join(STATE).display()
        )));
    }
    say!("the result was removed; it is made again from the rows kept");
    let made = tokio::task::spawn_blocking(move || report::make(&folder, &to).map(|_| to)).await;
    made.map_err(|e| Stop::failed("cannot make the workbook", e))?
}

/// Copies an object of the work bucket to a file, whole or not at all. `None` where there is no
/// such object.
async fn fetch(machine: &Machine, key: &str, to: &Path) -> Result<Option<PathBuf>, Stop> {
    let part = machine.state.join("delivery.part");
    let at = Location::new(WORK, key);
    let found = machine.objects.download(&at, &part).await.optional();
    if found
        .map_err(|e| Stop::failed("cannot read the result", e))?
        .is_none()
    {
        return Ok(None);
    }
    std::fs::rename(&part, to)
        .map_err(|e| Stop::failed(format_args!("cannot write {}", to.display()), e))?;
    Ok(Some(to.to_owned()))
}

/// The command as it was given, quoted for a shell.
fn command_line() -> String {
    let mut words = vec!["rowmill".to_owned()];
    words.extend(
        std::env::args_os()
            .skip(1)
            .map(|arg| output::quoted(&arg.to_string_lossy())),
    );
    words.join(" ")
}
