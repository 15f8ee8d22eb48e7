//! `rowmill upload`: a workbook into the inbox of a stack.

use std::collections::BTreeSet;

use chrono::Utc;
use futures::TryStreamExt;
use miette::miette;
use rowmill_domain::run::UploadSource;
use rowmill_domain::{PipelineName, RunId, RunItem, keys};
use rowmill_pipeline::{BUILT_IN, Pipeline, built_in};
use rowmill_ports::{PortError, Put};
use rowmill_runs::WorkBucket;
use rowmill_split::PARAMETER_METADATA;

use super::attach::Following;
use super::deployment::{Deployment, Place};
use super::list::{View, unreadable};
use crate::args::{UploadArgs, Where};
use crate::error::CliError;
use crate::exit::Exit;
use crate::named::no_run;
use crate::output::{self, say};
use crate::signals;

/// Uploads a workbook, and follows its run unless `--detach` is given.
pub(crate) async fn upload(args: &UploadArgs) -> Result<Exit, CliError> {
    let workbook = &args.workbook;
    let unreadable_file =
        |e: std::io::Error| CliError::refused(miette!("cannot read {}: {e}", workbook.display()));
    let file = std::fs::File::open(workbook).map_err(unreadable_file)?;
    let size = file.metadata().map_err(unreadable_file)?.len();
    let name = workbook.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| {
        CliError::refused(miette!(
            "{} does not end in the name of a file",
            workbook.display()
        ))
    })?;
    let at = Where {
        out: Default::default(),
        stack: Some(args.stack.clone()),
    };
    let found = Deployment::find(&at).await?;
    let Some(Deployment {
        control,
        place: Place::Stack(stack),
    }) = found
    else {
        return Err(no_run(&at, name));
    };
    let pipeline = pipeline(&control.work, &args.pipeline, &at).await?;
    let text = text(&control.work, &pipeline).await.map_err(unreadable)?;
    let parsed = Pipeline::parse(&keys::pipeline(&pipeline), &text);
    let parsed = parsed.map_err(|e| CliError::refused(*e))?;
    let values = args.given.values();
    let wrong = parsed.parameter_values(&values).err().unwrap_or_default();
    let wrong = wrong.iter().map(|wrong| miette!("{wrong}")).collect();
    if let Some(error) = CliError::all_refused(wrong) {
        return Err(error);
    }

    let key = format!("{pipeline}/{name}");
    let metadata = values
        .iter()
        .map(|(name, value)| (format!("{PARAMETER_METADATA}{name}"), value.clone()));
    let put = Put {
        metadata: metadata.collect(),
        ..Put::default()
    };
    let detach = signals::detach()?;
    say!(
        "uploading {name} ({}) to the folder {pipeline} of {at}",
        indicatif::HumanBytes(size)
    );
    let inbox = stack.inbox;
    let mut stop = detach.clone();
    let object = tokio::select! {
        object = inbox.upload(&key, workbook, put) => object,
        _ = stop.wait_for(|stop| *stop) => {
            say!("stopped: the workbook is not uploaded, and no run is started");
            return Ok(Exit::Interrupted);
        }
    };
    let object = object.map_err(|e| CliError::failed("cannot upload the workbook", e))?;
    let version = object.version.as_ref().unwrap_or(&object.etag);
    let id = RunId::new(
        inbox.name(),
        &key,
        version,
        object.modified,
        pipeline.as_str(),
    );
    // Split does the same when it receives the event. Until then, the run can already be found.
    let source = UploadSource {
        bucket: inbox.name().to_owned(),
        key,
        version: version.clone(),
        size: object.size,
        uploaded: object.modified,
    };
    let run = RunItem::new(id.clone(), source, Utc::now());
    let created = control.runs.create_run(&run).await;
    created.map_err(|e| CliError::failed(format_args!("run {id} cannot be followed"), e))?;
    say!("run {id}");
    if args.detach {
        let view = View::of(&control, run, true).await.map_err(unreadable)?;
        match args.json {
            true => output::json(&view.json()),
            false => output::line(format_args!(
                "run {id} is started. To follow it:\n  rowmill attach {id} {}",
                at.options()
            )),
        }
        return Ok(Exit::Done);
    }
    let following = Following {
        control: &control,
        at: &at,
        to: &args.to,
        json: args.json,
    };
    following.follow(&id, detach).await
}

/// The name of a pipeline that the stack has, or a refusal that lists those it has.
async fn pipeline(work: &WorkBucket, name: &str, at: &Where) -> Result<PipelineName, CliError> {
    let names = pipelines(work).await.map_err(unreadable)?;
    let parsed = name.parse::<PipelineName>();
    match parsed {
        Ok(parsed) if names.contains(name) => Ok(parsed),
        _ => {
            let names: Vec<String> = names.into_iter().collect();
            Err(CliError::refused(miette!(
                help = format!("it has {}", names.join(", ")),
                "{at} has no pipeline {name}"
            )))
        }
    }
}

/// The names of all pipelines of a stack.
async fn pipelines(work: &WorkBucket) -> Result<BTreeSet<String>, PortError> {
    let objects: Vec<_> = work.list_all(keys::PIPELINES).try_collect().await?;
    let put = objects
        .iter()
        .filter_map(|object| keys::pipeline_of(&object.key));
    let built_in = BUILT_IN.iter().map(|(name, _)| (*name).to_owned());
    Ok(put.map(|name| name.to_string()).chain(built_in).collect())
}

/// The text of a pipeline: the file of the stack, or the built-in one.
async fn text(work: &WorkBucket, name: &PipelineName) -> Result<String, PortError> {
    let found = work.find(&keys::pipeline(name)).await?;
    let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let known = found.or_else(|| built_in(name.as_str()).map(Into::into));
    Ok(known.unwrap_or_default())
}
