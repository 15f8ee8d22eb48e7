//! Redirects.

use super::*;

#[tokio::test]
async fn redirects_are_followed_up_to_a_limit() {
    let server = Server::start(|asked, _| match asked.line.split(' ').nth(1).unwrap() {
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
    let asked = server.asked();
    assert_eq!(asked[1].line, "GET /end?x=1 HTTP/1.1");
    assert_eq!(
        (asked[1].body.as_str(), asked[3].body.as_str()),
        ("", "text")
    );
    let told = reason(run(&step, "loop").await);
    assert!(told.ends_with("more than 10 redirects"), "{told}");
    assert_eq!(server.asked().len(), 4 + 11);
    let told = reason(run(&step, "bad").await);
    assert!(told.contains("`http://[` is no valid URL"), "{told}");
}

#[tokio::test]
async fn another_origin_gets_no_headers_meant_for_the_first() {
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
    assert_eq!(first.asked()[0].headers["x-api-key"], "v");
    let headers = &second.asked()[0].headers;
    assert!(!headers.contains_key("x-api-key") && !headers.contains_key("authorization"));
    assert_eq!(headers["accept"], "v");
}

#[tokio::test]
async fn another_origin_gets_no_body_with_a_secret() {
    let second = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let to = second.address.clone();
    let first = Server::start(
        move |asked, _| match asked.line.split(' ').nth(1).unwrap() {
            "/kept" => reply(&format!("307 Temporary Redirect\r\nLocation: {to}/"), ""),
            "/here" => reply("308 Permanent Redirect\r\nLocation: /end", ""),
            "/other" => reply(&format!("303 See Other\r\nLocation: {to}/"), ""),
            _ => reply("200 OK", r#"{"due":1}"#),
        },
    )
    .await;
    let secrets: Secrets = [("KEY", "s3cret")].into_iter().collect();
    let setup = Setup {
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
        let http = Http::new(&step, &setup).unwrap();
        assert_eq!(run_on(&http, "here").await, due(1.0, 1));
        assert_eq!(run_on(&http, "other").await, due(2.0, 1), "it is a GET");
        let told = reason(run_on(&http, "kept").await);
        let expected = format!(
            "307 Temporary Redirect: it leads to {}/, another origin, where the body is not sent",
            second.address
        );
        assert!(told.contains(&expected), "{told}");
    }
    assert_eq!(second.asked().len(), 2);
    assert!(second.asked().iter().all(|asked| asked.body.is_empty()));
    // A body without one goes along.
    step.form.clear();
    step.body = Some(Template::compile("text").unwrap());
    assert_eq!(run(&step, "kept").await, due(2.0, 1));
    assert_eq!(second.asked()[2].body, "text");
}
