//! `rowmill logs`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use miette::miette;
use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::job::JobName;
use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::{Manifest, RunId, keys};
use rowmill_runs::{WorkBucket, find_manifest};
use serde::Deserialize;
use serde_json::json;

use super::deployment::{Deployment, Place};
use super::list::unreadable;
use crate::args::{LogsArgs, Where};
use crate::error::CliError;
use crate::exit::Exit;
use crate::named::no_run;
use crate::output;
use crate::stack::LOGS;

/// The log of one attempt of a child.
struct Log {
    chunk: u32,
    phase: u16,
    child: u32,
    attempt: u32,
    path: PathBuf,
}

/// Prints the logs of a run's children, in the order of chunks, phases, children and attempts.
pub(crate) async fn logs(args: &LogsArgs) -> Result<Exit, CliError> {
    let at = Where {
        out: args.out.clone(),
        stack: None,
    };
    let (Deployment { control, place }, run) = Deployment::with_run(&at, &args.run).await?;
    let Place::Local(state) = place else {
        return Err(no_run(&at, &args.run));
    };
    let only = match args.row {
        Some(row) => Some(child_of(&control.work, &run.id, row).await?),
        None => None,
    };
    let mut logs = Vec::new();
    let jobs = control.runs.jobs(&run.id).await;
    for job in jobs.map_err(unreadable)? {
        let Some((_, chunk, phase)) = JobName::parse(&job.name.0) else {
            continue;
        };
        logs.extend(attempts(&state.path.join(LOGS), &job.id.0, chunk, phase));
    }
    logs.retain(|log| only.is_none_or(|only| only == (log.chunk, log.child)));
    logs.sort_by_key(|log| (log.chunk, log.phase, log.child, log.attempt));
    let text = |log: &Log| {
        let bytes = std::fs::read(&log.path);
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let unreadable =
        |log: &Log, e| CliError::failed(format_args!("cannot read {}", log.path.display()), e);
    let mut objects = Vec::new();
    for log in &logs {
        let text = text(log).map_err(|e| unreadable(log, e))?;
        if args.json {
            objects.push(json!({
                "chunk": log.chunk,
                "phase": log.phase,
                "child": log.child,
                "attempt": log.attempt,
                "path": log.path,
                "text": text,
            }));
            continue;
        }
        output::line(format_args!(
            "== chunk {}, phase {}, child {}, attempt {}: {}",
            log.chunk,
            log.phase,
            log.child,
            log.attempt,
            log.path.display()
        ));
        output::line(text.trim_end());
    }
    if args.json {
        output::json(&objects.into());
    } else if logs.is_empty() {
        output::line("no logs: no child has started, or they were removed");
    }
    Ok(Exit::Done)
}

/// The logs of all attempts of a job, or of its children.
fn attempts(logs: &Path, job: &str, chunk: u32, phase: u16) -> Vec<Log> {
    let mut found = Vec::new();
    for folder in folders(logs, job) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let index = name
            .rsplit_once(':')
            .and_then(|(_, index)| index.parse().ok());
        let child = index.unwrap_or(0);
        for file in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let attempt = name.strip_suffix(".log").and_then(|n| n.parse().ok());
            found.extend(attempt.map(|attempt| Log {
                chunk,
                phase,
                child,
                attempt,
                path: file.path(),
            }));
        }
    }
    found
}

/// The folders with the logs of a job and its children: `<job>` and `<job>:<index>`.
pub(super) fn folders(logs: &Path, job: &str) -> Vec<PathBuf> {
    let of_job = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(job));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    let entries = std::fs::read_dir(logs).into_iter().flatten().flatten();
    entries.filter(of_job).map(|entry| entry.path()).collect()
}

/// The chunk and the child that a row belongs to.
async fn child_of(work: &WorkBucket, run: &RunId, row: u32) -> Result<(u32, u32), CliError> {
    let no_such_row = || CliError::refused(miette!("row {row} is not a record of run {run}"));
    let manifest = manifest(work, run).await?;
    let holds = |plan: &&ChunkPlan| (plan.first_row..=plan.last_row).contains(&row);
    let plan = manifest.chunks.iter().find(holds).ok_or_else(no_such_row)?;
    let place = match plan.last_row - plan.first_row + 1 == plan.records {
        // Without rejected rows in between.
        true => Some((row - plan.first_row) as usize),
        false => place(work, run, plan.chunk, row).await?,
    };
    let place = place.ok_or_else(no_such_row)?;
    Ok((plan.chunk, plan.child_of(place)))
}

/// The manifest, which cleanup moves to the archived rows.
async fn manifest(work: &WorkBucket, run: &RunId) -> Result<Manifest, CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::failed("cannot read the manifest", e);
    if let Some(manifest) = find_manifest(work, run).await.map_err(|e| failed(&e))? {
        return Ok(manifest);
    }
    let about = work.find(&keys::about(run)).await.map_err(|e| failed(&e))?;
    let about = about
        .ok_or_else(|| CliError::refused(miette!("run {run} has no rows, or they were removed")))?;
    let about = ArchiveInfo::from_json(&about).map_err(|e| failed(&e))?;
    Ok(about.manifest)
}

/// The position of a row in its chunk, or in the archived rows of the chunk.
async fn place(
    work: &WorkBucket,
    run: &RunId,
    chunk: u32,
    row: u32,
) -> Result<Option<usize>, CliError> {
    #[derive(Deserialize)]
    struct Line {
        row: u32,
    }
    let failed = |e: &dyn std::fmt::Display| CliError::failed("cannot read the rows", e);
    let found = work.find(&keys::chunk(run, chunk)).await;
    let bytes: Box<dyn Read + Send> = match found.map_err(|e| failed(&e))? {
        Some(bytes) => Box::new(std::io::Cursor::new(bytes)),
        None => {
            let archived = work.get(&keys::archived_rows(run, chunk)).await;
            let archived = archived.map_err(|e| failed(&e))?;
            Box::new(MultiGzDecoder::new(std::io::Cursor::new(archived)))
        }
    };
    let lines = BufReader::new(bytes).lines();
    let lines = lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty));
    for (place, line) in lines.enumerate() {
        let line = line.map_err(|e| failed(&e))?;
        let line: Line = serde_json::from_str(&line).map_err(|e| failed(&e))?;
        if line.row == row {
            return Ok(Some(place));
        }
    }
    Ok(None)
}
