//! `rowmill split`: writes the chunks and manifest of a workbook to a directory.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::run::UploadSource;
use rowmill_domain::{RunId, keys};
use rowmill_planning::{Quotas, plan};
use rowmill_ports::Put;
use rowmill_runs::{WorkBucket, scratch_folder_in};
use rowmill_split::RunDetails;

use crate::args::SplitArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, thousands};
use crate::pipeline_file::PipelineFile;
use crate::stack::{INBOX, WORK, buckets};
use crate::workbook;

/// Cuts the workbook and stores its chunks and manifest. This is not a run: nothing is uploaded or
/// written to a ledger, and no other stage starts.
pub(crate) async fn split(args: &SplitArgs) -> Result<Exit, CliError> {
    workbook::require_file(&args.workbook)?;
    let file = PipelineFile::optional(&args.workbook, args.pipeline.as_deref())?;
    let parameters = file.parameters(&args.given.values())?;
    // Hashing reads the whole workbook, so it runs beside the cut.
    let (source, cut) = std::thread::scope(|threads| {
        let source = threads.spawn(|| source(&args.workbook, &file, args.limit, &parameters));
        let cut = workbook::cut(&args.workbook, &file, args.limit);
        (source.join(), cut)
    });
    let source = source
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .map_err(|e| {
            CliError::failed(format_args!("cannot read {}", args.workbook.display()), e)
        })?;
    let cut = cut?;
    let pipeline = &file.pipeline;

    // In the output directory, so that the result can be renamed instead of copied.
    let state = std::fs::create_dir_all(&args.out)
        .and_then(|()| scratch_folder_in(".rowmill-split-", &args.out))
        .map_err(|e| CliError::failed(format_args!("cannot write to {}", args.out.display()), e))?;
    let objects = buckets(state.path()).map_err(|e| CliError::failed("cannot split", e))?;
    let work = WorkBucket::new(WORK, Arc::new(objects));
    let run = RunId::new(
        &source.bucket,
        &source.key,
        &source.version,
        source.uploaded,
        file.name.as_str(),
    );
    let phases = pipeline.phase_count();
    let planned = pipeline.work(cut.records(), None);
    let chunks = cut.chunks(&plan(&planned, &Quotas::default()).chosen.division);
    cut.store(&work, &run, &chunks)
        .await
        .map_err(|e| CliError::failed("cannot split the workbook", e))?;
    let details = RunDetails {
        run: run.clone(),
        created: source.uploaded,
        source,
        pipeline: file.name,
        pipeline_toml: file.toml,
        phases,
        notify: Vec::new(),
        parameters,
    };
    let manifest = cut.manifest(details, chunks);
    let json = serde_json::to_vec(&manifest)
        .map_err(|e| CliError::failed("cannot write the manifest", e))?;
    work.put(&keys::manifest(&run), Bytes::from(json), Put::default())
        .await
        .map_err(|e| CliError::failed("cannot split the workbook", e))?;
    move_out(state.path(), &keys::run_prefix(&run), &args.out)
        .map_err(|e| CliError::failed(format_args!("cannot write to {}", args.out.display()), e))?;
    output::line(format_args!(
        "{}: {} in {}, {} rejected\n  {}",
        counted(manifest.rows_in, "row"),
        counted(manifest.records, "record"),
        counted(manifest.chunks.len() as u64, "chunk"),
        thousands(manifest.rejected_total()),
        args.out.join(keys::manifest(&run)).display(),
    ));
    Ok(Exit::Done)
}

/// The source of the run, as if the workbook were uploaded now. The same content with the same
/// pipeline, limit and parameters has the same version.
fn source(
    workbook: &Path,
    pipeline: &PipelineFile,
    limit: Option<u64>,
    parameters: &ParameterValues,
) -> std::io::Result<UploadSource> {
    let file = File::open(workbook)?;
    let size = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    hasher.update(&size.to_le_bytes());
    hasher.update(pipeline.toml.as_bytes());
    hasher.update(&limit.unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(&serde_json::to_vec(parameters)?);
    let name = workbook.file_name().unwrap_or_default().to_string_lossy();
    Ok(UploadSource {
        bucket: INBOX.to_owned(),
        key: format!("{}/{name}", pipeline.name),
        version: hasher.finalize().to_string(),
        size,
        uploaded: Utc::now(),
    })
}

/// Moves the objects below a prefix from the work bucket to the output directory, and replaces what
/// an earlier split of the same workbook left there.
fn move_out(state: &Path, prefix: &str, out: &Path) -> std::io::Result<()> {
    let to = out.join(prefix);
    match std::fs::remove_dir_all(&to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // In the local bucket, keys are paths.
    std::fs::rename(state.join(WORK).join(prefix), to)
}
