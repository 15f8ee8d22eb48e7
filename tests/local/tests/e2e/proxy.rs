//! HTTP proxies and private certificate authorities.

use rowmill_tests_local::program::{Job, Ran};
use rowmill_tests_local::proxy::Proxy;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;

const PASSWORD: &str = "p w/1";

/// A pipeline that requests `row.Url`, with additional keys of the step.
fn pipeline(keys: &str) -> String {
    format!(
        r#"
secrets = ["PROXY"]
[[step]]
kind = "http"
url = "{{{{ row.Url }}}}"
headers = {{ X-Proxy = "{{{{ secret('PROXY') }}}}" }}
timeout = "5s"
attempts = 1
{keys}
[step.outputs]
due = {{ json = "$.due", type = "number" }}
[batch]
concurrency = 4
"#
    )
}

/// The key `proxy`, with a host name that resolves to a private address.
fn through(proxy: &Proxy) -> String {
    let user = "me:{{ secret('PROXY') | urlencode }}";
    format!("proxy = \"http://{user}@localhost:{}\"", proxy.port())
}

fn run(urls: &[String], pipeline: &str) -> (Job, Ran) {
    let job = Job::new(
        &Book::new(&["Url"], urls.iter().map(|url| vec![url.as_str()])),
        pipeline,
    );
    let mut command = job.command(&[]);
    command.env("ROWMILL_SECRET_PROXY", PASSWORD);
    let ran = Ran::from(command.output().unwrap());
    (job, ran)
}

/// The request lines that the proxy received, except those for robots.txt.
fn targets(proxy: &Proxy) -> Vec<String> {
    let requests = proxy.requests();
    let first = requests.iter().map(|lines| &lines[0]);
    let mut first: Vec<String> = first.filter(|l| !l.contains("robots")).cloned().collect();
    first.sort_unstable();
    first
}

#[test]
fn a_source_behind_a_proxy_is_reached_and_private_addresses_are_still_refused() {
    let source = Source::start(|path, _| match path {
        "/moved" => Answer::Status(
            302,
            vec![("location".into(), "http://169.254.169.254/latest/".into())],
        ),
        path => Answer::Json(format!(r#"{{"due":{}}}"#, path.len())),
    });
    let proxy = Proxy::start([("tax.internal", source.address())]);
    let urls = [
        "http://tax.internal/1".to_owned(),
        "http://tax.internal:8080/parcels/2".to_owned(),
        "http://tax.internal/moved".to_owned(),
        "http://169.254.169.254/latest/".to_owned(),
        // The addresses of the source and of the proxy, instead of the name that the proxy resolves.
        format!("{}/1", source.url()),
        format!("http://127.0.0.1:{}/", proxy.port()),
        "http://elsewhere.internal/1".to_owned(),
    ];
    let (job, ran) = run(&urls, &pipeline(&through(&proxy)));
    ran.expect(3);
    let result = job.result();
    assert_eq!(result.texts("due"), ["2", "10", "", "", "", "", ""]);
    let errors = result.texts("error");
    for refused in &errors[2..6] {
        assert!(refused.contains("is not a public address"), "{refused}");
    }
    assert!(errors[6].contains("502 Bad Gateway"), "{}", errors[6]);
    // Refused requests do not reach the proxy.
    let get = |url: &str| format!("GET {url} HTTP/1.1");
    assert_eq!(
        targets(&proxy),
        [
            get("http://tax.internal/1"),
            get("http://tax.internal/moved"),
            get("http://tax.internal:8080/parcels/2"),
        ]
    );
    assert_eq!(source.hits().len(), 3);
    for lines in proxy.requests() {
        let basic = "proxy-authorization: Basic bWU6cCB3LzE=";
        assert!(lines.iter().any(|l| l == basic), "{lines:?}");
    }
}

#[test]
fn a_private_certificate_authority_is_trusted_if_the_pipeline_names_it() {
    let (source, authority) = Source::start_tls("localhost", |path, _| {
        Answer::Json(format!(r#"{{"due":{}}}"#, path.len()))
    });
    let urls = [format!("https://localhost:{}/parcels/1", source.port())];
    let keys = "allow_hosts = [\"localhost\"]";
    let (job, ran) = run(&urls, &pipeline(keys));
    ran.expect(3);
    let error = job.result().texts("error").remove(0);
    assert!(
        error.contains("cannot connect: invalid peer certificate"),
        "{error}"
    );
    assert!(source.hits().is_empty());

    let keys = format!("{keys}\nca = \"\"\"\n{authority}\"\"\"");
    let (job, ran) = run(&urls, &pipeline(&keys));
    ran.expect(0);
    assert_eq!(job.result().texts("due"), ["10"]);
}

#[test]
fn a_proxy_tunnels_tls_and_does_not_see_the_requests() {
    let (source, authority) = Source::start_tls("tax.internal", |path, _| {
        Answer::Json(format!(r#"{{"due":{}}}"#, path.len()))
    });
    let proxy = Proxy::start([("tax.internal", source.address())]);
    let urls: Vec<String> = (0..20)
        .map(|n| format!("https://tax.internal/{n}"))
        .collect();
    let keys = format!("{}\nca = \"\"\"\n{authority}\"\"\"", through(&proxy));
    let (job, ran) = run(&urls, &pipeline(&keys));
    ran.expect(0);
    let due = job.result().texts("due");
    assert!(due[..10].iter().all(|due| due == "2") && due[10..].iter().all(|due| due == "3"));
    assert_eq!(source.hits().len(), 20);
    let requests = proxy.requests();
    assert!(
        (1..=20).contains(&requests.len()),
        "connections are reused: {} for 20 requests",
        requests.len()
    );
    for lines in requests {
        assert_eq!(lines[0], "CONNECT tax.internal:443 HTTP/1.1");
        let head = lines[1..].join("\n").to_lowercase();
        assert!(!head.contains("x-proxy"), "only the source gets it: {head}");
    }
}
