//! The jobs of a run and how they depend on each other.

use crate::job::{DependencyType, JobName};
use crate::manifest::Manifest;

/// One job of a run, before it is submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedJob {
    /// The name. It is deterministic, so that a restarted submit finds the job.
    pub name: JobName,
    /// The index of the chunk.
    pub chunk: u32,
    /// The index of the phase.
    pub phase: u16,
    /// The array size. `None`: a plain job.
    pub size: Option<u32>,
    /// The job of the same chunk in the previous phase, and the type of the dependency: `N_TO_N`
    /// between arrays, `None` between plain jobs.
    pub after: Option<(JobName, Option<DependencyType>)>,
}

/// Returns the jobs of a run, for each chunk its phases in order, so that a job follows the one that
/// it depends on. Dependencies exist only between the phases of one chunk.
pub fn job_graph(manifest: &Manifest) -> Vec<PlannedJob> {
    let mut jobs = Vec::with_capacity(manifest.jobs() as usize);
    for chunk in &manifest.chunks {
        for phase in 0..manifest.phases {
            let array = chunk.children > 1;
            jobs.push(PlannedJob {
                name: JobName::new(&manifest.run, chunk.chunk, phase),
                chunk: chunk.chunk,
                phase,
                size: array.then_some(chunk.children),
                after: phase.checked_sub(1).map(|before| {
                    (
                        JobName::new(&manifest.run, chunk.chunk, before),
                        array.then_some(DependencyType::NToN),
                    )
                }),
            });
        }
    }
    jobs
}
