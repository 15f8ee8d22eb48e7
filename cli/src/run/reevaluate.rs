//! The earlier run whose archived rows a run can evaluate again, so that no step runs.

use std::path::Path;
use std::time::SystemTime;

use rowmill_domain::RunId;
use rowmill_domain::manifest::ParameterValues;
use rowmill_runs::{WorkBucket, retries_of};
use rowmill_split::{Processing, Reevaluation, SplitError};

use crate::error::CliError;
use crate::output::{self, counted, say, thousands};
use crate::pipeline_file::PipelineFile;
use crate::run::upload::Earlier;
use crate::stack::{LocalStack, WORK};

/// The newest archived rows of the same workbook that had the same steps. `earlier` are the runs that
/// differ in the pipeline only, the newest first. `None`: every row has to be processed.
pub(super) async fn base(
    stack: &LocalStack,
    file: &PipelineFile,
    given: &ParameterValues,
    earlier: &[Earlier],
) -> Result<Option<Reevaluation>, CliError> {
    if file.pipeline.steps.is_empty() {
        // Nothing would be saved.
        return Ok(None);
    }
    let failed = |e: &dyn std::fmt::Display| CliError::failed("cannot read the archived rows", e);
    let parameters = file.parameters(given)?;
    let wanted = Processing {
        name: &file.name,
        toml: &file.toml,
        pipeline: &file.pipeline,
        parameters: &parameters,
    };
    let work = WorkBucket::new(WORK, stack.objects.clone());
    for Earlier {
        run, same_files, ..
    } in earlier
    {
        let retries = retries_of(&*stack.ledger, &work, &run.id).await;
        let Some(last) = retries.map_err(|e| failed(&e))?.and_then(|r| r.base) else {
            continue;
        };
        for id in chain(&run.id, &last) {
            let plan = match stack.plan_reevaluation(&id, wanted).await {
                Ok(plan) => plan,
                Err(SplitError::Refused(_)) => continue,
                Err(error) => return Err(failed(&error)),
            };
            // A retry may have begun with other files than its run.
            if let Some(changed) = saved_since(file, plan.base.started.into()) {
                say!("{changed} was saved after run {id} had begun, so every row is processed");
                return Ok(None);
            }
            if !same_files {
                say!("a program or model is not that of run {id}, so every row is processed");
                return Ok(None);
            }
            return Ok(Some(plan));
        }
    }
    Ok(None)
}

/// Says what a re-evaluation does.
pub(super) fn announce(plan: &Reevaluation, run: &RunId, out: &Path) {
    let base = &plan.base.manifest;
    say!(
        "the steps are those of run {}: {} of its {} evaluated again, and no step runs; --force processes \
         every row",
        base.run,
        thousands(plan.records()),
        match base.records {
            1 => "1 row is".to_owned(),
            rows => format!("{} are", counted(rows, "row")),
        }
    );
    match base.records - plan.records() {
        0 => {}
        others => say!(
            "{} failed in a step or {} missing, and stays so; to process them: rowmill retry {run} --out {}",
            counted(others, "row"),
            if others == 1 { "is" } else { "are" },
            output::quoted(&out.display().to_string())
        ),
    }
}

/// A run and its retries up to `last`, the last first.
fn chain(first: &RunId, last: &RunId) -> Vec<RunId> {
    let mut ids = vec![first.clone()];
    while let Some(id) = ids.last()
        && id != last
        && let Some(next) = id.next_retry()
    {
        ids.push(next);
    }
    ids.reverse();
    ids
}

/// A program, one of its arguments or a model that was saved after this time. What a program reads besides
/// is not known.
fn saved_since(file: &PipelineFile, began: SystemTime) -> Option<String> {
    let saved = file.all_files().into_iter().find(|path| {
        let modified = path.metadata().and_then(|about| about.modified());
        modified.is_ok_and(|modified| modified > began)
    });
    saved.map(|path| path.display().to_string())
}
