//! The times that earlier runs of a pipeline measured.

use chrono::{DateTime, Days, Utc};
use rowmill_domain::run::StepSeconds;
use rowmill_domain::{PipelineName, RunId};
use rowmill_ports::{PortError, Runs};

/// How far back runs are looked at. Older ones say little about a source of today.
const DAYS: u64 = 30;
/// Runs per page.
const PAGE: usize = 100;

/// The times of the steps in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredRun {
    /// The run.
    pub run: RunId,
    /// The p95 of the seconds that each step took for a record, in the order of the steps.
    pub seconds: Vec<f64>,
}

/// Returns what the latest run of a pipeline measured, among those that began in the last 30 days with
/// steps of the same kinds in the same order. `None`: there is no such run.
///
/// # Errors
/// The runs cannot be read.
pub async fn measured_run(
    runs: &dyn Runs,
    pipeline: &PipelineName,
    kinds: &[&str],
    now: DateTime<Utc>,
) -> Result<Option<MeasuredRun>, PortError> {
    if kinds.is_empty() {
        return Ok(None);
    }
    let since = now.checked_sub_days(Days::new(DAYS)).unwrap_or(now);
    // Runs are sorted by the date in their id; no pipeline's name sorts before this one.
    let mut after: Option<RunId> = format!("{}-0-000000000000", since.format("%Y%m%d"))
        .parse()
        .ok();
    let mut latest = None;
    loop {
        let page = runs.list_runs(after.as_ref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|run| run.id.clone());
        for run in page {
            let same = |(step, kind): (&StepSeconds, &&str)| step.kind == **kind;
            if run.id.pipeline() == *pipeline
                && run.measured.len() == kinds.len()
                && run.measured.iter().zip(kinds).all(same)
                && latest
                    .as_ref()
                    .is_none_or(|(created, _)| *created <= run.created)
            {
                let seconds = run.measured.iter().map(|step| step.p95_seconds).collect();
                let run = (
                    run.created,
                    MeasuredRun {
                        run: run.id,
                        seconds,
                    },
                );
                latest = Some(run);
            }
        }
        if !full {
            return Ok(latest.map(|(_, run)| run));
        }
    }
}
