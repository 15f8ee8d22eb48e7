//! An adapter that fails: around a real one, for tests that ask what a lost call does.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, JobName, SubmitJob};
use rowmill_domain::message::Message;
use rowmill_domain::run::Work;
use rowmill_domain::{Outcome, RunId, RunItem, RunState};

use crate::{
    Asked, Claim, Envelope, ErrorKind, JobFilter, JobRecord, Jobs, Ledger, Location, Mailer,
    Object, ObjectInfo, Objects, Page, PortError, Put, Result, RunPatch, Scheduler, TablePlan,
    Topic,
};

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it did anything: the request was lost.
    Before,
    /// After it took effect: the answer was lost.
    After,
}

/// Which calls fail, counted over all ports that share it.
#[derive(Debug)]
pub struct Faults {
    calls: AtomicU64,
    plan: Plan,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    Never,
    Nth(u64, Moment),
    Seeded { seed: u64, one_in: u64 },
    Denied { resource: &'static str },
}

impl Faults {
    /// None; for counting calls.
    pub fn never() -> Arc<Faults> {
        Faults::new(Plan::Never)
    }

    /// One call, the one with that number (from 0). Tried with every number below the
    /// undisturbed run's [`Faults::calls`], every call has failed once.
    pub fn nth(call: u64, moment: Moment) -> Arc<Faults> {
        Faults::new(Plan::Nth(call, moment))
    }

    /// One call in `one_in` on average, before or after it took effect, the same ones for the
    /// same seed.
    pub fn seeded(seed: u64, one_in: u64) -> Arc<Faults> {
        Faults::new(Plan::Seeded { seed, one_in })
    }

    /// Every call on what has that in its name, with [`ErrorKind::Denied`]: trying again does not
    /// help.
    pub fn denied(resource: &'static str) -> Arc<Faults> {
        Faults::new(Plan::Denied { resource })
    }

    fn new(plan: Plan) -> Arc<Faults> {
        let calls = AtomicU64::new(0);
        Arc::new(Faults { calls, plan })
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Counts a call, and says whether and when it fails.
    fn next(&self) -> Option<Moment> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.plan {
            Plan::Never | Plan::Denied { .. } => None,
            Plan::Nth(nth, moment) => (call == nth).then_some(moment),
            Plan::Seeded { seed, one_in } => {
                let dice = mix(seed ^ mix(call));
                let moment = if dice >> 63 == 0 {
                    Moment::Before
                } else {
                    Moment::After
                };
                dice.is_multiple_of(one_in).then_some(moment)
            }
        }
    }
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A port whose calls fail as its [`Faults`] say, with [`ErrorKind::Unavailable`] where they say no
/// other.
pub struct Faulty<T: ?Sized> {
    inner: Arc<T>,
    faults: Arc<Faults>,
}

impl<T: ?Sized> Faulty<T> {
    /// `inner`, with faults.
    pub fn new(inner: Arc<T>, faults: Arc<Faults>) -> Faulty<T> {
        Faulty { inner, faults }
    }

    async fn call<V>(
        &self,
        operation: &'static str,
        resource: impl ToString,
        call: impl Future<Output = Result<V>>,
    ) -> Result<V> {
        let resource = resource.to_string();
        if let Plan::Denied { resource: denied } = self.faults.plan
            && resource.contains(denied)
        {
            let what = "injected: not allowed";
            return Err(PortError::new(operation, resource, ErrorKind::Denied, what));
        }
        let lost = |what| PortError::new(operation, resource, ErrorKind::Unavailable, what);
        match self.faults.next() {
            None => call.await,
            Some(Moment::Before) => Err(lost("injected: the request was lost")),
            Some(Moment::After) => {
                call.await?;
                Err(lost("injected: the answer was lost"))
            }
        }
    }
}

#[async_trait]
impl<T: Objects + ?Sized> Objects for Faulty<T> {
    async fn head(&self, at: &Location) -> Result<ObjectInfo> {
        self.call("HeadObject", at, self.inner.head(at)).await
    }
    async fn get(&self, at: &Location) -> Result<Object> {
        self.call("GetObject", at, self.inner.get(at)).await
    }
    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo> {
        self.call("GetObject", at, self.inner.download(at, to))
            .await
    }
    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo> {
        self.call("PutObject", key, self.inner.put(bucket, key, body, put))
            .await
    }
    async fn upload(&self, bucket: &str, key: &str, from: &Path, put: Put) -> Result<ObjectInfo> {
        self.call("PutObject", key, self.inner.upload(bucket, key, from, put))
            .await
    }
    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.call(
            "ListObjectsV2",
            prefix,
            self.inner.list(bucket, prefix, after),
        )
        .await
    }
    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()> {
        self.call("DeleteObjects", bucket, self.inner.delete(bucket, keys))
            .await
    }
    async fn link(&self, at: &Location, file_name: &str, valid: Duration) -> Result<String> {
        self.call("GetObject", at, self.inner.link(at, file_name, valid))
            .await
    }
}

#[async_trait]
impl<T: Ledger + ?Sized> Ledger for Faulty<T> {
    async fn create_run(&self, run: &RunItem) -> Result<bool> {
        self.call("create_run", &run.id, self.inner.create_run(run))
            .await
    }
    async fn run(&self, id: &RunId) -> Result<Option<RunItem>> {
        self.call("run", id, self.inner.run(id)).await
    }
    async fn runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        self.call("runs", "", self.inner.runs(after, limit)).await
    }
    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        self.call(
            "update_run",
            id,
            self.inner.update_run(id, from, patch, now),
        )
        .await
    }
    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        self.call("claim", id, self.inner.claim(id, work, owner, now, lease))
            .await
    }
    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        self.call("complete", id, self.inner.complete(id, work, owner))
            .await
    }
    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        self.call("release", id, self.inner.release(id, work, owner))
            .await
    }
    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        self.call("record_job", id, self.inner.record_job(id, name, job))
            .await
    }
    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32> {
        self.call("job_ended", id, self.inner.job_ended(id, name, job))
            .await
    }
    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>> {
        self.call("jobs", id, self.inner.jobs(id)).await
    }
    async fn take_turns(
        &self,
        lane: &str,
        turns: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        let call = self.inner.take_turns(lane, turns, gap, now);
        self.call("take_turns", lane, call).await
    }
    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        let call = self.inner.ask(id, question, owner, now, lease);
        self.call("ask", id, call).await
    }
    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()> {
        let call = self.inner.answer(id, question, owner, answer);
        self.call("answer", id, call).await
    }
    async fn create_table(&self, id: &RunId, plan: TablePlan) -> Result<()> {
        self.call("create_table", id, self.inner.create_table(id, plan))
            .await
    }
    async fn drop_table(&self, id: &RunId) -> Result<()> {
        self.call("drop_table", id, self.inner.drop_table(id)).await
    }
    async fn tables(&self) -> Result<Vec<RunId>> {
        self.call("tables", "", self.inner.tables()).await
    }
    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()> {
        self.call(
            "put_outcomes",
            id,
            self.inner.put_outcomes(id, chunk, outcomes),
        )
        .await
    }
    async fn outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>> {
        self.call("outcomes", id, self.inner.outcomes(id, chunk, rows))
            .await
    }
}

#[async_trait]
impl<T: Jobs + ?Sized> Jobs for Faulty<T> {
    async fn register(&self, definition: &JobDefinition) -> Result<String> {
        let name = &definition.name;
        self.call(
            "RegisterJobDefinition",
            name,
            self.inner.register(definition),
        )
        .await
    }
    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>> {
        let call = self.inner.definitions(name_prefix);
        self.call("DescribeJobDefinitions", name_prefix, call).await
    }
    async fn deregister(&self, arn: &str) -> Result<()> {
        self.call("DeregisterJobDefinition", arn, self.inner.deregister(arn))
            .await
    }
    async fn submit(&self, job: &SubmitJob) -> Result<JobId> {
        self.call("SubmitJob", &job.name, self.inner.submit(job))
            .await
    }
    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        self.call("DescribeJobs", "", self.inner.describe(ids))
            .await
    }
    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        self.call("ListJobs", "", self.inner.list(filter, after))
            .await
    }
    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()> {
        self.call("TerminateJob", id, self.inner.terminate(id, reason))
            .await
    }
    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()> {
        self.call("CancelJob", id, self.inner.cancel(id, reason))
            .await
    }
}

#[async_trait]
impl<T: Topic + ?Sized> Topic for Faulty<T> {
    async fn publish(&self, message: &Message) -> Result<()> {
        self.call("Publish", message.kind(), self.inner.publish(message))
            .await
    }
}

#[async_trait]
impl<T: Scheduler + ?Sized> Scheduler for Faulty<T> {
    async fn at(&self, name: &str, when: DateTime<Utc>, message: &Message) -> Result<()> {
        self.call("CreateSchedule", name, self.inner.at(name, when, message))
            .await
    }
    async fn cancel(&self, name: &str) -> Result<()> {
        self.call("DeleteSchedule", name, self.inner.cancel(name))
            .await
    }
}

#[async_trait]
impl<T: Mailer + ?Sized> Mailer for Faulty<T> {
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String> {
        let to = envelope.to.join(", ");
        self.call("SendEmail", to, self.inner.send(envelope, mime))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_fails_and_no_other() {
        let faults = Faults::nth(2, Moment::After);
        let moments: Vec<_> = (0..5).map(|_| faults.next()).collect();
        assert_eq!(moments, [None, None, Some(Moment::After), None, None]);
        assert_eq!(faults.calls(), 5);
    }

    #[test]
    fn a_seed_decides_which_calls_fail_and_when() {
        let all = |seed| {
            let faults = Faults::seeded(seed, 5);
            (0..2000).map(|_| faults.next()).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let count = |moment| all(1).iter().filter(|m| **m == Some(moment)).count();
        for moment in [Moment::Before, Moment::After] {
            let n = count(moment);
            assert!((120..280).contains(&n), "{n} of 2000 failed {moment:?}");
        }
    }
}
