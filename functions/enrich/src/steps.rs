//! The steps of a phase, ready to run.

use std::ops::Range;

use rowmill_pipeline::Pipeline;
use rowmill_steps::{Runner, StepDeps};
use tempfile::TempDir;

/// A step of the phase.
pub(crate) struct PhaseStep {
    /// Its index in the pipeline.
    pub(crate) index: u16,
    /// Its kind, as in the file.
    pub(crate) kind: &'static str,
    pub(crate) runner: Box<dyn Runner>,
}

/// Makes these steps ready to run, or says what is wrong with one of them.
pub(crate) fn phase_steps(
    pipeline: &Pipeline,
    steps: Range<usize>,
    deps: &StepDeps,
    programs: &[Option<TempDir>],
) -> Result<Vec<PhaseStep>, String> {
    pipeline.steps[steps.clone()]
        .iter()
        .zip(programs)
        .zip(steps)
        .map(|((step, program), index)| {
            let mut deps = deps.clone();
            if let Some(folder) = program {
                deps.directory = folder.path().to_owned();
            }
            let runner = rowmill_steps::runner(step, &deps).map_err(|error| {
                let error = error.to_string();
                let (number, kind) = (index + 1, step.kind_name());
                format!("step {number} ({kind}): {}", deps.secrets.redact(&error))
            })?;
            Ok(PhaseStep {
                // No realistic pipeline has 65,536 steps.
                index: index as u16,
                kind: step.kind_name(),
                runner,
            })
        })
        .collect()
}
