//! A deployment without AWS: `sam deploy` of the template to ministack, whose Lambda runs the
//! built functions; the local Batch behind an endpoint of the tests runs the built enrich; moto
//! takes the mail.
//!
//! | what AWS does | who does it here |
//! |---|---|
//! | S3 tells split, SNS tells submit, report and cleanup, Scheduler tells SNS | ministack |
//! | EventBridge tells report of jobs | `deliver`, where ministack says that the deployed rule matches: it takes no events in Batch's name |
//! | report's answer goes to cleanup (OnSuccess) | `deliver`: ministack has no such destination |
//! | SES tells the topic of mail that came back | the test |
//! | what of the template ministack takes | `python/for_ministack.py` |

mod deliver;
mod mails;
mod remains;
mod stack;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use rowmill_aws::DynamoLedger;
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_ports::Runs;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::batch_endpoint::{BatchEndpoint, Setup};
use crate::emulators::{self, Emulator};
use crate::http;

use deliver::Deliverer;
pub use deliver::{Deliver, LOSES_EVENTS};
pub use mails::Mail;

/// The stack's name.
pub const STACK: &str = "rowmill";
/// Whom mail is from.
pub const SENDER: &str = "rowmill@example.com";
/// Whom mail is to where nobody is named.
pub const RECIPIENT: &str = "you@example.com";

/// How long a run may take in a test: seconds where nothing else is at work.
const PATIENCE: Duration = Duration::from_secs(240);

/// A deployed stack. All of it ends when this is dropped.
pub struct Deployment {
    /// Batch.
    pub batch: BatchEndpoint,
    /// Runs, as the functions keep them.
    pub ledger: Arc<DynamoLedger>,
    /// Batch's events, where nobody delivers them.
    pub events: Option<tokio::sync::Mutex<UnboundedReceiver<Value>>>,
    outputs: HashMap<String, String>,
    deliverer: Deliverer,
    config: SdkConfig,
    s3: aws_sdk_s3::Client,
    lambda: aws_sdk_lambda::Client,
    ministack: Emulator,
    moto: Emulator,
    _state: TempDir,
}

/// An upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The run that it makes.
    pub run: RunId,
    /// The event that S3 sends of it.
    pub event: Value,
}

impl Deployment {
    /// Starts all and deploys, with parameters of the template beside those that say whom mail is
    /// from and to. Children run `wrapper`, whose last argument the built enrich is.
    pub async fn start(
        deliver: Deliver,
        wrapper: &[&str],
        parameters: &[(&str, &str)],
    ) -> Deployment {
        let built = stack::functions();
        let state = TempDir::new().unwrap();
        let moto = Emulator::moto();
        mails::prepare(&moto, SENDER, STACK).await;

        let mut setup = Setup::new(&format!("{STACK}-fargate"), Path::new(""));
        setup.program = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let enrich = rowmill_tests_local::program::built("enrich-under-test");
        setup.program.push(enrich.display().to_string());
        let batch = format!("http://{}", setup.listener.local_addr().unwrap());
        let ministack = Emulator::ministack_with(&[
            ("AWS_ENDPOINT_URL_BATCH".into(), batch),
            ("AWS_ENDPOINT_URL_SESV2".into(), moto.url()),
            // In the API's address, where a name is asked for.
            ("MINISTACK_HOST".into(), "localhost".into()),
            // Lambda waits a minute and two; what failed shall be seen within the test.
            ("LAMBDA_ASYNC_RETRY_BASE_SECONDS".into(), "0.5".into()),
        ]);
        setup.environment = emulators::environment(&[("", &ministack)])
            .into_iter()
            .collect::<BTreeMap<_, _>>();
        let (batch, events) = BatchEndpoint::start(&state.path().join("batch"), setup).await;

        let config = ministack.sdk_config();
        let s3 = s3(&config);
        let lambda = aws_sdk_lambda::Client::new(&config);
        let outputs = stack::deploy(&ministack, &s3, &built, STACK, parameters).await;
        deliver.connect(&ministack, &s3, &lambda, &outputs).await;
        let deliverer = Deliverer::new(deliver, &ministack, lambda.clone()).await;
        let events = match deliver {
            Deliver::ByHand => Some(tokio::sync::Mutex::new(events)),
            Deliver::Once | Deliver::Twice => {
                tokio::spawn(deliverer.clone().run(events));
                None
            }
        };
        Deployment {
            ledger: Arc::new(DynamoLedger::new(&config, STACK)),
            batch,
            events,
            outputs,
            deliverer,
            config,
            s3,
            lambda,
            ministack,
            moto,
            _state: state,
        }
    }

    /// One of the stack's outputs.
    #[track_caller]
    pub fn output(&self, name: &str) -> &str {
        match self.outputs.get(name) {
            Some(value) => value,
            None => panic!("the stack has no output {name}: {:?}", self.outputs),
        }
    }

    /// Deploys another image for enrich, and nothing else.
    pub async fn deploy_image(&self, image: &str) {
        let update = self.lambda.update_function_code();
        let update = update.function_name(format!("{STACK}-enrich"));
        update.image_uri(image).send().await.unwrap();
    }

    /// Puts a pipeline file into the work bucket.
    pub async fn put_pipeline(&self, name: &str, text: &str) {
        let put = self.s3.put_object().bucket(self.output("WorkBucket"));
        let put = put.key(keys::pipeline(&name.parse().unwrap()));
        let body = text.as_bytes().to_vec().into();
        put.body(body).send().await.unwrap();
    }

    /// Puts a workbook into the inbox.
    pub async fn upload(&self, key: &str, workbook: &Path) -> Upload {
        let bytes = std::fs::read(workbook).unwrap();
        let size = bytes.len() as u64;
        let bucket = self.output("InboxBucket");
        let put = self.s3.put_object().bucket(bucket).key(key);
        let put = put.body(bytes.into()).send().await.unwrap();
        let version = put.version_id().unwrap().to_owned();
        let head = self.s3.head_object().bucket(bucket).key(key);
        let head = head.version_id(&version).send().await.unwrap();
        let time = head.last_modified().unwrap().to_millis().unwrap();
        let object = rowmill_domain::event::ObjectCreated {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version,
            versioned: true,
            size,
            time: chrono::DateTime::from_timestamp_millis(time).unwrap(),
        };
        let pipeline = keys::folder(key).unwrap();
        Upload {
            run: RunId::new(bucket, key, &object.version, object.time, pipeline),
            event: rowmill_events::s3_created_event(&object, put.e_tag().unwrap_or_default()),
        }
    }

    /// Waits until that holds of the run, and gives it.
    pub async fn until(&self, run: &RunId, holds: impl Fn(&RunItem) -> bool) -> RunItem {
        self.until_within(PATIENCE, run, holds).await
    }

    /// The same, for so long.
    pub async fn until_within(
        &self,
        patience: Duration,
        run: &RunId,
        holds: impl Fn(&RunItem) -> bool,
    ) -> RunItem {
        let started = std::time::Instant::now();
        loop {
            let found = self.ledger.run(run).await.unwrap();
            if let Some(item) = found.as_ref().filter(|item| holds(item)) {
                return item.clone();
            }
            let late = started.elapsed() > patience;
            let troubles = self.deliverer.troubles();
            if late || !troubles.is_empty() {
                panic!("{run} stands at {found:#?}\n{troubles:?}\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the mail of the run is sent and all that is temporary is removed.
    pub async fn ended(&self, run: &RunId) -> RunItem {
        self.until(run, |item| item.cleaned.is_some()).await
    }

    /// Waits until the mail of a run is sent whose report is told by the topic, and hands report's
    /// answer to cleanup: ministack has the answer then, and gives it to nobody.
    pub async fn reported_by_topic(&self, run: &RunId) {
        self.until(run, |item| item.state.is_terminal()).await;
        self.deliverer.reported(run).await;
    }

    /// Tells of a mail of the run that came back, as SES does.
    pub async fn bounced(&self, run: &RunId, recipient: &str, kind: [&str; 2]) {
        deliver::bounced(&self.ministack, run, recipient, kind).await;
    }

    /// Makes it an hour since anything was heard of a run, and its time to be looked at now.
    pub async fn let_time_pass(&self, run: &RunId) {
        let hour_ago = chrono::Utc::now() - Duration::from_secs(3600);
        let item = ("run", run.as_str());
        let updated = AttributeValue::S(hour_ago.to_rfc3339());
        self.set_of_run(item, "updated", updated).await;

        let client = aws_sdk_scheduler::Client::new(&self.config);
        let found = client.get_schedule().group_name(STACK).name(run.as_str());
        let found = found.send().await.unwrap();
        let soon = chrono::Utc::now() + Duration::from_secs(1);
        let update = client.update_schedule().group_name(STACK);
        let update = update.name(run.as_str());
        update
            .set_target(found.target)
            .set_flexible_time_window(found.flexible_time_window)
            .set_action_after_completion(found.action_after_completion)
            .schedule_expression(soon.format("at(%Y-%m-%dT%H:%M:%S)").to_string())
            .send()
            .await
            .unwrap();
    }

    /// Ends the lease of whoever holds that work of a run, as time does.
    pub async fn end_lease(&self, run: &RunId, work: Work) {
        let claim = format!("claim#{}", work.name());
        let item = (run.as_str(), claim.as_str());
        self.set_of_run(item, "until", AttributeValue::N("0".into()))
            .await;
    }

    async fn set_of_run(&self, (pk, sk): (&str, &str), name: &str, value: AttributeValue) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        aws_sdk_dynamodb::Client::new(&self.config)
            .update_item()
            .table_name(format!("{STACK}-runs"))
            .key("pk", text(pk))
            .key("sk", text(sk))
            .update_expression("SET #name = :value")
            .condition_expression("attribute_exists(#name)")
            .expression_attribute_names("#name", name)
            .expression_attribute_values(":value", value)
            .send()
            .await
            .unwrap();
    }

    /// The environment of a deployed function, and where it finds its services.
    pub async fn environment(&self, stage: &str) -> Vec<(String, String)> {
        let name = format!("{STACK}-{stage}");
        let asked = self.lambda.get_function_configuration();
        let found = asked.function_name(name).send().await.unwrap();
        let found = found.environment.and_then(|e| e.variables).unwrap();
        let services = emulators::environment(&[("", &self.ministack), ("SESV2", &self.moto)]);
        let batch = ("AWS_ENDPOINT_URL_BATCH".to_owned(), self.batch.url());
        found.into_iter().chain(services).chain([batch]).collect()
    }

    /// The program of a function, as it was deployed.
    pub fn program(&self, stage: &str) -> PathBuf {
        stack::program(&stack::functions(), stage)
    }

    /// All mails sent, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        mails::all(&self.moto)
    }

    /// The mails of a run.
    pub fn mails_of(&self, run: &RunId) -> Vec<Mail> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.header("Message-ID").contains(run.as_str()));
        mails
    }

    /// What is left of a run that should have left nothing: objects with all their versions, its
    /// table, its schedule.
    pub async fn remains(&self, run: &RunId) -> Vec<String> {
        remains::of(&self.config, self.output("WorkBucket"), STACK, run).await
    }

    /// What functions gave up, or never got.
    pub async fn dead_letters(&self) -> Vec<String> {
        let queues = ["FailedInvocationsQueue", "UndeliveredEventsQueue"];
        let mut letters = Vec::new();
        for queue in queues {
            letters.extend(remains::letters(self.output(queue)).await);
        }
        letters
    }

    /// What all said, for a failed test's message.
    pub fn logs(&self) -> String {
        format!(
            "-- ministack\n{}\n{}",
            self.ministack.log(),
            self.batch.output()
        )
    }

    /// Asks the deployed API. A redirection is followed, as a browser does.
    pub async fn get(&self, url: &str) -> (u16, Vec<u8>) {
        let host = url.split('/').nth(2).unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        let here = self.ministack.url();
        let here = here.trim_start_matches("http://").parse().unwrap();
        let client = http::builder().resolve(host, here).build().unwrap();
        let response = client.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.bytes().await.unwrap().to_vec())
    }
}

/// With keys in the path: `<bucket>.127.0.0.1` is no name.
fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}
