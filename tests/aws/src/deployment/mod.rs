//! A deployment without AWS. `sam deploy` deploys the template to ministack, whose Lambda runs the built
//! functions. The local Batch, behind an endpoint of the tests, runs the built enrich. moto receives the
//! mail.
//!
//! | on AWS | here |
//! |---|---|
//! | S3 invokes split; SNS invokes submit, report and cleanup; Scheduler publishes to SNS | ministack |
//! | EventBridge invokes report with Batch's events | `deliver`, if ministack says that the deployed rule matches; ministack does not accept events with Batch as their source |
//! | report's answer goes to cleanup (OnSuccess) | `deliver`; ministack has no such destination |
//! | SES publishes bounces to the topic | the test |
//! | the parts of the template that ministack supports | `python/for_ministack.py` |

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
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::batch_endpoint::{BatchEndpoint, Setup};
use crate::emulators::{self, Emulator};
use crate::http;
use crate::record;
use crate::run_tables::RunTables;

use deliver::Deliverer;
pub use deliver::{Deliver, LOSES_EVENTS};
pub use mails::Mail;

/// A pipeline for measurements: one step in this process, and one derived column.
pub const MEASURED_PIPELINE: &str = r#"
[input]
key = ["ID"]
types = { ID = "text" }
[[step]]
kind = "sentiment"
column = "Note"
[[column]]
name = "double"
value = "row.Amount * 2.0"
[batch]
records_per_child = 10000
"#;

/// The stack's name.
pub const STACK: &str = "rowmill";
/// The sender of mail.
pub const SENDER: &str = "rowmill@example.com";
/// The default recipient of mail.
pub const RECIPIENT: &str = "you@example.com";

/// The maximum time of a run in a test. It takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// What stands in for an account of AWS. Dropping it stops everything.
pub struct Account {
    /// The endpoint for AWS Batch.
    pub batch: BatchEndpoint,
    stack: String,
    ministack: Emulator,
    moto: Emulator,
    /// Instead of ministack for DynamoDB, for many records.
    run_tables: Option<RunTables>,
    _state: TempDir,
}

impl Account {
    /// Starts the emulators for a stack with this name. The channel receives Batch's events. Children run
    /// `wrapper`, followed by the path of the built enrich.
    pub async fn start(stack: &str, wrapper: &[&str]) -> (Account, UnboundedReceiver<Value>) {
        let enrich = rowmill_tests_local::program::built("enrich-under-test");
        let mut program: Vec<_> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        program.push(enrich.display().to_string());
        Account::start_with(stack, program, false).await
    }

    /// Children run `program`. With `many_records`, DynamoDB is [`RunTables`].
    async fn start_with(
        stack: &str,
        program: Vec<String>,
        many_records: bool,
    ) -> (Account, UnboundedReceiver<Value>) {
        let state = TempDir::new().unwrap();
        let moto = Emulator::moto();
        mails::prepare(&moto, SENDER, stack).await;

        let mut setup = Setup::new(&format!("{stack}-fargate"), Path::new(""));
        setup.program = program;
        let batch = format!("http://{}", setup.listener.local_addr().unwrap());
        let ministack = Emulator::ministack_with(&[
            ("AWS_ENDPOINT_URL_BATCH".into(), batch),
            ("AWS_ENDPOINT_URL_SESV2".into(), moto.url()),
            // Part of the address of the API, which must be a name.
            ("MINISTACK_HOST".into(), "localhost".into()),
            // Lambda waits one minute, then two; a test must see failures sooner.
            ("LAMBDA_ASYNC_RETRY_BASE_SECONDS".into(), "0.5".into()),
        ]);
        let run_tables = match many_records {
            true => Some(RunTables::start(&ministack.url()).await),
            false => None,
        };
        setup.environment = emulators::environment(&[("", &ministack)])
            .into_iter()
            .chain(run_tables.as_ref().map(endpoint))
            .chain([(record::APP.to_owned(), record::JOB.to_owned())])
            .collect::<BTreeMap<_, _>>();
        let (batch, events) = BatchEndpoint::start(&state.path().join("batch"), setup).await;
        let account = Account {
            batch,
            stack: stack.to_owned(),
            ministack,
            moto,
            run_tables,
            _state: state,
        };
        (account, events)
    }

    /// The environment of a program whose calls go to this account.
    pub fn environment(&self) -> Vec<(String, String)> {
        let services = emulators::environment(&[("", &self.ministack), ("SESV2", &self.moto)]);
        let batch = ("AWS_ENDPOINT_URL_BATCH".to_owned(), self.batch.url());
        let tables = self.run_tables.as_ref().map(endpoint);
        services.into_iter().chain([batch]).chain(tables).collect()
    }

    /// The template for ministack, next to the functions that it deploys.
    pub fn template(&self) -> NamedTempFile {
        stack::template(&stack::functions())
    }

    /// Delivers Batch's events once something has deployed the stack.
    pub async fn deliver(&self, events: UnboundedReceiver<Value>) {
        let lambda = aws_sdk_lambda::Client::new(&self.ministack.sdk_config());
        while !deliver::is_deployed(&self.ministack).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let deliverer = Deliverer::new(Deliver::Once, &self.ministack, lambda, &self.stack).await;
        deliverer.run(events).await;
    }

    /// The output of ministack and Batch, for the message of a failed test.
    pub fn logs(&self) -> String {
        format!(
            "-- ministack\n{}\n{}",
            self.ministack.log(),
            self.batch.output()
        )
    }
}

fn endpoint(tables: &RunTables) -> (String, String) {
    ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), tables.url())
}

/// A deployed stack. Dropping it stops everything.
pub struct Deployment {
    account: Account,
    /// The ledger of the functions.
    pub ledger: Arc<DynamoLedger>,
    /// Batch's events, with [`Deliver::ByHand`].
    pub events: Option<tokio::sync::Mutex<UnboundedReceiver<Value>>>,
    outputs: HashMap<String, String>,
    deliverer: Deliverer,
    config: SdkConfig,
    s3: aws_sdk_s3::Client,
    lambda: aws_sdk_lambda::Client,
}

impl std::ops::Deref for Deployment {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.account
    }
}

/// An upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The run of this upload.
    pub run: RunId,
    /// The event of S3.
    pub event: Value,
}

impl Deployment {
    /// Starts the emulators and deploys, with template parameters in addition to sender and recipient.
    /// Children run `wrapper`, followed by the path of the built enrich.
    pub async fn start(
        deliver: Deliver,
        wrapper: &[&str],
        parameters: &[(&str, &str)],
    ) -> Deployment {
        let account = Account::start(STACK, wrapper).await;
        Deployment::on(account, deliver, parameters).await
    }

    /// Like [`Deployment::start`], for many records: children run this enrich, and the tables of runs are
    /// [`RunTables`].
    pub async fn start_for_many_records(deliver: Deliver, enrich: &Path) -> Deployment {
        let program = vec![enrich.display().to_string()];
        let account = Account::start_with(STACK, program, true).await;
        Deployment::on(account, deliver, &[]).await
    }

    async fn on(
        (account, events): (Account, UnboundedReceiver<Value>),
        deliver: Deliver,
        parameters: &[(&str, &str)],
    ) -> Deployment {
        let built = stack::functions();
        let ministack = &account.ministack;
        let config = ministack.sdk_config();
        let s3 = crate::stack::client(&config);
        let lambda = aws_sdk_lambda::Client::new(&config);
        let outputs = stack::deploy(ministack, &s3, &built, STACK, parameters).await;
        deliver.connect(ministack, &s3, &lambda, &outputs).await;
        let deliverer = Deliverer::new(deliver, ministack, lambda.clone(), STACK).await;
        let events = match deliver {
            Deliver::ByHand => Some(tokio::sync::Mutex::new(events)),
            Deliver::Once | Deliver::Twice => {
                tokio::spawn(deliverer.clone().run(events));
                None
            }
        };
        Deployment {
            ledger: Arc::new(DynamoLedger::new(&config, STACK)),
            events,
            outputs,
            deliverer,
            config,
            s3,
            lambda,
            account,
        }
    }

    /// An output of the stack.
    #[track_caller]
    pub fn output(&self, name: &str) -> &str {
        match self.outputs.get(name) {
            Some(value) => value,
            None => panic!("the stack has no output {name}: {:?}", self.outputs),
        }
    }

    /// Deploys a new image for enrich and changes nothing else.
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

    /// The bytes of an object in the work bucket.
    pub async fn object(&self, key: &str) -> Vec<u8> {
        let get = self.s3.get_object().bucket(self.output("WorkBucket"));
        let object = get.key(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    /// The key of the only object in the work bucket with this prefix and ending.
    pub async fn object_ending(&self, prefix: &str, ending: &str) -> String {
        let list = self.s3.list_objects_v2().bucket(self.output("WorkBucket"));
        let listed = list.prefix(prefix).send().await.unwrap();
        let keys = listed.contents().iter().filter_map(|object| object.key());
        let found: Vec<_> = keys.filter(|key| key.ends_with(ending)).collect();
        assert_eq!(found.len(), 1, "{found:?} in {prefix}");
        found[0].to_owned()
    }

    /// Waits until the run satisfies the condition and returns it.
    pub async fn until(&self, run: &RunId, holds: impl Fn(&RunItem) -> bool) -> RunItem {
        self.until_within(PATIENCE, run, holds).await
    }

    /// Like [`Deployment::until`], with another time limit.
    pub async fn until_within(
        &self,
        patience: Duration,
        run: &RunId,
        holds: impl Fn(&RunItem) -> bool,
    ) -> RunItem {
        let started = std::time::Instant::now();
        loop {
            let found = self.ledger.find_run(run).await.unwrap();
            if let Some(item) = found.as_ref().filter(|item| holds(item)) {
                return item.clone();
            }
            let late = started.elapsed() > patience;
            let troubles = self.deliverer.troubles();
            if late || !troubles.is_empty() {
                panic!(
                    "{run} is stuck at {found:#?}\n{troubles:?}\n{}",
                    self.logs()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the email of the run is sent and all temporary data is removed.
    pub async fn ended(&self, run: &RunId) -> RunItem {
        self.until(run, |item| item.cleaned.is_some()).await
    }

    /// Waits until the email of a run is sent whose report was invoked by the topic, then invokes cleanup:
    /// ministack does not pass report's answer on.
    pub async fn reported_by_topic(&self, run: &RunId) {
        self.until(run, |item| item.state.is_terminal()).await;
        self.deliverer.reported(run).await;
    }

    /// Publishes a bounce of the run's mail, as SES does.
    pub async fn bounced(&self, run: &RunId, recipient: &str, kind: [&str; 2]) {
        deliver::bounced(&self.ministack, run, recipient, kind).await;
    }

    /// Makes the last progress of a run one hour old and its check due now.
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

    /// Expires the lease on this work of a run.
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

    /// The environment of a deployed function, with the endpoints of the emulators.
    pub async fn environment(&self, stage: &str) -> Vec<(String, String)> {
        let name = format!("{STACK}-{stage}");
        let asked = self.lambda.get_function_configuration();
        let found = asked.function_name(name).send().await.unwrap();
        let found = found.environment.and_then(|e| e.variables).unwrap();
        found
            .into_iter()
            .chain(self.account.environment())
            .collect()
    }

    /// The path of the deployed program of a function.
    pub fn program(&self, stage: &str) -> PathBuf {
        stack::program(&stack::functions(), stage)
    }

    /// All emails sent, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        mails::all(&self.moto)
    }

    /// The emails of a run.
    pub fn mails_of(&self, run: &RunId) -> Vec<Mail> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.header("Message-ID").contains(run.as_str()));
        mails
    }

    /// The remaining data of a run: objects with all their versions, its table and its schedule. Empty
    /// after cleanup.
    pub async fn remains(&self, run: &RunId) -> Vec<String> {
        remains::of(&self.config, self.output("WorkBucket"), STACK, run).await
    }

    /// The messages of all dead-letter queues.
    pub async fn dead_letters(&self) -> Vec<String> {
        let queues = ["FailedInvocationsQueue", "UndeliveredEventsQueue"];
        let mut letters = Vec::new();
        for queue in queues {
            letters.extend(remains::letters(self.output(queue)).await);
        }
        letters
    }

    /// Requests a URL of the deployed API and follows redirects, as a browser does.
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
