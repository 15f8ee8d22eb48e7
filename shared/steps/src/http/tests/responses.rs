//! Responses: success rules, size limits, caching and reuse of connections.

use super::*;

#[tokio::test]
async fn ok_when_decides_what_a_success_is() {
    let server = Server::start(
        |request, before| match request.line.split(' ').nth(1).unwrap() {
            "/gone" => reply("404 Not Found", r#"{"due":0}"#),
            "/none" => reply("404 Not Found", "<h1>No such parcel</h1>"),
            "/later" if before == 0 => reply("200 OK", r#"{"due":-1}"#),
            "/busy" => reply("503 Service Unavailable", "{}"),
            "/no" => reply("400 Bad Request", r#"{"due":-1}"#),
            _ => reply("200 OK", r#"{"due":3}"#),
        },
    )
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.attempts = 2;
    step.ok_when = Some(Expr::compile("status == 404 || due >= 0").ok().unwrap());
    assert_eq!(run(&step, "later").await, due(3.0, 2));
    assert_eq!(run(&step, "gone").await, due(0.0, 1));
    assert!(reason(run(&step, "none").await).contains("has no value"));
    step.outputs[0].optional = true;
    assert_eq!(run(&step, "none").await, StepResult::ok(vec![], 1));
    let result = run(&step, "no").await;
    assert_eq!(result.attempts, 1);
    assert!(
        reason(result)
            .ends_with("400 Bad Request, and `status == 404 || due >= 0` is false: {\"due\":-1}")
    );
    let result = run(&step, "busy").await;
    assert_eq!(result.attempts, 2);
    assert!(reason(result).contains("503 Service Unavailable, and `status"));
}

#[tokio::test]
async fn large_responses_are_rejected_compressed_or_not() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(br#"{"due":5}"#).unwrap();
    let small = gzip.finish().unwrap();
    let server = Server::start(
        move |request, _| match request.line.split(' ').nth(1).unwrap() {
            "/bomb" => Reply::Http("200 OK\r\nContent-Encoding: gzip".into(), bomb.clone()),
            "/small" => Reply::Http("200 OK\r\nContent-Encoding: gzip".into(), small.clone()),
            "/announced" => {
                Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec())
            }
            "/fits" => reply("200 OK", &format!("{}{{\"due\":6}}", " ".repeat(9 << 20))),
            _ => Reply::Http("200 OK".into(), vec![b' '; 11 << 20]),
        },
    )
    .await;
    let step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    for path in ["bomb", "announced", "plain"] {
        let error = reason(run(&step, path).await);
        assert!(
            error.ends_with("the response is larger than 10 MiB"),
            "{path}: {error}"
        );
    }
    assert_eq!(run(&step, "small").await, due(5.0, 1));
    assert_eq!(run(&step, "fits").await, due(6.0, 1));
}

#[tokio::test]
async fn encoded_responses_are_decoded_whole() {
    use std::io::Write;
    let gzip = |text: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let members = [gzip("{\"due\":4"), gzip("2}")].concat();
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
    deflate.write_all(br#"{"due":43}"#).unwrap();
    let deflate = deflate.finish().unwrap();
    let server = Server::start(
        move |request, _| match request.line.split(' ').nth(1).unwrap() {
            "/members" => Reply::Http("200 OK\r\nContent-Encoding: gzip".into(), members.clone()),
            "/x-gzip" => Reply::Http("200 OK\r\nContent-Encoding: X-GZip".into(), members.clone()),
            "/deflate" => Reply::Http(
                "200 OK\r\nContent-Encoding: deflate".into(),
                deflate.clone(),
            ),
            "/br" => Reply::Http("200 OK\r\nContent-Encoding: br".into(), vec![1]),
            _ => Reply::Http(
                "200 OK\r\nContent-Encoding: gzip".into(),
                members[..members.len() - 3].to_vec(),
            ),
        },
    )
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.attempts = 1;
    assert_eq!(run(&step, "members").await, due(42.0, 1));
    assert_eq!(run(&step, "x-gzip").await, due(42.0, 1));
    assert_eq!(run(&step, "deflate").await, due(43.0, 1));
    let error = reason(run(&step, "br").await);
    assert!(error.contains("encoded with `br`"), "{error}");
    let error = reason(run(&step, "cut").await);
    assert!(error.contains("incomplete or invalid"), "{error}");
    let sent = |n: usize| server.requests()[n].headers.get("accept-encoding").cloned();
    assert_eq!(sent(0).as_deref(), Some("gzip, deflate"));
    step.headers = vec![(
        "Accept-Encoding".into(),
        Template::compile("identity").unwrap(),
    )];
    assert_eq!(run(&step, "members").await, due(42.0, 1));
    assert_eq!(sent(5).as_deref(), Some("identity"));
}

#[tokio::test]
async fn headers_that_browsers_accept_are_accepted() {
    let server = Server::start(|request, _| {
        let cookies = "Set-Cookie: a=1\r\n".repeat(150);
        let odd = match request.line.split(' ').nth(1).unwrap() {
            "/space" => "X-A : 1\r\n",
            "/text" => "Warning something went wrong\r\n",
            "/delete" => "X-A: a\x7fb\r\n",
            "/folded" => "X-A: a\r\n b\r\n",
            _ => cookies.as_str(),
        };
        let head = format!("HTTP/1.1 200 OK\r\n{odd}Content-Length: 9\r\n\r\n");
        Reply::Raw([head.as_bytes(), br#"{"due":1}"#].concat())
    })
    .await;
    let step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    for path in ["space", "text", "delete", "folded", "many"] {
        assert_eq!(run(&step, path).await, due(1.0, 1), "{path}");
    }
}

#[tokio::test]
async fn with_a_cache_the_same_request_is_sent_once() {
    let server = Server::start(
        |request, before| match request.line.split(' ').nth(1).unwrap() {
            "/bad" => reply("404 Not Found", ""),
            _ => reply("200 OK", &format!("{{\"due\":{before}}}")),
        },
    )
    .await;
    let mut step = step(&server.address);
    step.cache = true;
    let results = run_all(Http::new(&step, &setup()).unwrap(), 50, 4).await;
    assert!(results.iter().all(|result| *result == due(0.0, 1)));
    assert_eq!(server.requests().len(), 1);
    // Another URL or other headers make another request. Failures are not cached.
    step.url = Template::compile(&format!("{}/{{{{ row['ID'] }}}}", server.address)).unwrap();
    step.headers = vec![("X-Id".into(), Template::compile("{{ row['ID'] }}").unwrap())];
    let http = Http::new(&step, &setup()).unwrap();
    for path in ["a", "b", "a", "bad", "bad"] {
        let _ = run_on(&http, path).await;
    }
    let lines: Vec<String> = server.requests()[1..]
        .iter()
        .map(|a| a.line.clone())
        .collect();
    let get = |path: &str| format!("GET /{path} HTTP/1.1");
    assert_eq!(lines, [get("a"), get("b"), get("bad"), get("bad")]);
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let http = Http::new(&step(&server.address), &setup()).unwrap();
    for _ in 0..20 {
        assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}
