//! The limits that a pipeline sets for its runs. A run above them is refused before anything is
//! submitted.

use rowmill_pipeline::BatchSettings;
use rowmill_planning::Estimate;

use crate::error::Refusal;

/// Why a run of this many records may not start, if it is above a limit of its pipeline.
pub(crate) fn above_limits(
    file: &str,
    records: u64,
    planned: &Estimate,
    batch: &BatchSettings,
) -> Option<Refusal> {
    if let Some(most) = batch.max_records
        && records > u64::from(most)
    {
        return Some(Refusal::new(
            format!(
                "{file}: the workbook has {records} records, and the pipeline allows {most} \
                 (max_records under [batch]). Nothing was processed"
            ),
            "Divide the workbook, or raise max_records in the pipeline. Then upload it again.",
        ));
    }
    let cost = planned.cost.total();
    if let Some(most) = batch.max_cost
        && cost > most
    {
        return Some(Refusal::new(
            format!(
                "{file}: the run of {records} records is planned to cost {cost:.2} USD, and the \
                 pipeline allows {most:.2} USD (max_cost under [batch]). Nothing was processed"
            ),
            "Divide the workbook, give the run more time (within under [batch]), or raise max_cost \
             in the pipeline. `rowmill plan` shows what the cost consists of. Then upload it again.",
        ));
    }
    None
}
