//! A wrapper that makes the calls of a port fail, for tests of lost calls and killed processes.
//!
//! A [`FaultPlan`] decides about each call. [`Faults`] fails the n-th call, calls from a seed, or all
//! calls after a point, without delays. A plan can also delay a call, or never answer it.

#![allow(clippy::disallowed_methods, reason = "wraps every method")]

use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, JobName, SubmitJob};
use rowmill_domain::message::RunMessage;
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::run::Work;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_domain::tally::Tally;
use rowmill_domain::{Outcome, RunId, RunItem, RunState, Submitter};

use crate::submitters::GivenTier;
use crate::{
    Archive, ArchivePage, ArchiveStatus, Asked, Claim, Coordination, Envelope, ErrorKind,
    FileRange, Holder, JobFilter, JobRecord, Jobs, Location, Mailer, Object, ObjectInfo, Objects,
    Outcomes, OutcomesPage, Page, PortError, Put, RestoreAnswer, Result, RunPatch, Runs, Scheduler,
    Submitters, TablePlan, Topic,
};

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it took effect: the request was lost.
    Before,
    /// After it took effect: the response was lost.
    After,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, which no retry fixes.
    Denied,
    /// It is refused, because there were too many.
    Throttled,
    /// Its request or its response is lost.
    Lost(Moment),
    /// It takes effect twice. The caller gets the second response.
    Twice,
    /// Its process is gone.
    Killed,
}

/// A call of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The operation, as errors name it.
    pub operation: &'static str,
    /// The resource, as errors name it.
    pub resource: String,
}

/// Decides what happens to each call of a port. It delays a call by returning later, and kills a
/// process by never returning.
#[async_trait]
pub trait FaultPlan: Send + Sync {
    /// Before the call takes effect.
    async fn before(&self, call: &Call) -> Option<Fault>;
    /// After the call took effect, before its response arrives. Any fault loses the response.
    async fn after(&self, call: &Call) -> Option<Fault>;
}

/// Decides which calls fail. All ports that share a value count their calls together.
#[derive(Debug)]
pub struct Faults(Mutex<State>);

#[derive(Debug)]
struct State {
    calls: u64,
    plan: Plan,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    Never,
    Nth(u64, Moment),
    Seeded {
        seed: u64,
        one_in: u64,
    },
    Denied {
        resource: &'static str,
    },
    /// Steps left before the simulated process is killed.
    KillIn(u64),
    Killed,
}

impl Faults {
    /// No call fails. Use it to count calls.
    pub fn never() -> Arc<Faults> {
        Faults::new(Plan::Never)
    }

    /// Only the call with this number fails, counted from 0. To make every call fail once, repeat
    /// a test with every number below the [`Faults::calls`] of a run without faults.
    pub fn nth(call: u64, moment: Moment) -> Arc<Faults> {
        Faults::new(Plan::Nth(call, moment))
    }

    /// One call in `one_in` fails on average, before or after it took effect. The seed determines
    /// which.
    pub fn seeded(seed: u64, one_in: u64) -> Arc<Faults> {
        Faults::new(Plan::Seeded { seed, one_in })
    }

    /// Every call on a resource whose name contains `resource` fails with [`ErrorKind::Denied`],
    /// which no retry fixes.
    pub fn denied(resource: &'static str) -> Arc<Faults> {
        Faults::new(Plan::Denied { resource })
    }

    fn new(plan: Plan) -> Arc<Faults> {
        Arc::new(Faults(Mutex::new(State { calls: 0, plan })))
    }

    /// Kills the process after `steps` more steps: from then on, every call fails. A call takes
    /// two steps, one before it takes effect and one before its response arrives. Replaces the
    /// current plan.
    pub fn kill_after(&self, steps: u64) {
        self.state().plan = Plan::KillIn(steps);
    }

    /// Starts the process again: no call fails until [`Faults::kill_after`].
    pub fn restart(&self) {
        self.state().plan = Plan::Never;
    }

    /// Whether [`Faults::kill_after`] has made a call fail since.
    pub fn is_killed(&self) -> bool {
        matches!(self.state().plan, Plan::Killed)
    }

    /// Number of calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and decides how it fails.
    fn next(&self, resource: &str) -> Option<Fault> {
        let mut state = self.state();
        let call = state.calls;
        state.calls += 1;
        match state.plan {
            Plan::Never | Plan::KillIn(_) | Plan::Killed => None,
            Plan::Nth(nth, moment) => (call == nth).then_some(Fault::Lost(moment)),
            Plan::Seeded { seed, one_in } => {
                let dice = mix(seed ^ mix(call));
                let moment = if dice >> 63 == 0 {
                    Moment::Before
                } else {
                    Moment::After
                };
                dice.is_multiple_of(one_in).then_some(Fault::Lost(moment))
            }
            Plan::Denied { resource: denied } => resource.contains(denied).then_some(Fault::Denied),
        }
    }

    /// Takes a step. `false` if the process is gone.
    fn step(&self) -> bool {
        let mut state = self.state();
        match state.plan {
            Plan::KillIn(0) | Plan::Killed => {
                state.plan = Plan::Killed;
                false
            }
            Plan::KillIn(left) => {
                state.plan = Plan::KillIn(left - 1);
                true
            }
            _ => true,
        }
    }
}

#[async_trait]
impl FaultPlan for Faults {
    async fn before(&self, call: &Call) -> Option<Fault> {
        let fault = self.next(&call.resource);
        let refused = matches!(fault, Some(Fault::Denied | Fault::Lost(Moment::Before)));
        match refused || self.step() {
            true => fault,
            false => Some(Fault::Killed),
        }
    }

    async fn after(&self, _: &Call) -> Option<Fault> {
        (!self.step()).then_some(Fault::Killed)
    }
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A port whose calls fail as its [`FaultPlan`] decides, with [`ErrorKind::Unavailable`] unless the
/// fault says otherwise.
pub struct Faulty<T: ?Sized> {
    inner: Arc<T>,
    plan: Arc<dyn FaultPlan>,
}

impl<T: ?Sized> Faulty<T> {
    /// Wraps `inner`.
    pub fn new(inner: Arc<T>, plan: Arc<dyn FaultPlan>) -> Faulty<T> {
        Faulty { inner, plan }
    }

    async fn call<V, F: Future<Output = Result<V>>>(
        &self,
        operation: &'static str,
        resource: String,
        make: impl Fn() -> F,
    ) -> Result<V> {
        let call = Call {
            operation,
            resource,
        };
        let failed = |kind, what| Err(PortError::new(operation, call.resource.clone(), kind, what));
        let before = self.plan.before(&call).await;
        match before {
            Some(Fault::Denied) => return failed(ErrorKind::Denied, "injected: not allowed"),
            Some(Fault::Throttled) => {
                return failed(ErrorKind::Throttled, "injected: too many calls");
            }
            Some(Fault::Lost(Moment::Before)) => {
                return failed(ErrorKind::Unavailable, "injected: the request was lost");
            }
            Some(Fault::Killed) => {
                return failed(ErrorKind::Unavailable, "injected: the process was killed");
            }
            Some(Fault::Twice) => drop(make().await),
            Some(Fault::Lost(Moment::After)) | None => {}
        }
        let response = make().await;
        let after = self.plan.after(&call).await;
        if after == Some(Fault::Killed) {
            return failed(ErrorKind::Unavailable, "injected: the process was killed");
        }
        if after.is_some() || before == Some(Fault::Lost(Moment::After)) {
            response?;
            return failed(ErrorKind::Unavailable, "injected: the response was lost");
        }
        response
    }
}

/// Implements a port for [`Faulty`]: each method with its operation and its resource, as errors
/// name them.
macro_rules! faulty {
    ($port:ident {
        $($operation:literal, $resource:expr =>
            fn $name:ident($($arg:ident: $type:ty),*) -> $value:ty;)*
    }) => {
        #[async_trait]
        impl<T: $port + ?Sized> $port for Faulty<T> {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$value> {
                let resource = $resource.to_string();
                let make = || self.inner.$name($(Clone::clone(&$arg)),*);
                self.call($operation, resource, make).await
            })*
        }
    };
}

faulty!(Objects {
    "HeadObject", at => fn head(at: &Location) -> ObjectInfo;
    "GetObject", at => fn get(at: &Location) -> Object;
    "GetObject", at => fn get_range(at: &Location, bytes: Range<u64>) -> Bytes;
    "GetObject", at => fn download(at: &Location, to: &Path) -> ObjectInfo;
    "PutObject", key => fn put(bucket: &str, key: &str, body: Bytes, put: Put) -> ObjectInfo;
    "PutObject", key => fn upload(bucket: &str, key: &str, from: &FileRange, put: Put) -> ObjectInfo;
    "CopyObject", key => fn copy(from: &Location, bucket: &str, key: &str, put: Put) -> ObjectInfo;
    "ListObjectsV2", prefix => fn list(bucket: &str, prefix: &str, after: Option<&str>) -> Page;
    "ListObjectVersions", bucket => fn put_since(
        bucket: &str, since: DateTime<Utc>
    ) -> Vec<ObjectInfo>;
    "DeleteObjects", bucket => fn delete(bucket: &str, keys: &[String]) -> ();
    "GetObject", at => fn link(at: &Location, file_name: &str, valid: Duration) -> String;
});

faulty!(Archive {
    "ListObjectsV2", prefix => fn stored(
        bucket: &str, prefix: &str, after: Option<&str>
    ) -> ArchivePage;
    "HeadObject", at => fn status(at: &Location) -> ArchiveStatus;
    "CopyObject", at => fn archive(at: &Location, class: ArchiveClass) -> ();
    "RestoreObject", at => fn restore(at: &Location, speed: RestoreSpeed, days: u32) -> RestoreAnswer;
    "CopyObject", at => fn copy_back(at: &Location) -> ();
});

faulty!(Runs {
    "create_run", run.id => fn create_run(run: &RunItem) -> bool;
    "find_run", id => fn find_run(id: &RunId) -> Option<RunItem>;
    "list_runs", "" => fn list_runs(after: Option<&RunId>, limit: usize) -> Vec<RunItem>;
    "newest_runs", "" => fn newest_runs(
        before: Option<&(DateTime<Utc>, RunId)>, limit: usize
    ) -> Vec<RunItem>;
    "delete_run", id => fn delete_run(id: &RunId) -> ();
    "open_runs", "" => fn open_runs(after: Option<&RunId>, limit: usize) -> Vec<RunItem>;
    "update_run", id => fn update_run(
        id: &RunId, from: &[RunState], patch: RunPatch, now: DateTime<Utc>
    ) -> bool;
    "update_result", id => fn update_result(
        id: &RunId, from: &[ResultState], storage: &ResultStorage
    ) -> bool;
    "record_job", id => fn record_job(id: &RunId, name: &JobName, job: &JobId) -> ();
    "job_ended", id => fn job_ended(id: &RunId, name: &JobName, job: &JobId) -> u32;
    "jobs", id => fn jobs(id: &RunId) -> Vec<JobRecord>;
});

faulty!(Outcomes {
    "create_table", id => fn create_table(id: &RunId, plan: TablePlan) -> ();
    "drop_table", id => fn drop_table(id: &RunId) -> ();
    "list_tables", "" => fn list_tables() -> Vec<RunId>;
    "put_outcomes", id => fn put_outcomes(id: &RunId, chunk: u32, outcomes: &[Outcome]) -> ();
    "read_page", id => fn read_page(
        id: &RunId, chunk: u32, rows: RangeInclusive<u32>
    ) -> OutcomesPage;
    "add_tally", id => fn add_tally(id: &RunId, more: &Tally) -> Tally;
    "tally", id => fn tally(id: &RunId) -> Tally;
});

faulty!(Coordination {
    "claim", id => fn claim(
        id: &RunId, work: Work, owner: &str, now: DateTime<Utc>, lease: Duration
    ) -> Claim;
    "holder", id => fn holder(id: &RunId, work: Work, now: DateTime<Utc>) -> Option<Holder>;
    "complete", id => fn complete(id: &RunId, work: Work, owner: &str) -> ();
    "release", id => fn release(id: &RunId, work: Work, owner: &str) -> ();
    "take_permits", rate_key => fn take_permits(
        rate_key: &str, permits: u32, gap: Duration, now: DateTime<Utc>
    ) -> DateTime<Utc>;
    "ask", id => fn ask(
        id: &RunId, question: &str, owner: &str, now: DateTime<Utc>, lease: Duration
    ) -> Asked;
    "answer", id => fn answer(
        id: &RunId, question: &str, owner: &str, answer: Option<&str>
    ) -> ();
});

faulty!(Jobs {
    "RegisterJobDefinition", definition.name => fn register(definition: &JobDefinition) -> String;
    "DescribeJobDefinitions", name_prefix => fn definitions(name_prefix: &str) -> Vec<String>;
    "DeregisterJobDefinition", arn => fn deregister(arn: &str) -> ();
    "SubmitJob", job.name => fn submit(job: &SubmitJob) -> JobId;
    "DescribeJobs", "" => fn describe(ids: &[JobId]) -> Vec<JobDetail>;
    "ListJobs", "" => fn list(
        filter: &JobFilter, after: Option<&str>
    ) -> (Vec<JobDetail>, Option<String>);
    "TerminateJob", id => fn terminate(id: &JobId, reason: &str) -> ();
    "CancelJob", id => fn cancel(id: &JobId, reason: &str) -> ();
});

faulty!(Submitters {
    "given_tier", submitter => fn given_tier(submitter: &Submitter) -> Option<GivenTier>;
    "give_tier", submitter => fn give_tier(
        submitter: &Submitter, tier: &str, since: DateTime<Utc>
    ) -> bool;
    "forget_tier", submitter => fn forget_tier(submitter: &Submitter) -> ();
    "has_event", id => fn has_event(id: &str) -> bool;
    "record_event", id => fn record_event(id: &str, now: DateTime<Utc>) -> ();
    "add_run", run => fn add_run(submitter: &Submitter, run: &RunId) -> ();
    "remove_run", run => fn remove_run(submitter: &Submitter, run: &RunId) -> ();
    "runs_of", submitter => fn runs_of(
        submitter: &Submitter, after: Option<&RunId>, limit: usize
    ) -> Vec<RunId>;
});

faulty!(Topic {
    "Publish", message.kind() => fn publish(message: &RunMessage) -> ();
});

faulty!(Scheduler {
    "CreateSchedule", name => fn at(name: &str, when: DateTime<Utc>, message: &RunMessage) -> ();
    "DeleteSchedule", name => fn cancel(name: &str) -> ();
});

faulty!(Mailer {
    "SendEmail", envelope.to.join(", ") => fn send(envelope: &Envelope, mime: &[u8]) -> String;
    "GetEmailIdentity", identity => fn is_verified(identity: &str) -> bool;
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nth_call_fails() {
        let faults = Faults::nth(2, Moment::After);
        let moments: Vec<_> = (0..5).map(|_| faults.next("any")).collect();
        let lost = Some(Fault::Lost(Moment::After));
        assert_eq!(moments, [None, None, lost, None, None]);
        assert_eq!(faults.calls(), 5);
    }

    #[test]
    fn a_seed_decides_which_calls_fail_and_when() {
        let all = |seed| {
            let faults = Faults::seeded(seed, 5);
            (0..2000).map(|_| faults.next("any")).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let lost = |moment| Some(Fault::Lost(moment));
        let count = |moment| all(1).iter().filter(|m| **m == lost(moment)).count();
        for moment in [Moment::Before, Moment::After] {
            let n = count(moment);
            assert!((120..280).contains(&n), "{n} of 2000 failed {moment:?}");
        }
    }

    #[tokio::test]
    async fn a_killed_process_makes_no_call_until_it_is_restarted() {
        let faults = Faults::never();
        let faulty = Faulty::new(Arc::new(()), faults.clone());
        let made = Mutex::new(0);
        let call = || {
            faulty.call("GetObject", String::new(), async || {
                *made.lock().unwrap() += 1;
                Ok(())
            })
        };
        // The first call is complete, the second takes effect, the third is not made.
        faults.kill_after(3);
        call().await.unwrap();
        assert!(!faults.is_killed());
        assert!(call().await.is_err());
        assert!(faults.is_killed());
        assert!(call().await.is_err());
        assert_eq!(*made.lock().unwrap(), 2);

        faults.kill_after(0);
        assert!(call().await.is_err());
        assert_eq!(*made.lock().unwrap(), 2);

        faults.restart();
        call().await.unwrap();
        assert!(!faults.is_killed());
        assert_eq!(*made.lock().unwrap(), 3);
    }
}
