//! The local adapters pass the suites of `rowmill-ports` and keep their additional guarantees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use rowmill_domain::event::Invocation;
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::message::RunMessage;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_domain::{Outcome, RunId, Status};
use rowmill_local::bus::{self, Chaos, Target};
use rowmill_local::{
    Bucket, Cloud, DirObjects, Dispatcher, EmlOutbox, Handler, HandlerError, LocalArchive,
    LocalScheduler, LocalTopic, SqliteLedger, StateLock, inbox_event,
};
use rowmill_ports::{
    Archive, Location, Objects, Outcomes, Put, RestoreAnswer, Runs, Scheduler, TablePlan, Topic,
    conformance,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

fn buckets(directory: &Path) -> DirObjects {
    let bucket = |name: &str, versioned| Bucket {
        name: name.into(),
        path: directory.join(name),
        versioned,
    };
    DirObjects::open(vec![bucket("work", false), bucket("inbox", true)]).unwrap()
}

/// All files below a directory, as relative paths.
fn files(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
            } else {
                let below = path.strip_prefix(directory).unwrap();
                all.push(below.to_str().unwrap().to_owned());
            }
        }
    }
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_versions_pass_the_suite() {
    let (store, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let objects = buckets(store.path());
    conformance::objects::objects(&objects, "work", scratch.path()).await;
    conformance::objects::copy_if_absent(&objects, "work").await;
    assert_eq!(objects.versions("work").await.unwrap(), []);
    assert_eq!(
        files(&store.path().join("work")),
        [".store/lock"],
        "no other files are left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_classes_pass_the_suite() {
    let (store, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let objects = Arc::new(buckets(store.path()));
    let cloud = Cloud::open(store.path()).unwrap();
    let archive = LocalArchive::new(objects.clone(), cloud.clone());
    let patience = Duration::from_secs(60);
    conformance::archive::archive(&archive, &*objects, "work", scratch.path(), patience).await;
    conformance::archive::archived_copy(&archive, &*objects, "work").await;
    let left = files(&store.path().join("work"));
    assert_eq!(left, [".store/lock"], "no records are left");
    // One event for each restore that was started.
    let events = bus::queue(&cloud).unwrap();
    let keys: Vec<String> = events
        .iter()
        .flat_map(|(_, payload)| rowmill_events::s3_restored(payload).unwrap())
        .map(|(_, key)| key)
        .collect();
    let of = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert_eq!((of("r/"), of("s"), keys.len()), (2, 5, 7), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_expires_and_other_processes_see_it() {
    let store = TempDir::new().unwrap();
    let clock = Arc::new(Mutex::new(Utc::now()));
    let now = clock.clone();
    let open = || {
        let bucket = Bucket {
            name: "work".into(),
            path: store.path().join("work"),
            versioned: false,
        };
        let now = now.clone();
        DirObjects::with_clock(vec![bucket], Arc::new(move || *now.lock().unwrap())).unwrap()
    };
    let objects = Arc::new(open());
    let cloud = Cloud::open(store.path()).unwrap();
    let archive = LocalArchive::new(objects.clone(), cloud);
    let at = Location::new("work", "results/r/a.xlsx");
    let put = objects.put("work", &at.key, "x".into(), Put::default());
    put.await.unwrap();
    let class = ArchiveClass::FlexibleRetrieval;
    archive.archive(&at, class).await.unwrap();
    let restore = async || archive.restore(&at, RestoreSpeed::Standard, 1).await;
    assert_eq!(restore().await.unwrap(), RestoreAnswer::Started);
    // Five hours take five seconds.
    *clock.lock().unwrap() += TimeDelta::seconds(4);
    assert!(open().get(&at).await.unwrap_err().is_archived());
    *clock.lock().unwrap() += TimeDelta::seconds(1);
    assert_eq!(open().get(&at).await.unwrap().body, "x");
    *clock.lock().unwrap() += TimeDelta::days(1);
    assert!(open().get(&at).await.unwrap_err().is_archived());
    assert!(archive.copy_back(&at).await.unwrap_err().is_archived());
    assert_eq!(restore().await.unwrap(), RestoreAnswer::Started);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_versions_pass_the_suite() {
    let (store, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let objects = buckets(store.path());
    conformance::objects::objects(&objects, "inbox", scratch.path()).await;
    conformance::objects::copy_if_absent(&objects, "inbox").await;
    assert_ne!(
        objects.versions("inbox").await.unwrap(),
        [],
        "deleting keeps versions"
    );

    let store = TempDir::new().unwrap();
    let objects = buckets(store.path());
    conformance::objects::versioned_objects(&objects, "inbox", scratch.path()).await;
    let versions = objects.versions("inbox").await.unwrap();
    assert_eq!(versions.len(), 3, "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_upload_is_the_same_version_and_keeps_its_date() {
    let store = TempDir::new().unwrap();
    let objects = buckets(store.path());
    let put = async |limit: &str| {
        let put = Put {
            metadata: [("limit".to_owned(), limit.to_owned())].into(),
            ..Put::default()
        };
        let body = Bytes::from_static(b"workbook");
        objects.put("inbox", "p/a.xlsx", body, put).await.unwrap()
    };
    let first = put("1").await;
    let other = put("2").await;
    assert_ne!(
        first.version, other.version,
        "other metadata make another version"
    );
    assert_eq!(first.etag, other.etag, "the same bytes");
    // Another store in the same directory, like that of the next command.
    let other_store = buckets(store.path());
    let at = Location::new("inbox", "p/a.xlsx");
    assert_eq!(other_store.head(&at).await.unwrap(), other);
    assert_eq!(put("1").await, first, "the same version with the same date");
    assert_eq!(
        other_store.head(&at).await.unwrap(),
        first,
        "it is the latest version again"
    );
    assert_eq!(other_store.versions("inbox").await.unwrap().len(), 2);

    let event = inbox_event("inbox", &first);
    let [created] = &rowmill_events::s3_created(&event).unwrap()[..] else {
        panic!("one object")
    };
    assert_eq!(Some(&created.version), first.version.as_ref());
    assert_eq!((created.time, created.size), (first.modified, 8));
    assert!(created.versioned);
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_objects_are_plain_files() {
    let store = TempDir::new().unwrap();
    let objects = buckets(store.path());
    let key = "results/r1/my file.xlsx";
    let body = Bytes::from_static(b"x");
    objects
        .put("work", key, body, Put::default())
        .await
        .unwrap();
    let work = store.path().join("work");
    assert_eq!(
        files(&work),
        [".store/lock", key],
        "there are no other files"
    );
    let at = Location::new("work", key);
    let link = objects.link(&at, "a", Duration::ZERO);
    let expected = format!("file://{}/results/r1/my%20file.xlsx", work.display());
    assert_eq!(link.await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_a_killed_deletion_left_are_removed() {
    let store = TempDir::new().unwrap();
    let objects = buckets(store.path());
    let put = objects.put("work", "results/b/a.txt", Bytes::new(), Put::default());
    put.await.unwrap();
    let work = store.path().join("work");
    std::fs::create_dir_all(work.join("runs/20261121-p-0123456789ab/chunks")).unwrap();
    objects.remove_empty_directories().unwrap();
    assert!(!work.join("runs").exists());
    assert!(work.join("results/b/a.txt").is_file() && work.join(".store/tmp").is_dir());
}

/// A sparse file of many GB, which would take minutes to hash.
#[tokio::test(flavor = "multi_thread")]
async fn listing_and_deleting_reads_no_object() {
    let store = TempDir::new().unwrap();
    let objects = buckets(store.path());
    let body = Bytes::from_static(b"a");
    let put = objects.put("work", "runs/a.json", body, Put::default());
    put.await.unwrap();
    let path = store.path().join("work/runs/a.json");
    let size = 64 << 30;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(size).unwrap();
    let start = std::time::Instant::now();
    let page = objects.list("work", "runs/", None).await.unwrap();
    assert_eq!((page.objects.len(), page.objects[0].size), (1, size));
    let keys = ["runs/a.json".to_owned()];
    objects.delete("work", &keys).await.unwrap();
    assert!(!path.exists());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_files_of_killed_writers_are_removed() {
    let store = TempDir::new().unwrap();
    drop(buckets(store.path()));
    let tmp = store.path().join("work/.store/tmp");
    // A process id above the maximum of the system, so there is no such process.
    std::fs::write(tmp.join("2147483646-0"), "half").unwrap();
    let live = format!("{}-0", std::process::id());
    std::fs::write(tmp.join(&live), "being written").unwrap();
    drop(buckets(store.path()));
    assert_eq!(files(&tmp), [live]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_passes_the_suites() {
    let state = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(state.path()).unwrap();
    conformance::runs::runs(&ledger).await;
    conformance::outcomes::outcomes(&ledger).await;
    conformance::coordination::coordination(&ledger, &ledger).await;
    conformance::reviews::reviews(&ledger).await;
    conformance::submitters::submitters(&ledger).await;
    let tables = files(&state.path().join("tables"));
    assert!(
        tables.is_empty(),
        "dropped tables leave nothing: {tables:?}"
    );
}

/// A table that cannot be read may have outcomes, so it is not reported as absent.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_table_is_not_an_absent_one() {
    let state = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(state.path()).unwrap();
    ledger.create_table(&run(), PLAN).await.unwrap();
    let (tables, away) = (state.path().join("tables"), state.path().join("away"));
    std::fs::rename(&tables, &away).unwrap();
    // A link to itself cannot be followed by any user.
    std::os::unix::fs::symlink(&tables, &tables).unwrap();
    let put = async || ledger.put_outcomes(&run(), 0, &[outcome(2, 0)]).await;
    let error = put().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    std::fs::remove_file(&tables).unwrap();
    let error = put().await.unwrap_err();
    assert_eq!(error.kind, rowmill_ports::ErrorKind::NotFound, "{error}");
    std::fs::rename(&away, &tables).unwrap();
    put().await.unwrap();
}

fn run() -> RunId {
    "20261121-suite-0123456789ab".parse().unwrap()
}

fn outcome(row: u32, phase: u16) -> Outcome {
    Outcome {
        row,
        phase,
        status: Status::Ok,
        outputs: Vec::new(),
        error: None,
        attempts: 1,
        times: Vec::new(),
        steps: 0,
        notes: Vec::new(),
    }
}

const PLAN: TablePlan = TablePlan {
    writes_per_second: 1,
    records: 1,
};

#[tokio::test(flavor = "multi_thread")]
async fn progress_counts_rows_instead_of_writes() {
    let state = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(state.path()).unwrap();
    let run = run();
    assert!(ledger.progress(&run).await.unwrap_err().is_not_found());
    ledger.create_table(&run, PLAN).await.unwrap();
    assert_eq!(ledger.progress(&run).await.unwrap(), 0);
    let put = async |chunk, rows: &[(u32, u16)]| {
        let outcomes: Vec<_> = rows
            .iter()
            .map(|(row, phase)| outcome(*row, *phase))
            .collect();
        ledger.put_outcomes(&run, chunk, &outcomes).await.unwrap();
    };
    put(0, &[(2, 0), (3, 0), (2, 0)]).await;
    put(1, &[(4, 0)]).await;
    put(1, &[(4, 0)]).await;
    assert_eq!(ledger.progress(&run).await.unwrap(), 3);
    assert_eq!(ledger.progress_at(&run, 1).await.unwrap(), 0);
    put(0, &[(2, 1), (3, 1)]).await;
    put(0, &[(2, 1)]).await;
    assert_eq!(ledger.progress(&run).await.unwrap(), 3);
    assert_eq!(ledger.progress_at(&run, 1).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ledgers_on_one_state_directory_see_each_other() {
    let state = TempDir::new().unwrap();
    let (one, two) = (
        SqliteLedger::open(state.path()).unwrap(),
        SqliteLedger::open(state.path()).unwrap(),
    );
    let run = run();
    one.create_table(&run, PLAN).await.unwrap();
    let write = async |ledger: &SqliteLedger, first: u32| {
        for n in 0..20 {
            let rows: Vec<_> = (0..10).map(|r| outcome(first + n * 10 + r, 0)).collect();
            ledger.put_outcomes(&run, 0, &rows).await.unwrap();
        }
    };
    tokio::join!(write(&one, 0), write(&two, 200));
    assert_eq!(one.progress(&run).await.unwrap(), 400);
    assert_eq!(
        two.read_outcomes(&run, 0, 0..=999).await.unwrap().len(),
        400
    );
    // One drops and creates the table: the other must not write into the old file.
    one.drop_table(&run).await.unwrap();
    let gone = two.put_outcomes(&run, 0, &[outcome(1, 0)]).await;
    assert!(gone.unwrap_err().is_not_found());
    one.create_table(&run, PLAN).await.unwrap();
    two.put_outcomes(&run, 0, &[outcome(1, 0)]).await.unwrap();
    assert_eq!(one.progress(&run).await.unwrap(), 1);

    let (name, id) = (JobName("j".into()), JobId("1".into()));
    one.record_job(&run, &name, &id).await.unwrap();
    assert_eq!(two.job_ended(&run, &name, &id).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_passes_the_suite() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    let topic = LocalTopic::new(cloud.clone(), None);
    let received = |kind: &str| {
        let target = match kind {
            "split" | "stop" => Target::Submit,
            "due" => Target::Cleanup,
            "restore" | "retain" => Target::Retention,
            _ => Target::Report,
        };
        let messages = bus::queue(&cloud).unwrap().into_iter();
        messages
            .filter(|(to, _)| *to == target)
            .flat_map(|(_, payload)| rowmill_events::sns_messages(&payload).unwrap())
            // Submit and report subscribe to two kinds of messages, cleanup to one.
            .filter(|message| message.kind() == kind || target == Target::Cleanup)
            .collect::<Vec<RunMessage>>()
    };
    conformance::topic::topic(&topic, &received, Duration::ZERO).await;
}

/// Collects the messages that cleanup receives.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<RunMessage>>>);

#[async_trait]
impl Handler for Received {
    async fn handle(
        &self,
        target: Target,
        payload: &Value,
        _: &Invocation,
    ) -> Result<Option<Value>, HandlerError> {
        assert_eq!(target, Target::Cleanup);
        let messages = rowmill_events::sns_messages(payload).unwrap();
        self.0.lock().unwrap().extend(messages);
        Ok(None)
    }
}

impl Received {
    /// Starts a dispatcher, which runs until the returned sender is dropped.
    fn start(&self, cloud: &Cloud) -> watch::Sender<bool> {
        let (stop, stopped) = watch::channel(false);
        let dispatcher = Dispatcher::new(cloud.clone(), None);
        let handler = Arc::new(self.clone());
        tokio::spawn(async move { dispatcher.run(handler, stopped).await });
        stop
    }

    fn all(&self) -> Vec<RunMessage> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_passes_the_suite() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    let received = Received::default();
    let _stop = received.start(&cloud);
    let scheduler = LocalScheduler::new(cloud);
    let timeout = Duration::from_secs(10);
    conformance::scheduler::scheduler(&scheduler, &|| received.all(), timeout).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_became_due_while_nothing_ran_is_published_at_the_next_start() {
    let state = TempDir::new().unwrap();
    let message = RunMessage::Due { run: run() };
    {
        let cloud = Cloud::open(state.path()).unwrap();
        let scheduler = LocalScheduler::new(cloud.clone());
        scheduler.at("run", Utc::now(), &message).await.unwrap();
        assert_eq!(bus::queue(&cloud).unwrap(), [], "no dispatcher runs");
    }
    let cloud = Cloud::open(state.path()).unwrap();
    let mut changed = cloud.changed();
    let received = Received::default();
    let _stop = received.start(&cloud);
    let arrived = async {
        while received.all() != std::slice::from_ref(&message) {
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived)
        .await
        .expect("the message within 10 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_duplicates_some_messages() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    let topic = LocalTopic::new(cloud.clone(), Some(Chaos { seed: 1 }));
    for _ in 0..40 {
        topic
            .publish(&RunMessage::Split { run: run() })
            .await
            .unwrap();
    }
    let queued = bus::queue(&cloud).unwrap().len();
    assert!((45..80).contains(&queued), "{queued} copies of 40 messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_passes_the_suite_and_writes_each_mail_once() {
    let directory = TempDir::new().unwrap();
    let outbox = EmlOutbox::open(directory.path()).unwrap();
    let (from, to) = ("rowmill@example.com", "ana@example.com");
    conformance::mailer::mailer(&outbox, from, to).await;
    let path = outbox.path("suite-1@example.com");
    let written = std::fs::read(&path).unwrap();
    assert!(
        written == conformance::mailer::mime(from, to),
        "the file is the email"
    );
    assert_eq!(
        files(directory.path()),
        ["suite-1@example.com.eml"],
        "sending twice makes one file"
    );
    std::fs::write(directory.path().join("suite-1.0a.part"), "half of an email").unwrap();
    EmlOutbox::open(directory.path()).unwrap();
    assert_eq!(
        files(directory.path()),
        ["suite-1@example.com.eml"],
        "what a killed process left is removed"
    );
    let odd = outbox.path("../../etc/pass wd");
    assert_eq!(odd.parent(), Some(directory.path()));
}

#[test]
fn a_state_directory_of_another_format_is_refused_with_advice() {
    let state = TempDir::new().unwrap();
    drop(Cloud::open(state.path()).unwrap());
    let conn = rusqlite::Connection::open(state.path().join("cloud.db")).unwrap();
    for (format, program) in [(99, "newer version"), (3, "older version")] {
        conn.pragma_update(None, "user_version", format).unwrap();
        let Err(error) = Cloud::open(state.path()) else {
            panic!("opened format {format}")
        };
        let error = error.to_string();
        for part in [
            &format!("format {format}"),
            "cloud.db",
            program,
            "empty output directory",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    StateLock::take(state.path()).unwrap();
}
