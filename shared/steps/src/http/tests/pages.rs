//! Answers in several pages.

use rowmill_pipeline::{NextPage, Pages};

use super::*;

/// A step whose answer goes on as `next` says, with the first `due` and all `names`.
fn paged(url: &str, next: NextPage, max: u32) -> HttpStep {
    let mut step = step(url);
    step.pages = Some(Pages {
        next,
        max,
        hosts: Vec::new(),
    });
    step.outputs.push(HttpOutput {
        name: "names".into(),
        from: Extract::JsonAll("$.items[*].name".into()),
        kind: None,
        optional: true,
    });
    step
}

fn number() -> NextPage {
    NextPage::Number {
        query: "page".into(),
        from: 1,
    }
}

fn in_json() -> NextPage {
    NextPage::Link(Extract::Json("$.next".into()))
}

fn found(result: &StepResult) -> (f64, String) {
    let outputs = result.outputs.as_ref().unwrap();
    let (Value::Number(due), names) = (&outputs[0].1, outputs[1].1.to_text()) else {
        panic!("{outputs:?}")
    };
    (*due, names)
}

/// Three pages: `due` on the second, two names on each, the third with one.
fn page(n: u32, next: &str) -> Reply {
    let body = match n {
        1 => format!(r#"{{"items":[{{"name":"a"}},{{"name":"b"}}]{next}}}"#),
        2 => format!(r#"{{"due":5,"items":[{{"name":"c"}},{{"name":"d"}}]{next}}}"#),
        3 => r#"{"due":6,"items":[{"name":"e"}]}"#.to_owned(),
        _ => r#"{"items":[]}"#.to_owned(),
    };
    reply("200 OK", &body)
}

#[tokio::test]
async fn links_are_followed_to_the_last_page() {
    let server = Server::start(|asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/list?k=1" => page(1, r#","next":"/list?p=2""#),
        "/list?p=2" => page(2, r#","next":"?p=3""#),
        _ => page(3, ""),
    })
    .await;
    let step = paged(&format!("{}/list?k=1", server.address), in_json(), 10);
    let result = run(&step, "1").await;
    assert_eq!(found(&result), (5.0, "a; b; c; d; e".into()));
    assert_eq!((result.attempts, result.notes.len()), (1, 0));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn the_link_header_says_which_is_the_next() {
    let server = Server::start(|asked, _| {
        let next = |to: &str| {
            let link = format!("200 OK\r\nLink: <{to}>; rel=\"next\", </1>; rel=\"first\"");
            link
        };
        match asked.line.split(' ').nth(1).unwrap() {
            "/" => reply(&next("/2"), r#"{"due":1,"items":[{"name":"a"}]}"#),
            _ => reply("200 OK", r#"{"items":[{"name":"b"}]}"#),
        }
    })
    .await;
    let link = NextPage::Link(Extract::Header("link".into()));
    let result = run(&paged(&server.address, link, 10), "1").await;
    assert_eq!(found(&result), (1.0, "a; b".into()));
}

#[tokio::test]
async fn what_is_no_address_is_told_and_what_says_that_there_is_none_is_not() {
    let server = Server::start(|asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/object" => page(2, r#","next":{"href":"/2"}"#),
        "/number" => page(2, r#","next":2"#),
        "/null" => page(2, r#","next":null"#),
        "/false" => page(2, r#","next":false"#),
        "/empty" => page(2, ",\"next\":\"\""),
        _ => reply("404 Not Found", ""),
    })
    .await;
    let step = paged(
        &format!("{}/{{{{ row['ID'] }}}}", server.address),
        in_json(),
        5,
    );
    for (path, found) in [("object", r#"{"href":"/2"}"#), ("number", "2")] {
        let told = reason(run(&step, path).await);
        let expected = format!(
            "/{path}: `next` in [step.pages]: $.next gives {found}, which is no address; name \
             the part that is one"
        );
        assert!(told.ends_with(&expected), "{told}");
    }
    for path in ["null", "false", "empty"] {
        let result = run(&step, path).await;
        assert_eq!(found(&result), (5.0, "c; d".into()), "{path}");
    }
}

#[tokio::test]
async fn numbers_end_at_an_empty_page_at_a_404_and_at_the_same_page_again() {
    for end in ["empty", "404", "same", "204", "nothing"] {
        let server = Server::start(move |asked, _| {
            let target = asked.line.split(' ').nth(1).unwrap();
            let n: u32 = target.rsplit_once("k=1&page=").unwrap().1.parse().unwrap();
            match (n, end) {
                (1..=3, _) => page(n, ""),
                (_, "404") => reply("404 Not Found", "no such page"),
                (_, "same") => page(3, ""),
                (_, "204") => reply("204 No Content", ""),
                (_, "nothing") => reply("200 OK", ""),
                _ => page(n, ""),
            }
        })
        .await;
        let step = paged(&format!("{}/?k=1", server.address), number(), 10);
        let result = run(&step, "1").await;
        assert_eq!(found(&result), (5.0, "a; b; c; d; e".into()), "{end}");
        assert_eq!(result.notes.len(), 0, "{end}");
        assert_eq!(server.asked().len(), 4, "{end}");
    }
}

#[tokio::test]
async fn pages_beyond_the_limit_are_told() {
    let server = Server::start(|_, before| {
        let body = format!(r#"{{"due":1,"items":[{{"name":"{before}"}}],"next":"/{before}"}}"#);
        reply("200 OK", &body)
    })
    .await;
    for (next, word) in [
        (in_json(), "there are more"),
        (number(), "there may be more"),
    ] {
        let result = run(&paged(&server.address, next, 3), "1").await;
        assert!(result.outputs.is_ok());
        assert!(result.notes[0].contains("first 3 pages"), "{result:?}");
        assert!(result.notes[0].contains(word), "{result:?}");
    }
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn links_in_a_circle_end() {
    let server = Server::start(|asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/" => page(2, r#","next":"/2""#),
        _ => page(1, r#","next":"/""#),
    })
    .await;
    let result = run(&paged(&server.address, in_json(), 100), "1").await;
    assert_eq!(found(&result), (5.0, "c; d; a; b".into()));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn another_host_and_a_private_address_are_refused() {
    let other = Server::start(|_, _| page(3, "")).await;
    let to = other.port;
    let server = Server::start(move |asked, _| {
        let next = match asked.line.split(' ').nth(1).unwrap() {
            "/other" => format!("http://localhost:{to}/"),
            _ => "http://169.254.169.254/".to_owned(),
        };
        reply("200 OK", &format!(r#"{{"due":1,"next":"{next}"}}"#))
    })
    .await;
    let mut step = paged(
        &format!("{}/{{{{ row['ID'] }}}}", server.address),
        in_json(),
        5,
    );
    step.headers = vec![("X-Key".into(), Template::compile("k").unwrap())];
    for path in ["other", "private"] {
        let told = reason(run(&step, path).await);
        assert!(told.contains("is on another host"), "{told}");
    }
    let pages = step.pages.as_mut().unwrap();
    pages.hosts = vec!["localhost".into(), "169.254.169.254".into()];
    step.allow_hosts.push("localhost".into());
    let told = reason(run(&step, "private").await);
    assert!(
        told.contains("page 2: ") && told.contains("not a public address"),
        "{told}"
    );
    let result = run(&step, "other").await;
    assert_eq!(found(&result), (1.0, "e".into()));
    assert!(
        !other.asked()[0].headers.contains_key("x-key"),
        "not for others"
    );
}

#[tokio::test]
async fn a_page_that_fails_fails_the_record_and_a_missing_output_is_told() {
    let server = Server::start(|asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/gone" => page(1, r#","next":"/none""#),
        "/lacking" => page(1, ""),
        _ => reply("404 Not Found", ""),
    })
    .await;
    let step = paged(
        &format!("{}/{{{{ row['ID'] }}}}", server.address),
        in_json(),
        5,
    );
    let told = reason(run(&step, "gone").await);
    assert!(
        told.starts_with("page 2: GET ") && told.contains("404"),
        "{told}"
    );
    let told = reason(run(&step, "lacking").await);
    assert!(
        told.contains("`due`: $.due gives no value on any of 1 pages"),
        "{told}"
    );
}
