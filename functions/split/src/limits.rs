//! The limits that a pipeline sets for its runs, and a tier for its submitters. A run above them is
//! refused before anything is submitted.

use rowmill_pipeline::BatchSettings;
use rowmill_planning::Estimate;
use rowmill_tiers::SubmitterTier;

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

/// What to do about a limit of a tier.
const OTHER_TIER: &str = "Divide the workbook and upload its parts, or ask the person who operates Rowmill \
                          for another tier. Then upload it again.";

/// Why a submitter may not upload a file of this many bytes.
pub(crate) fn too_large(file: &str, bytes: u64, tier: &SubmitterTier) -> Option<Refusal> {
    let most = tier.tier.max_bytes.filter(|most| bytes > *most)?;
    Some(above(
        file,
        format!("the workbook has {bytes} bytes"),
        format!("{most} bytes (max_bytes)"),
        tier,
    ))
}

/// Why a submitter may not start a run of this many records.
pub(crate) fn above_tier(
    file: &str,
    records: u64,
    planned: &Estimate,
    tier: &SubmitterTier,
) -> Option<Refusal> {
    if let Some(most) = tier.tier.max_records
        && records > u64::from(most)
    {
        let has = format!("the workbook has {records} records");
        return Some(above(file, has, format!("{most} (max_records)"), tier));
    }
    let cost = planned.cost.total();
    let most = tier.tier.max_cost.filter(|most| cost > *most)?;
    let has = format!("the run of {records} records is planned to cost {cost:.2} USD");
    Some(above(file, has, format!("{most:.2} USD (max_cost)"), tier))
}

fn above(file: &str, has: String, allowed: String, tier: &SubmitterTier) -> Refusal {
    let SubmitterTier {
        submitter, name, ..
    } = tier;
    Refusal::new(
        format!(
            "{file}: {has}, and the tier `{name}` of {submitter} allows {allowed}. Nothing was processed"
        ),
        OTHER_TIER,
    )
}
