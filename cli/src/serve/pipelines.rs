//! The pipeline files that `rowmill serve` offers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::miette;
use rowmill_api::InvalidPipeline;
use rowmill_domain::PipelineName;

use crate::error::CliError;
use crate::pipeline_file::PipelineFile;
use crate::run::upload::TIERS_FILE;

/// A folder with pipelines: `pipeline.toml`, `*/pipeline.toml` and, if the folder was named, `*.toml`.
pub(super) struct PipelineFolder {
    folder: PathBuf,
    /// Whether the person named the folder. The current folder may have other TOML files.
    named: bool,
}

/// The pipelines in a folder.
#[derive(Default)]
pub(super) struct FoundPipelines {
    pub(super) files: BTreeMap<PipelineName, PipelineFile>,
    pub(super) invalid: Vec<InvalidPipeline>,
}

impl PipelineFolder {
    /// The named folder, or the current one.
    pub(super) fn new(named: Option<&Path>) -> Result<PipelineFolder, CliError> {
        let folder = named.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(CliError::refused(miette!(
                help = "name a folder that has <name>/pipeline.toml or <name>.toml",
                "{} is not a folder",
                folder.display()
            )));
        }
        Ok(PipelineFolder {
            folder: folder.to_owned(),
            named: named.is_some(),
        })
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Reads all files. Two files with the same name are an error of the second.
    pub(super) fn read(&self) -> FoundPipelines {
        let mut paths = vec![self.folder.join("pipeline.toml")];
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                paths.push(path.join("pipeline.toml"));
            } else if path.file_name().is_some_and(|name| name == TIERS_FILE) {
                // Not a pipeline.
            } else if self.named && path.extension().is_some_and(|e| e == "toml") {
                paths.push(path);
            }
        }
        paths.dedup();
        let mut found = FoundPipelines::default();
        for path in paths.iter().filter(|path| path.is_file()) {
            match PipelineFile::read(path) {
                Ok(file) => match found.files.get(&file.name) {
                    // `pipeline.toml` of the folder itself is in the list twice if it was named.
                    Some(first) if first.shown == file.shown => {}
                    Some(first) => found.invalid.push(InvalidPipeline {
                        name: file.name.to_string(),
                        error: format!(
                            "{} and {} both have the name {}: rename one of them",
                            first.shown, file.shown, file.name
                        ),
                    }),
                    None => drop(found.files.insert(file.name.clone(), file)),
                },
                Err(error) => found.invalid.push(InvalidPipeline {
                    name: name_of(path),
                    error: error.in_words(),
                }),
            }
        }
        found
    }
}

/// The name that the pipeline in a file would have.
fn name_of(path: &Path) -> String {
    let named = match path.file_name() {
        Some(name) if name == "pipeline.toml" => path.parent().and_then(Path::file_name),
        _ => path.file_stem(),
    };
    PipelineName::slug(&named.unwrap_or_default().to_string_lossy()).to_string()
}
