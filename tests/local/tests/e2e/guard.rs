//! Addresses that a value in a workbook must not reach.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;

fn pipeline(allow: &str) -> String {
    format!(
        r#"
[[step]]
kind = "http"
url = "{{{{ row.Url }}}}"
timeout = "2s"
attempts = 1
allow_hosts = [{allow}]
[step.outputs]
value = {{ json = "$.value", type = "number" }}
"#
    )
}

#[test]
fn private_and_local_addresses_fail_their_row_with_the_reason() {
    let source = Source::start(|_, _| Answer::Json("{\"value\": 1}".into()));
    let port = source.port();
    let urls = [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://169.254.170.2/v2/credentials".to_owned(),
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://10.0.0.1/".to_owned(),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::ffff:7f00:1]:{port}/"),
        "http://192.168.1.1/".to_owned(),
        format!("http://0.0.0.0:{port}/"),
        "file:///etc/passwd".to_owned(),
    ];
    let job = Job::new(
        &Book::new(&["Url"], urls.iter().map(|u| vec![u.as_str()])),
        &pipeline(""),
    );
    let ran = job.run(&[]).expect(3);
    assert_eq!(ran.json["failed"], urls.len());
    let result = job.result();
    for (url, error) in urls.iter().zip(result.texts("error")) {
        assert!(
            error.contains("allow_hosts") || error.contains("neither http nor https"),
            "{url}: {error}"
        );
    }
    assert!(source.hits().is_empty(), "{:?}", source.hits());
}

#[test]
fn a_redirect_to_a_private_address_is_refused_unless_the_host_is_allowed() {
    let inner = Source::start(|_, _| Answer::Json("{\"value\": 7}".into()));
    let to = inner.port();
    let outer = Source::start(move |path, _| {
        let to = match path {
            "/metadata" => "http://169.254.169.254/".to_owned(),
            "/loopback" => format!("http://[::1]:{to}/"),
            "/decimal" => format!("http://2130706434:{to}/"),
            _ => format!("http://127.0.0.1:{to}/"),
        };
        Answer::Status(302, vec![("location".into(), to)])
    });
    let urls =
        ["/metadata", "/loopback", "/decimal", "/allowed"].map(|p| format!("{}{p}", outer.url()));
    let book = Book::new(&["Url"], urls.iter().map(|u| vec![u.as_str()]));
    let job = Job::new(&book, &pipeline("\"127.0.0.1\""));
    job.run(&[]).expect(3);
    let result = job.result();
    assert_eq!(result.texts("status"), ["failed", "failed", "failed", "ok"]);
    assert_eq!(result.texts("value"), ["", "", "", "7"]);
    assert_eq!(inner.hits().values().sum::<u32>(), 1);
}
