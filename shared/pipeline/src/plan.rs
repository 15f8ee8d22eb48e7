//! The planner: what a run would be, before it is. Pure, so that it is tested as a table.

use rowmill_domain::limits::{ARRAY_MAX, CHUNK_RECORDS};

use crate::pipeline::BatchSettings;

/// Seconds of work a child is given: AWS advises 3 to 5 minutes a job. Source: AWS Batch user
/// guide, "Best practices". Fargate starts 20 tasks a second at best and bills at least a minute.
pub const CHILD_SECONDS: f64 = 240.0;

/// What a run of so many records would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Records and children of each chunk.
    pub chunks: Vec<(u32, u32)>,
    /// Phases.
    pub phases: u16,
}

impl Plan {
    /// Plans `records` records. Chunks are balanced; children are as few as keep each near
    /// [`CHILD_SECONDS`], and in all chunks together at most `batch.max_children` (but one a
    /// chunk).
    pub fn new(records: u64, batch: &BatchSettings, phases: u16) -> Plan {
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
        Plan { chunks, phases }
    }

    /// Children of one phase in all chunks.
    pub fn children(&self) -> u64 {
        self.chunks.iter().map(|(_, c)| u64::from(*c)).sum()
    }

    /// Jobs to submit; a parent counts as one.
    pub fn jobs(&self) -> u64 {
        self.chunks.len() as u64 * u64::from(self.phases)
    }

    /// Seconds a child takes, at the pipeline's expected seconds a record; the longest.
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
}
