//! TLS and HTTP/2 with a test CA; proxies.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Starts a server on `localhost` with this ALPN protocol. Returns its port and the PEM of its CA.
async fn tls_server(alpn: &'static [u8]) -> (u16, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate disconnects.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                if alpn == b"h2" {
                    answer_h2(stream).await;
                } else {
                    let mut buffer = [0; 4096];
                    while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                        let body = r#"{"due":1.1}"#;
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
                        let answer = format!("{head}\r\n{body}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    (port, ca.pem())
}

/// Answers with the number of earlier requests on the connection.
async fn answer_h2(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut before = 0;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().status(200).body(()).unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        let body = format!("{{\"due\":{before}}}");
        send.send_data(body.into(), true).unwrap();
        before += 1;
    }
}

fn tls_step(port: u16, ca: Option<&str>) -> HttpStep {
    let mut step = step(&format!("https://localhost:{port}/"));
    step.allow_hosts = vec!["localhost".into()];
    step.ca = ca.map(str::to_owned);
    step
}

#[tokio::test]
async fn a_host_is_trusted_only_with_the_ca_of_the_step() {
    let (port, ca) = tls_server(b"http/1.1").await;
    assert_eq!(run(&tls_step(port, Some(&ca)), "1").await, due(1.1, 1));
    let error = reason(run(&tls_step(port, None), "1").await);
    assert!(
        error.contains("cannot connect") && error.contains("certificate"),
        "{error}"
    );
    // Another CA does not help.
    let (_, other) = tls_server(b"http/1.1").await;
    let error = reason(run(&tls_step(port, Some(&other)), "1").await);
    assert!(error.contains("certificate"), "{error}");
    // The certificate must match the name.
    let mut step = tls_step(port, Some(&ca));
    step.url = Template::compile(&format!("https://127.0.0.1:{port}/")).unwrap();
    step.allow_hosts = vec!["127.0.0.1".into()];
    let error = reason(run(&step, "1").await);
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn http2_is_used_if_offered_on_one_connection() {
    let (port, ca) = tls_server(b"h2").await;
    let http = Http::new(&tls_step(port, Some(&ca)), &setup()).unwrap();
    for before in 0..5 {
        assert_eq!(run_on(&http, "1").await, due(f64::from(before), 1));
    }
}

#[tokio::test]
async fn an_invalid_certificate_is_rejected_at_setup() {
    for pem in [
        "no PEM",
        "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----",
    ] {
        let step = tls_step(1, Some(pem));
        let error = Http::new(&step, &setup()).err().unwrap().to_string();
        assert!(error.starts_with("ca: "), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_resolves_the_names_of_the_requests() {
    let proxy = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let mut step = step("http://tax.internal.example/parcels/{{ row['ID'] }}");
    // The proxy may have a private address, because the pipeline sets it.
    let url = format!(
        "http://user:{{{{ secret('PROXY') | urlencode }}}}@localhost:{}",
        proxy.port
    );
    step.proxy = Some(Template::compile(&url).unwrap());
    step.allow_hosts.clear();
    let mut deps = setup();
    deps.secrets = Arc::new([("PROXY", "p w/1")].into_iter().collect());
    let error = Http::new(&step, &deps).err().map(|e| e.to_string());
    assert_eq!(error, None);
    let http = Http::new(&step, &deps).unwrap();
    assert_eq!(run_on(&http, "7").await, due(2.0, 1));
    let request = &proxy.requests()[0];
    assert_eq!(
        request.line,
        "GET http://tax.internal.example/parcels/7 HTTP/1.1"
    );
    assert_eq!(
        request.headers["proxy-authorization"],
        "Basic dXNlcjpwIHcvMQ=="
    );
}

#[tokio::test]
async fn private_addresses_in_urls_are_refused_with_a_proxy() {
    let proxy = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    for url in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::1]/".to_owned(),
        // A record may not reach the proxy itself by its address.
        format!("{}/", proxy.address),
    ] {
        let mut step = step(&url);
        step.proxy = Some(Template::compile(&proxy.address).unwrap());
        step.allow_hosts.clear();
        let error = reason(run(&step, "1").await);
        assert!(error.contains("refused: "), "{error}");
    }
    assert_eq!(proxy.requests().len(), 0);
}
