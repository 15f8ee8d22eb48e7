//! The requests that are sent.

use super::*;

#[tokio::test]
async fn a_get_has_values_of_the_row_in_url_and_headers() {
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
    let request = &server.requests()[0];
    assert_eq!(request.line, "GET /parcels/a%20b%2F%C3%BC HTTP/1.1");
    assert_eq!(request.headers["x-id"], "id a b/ü");
    assert!(request.headers["user-agent"].starts_with("Rowmill/"));
}

#[tokio::test]
async fn a_post_sends_its_body_and_content_type() {
    let server = Server::start(|_, _| reply("201 Created", r#"{"due":1}"#)).await;
    let mut step = step(&server.address);
    step.method = HttpMethod::Post;
    step.body = Some(Template::compile(r#"{"id": "{{ row['ID'] }}"}"#).unwrap());
    assert_eq!(run(&step, "7").await, due(1.0, 1));
    step.body = Some(Template::compile("id={{ row['ID'] }}").unwrap());
    let form = Template::compile("application/x-www-form-urlencoded").unwrap();
    step.headers = vec![("content-type".into(), form)];
    assert_eq!(run(&step, "7").await, due(1.0, 1));
    let requests = server.requests();
    assert_eq!(requests[0].line, "POST / HTTP/1.1");
    assert_eq!(requests[0].body, r#"{"id": "7"}"#);
    assert_eq!(requests[0].headers["content-type"], "application/json");
    assert_eq!(requests[1].body, "id=7");
    assert_eq!(
        requests[1].headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    (step.body, step.headers) = (None, Vec::new());
    assert_eq!(run(&step, "7").await, due(1.0, 1));
    assert_eq!(server.requests()[2].headers["content-length"], "0");
}

#[tokio::test]
async fn methods_query_and_form_are_sent() {
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
        let request = server.requests().pop().unwrap();
        assert_eq!(
            request.line,
            format!("{name} /x?a=1&q=%C3%A4%26b&r=%C3%A4%26b HTTP/1.1")
        );
        assert_eq!(request.body, "id=%C3%A4%26b&n+m=%C3%A4%26b");
        assert_eq!(
            request.headers["content-type"],
            "application/x-www-form-urlencoded"
        );
    }
}

#[tokio::test]
async fn a_head_request_returns_headers_and_status() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\nX-Total: 5\r\n\r\n".to_vec();
    let server = Server::start(move |_, _| Reply::Raw(head.clone())).await;
    let mut step = step(&server.address);
    step.method = HttpMethod::Head;
    step.outputs[0].from = Extract::Header("X-Total".into());
    assert_eq!(run(&step, "1").await, due(5.0, 1));
}

#[tokio::test]
async fn invalid_urls_and_header_values_fail_the_record() {
    let result = run(&step("{{ row['ID'] }}"), "not a url").await;
    assert_eq!(result.attempts, 1);
    assert_eq!(
        reason(result),
        "invalid URL `not a url`: relative URL without a base"
    );
    let error = reason(run(&step("http://{{ row['ID'] }}/"), "exa mple").await);
    assert!(error.contains("invalid URL"), "{error}");
    let error = reason(run(&step("ftp://127.0.0.1/"), "").await);
    assert!(error.contains("neither http nor https"), "{error}");
    let error = reason(run(&step("http://127.0.0.1/{{ row['Empty'] }}"), "1").await);
    assert!(
        error.starts_with("url: ") && error.contains("Empty"),
        "{error}"
    );
    let mut bad = step("http://127.0.0.1/");
    bad.headers = vec![("X-Id".into(), Template::compile("{{ row['ID'] }}").unwrap())];
    let error = reason(run(&bad, "a\r\nHost: evil").await);
    assert!(error.contains("control characters"), "{error}");
}

#[tokio::test]
async fn an_invalid_step_is_rejected_at_setup() {
    let error = |step: &HttpStep| Http::new(step, &setup()).err().unwrap().to_string();
    let mut bad = step("http://example.com/");
    bad.allow_hosts = vec!["http://x".into()];
    assert!(error(&bad).contains("`http://x` is not a host"));
    let mut bad = step("http://example.com/");
    bad.headers = vec![("no good".into(), Template::compile("v").unwrap())];
    assert!(error(&bad).contains("`no good`"));
    let mut bad = step("http://example.com/");
    bad.outputs[0].from = Extract::Json("due".into());
    assert!(error(&bad).contains("invalid JSONPath `due`"));
}
