//! Answers that a source splits into pages.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;

/// A pipeline with the given `pages` key.
fn pipeline(url: &str, pages: &str) -> String {
    format!(
        r#"
[[step]]
kind = "http"
url = "{url}"
attempts = 1
allow_hosts = ["127.0.0.1"]
[step.outputs]
owner = {{ json = "$.owner" }}
parcels = {{ json = "$.parcels[*].no", all = true }}
[step.pages]
{pages}
"#
    )
}

fn names(names: &[&str]) -> Book {
    Book::new(&["Name"], names.iter().map(|name| vec![*name]))
}

#[test]
fn linked_pages_become_one_answer_and_too_many_pages_are_reported() {
    // `ada` has three pages, `bob` one and `cyd` four; the second page of `dan` is missing.
    let source = Source::start(|path, _| {
        let (name, page) = path[1..].split_once("?after=").unwrap_or((&path[1..], "1"));
        let page: u32 = page.parse().unwrap();
        let pages = match name {
            "ada" => 3,
            "bob" => 1,
            "cyd" => 4,
            _ if page == 1 => 2,
            _ => return Answer::Status(404, vec![]),
        };
        let next = match page < pages {
            true => format!(r#","next":"?after={}""#, page + 1),
            false => String::new(),
        };
        Answer::Json(format!(
            r#"{{"owner":"{name} {page}","parcels":[{{"no":{page}0}},{{"no":{page}1}}]{next}}}"#
        ))
    });
    let url = format!("{}/{{{{ row.Name }}}}", source.url());
    let job = Job::new(
        &names(&["ada", "bob", "cyd", "dan"]),
        &pipeline(&url, "next = { json = \"$.next\" }\nmax = 3"),
    );
    let ran = job.run(&[]).expect(3);
    assert_eq!(
        (&ran.json["ok"], &ran.json["failed"]),
        (&3.into(), &1.into())
    );
    let result = job.result();
    assert_eq!(result.texts("status"), ["ok", "ok", "ok", "failed"]);
    // A single value comes from the first page, a list from all pages.
    assert_eq!(result.texts("owner"), ["ada 1", "bob 1", "cyd 1", ""]);
    let three = "10; 11; 20; 21; 30; 31";
    assert_eq!(result.texts("parcels"), [three, "10; 11", three, ""]);
    let errors = result.texts("error");
    assert_eq!(errors[..2], ["", ""]);
    assert_eq!(
        errors[2],
        "step 1 (http): only the first 3 pages were read, and there are more; increase `max` in \
         [step.pages]"
    );
    assert!(
        errors[3].contains("page 2: GET ") && errors[3].contains("404"),
        "{}",
        errors[3]
    );
    let hits = source.hits();
    assert_eq!(hits.len(), 3 + 1 + 3 + 2, "{hits:?}");
    assert!(hits.values().all(|n| *n == 1), "{hits:?}");
}

#[test]
fn numbered_pages_end_at_the_first_empty_or_missing_page() {
    // After the last page, `ada` has an empty page and `bob` has no page; `cyd` has no last page.
    let source = Source::start(|path, _| {
        let (name, page) = path[1..].split_once("?year=2024&page=").unwrap();
        let page: u32 = page.parse().unwrap();
        match name {
            "ada" if page >= 2 => Answer::Json(r#"{"parcels":[]}"#.to_owned()),
            "bob" if page >= 3 => Answer::Status(404, vec![]),
            _ => Answer::Json(format!(
                r#"{{"owner":"{name}","parcels":[{{"no":{page}}}]}}"#
            )),
        }
    });
    let url = format!("{}/{{{{ row.Name }}}}?year=2024", source.url());
    let job = Job::new(
        &names(&["ada", "bob", "cyd"]),
        &pipeline(&url, "page = { query = \"page\", from = 0 }\nmax = 4"),
    );
    job.run(&[]).expect(0);
    let result = job.result();
    assert_eq!(result.texts("status"), ["ok", "ok", "ok"]);
    assert_eq!(result.texts("parcels"), ["0; 1", "0; 1; 2", "0; 1; 2; 3"]);
    let errors = result.texts("error");
    assert_eq!(errors[..2], ["", ""]);
    assert!(
        errors[2].contains("only the first 4 pages were read, and there may be more"),
        "{}",
        errors[2]
    );
    assert_eq!(source.hits().len(), 3 + 4 + 4);
}
