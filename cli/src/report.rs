//! `rowmill report`: the workbook again, from the rows kept of a run.

use std::path::{Path, PathBuf};

use miette::miette;
use rowmill_domain::keys;
use rowmill_domain::run::Counts;
use rowmill_report::{ReportError, archive_info, rebuild_from_archive};

use crate::args::ReportArgs;
use crate::cloud::{STATE, WORK};
use crate::exit::{Exit, Stop};
use crate::file;
use crate::output;

/// Carries `rowmill report` out.
pub(crate) fn report(args: &ReportArgs) -> Result<Exit, Stop> {
    let folder = folder(&args.dir)?;
    let to = match &args.out {
        Some(to) => to.clone(),
        None => {
            let about = archive_info(&folder).map_err(refused)?;
            let stem = keys::stem(&about.manifest.source.key).to_owned();
            args.dir.join(format!("{stem}-result.xlsx"))
        }
    };
    let counts = make(&folder, &to)?;
    output::line(format_args!(
        "{} records, {} ok, {} failed, {} missing, {} rows rejected\n  {}",
        counts.records,
        counts.ok,
        counts.failed,
        counts.missing,
        counts.rejected,
        to.display(),
    ));
    Ok(Exit::Done)
}

fn refused(error: ReportError) -> Stop {
    Stop::refused(miette!("{error}"))
}

/// Makes the workbook of the rows kept in a folder.
pub(crate) fn make(folder: &Path, to: &Path) -> Result<Counts, Stop> {
    let failed = |e: &dyn std::fmt::Display| Stop::failed("cannot make the workbook", e);
    let to = file::target(to)?;
    // In the same directory, so that what stands there is replaced by a whole file or not at all.
    let beside = file::folder(&to);
    let made = tempfile::Builder::new()
        .prefix(".rowmill-")
        .suffix(".xlsx")
        // As any other file: the umask takes away what others may not.
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(beside)
        .map_err(|e| failed(&format_args!("{}: {e}", beside.display())))?;
    let (_, counts) = rebuild_from_archive(folder, made.path()).map_err(|e| match e {
        e @ ReportError::Archive { .. } => refused(e),
        e => failed(&e),
    })?;
    made.persist(&to)
        .map_err(|e| failed(&format_args!("{}: {e}", to.display())))?;
    Ok(counts)
}

/// The folder of kept rows that `dir` is, or has as the only one of a `run`'s state.
fn folder(dir: &Path) -> Result<PathBuf, Stop> {
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
        [] => Err(Stop::refused(miette!(
            help = "name the --out directory of `rowmill run`, or a folder results/<run id>",
            "{}: there is neither {} nor {} with a run in it",
            dir.display(),
            keys::ABOUT,
            results.display(),
        ))),
        [folder] => Ok(folder.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|f| f.display().to_string()).collect();
            Err(Stop::refused(miette!(
                help = format!("name one of them:\n{}", names.join("\n")),
                "{}: there are {} runs",
                dir.display(),
                several.len(),
            )))
        }
    }
}
