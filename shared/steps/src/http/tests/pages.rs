//! Answers that are split into pages.

use rowmill_pipeline::{NextPage, Pages};

use super::*;

/// A step with pages, the first `due` and all `names`.
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
        absolute: false,
        optional: true,
    });
    step
}

fn number() -> NextPage {
    NextPage::Number {
        query: "page".into(),
        from: 1,
        step: 1,
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

/// Three pages: two names on each, one on the third, and `due` from the second on.
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
async fn cursors_are_followed_to_the_last_page() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
        "/list?k=1" => page(1, r#","cursor":"a b&c""#),
        "/list?k=1&after=a+b%26c" => page(2, r#","cursor":17"#),
        "/list?k=1&after=17" => page(3, r#","cursor":"""#),
        other => panic!("{other}"),
    })
    .await;
    let cursor = NextPage::Cursor {
        query: "after".into(),
        from: Extract::Json("$.cursor".into()),
    };
    let mut step = paged(&format!("{}/list?k=1", server.address), cursor, 10);
    assert_eq!(found(&run(&step, "1").await), (5.0, "a; b; c; d; e".into()));
    assert_eq!(server.requests().len(), 3);
    // A cursor that repeats ends the pages.
    let server = Server::start(|_, _| page(2, r#","cursor":"same""#)).await;
    step.url = Template::compile(&format!("{}/list", server.address)).unwrap();
    assert!(run(&step, "1").await.outputs.is_ok());
    assert_eq!(server.requests().len(), 2);
    for end in ["", r#","cursor":null"#, r#","cursor":false"#] {
        let server = Server::start(move |_, _| page(2, end)).await;
        step.url = Template::compile(&format!("{}/list", server.address)).unwrap();
        assert!(run(&step, "1").await.outputs.is_ok());
        assert_eq!(server.requests().len(), 1, "{end}");
    }
}

#[tokio::test]
async fn the_next_page_is_relative_to_the_base_of_the_page() {
    let html = |body: &str| reply("200 OK\r\nContent-Type: text/html", body);
    let server = Server::start(
        move |request, _| match request.line.split(' ').nth(1).unwrap() {
            "/list" => html("<base href='/sub/'><li>x</li><a class=next href=p2>n</a>"),
            "/sub/p2" => html("<li>y</li>"),
            other => panic!("{other}"),
        },
    )
    .await;
    let next = NextPage::Link(Extract::CssAttribute {
        selector: "a.next".into(),
        attribute: "href".into(),
    });
    let mut step = paged(&format!("{}/list", server.address), next, 10);
    step.outputs.truncate(1);
    step.outputs[0].from = Extract::CssAll("li".into());
    step.outputs[0].kind = None;
    let outputs = run(&step, "1").await.outputs.unwrap();
    assert_eq!(outputs, [("due".into(), "x; y".into())]);
}

#[tokio::test]
async fn offsets_grow_by_the_size_of_a_page() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
        "/list?limit=2&offset=0" => page(1, ""),
        "/list?limit=2&offset=2" => page(2, ""),
        "/list?limit=2&offset=4" => page(3, ""),
        "/list?limit=2&offset=6" => page(4, ""),
        other => panic!("{other}"),
    })
    .await;
    let offset = NextPage::Number {
        query: "offset".into(),
        from: 0,
        step: 2,
    };
    let step = paged(&format!("{}/list?limit=2", server.address), offset, 10);
    assert_eq!(found(&run(&step, "1").await), (5.0, "a; b; c; d; e".into()));
}

#[tokio::test]
async fn links_are_followed_to_the_last_page() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
        "/list?k=1" => page(1, r#","next":"/list?p=2""#),
        "/list?p=2" => page(2, r#","next":"?p=3""#),
        _ => page(3, ""),
    })
    .await;
    let step = paged(&format!("{}/list?k=1", server.address), in_json(), 10);
    let result = run(&step, "1").await;
    assert_eq!(found(&result), (5.0, "a; b; c; d; e".into()));
    assert_eq!((result.attempts, result.notes.len()), (1, 0));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn the_link_header_names_the_next_page() {
    let server = Server::start(|request, _| {
        let next = |to: &str| {
            let link = format!("200 OK\r\nLink: <{to}>; rel=\"next\", </1>; rel=\"first\"");
            link
        };
        match request.line.split(' ').nth(1).unwrap() {
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
async fn a_next_page_that_is_not_an_address_is_an_error_and_null_or_false_ends() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
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
        let error = reason(run(&step, path).await);
        let expected = format!(
            "/{path}: `next` in [step.pages]: $.next is {found}, which is not a URL; \
             select the part that is one"
        );
        assert!(error.ends_with(&expected), "{error}");
    }
    for path in ["null", "false", "empty"] {
        let result = run(&step, path).await;
        assert_eq!(found(&result), (5.0, "c; d".into()), "{path}");
    }
}

#[tokio::test]
async fn numbered_pages_end_at_an_empty_page_a_404_or_a_repeated_page() {
    for end in ["empty", "404", "same", "204", "nothing"] {
        let server = Server::start(move |request, _| {
            let target = request.line.split(' ').nth(1).unwrap();
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
        assert_eq!(server.requests().len(), 4, "{end}");
    }
}

#[tokio::test]
async fn unread_pages_are_noted() {
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
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn circular_links_end() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
        "/" => page(2, r#","next":"/2""#),
        _ => page(1, r#","next":"/""#),
    })
    .await;
    let result = run(&paged(&server.address, in_json(), 100), "1").await;
    assert_eq!(found(&result), (5.0, "c; d; a; b".into()));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn pages_on_other_hosts_and_private_addresses_are_refused() {
    let other = Server::start(|_, _| page(3, "")).await;
    let to = other.port;
    let server = Server::start(move |request, _| {
        let next = match request.line.split(' ').nth(1).unwrap() {
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
        let error = reason(run(&step, path).await);
        assert!(error.contains("is on another host"), "{error}");
    }
    let pages = step.pages.as_mut().unwrap();
    pages.hosts = vec!["localhost".into(), "169.254.169.254".into()];
    step.allow_hosts.push("localhost".into());
    let error = reason(run(&step, "private").await);
    assert!(
        error.contains("page 2: ") && error.contains("not a public address"),
        "{error}"
    );
    let result = run(&step, "other").await;
    assert_eq!(found(&result), (1.0, "e".into()));
    assert!(
        !other.requests()[0].headers.contains_key("x-key"),
        "headers are not sent to another host"
    );
}

#[tokio::test]
async fn a_failed_page_or_a_missing_output_fails_the_record() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
        "/gone" => page(1, r#","next":"/none""#),
        "/incomplete" => page(1, ""),
        _ => reply("404 Not Found", ""),
    })
    .await;
    let step = paged(
        &format!("{}/{{{{ row['ID'] }}}}", server.address),
        in_json(),
        5,
    );
    let error = reason(run(&step, "gone").await);
    assert!(
        error.starts_with("page 2: GET ") && error.contains("404"),
        "{error}"
    );
    let error = reason(run(&step, "incomplete").await);
    assert!(
        error.contains("`due`: $.due has no value on any page (pages read: 1)"),
        "{error}"
    );
}
