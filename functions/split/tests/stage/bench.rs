//! Split on local adapters.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::message::RunMessage;
use rowmill_domain::{Manifest, RunId, RunItem, keys};
use rowmill_local::{Bucket, Cloud, DirObjects, LocalScheduler, SqliteLedger};
use rowmill_planning::Quotas;
use rowmill_ports::{Location, Objects, Put, Result, Runs, Topic};
use rowmill_runs::WorkBucket;
use rowmill_split::Split;
use rowmill_tiers::CurrentTiers;
use tempfile::TempDir;

pub(crate) const INBOX: &str = "inbox";
const WORK: &str = "work";
const HOUR: Duration = Duration::from_secs(3600);

/// Records the published messages.
#[derive(Default)]
struct Published(Mutex<Vec<RunMessage>>);

#[async_trait]
impl Topic for Published {
    async fn publish(&self, message: &RunMessage) -> Result<()> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }
}

pub(crate) struct Bench {
    pub(crate) split: Split,
    pub(crate) ledger: Arc<SqliteLedger>,
    objects: Arc<DirObjects>,
    topic: Arc<Published>,
    _directory: TempDir,
}

impl Bench {
    /// Empty buckets and an empty ledger.
    pub(crate) fn new() -> Bench {
        let directory = TempDir::new().unwrap();
        let bucket = |name: &str, versioned| Bucket {
            name: name.into(),
            path: directory.path().join(name),
            versioned,
        };
        let objects = DirObjects::open(vec![bucket(INBOX, true), bucket(WORK, false)]).unwrap();
        let objects = Arc::new(objects);
        let state = directory.path().join("state");
        let cloud = Cloud::open(&state).unwrap();
        let ledger = Arc::new(SqliteLedger::open(&state).unwrap());
        let topic = Arc::<Published>::default();
        Bench {
            split: Split {
                inbox: objects.clone(),
                work: WorkBucket::new(WORK, objects.clone()),
                submitters: ledger.clone(),
                tiers: CurrentTiers::new(WorkBucket::new(WORK, objects.clone())),
                default_submitter: "you@localhost".parse().ok(),
                runs: ledger.clone(),
                outcomes: ledger.clone(),
                coordination: ledger.clone(),
                topic: topic.clone(),
                scheduler: Arc::new(LocalScheduler::new(cloud)),
                stalled_after: HOUR / 4,
                quotas: Quotas::default(),
                rows_read: Arc::default(),
            },
            ledger,
            objects,
            topic,
            _directory: directory,
        }
    }

    /// Stores a pipeline in the work bucket.
    pub(crate) async fn pipeline(&self, name: &str, toml: &str) {
        let body = Bytes::from(toml.to_owned());
        self.objects
            .put(
                WORK,
                &keys::pipeline(&name.parse().unwrap()),
                body,
                Put::default(),
            )
            .await
            .unwrap();
    }

    /// Stores the file of tiers.
    pub(crate) async fn tiers(&self, toml: &str) {
        let body = Bytes::from(toml.to_owned());
        let put = self.objects.put(WORK, keys::TIERS, body, Put::default());
        put.await.unwrap();
    }

    /// Puts a file into the inbox and returns its event.
    pub(crate) async fn upload(
        &self,
        key: &str,
        body: &str,
        metadata: &[(&str, &str)],
    ) -> ObjectCreated {
        let put = Put {
            metadata: metadata
                .iter()
                .map(|(n, v)| (n.to_string(), v.to_string()))
                .collect(),
            ..Put::default()
        };
        let body = Bytes::from(body.to_owned());
        let info = self.objects.put(INBOX, key, body, put).await.unwrap();
        ObjectCreated {
            bucket: INBOX.into(),
            key: info.key,
            version: info.version.unwrap(),
            versioned: true,
            size: info.size,
            time: info.modified,
        }
    }

    /// Uploads a file, splits it and returns its manifest.
    pub(crate) async fn split(&self, key: &str, body: &str, metadata: &[(&str, &str)]) -> Manifest {
        let event = self.upload(key, body, metadata).await;
        self.split.handle(&event, &at(key, 0)).await.unwrap();
        let run = rowmill_split::run_id(&event);
        let at = Location::new(WORK, keys::manifest(&run));
        Manifest::from_json(&self.objects.get(&at).await.unwrap().body).unwrap()
    }

    pub(crate) async fn item(&self, run: &RunId) -> RunItem {
        self.ledger.find_run(run).await.unwrap().unwrap()
    }

    /// The keys of all objects of a run.
    pub(crate) async fn keys_of(&self, run: &RunId) -> Vec<String> {
        let prefix = keys::run_prefix(run);
        let page = self.objects.list(WORK, &prefix, None).await.unwrap();
        assert_eq!(page.next, None);
        page.objects.into_iter().map(|info| info.key).collect()
    }

    /// All messages published so far.
    pub(crate) fn published(&self) -> Vec<RunMessage> {
        self.topic.0.lock().unwrap().clone()
    }
}

/// An invocation `hours` after the start of the test.
pub(crate) fn at(owner: &str, hours: u32) -> Invocation {
    static START: LazyLock<DateTime<Utc>> = LazyLock::new(Utc::now);
    Invocation {
        owner: owner.into(),
        now: *START + HOUR * hours,
    }
}
