//! `rowmill report`: rebuilds the result workbook of a run from its archived rows.

use std::path::{Path, PathBuf};

use miette::miette;
use rowmill_domain::keys;
use rowmill_domain::run::Counts;
use rowmill_report::{ReportError, archive_info, rebuild_from_archive, sentence, verdict};

use crate::args::ReportArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::output_file;
use crate::stack::{STATE, WORK};

/// Writes the workbook and prints its counts.
pub(crate) fn report(args: &ReportArgs) -> Result<Exit, CliError> {
    let folder = folder(&args.dir)?;
    let to = match &args.out {
        Some(to) => to.clone(),
        None => {
            let about = archive_info(&folder).map_err(refused)?;
            let stem = keys::stem(&about.manifest.source.key).to_owned();
            args.dir.join(format!("{stem}-result.xlsx"))
        }
    };
    let counts = rebuild(&folder, &to)?;
    output::line(format_args!(
        "{}\n  {}",
        sentence(&verdict(counts, counts.records + counts.rejected)),
        to.display(),
    ));
    Ok(Exit::Done)
}

fn refused(error: ReportError) -> CliError {
    CliError::refused(miette!("{error}"))
}

/// Rebuilds the workbook from the archived rows in a folder.
pub(crate) fn rebuild(folder: &Path, to: &Path) -> Result<Counts, CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::failed("cannot write the workbook", e);
    let to = output_file::target(to)?;
    // In the same directory, so that an existing file is replaced whole or not at all.
    let directory = output_file::folder(&to);
    let made = tempfile::Builder::new()
        .prefix(".rowmill-")
        .suffix(".xlsx")
        // As for any new file; the umask applies.
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(|e| failed(&format_args!("{}: {e}", directory.display())))?;
    let (_, counts) = rebuild_from_archive(folder, made.path()).map_err(|e| match e {
        e @ ReportError::Archive { .. } => refused(e),
        e => failed(&e),
    })?;
    made.persist(&to)
        .map_err(|e| failed(&format_args!("{}: {e}", to.display())))?;
    Ok(counts)
}

/// The folder with archived rows: `dir` itself, or the only one in the state directory of `run`.
fn folder(dir: &Path) -> Result<PathBuf, CliError> {
    if dir.join(keys::ABOUT).is_file() {
        return Ok(dir.to_owned());
    }
    let results = dir.join(STATE).join(WORK).join("results");
    let entries = std::fs::read_dir(&results).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|folder| folder.join(keys::ABOUT).is_file())
        .collect();
    folders.sort();
    match folders.as_slice() {
        [] => Err(CliError::refused(miette!(
            help = "specify the --out directory of `rowmill run`, or a folder results/<run id>",
            "{}: found neither {} nor a run in {}",
            dir.display(),
            keys::ABOUT,
            results.display(),
        ))),
        [folder] => Ok(folder.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|f| f.display().to_string()).collect();
            Err(CliError::refused(miette!(
                help = format!("specify one of them:\n{}", names.join("\n")),
                "{}: there are {} runs",
                dir.display(),
                several.len(),
            )))
        }
    }
}
