//! The planner: how records are divided into chunks and children.

use rowmill_domain::limits::{ARRAY_MAX, CHUNK_RECORDS};

use crate::pipeline::BatchSettings;

/// The target running time of a child, in seconds. AWS advises 3 to 5 minutes per job (AWS Batch user
/// guide, "Best practices"); Fargate starts at most 20 tasks per second and bills at least a minute.
pub const CHILD_SECONDS: f64 = 240.0;

/// The chunks and children of a run with a given number of records.
///
/// ```
/// use rowmill_pipeline::{BatchSettings, Plan};
///
/// // 15,000 records of 2 seconds each, 16 at a time: two balanced chunks.
/// let batch = BatchSettings { seconds_per_record: 2.0, ..BatchSettings::default() };
/// let plan = Plan::new(15_000, &batch, 1);
/// assert_eq!(plan.chunks, [(7_500, 4), (7_500, 4)]);
/// assert_eq!(plan.child_seconds(&batch).round(), 234.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The number of records and of children of each chunk.
    pub chunks: Vec<(u32, u32)>,
    /// The number of phases.
    pub phases: u16,
}

impl Plan {
    /// Plans a run. Chunks have nearly the same size. Each chunk gets as few children as keep them
    /// near [`CHILD_SECONDS`], at least one, and all chunks together at most `batch.max_children`
    /// if there are not more chunks.
    pub fn new(records: u64, batch: &BatchSettings, phases: u16) -> Plan {
        let chunks = records.div_ceil(u64::from(CHUNK_RECORDS));
        let per_child = (CHILD_SECONDS * f64::from(batch.concurrency) / batch.seconds_per_record)
            .clamp(1.0, f64::from(CHUNK_RECORDS)) as u32;
        // max_children limits the load on a source, so each chunk gets an equal share of it.
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
        Plan { chunks, phases }
    }

    /// Returns the number of children of one phase in all chunks.
    pub fn children(&self) -> u64 {
        self.chunks.iter().map(|(_, c)| u64::from(*c)).sum()
    }

    /// Returns the number of jobs to submit. An array counts as one job.
    pub fn jobs(&self) -> u64 {
        self.chunks.len() as u64 * u64::from(self.phases)
    }

    /// Returns the expected running time of the longest child, in seconds.
    pub fn child_seconds(&self, batch: &BatchSettings) -> f64 {
        self.chunks
            .iter()
            .map(|(records, children)| f64::from(records.div_ceil(*children)))
            .fold(0.0, f64::max)
            * batch.seconds_per_record
            / f64::from(batch.concurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seconds: f64, concurrency: u32, max_children: u32) -> BatchSettings {
        BatchSettings {
            seconds_per_record: seconds,
            concurrency,
            max_children,
            ..BatchSettings::default()
        }
    }

    #[test]
    fn chunks_are_balanced_and_children_are_sized() {
        // records, seconds per record, concurrency, max_children -> chunks as (records, children)
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
}
