//! Refused addresses.

use super::*;

/// A resolver with fixed answers that counts look-ups.
struct Names(AtomicUsize, Vec<&'static str>);

impl Lookup for Names {
    fn lookup(&self, _: &str) -> LookupFuture {
        let i = self.0.fetch_add(1, Ordering::SeqCst).min(self.1.len() - 1);
        let address: IpAddr = self.1[i].parse().unwrap();
        Box::pin(std::future::ready(Ok(vec![address])))
    }
}

#[tokio::test]
async fn names_that_resolve_to_private_addresses_are_refused_before_connecting() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    for address in [
        "127.0.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "fd00:ec2::254",
        "fe80::1",
        "64:ff9b::7f00:1",
    ] {
        let names = Arc::new(Names(AtomicUsize::new(0), vec![address]));
        let mut step = step(&format!("http://evil.example:{}/", server.port));
        step.attempts = 3;
        step.allow_hosts.clear();
        let http = Http::with_lookup(&step, &setup(), names.clone()).unwrap();
        let result = run_on(&http, "1").await;
        assert_eq!(result.attempts, 1, "a refused request is not retried");
        let error = reason(result);
        let expected = format!("evil.example resolves to {address}, which is not a public address");
        assert!(error.contains(&expected), "{error}");
        assert_eq!(names.0.load(Ordering::SeqCst), 1);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn localhost_is_refused_unless_it_is_allowed() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let mut step = step(&format!("http://localhost:{}/", server.port));
    let error = reason(run(&step, "1").await);
    assert!(error.contains("refused: localhost resolves to"), "{error}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    step.allow_hosts = vec!["LocalHost".into()];
    assert_eq!(run(&step, "1").await, due(2.0, 1));
}

#[tokio::test]
async fn a_name_is_looked_up_once_per_connection() {
    let server = Server::start(|_, before| match before {
        0 => reply("200 OK\r\nConnection: close", r#"{"due":2}"#),
        _ => reply("200 OK", r#"{"due":3}"#),
    })
    .await;
    // The second look-up returns another address, like a DNS rebinding server.
    let names = Arc::new(Names(AtomicUsize::new(0), vec!["127.0.0.1", "127.0.0.2"]));
    let mut step = step(&format!("http://source.test:{}/", server.port));
    step.allow_hosts = vec!["source.test".into()];
    let http = Http::with_lookup(&step, &setup(), names.clone()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert_eq!(names.0.load(Ordering::SeqCst), 1);
    // Nothing listens on 127.0.0.2: the connection goes to the address that was looked up.
    assert!(run_on(&http, "1").await.outputs.is_err());
    assert_eq!(names.0.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn redirects_to_private_addresses_are_refused() {
    let targets = [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://2852039166/",
        "http://0x7f.2/",
        "http://10.0.0.1:8080/",
        "//192.168.0.1/",
        "http://localhost.test/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
    ];
    for target in targets {
        let server =
            Server::start(move |_, _| reply(&format!("302 Found\r\nLocation: {target}"), "")).await;
        let names = Arc::new(Names(AtomicUsize::new(0), vec!["127.0.0.1"]));
        let http = Http::with_lookup(&step(&server.address), &setup(), names).unwrap();
        let error = reason(run_on(&http, "1").await);
        assert!(error.contains("refused: "), "{target}: {error}");
        assert_eq!(server.requests().len(), 1);
    }
}
