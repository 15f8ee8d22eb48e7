//! The pipeline that a command names: found, read and checked before anything starts.

use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{NamedSource, miette};
use rowmill_domain::PipelineName;
use rowmill_domain::manifest::ParameterValues;
use rowmill_pipeline::{Argument, Pipeline, PipelineError, StepKind};
use rowmill_split::{elsewhere, read_options};
use rowmill_workbook::{Header, ReadOptions, read_header};

use crate::error::CliError;
use crate::exit::Exit;
use crate::workbook;

/// A pipeline, and where it comes from.
#[derive(Debug)]
pub(crate) struct PipelineFile {
    /// The name that it has in the inbox.
    pub(crate) name: PipelineName,
    /// The text of the file; empty if there is no file.
    pub(crate) toml: String,
    /// The parsed text.
    pub(crate) pipeline: Pipeline,
    /// The path as it was given, for messages.
    pub(crate) shown: String,
    /// The folder of the file, where programs of `command` steps are found.
    pub(crate) directory: PathBuf,
}

impl PipelineFile {
    /// Reads a pipeline file.
    pub(crate) fn read(path: &Path) -> Result<PipelineFile, CliError> {
        let cannot = |why: &dyn std::fmt::Display| {
            CliError::refused(miette!(
                help = "specify a pipeline file (TOML)",
                "cannot read {}: {why}",
                path.display()
            ))
        };
        if workbook::is_named_as_workbook(path) {
            return Err(CliError::refused(miette!(
                help = "name the pipeline file (TOML) here: `rowmill check PIPELINE WORKBOOK`, `rowmill run WORKBOOK --pipeline PIPELINE`",
                "{} is a workbook, not a pipeline file",
                path.display()
            )));
        }
        // Reading a pipe could block forever.
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(cannot(&"it is not a file")),
            Ok(_) => {}
            Err(e) => return Err(cannot(&e)),
        }
        let toml = std::fs::read_to_string(path).map_err(|e| cannot(&e))?;
        let pipeline = parse(&path.display().to_string(), &toml)?;
        let directory = absolute_folder(path);
        // The name `pipeline.toml` says nothing, so its folder names it: `reviews/pipeline.toml`.
        let named = if path.file_name().is_some_and(|n| n == "pipeline.toml") {
            directory.file_name()
        } else {
            path.file_stem()
        };
        Ok(PipelineFile {
            name: PipelineName::slug(&named.unwrap_or_default().to_string_lossy()),
            toml,
            pipeline,
            shown: path.display().to_string(),
            directory,
        })
    }

    /// Reads the given file, or by default the one next to the workbook. Refused if it does not
    /// exist.
    pub(crate) fn required(workbook: &Path, path: Option<&Path>) -> Result<PipelineFile, CliError> {
        let default = next_to(workbook);
        let path = path.unwrap_or(&default);
        if !path.exists() {
            return Err(CliError::refused(miette!(
                help = "specify one with --pipeline FILE, or create one with `rowmill new NAME --kind sentiment`",
                "pipeline file {} does not exist",
                path.display()
            )));
        }
        PipelineFile::read(path)
    }

    /// Like [`PipelineFile::required`], but returns an empty pipeline if none is given and there is no file
    /// next to the workbook.
    pub(crate) fn optional(workbook: &Path, path: Option<&Path>) -> Result<PipelineFile, CliError> {
        if path.is_some() || next_to(workbook).exists() {
            return PipelineFile::required(workbook, path);
        }
        let stem = workbook.file_stem().unwrap_or_default().to_string_lossy();
        Ok(PipelineFile {
            name: PipelineName::slug(&stem),
            toml: String::new(),
            pipeline: parse("no pipeline", "")?,
            shown: "no pipeline".to_owned(),
            directory: absolute_folder(workbook),
        })
    }

    /// The programs and models of the steps that are files: the program itself and the first argument, a
    /// script for an interpreter. Other arguments may be files that the program writes.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.files_of(2)
    }

    /// Like [`PipelineFile::files`], with those of all arguments.
    pub(crate) fn all_files(&self) -> Vec<PathBuf> {
        self.files_of(usize::MAX)
    }

    /// The models, and the files in the first `words` words of each program.
    fn files_of(&self, words: usize) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for step in &self.pipeline.steps {
            match &step.kind {
                StepKind::Command(command) => {
                    let words = command.program.iter().take(words);
                    files.extend(words.filter_map(|word| match word {
                        Argument::Text(text) => Some(self.directory.join(text)),
                        Argument::Parameter(_) => None,
                    }));
                }
                StepKind::Classify(classify) => files.push(self.directory.join(&classify.model)),
                _ => {}
            }
        }
        files.retain(|file| file.is_file());
        files
    }

    /// How to read the workbook.
    pub(crate) fn read_options(&self) -> ReadOptions {
        read_options(&self.pipeline)
    }

    /// The values of all parameters, given those that the command sets.
    pub(crate) fn parameters(&self, given: &ParameterValues) -> Result<ParameterValues, CliError> {
        self.pipeline.parameter_values(given).map_err(|wrong| {
            let reports = wrong.iter().map(|wrong| {
                miette!(
                    help = "--set NAME=VALUE sets a parameter",
                    "pipeline {}: {wrong}",
                    self.name
                )
            });
            CliError {
                reports: reports.collect(),
                exit: Exit::Refused,
            }
        })
    }

    /// Where a step, counted from 1, has this text; else where the step starts. For a file that does not
    /// write its steps as `[[step]]`, where the text is, or the start.
    pub(crate) fn position(&self, step: usize, text: &str) -> Range<usize> {
        let mut starts = self.toml.match_indices("[[step]]").filter(|(at, _)| {
            let line = self.toml[..*at].rsplit('\n').next().unwrap_or_default();
            line.trim().is_empty()
        });
        let start = starts.nth(step.saturating_sub(1)).map(|(at, _)| at);
        let end = starts.next().map_or(self.toml.len(), |(at, _)| at);
        let from = start.unwrap_or(0);
        let found = self.toml[from..end].find(text).filter(|_| !text.is_empty());
        match (found, start) {
            (Some(at), _) => from + at..from + at + text.len(),
            (None, Some(start)) => start..start + "[[step]]".len(),
            (None, None) => 0..0,
        }
    }

    /// An error at a position in the file.
    pub(crate) fn error(&self, at: Range<usize>, message: String) -> PipelineError {
        PipelineError {
            message,
            help: None,
            file: NamedSource::new(&self.shown, self.toml.clone()),
            at: at.into(),
            others: Vec::new(),
        }
    }

    /// Reads the workbook's header, without the generated columns of an earlier run, and checks that it
    /// has every column that the pipeline names.
    pub(crate) fn check_columns(&self, workbook: &Path) -> Result<Header, CliError> {
        let mut header = read_header(workbook, &self.read_options()).map_err(|e| {
            let (what, advice) = e.message_and_advice();
            CliError::refused(match advice {
                Some(advice) => miette!(help = advice, "{what}"),
                None => miette!("{what}"),
            })
        })?;
        if let Some(origin) = &header.origin {
            let columns = self.pipeline.resubmitted(&header.columns, &origin.added);
            header.columns = columns.names;
        }
        let wrong = self.pipeline.check_columns(&header.columns);
        let Some(mut error) = CliError::all_refused(wrong) else {
            return Ok(header);
        };
        if let Some(found) = elsewhere(workbook, &self.pipeline, &header) {
            error.reports.push(miette!(
                "{}, sheet `{}`, row {}: the header does not have all columns. {found}",
                workbook.display(),
                header.sheet,
                header.row
            ));
        }
        Err(error)
    }
}

fn parse(file: &str, toml: &str) -> Result<Pipeline, CliError> {
    // `Box<PipelineError>` is not itself a diagnostic.
    Pipeline::parse(file, toml).map_err(|e| CliError::refused(*e))
}

fn next_to(workbook: &Path) -> PathBuf {
    workbook.with_file_name("pipeline.toml")
}

fn absolute_folder(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().map(Path::to_owned).unwrap_or_default()
}
