//! Who may do what: every route, for each role, on runs of different owners, with the claims that API Gateway
//! passes on.

use std::time::Duration;

use rowmill_domain::archive::{ARCHIVE_VERSION, ArchiveInfo};
use rowmill_domain::event::Invocation;
use rowmill_domain::manifest::MANIFEST_VERSION;
use rowmill_domain::message::RunMessage;
use rowmill_domain::preview::Prediction;
use rowmill_domain::run::UploadSource;
use rowmill_domain::{Columns, Manifest, Outcome, PipelineName, Record, RunItem, RunState};
use rowmill_local::SqliteLedger;
use rowmill_pipeline::BUILT_IN;
use rowmill_ports::{ObjectInfo, PortError, Runs, Submitters, Topic};
use rowmill_tiers::CurrentTiers;
use serde_json::{Value, json};

use super::*;
use crate::claims::ClaimsAccess;
use crate::entry::{ROUTES, deployed_router, invoke};

/// A host that has nothing to do.
struct Idle;

#[async_trait]
impl Host for Idle {
    async fn refresh(&self) -> Result<Vec<InvalidPipeline>> {
        Ok(Vec::new())
    }
    async fn check(&self, _: &PipelineName, _: &str) -> std::result::Result<(), Problem> {
        Ok(())
    }
    async fn upload_form(&self, _: &NewObject) -> std::result::Result<UploadForm, Problem> {
        Ok(UploadForm {
            url: "https://work.s3.example.com".into(),
            fields: Default::default(),
        })
    }
    async fn announce(&self, _: &ObjectInfo) -> Result<()> {
        Ok(())
    }
    async fn processed(&self, _: &RunItem, _: &Manifest) -> Result<Option<u64>> {
        Ok(None)
    }
    async fn stuck(&self, _: &RunItem) -> Result<Option<Stuck>> {
        Ok(None)
    }
    async fn labels(&self, _: &PipelineName, _: &str, _: &str) -> Vec<String> {
        Vec::new()
    }
    async fn predict(
        &self,
        _: &PipelineName,
        _: &str,
        _: &str,
    ) -> std::result::Result<Prediction, Problem> {
        Err(Problem::invalid("The pipeline has no model."))
    }
    async fn process(
        &self,
        _: &PipelineName,
        _: &str,
        _: &Columns,
        _: &[Record],
        _: Duration,
    ) -> std::result::Result<Vec<Option<Outcome>>, Problem> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Topic for Idle {
    async fn publish(&self, _: &RunMessage) -> std::result::Result<(), PortError> {
        Ok(())
    }
}

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
/// Uploaded by Ada.
const OWN: &str = "20261121-own-000000000001";
/// Uploaded by Bob.
const OTHER: &str = "20261121-other-000000000002";
/// Uploaded by Bob; Ada is a reviewer.
const NAMED: &str = "20261121-named-000000000003";
/// Uploaded by Bob; another person is a reviewer.
const NOT_NAMED: &str = "20261121-not-named-000000000004";
const RUNS: [&str; 4] = [OWN, OTHER, NAMED, NOT_NAMED];

struct Deployment {
    router: Router,
    work: WorkBucket,
    ledger: Arc<SqliteLedger>,
    _directory: TempDir,
}

impl Deployment {
    async fn new() -> Deployment {
        let directory = tempfile::tempdir().unwrap();
        let bucket = |name: &str| Bucket {
            name: name.into(),
            path: directory.path().join(name),
            versioned: false,
        };
        let objects: Arc<dyn Objects> =
            Arc::new(DirObjects::open(vec![bucket(WORK), bucket("inbox")]).unwrap());
        let ledger = Arc::new(SqliteLedger::open(directory.path()).unwrap());
        let work = WorkBucket::new(WORK, objects.clone());
        for id in RUNS {
            run(&ledger, &work, id).await;
        }
        let public = Api {
            work: work.clone(),
            link_key: LinkKey::new(vec![7; 32]).unwrap(),
            mailer: Arc::new(Sender::default()),
            identity: "example.com".into(),
            sender: Default::default(),
        };
        let service = Service {
            work: work.clone(),
            inbox: WorkBucket::new("inbox", objects),
            runs: ledger.clone(),
            outcomes: ledger.clone(),
            host: Arc::new(Idle),
            background: None,
            topic: Arc::new(Idle),
            reviews: ledger.clone(),
            submitters: ledger.clone(),
            tiers: CurrentTiers::new(public.work.clone()),
            indexes: Indexes::default(),
            rates: Rates::default(),
        };
        let access = ClaimsAccess {
            role: "cognito:groups".into(),
            name: "email".into(),
            sign_in: None,
            sites: Vec::new(),
        };
        Deployment {
            work,
            ledger: ledger.clone(),
            router: deployed_router(Arc::new(public), Arc::new(service), &access),
            _directory: directory,
        }
    }

    /// The status and the body of a request of Ada with a role; without a role, of nobody.
    async fn ask(&self, role: Option<&str>, method: &str, path: &str) -> (u16, Value) {
        let authorizer = role.map(|role| {
            let claims = json!({ "cognito:groups": format!("[{role}]"), "email": ADA });
            json!({ "jwt": { "claims": claims, "scopes": null } })
        });
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut payload = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": { "content-type": "application/json", "host": "api.example.com" },
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "a",
                "domainName": "api.example.com",
                "domainPrefix": "api",
                "http": {
                    "method": method.to_uppercase(),
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": "test",
                },
                "requestId": "r",
                "routeKey": "$default",
                "stage": "$default",
                "time": "21/Nov/2026:09:31:44 +0000",
                "timeEpoch": 1_795_253_504_902_u64,
            },
            "body": body(path).to_string(),
            "isBase64Encoded": false,
        });
        if let Some(authorizer) = authorizer {
            payload["requestContext"]["authorizer"] = authorizer;
        }
        let cx = Invocation {
            owner: "r".into(),
            now: Utc::now(),
        };
        let answer = invoke(&self.router, &payload, &cx).await.unwrap().unwrap();
        let status = answer["statusCode"].as_u64().unwrap() as u16;
        let text = answer["body"].as_str().unwrap_or_default();
        (status, serde_json::from_str(text).unwrap_or(Value::Null))
    }
}

/// A run that has ended, with its archived manifest.
async fn run(ledger: &SqliteLedger, work: &WorkBucket, id: &str) {
    let id: RunId = id.parse().unwrap();
    let now = Utc::now();
    let source = UploadSource {
        bucket: "inbox".into(),
        key: format!("{}/a.csv", id.pipeline()),
        version: "1".into(),
        size: 1,
        uploaded: now,
    };
    let reviewer = match id.as_str() {
        NAMED => Some(ADA),
        NOT_NAMED => Some("eve@example.com"),
        _ => None,
    };
    let mut toml = "[[step]]\nkind = \"sentiment\"\ncolumn = \"text\"\n".to_owned();
    if let Some(reviewer) = reviewer {
        toml += &format!("[[review]]\ncolumn = \"sa_class\"\nreviewers = [\"{reviewer}\"]\n");
    }
    let manifest = json!({
        "version": MANIFEST_VERSION, "run": id, "source": source, "created": now,
        "pipeline": id.pipeline(), "pipeline_toml": toml, "sheet": "a", "columns": [], "chunks": [],
        "phases": 1, "rows_in": 0, "records": 0, "rejected": {},
    });
    let archive = ArchiveInfo {
        v: ARCHIVE_VERSION,
        started: now,
        finished: now,
        reasons: Vec::new(),
        manifest: serde_json::from_value(manifest).unwrap(),
    };
    let json = serde_json::to_vec(&archive).unwrap();
    let put = Put::default();
    work.put(&keys::about(&id), json.into(), put).await.unwrap();
    let mut item = RunItem::new(id.clone(), source, now);
    item.state = RunState::Delivered;
    item.cleaned = Some(now);
    item.owner = Some(if id.as_str() == OWN { ADA } else { BOB }.to_owned());
    assert!(ledger.create_run(&item).await.unwrap());
}

/// A valid body for a route.
fn body(path: &str) -> Value {
    let pipeline = BUILT_IN[0].0;
    let upload = "0".repeat(32);
    match path.rsplit('/').next().unwrap() {
        "uploads" => json!({ "file": "a.csv", "pipeline": pipeline, "size": 1 }),
        "preview" | "runs" => json!({ "upload": upload, "pipeline": pipeline }),
        "override" => json!({ "value": "x" }),
        "reviews" => json!({ "verdicts": [{ "row": 2, "verdict": "approve" }] }),
        "tier" => json!({ "tier": "free" }),
        "filter" => json!({ "verdict": "approve" }),
        "predict" => json!({ "pipeline": pipeline, "text": "x" }),
        "feedback" => {
            json!({ "pipeline": pipeline, "text": "x", "prediction": "x", "verdict": "approve" })
        }
        _ => json!({}),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// 401
    SignIn,
    /// 403
    Refused,
    /// 404, as if there were no such run
    Hidden,
    /// Anything else: it is not about access.
    Allowed,
}
use Access::{Allowed, Hidden, Refused, SignIn};

/// What the table says.
fn expected(role: Option<&str>, method: &str, path: &str, run: &str) -> Access {
    let Some(role) = role else { return SignIn };
    let (is_viewer, is_operator) = (role == "viewer", role == "operator");
    if is_operator {
        return Allowed;
    }
    let sees = match role {
        "reviewer" => [OWN, NAMED].contains(&run),
        _ => run == OWN,
    };
    let readable = if sees { Allowed } else { Hidden };
    match (method, path) {
        ("get", "/session" | "/pipelines" | "/runs") | ("post", "/predict") => Allowed,
        ("get", "/feedback") | ("post", "/feedback") => match is_viewer {
            true => Refused,
            false => Allowed,
        },
        ("get", path) if path.starts_with("/runs/{run}") => readable,
        // Verdicts.
        (_, path) if path.contains("/rows/") || path.contains("/reviews") => match is_viewer {
            true => Refused,
            false => readable,
        },
        // Starting, stopping, repeating and deleting.
        _ => Refused,
    }
}

#[tokio::test]
async fn every_route_answers_those_that_the_table_says() {
    let mut seen = 0;
    for role in [None, Some("viewer"), Some("reviewer"), Some("operator")] {
        for run in RUNS {
            let deployment = Deployment::new().await;
            // The run is deleted last.
            let mut routes = ROUTES.to_vec();
            routes.sort_by_key(|route| *route == ("delete", "/runs/{run}"));
            for (method, route) in routes {
                let path = route
                    .replace("{run}", run)
                    .replace("{row}", "2")
                    .replace("{address}", BOB);
                let mut path = path.replace("{id}", "none");
                if (method, route) == ("get", "/feedback") {
                    path += &format!("?pipeline={}", BUILT_IN[0].0);
                }
                let (status, body) = deployment.ask(role, method, &path).await;
                assert!(status < 500, "{method} {path}: {body}");
                let detail = body["detail"].as_str().unwrap_or_default();
                let access = match status {
                    401 => SignIn,
                    403 => Refused,
                    404 if detail.starts_with("There is no run") => Hidden,
                    _ => Allowed,
                };
                let wanted = expected(role, method, route, run);
                assert_eq!(access, wanted, "{role:?} {method} {path}: {status} {body}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, ROUTES.len() * 16);
}

#[tokio::test]
async fn an_operator_gives_a_submitter_a_tier_of_the_file() {
    let deployment = Deployment::new().await;
    let path = "/submitters/BOB@example.com/tier";
    let operator = Some("operator");
    let (status, body) = deployment.ask(operator, "put", path).await;
    assert_eq!(status, 409, "without a file: {body}");

    let deployment = Deployment::new().await;
    let file = "default = \"free\"\n[tier.free]\n".as_bytes();
    let put = deployment
        .work
        .put(keys::TIERS, file.into(), Put::default());
    put.await.unwrap();
    for _ in 0..2 {
        let (status, body) = deployment.ask(operator, "put", path).await;
        assert_eq!((status, &body["submitter"]), (200, &json!(BOB)), "{body}");
    }
    let bob = BOB.parse().unwrap();
    let given = deployment.ledger.given_tier(&bob).await.unwrap();
    assert_eq!(given.unwrap().name, "free");
    let (status, body) = deployment
        .ask(operator, "put", "/submitters/bob/tier")
        .await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn a_list_has_only_the_runs_that_the_caller_may_read() {
    let deployment = Deployment::new().await;
    for (role, count) in [("viewer", 1), ("reviewer", 2), ("operator", 4)] {
        let (status, body) = deployment.ask(Some(role), "get", "/runs?limit=1").await;
        assert_eq!(status, 200, "{body}");
        let mut found = body["runs"].as_array().unwrap().len();
        let mut next = body["next"].as_str().map(str::to_owned);
        while let Some(after) = next {
            let path = format!("/runs?limit=1&after={after}");
            let (_, body) = deployment.ask(Some(role), "get", &path).await;
            found += body["runs"].as_array().unwrap().len();
            next = body["next"].as_str().map(str::to_owned);
        }
        assert_eq!(found, count, "{role}");
    }
    // What needs no sign-in has no data.
    for path in [
        "/",
        "/docs",
        "/openapi.json",
        "/assets/app.js",
        "/health",
        "/sign-in",
    ] {
        assert_eq!(deployment.ask(None, "get", path).await.0, 200, "{path}");
    }
    for path in ["/runs/", "/nothing", "/uploads/0"] {
        let (status, _) = deployment.ask(None, "get", path).await;
        assert!([401, 404, 405].contains(&status), "{path} {status}");
    }
}
