//! The pipeline that a manifest embeds: the version that the run was started with.

use rowmill_domain::manifest::Continuation;
use rowmill_domain::{Manifest, RunId};

use crate::error::PipelineError;
use crate::pipeline::Pipeline;

/// The pipeline embedded in a manifest is invalid for this version of the program. Split parsed it
/// before it wrote the manifest, so another version started the run, and a retry cannot help.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "run {run}: the pipeline in its manifest cannot be read: {}; another version of Rowmill started the run",
    .source.one_line()
)]
pub struct EmbeddedPipelineError {
    /// The run.
    pub run: RunId,
    /// The first error in the file.
    pub source: Box<PipelineError>,
}

/// Returns what a run does: the pipeline that its manifest embeds. If the run evaluates archived rows
/// again, all steps are done. Errors name the file `<pipeline>.toml`.
///
/// # Errors
/// The text is not valid for this version of the program.
pub fn from_manifest(manifest: &Manifest) -> Result<Pipeline, EmbeddedPipelineError> {
    let pipeline = whole_from_manifest(manifest)?;
    let base = manifest.base.as_ref();
    Ok(match base.map(|base| base.by) {
        Some(Continuation::Reevaluation) => pipeline.after_steps(),
        Some(Continuation::Retry) | None => pipeline,
    })
}

/// Returns the pipeline that a manifest embeds, for another run.
///
/// # Errors
/// The text is not valid for this version of the program.
pub fn whole_from_manifest(manifest: &Manifest) -> Result<Pipeline, EmbeddedPipelineError> {
    let file = format!("{}.toml", manifest.pipeline);
    Pipeline::parse(&file, &manifest.pipeline_toml).map_err(|source| EmbeddedPipelineError {
        run: manifest.run.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(toml: &str) -> Manifest {
        let run = "20261121-tax-0123456789ab";
        let uploaded = "2026-11-21T10:00:00Z";
        serde_json::from_value(serde_json::json!({
            "version": 2, "run": run, "created": uploaded,
            "source": { "bucket": "inbox", "key": "tax/a.xlsx", "version": "v1", "size": 1, "uploaded": uploaded },
            "pipeline": "tax", "pipeline_toml": toml, "sheet": "Sheet1",
            "columns": [], "chunks": [], "phases": 1, "rows_in": 0, "records": 0, "rejected": {},
        }))
        .unwrap()
    }

    #[test]
    fn the_embedded_pipeline_is_parsed() {
        let pipeline = from_manifest(&manifest("description = 'a'")).unwrap();
        assert_eq!(pipeline.description.as_deref(), Some("a"));
    }

    #[test]
    fn an_unreadable_embedded_pipeline_is_located() {
        let error = from_manifest(&manifest("\nnotes = 1")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(
                "run 20261121-tax-0123456789ab: the pipeline in its manifest cannot be read: tax.toml:2:1: "
            ),
            "{text}"
        );
    }
}
