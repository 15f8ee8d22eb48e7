//! The write rate for which the table of a run's outcomes is prepared, and what that costs.

use rowmill_domain::limits::{NEW_TABLE_WRITES, WARM_WRITE_USD};

use crate::pipeline::BatchSettings;
use crate::plan::Plan;

impl Plan {
    /// Returns the writes per second that the run's table must accept: all children of a phase at the
    /// same time, each as fast as the pipeline expects, but no more per second than there are records,
    /// and no more than `batch.table_writes`.
    ///
    /// ```
    /// use rowmill_pipeline::{BatchSettings, Plan};
    ///
    /// // A fast pipeline could write 40,000 outcomes in a second. Its table is not prepared for that
    /// // unless the pipeline asks.
    /// let batch = BatchSettings { seconds_per_record: 0.001, ..BatchSettings::default() };
    /// let plan = Plan::new(40_000, &batch, 1);
    /// assert_eq!(plan.table_writes(&batch), 4000);
    /// let asked = BatchSettings { table_writes: 40_000, ..batch };
    /// assert_eq!(plan.table_writes(&asked), 40_000);
    /// ```
    pub fn table_writes(&self, batch: &BatchSettings) -> u32 {
        let records: u64 = self.chunks.iter().map(|(r, _)| u64::from(*r)).sum();
        let per_second =
            self.children() as f64 * f64::from(batch.concurrency) / batch.seconds_per_record;
        // The conversion saturates.
        let wanted = per_second.min(records as f64).ceil() as u32;
        wanted.min(batch.table_writes)
    }
}

/// Returns what AWS charges for creating a table that accepts this many writes per second, in USD (list
/// price of us-east-1).
pub fn table_usd(writes_per_second: u32) -> f64 {
    f64::from(writes_per_second.saturating_sub(NEW_TABLE_WRITES)) * WARM_WRITE_USD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pipeline, built_in};

    #[test]
    fn no_shipped_example_pays_for_its_table() {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
        let mut pipelines = Vec::new();
        for entry in std::fs::read_dir(examples).unwrap() {
            let file = entry.unwrap().path().join("pipeline.toml");
            if file.exists() {
                pipelines.push(std::fs::read_to_string(file).unwrap());
            }
        }
        assert!(pipelines.len() >= 4, "{}", pipelines.len());
        pipelines.extend(built_in("reviews").map(str::to_owned));
        for toml in pipelines {
            let pipeline = Pipeline::parse("pipeline.toml", &toml).unwrap();
            for records in [1, 339, 40_000, 1_048_575] {
                let plan = Plan::new(records, &pipeline.batch, pipeline.phase_count());
                let writes = plan.table_writes(&pipeline.batch);
                assert!((1..=NEW_TABLE_WRITES).contains(&writes), "{writes}: {toml}");
                assert_eq!(table_usd(writes), 0.0);
            }
        }
    }

    #[test]
    fn only_writes_above_the_free_ones_cost() {
        assert_eq!(table_usd(4000), 0.0);
        assert!((table_usd(40_000) - 23.4).abs() < 1e-9);
    }
}
