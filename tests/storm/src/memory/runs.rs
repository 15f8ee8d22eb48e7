//! Runs and their jobs.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::{ErrorKind, JobRecord, PortError, Result, RunPatch, Runs};
use serde_json::Value;

use super::lock;

/// Runs in memory.
#[derive(Default)]
pub struct MemoryRuns(Mutex<State>);

#[derive(Default)]
struct State {
    /// As JSON, so that a patch changes fields by their names.
    runs: BTreeMap<RunId, Value>,
    jobs: BTreeMap<RunId, BTreeMap<JobName, JobRecord>>,
}

impl MemoryRuns {
    /// All runs, in the order of their ids.
    pub fn all(&self) -> Vec<RunItem> {
        lock(&self.0).runs.values().map(item).collect()
    }

    /// Forgets runs that are cleaned up, as their expiry does.
    pub fn forget_cleaned(&self) {
        let State { runs, jobs } = &mut *lock(&self.0);
        runs.retain(|id, run| {
            let kept = item(run).cleaned.is_none();
            if !kept {
                jobs.remove(id);
            }
            kept
        });
    }
}

fn item(json: &Value) -> RunItem {
    serde_json::from_value(json.clone()).expect("a run that was stored")
}

#[async_trait]
impl Runs for MemoryRuns {
    async fn create_run(&self, run: &RunItem) -> Result<bool> {
        let runs = &mut lock(&self.0).runs;
        if runs.contains_key(&run.id) {
            return Ok(false);
        }
        let json = serde_json::to_value(run).expect("a run is JSON");
        runs.insert(run.id.clone(), json);
        Ok(true)
    }

    async fn find_run(&self, id: &RunId) -> Result<Option<RunItem>> {
        Ok(lock(&self.0).runs.get(id).map(item))
    }

    async fn list_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        let state = lock(&self.0);
        let runs = state.runs.iter();
        let rest = runs.filter(|(id, _)| after.is_none_or(|after| *id > after));
        Ok(rest.take(limit).map(|(_, run)| item(run)).collect())
    }

    async fn newest_runs(
        &self,
        before: Option<&(DateTime<Utc>, RunId)>,
        limit: usize,
    ) -> Result<Vec<RunItem>> {
        let mut runs = self.all();
        let at = |run: &RunItem| (run.created, run.id.clone());
        runs.retain(|run| before.is_none_or(|before| at(run) < *before));
        runs.sort_by_key(|run| std::cmp::Reverse(at(run)));
        runs.truncate(limit);
        Ok(runs)
    }

    async fn delete_run(&self, id: &RunId) -> Result<()> {
        let State { runs, jobs } = &mut *lock(&self.0);
        runs.remove(id);
        jobs.remove(id);
        Ok(())
    }

    async fn open_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        let state = lock(&self.0);
        let runs = state.runs.iter();
        let rest = runs.filter(|(id, _)| after.is_none_or(|after| *id > after));
        let open = rest
            .map(|(_, run)| item(run))
            .filter(|run| run.cleaned.is_none());
        Ok(open.take(limit).collect())
    }

    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let failed =
            |kind, what: String| Err(PortError::new("update_run", id.as_str(), kind, what));
        let fields = match patch.fields(now) {
            Ok(fields) => fields,
            Err(error) => return failed(ErrorKind::Invalid, error.to_string()),
        };
        let runs = &mut lock(&self.0).runs;
        let Some(run) = runs.get_mut(id) else {
            return failed(ErrorKind::NotFound, "no such run".to_owned());
        };
        if !from.contains(&item(run).state) {
            return Ok(false);
        }
        for (name, value) in fields {
            run[name] = value;
        }
        Ok(true)
    }

    async fn update_result(
        &self,
        id: &RunId,
        from: &[ResultState],
        storage: &ResultStorage,
    ) -> Result<bool> {
        let runs = &mut lock(&self.0).runs;
        let Some(run) = runs.get_mut(id) else {
            let (kind, what) = (ErrorKind::NotFound, "no such run");
            return Err(PortError::new("update_result", id.as_str(), kind, what));
        };
        let state = item(run).storage.map_or(ResultState::Hot, |s| s.state);
        if !from.contains(&state) {
            return Ok(false);
        }
        run["storage"] = serde_json::to_value(storage).expect("a storage is JSON");
        Ok(true)
    }

    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        let jobs = &mut lock(&self.0).jobs;
        let record = record(jobs.entry(id.clone()).or_default(), name, job);
        match record.id == *job {
            true => Ok(()),
            false => {
                let what = format!("the job {} is recorded", record.id);
                Err(PortError::new(
                    "record_job",
                    &name.0,
                    ErrorKind::Conflict,
                    what,
                ))
            }
        }
    }

    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32> {
        let jobs = &mut lock(&self.0).jobs;
        let jobs = jobs.entry(id.clone()).or_default();
        let record = record(jobs, name, job);
        record.ended |= record.id == *job;
        Ok(jobs.values().filter(|job| job.ended).count() as u32)
    }

    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>> {
        let jobs = lock(&self.0).jobs.get(id).cloned();
        Ok(jobs.unwrap_or_default().into_values().collect())
    }
}

/// The record of a job, which is added if there is none.
fn record<'a>(
    jobs: &'a mut BTreeMap<JobName, JobRecord>,
    name: &JobName,
    id: &JobId,
) -> &'a mut JobRecord {
    jobs.entry(name.clone()).or_insert_with(|| JobRecord {
        name: name.clone(),
        id: id.clone(),
        ended: false,
    })
}
