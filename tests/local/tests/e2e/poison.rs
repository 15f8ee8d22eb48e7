//! A bad record does not affect the results of other records.

use std::time::Duration;

use rowmill_tests_local::program::Job;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::{Book, Cell};

fn source() -> Source {
    Source::start(|path, before| match path {
        "/v/silent" => Answer::Silence(Duration::from_secs(60)),
        "/v/flaky" if before < 2 => Answer::Status(503, vec![]),
        "/v/throttled" if before == 0 => {
            Answer::Status(429, vec![("retry-after".into(), "1".into())])
        }
        "/v/gone" => Answer::Status(404, vec![]),
        path => Answer::Json(format!(
            "{{\"value\": {}, \"path\": \"{path}\"}}",
            path.len()
        )),
    })
}

#[test]
fn a_silent_source_a_crash_and_a_bad_url_fail_only_their_own_rows() {
    let source = source();
    let keys = [
        "a",
        "silent",
        "b",
        "flaky",
        "c",
        "gone",
        "d",
        "throttled",
        "e",
        "crash",
        "f",
        "bad url",
        "g",
    ];
    let rows = keys.iter().map(|k| {
        let url = match *k {
            "bad url" => "http://exa mple/".to_owned(),
            k => format!("{}/v/{k}", source.url()),
        };
        vec![Cell::from(*k), Cell::from(url)]
    });
    let pipeline = r#"
[[step]]
kind = "http"
url = "{{ row.Url }}"
timeout = "2s"
attempts = 3
allow_hosts = ["127.0.0.1"]
[step.outputs]
value = { json = "$.value", type = "number" }

[[step]]
kind = "command"
program = ["sh", "-c", '''while read -r line; do
case "$line" in *'"crash"'*) echo "out of cheese" >&2; exit 3;; esac
row=${line#*:}; row=${row%%,*}
echo "{\"row\":$row,\"outputs\":{\"seen\":\"yes\"}}"
done''']
outputs = ["seen"]

[[column]]
name = "big"
value = "value > 5"
"#;
    let job = Job::new(&Book::new(&["Key", "Url"], rows), pipeline);
    let ran = job.run(&[]).expect(3);
    assert_eq!(ran.json["state"], "delivered_with_errors");
    assert_eq!(ran.json["failed"], 4);
    assert_eq!(ran.json["ok"], keys.len() - 4);
    assert_eq!(job.mails(), 1);

    let result = job.result();
    assert_eq!(result.texts("Key"), keys);
    let (status, error) = (result.texts("status"), result.texts("error"));
    let (seen, big) = (result.texts("seen"), result.column("big"));
    for (i, key) in keys.iter().enumerate() {
        let expected = match *key {
            "silent" => Some("2s, "),
            "gone" => Some("404"),
            "crash" => Some("out of cheese"),
            "bad url" => Some("http://exa mple/"),
            _ => None,
        };
        match expected {
            Some(reason) => {
                assert_eq!(status[i], "failed", "{key}");
                assert!(error[i].contains(reason), "{key}: {}", error[i]);
                // A failed record has no derived value.
                assert!(big[i].is_null(), "{key}");
            }
            None => {
                assert_eq!((status[i].as_str(), error[i].as_str()), ("ok", ""), "{key}");
                assert_eq!(seen[i], "yes", "{key}");
                assert_eq!(big[i][0], "b", "{key}");
            }
        }
    }
    let attempts = result.texts("attempts");
    let at = |key: &str| keys.iter().position(|k| *k == key).unwrap();
    // At least, because attempts do not count against a record while the whole host fails, which
    // happens if a busy machine does not answer in time.
    for (key, least) in [("flaky", 3), ("throttled", 2), ("silent", 3)] {
        let reported: usize = attempts[at(key)].parse().unwrap();
        let asked = source.hits()[&format!("/v/{key}")] as usize;
        assert!(
            reported >= least && asked >= least,
            "{key}: {reported} attempts reported, {asked} requests"
        );
    }
    assert_eq!(attempts[at("gone")], "1");
    assert_eq!(source.hits()["/v/gone"], 1);
}

#[test]
fn a_failed_check_fails_its_row_and_a_warning_does_not() {
    let book = Book::new(
        &["n", "amount"],
        [
            vec![Cell::Number(1.0), Cell::Number(5.0)],
            vec![Cell::Number(2.0), Cell::Number(-5.0)],
            vec![Cell::Number(3.0), Cell::Empty],
            vec![Cell::Number(4.0), Cell::Number(500.0)],
        ],
    );
    let pipeline = r#"
[[check]]
rule = "row.amount >= 0"
on_failure = "fail"
[[check]]
rule = "row.amount < 100"
on_failure = "warn"
[[column]]
name = "half"
value = "row.amount / 2"
"#;
    let job = Job::new(&book, pipeline);
    job.run(&[]).expect(3);
    let result = job.result();
    assert_eq!(result.texts("status"), ["ok", "failed", "failed", "ok"]);
    assert_eq!(result.texts("half"), ["2.5", "", "", "250"]);
    let error = result.texts("error");
    assert!(error[1].contains("row.amount >= 0"), "{}", error[1]);
    assert!(error[2].contains("amount"), "{}", error[2]);
    assert!(error[3].contains("row.amount < 100"), "{}", error[3]);
}

#[test]
fn a_derived_column_of_a_missing_output_is_empty_and_says_why() {
    let source = Source::start(|path, _| match path {
        "/1" => Answer::Json("{\"due\": 10}".into()),
        "/2" => Answer::Json("{\"due\": null}".into()),
        _ => Answer::Json("{}".into()),
    });
    let rows = (1..=3).map(|i| vec![Cell::Number(f64::from(i))]);
    let pipeline = format!(
        r#"
[[step]]
kind = "http"
url = "{}/{{{{ row.n }}}}"
allow_hosts = ["127.0.0.1"]
[step.outputs]
due = {{ json = "$.due", type = "number", optional = true }}
[[column]]
name = "credit_worthy"
value = "due < 1000 ? 'yes' : 'no'"
"#,
        source.url()
    );
    let job = Job::new(&Book::new(&["n"], rows), &pipeline);
    job.run(&[]).expect(0);
    let result = job.result();
    assert_eq!(result.texts("credit_worthy"), ["yes", "", ""]);
    let error = result.texts("error");
    assert!(
        error[1].contains("credit_worthy") && error[1].contains("due"),
        "{}",
        error[1]
    );
    assert!(
        error[2].contains("credit_worthy") && error[2].contains("due"),
        "{}",
        error[2]
    );
}

#[test]
fn consecutive_bad_rows_do_not_fail_the_rows_after_them() {
    let source = Source::start(|path, _| match path {
        "/bad" => Answer::Status(500, vec![]),

        path => Answer::Json(format!("{{\"value\": {}}}", path.len())),
    });
    let good = |n: usize| std::iter::repeat_n("/good", n);
    let paths = good(5)
        .chain(std::iter::repeat_n("/bad", 3))
        .chain(good(30))
        .chain(["/bad", "/bad"]);
    let paths: Vec<_> = paths.collect();
    let rows = paths.iter().map(|p| vec![format!("{}{p}", source.url())]);
    let pipeline = r#"
[[step]]
kind = "http"
url = "{{ row.Url }}"
attempts = 2
allow_hosts = ["127.0.0.1"]
[step.outputs]
value = { json = "$.value", type = "number" }
[batch]
concurrency = 1
"#;
    let job = Job::new(&Book::new(&["Url"], rows), pipeline);
    let ran = job.run(&[]).expect(3);
    assert_eq!(
        (&ran.json["ok"], &ran.json["failed"]),
        (&35.into(), &5.into())
    );
    assert!(ran.json["seconds"].as_f64() < Some(30.0), "{}", ran.json);
    for (path, status) in paths.iter().zip(job.result().texts("status")) {
        assert_eq!(status == "ok", *path == "/good");
    }
    // The failure that opens the circuit breaker does not count against its row.
    let attempts = job.result().texts("attempts");
    assert!(
        attempts
            .iter()
            .all(|n| ["1", "2", "3"].contains(&n.as_str())),
        "{attempts:?}"
    );
}
