//! `rowmill split`: the first stage alone, into a directory.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::Utc;
use miette::miette;
use rowmill_domain::event::Invocation;
use rowmill_domain::message::Message;
use rowmill_domain::{Manifest, keys};
use rowmill_events::s3_created;
use rowmill_local::{Cloud, LocalScheduler, SqliteLedger, inbox_event};
use rowmill_ports::{Location, Objects, PortError, Topic};
use rowmill_split::Split;

use crate::args::SplitArgs;
use crate::cloud::{INBOX, STALLED_AFTER, WORK, buckets};
use crate::exit::{Exit, Stop};
use crate::upload::{self, Upload};
use crate::{input, output};

/// Runs the stage in a state directory that is gone afterwards, and keeps what it wrote.
pub(crate) async fn split(args: &SplitArgs) -> Result<Exit, Stop> {
    input::is_file(&args.workbook)?;
    let chosen = input::optional(&args.workbook, args.pipeline.as_deref())?;
    let given = args.given.values();
    chosen.parameters(&given)?;
    chosen.check_columns(&args.workbook)?;

    // In the directory asked for, so that what is kept needs no copy.
    let state = std::fs::create_dir_all(&args.out)
        .and_then(|()| {
            let mut builder = tempfile::Builder::new();
            builder.prefix(".rowmill-split-").tempdir_in(&args.out)
        })
        .map_err(|e| Stop::failed(format_args!("cannot write to {}", args.out.display()), e))?;
    let failed = |e: PortError| Stop::failed("cannot split the workbook", e);
    let objects = buckets(state.path()).map_err(|e| Stop::failed("cannot split", e))?;
    let objects = Arc::new(objects);
    let ledger = SqliteLedger::open(state.path()).map_err(|e| Stop::failed("cannot split", e))?;
    let ledger = Arc::new(ledger);
    let cloud = Cloud::open(state.path()).map_err(|e| Stop::failed("cannot split", e))?;
    let heard = Arc::new(Heard::default());

    upload::pipeline(&*objects, &chosen).await.map_err(failed)?;
    let uploaded = upload::workbook(
        &*objects,
        &*ledger,
        &args.workbook,
        &chosen,
        upload::Order {
            limit: args.limit,
            parameters: &given,
        },
        false,
    );
    let (object, run) = match uploaded.await.map_err(failed)? {
        Upload::New(object, run) => (object, run),
        Upload::Known(run) => {
            return Err(Stop::failed(
                "cannot split",
                format_args!("{} exists", run.id),
            ));
        }
    };
    let stage = Split {
        objects: objects.clone(),
        ledger,
        topic: heard.clone(),
        scheduler: Arc::new(LocalScheduler::new(cloud)),
        work_bucket: WORK.to_owned(),
        stalled_after: STALLED_AFTER,
        rows_read: Arc::new(AtomicU64::new(0)),
    };
    let invocation = Invocation {
        owner: "rowmill split".to_owned(),
        now: Utc::now(),
    };
    let event = s3_created(&inbox_event(INBOX, &object));
    for object in event.map_err(|e| Stop::failed("cannot split the workbook", e))? {
        let done = stage.handle(&object, &invocation).await;
        done.map_err(|e| Stop::failed("cannot split the workbook", e))?;
    }
    if let Some(Message::Failed { failure, .. }) = heard.last() {
        return Err(Stop::refused(miette!(
            help = failure.advice,
            "{}",
            failure.what
        )));
    }

    let manifest = objects
        .get(&Location::new(WORK, keys::manifest(&run)))
        .await;
    let manifest: Manifest = serde_json::from_slice(&manifest.map_err(failed)?.body)
        .map_err(|e| Stop::failed("cannot read the manifest", e))?;
    keep(state.path(), &keys::run_prefix(&run), &args.out)
        .map_err(|e| Stop::failed(format_args!("cannot write to {}", args.out.display()), e))?;
    output::line(format_args!(
        "rows {}, records {}, chunks {}, rejected {}\n  {}",
        manifest.rows_in,
        manifest.records,
        manifest.chunks.len(),
        manifest.rejected_total(),
        args.out.join(keys::manifest(&run)).display(),
    ));
    Ok(Exit::Done)
}

/// Moves the folder of objects below a prefix out of the work bucket, in place of what an earlier
/// split of the same workbook left.
fn keep(state: &Path, prefix: &str, out: &Path) -> std::io::Result<()> {
    let to = out.join(prefix);
    match std::fs::remove_dir_all(&to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Keys of runs are their paths in the bucket.
    std::fs::rename(state.join(WORK).join(prefix), to)
}

/// A topic with nobody behind it: it keeps what was said.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Message>>);

impl Heard {
    fn last(&self) -> Option<Message> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
    }
}

#[async_trait]
impl Topic for Heard {
    async fn publish(&self, message: &Message) -> Result<(), PortError> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(message.clone());
        Ok(())
    }
}
