//! All kinds of runs, from upload to mail.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rowmill_domain::{RunId, RunState};
use rowmill_ports::{Jobs, Outcomes, Runs};
use rowmill_tests_aws::deployment::{Deployment, LOSES_EVENTS, Mail, RECIPIENT, SENDER};
use rowmill_tests_local::program::{Read, root};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::{Book, read};
use tempfile::TempDir;

/// Writes a fixture workbook to a file.
pub(crate) fn workbook(folder: &TempDir, book: &Book) -> PathBuf {
    let path = folder.path().join("book.xlsx");
    book.save(&path);
    path
}

/// One record per child, at most 50 children.
pub(crate) const SMALL: &str = r#"
[input]
types = { ID = "text" }
[[column]]
name = "double"
value = "row.Amount * 2.0"
[batch]
records_per_child = 1
max_children = 50
"#;

/// A pipeline that requests a source for each row.
fn asking(source: &Source, batch: &str) -> String {
    format!(
        r#"
[[step]]
kind = "http"
url = "{}/{{{{ row.ID }}}}"
attempts = 2
allow_hosts = ["127.0.0.1"]
[step.outputs]
value = {{ json = "$.value", type = "number" }}
[batch]
{batch}
"#,
        source.url()
    )
}

/// A run that ended and left only its result and its email.
pub(crate) struct Ended {
    pub(crate) state: RunState,
    pub(crate) mail: Mail,
    pub(crate) result: Option<Read>,
}

/// Waits for the end of a run and asserts what is true for every run.
pub(crate) async fn ended(deployment: &Deployment, run: &RunId) -> Ended {
    let item = deployment.ended(run).await;
    let remains = deployment.remains(run).await;
    assert!(remains.is_empty(), "{run} has left {remains:?}");
    let mut mails = deployment.mails_of(run);
    assert_eq!(mails.len(), 1, "{run}: {mails:#?}");
    let mail = mails.remove(0);
    assert_eq!(mail.to, [RECIPIENT], "{}", mail.text);
    assert!(mail.header("From").contains(SENDER), "{}", mail.text);
    let result = mail.attachments.first().map(|name| {
        assert!(name.ends_with("-result.xlsx"), "{name}");
        Read(read(&mail.attachment(name), false))
    });
    Ended {
        state: item.state,
        mail,
        result,
    }
}

/// The first upload of a new user: no pipeline is set up, and the key must be percent-encoded.
pub(crate) async fn the_first_file(deployment: &Deployment) {
    let example = root().join("examples/reviews/reviews.xlsx");
    let key = "reviews/my file (1)+ü.xlsx";
    let upload = deployment.upload(key, &example).await;
    let ended = ended(deployment, &upload.run).await;
    assert_eq!(ended.state, RunState::Delivered, "{}", ended.mail.text);
    assert_eq!(ended.mail.attachments, ["my file (1)+ü-result.xlsx"]);
    let result = ended.result.unwrap();
    let original = read(&example, false);
    let rows = original["sheets"][0]["rows"].as_array().unwrap().len() - 1;
    let kept = result.rows("Results").len() - 1;
    let rejected = result.rows("Rejected").len().saturating_sub(1);
    assert_eq!(kept + rejected, rows, "every row is accounted for");
    assert!(result.texts("status").iter().all(|status| status == "ok"));
    let classes = result.texts("sa_class");
    assert!(
        classes.iter().any(|class| class == "positive"),
        "{classes:?}"
    );

    // The jobs ran the image of the deployed enrich function, under the deployed roles.
    for body in deployment.batch.registered() {
        let container = &body["containerProperties"];
        let image = container["image"].as_str().unwrap();
        assert!(image.contains("/enrich"), "{container}");
        for role in ["jobRoleArn", "executionRoleArn"] {
            let role = container[role].as_str().unwrap();
            assert!(
                role.starts_with("arn:aws:iam::000000000000:role/rowmill-"),
                "{role}"
            );
        }
    }
}

/// After a deployment that changes only the image, a running submit function uses the new image.
pub(crate) async fn a_new_image(deployment: &Deployment) {
    let image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/rowmill/enrich:next";
    deployment.deploy_image(image).await;
    of_records(deployment, 3, Some(3)).await;
    let registered = deployment.batch.registered();
    let last = &registered.last().unwrap()["containerProperties"]["image"];
    assert_eq!(last.as_str(), Some(image));
}

/// A run of `records` records has an array job with this number of children (or a single job for
/// `None`), and each row has its result.
pub(crate) async fn of_records(deployment: &Deployment, records: u32, children: Option<u64>) {
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(records));
    let key = format!("small/{records}.xlsx");
    let upload = deployment.upload(&key, &book).await;
    let ended = ended(deployment, &upload.run).await;
    assert_eq!(ended.state, RunState::Delivered, "{}", ended.mail.text);
    let result = ended.result.unwrap();
    let expected: Vec<_> = (0..records).map(|n| (n * 2).to_string()).collect();
    assert_eq!(result.texts("double"), expected);
    let jobs = jobs_of(deployment, &upload.run);
    let sizes: Vec<_> = jobs
        .iter()
        .map(|job| job["arrayProperties"]["size"].as_u64())
        .collect();
    assert_eq!(sizes, [children], "{records} records");
}

/// The accepted SubmitJob calls of a run.
fn jobs_of(deployment: &Deployment, run: &RunId) -> Vec<serde_json::Value> {
    let all = deployment.batch.submitted().into_values();
    let ours = all.filter(|job| job["jobName"].as_str().unwrap().starts_with(run.as_str()));
    ours.collect()
}

/// A record that fails does not affect the results of other records.
pub(crate) async fn a_poisoned_record(deployment: &Deployment) {
    let source = Source::start(|path, _| match path {
        "/0000003" => Answer::Status(404, vec![]),
        path => Answer::Json(format!("{{\"value\": {}}}", path.len())),
    });
    let pipeline = asking(&source, "");
    deployment.put_pipeline("poisoned", &pipeline).await;
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(6));
    let upload = deployment.upload("poisoned/book.xlsx", &book).await;
    let ended = ended(deployment, &upload.run).await;
    assert_eq!(ended.state, RunState::DeliveredWithErrors);
    let result = ended.result.unwrap();
    let status = result.texts("status");
    assert_eq!(status, ["ok", "ok", "ok", "failed", "ok", "ok"]);
    assert!(result.texts("error")[3].contains("404"));
    assert!(ended.mail.text.contains("404"), "{}", ended.mail.text);
}

/// If a child fails permanently, the other rows are delivered, and the email says how many are missing
/// and what to do.
pub(crate) async fn an_array_that_fails(deployment: &Deployment) {
    deployment.put_pipeline("breaks", SMALL).await;
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(3));
    let upload = deployment.upload("breaks/book.xlsx", &book).await;
    let ended = ended(deployment, &upload.run).await;
    assert_eq!(ended.state, RunState::DeliveredWithErrors);
    let result = ended.result.unwrap();
    assert_eq!(result.texts("status"), ["ok", "missing", "ok"]);
    assert_eq!(result.texts("double"), ["0", "", "4"]);
    let text = &ended.mail.text;
    assert!(text.contains("1 row missing"), "{text}");
    assert!(text.contains("What to do"), "{text}");
}

/// If the machine of a child is lost, the next attempt resumes with the records without outcome.
pub(crate) async fn a_lost_machine(deployment: &Deployment) {
    const RECORDS: u32 = 24;
    // Holds back answers until the machine is lost, so that the child cannot finish before.
    let (asked, lost) = (AtomicU32::new(0), Arc::new(AtomicBool::new(false)));
    let is_lost = lost.clone();
    let source = Source::start(move |_, _| {
        let held = asked.fetch_add(1, Ordering::SeqCst) >= RECORDS / 2;
        match held && !is_lost.load(Ordering::SeqCst) {
            true => Answer::Silence(Duration::from_secs(600)),
            false => Answer::Json("{\"value\": 1}".into()),
        }
    });
    let pipeline = asking(&source, "concurrency = 1");
    deployment.put_pipeline("dies", &pipeline).await;
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(RECORDS));
    let upload = deployment.upload("dies/book.xlsx", &book).await;
    let run = &upload.run;
    deployment.until(run, |item| item.jobs.is_some()).await;
    let mut stored = 0;
    while stored < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let outcomes = deployment
            .ledger
            .read_outcomes(run, 0, 1..=RECORDS + 10)
            .await;
        stored = outcomes.unwrap().len() as u64;
    }
    let jobs = deployment.ledger.jobs(run).await.unwrap();
    let id = jobs[0].id.clone();
    lost.store(true, Ordering::SeqCst);
    deployment.batch.batch().lose_host(&id).unwrap();
    let ended = ended(deployment, run).await;
    assert_eq!(ended.state, RunState::Delivered, "{}", ended.mail.text);
    let job = deployment.batch.batch().describe(&[id]).await.unwrap();
    assert_eq!(job[0].attempts, 2, "{job:?}");
    let asked: u32 = source.hits().values().sum();
    let again = u64::from(asked) - u64::from(RECORDS);
    let most = u64::from(RECORDS) - stored;
    assert!(
        again <= most,
        "{stored} outcomes were stored, and {again} rows were requested again"
    );
}

/// A run whose job events are lost is found by its scheduled check and continues.
pub(crate) async fn lost_events(deployment: &Deployment) {
    deployment.put_pipeline(LOSES_EVENTS, SMALL).await;
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(1));
    let key = format!("{LOSES_EVENTS}/book.xlsx");
    let upload = deployment.upload(&key, &book).await;
    let run = &upload.run;
    deployment.until(run, |item| item.jobs.is_some()).await;
    let mut jobs = Vec::new();
    while jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        jobs = deployment.ledger.jobs(run).await.unwrap();
    }
    let batch = deployment.batch.batch();
    batch.wait_for_end(&jobs[0].id).await.unwrap().unwrap();
    deployment.let_time_pass(run).await;
    deployment.reported_by_topic(run).await;
    let ended = ended(deployment, run).await;
    assert_eq!(ended.state, RunState::Delivered, "{}", ended.mail.text);
    assert_eq!(ended.result.unwrap().texts("double"), ["0"]);
}

/// An upload to a folder without a pipeline gets an email that lists the existing pipelines.
pub(crate) async fn an_unknown_folder(deployment: &Deployment) {
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(1));
    let upload = deployment.upload("nowhere/book.xlsx", &book).await;
    deployment.reported_by_topic(&upload.run).await;
    let ended = ended(deployment, &upload.run).await;
    assert_eq!(ended.state, RunState::Failed);
    assert!(ended.result.is_none());
    for said in ["nowhere", "reviews", "small"] {
        assert!(
            ended.mail.text.contains(said),
            "{said}: {}",
            ended.mail.text
        );
    }
}
