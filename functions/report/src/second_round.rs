//! The second round: one further job for the children of a run that ran out of memory, for which there
//! was no capacity, or whose job Batch lost. Batch cannot change the memory or the queue of a job between two attempts.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use rowmill_domain::event::Invocation;
use rowmill_domain::job::{JobDetail, JobId, JobName, SubmitJob, on_demand_queue};
use rowmill_domain::limits::SUBMIT_PER_SECOND;
use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::run::Work;
use rowmill_domain::second_round::{
    ChunkAgain, NO_CAPACITY, PhaseAgain, SECOND_ROUND_VERSION, SecondRound, ranges,
};
use rowmill_domain::{Manifest, RunId, RunItem, keys};
use rowmill_pipeline::{Pipeline, from_manifest};
use rowmill_ports::{Jobs, PortError, Put, RunPatch};
use rowmill_runs::{
    Claimed, JobRequest, RateLimiter, Submission, Transition, load_manifest, place_job,
    retry_throttled, with_claim,
};

use crate::error::ReportError;
use crate::format::thousands;
use crate::jobs::EndedJobs;
use crate::stage::Report;

/// What Batch says if Spot took the machine of the last attempt. Source: Amazon ECS, "Stopped tasks
/// error messages"; AWS Batch user guide, "Automated job retries".
const INTERRUPTED: [&str; 2] = ["Your Spot Task was interrupted", "Host EC2"];
/// What Batch says if a program ended by itself or was killed, but neither exceeded its time limit
/// nor was terminated.
const EXITED: &str = "Essential container in task exited";
/// The exit code of a program that was killed.
const KILLED: i32 = 137;

/// The second round of a run whose first round has ended.
pub(crate) enum Round {
    /// The run has none.
    None,
    /// Another invocation is submitting it.
    Held,
    /// All of its jobs are submitted.
    Submitted(SecondRound),
}

/// Why a child runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    OutOfMemory,
    NoCapacity,
    /// Batch lost its job.
    Lost,
}

impl Report {
    /// Decides whether the run has a second round, and submits its jobs. Safe to repeat: what it does
    /// is written before the first job is submitted, and each job has a name of its own.
    pub(crate) async fn second_round(
        &self,
        run: &RunItem,
        first: &EndedJobs,
        cx: &Invocation,
    ) -> Result<Round, ReportError> {
        if !first.any_failed() || run.failure.is_some() {
            return Ok(Round::None);
        }
        if run.stop.is_some() {
            // Nothing new starts. What a second round did before the stop counts.
            return Ok(match self.find_round(&run.id).await? {
                Some(round) => Round::Submitted(round),
                None => Round::None,
            });
        }
        let submit = async |resumed| {
            let round = match self.find_round(&run.id).await? {
                Some(round) => round,
                None => {
                    let manifest = load_manifest(&self.work, &run.id).await?;
                    let pipeline = from_manifest(&manifest)?;
                    let Some(round) = self.decide(&manifest, &pipeline, first).await? else {
                        return Ok(());
                    };
                    self.keep_round(&round).await?;
                    round
                }
            };
            match round.refused {
                Some(_) => Ok(()),
                None => self.submit_round(run, round, resumed, cx).await,
            }
        };
        let (coordination, work) = (&*self.coordination, Work::SecondRound);
        if let Claimed::Held(_) = with_claim(coordination, &run.id, work, cx, submit).await? {
            return Ok(Round::Held);
        }
        Ok(match self.find_round(&run.id).await? {
            Some(round) => Round::Submitted(round),
            None => Round::None,
        })
    }

    async fn find_round(&self, run: &RunId) -> Result<Option<SecondRound>, ReportError> {
        let Some(json) = self.work.find(&keys::second_round(run)).await? else {
            return Ok(None);
        };
        let round = SecondRound::from_json(&json).map_err(|error| ReportError::Inconsistent {
            run: run.clone(),
            what: error.to_string(),
        })?;
        Ok(Some(round))
    }

    async fn keep_round(&self, round: &SecondRound) -> Result<(), ReportError> {
        let json = serde_json::to_vec(round).map_err(|error| ReportError::Inconsistent {
            run: round.run.clone(),
            what: format!("the second round cannot be written: {error}"),
        })?;
        let key = keys::second_round(&round.run);
        self.work
            .put(&key, Bytes::from(json), Put::default())
            .await?;
        Ok(())
    }

    /// The children that run again, with more memory or other capacity. `None`: there are none.
    async fn decide(
        &self,
        manifest: &Manifest,
        pipeline: &Pipeline,
        first: &EndedJobs,
    ) -> Result<Option<SecondRound>, ReportError> {
        let mut chunks = Vec::new();
        for plan in &manifest.chunks {
            let causes = self.causes(plan, manifest.phases, first).await?;
            chunks.extend(again(plan, manifest.phases, pipeline, causes));
        }
        Ok((!chunks.is_empty()).then(|| SecondRound {
            version: SECOND_ROUND_VERSION,
            run: manifest.run.clone(),
            chunks,
            refused: None,
        }))
    }

    /// By child: the first phase in which it failed, and why.
    async fn causes(
        &self,
        plan: &ChunkPlan,
        phases: u16,
        first: &EndedJobs,
    ) -> Result<BTreeMap<u32, (u16, Option<Cause>)>, ReportError> {
        let mut causes = BTreeMap::new();
        for phase in 0..phases {
            let Some(job) = first.job(plan.chunk, phase) else {
                if first.is_lost(plan.chunk, phase) {
                    for index in 0..plan.children {
                        let lost = (phase, Some(Cause::Lost));
                        causes.entry(index).or_insert(lost);
                    }
                }
                continue;
            };
            for child in self.failed_children(job).await? {
                let index = child.array_index.unwrap_or(0);
                // Later phases fail because this one did.
                causes
                    .entry(index)
                    .or_insert_with(|| (phase, cause(&child).or_else(|| given_up(job))));
            }
        }
        Ok(causes)
    }

    /// Submits the jobs that are not recorded yet. If Batch refuses one for good, the round ends: a
    /// run does not wait for jobs that nobody can submit.
    async fn submit_round(
        &self,
        run: &RunItem,
        round: SecondRound,
        resumed: bool,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let manifest = load_manifest(&self.work, &run.id).await?;
        let priority = from_manifest(&manifest)?.batch.priority;
        // Before the first job, so that report counts to the new number when it ends.
        let fields = RunPatch {
            second_round: Some(round.jobs()),
            ..RunPatch::default()
        };
        self.change(&run.id, Transition::StartSecondRound, fields, cx)
            .await?;
        let mut ids: HashMap<JobName, JobId> = HashMap::new();
        for record in self.runs.jobs(&run.id).await? {
            ids.insert(record.name, record.id);
        }
        let mut limiter = RateLimiter::new(SUBMIT_PER_SECOND);
        for (job, resources) in round.graph() {
            if ids.contains_key(&job.name) {
                continue;
            }
            let Some(definition) = run.definitions.get(usize::from(job.phase)) else {
                let why = format!("the definition of phase {} is not recorded", job.phase + 1);
                return self.give_up(round, &ids, why, cx).await;
            };
            let on_demand = round.chunk(job.chunk).is_some_and(|c| c.no_capacity > 0);
            let queue = match on_demand {
                true => on_demand_queue(&self.config.queue),
                false => self.config.queue.clone(),
            };
            let request = JobRequest {
                pipeline: &manifest.pipeline,
                run: &run.id,
                queue: &queue,
                definition,
                resources,
                priority,
            };
            let request = request.of(&job, &ids);
            let mut submission = OneJob {
                jobs: &*self.jobs,
                limiter: &mut limiter,
                request,
            };
            let services = (&*self.runs, &*self.jobs);
            let (run, name) = (&run.id, &job.name);
            let placed = place_job(services, run, name, &queue, resumed, &mut submission).await;
            match placed {
                Ok(id) => ids.insert(job.name, id),
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => return self.give_up(round, &ids, error.to_string(), cx).await,
            };
        }
        let (memory, capacity) = (round.out_of_memory(), round.no_capacity());
        tracing::info!(run = %run.id, jobs = round.jobs(), memory, capacity, "second round");
        Ok(())
    }

    /// Ends a round that Batch refused: its jobs are terminated, and the run ends with what the first
    /// round did.
    async fn give_up(
        &self,
        mut round: SecondRound,
        ids: &HashMap<JobName, JobId>,
        why: String,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        tracing::error!(run = %round.run, why, "the second round is refused");
        let ours = |(name, id): (&JobName, &JobId)| name.is_second_round().then(|| id.clone());
        let ours: Vec<JobId> = ids.iter().filter_map(ours).collect();
        for id in &ours {
            let reason = "the second round is refused";
            self.jobs.terminate(id, reason).await?;
        }
        let fields = RunPatch {
            second_round: Some(ours.len() as u32),
            ..RunPatch::default()
        };
        self.change(&round.run, Transition::StartSecondRound, fields, cx)
            .await?;
        round.refused = Some(why);
        self.keep_round(&round).await
    }
}

/// One job of the round.
struct OneJob<'a> {
    jobs: &'a dyn Jobs,
    limiter: &'a mut RateLimiter,
    request: SubmitJob,
}

#[async_trait]
impl Submission for OneJob<'_> {
    type Error = PortError;
    async fn submit(&mut self) -> Result<JobId, PortError> {
        self.limiter.wait().await;
        retry_throttled(|| self.jobs.submit(&self.request)).await
    }
}

/// What happens to a chunk, if some of its children can run again.
fn again(
    plan: &ChunkPlan,
    phases: u16,
    pipeline: &Pipeline,
    causes: BTreeMap<u32, (u16, Option<Cause>)>,
) -> Option<ChunkAgain> {
    let first_round = pipeline.phase_resources();
    let twice = |phase: u16| {
        let resources = first_round.get(usize::from(phase))?;
        resources.twice_the_memory(pipeline.batch.capacity)
    };
    let eligible: Vec<(u32, u16, Cause)> = causes
        .into_iter()
        .filter_map(|(child, (phase, cause))| Some((child, phase, cause?)))
        .filter(|(_, phase, cause)| *cause != Cause::OutOfMemory || twice(*phase).is_some())
        .collect();
    let from = eligible.iter().map(|(_, phase, _)| *phase).min()?;
    let count = |wanted: Cause| eligible.iter().filter(|e| e.2 == wanted).count() as u32;
    let of_phase = |phase: u16| {
        let memory = (phase, Cause::OutOfMemory);
        let needed = eligible.iter().any(|e| (e.1, e.2) == memory);
        PhaseAgain {
            phase,
            resources: needed.then(|| twice(phase)).flatten(),
        }
    };
    Some(ChunkAgain {
        chunk: plan.chunk,
        children: ranges(eligible.iter().map(|(child, _, _)| *child)),
        out_of_memory: count(Cause::OutOfMemory),
        no_capacity: count(Cause::NoCapacity),
        lost: count(Cause::Lost),
        phases: (from..phases).map(of_phase).collect(),
    })
}

/// Why a failed job or child can run again. `None`: a second round would fail for the same reason.
fn cause(child: &JobDetail) -> Option<Cause> {
    let status = child.status_reason.as_deref().unwrap_or_default();
    let reason = child.reason.as_deref().unwrap_or_default();
    if INTERRUPTED.iter().any(|start| status.starts_with(start)) {
        return Some(Cause::NoCapacity);
    }
    let killed = child.exit_code == Some(KILLED) && status.starts_with(EXITED);
    if killed || reason.starts_with("OutOfMemory") {
        return Some(Cause::OutOfMemory);
    }
    given_up(child)
}

/// Whether the job was terminated because there was no capacity for it.
fn given_up(job: &JobDetail) -> Option<Cause> {
    let status = job.status_reason.as_deref().unwrap_or_default();
    status.starts_with(NO_CAPACITY).then_some(Cause::NoCapacity)
}

/// What the second round did, for the mail and the summary.
pub(crate) fn notes(round: &SecondRound, pipeline: &Pipeline) -> Vec<String> {
    let children = |count: u32| match count {
        1 => "1 job".to_owned(),
        count => format!("{} jobs", thousands(count.into())),
    };
    let mut notes = Vec::new();
    let memory = round.out_of_memory();
    if memory > 0 {
        let first_round = pipeline.phase_resources();
        let mut sizes: Vec<String> = Vec::new();
        for of_phase in round.chunks.iter().flat_map(|chunk| &chunk.phases) {
            let before = first_round.get(usize::from(of_phase.phase));
            if let (Some(after), Some(before)) = (of_phase.resources, before) {
                let size = format!(
                    "{} MiB instead of {} MiB",
                    thousands(after.memory_mib.into()),
                    thousands(before.memory_mib.into())
                );
                if !sizes.contains(&size) {
                    sizes.push(size);
                }
            }
        }
        notes.push(format!(
            "{} ran out of memory; a second round repeated what they had not finished, with {}. Set \
             `memory` in the pipeline to save the first round",
            children(memory),
            sizes.join(", ")
        ));
    }
    let capacity = round.no_capacity();
    if capacity > 0 {
        notes.push(format!(
            "AWS had no Spot capacity for {}; a second round processed what they had not finished, \
             On-Demand",
            children(capacity)
        ));
    }
    let lost = round.lost();
    if lost > 0 {
        notes.push(format!(
            "AWS Batch lost {}; a second round processed what they had not finished",
            children(lost)
        ));
    }
    if let Some(why) = &round.refused {
        notes = vec![format!(
            "{} failed for lack of memory or capacity, and AWS Batch refused a second round: {why}",
            children(memory + capacity + lost)
        )];
    }
    notes
}

#[cfg(test)]
mod tests {
    use rowmill_domain::job::{JobStatus, Resources};

    use super::*;

    fn child(status: &str, reason: Option<&str>, exit_code: Option<i32>) -> JobDetail {
        JobDetail {
            id: JobId("a:0".into()),
            name: JobName("a".into()),
            status: JobStatus::Failed,
            status_reason: Some(status.into()),
            array_size: None,
            array_index: Some(0),
            children: Default::default(),
            exit_code,
            reason: reason.map(str::to_owned),
            attempts: 10,
            created_at: None,
            started_at: None,
            stopped_at: None,
            log: None,
        }
    }

    #[test]
    fn only_a_lack_of_memory_or_capacity_gets_a_second_round() {
        let exited = "Essential container in task exited";
        let memory = Some("OutOfMemoryError: Container killed due to memory usage");
        let waited = format!("{NO_CAPACITY} for 30 minutes");
        for (status, reason, code, expected) in [
            (exited, None, Some(137), Some(Cause::OutOfMemory)),
            (exited, memory, Some(1), Some(Cause::OutOfMemory)),
            (
                "Your Spot Task was interrupted.",
                None,
                Some(143),
                Some(Cause::NoCapacity),
            ),
            (
                "Host EC2 (instance i-0a1b2c3d4e5f) terminated.",
                None,
                None,
                Some(Cause::NoCapacity),
            ),
            (&waited, None, None, Some(Cause::NoCapacity)),
            (exited, None, Some(2), None),
            (exited, None, Some(175), None),
            // Killed, but for its time or by a person.
            (
                "Job attempt duration exceeded timeout",
                None,
                Some(137),
                None,
            ),
            ("stopped by a person", None, Some(137), None),
            ("ResourceInitializationError: no secret", None, None, None),
        ] {
            let found = cause(&child(status, reason, code));
            assert_eq!(found, expected, "{status} {reason:?} {code:?}");
        }
    }

    #[test]
    fn each_phase_has_the_memory_that_its_children_lacked() {
        let toml = "[[step]]\nkind = 'sentiment'\ncolumn = 't'\n\
                    [[step]]\nkind = 'language'\ncolumn = 't'\nvcpu = 1\nmemory = '8 GiB'\n\
                    [[step]]\nkind = 'command'\nprogram = ['x']\noutputs = ['x']\nvcpu = 32\n\
                    memory = '244 GiB'\n";
        let pipeline = Pipeline::parse("p.toml", toml).unwrap();
        let plan = ChunkPlan {
            chunk: 4,
            first_row: 2,
            last_row: 101,
            records: 100,
            children: 10,
        };
        let again = |causes: &[(u32, u16, Option<Cause>)]| {
            let causes = causes
                .iter()
                .map(|(child, phase, cause)| (*child, (*phase, *cause)));
            again(&plan, 3, &pipeline, causes.collect())
        };
        let memory = Some(Cause::OutOfMemory);
        let found = again(&[(2, 1, memory), (3, 1, None), (5, 2, memory)]).unwrap();
        // Child 3 failed for another reason, and there is nothing larger than the last phase has.
        assert_eq!(found.children, [(2, 2)]);
        let resources = |vcpu, memory_mib| {
            Some(Resources {
                vcpu,
                memory_mib,
                storage_gib: None,
            })
        };
        let phases: Vec<_> = found
            .phases
            .iter()
            .map(|p| (p.phase, p.resources))
            .collect();
        assert_eq!(phases, [(1, resources(2.0, 16_384)), (2, None)]);
        assert_eq!(again(&[(5, 2, memory)]), None);
        assert_eq!(again(&[(3, 1, None)]), None);

        let found = again(&[(0, 2, Some(Cause::NoCapacity)), (1, 0, memory)]).unwrap();
        assert_eq!((found.out_of_memory, found.no_capacity), (1, 1));
        let phases: Vec<_> = found
            .phases
            .iter()
            .map(|p| (p.phase, p.resources))
            .collect();
        assert_eq!(phases, [(0, resources(0.25, 1024)), (1, None), (2, None)]);
    }
}
