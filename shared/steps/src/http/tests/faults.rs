//! Failed attempts and their reasons.

use super::*;

#[tokio::test]
async fn transient_errors_are_retried() {
    let server = Server::start(|_, before| match before {
        0 => reply("503 Service Unavailable\r\nRetry-After: 0", ""),
        1 => Reply::Close,
        2 => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"due\":".to_vec()),
        _ => reply("200 OK", r#"{"due":3}"#),
    })
    .await;
    let mut step = step(&server.address);
    step.attempts = 4;
    // The closed connection was an idle one, so it cost no attempt.
    assert_eq!(run(&step, "1").await, due(3.0, 3));
}

/// The server answers the first request on each connection, and closes it when the next one arrives.
#[tokio::test]
async fn a_request_on_a_closed_idle_connection_is_repeated_for_free() {
    let server = Server::start(|_, before| match before % 2 {
        0 => reply("200 OK", r#"{"due":3}"#),
        _ => Reply::Close,
    })
    .await;
    let mut step = step(&server.address);
    let http = Http::new(&step, &setup()).unwrap();
    for _ in 0..3 {
        assert_eq!(run_on(&http, "1").await, due(3.0, 1));
    }
    assert_eq!(server.requests().len(), 5);
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    // A POST may have been processed.
    step.method = HttpMethod::Post;
    let http = Http::new(&step, &setup()).unwrap();
    assert!(run_on(&http, "1").await.outputs.is_err());
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_new_connection_that_is_closed_costs_an_attempt() {
    let server = Server::start(|_, _| Reply::Close).await;
    let mut step = step(&server.address);
    step.attempts = 2;
    let result = run(&step, "1").await;
    assert_eq!((result.attempts, server.requests().len()), (2, 2));
}

#[tokio::test]
async fn the_reason_for_a_refusal_contains_what_the_source_says() {
    let server = Server::start(|_, _| {
        let body = "{\"error\": {\n \"message\":\"postcode must have 5 digits\"}}";
        reply("400 Bad Request\r\nContent-Type: application/json", body)
    })
    .await;
    let error = reason(run(&step(&server.address), "1").await);
    let expected = r#"400 Bad Request: {"error": { "message":"postcode must have 5 digits"}}"#;
    assert!(error.ends_with(expected), "{error}");
}

#[tokio::test]
async fn the_statuses_in_retry_on_are_retried_and_no_others() {
    let server = Server::start(|_, before| match before {
        0 => reply("409 Conflict", ""),
        1 => reply("500 Internal Server Error", ""),
        _ => reply("200 OK", r#"{"due":3}"#),
    })
    .await;
    let mut step = step(&server.address);
    step.attempts = 4;
    step.retry_on = vec![409];
    let result = run(&step, "1").await;
    assert_eq!(result.attempts, 2);
    assert!(reason(result).contains("500 Internal Server Error"));
    assert_eq!(run(&step, "1").await, due(3.0, 1));
}

/// A status that the pipeline expects says nothing about the host.
#[tokio::test]
async fn a_status_that_is_retried_by_choice_does_not_stop_other_records() {
    let server = Server::start(|request, _| match request.line.contains("/0") {
        true => reply("200 OK", r#"{"due":3}"#),
        false => reply("423 Locked", ""),
    })
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.attempts = 2;
    step.retry_on = vec![423];
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "0").await, due(3.0, 1));
    for _ in 0..5 {
        assert_eq!(run_on(&http, "1").await.attempts, 2);
    }
    assert_eq!(run_on(&http, "0").await, due(3.0, 1));
    assert_eq!(server.requests().len(), 12);
}

#[tokio::test]
async fn a_permanent_error_is_the_reason() {
    let server = Server::start(
        |request, _| match request.line.split([' ', '?']).nth(1).unwrap() {
            "/busy" => reply("429 Too Many Requests", ""),
            "/none" => reply("404 Not Found", "no such parcel"),
            "/moved" => reply("302 Found", ""),
            _ => reply("200 OK", "<html>Maintenance</html>"),
        },
    )
    .await;
    let mut step = step(&format!(
        "{}/{{{{ row['ID'] }}}}?key=secret",
        server.address
    ));
    step.attempts = 2;
    for (path, expected, attempts) in [
        ("busy", "429 Too Many Requests, 2 attempts", 2),
        ("none", "404 Not Found", 1),
        ("moved", "302 Found", 1),
        ("page", "the response is not JSON", 1),
    ] {
        let result = run(&step, path).await;
        assert_eq!(result.attempts, attempts);
        let reason = reason(result);
        let expected = format!("GET {}/{path}: {expected}", server.address);
        assert!(reason.starts_with(&expected), "{reason}");
        assert!(!reason.contains("secret"));
    }
}

#[tokio::test]
async fn a_source_that_never_answers_times_out() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let mut step = step(&server.address);
    step.timeout = Duration::from_millis(100);
    step.attempts = 2;
    let start = Instant::now();
    let result = run(&step, "1").await;
    assert_eq!(result.attempts, 2);
    assert!(reason(result).ends_with("no answer within 100ms, 2 attempts"));
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_source_that_stalls_within_the_body_times_out() {
    let body = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n".to_vec(),
        b"{".to_vec(),
    ]
    .concat();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(&body).await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut step = step(&address);
    step.timeout = Duration::from_millis(150);
    assert!(reason(run(&step, "1").await).ends_with("no answer within 150ms"));
}

#[tokio::test]
async fn a_refused_connection_is_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = reason(run(&step(&address), "1").await);
    assert!(
        error.contains("cannot connect: Connection refused"),
        "{error}"
    );
}
