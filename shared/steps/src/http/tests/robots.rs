//! robots.txt.

use super::*;

/// A source with that robots.txt, and a step that asks it for `/<ID>`.
async fn with_robots(
    robots: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> (Server, HttpStep) {
    let server = Server::start(move |asked, before| match &*asked.line {
        "GET /robots.txt HTTP/1.1" => robots(before),
        _ => reply("200 OK", r#"{"due":2}"#),
    })
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.robots = true;
    (server, step)
}

#[tokio::test]
async fn robots_txt_is_asked_for_once_and_obeyed() {
    const TEXT: &str = "User-agent: rowmill\nDisallow: /private\nUser-agent: Acme\nDisallow: /";
    let (server, mut step) = with_robots(|_| reply("200 OK", TEXT)).await;
    step.attempts = 3;
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert_eq!(run_on(&http, "2").await, due(2.0, 1));
    let result = run_on(&http, "private/3").await;
    assert_eq!(result.attempts, 1, "a refusal is not tried again");
    let told = reason(result);
    let expected = format!(
        "refused by {}/robots.txt: `Disallow: /private` (line 2); set robots = false where the source has given leave",
        server.address
    );
    assert!(told.ends_with(&expected), "{told}");
    let lines: Vec<String> = server.asked().into_iter().map(|a| a.line).collect();
    let get = |path: &str| format!("GET {path} HTTP/1.1");
    assert_eq!(lines, [get("/robots.txt"), get("/1"), get("/2")]);
    // Under another name other rules hold; told not to, none are asked for.
    step.headers = vec![("User-Agent".into(), Template::compile("Acme/1").unwrap())];
    assert!(reason(run(&step, "1").await).contains("(line 4)"));
    assert_eq!(server.asked()[3].headers["user-agent"], "Acme/1");
    step.robots = false;
    assert_eq!(run(&step, "private/3").await, due(2.0, 1));
}

#[tokio::test]
async fn a_redirect_is_held_against_the_robots_txt_of_where_it_leads() {
    let (inner, _) = with_robots(|_| reply("200 OK", "User-agent: *\nDisallow: /")).await;
    let to = inner.address.clone();
    let outer = Server::start(move |asked, _| match &*asked.line {
        "GET /robots.txt HTTP/1.1" => reply("302 Found\r\nLocation: /r", ""),
        "GET /r HTTP/1.1" => reply("200 OK", ""),
        _ => reply(&format!("302 Found\r\nLocation: {to}/x"), ""),
    })
    .await;
    let mut step = step(&outer.address);
    step.robots = true;
    let told = reason(run(&step, "1").await);
    let expected = format!("refused by {}/robots.txt: `Disallow: /`", inner.address);
    assert!(told.contains(&expected), "{told}");
    assert_eq!(outer.asked().len(), 3);
}

#[tokio::test]
async fn without_a_robots_txt_all_is_allowed_and_without_an_answer_nothing() {
    for status in ["404 Not Found", "403 Forbidden", "410 Gone"] {
        let (_server, step) = with_robots(move |_| reply(status, "Disallow: /")).await;
        assert_eq!(run(&step, "1").await, due(2.0, 1));
    }
    let (server, mut step) = with_robots(|_| reply("500 Internal Server Error", "")).await;
    step.attempts = 2;
    let told = reason(run(&step, "1").await);
    assert!(
        told.contains("/robots.txt: 500") && told.contains("robots = false"),
        "{told}"
    );
    assert!(server.asked().iter().all(|a| a.line.contains("robots.txt")));
    // It passes, and so does the record.
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
async fn a_robots_txt_that_never_comes_is_not_waited_for_longer_than_the_step_allows() {
    let (_server, mut step) = with_robots(|before| match before {
        0 => Reply::Silence,
        _ => reply("200 OK", ""),
    })
    .await;
    step.timeout = Duration::from_millis(200);
    let told = reason(run(&step, "1").await);
    assert!(
        told.ends_with("/robots.txt: no answer within 200ms"),
        "{told}"
    );
    // A stall passes, and so does the record.
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
async fn a_crawl_delay_is_a_rate() {
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
