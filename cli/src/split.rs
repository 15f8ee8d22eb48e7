//! `rowmill split`: what the first stage makes of a workbook, into a directory.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::run::Source;
use rowmill_domain::{RunId, keys};
use rowmill_pipeline::plan;
use rowmill_ports::{Objects, Put};
use rowmill_split::{RunDetails, cut};

use crate::args::SplitArgs;
use crate::cloud::{INBOX, WORK, buckets};
use crate::exit::{Exit, Stop};
use crate::input::Chosen;
use crate::{input, output};

/// Cuts the workbook and keeps its chunks and manifest. There is no run: neither an upload nor a
/// ledger, and nothing goes on from here.
pub(crate) async fn split(args: &SplitArgs) -> Result<Exit, Stop> {
    input::is_file(&args.workbook)?;
    let chosen = input::optional(&args.workbook, args.pipeline.as_deref())?;
    let parameters = chosen.parameters(&args.given.values())?;
    let source = source(&args.workbook, &chosen, args.limit, &parameters)
        .map_err(|e| Stop::failed(format_args!("cannot read {}", args.workbook.display()), e))?;
    let pipeline = &chosen.pipeline;
    let limit = args.limit;
    let name = args.workbook.display().to_string();
    let cut = cut(&args.workbook, &name, pipeline, limit, |_| {
        ControlFlow::Continue(())
    })
    .map_err(input::refusal)?;

    // In the directory asked for, so that what is kept needs no copy.
    let state = std::fs::create_dir_all(&args.out)
        .and_then(|()| {
            let mut builder = tempfile::Builder::new();
            builder.prefix(".rowmill-split-").tempdir_in(&args.out)
        })
        .map_err(|e| Stop::failed(format_args!("cannot write to {}", args.out.display()), e))?;
    let objects = buckets(state.path()).map_err(|e| Stop::failed("cannot split", e))?;
    let objects: Arc<dyn Objects> = Arc::new(objects);
    let run = RunId::new(
        &source.bucket,
        &source.key,
        &source.version,
        source.uploaded,
        &chosen.name,
    );
    let stages = u16::try_from(plan::stages(pipeline).len()).unwrap_or(u16::MAX);
    let chunks = cut.chunks(&pipeline.batch, stages);
    cut.store(&objects, WORK, &run, &chunks)
        .await
        .map_err(|e| Stop::failed("cannot split the workbook", e))?;
    let details = RunDetails {
        run: run.clone(),
        created: source.uploaded,
        source,
        pipeline: chosen.name,
        pipeline_toml: chosen.toml,
        stages,
        notify: Vec::new(),
        parameters,
    };
    let manifest = cut.manifest(details, chunks);
    let json =
        serde_json::to_vec(&manifest).map_err(|e| Stop::failed("cannot write the manifest", e))?;
    objects
        .put(
            WORK,
            &keys::manifest(&run),
            Bytes::from(json),
            Put::default(),
        )
        .await
        .map_err(|e| Stop::failed("cannot split the workbook", e))?;
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

/// The workbook as if it had been uploaded now. The same content with the same pipeline, limit and
/// parameters is the same version.
fn source(
    workbook: &Path,
    chosen: &Chosen,
    limit: Option<u64>,
    parameters: &ParameterValues,
) -> std::io::Result<Source> {
    let file = File::open(workbook)?;
    let size = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    hasher.update(&size.to_le_bytes());
    hasher.update(chosen.toml.as_bytes());
    hasher.update(&limit.unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(&serde_json::to_vec(parameters)?);
    let name = workbook.file_name().unwrap_or_default().to_string_lossy();
    Ok(Source {
        bucket: INBOX.to_owned(),
        key: format!("{}/{name}", chosen.name),
        version: hasher.finalize().to_string(),
        size,
        uploaded: Utc::now(),
    })
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
