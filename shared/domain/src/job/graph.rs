//! The jobs of a run and how they depend on each other.

use crate::job::{DependencyType, JobName};
use crate::manifest::Manifest;

/// One job of a run's graph.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedJob {
    /// Deterministic, so that a restarted submit finds it again.
    pub name: JobName,
    /// The chunk it works on.
    pub chunk: u32,
    /// The phase, from 0.
    pub phase: u16,
    /// Array size; `None` is a plain job.
    pub size: Option<u32>,
    /// The job of the same chunk one phase before, and how: `N_TO_N` between arrays, plain
    /// between plain jobs.
    pub after: Option<(JobName, Option<DependencyType>)>,
}

/// The jobs of a run: per chunk its phases in order, so that a job comes after the one it
/// depends on. Dependencies exist only between the phases of one chunk.
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
