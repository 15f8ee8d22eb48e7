//! What is sent.

use super::*;

#[tokio::test]
async fn a_get_with_the_row_in_its_url_and_headers() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":812.5}"#)).await;
    let mut step = step(&format!(
        "{}/parcels/{{{{ row['ID'] | urlencode }}}}",
        server.address
    ));
    step.headers = vec![(
        "X-Id".into(),
        Template::compile("id {{ row['ID'] }}").unwrap(),
    )];
    assert_eq!(run(&step, "a b/ü").await, due(812.5, 1));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "GET /parcels/a%20b%2F%C3%BC HTTP/1.1");
    assert_eq!(asked.headers["x-id"], "id a b/ü");
    assert!(asked.headers["user-agent"].starts_with("Rowmill/"));
}

#[tokio::test]
async fn a_post_with_a_body() {
    let server = Server::start(|_, _| reply("201 Created", r#"{"due":1}"#)).await;
    let mut step = step(&server.address);
    step.method = HttpMethod::Post;
    step.body = Some(Template::compile(r#"{"id": "{{ row['ID'] }}"}"#).unwrap());
    assert_eq!(run(&step, "7").await, due(1.0, 1));
    step.body = Some(Template::compile("id={{ row['ID'] }}").unwrap());
    let form = Template::compile("application/x-www-form-urlencoded").unwrap();
    step.headers = vec![("content-type".into(), form)];
    assert_eq!(run(&step, "7").await, due(1.0, 1));
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST / HTTP/1.1");
    assert_eq!(asked[0].body, r#"{"id": "7"}"#);
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert_eq!(asked[1].body, "id=7");
    assert_eq!(
        asked[1].headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    (step.body, step.headers) = (None, Vec::new());
    assert_eq!(run(&step, "7").await, due(1.0, 1));
    assert_eq!(server.asked()[2].headers["content-length"], "0");
}

#[tokio::test]
async fn methods_query_and_form() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let value = || Template::compile("{{ row['ID'] }}").unwrap();
    let mut step = step(&format!("{}/x?a=1", server.address));
    step.query = vec![("q".into(), value()), ("r".into(), value())];
    step.form = vec![("id".into(), value()), ("n m".into(), value())];
    for (method, name) in [
        (HttpMethod::Put, "PUT"),
        (HttpMethod::Patch, "PATCH"),
        (HttpMethod::Delete, "DELETE"),
    ] {
        step.method = method;
        assert_eq!(run(&step, "ä&b").await, due(2.0, 1));
        let asked = server.asked().pop().unwrap();
        assert_eq!(
            asked.line,
            format!("{name} /x?a=1&q=%C3%A4%26b&r=%C3%A4%26b HTTP/1.1")
        );
        assert_eq!(asked.body, "id=%C3%A4%26b&n+m=%C3%A4%26b");
        assert_eq!(
            asked.headers["content-type"],
            "application/x-www-form-urlencoded"
        );
    }
}

#[tokio::test]
async fn a_head_gives_headers_and_status() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\nX-Total: 5\r\n\r\n".to_vec();
    let server = Server::start(move |_, _| Reply::Raw(head.clone())).await;
    let mut step = step(&server.address);
    step.method = HttpMethod::Head;
    step.outputs[0].from = Extract::Header("X-Total".into());
    assert_eq!(run(&step, "1").await, due(5.0, 1));
}

#[tokio::test]
async fn urls_and_values_that_cannot_be_sent() {
    let result = run(&step("{{ row['ID'] }}"), "not a url").await;
    assert_eq!(result.attempts, 1);
    assert_eq!(
        reason(result),
        "`not a url` is no valid URL: relative URL without a base"
    );
    let told = reason(run(&step("http://{{ row['ID'] }}/"), "exa mple").await);
    assert!(told.contains("is no valid URL"), "{told}");
    let told = reason(run(&step("ftp://127.0.0.1/"), "").await);
    assert!(told.contains("neither http nor https"), "{told}");
    let told = reason(run(&step("http://127.0.0.1/{{ row['Empty'] }}"), "1").await);
    assert!(
        told.starts_with("url: ") && told.contains("Empty"),
        "{told}"
    );
    let mut bad = step("http://127.0.0.1/");
    bad.headers = vec![("X-Id".into(), Template::compile("{{ row['ID'] }}").unwrap())];
    let told = reason(run(&bad, "a\r\nHost: evil").await);
    assert!(told.contains("control characters"), "{told}");
}

#[tokio::test]
async fn what_is_wrong_with_the_step_is_told_at_setup() {
    let error = |step: &HttpStep| Http::new(step, &setup()).err().unwrap().to_string();
    let mut bad = step("http://example.com/");
    bad.allow_hosts = vec!["http://x".into()];
    assert!(error(&bad).contains("`http://x` is not a host"));
    let mut bad = step("http://example.com/");
    bad.headers = vec![("no good".into(), Template::compile("v").unwrap())];
    assert!(error(&bad).contains("`no good`"));
    let mut bad = step("http://example.com/");
    bad.outputs[0].from = Extract::Json("due".into());
    assert!(error(&bad).contains("`due` is no JSONPath"));
}
