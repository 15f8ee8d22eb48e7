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
    /// The stage, from 0.
    pub stage: u16,
    /// Array size; `None` is a plain job.
    pub size: Option<u32>,
    /// The job of the same chunk one stage before, and how: `N_TO_N` between arrays, plain
    /// between plain jobs.
    pub after: Option<(JobName, Option<DependencyType>)>,
}

/// The jobs of a run: per chunk its stages in order, so that a job comes after the one it
/// depends on. Dependencies exist only between the stages of one chunk.
pub fn job_graph(manifest: &Manifest) -> Vec<PlannedJob> {
    let mut jobs = Vec::with_capacity(manifest.jobs() as usize);
    for chunk in &manifest.chunks {
        for stage in 0..manifest.stages {
            let array = chunk.children > 1;
            jobs.push(PlannedJob {
                name: JobName::new(&manifest.run, chunk.chunk, stage),
                chunk: chunk.chunk,
                stage,
                size: array.then_some(chunk.children),
                after: stage.checked_sub(1).map(|before| {
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
