//! The planner: chunks, slices and the job graph. Pure, so that it is tested as a table.

use serde::{Deserialize, Serialize};

use crate::job::{DependencyType, JobName};
use crate::limits::{ARRAY_MAX, CHUNK_RECORDS};
use crate::manifest::Manifest;
use crate::pipeline::{Batch, Pipeline};
use crate::run::RunId;

/// Seconds of work a child is given: AWS advises 3 to 5 minutes a job. Source: AWS Batch user
/// guide, "Best practices". Fargate starts 20 tasks a second at best and bills at least a minute.
pub const CHILD_SECONDS: f64 = 240.0;

/// One chunk of a run and how it is cut into children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlan {
    /// From 0.
    pub chunk: u32,
    /// Row number of its first record.
    pub first_row: u32,
    /// Row number of its last record.
    pub last_row: u32,
    /// Records in it, 1 to [`CHUNK_RECORDS`].
    pub records: u32,
    /// Children that share them, 1 to [`ARRAY_MAX`]; one child is a plain job.
    pub children: u32,
}

impl ChunkPlan {
    /// Which records of the chunk, counted from 0, a child works on. Balanced: slices differ by
    /// one record at the most.
    pub fn slice(&self, child: u32) -> std::ops::Range<usize> {
        let at =
            |i: u32| (u64::from(i) * u64::from(self.records) / u64::from(self.children)) as usize;
        at(child)..at(child + 1)
    }

    /// The child that works on the record at that place in the chunk, from 0: the one whose
    /// [`ChunkPlan::slice`] holds it.
    pub fn child_of(&self, place: usize) -> u32 {
        // The greatest child whose slice begins at or before `place`.
        let last = (place as u64 + 1) * u64::from(self.children) - 1;
        (last / u64::from(self.records)) as u32
    }
}

/// What a run of so many records would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Records and children of each chunk.
    pub chunks: Vec<(u32, u32)>,
    /// Stages.
    pub stages: u16,
}

impl Plan {
    /// Plans `records` records. Chunks are balanced; children are as few as keep each near
    /// [`CHILD_SECONDS`], and in all chunks together at most `batch.max_children` (but one a
    /// chunk).
    pub fn new(records: u64, batch: &Batch, stages: u16) -> Plan {
        let chunks = records.div_ceil(u64::from(CHUNK_RECORDS));
        let per_child = (CHILD_SECONDS * f64::from(batch.concurrency) / batch.seconds_per_record)
            .clamp(1.0, f64::from(CHUNK_RECORDS)) as u32;
        // max_children bounds the load on a source, so what one chunk may have is its share.
        let share = u32::try_from((u64::from(batch.max_children) / chunks.max(1)).max(1))
            .unwrap_or(u32::MAX);
        let chunks = (0..chunks)
            .map(|i| {
                let at = |i: u64| i * records / chunks;
                let size = (at(i + 1) - at(i)) as u32;
                (
                    size,
                    size.div_ceil(per_child).min(share).clamp(1, ARRAY_MAX),
                )
            })
            .collect();
        Plan { chunks, stages }
    }

    /// Children of one stage in all chunks.
    pub fn children(&self) -> u64 {
        self.chunks.iter().map(|(_, c)| u64::from(*c)).sum()
    }

    /// Jobs to submit; a parent counts as one.
    pub fn jobs(&self) -> u64 {
        self.chunks.len() as u64 * u64::from(self.stages)
    }

    /// Seconds a child takes, at the pipeline's expected seconds a record; the longest.
    pub fn child_seconds(&self, batch: &Batch) -> f64 {
        self.chunks
            .iter()
            .map(|(records, children)| f64::from(records.div_ceil(*children)))
            .fold(0.0, f64::max)
            * batch.seconds_per_record
            / f64::from(batch.concurrency)
    }
}

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

/// A pipeline's stages: the index of each stage's first step and the one after its last.
/// Consecutive steps of the same image share a stage; a pipeline without steps has one stage,
/// which evaluates its columns.
pub fn stages(pipeline: &Pipeline) -> Vec<std::ops::Range<usize>> {
    let mut stages: Vec<std::ops::Range<usize>> = Vec::new();
    for (i, step) in pipeline.steps.iter().enumerate() {
        match stages.last_mut() {
            Some(last) if pipeline.steps[last.start].image == step.image => last.end = i + 1,
            _ => stages.push(i..i + 1),
        }
    }
    if stages.is_empty() {
        stages.push(0..0);
    }
    stages
}

impl JobName {
    /// The name of the job of a run's chunk and stage: `<run>-c00000-s0`.
    pub fn new(run: &RunId, chunk: u32, stage: u16) -> JobName {
        JobName(format!("{run}-c{chunk:05}-s{stage}"))
    }

    /// The run, chunk and stage that a name says; `None` for a job that is not ours.
    pub fn parse(name: &str) -> Option<(RunId, u32, u16)> {
        let (rest, stage) = name.rsplit_once("-s")?;
        let (run, chunk) = rest.rsplit_once("-c")?;
        Some((run.parse().ok()?, chunk.parse().ok()?, stage.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seconds: f64, concurrency: u32, max_children: u32) -> Batch {
        Batch {
            seconds_per_record: seconds,
            concurrency,
            max_children,
            ..Batch::default()
        }
    }

    #[test]
    fn chunks_are_balanced_and_children_are_sized() {
        // records, seconds a record, concurrency, max_children -> chunks as (records, children)
        type Case = (u64, f64, u32, u32, &'static [(u32, u32)]);
        let table: &[Case] = &[
            (0, 1.0, 1, 100, &[]),
            (1, 1.0, 1, 100, &[(1, 1)]),
            (2, 500.0, 1, 100, &[(2, 2)]),
            (10_000, 2.0, 16, 2000, &[(10_000, 6)]),
            (10_001, 2.0, 16, 2000, &[(5_000, 3), (5_001, 3)]),
            (10_000, 1000.0, 1, 20_000, &[(10_000, 10_000)]),
            (10_000, 1000.0, 1, 7, &[(10_000, 7)]),
            (
                30_000,
                1000.0,
                1,
                2,
                &[(10_000, 1), (10_000, 1), (10_000, 1)],
            ),
            (20_000, 0.0001, 16, 2000, &[(10_000, 1), (10_000, 1)]),
        ];
        for (records, seconds, concurrency, max, chunks) in table {
            let plan = Plan::new(*records, &batch(*seconds, *concurrency, *max), 1);
            assert_eq!(
                plan.chunks, *chunks,
                "{records} {seconds} {concurrency} {max}"
            );
        }
    }

    #[test]
    fn slices_cover_a_chunk_once() {
        for (records, children) in [(1, 1), (7, 3), (10_000, 9_999), (10_000, 10_000), (5, 2)] {
            let chunk = ChunkPlan {
                chunk: 0,
                first_row: 2,
                last_row: 2,
                records,
                children,
            };
            let mut next = 0;
            for child in 0..children {
                let slice = chunk.slice(child);
                assert_eq!(slice.start, next);
                assert!(!slice.is_empty());
                for place in slice.clone() {
                    assert_eq!(chunk.child_of(place), child);
                }
                next = slice.end;
            }
            assert_eq!(next, records as usize);
        }
    }

    #[test]
    fn job_names_read_back() {
        let run: RunId = "20261121-tax-sale-0123456789ab".parse().unwrap();
        let name = JobName::new(&run, 12, 1);
        assert_eq!(JobName::parse(&name.0), Some((run, 12, 1)));
        assert_eq!(JobName::parse("nightly-backup"), None);
    }
}
