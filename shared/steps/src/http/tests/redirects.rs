//! Redirects.

use super::*;

#[tokio::test]
async fn redirects_are_followed_up_to_a_limit() {
    let server = Server::start(|request, _| match request.line.split(' ').nth(1).unwrap() {
        "/start" => reply("302 Found\r\nLocation: /end?x=1", ""),
        "/kept" => reply("307 Temporary Redirect\r\nLocation: /end", ""),
        "/loop" => reply("301 Moved Permanently\r\nLocation: /loop", ""),
        "/bad" => reply("301 Moved Permanently\r\nLocation: http://[", ""),
        _ => reply("200 OK", r#"{"due":2}"#),
    })
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.method = HttpMethod::Post;
    step.body = Some(Template::compile("text").unwrap());
    assert_eq!(run(&step, "start").await, due(2.0, 1));
    assert_eq!(run(&step, "kept").await, due(2.0, 1));
    let requests = server.requests();
    assert_eq!(requests[1].line, "GET /end?x=1 HTTP/1.1");
    assert_eq!(
        (requests[1].body.as_str(), requests[3].body.as_str()),
        ("", "text")
    );
    let error = reason(run(&step, "loop").await);
    assert!(error.ends_with("more than 10 redirects"), "{error}");
    assert_eq!(server.requests().len(), 4 + 11);
    let error = reason(run(&step, "bad").await);
    assert!(error.contains("invalid URL `http://[`"), "{error}");
}

#[tokio::test]
async fn headers_are_not_sent_to_another_origin() {
    let second = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let to = second.address.clone();
    let first =
        Server::start(move |_, _| reply(&format!("302 Found\r\nLocation: {to}/"), "")).await;
    let mut step = step(&first.address);
    let header = |name: &str| (name.to_owned(), Template::compile("v").unwrap());
    step.headers = vec![
        header("X-Api-Key"),
        header("Authorization"),
        header("Accept"),
    ];
    assert_eq!(run(&step, "1").await, due(2.0, 1));
    assert_eq!(first.requests()[0].headers["x-api-key"], "v");
    let headers = &second.requests()[0].headers;
    assert!(!headers.contains_key("x-api-key") && !headers.contains_key("authorization"));
    assert_eq!(headers["accept"], "v");
}

#[tokio::test]
async fn a_body_with_a_secret_is_not_sent_to_another_origin() {
    let second = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let to = second.address.clone();
    let first = Server::start(
        move |request, _| match request.line.split(' ').nth(1).unwrap() {
            "/kept" => reply(&format!("307 Temporary Redirect\r\nLocation: {to}/"), ""),
            "/here" => reply("308 Permanent Redirect\r\nLocation: /end", ""),
            "/other" => reply(&format!("303 See Other\r\nLocation: {to}/"), ""),
            _ => reply("200 OK", r#"{"due":1}"#),
        },
    )
    .await;
    let secrets: Secrets = [("KEY", "s3cret")].into_iter().collect();
    let deps = StepDeps {
        secrets: Arc::new(secrets),
        ..setup()
    };
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", first.address));
    step.method = HttpMethod::Post;
    let key = Template::compile("key={{ secret('KEY') }}").unwrap();
    for in_form in [false, true] {
        match in_form {
            true => (step.body, step.form) = (None, vec![("k".into(), key.clone())]),
            false => step.body = Some(key.clone()),
        }
        let http = Http::new(&step, &deps).unwrap();
        assert_eq!(run_on(&http, "here").await, due(1.0, 1));
        assert_eq!(run_on(&http, "other").await, due(2.0, 1), "it is a GET");
        let error = reason(run_on(&http, "kept").await);
        let expected = format!(
            "307 Temporary Redirect: leads to another origin, {}/; the body contains a secret",
            second.address
        );
        assert!(error.contains(&expected), "{error}");
    }
    assert_eq!(second.requests().len(), 2);
    assert!(
        second
            .requests()
            .iter()
            .all(|request| request.body.is_empty())
    );
    // A body without a secret is sent.
    step.form.clear();
    step.body = Some(Template::compile("text").unwrap());
    assert_eq!(run(&step, "kept").await, due(2.0, 1));
    assert_eq!(second.requests()[2].body, "text");
}

/// A server that needs a session, which it starts with a redirect to the same address.
async fn with_session() -> Server {
    Server::start(|request, _| match request.headers.get("cookie") {
        Some(cookies) if cookies.contains("sid=1") => reply("200 OK", r#"{"due":2}"#),
        _ => reply(
            "302 Found\r\nSet-Cookie: sid=1; Path=/\r\nLocation: /again",
            "",
        ),
    })
    .await
}

#[tokio::test]
async fn cookies_are_kept_while_redirects_are_followed() {
    let server = with_session().await;
    let mut step = step(&server.address);
    step.headers = vec![("Cookie".into(), Template::compile("own=2").unwrap())];
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert_eq!(server.requests()[0].headers["cookie"], "own=2");
    assert_eq!(server.requests()[1].headers["cookie"], "own=2; sid=1");
    // The next record has its own.
    assert_eq!(run_on(&http, "2").await, due(2.0, 1));
    assert_eq!(server.requests().len(), 4);
    // They are not sent to another host.
    let second = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let to = second.address.replace("127.0.0.1", "localhost");
    let first = Server::start(move |_, _| {
        reply(
            &format!("302 Found\r\nSet-Cookie: sid=1\r\nLocation: {to}/"),
            "",
        )
    })
    .await;
    step.url = Template::compile(&first.address).unwrap();
    step.allow_hosts.push("localhost".into());
    assert_eq!(run(&step, "1").await, due(2.0, 1));
    assert!(!second.requests()[0].headers.contains_key("cookie"));
}

#[tokio::test]
async fn cookies_are_kept_for_all_requests_of_a_step_by_key() {
    let server = with_session().await;
    let mut step = step(&server.address);
    step.cookies = CookieScope::Step;
    let http = Http::new(&step, &setup()).unwrap();
    for _ in 0..3 {
        assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    }
    assert_eq!(server.requests().len(), 4);
}
