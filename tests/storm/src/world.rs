//! The stages, Batch and the events between them, as in a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rowmill_cleanup::{Cleanup, CleanupConfig, Mode, Swept};
use rowmill_domain::config::child_exit;
use rowmill_domain::environment::Environment;
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::job::{Capacity, JobId};
use rowmill_domain::limits::{
    ATTACH_DEFAULT, INVOCATION_RETRIES, LAMBDA_SECONDS_MAX, STOP_TIMEOUT_SECONDS,
};
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_enrich::{Child, Enrich, HostResources};
use rowmill_events::{reported_event, schedule_event};
use rowmill_local::batch::{MemoryBatch, MemoryExit, StartedAttempt};
use rowmill_local::bus::Target;
use rowmill_local::inbox_event;
use rowmill_planning::Quotas;
use rowmill_ports::faulty::Faulty;
use rowmill_ports::{Jobs, Objects, Outcomes, Put};
use rowmill_report::{Given, Report, ReportConfig};
use rowmill_runs::WorkBucket;
use rowmill_split::{REEVALUATE_METADATA, Split};
use rowmill_submit::{Submit, SubmitConfig};
use rowmill_tiers::CurrentTiers;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::memory::{
    Clock, Letter, MemoryBus, MemoryCoordination, MemoryMailer, MemoryObjects, MemoryOutcomes,
    MemoryRuns, MemorySubmitters, Message,
};
use crate::network::{Network, Weather, hash_of, mix};
use crate::process::{End, Process};
use crate::source::Source;
use crate::upload::{PIPELINE_NAME, Upload};

/// The bucket of uploads.
pub const INBOX: &str = "inbox";
/// The bucket for everything else.
pub const WORK: &str = "work";
const QUEUE: &str = "main";
const STACK: &str = "rowmill";
/// Lambda's pauses before the second and third attempt. Source: AWS Lambda, "Error handling for
/// asynchronous invocation".
const RETRY_AFTER: [TimeDelta; INVOCATION_RETRIES as usize] =
    [TimeDelta::minutes(1), TimeDelta::minutes(2)];
/// Time between two sweeps.
const SWEEP_EVERY: TimeDelta = TimeDelta::minutes(20);
/// A run without progress for this long is checked.
const STALLED_AFTER: Duration = Duration::from_secs(20 * 60);
/// Pauses of Batch before another attempt.
const PLACED_AFTER: Duration = Duration::from_secs(5);

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub struct Climate {
    /// Decides everything that is random.
    pub seed: u64,
    /// What happens to calls.
    pub weather: Weather,
    /// The most records of a chunk.
    pub chunk_records: u32,
    /// Children that run at the same time.
    pub slots: usize,
    /// Attempts of children whose host is lost, of 100.
    pub spot: u64,
    /// Events that are delivered twice, of 100.
    pub duplicates: u64,
    /// Events that are delivered late, of 100.
    pub late: u64,
    /// Events that are lost, of 100.
    pub lost: u64,
    /// The event with this number, counted from 0, is lost.
    pub lost_event: Option<u64>,
    /// The longest request or response, in milliseconds.
    pub latency: u64,
    /// How long a function may take.
    pub limit: Duration,
    /// Whether the scheduled checks of runs arrive. Otherwise only sweeps find what stalled.
    pub checks: bool,
}

impl Climate {
    /// Without disasters.
    pub fn calm() -> Climate {
        Climate {
            seed: 0,
            weather: Weather::Calm,
            chunk_records: 4,
            slots: 4,
            spot: 0,
            duplicates: 0,
            late: 0,
            lost: 0,
            lost_event: None,
            latency: 20,
            limit: Duration::from_secs(LAMBDA_SECONDS_MAX.into()),
            checks: true,
        }
    }
}

/// The stages.
struct Stages {
    split: Split,
    submit: Submit,
    report: Report,
    cleanup: Cleanup,
}

/// What a stage answers to an event.
type Answered = Result<Option<Value>, Failed>;

/// A deployment in memory.
pub struct World {
    climate: Climate,
    now: Clock,
    /// The network that all calls pass.
    pub network: Arc<Network>,
    /// Both buckets.
    pub objects: Arc<MemoryObjects>,
    /// Runs.
    pub runs: Arc<MemoryRuns>,
    /// Outcomes.
    pub outcomes: Arc<MemoryOutcomes>,
    /// Claims and answers.
    pub coordination: Arc<MemoryCoordination>,
    /// Jobs.
    pub batch: Arc<MemoryBatch>,
    /// Events.
    pub bus: Arc<MemoryBus>,
    /// Mail.
    pub mailer: Arc<MemoryMailer>,
    /// The service that steps use.
    pub source: Arc<Source>,
    stages: Arc<Stages>,
    enrich: Arc<Enrich>,
    /// How often a child died with its host or by itself.
    pub killed_children: u64,
    children: JoinSet<(JobId, MemoryExit)>,
    running: BTreeMap<JobId, watch::Sender<bool>>,
    held: BTreeMap<JobId, Instant>,
    invocations: JoinSet<(Message, End<Answered>)>,
    next_sweep: DateTime<Utc>,
    /// When [`World::until`] ends.
    stop_at: Option<DateTime<Utc>>,
}

/// Why an invocation failed.
#[derive(Debug)]
struct Failed {
    message: String,
    retryable: bool,
}

fn failed<E: std::fmt::Display>(is_retryable: fn(&E) -> bool) -> impl Fn(E) -> Failed {
    move |error| Failed {
        message: error.to_string(),
        retryable: is_retryable(&error),
    }
}

impl Stages {
    async fn handle(&self, letter: &Letter, cx: &Invocation) -> Result<Option<Value>, Failed> {
        let payload = &letter.payload;
        match letter.target {
            Target::Split => {
                let worked = self.split.invoke(payload, cx).await;
                worked.map_err(failed(rowmill_split::SplitError::is_retryable))
            }
            Target::Submit => {
                let worked = self.submit.invoke(payload, cx).await;
                worked.map_err(failed(rowmill_submit::SubmitError::is_retryable))
            }
            Target::Report => {
                let worked = self.report.invoke(payload, cx).await;
                worked.map_err(failed(rowmill_report::ReportError::is_retryable))
            }
            Target::Cleanup => {
                let worked = self.cleanup.invoke(payload, cx).await;
                worked.map_err(failed(rowmill_cleanup::CleanupError::is_retryable))
            }
            // Nothing in a storm archives a result.
            Target::Retention => Err(Failed {
                message: "no stage receives this".to_owned(),
                retryable: false,
            }),
        }
    }
}

/// The delays of the copies of an event.
fn copies(climate: Climate, number: u64, letter: &Letter) -> Vec<TimeDelta> {
    let dice = |what: u64| mix(climate.seed ^ mix(number ^ (what << 32)));
    let is_check = letter.payload.to_string().contains(r#"{\"kind\":\"due\""#);
    let is_lost = climate.lost_event == Some(number) || (is_check && !climate.checks);
    if is_lost || dice(0) % 100 < climate.lost {
        return Vec::new();
    }
    let count = 1 + u64::from(dice(1) % 100 < climate.duplicates);
    let delay = |copy: u64| {
        let late = dice(10 + copy) % 100 < climate.late;
        let most = if late { 30 * 60_000 } else { 500 };
        TimeDelta::milliseconds((dice(20 + copy) % most) as i64)
    };
    (0..count).map(delay).collect()
}

impl World {
    /// An empty deployment with a pipeline. It begins at a fixed time.
    pub async fn new(climate: Climate, pipeline: &str) -> World {
        let begun = Instant::now();
        let epoch: DateTime<Utc> = "2026-11-21T10:00:00Z".parse().expect("a time");
        let now: Clock = Arc::new(move || epoch + begun.elapsed());
        let network = Network::new(climate.seed, climate.weather, climate.latency);
        let buckets = [(INBOX, true), (WORK, false)];
        let objects = Arc::new(MemoryObjects::new(now.clone(), &buckets));
        let runs = Arc::new(MemoryRuns::default());
        let outcomes = Arc::new(MemoryOutcomes::default());
        let coordination = Arc::new(MemoryCoordination::new(&outcomes));
        let clock = now.clone();
        let batch = Arc::new(MemoryBatch::new(QUEUE, Box::new(move || clock())));
        let bus = MemoryBus::new(
            now.clone(),
            Box::new(move |number, letter| copies(climate, number, letter)),
        );
        let (bus, mailer) = (Arc::new(bus), Arc::new(MemoryMailer::default()));
        let source = Arc::new(Source::default());

        let plan = || network.clone();
        let all_objects = Arc::new(Faulty::new(objects.clone(), plan()));
        let work = WorkBucket::new(WORK, all_objects.clone());
        let all_runs = Arc::new(Faulty::new(runs.clone(), plan()));
        let all_outcomes = Arc::new(Faulty::new(outcomes.clone(), plan()));
        let all_coordination = Arc::new(Faulty::new(coordination.clone(), plan()));
        let jobs = Arc::new(Faulty::new(batch.clone(), plan()));
        let topic = Arc::new(Faulty::new(bus.clone(), plan()));
        let mail = Arc::new(Faulty::new(mailer.clone(), plan()));
        let enrich_runs = all_runs.clone();
        let stages = Stages {
            split: Split {
                inbox: all_objects.clone(),
                work: work.clone(),
                runs: all_runs.clone(),
                submitters: Arc::new(Faulty::new(Arc::new(MemorySubmitters::default()), plan())),
                tiers: CurrentTiers::new(work.clone()),
                default_submitter: "ana@example.com".parse().ok(),
                outcomes: all_outcomes.clone(),
                coordination: all_coordination.clone(),
                topic: topic.clone(),
                scheduler: topic.clone(),
                stalled_after: STALLED_AFTER,
                quotas: Quotas {
                    chunk_records: climate.chunk_records,
                    ..Quotas::default()
                },
                rows_read: Arc::default(),
            },
            submit: Submit {
                runs: all_runs.clone(),
                coordination: all_coordination.clone(),
                work: work.clone(),
                jobs: jobs.clone(),
                topic: topic.clone(),
                config: SubmitConfig {
                    fetch_buckets: Vec::new(),
                    queue: QUEUE.to_owned(),
                    stack: STACK.to_owned(),
                    topic: None,
                    image: STACK.to_owned(),
                    capacity: Capacity::Ec2,
                    region: None,
                },
            },
            report: Report {
                runs: all_runs.clone(),
                outcomes: all_outcomes.clone(),
                coordination: all_coordination.clone(),
                work: work.clone(),
                jobs: jobs.clone(),
                mailer: mail.clone(),
                config: ReportConfig {
                    queue: QUEUE.to_owned(),
                    from: "rowmill@example.com".to_owned(),
                    default_to: vec!["ana@example.com".to_owned()],
                    allowed_domains: Vec::new(),
                    attach_limit: ATTACH_DEFAULT,
                    links: None,
                    given: Given::Upload,
                },
                rows_written: Arc::default(),
            },
            cleanup: Cleanup {
                runs: all_runs,
                outcomes: all_outcomes.clone(),
                coordination: all_coordination.clone(),
                work: work.clone(),
                inbox: WorkBucket::new(INBOX, all_objects),
                jobs,
                topic: topic.clone(),
                scheduler: topic.clone(),
                mailer: mail,
                config: CleanupConfig {
                    queue: QUEUE.to_owned(),
                    stack: STACK.to_owned(),
                    stalled_after: STALLED_AFTER,
                    runnable_after: Duration::from_secs(6 * 3600),
                    identity: None,
                },
            },
        };
        let enrich = Enrich {
            work,
            runs: enrich_runs,
            outcomes: all_outcomes,
            coordination: all_coordination,
            topic: topic.clone(),
            host: HostResources {
                amazon: Some(source.clone()),
                ..HostResources::default()
            },
        };
        let world = World {
            climate,
            next_sweep: now() + SWEEP_EVERY,
            now,
            network,
            objects,
            runs,
            outcomes,
            coordination,
            batch,
            bus,
            mailer,
            source,
            stages: Arc::new(stages),
            enrich: Arc::new(enrich),
            killed_children: 0,
            children: JoinSet::new(),
            running: BTreeMap::new(),
            held: BTreeMap::new(),
            invocations: JoinSet::new(),
            stop_at: None,
        };
        world.set_pipeline(pipeline).await;
        world
    }

    /// The virtual time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// Replaces the pipeline.
    pub async fn set_pipeline(&self, pipeline: &str) {
        let key = keys::pipeline(&PIPELINE_NAME.parse().expect("a name"));
        let toml = Bytes::from(pipeline.to_owned());
        let put = self.objects.put(WORK, &key, toml, Put::default());
        put.await.expect("a pipeline");
    }

    /// Puts a workbook into the inbox and sends its event. Returns the run that it starts.
    pub async fn upload(&self, upload: &Upload) -> RunId {
        self.upload_with(upload, Put::default()).await
    }

    /// Uploads the workbook of a run again, and asks for its re-evaluation. Returns the run that it
    /// starts.
    pub async fn reevaluate(&self, upload: &Upload, base: &RunId) -> RunId {
        let base = (REEVALUATE_METADATA.to_owned(), base.to_string());
        let put = Put {
            metadata: BTreeMap::from([base]),
            ..Put::default()
        };
        self.upload_with(upload, put).await
    }

    async fn upload_with(&self, upload: &Upload, put: Put) -> RunId {
        let key = format!("{PIPELINE_NAME}/{}", upload.name);
        let put = self.objects.put(INBOX, &key, upload.csv().into(), put);
        let info = put.await.expect("an upload");
        self.bus.send(Target::Split, inbox_event(INBOX, &info));
        rowmill_split::run_id(&ObjectCreated {
            bucket: INBOX.to_owned(),
            key,
            version: info.version.expect("a version"),
            versioned: true,
            size: info.size,
            time: info.modified,
        })
    }

    /// From now on, this many children run at the same time.
    pub fn has_slots(&mut self, slots: usize) {
        self.climate.slots = slots;
    }

    /// Sweeps now, without faults.
    pub async fn sweep(&self, mode: Mode) -> Swept {
        let cx = Invocation {
            owner: "test".to_owned(),
            now: self.now(),
        };
        let swept = self.stages.cleanup.sweep(mode, &cx).await.expect("a sweep");
        assert!(swept.errors.is_empty(), "{:?}", swept.errors);
        swept
    }

    /// Everything that is stored, apart from times.
    pub async fn stored(&self) -> Vec<String> {
        let mut all: Vec<String> = self.runs.all().iter().map(|r| format!("{r:?}")).collect();
        all.extend(self.objects.keys(INBOX));
        all.extend(self.objects.keys(WORK));
        let tables = self.outcomes.list_tables().await.expect("tables");
        all.extend(tables.iter().map(|run| format!("table {run}")));
        all.extend(self.batch.definitions("").await.expect("definitions"));
        all.push(format!("{} open jobs", self.batch.open_jobs()));
        all.push(format!(
            "{} events, {:?}",
            self.bus.sent(),
            self.bus.schedules()
        ));
        all.push(format!("{} emails", self.mailer.sent().len()));
        all
    }

    /// A run.
    pub fn run(&self, id: &RunId) -> Option<RunItem> {
        let runs = self.runs.all().into_iter();
        runs.into_iter().find(|run| run.id == *id)
    }

    /// Lets the world go on until these runs have ended, are cleaned up, and nothing else happens.
    ///
    /// # Panics
    /// If that takes longer than `most`.
    pub async fn until_cleaned(&mut self, runs: &[RunId], most: TimeDelta) {
        let end = self.now() + most;
        let turns = self.turns();
        while !self.is_over(runs) {
            assert!(self.now() < end, "{}", self.unfinished(runs));
            self.step().await;
        }
        turns.abort();
    }

    /// Lets the world go on until this time.
    pub async fn until(&mut self, time: DateTime<Utc>) {
        let turns = self.turns();
        self.stop_at = Some(time);
        while self.now() < time {
            self.step().await;
        }
        self.stop_at = None;
        turns.abort();
    }

    /// Lets the world go on for this many sweeps.
    pub async fn sweeps(&mut self, count: i32) {
        self.until(self.now() + SWEEP_EVERY * count).await;
    }

    /// Forgets what expires in a deployment: ended runs with their uploads, results and emails, ended jobs,
    /// dead letters.
    pub fn forget_ended(&self) {
        for run in self.runs.all() {
            if run.cleaned.is_some() {
                self.objects.expire(INBOX, &run.source.key);
            }
        }
        self.runs.forget_cleaned();
        let kept: BTreeSet<RunId> = self.runs.all().into_iter().map(|run| run.id).collect();
        self.coordination.retain(|run| kept.contains(run));
        self.batch
            .forget_ended_before(self.now() - TimeDelta::hours(1));
        self.bus.forget_dead();
        self.mailer.retain(|run| kept.contains(run));
        self.source.forget();
        for run in self.objects.keys(WORK).iter().filter_map(|key| {
            let run = key.strip_prefix("results/")?.split('/').next()?;
            run.parse::<RunId>().ok()
        }) {
            if !kept.contains(&run) {
                self.objects.expire(WORK, &keys::results_prefix(&run));
            }
        }
    }

    fn turns(&self) -> JoinHandle<()> {
        let network = self.network.clone();
        tokio::spawn(async move { network.run().await })
    }

    fn is_over(&self, runs: &[RunId]) -> bool {
        self.invocations.is_empty()
            && self.children.is_empty()
            && self.batch.open_jobs() == 0
            && self.bus.queued().is_empty()
            && runs
                .iter()
                .all(|id| self.run(id).is_some_and(|run| run.cleaned.is_some()))
    }

    fn unfinished(&self, runs: &[RunId]) -> String {
        let mut text = "these runs did not end:\n".to_owned();
        for id in runs {
            text += &format!("{id}: {:?}\n", self.run(id));
        }
        text += &format!("queue: {:?}\n", self.bus.queued());
        text += &format!("open jobs: {}\n", self.batch.open_jobs());
        for (message, error) in self.bus.dead() {
            text += &format!("dead letter: {:?}: {error}\n", message.letter.target);
        }
        text
    }

    /// Starts what can start, and waits until something happens.
    async fn step(&mut self) {
        self.deliver();
        for event in self.batch.take_events() {
            self.bus.send(Target::Report, event);
        }
        for id in self.batch.take_terminated() {
            if let Some(stop) = self.running.get(&id) {
                stop.send_replace(true);
            }
        }
        self.start_children();
        let wake = self.wake_at();
        tokio::select! {
            biased;
            Some(ended) = self.children.join_next() => self.child_ended(ended.expect("a child")),
            Some(ended) = self.invocations.join_next() => self.settle(ended.expect("a stage")),
            () = self.network.changed.notified() => {}
            () = sleep_until(wake) => {}
        }
    }

    /// When something is due without an event.
    fn wake_at(&self) -> Instant {
        let next = self
            .bus
            .due()
            .map_or(self.next_sweep, |due| due.min(self.next_sweep));
        let next = self.stop_at.map_or(next, |stop| stop.min(next));
        let wait = (next - self.now()).to_std().unwrap_or_default();
        let wait = wait.max(Duration::from_millis(1));
        let held = self.held.values().min().copied();
        let at = Instant::now() + wait;
        held.map_or(at, |held| held.min(at))
    }

    /// Invokes the stages whose events are due.
    fn deliver(&mut self) {
        if self.next_sweep <= self.now() {
            self.next_sweep += SWEEP_EVERY;
            self.bus.send(Target::Cleanup, schedule_event(self.now()));
        }
        while let Some(message) = self.bus.next() {
            let (stages, now, limit) = (self.stages.clone(), self.now(), self.climate.limit);
            self.invocations.spawn(async move {
                let target = message.letter.target.name();
                let name = format!("{target} {} try {}", message.id, message.failures);
                let cx = Invocation {
                    owner: format!("message-{}", message.id),
                    now,
                };
                let work = timeout(limit, stages.handle(&message.letter, &cx));
                let end = match Process::new(name).run(work).await {
                    End::Returned(Ok(answer)) => End::Returned(answer),
                    End::Returned(Err(_)) | End::Died => End::Died,
                };
                (message, end)
            });
        }
    }

    /// Handles the end of an invocation as Lambda does.
    fn settle(&self, (message, end): (Message, End<Result<Option<Value>, Failed>>)) {
        let error = match end {
            End::Returned(Ok(answer)) => {
                if let (Target::Report, Some(answer)) = (message.letter.target, answer) {
                    let id = format!("message-{}", message.id);
                    let payload = &message.letter.payload;
                    let event = reported_event(payload, &answer, &id, self.now());
                    self.bus.send(Target::Cleanup, event);
                }
                return;
            }
            End::Returned(Err(error)) => error,
            End::Died => Failed {
                message: "the process died".to_owned(),
                retryable: true,
            },
        };
        match RETRY_AFTER.get(message.failures as usize) {
            Some(wait) if error.retryable => self.bus.retry(message, *wait),
            _ => self.bus.dead_letter(message, error.message),
        }
    }

    /// Starts children while there is capacity.
    fn start_children(&mut self) {
        let now = Instant::now();
        self.held.retain(|_, until| *until > now);
        let free = self.climate.slots.saturating_sub(self.running.len());
        let held: BTreeSet<&JobId> = self.held.keys().collect();
        for attempt in self.batch.start(free, |id| held.contains(id)) {
            let (stop, stopped) = watch::channel(false);
            self.running.insert(attempt.id.clone(), stop);
            let enrich = self.enrich.clone();
            let climate = self.climate;
            self.children
                .spawn(async move { child(climate, &enrich, attempt, stopped).await });
        }
    }

    fn child_ended(&mut self, (id, exit): (JobId, MemoryExit)) {
        self.running.remove(&id);
        let killed = [MemoryExit::HostLost, MemoryExit::Exited(137)];
        self.killed_children += u64::from(killed.contains(&exit));
        if self.batch.ended(&id, exit) {
            self.held.insert(id, Instant::now() + PLACED_AFTER);
        }
    }
}

/// An attempt of a child.
async fn child(
    climate: Climate,
    enrich: &Enrich,
    attempt: StartedAttempt,
    mut stopped: watch::Receiver<bool>,
) -> (JobId, MemoryExit) {
    let StartedAttempt {
        id,
        attempt,
        environment,
        timeout_seconds,
    } = attempt;
    let name = format!("child {id} try {attempt}");
    let dice = |what: u64| mix(climate.seed ^ hash_of(&name) ^ (what << 32));
    let environment = Environment::new(move |name| environment.get(name).cloned());
    let child = Child::from_environment(&environment).expect("a child's environment");
    let stop = stopped.clone();
    let work = async {
        sleep(Duration::from_millis(dice(0) % 5000)).await;
        enrich.run(&child, stop).await
    };
    let interrupted = async {
        match dice(1) % 100 < climate.spot {
            true => sleep(Duration::from_millis(dice(0) % 5000 + dice(2) % 4000)).await,
            false => std::future::pending().await,
        }
    };
    let killed = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        sleep(Duration::from_secs(STOP_TIMEOUT_SECONDS.into())).await;
    };
    let limit = Duration::from_secs(timeout_seconds.unwrap_or(u32::MAX).into());
    let exit = tokio::select! {
        biased;
        () = interrupted => MemoryExit::HostLost,
        () = killed => MemoryExit::Exited(137),
        () = sleep(limit) => MemoryExit::TimedOut,
        end = Process::new(name.clone()).run(work) => match end {
            End::Returned(Ok(_)) => MemoryExit::Exited(child_exit::DONE.into()),
            End::Returned(Err(error)) => MemoryExit::Exited(error.exit_code().into()),
            End::Died if dice(3) % 2 == 0 => MemoryExit::HostLost,
            End::Died => MemoryExit::Exited(137),
        },
    };
    (id, exit)
}
