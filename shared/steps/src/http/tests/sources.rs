//! Sources that throttle, fail and recover.

use super::*;

#[tokio::test]
async fn requests_keep_to_the_rate() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let mut step = step(&server.address);
    step.rate = Some(50.0);
    let http = Http::new(&step, &setup()).unwrap();
    let start = Instant::now();
    for _ in 0..11 {
        assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    }
    assert!(start.elapsed() >= Duration::from_millis(170));
}

#[tokio::test]
async fn no_row_is_lost_when_a_source_throttles() {
    // 20 requests in each tenth of a second, and 429 without Retry-After for the rest.
    let window = Mutex::new((Instant::now(), 0));
    let server = Server::start(move |_, _| {
        let mut window = window.lock().unwrap();
        if window.0.elapsed() > Duration::from_millis(100) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        match window.1 {
            ..=20 => reply("200 OK", r#"{"due":2}"#),
            _ => reply("429 Too Many Requests", ""),
        }
    })
    .await;
    let mut step = step(&server.address);
    step.attempts = 2;
    let mut deps = setup();
    deps.concurrency = 16;
    let results = run_all(Http::new(&step, &deps).unwrap(), 150, 16).await;
    assert_eq!(results.len(), 150);
    for result in results {
        assert!(result.outputs.is_ok(), "{result:?}");
    }
    let throttled = server.requests().len() - 150;
    assert!((1..150).contains(&throttled), "{throttled} refused");
}

#[tokio::test]
async fn no_row_is_lost_when_a_source_fails_for_a_second() {
    for dead in ["503 Service Unavailable", "close"] {
        let first_failure = Mutex::new(None);
        let server = Server::start(move |_, before| {
            // Fails for a second from the 50th request on.
            let mut first_failure = first_failure.lock().unwrap();
            if before < 50 {
                return reply("200 OK", r#"{"due":2}"#);
            }
            let since: &mut Instant = first_failure.get_or_insert_with(Instant::now);
            if since.elapsed() > Duration::from_secs(1) {
                return reply("200 OK", r#"{"due":2}"#);
            }
            match dead {
                "close" => Reply::Close,
                status => reply(status, ""),
            }
        })
        .await;
        let mut step = step(&server.address);
        step.attempts = 4;
        let mut deps = setup();
        deps.concurrency = 8;
        let results = run_all(Http::new(&step, &deps).unwrap(), 200, 8).await;
        assert_eq!(results.len(), 200);
        for result in results {
            assert!(result.outputs.is_ok(), "{dead}: {result:?}");
        }
        assert!(
            server.requests().len() < 300,
            "a failing source gets few requests"
        );
    }
}

/// The port of the server is closed for a time, as during a restart.
#[tokio::test]
async fn no_row_is_lost_when_a_source_restarts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let answer = Arc::new(|_: &Received, _: usize| reply("200 OK", r#"{"due":2}"#));
    tokio::spawn(async move {
        let mut listener = Some(listener);
        for open in [true, false, true] {
            if !open {
                drop(listener.take());
                tokio::time::sleep(Duration::from_millis(1500)).await;
                continue;
            }
            let listening = match listener.take() {
                Some(listening) => listening,
                None => TcpListener::bind(address).await.unwrap(),
            };
            // The first instance ends after 60 requests, with its connections.
            let mut connections = tokio::task::JoinSet::new();
            let first = log.lock().unwrap().is_empty();
            while !first || log.lock().unwrap().len() < 60 {
                let wait = Duration::from_millis(20);
                if let Ok(Ok((stream, _))) = tokio::time::timeout(wait, listening.accept()).await {
                    connections.spawn(serve(stream, answer.clone(), log.clone()));
                }
            }
        }
    });
    let mut step = step(&format!("http://{address}"));
    step.attempts = 2;
    step.rate = Some(200.0);
    let mut deps = setup();
    deps.concurrency = 8;
    let results = run_all(Http::new(&step, &deps).unwrap(), 200, 8).await;
    assert_eq!(results.len(), 200);
    for result in results {
        assert!(result.outputs.is_ok(), "{result:?}");
    }
}

#[tokio::test]
async fn rows_fail_with_reasons_in_bounded_time_when_a_source_disappears() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = Arc::new(|_: &Received, before: usize| match before {
            0..10 => reply("200 OK", r#"{"due":2}"#),
            _ => Reply::Close,
        });
        serve(stream, answer, Arc::default()).await;
    });
    let mut step = step(&format!("http://{address}"));
    step.attempts = 4;
    let mut http = Http::new(&step, &setup()).unwrap();
    http.host_wait = Duration::from_millis(700);
    let start = Instant::now();
    let results = run_all(http, 300, 1).await;
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(|r| r.outputs.err())
        .collect();
    assert_eq!(failed.len(), 290);
    assert!(
        failed.iter().all(|r| r.contains("cannot connect")),
        "{failed:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn rows_fail_with_reasons_in_bounded_time_when_a_source_keeps_failing() {
    let server = Server::start(|_, before| match before {
        ..=10 => reply("200 OK", r#"{"due":2}"#),
        _ => reply("502 Bad Gateway", ""),
    })
    .await;
    let mut step = step(&server.address);
    step.attempts = 2;
    let mut http = Http::new(&step, &setup()).unwrap();
    http.host_wait = Duration::from_millis(700);
    let start = Instant::now();
    let results = run_all(http, 400, 4).await;
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(|r| r.outputs.err())
        .collect();
    assert_eq!(failed.len(), 400 - 11);
    assert!(
        failed
            .iter()
            .all(|reason| reason.contains("502 Bad Gateway"))
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    // Two attempts for the first 100 records, one for each of the others.
    assert!(server.requests().len() < 550, "{}", server.requests().len());
}
