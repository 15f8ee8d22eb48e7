//! Jobs on AWS Batch.

use std::collections::BTreeMap;
use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_batch::Client;
use aws_sdk_batch::types::{CeState, CeType, ComputeEnvironmentOrder, JqState};
use rowmill_aws::{Architecture, BatchConfig, BatchJobs};
use rowmill_domain::job::{Capacity, JobId, JobName};
use rowmill_pipeline::BatchSettings;
use rowmill_ports::{ErrorKind, JobFilter, Jobs, conformance};
use rowmill_submit::SubmitConfig;
use rowmill_tests_aws::batch_endpoint::{BatchEndpoint, Setup};
use rowmill_tests_aws::emulators::{self, Emulator};
use tempfile::TempDir;

const QUEUE: &str = "main";

fn batch_config(account: &str, capacity: Capacity) -> BatchConfig {
    BatchConfig {
        job_role: format!("arn:aws:iam::{account}:role/job"),
        execution_role: format!("arn:aws:iam::{account}:role/execution"),
        log_group: "/rowmill/jobs".into(),
        architecture: Architecture::Arm64,
        capacity,
        assign_public_ip: true,
        tags: BTreeMap::from([("rowmill:stack".into(), "rowmill".into())]),
    }
}

/// Creates a role in moto and returns its ARN. The project does not depend on the SDK's client for IAM.
async fn make_role(config: &SdkConfig) -> String {
    let service = "AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/iam/aws4_request, \
                   SignedHeaders=host, Signature=none";
    let form = "Action=CreateRole&Version=2010-05-08&RoleName=batch&AssumeRolePolicyDocument={}";
    let client = rowmill_tests_aws::http::client();
    let answer = client
        .post(config.endpoint_url().unwrap())
        .header("authorization", service)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let (_, arn) = text.split_once("<Arn>").unwrap_or_else(|| panic!("{text}"));
    arn.split_once("</Arn>").unwrap().0.to_owned()
}

/// Creates the queue in moto, with the compute environment that moto requires.
async fn make_queue(config: &SdkConfig) {
    let role = make_role(config).await;
    let client = Client::new(config);
    client
        .create_compute_environment()
        .compute_environment_name("any")
        .r#type(CeType::Unmanaged)
        .state(CeState::Enabled)
        .service_role(role)
        .send()
        .await
        .unwrap();
    let order = ComputeEnvironmentOrder::builder()
        .order(1)
        .compute_environment("any")
        .build();
    client
        .create_job_queue()
        .job_queue_name(QUEUE)
        .priority(1)
        .state(JqState::Enabled)
        .compute_environment_order(order)
        .send()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn job_definitions_on_moto() {
    let aws = Emulator::moto();
    let config = aws.sdk_config();
    make_queue(&config).await;
    let jobs = BatchJobs::new(&config, batch_config(aws.account(), Capacity::Fargate));
    conformance::jobs::shapes(&jobs, QUEUE).await;
    conformance::jobs::limits_of_requests(&jobs, QUEUE).await;

    // The definition that submit registers.
    let submit = SubmitConfig {
        fetch_buckets: vec!["tools".into()],
        queue: QUEUE.into(),
        stack: "rowmill".into(),
        image: "image:1".into(),
        capacity: Capacity::Fargate,
        topic: None,
        region: None,
    };
    let definition = rowmill_submit::definition(
        &submit,
        "work",
        &submit.image,
        BatchSettings::default().resources,
        &BatchSettings::default(),
        &[],
    );
    let arn = jobs.register(&definition).await.unwrap();
    let client = Client::new(&config);
    let described = client.describe_job_definitions().job_definitions(&arn);
    let described = described.send().await.unwrap();
    let [found] = described.job_definitions() else {
        panic!("{described:?}")
    };
    let name = found.job_definition_name().unwrap();
    assert!(name.starts_with(&definition.name), "{name}");
    assert_eq!(found.propagate_tags(), Some(true));
    assert_eq!(found.tags().unwrap()["rowmill:stack"], "rowmill");
    let container = found.container_properties().unwrap();
    assert_eq!(container.image(), Some("image:1"));
    let variables = container.environment().iter();
    let variables: Vec<_> = variables.map(|v| (v.name(), v.value())).collect();
    let expected = [
        (Some("AWS_REGION"), Some(emulators::REGION)),
        (Some("ROWMILL_FETCH_BUCKETS"), Some("tools")),
        (Some("ROWMILL_STACK"), Some("rowmill")),
        (Some("ROWMILL_WORK_BUCKET"), Some("work")),
    ];
    assert_eq!(variables, expected);
    let rules = found.retry_strategy().unwrap().evaluate_on_exit();
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].on_exit_code(), Some("1*"));
    let last = rules.last().unwrap();
    assert_eq!(
        last.on_status_reason(),
        Some("Essential container in task exited*")
    );
    assert_eq!(last.action().unwrap().as_str().to_ascii_uppercase(), "EXIT");

    // The same definition with other roles is a new revision.
    let mut changed = batch_config(aws.account(), Capacity::Fargate);
    changed.job_role.push('2');
    let changed = BatchJobs::new(&config, changed);
    let other = changed.register(&definition).await.unwrap();
    assert_ne!(arn, other);
    let mut both = jobs.definitions("rowmill-").await.unwrap();
    both.sort_unstable();
    let mut expected = [arn, other];
    expected.sort_unstable();
    assert_eq!(both, expected);

    // An error of Batch names the operation, the resource and the request id.
    let mut job = conformance::jobs::job("a", "absent", &expected[0]);
    let error = jobs.submit(&job).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    let said = error.to_string();
    for part in ["SubmitJob a: ClientException", "absent", "request id"] {
        assert!(said.contains(part), "{said}");
    }
    // A request that Batch would refuse is not sent.
    job.array_size = Some(1);
    let error = jobs.submit(&job).await.unwrap_err();
    assert!(!error.to_string().contains("request id"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_on_the_batch_endpoint() {
    let state = TempDir::new().unwrap();
    let mut setup = Setup::new(QUEUE, Path::new("/bin/true"));
    // The suite submits more than 50 jobs and should not wait for a real second.
    setup.clock_scale = 0.05;
    let (endpoint, _events) = BatchEndpoint::start(state.path(), setup).await;
    let config = emulators::sdk_config(&endpoint.url());
    let jobs = BatchJobs::new(&config, batch_config("000000000000", Capacity::Fargate));
    conformance::jobs::jobs(&jobs, QUEUE).await;
    conformance::jobs::jobs_limits(&jobs, QUEUE).await;

    let mut definition = conformance::jobs::definition("suite-capacity");
    definition.resources.storage_gib = Some(100);
    let on_fargate = jobs.register(&definition).await.unwrap();
    let on_ec2 = BatchJobs::new(&config, batch_config("000000000000", Capacity::Ec2));
    let on_ec2 = on_ec2.register(&definition).await.unwrap();
    assert_ne!(on_fargate, on_ec2);
    let refused = BatchJobs::asking(&config).register(&definition).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid);

    // Ending a job or definition that does not exist is not an error.
    let nobody = JobId("00000000-0000-4000-8000-000000000000".into());
    jobs.terminate(&nobody, "test").await.unwrap();
    jobs.cancel(&nobody, "test").await.unwrap();
    let absent = "arn:aws:batch:us-east-1:000000000000:job-definition/absent:1";
    jobs.deregister(absent).await.unwrap();
    let filter = JobFilter::Name {
        queue: QUEUE.into(),
        name: JobName("absent".into()),
    };
    assert_eq!(jobs.list(&filter, None).await.unwrap(), (Vec::new(), None));
}
