//! The API as the function runs it: requests of API Gateway with the claims of a person, S3, DynamoDB and
//! SNS from an emulator, and the real preview function.

mod ended;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use rowmill_aws::{S3Objects, SdkConfig, SignedPost};
use rowmill_ports::{Location, Objects, Put};
use rowmill_tests_aws::emulators::{self, Emulator};
use rowmill_tests_aws::runtime::Function;
use rowmill_tests_aws::{form, record, stack};
use rowmill_tests_local::program::built;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

const STACK: &str = "rowmill";
/// Names as the template gives them, so that CI finds the resources to which the role must have access.
pub(crate) const WORK: &str = "rowmill-work-1";
const INBOX: &str = "rowmill-inbox-1";
const KEY: &str = "rowmill-LinkKey-1";

const PIPELINE: &str = r#"
description = "Scores reviews."
[input]
required = ["text"]
[[step]]
kind = "sentiment"
column = "text"
"#;

/// The functions of the API and of previews, on an emulator.
pub(crate) struct Deployed {
    api: Function,
    pub(crate) config: SdkConfig,
    objects: S3Objects,
    aws: Emulator,
    calls: AtomicU32,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) headers: Value,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// Running functions.
struct Functions {
    enrich: Function,
    /// Another instance of the API, for invocations of its own.
    api: OnceCell<Function>,
}

impl Functions {
    /// Answers Lambda's Invoke: enrich at once, the API in the background.
    async fn invoke(
        State(functions): State<Arc<Functions>>,
        Path(name): Path<String>,
        body: String,
    ) -> (StatusCode, String) {
        let payload: Value = serde_json::from_str(&body).unwrap();
        let id = format!("{:032x}", rand::random::<u128>());
        if name == "rowmill-enrich" {
            let answer = functions.enrich.invoke(&id, &payload).await.unwrap();
            return (StatusCode::OK, answer.to_string());
        }
        tokio::spawn(async move {
            let api = functions.api.get().unwrap();
            api.invoke(&id, &payload).await.unwrap();
        });
        (StatusCode::ACCEPTED, String::new())
    }

    /// The address of the endpoint.
    async fn serve(functions: Arc<Functions>) -> String {
        let router = Router::new()
            .route(
                "/2015-03-31/functions/{name}/invocations",
                post(Functions::invoke),
            )
            .with_state(functions);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }
}

impl Deployed {
    pub(crate) async fn start() -> Deployed {
        let aws = Emulator::ministack();
        let config = aws.sdk_config();
        stack::bucket(&config, WORK, false).await;
        stack::bucket(&config, INBOX, true).await;
        stack::runs_table(&config, STACK).await;
        stack::reviews_table(&config, STACK).await;
        let topic = aws_sdk_sns::Client::new(&config).create_topic().name(STACK);
        let topic = topic.send().await.unwrap().topic_arn.unwrap();
        let secrets = aws_sdk_secretsmanager::Client::new(&config);
        let secret = secrets
            .create_secret()
            .name(KEY)
            .secret_string("7".repeat(64));
        secret.send().await.unwrap();

        let shared = emulators::environment(&[("", &aws)]);
        let set = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let pairs = pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            shared.iter().cloned().chain(pairs).collect()
        };
        let enrich = set(&[("ROWMILL_WORK_BUCKET", WORK)]);
        let functions = Arc::new(Functions {
            enrich: Function::start(&built("enrich-under-test"), &enrich).await,
            api: OnceCell::new(),
        });
        let lambda = Functions::serve(functions.clone()).await;
        let environment = set(&[
            (record::APP, "ApiFunction"),
            ("AWS_ENDPOINT_URL_LAMBDA", &lambda),
            ("ROWMILL_STACK", STACK),
            ("ROWMILL_WORK_BUCKET", WORK),
            ("ROWMILL_INBOX_BUCKET", INBOX),
            ("ROWMILL_TOPIC", &topic),
            ("ROWMILL_LINK_KEY", KEY),
            ("ROWMILL_IDENTITY", "example.com"),
            ("ROWMILL_IMAGE_FUNCTION", "rowmill-enrich"),
            ("ROWMILL_ROLE_CLAIM", "cognito:groups"),
            ("ROWMILL_NAME_CLAIM", "email"),
            ("ROWMILL_ISSUER", "https://issuer.example.com/pool"),
            ("ROWMILL_CLIENT", "page"),
            ("ROWMILL_SIGN_IN_SITES", "https://issuer.example.com"),
        ]);
        let objects = S3Objects::new(&config);
        let key = "pipelines/reviews.toml";
        let put = objects.put(WORK, key, PIPELINE.into(), Put::default());
        put.await.unwrap();
        let program = built("api-under-test");
        let background = Function::start(&program, &environment).await;
        assert!(functions.api.set(background).is_ok());
        Deployed {
            api: Function::start(&program, &environment).await,
            config,
            objects,
            aws,
            calls: AtomicU32::new(0),
        }
    }

    /// A request that API Gateway passed on, with the claims of a person or without.
    pub(crate) async fn ask(
        &self,
        who: Option<(&str, &str)>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let (raw, query) = path.split_once('?').unwrap_or((path, ""));
        let claims = who.map(|(email, group)| {
            json!({ "jwt": { "scopes": null, "claims": {
                "email": email, "email_verified": "true", "cognito:groups": format!("[{group}]")
            } } })
        });
        let context = json!({
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "authorizer": claims,
            "http": {
                "method": method, "path": raw, "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7", "userAgent": "test"
            },
            "requestId": "BkZ0bgJ0liAEMzQ=", "routeKey": "$default", "stage": "$default",
            "time": "21/Nov/2026:09:31:44 +0000", "timeEpoch": 1_795_253_504_902_u64
        });
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": raw, "rawQueryString": query,
            "headers": {
                "content-type": "application/json", "host": "a1b2c3d4e5", "accept": "*/*"
            },
            "requestContext": context,
            "body": if body.is_null() { Value::Null } else { json!(body.to_string()) },
            "isBase64Encoded": false
        });
        let id = format!("request-{}", self.calls.fetch_add(1, Ordering::SeqCst));
        let answer = self.api.invoke(&id, &event).await.unwrap();
        Answer {
            status: answer["statusCode"].as_u64().unwrap(),
            headers: answer["headers"].clone(),
            text: answer["body"].as_str().unwrap_or_default().to_owned(),
        }
    }

    async fn operator(&self, method: &str, path: &str, body: &Value) -> Answer {
        let who = Some(("ada@example.com", "operator"));
        self.ask(who, method, path, body).await
    }

    /// Uploads a file as the page does. Returns the upload.
    async fn upload(&self, file: &str, content: &[u8]) -> String {
        let new = json!({ "file": file, "pipeline": "reviews", "size": content.len() });
        let made = self.operator("POST", "/uploads", &new).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let fields = made["fields"].as_object().unwrap().iter();
        let post = SignedPost {
            url: made["url"].as_str().unwrap().to_owned(),
            fields: fields
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
        };
        assert_eq!(post.url, format!("{}/{WORK}/", self.aws.url()));
        let status = form::send(&post, file, content).await;
        assert!((200..300).contains(&status), "{status}");
        made["upload"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_the_role_in_their_claims() {
    let d = Deployed::start().await;
    for path in ["/session", "/runs", "/pipelines"] {
        let answer = d.ask(None, "GET", path, &Value::Null).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    let stranger = Some(("eve@example.com", "guests"));
    assert_eq!(
        d.ask(stranger, "GET", "/runs", &Value::Null).await.status,
        403
    );
    let viewer = Some(("vic@example.com", "viewer"));
    let session = d.ask(viewer, "GET", "/session", &Value::Null).await;
    assert_eq!(
        session.json(),
        json!({ "name": "vic@example.com", "role": "viewer", "local": false })
    );
    let new = json!({ "file": "a.csv", "pipeline": "reviews", "size": 1 });
    assert_eq!(d.ask(viewer, "POST", "/uploads", &new).await.status, 403);

    // Nobody needs to sign in for the page, which may call the bucket and the issuer.
    let page = d.ask(None, "GET", "/", &Value::Null).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<title>Rowmill</title>"), "{page:?}");
    let policy = page.headers["content-security-policy"].as_str().unwrap();
    let sites = format!(
        "connect-src 'self' https://issuer.example.com {};",
        d.aws.url()
    );
    assert!(policy.contains(&sites), "{policy}");
    let script = d.ask(None, "GET", "/assets/app.js", &Value::Null).await;
    assert_eq!(script.status, 200);
    let sign_in = d.ask(None, "GET", "/sign-in", &Value::Null).await.json();
    assert_eq!(
        sign_in["sign_in"],
        json!({ "issuer": "https://issuer.example.com/pool", "client": "page" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_goes_to_s3_by_a_form_and_starts_one_run() {
    let d = Deployed::start().await;
    let content = "id,text\n1,I love it\n2,I hate it\n3,\n".as_bytes();
    let upload = d.upload("f\u{fc}r Ana.csv", content).await;

    let asked = json!({ "upload": upload, "pipeline": "reviews", "limit": 5 });
    let preview = d.operator("POST", "/preview", &asked).await.json();
    assert_eq!(preview["problem"], Value::Null, "{preview}");
    assert_eq!(
        (&preview["records"], &preview["rejected"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(preview["rows"][0]["row"], 2);
    assert_eq!(
        preview["rows"][1]["values"]["sa_class"], "negative",
        "{preview}"
    );

    let start = json!({ "upload": upload, "pipeline": "reviews" });
    let (first, second) = tokio::join!(
        d.operator("POST", "/runs", &start),
        d.operator("POST", "/runs", &start)
    );
    assert_eq!(
        (first.status, second.status),
        (202, 202),
        "{first:?} {second:?}"
    );
    let run = first.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(second.json()["run"], *run);
    // The workbook is in the inbox once, for whoever uploaded it.
    let client = stack::client(&d.config);
    let versions = client.list_object_versions().bucket(INBOX).send().await;
    let versions = versions.unwrap();
    let keys: Vec<_> = versions.versions().iter().filter_map(|v| v.key()).collect();
    assert_eq!(keys, [format!("reviews/{upload}/f\u{fc}r Ana.csv")]);
    let copy = d
        .objects
        .head(&Location::new(INBOX, keys[0]))
        .await
        .unwrap();
    assert_eq!(copy.size, content.len() as u64);
    assert_eq!(copy.metadata["notify"], "ada@example.com");
    assert_eq!(copy.metadata["submitter"], "ada@example.com");

    let shown = d
        .operator("GET", &format!("/runs/{run}"), &Value::Null)
        .await;
    assert_eq!(shown.json()["state"], "splitting", "{shown:?}");
    let listed = d
        .operator("GET", "/runs?limit=1", &Value::Null)
        .await
        .json();
    assert_eq!(listed["runs"][0]["file"], "f\u{fc}r Ana.csv", "{listed}");
    for _ in 0..2 {
        let cancel = format!("/runs/{run}/cancel");
        let answer = d.operator("POST", &cancel, &json!({})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let late = d
        .operator("POST", &format!("/runs/{run}/retry"), &json!({}))
        .await;
    assert_eq!(late.status, 409, "{late:?}");

    // An upload is for the pipeline that its form fixes.
    let other = json!({ "upload": upload, "pipeline": "names" });
    let refused = d.operator("POST", "/runs", &other).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}
