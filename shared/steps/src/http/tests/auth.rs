//! Signing in.

use rowmill_pipeline::Auth;

use super::*;

fn template(text: &str) -> Template {
    Template::compile(text).unwrap()
}

fn oauth(server: &Server, in_body: bool) -> Auth {
    Auth::OAuth {
        url: template(&format!("{}/token", server.address)),
        client_id: template("me"),
        client_secret: template("s3cr%t"),
        fields: vec![("scope", template("a b"))],
        in_body,
    }
}

/// Issues the tokens t1, t2 and so on, which are valid for this long, and refuses t1 at `/refused`.
async fn issuer(seconds: &'static str) -> Server {
    let issued = AtomicUsize::new(0);
    Server::start(move |request, _| {
        let path = request.line.split(' ').nth(1).unwrap();
        let token = request
            .headers
            .get("authorization")
            .cloned()
            .unwrap_or_default();
        match path {
            "/token" => {
                let n = issued.fetch_add(1, Ordering::SeqCst) + 1;
                let life = seconds;
                reply(
                    "200 OK",
                    &format!("{{\"access_token\":\"token-{n}\",\"token_type\":\"Bearer\"{life}}}"),
                )
            }
            "/refused" if token == "Bearer token-1" => reply("401 Unauthorized", "expired"),
            "/never" => reply("401 Unauthorized", &format!("no: {token}")),
            _ if token.starts_with("Bearer token-") => reply("200 OK", r#"{"due":2}"#),
            _ => reply("403 Forbidden", ""),
        }
    })
    .await
}

fn paths(server: &Server) -> Vec<String> {
    let lines = server.requests().into_iter().map(|r| r.line);
    lines
        .map(|line| line.split(' ').nth(1).unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_is_requested_once_and_sent_with_each_request() {
    let server = issuer(",\"expires_in\":3600").await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.auth = Some(oauth(&server, false));
    let http = Http::new(&step, &setup()).unwrap();
    let both = tokio::join!(run_on(&http, "1"), run_on(&http, "2"));
    assert_eq!(both, (due(2.0, 1), due(2.0, 1)));
    assert_eq!(
        paths(&server)
            .iter()
            .filter(|path| *path == "/token")
            .count(),
        1
    );
    let request = &server.requests()[0];
    assert_eq!(request.line, "POST /token HTTP/1.1");
    assert_eq!(request.body, "grant_type=client_credentials&scope=a+b");
    // me:s3cr%25t
    assert_eq!(request.headers["authorization"], "Basic bWU6czNjciUyNXQ=");
    step.auth = Some(oauth(&server, true));
    assert_eq!(run(&step, "1").await, due(2.0, 1));
    let request = &server.requests()[3];
    assert!(
        request
            .body
            .ends_with("&client_id=me&client_secret=s3cr%25t"),
        "{}",
        request.body
    );
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_if_it_is_refused() {
    // Too short to be used twice, as a number and as text.
    for seconds in [",\"expires_in\":0", ",\"expires_in\":\"0\""] {
        let server = issuer(seconds).await;
        let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
        step.auth = Some(oauth(&server, false));
        let http = Http::new(&step, &setup()).unwrap();
        assert_eq!(run_on(&http, "1").await, due(2.0, 1));
        assert_eq!(run_on(&http, "2").await, due(2.0, 1));
        assert_eq!(paths(&server), ["/token", "/1", "/token", "/2"]);
    }
    let server = issuer("").await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.auth = Some(oauth(&server, false));
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "refused").await, due(2.0, 1));
    assert_eq!(paths(&server), ["/token", "/refused", "/token", "/refused"]);
    // Only once for a request. The reason does not contain the token that the source returns.
    let error = reason(run_on(&http, "never").await);
    assert!(
        error.contains("401 Unauthorized: no: Bearer [secret TOKEN]"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 4 + 3);
}

#[tokio::test]
async fn a_token_that_is_not_issued_is_the_reason() {
    let server =
        Server::start(|_, _| reply("401 Unauthorized", r#"{"error":"invalid_client"}"#)).await;
    let mut step = step(&server.address);
    step.auth = Some(oauth(&server, false));
    let error = reason(run(&step, "1").await);
    let expected = format!(
        "token from {}/token: 401 Unauthorized: {{\"error\":\"invalid_client\"}}",
        server.address
    );
    assert!(error.ends_with(&expected), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_digest_challenge_is_answered_and_reused() {
    let server = Server::start(|request, _| match request.headers.get("authorization") {
        Some(header) if header.starts_with("Digest username=\"me\"") => {
            reply("200 OK", r#"{"due":2}"#)
        }
        _ => reply(
            "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"",
            "",
        ),
    })
    .await;
    let mut step = step(&format!("{}/x?id={{{{ row['ID'] }}}}", server.address));
    step.auth = Some(Auth::Digest {
        user: template("me"),
        password: template("pw"),
    });
    let http = Http::new(&step, &setup()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert_eq!(run_on(&http, "2").await, due(2.0, 1));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let header = &requests[2].headers["authorization"];
    assert!(
        header.contains("uri=\"/x?id=2\"") && header.contains("nc=00000002"),
        "{header}"
    );
    // A wrong password fails at once.
    let server = Server::start(|_, _| {
        reply(
            "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"",
            "",
        )
    })
    .await;
    step.url = template(&server.address);
    assert!(reason(run(&step, "1").await).ends_with("401 Unauthorized"));
    assert_eq!(server.requests().len(), 2);
}
