//! robots.txt.

use super::*;

/// A source with this robots.txt, and a step that requests `/<ID>` from it.
async fn with_robots(
    robots: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> (Server, HttpStep) {
    let server = Server::start(move |request, before| match &*request.line {
        "GET /robots.txt HTTP/1.1" => robots(before),
        _ => reply("200 OK", r#"{"due":2}"#),
    })
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.robots = true;
    (server, step)
}

#[tokio::test]
async fn robots_txt_is_fetched_once_and_obeyed() {
    const TEXT: &str = "User-agent: rowmill\nDisallow: /private\nUser-agent: Acme\nDisallow: /";
    let (server, mut step) = with_robots(|_| reply("200 OK", TEXT)).await;
    step.attempts = 3;
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert_eq!(run_on(&http, "2").await, due(2.0, 1));
    let result = run_on(&http, "private/3").await;
    assert_eq!(result.attempts, 1, "a disallowed request is not retried");
    let error = reason(result);
    let expected = format!(
        "disallowed by {}/robots.txt: `Disallow: /private` (line 2); set robots = false if the source permits these requests",
        server.address
    );
    assert!(error.ends_with(&expected), "{error}");
    let lines: Vec<String> = server.requests().into_iter().map(|a| a.line).collect();
    let get = |path: &str| format!("GET {path} HTTP/1.1");
    assert_eq!(lines, [get("/robots.txt"), get("/1"), get("/2")]);
    // Other rules apply to another user agent, and none with robots = false.
    step.headers = vec![("User-Agent".into(), Template::compile("Acme/1").unwrap())];
    assert!(reason(run(&step, "1").await).contains("(line 4)"));
    assert_eq!(server.requests()[3].headers["user-agent"], "Acme/1");
    step.robots = false;
    assert_eq!(run(&step, "private/3").await, due(2.0, 1));
}

#[tokio::test]
async fn a_redirect_obeys_the_robots_txt_of_its_target() {
    let (inner, _) = with_robots(|_| reply("200 OK", "User-agent: *\nDisallow: /")).await;
    let to = inner.address.clone();
    let outer = Server::start(move |request, _| match &*request.line {
        "GET /robots.txt HTTP/1.1" => reply("302 Found\r\nLocation: /r", ""),
        "GET /r HTTP/1.1" => reply("200 OK", ""),
        _ => reply(&format!("302 Found\r\nLocation: {to}/x"), ""),
    })
    .await;
    let mut step = step(&outer.address);
    step.robots = true;
    let error = reason(run(&step, "1").await);
    let expected = format!("disallowed by {}/robots.txt: `Disallow: /`", inner.address);
    assert!(error.contains(&expected), "{error}");
    assert_eq!(outer.requests().len(), 3);
}

#[tokio::test]
async fn a_missing_robots_txt_allows_everything_and_a_failing_one_nothing() {
    for status in ["404 Not Found", "403 Forbidden", "410 Gone"] {
        let (_server, step) = with_robots(move |_| reply(status, "Disallow: /")).await;
        assert_eq!(run(&step, "1").await, due(2.0, 1));
    }
    let (server, mut step) = with_robots(|_| reply("500 Internal Server Error", "")).await;
    step.attempts = 2;
    let error = reason(run(&step, "1").await);
    assert!(
        error.contains("/robots.txt: 500") && error.contains("robots = false"),
        "{error}"
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|a| a.line.contains("robots.txt"))
    );
    // The error is transient, so the record succeeds.
    let (_server, mut step) = with_robots(|before| match before {
        0 => reply("503 Service Unavailable", ""),
        _ => reply("200 OK", ""),
    })
    .await;
    step.attempts = 5;
    let result = run(&step, "1").await;
    assert!(result.outputs.is_ok(), "{result:?}");
}

#[tokio::test]
async fn a_robots_txt_that_never_answers_times_out() {
    let (_server, mut step) = with_robots(|before| match before {
        0 => Reply::Silence,
        _ => reply("200 OK", ""),
    })
    .await;
    step.timeout = Duration::from_millis(200);
    let error = reason(run(&step, "1").await);
    assert!(
        error.ends_with("/robots.txt: no answer within 200ms"),
        "{error}"
    );
    // The stall is transient, so the record succeeds.
    let (_server, mut step) = with_robots(|before| match before {
        0 => Reply::Silence,
        _ => reply("200 OK", ""),
    })
    .await;
    step.timeout = Duration::from_millis(500);
    step.attempts = 5;
    let result = run(&step, "1").await;
    assert!(result.outputs.is_ok(), "{result:?}");
}

#[tokio::test]
async fn the_first_500_kib_of_a_robots_txt_of_any_size_are_read() {
    let long = format!(
        "User-agent: *\nDisallow: /private\n{}",
        "# padding\n".repeat(1_200_000)
    );
    let (_server, step) = with_robots(move |_| reply("200 OK", &long)).await;
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert!(reason(run_on(&http, "private/1").await).contains("(line 2)"));
}

#[tokio::test]
async fn a_crawl_delay_that_the_child_cannot_wait_out_fails_the_record_at_once() {
    let (_server, mut step) =
        with_robots(|_| reply("200 OK", "User-agent: *\nCrawl-delay: 86400")).await;
    let mut deps = setup();
    deps.deadline = Some(Instant::now() + Duration::from_secs(3600));
    let http = Http::new(&step, &deps).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    for _ in 0..3 {
        let result = run_on(&http, "2").await;
        assert_eq!(result.attempts, 1);
        let error = reason(result);
        assert!(
            error.contains("`Crawl-delay: 86400`") && error.contains("robots = false"),
            "{error}"
        );
    }
    // A low rate of the pipeline's own is waited for.
    step.rate = Some(1.0 / 100_000.0);
    let http = Http::new(&step, &deps).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    let waiting = run_on(&http, "2");
    assert!(
        tokio::time::timeout(Duration::from_millis(300), waiting)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_crawl_delay_limits_the_rate() {
    let (_server, mut step) =
        with_robots(|_| reply("200 OK", "User-agent: *\nCrawl-delay: 0.2")).await;
    step.rate = Some(1000.0);
    let http = Http::new(&step, &setup()).unwrap();
    let start = Instant::now();
    for id in ["1", "2", "3"] {
        assert_eq!(run_on(&http, id).await, due(2.0, 1));
    }
    assert!(start.elapsed() >= Duration::from_millis(350));
}
