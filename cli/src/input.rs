//! The workbook and the pipeline that a command names: found, read and checked, before anything
//! is begun.

use std::path::{Path, PathBuf};

use miette::miette;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::{PipelineName, limits};
use rowmill_pipeline::Pipeline;
use rowmill_split::CutError;
use rowmill_workbook::{Header, ReadOptions, read_header};

use crate::exit::{Exit, Stop};

/// A pipeline, and where it came from.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The name that it has in the inbox.
    pub(crate) name: String,
    /// The file's text; empty where there is no file.
    pub(crate) toml: String,
    /// What the text says.
    pub(crate) pipeline: Pipeline,
    /// Where programs of `command` steps are found: the file's folder.
    pub(crate) directory: PathBuf,
}

impl Chosen {
    /// How the workbook is to be read.
    pub(crate) fn read_options(&self) -> ReadOptions {
        ReadOptions::from_input(&self.pipeline.input)
    }

    /// The values of the pipeline's parameters, where a command gives these.
    pub(crate) fn parameters(&self, given: &ParameterValues) -> Result<ParameterValues, Stop> {
        self.pipeline.parameter_values(given).map_err(|wrong| {
            let told = wrong.iter().map(|wrong| {
                miette!(
                    help = "--set NAME=VALUE gives a parameter",
                    "pipeline {}: {wrong}",
                    self.name
                )
            });
            Stop {
                reports: told.collect(),
                exit: Exit::Refused,
            }
        })
    }

    /// Reads the workbook's header and checks that it has every column that the pipeline names.
    pub(crate) fn check_columns(&self, workbook: &Path) -> Result<Header, Stop> {
        let header = read_header(workbook, &self.read_options()).map_err(|e| {
            let (what, advice) = e.message_and_advice();
            Stop::refused(match advice {
                Some(advice) => miette!(help = advice, "{what}"),
                None => miette!("{what}"),
            })
        })?;
        let wrong = self.pipeline.check_columns(&header.columns);
        match Stop::all_refused(wrong) {
            Some(stop) => Err(stop),
            None => Ok(header),
        }
    }
}

/// The pipeline of a run: the file given, else the one beside the workbook. Refused where there
/// is none.
pub(crate) fn required(workbook: &Path, file: Option<&Path>) -> Result<Chosen, Stop> {
    let beside = beside(workbook);
    let file = file.unwrap_or(&beside);
    if !file.exists() {
        return Err(Stop::refused(miette!(
            help = "name one with --pipeline FILE, or make one with `rowmill new NAME --kind sentiment`",
            "there is no pipeline file {}",
            file.display()
        )));
    }
    read(file)
}

/// The same, but an empty pipeline where there is no file.
pub(crate) fn optional(workbook: &Path, file: Option<&Path>) -> Result<Chosen, Stop> {
    if file.is_some() || beside(workbook).exists() {
        return required(workbook, file);
    }
    let stem = workbook.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Chosen {
        name: valid_name(&stem),
        toml: String::new(),
        pipeline: parse("no pipeline", "")?,
        directory: folder(workbook),
    })
}

/// Reads a pipeline file.
pub(crate) fn read(file: &Path) -> Result<Chosen, Stop> {
    let cannot = |why: &dyn std::fmt::Display| {
        Stop::refused(miette!(
            help = "name a pipeline file (TOML)",
            "cannot read {}: {why}",
            file.display()
        ))
    };
    // Reading a pipe would wait for a writer that may never come.
    match std::fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => return Err(cannot(&"it is no file")),
        Ok(_) => {}
        Err(e) => return Err(cannot(&e)),
    }
    let toml = std::fs::read_to_string(file).map_err(|e| cannot(&e))?;
    let pipeline = parse(&file.display().to_string(), &toml)?;
    let directory = folder(file);
    // `pipeline.toml` says nothing, so its folder names it: `reviews/pipeline.toml`.
    let named = if file.file_name().is_some_and(|n| n == "pipeline.toml") {
        directory.file_name()
    } else {
        file.file_stem()
    };
    Ok(Chosen {
        name: valid_name(&named.unwrap_or_default().to_string_lossy()),
        toml,
        pipeline,
        directory,
    })
}

/// That the workbook is a file. What is in it, the reader says.
pub(crate) fn is_file(workbook: &Path) -> Result<(), Stop> {
    match std::fs::metadata(workbook) {
        Ok(m) if m.is_file() => Ok(()),
        Ok(_) => Err(Stop::refused(miette!(
            "{} is no file: name a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods, .csv or .tsv)",
            workbook.display()
        ))),
        Err(e) => Err(Stop::refused(miette!(
            "cannot read the workbook {}: {e}",
            workbook.display()
        ))),
    }
}

/// What split says of a workbook that makes no run.
pub(crate) fn refusal(error: CutError) -> Stop {
    match error {
        CutError::Refused(refusal) => {
            Stop::refused(miette!(help = refusal.advice, "{}", refusal.what))
        }
        other => Stop::failed("cannot split the workbook", other),
    }
}

fn parse(file: &str, toml: &str) -> Result<Pipeline, Stop> {
    // `Box<PipelineError>` is no diagnostic itself.
    Pipeline::parse(file, toml).map_err(|e| Stop::refused(*e))
}

fn beside(workbook: &Path) -> PathBuf {
    workbook.with_file_name("pipeline.toml")
}

/// The absolute folder of a file.
fn folder(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// A pipeline name made of a text: lower case, `-` for all that cannot stand in one.
pub(crate) fn valid_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(limits::PIPELINE_NAME_MAX);
    let name = name.trim_end_matches('-');
    if PipelineName::is_valid(name) {
        name.to_owned()
    } else {
        "pipeline".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_valid() {
        for (text, name) in [
            ("reviews", "reviews"),
            ("Tax Due (2026)", "tax-due-2026"),
            ("_x__y_", "x-y"),
            ("日本", "pipeline"),
            ("", "pipeline"),
            (
                "a-very-long-name-that-goes-on-and-on-and-on",
                "a-very-long-name-that-goes-on-an",
            ),
        ] {
            assert_eq!(valid_name(text), name);
            assert!(PipelineName::is_valid(name));
        }
    }
}
