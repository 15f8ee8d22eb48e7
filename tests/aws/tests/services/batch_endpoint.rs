//! The tests' endpoint for AWS Batch, over HTTP. The conformance suite of the port runs the AWS adapter
//! against it.

use std::path::Path;

use rowmill_tests_aws::batch_endpoint::{BatchEndpoint, Setup, queue_arn};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

struct Bench {
    endpoint: BatchEndpoint,
    events: UnboundedReceiver<Value>,
    client: reqwest::Client,
    state: TempDir,
}

impl Bench {
    async fn start() -> Bench {
        let state = TempDir::new().unwrap();
        let mut setup = Setup::new("main", Path::new("/bin/sh"));
        setup.program.push("-c".into());
        setup.environment.insert("EMULATOR".into(), "here".into());
        let (endpoint, events) = BatchEndpoint::start(state.path(), setup).await;
        Bench {
            endpoint,
            events,
            client: rowmill_tests_aws::http::client(),
            state,
        }
    }

    /// The answer, or the status, kind and message of the error.
    async fn call(&self, path: &str, body: Value) -> Result<Value, (u16, String, String)> {
        let url = format!("{}/v1/{path}", self.endpoint.url());
        let request = self.client.post(url).body(body.to_string());
        let request = request.header("content-type", "application/json");
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        if status == 200 {
            return Ok(body);
        }
        assert!(headers.contains_key("x-amzn-requestid"));
        let kind = headers["x-amzn-errortype"].to_str().unwrap().to_owned();
        Err((status, kind, body["message"].as_str().unwrap().to_owned()))
    }

    /// The next event for the end of a job or array (not of a child).
    async fn end(&mut self) -> Value {
        loop {
            let event = self.events.recv().await.unwrap();
            let detail = &event["detail"];
            let ended = ["SUCCEEDED", "FAILED"].map(Value::from);
            if detail["arrayProperties"]["index"].is_null() && ended.contains(&detail["status"]) {
                return event;
            }
        }
    }
}

fn definition(name: &str, script: &str) -> Value {
    json!({
        "jobDefinitionName": name,
        "type": "container",
        "platformCapabilities": ["FARGATE"],
        "containerProperties": {
            "image": "image",
            "command": [script],
            "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
            "environment": [{ "name": "FROM_DEFINITION", "value": "1" }],
            "resourceRequirements": [
                { "type": "VCPU", "value": "0.25" },
                { "type": "MEMORY", "value": "512" },
            ],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_runs_its_program_with_batchs_environment_and_reports_every_state() {
    let mut bench = Bench::start().await;
    let script = format!(
        "echo $AWS_BATCH_JOB_ARRAY_INDEX $AWS_BATCH_JOB_ATTEMPT $EMULATOR $FROM_DEFINITION \
         $FROM_JOB > {}/$AWS_BATCH_JOB_ARRAY_INDEX.out",
        bench.state.path().display()
    );
    let registered = bench
        .call("registerjobdefinition", definition("write", &script))
        .await
        .unwrap();
    assert_eq!(registered["revision"], 1);
    let job = json!({
        "jobName": "array",
        "jobQueue": queue_arn("main"),
        "shareIdentifier": "rowmill",
        "jobDefinition": registered["jobDefinitionArn"],
        "arrayProperties": { "size": 2 },
        "containerOverrides": { "environment": [{ "name": "FROM_JOB", "value": "2" }] },
    });
    let submitted = bench.call("submitjob", job).await.unwrap();
    let end = bench.end().await;
    assert_eq!(end["detail"]["jobId"], submitted["jobId"]);
    assert_eq!(end["detail"]["jobQueue"], queue_arn("main").as_str());
    assert_eq!(end["detail"]["status"], "SUCCEEDED");
    assert_eq!(end["resources"][0], submitted["jobArn"]);
    for index in 0..2 {
        let file = bench.state.path().join(format!("{index}.out"));
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text, format!("{index} 1 here 1 2\n"));
    }
    let asked = json!({ "jobs": [submitted["jobId"], "nobody"] });
    let described = bench.call("describejobs", asked).await.unwrap();
    assert_eq!(described["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(described["jobs"][0]["arrayProperties"]["size"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_registration_is_a_revision_and_an_inactive_revision_accepts_no_job() {
    let bench = Bench::start().await;
    for revision in 1..=2 {
        let body = definition("same", "true");
        let answer = bench.call("registerjobdefinition", body).await.unwrap();
        assert_eq!(answer["revision"], revision);
    }
    let off = json!({ "jobDefinition": "same:1" });
    bench.call("deregisterjobdefinition", off).await.unwrap();
    let asked = json!({ "jobDefinitionName": "same", "status": "ACTIVE" });
    let listed = bench.call("describejobdefinitions", asked).await.unwrap();
    assert_eq!(listed["jobDefinitions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["jobDefinitions"][0]["revision"], 2);
    let job = |definition: &str| {
        json!({
            "jobName": "a",
            "jobQueue": "main",
            "shareIdentifier": "rowmill",
            "jobDefinition": definition,
        })
    };
    bench.call("submitjob", job("same")).await.unwrap();
    let refused = bench.call("submitjob", job("same:1")).await.unwrap_err();
    assert_eq!((refused.0, refused.1.as_str()), (400, "ClientException"));
    assert!(refused.2.contains("same:1"), "{}", refused.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_refused_with_the_errors_of_batch() {
    let bench = Bench::start().await;
    let mut wrong = definition("sizes", "true");
    wrong["containerProperties"]["resourceRequirements"][1]["value"] = json!("100");
    let refused = bench
        .call("registerjobdefinition", wrong)
        .await
        .unwrap_err();
    assert!(refused.2.contains("(0.25 vCPU, 100 MiB)"), "{}", refused.2);

    let good = definition("good", "true");
    bench.call("registerjobdefinition", good).await.unwrap();
    let job = |size: u32| {
        json!({
            "jobName": "a",
            "jobQueue": "main",
            "shareIdentifier": "rowmill",
            "jobDefinition": "good",
            "arrayProperties": { "size": size },
        })
    };
    for size in [1, 10_001] {
        let refused = bench.call("submitjob", job(size)).await.unwrap_err();
        assert_eq!((refused.0, refused.1.as_str()), (400, "ClientException"));
        let said = format!("between 2 and 10000, got {size}");
        assert!(refused.2.ends_with(&said), "{}", refused.2);
    }
    // 50 calls per second; further calls are throttled.
    let calls = (0..60).map(|_| bench.call("submitjob", job(2)));
    let answers: Vec<_> = futures::future::join_all(calls).await;
    let throttled = answers.iter().filter_map(|a| a.as_ref().err());
    let throttled: Vec<_> = throttled.collect();
    assert!(!throttled.is_empty());
    for (status, kind, _) in throttled {
        assert_eq!((*status, kind.as_str()), (429, "TooManyRequestsException"));
    }
}
