//! The workbook that a command names: opened and cut before anything starts.

use std::ops::ControlFlow;
use std::path::Path;

use miette::miette;
use rowmill_split::{Cut, CutError};

use crate::error::CliError;
use crate::pipeline_file::PipelineFile;

/// Whether a file has the name of a workbook. Files without a known name may be workbooks too.
pub(crate) fn is_named_as_workbook(file: &Path) -> bool {
    let known = ["xlsx", "xlsm", "xlsb", "xls", "ods", "csv", "tsv"];
    file.extension()
        .is_some_and(|found| known.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// Whether a file has the name of a pipeline.
fn is_named_as_pipeline(file: &Path) -> bool {
    file.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case("toml"))
}

/// Checks that the workbook is a file. Its content is checked by the reader.
pub(crate) fn require_file(workbook: &Path) -> Result<(), CliError> {
    if is_named_as_pipeline(workbook) {
        return Err(CliError::refused(miette!(
            help = "name the workbook here, and the pipeline with --pipeline; only `rowmill check` takes the pipeline first",
            "{} is a pipeline file, not a workbook",
            workbook.display()
        )));
    }
    match std::fs::metadata(workbook) {
        Ok(m) if m.is_file() => Ok(()),
        Ok(_) => Err(CliError::refused(miette!(
            help = "name a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods, .csv or .tsv)",
            "{} is not a file",
            workbook.display()
        ))),
        Err(e) => Err(CliError::refused(miette!(
            "cannot read the workbook {}: {e}",
            workbook.display()
        ))),
    }
}

/// Reads and cleans the workbook exactly as split does, up to `limit` records.
pub(crate) fn cut(
    workbook: &Path,
    file: &PipelineFile,
    limit: Option<u64>,
) -> Result<Cut, CliError> {
    let name = workbook.display().to_string();
    let go_on = |_| ControlFlow::Continue(());
    rowmill_split::cut(workbook, &name, &file.pipeline, limit, go_on).map_err(|error| match error {
        CutError::Refused(refusal) => {
            CliError::refused(miette!(help = refusal.advice, "{}", refusal.what))
        }
        other => CliError::failed("cannot read the workbook", other),
    })
}
