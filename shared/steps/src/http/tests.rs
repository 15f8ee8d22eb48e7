//! Against a server of our own on the loopback address, which the steps allow by name.

mod pages;
mod tls;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rowmill_domain::pipeline::{Extract, HttpOutput};
use rowmill_domain::record::Columns;
use rowmill_domain::{Kind, Record};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::guard::Looking;

/// What the server was asked.
#[derive(Clone, Debug, Default)]
struct Asked {
    line: String,
    headers: HashMap<String, String>,
    body: String,
}

/// What it answers.
enum Reply {
    /// Status line and headers, and the body.
    Http(String, Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// The connection is closed.
    Close,
    /// These bytes as they are, then the connection is closed.
    Raw(Vec<u8>),
}

fn reply(status: &str, body: &str) -> Reply {
    Reply::Http(status.to_owned(), body.as_bytes().to_vec())
}

struct Server {
    address: String,
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// `answer` gets each request and how many came before it.
    async fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Server {
            address: format!("http://127.0.0.1:{port}"),
            port,
            asked: asked.clone(),
            connections: connections.clone(),
        };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer.clone(), asked.clone()));
            }
        });
        server
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    answer: Arc<impl Fn(&Asked, usize) -> Reply + Send + Sync>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = Asked::default();
        loop {
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                return;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => {
                    request
                        .headers
                        .insert(name.to_ascii_lowercase(), value.to_owned());
                }
                None if line.trim_end().is_empty() => break,
                None => request.line = line.trim_end().to_owned(),
            }
        }
        let length = request.headers.get("content-length");
        let mut body = vec![0; length.map_or(0, |l| l.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        request.body = String::from_utf8(body).unwrap();
        let before = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        match answer(&request, before) {
            Reply::Http(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let all = [head.into_bytes(), body].concat();
                if stream.write_all(&all).await.is_err() {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Close => return,
        }
    }
}

fn step(url: &str) -> HttpStep {
    HttpStep {
        method: HttpMethod::Get,
        url: Template::compile(url).unwrap(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        form: Vec::new(),
        timeout: Duration::from_secs(5),
        attempts: 1,
        rate: None,
        robots: false,
        allow_hosts: vec!["127.0.0.1".into()],
        proxy: None,
        ca: None,
        cache: false,
        ok_when: None,
        pages: None,
        outputs: vec![HttpOutput {
            name: "due".into(),
            from: Extract::Json("$.due".into()),
            kind: Some(Kind::Number),
            optional: false,
        }],
    }
}

fn setup() -> Setup {
    Setup::new(4, std::env::temp_dir())
}

async fn run(step: &HttpStep, id: &str) -> StepResult {
    run_on(&Http::new(step, &setup()).unwrap(), id).await
}

async fn run_on(http: &Http, id: &str) -> StepResult {
    let columns = Columns::new(["ID", "Empty"]);
    let record = Record {
        row: 2,
        values: vec![Some(id.into()), None],
    };
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &[],
    };
    http.run(row).await
}

fn due(n: f64, attempts: u32) -> StepResult {
    StepResult::ok(vec![("due".into(), n.into())], attempts)
}

fn reason(result: StepResult) -> String {
    result.outputs.unwrap_err()
}

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
}

#[tokio::test]
async fn passing_faults_are_tried_again() {
    let server = Server::start(|_, before| match before {
        0 => reply("503 Service Unavailable\r\nRetry-After: 0", ""),
        1 => Reply::Close,
        2 => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"due\":".to_vec()),
        _ => reply("200 OK", r#"{"due":3}"#),
    })
    .await;
    let mut step = step(&server.address);
    step.attempts = 4;
    assert_eq!(run(&step, "1").await, due(3.0, 4));
}

#[tokio::test]
async fn a_fault_that_stays_is_the_reason() {
    let server = Server::start(
        |asked, _| match asked.line.split([' ', '?']).nth(1).unwrap() {
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
        ("page", "the response is no JSON", 1),
    ] {
        let result = run(&step, path).await;
        assert_eq!(result.attempts, attempts);
        let reason = reason(result);
        let told = format!("GET {}/{path}: {expected}", server.address);
        assert!(reason.starts_with(&told), "{reason}");
        assert!(!reason.contains("secret"));
    }
}

#[tokio::test]
async fn a_source_that_never_answers_takes_its_time_limit_and_no_more() {
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
async fn a_source_that_dribbles_is_cut_off_as_well() {
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
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let told = reason(run(&step(&address), "1").await);
    assert!(
        told.contains("cannot connect: Connection refused"),
        "{told}"
    );
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
async fn redirects_are_followed_up_to_a_limit() {
    let server = Server::start(|asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/start" => reply("302 Found\r\nLocation: /end?x=1", ""),
        "/kept" => reply("307 Temporary Redirect\r\nLocation: /end", ""),
        "/loop" => reply("301 Moved Permanently\r\nLocation: /loop", ""),
        "/bad" => reply("301 Moved Permanently\r\nLocation: http://[", ""),
        _ => reply("200 OK", r#"{"due":2}"#),
    })
    .await;
    let mut step = step(&format!("{}/{{{{ row['ID'] }}}}", server.address));
    step.method = HttpMethod::Post;
    step.body = Some(Template::compile("text").unwrap());
    assert_eq!(run(&step, "start").await, due(2.0, 1));
    assert_eq!(run(&step, "kept").await, due(2.0, 1));
    let asked = server.asked();
    assert_eq!(asked[1].line, "GET /end?x=1 HTTP/1.1");
    assert_eq!(
        (asked[1].body.as_str(), asked[3].body.as_str()),
        ("", "text")
    );
    let told = reason(run(&step, "loop").await);
    assert!(told.ends_with("more than 10 redirects"), "{told}");
    assert_eq!(server.asked().len(), 4 + 11);
    let told = reason(run(&step, "bad").await);
    assert!(told.contains("`http://[` is no valid URL"), "{told}");
}

#[tokio::test]
async fn another_origin_gets_no_headers_meant_for_the_first() {
    let second = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let to = second.address.clone();
    let first =
        Server::start(move |_, _| reply(&format!("302 Found\r\nLocation: {to}/"), "")).await;
    let mut step = step(&first.address);
    let header = |name: &str| (name.to_owned(), Template::compile("v").unwrap());
    step.headers = vec![
        header("X-Api-Key"),
        header("Authorization"),
        header("Accept"),
    ];
    assert_eq!(run(&step, "1").await, due(2.0, 1));
    assert_eq!(first.asked()[0].headers["x-api-key"], "v");
    let headers = &second.asked()[0].headers;
    assert!(!headers.contains_key("x-api-key") && !headers.contains_key("authorization"));
    assert_eq!(headers["accept"], "v");
}

/// Names for the tests, and how often they were looked up.
struct Names(AtomicUsize, Vec<&'static str>);

impl Lookup for Names {
    fn lookup(&self, _: &str) -> Looking {
        let i = self.0.fetch_add(1, Ordering::SeqCst).min(self.1.len() - 1);
        let address: IpAddr = self.1[i].parse().unwrap();
        Box::pin(std::future::ready(Ok(vec![address])))
    }
}

#[tokio::test]
async fn names_that_lead_to_private_addresses_are_refused_before_connecting() {
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
        assert_eq!(result.attempts, 1, "a refusal is not tried again");
        let told = reason(result);
        let expected = format!("evil.example resolves to {address}, which is not a public address");
        assert!(told.contains(&expected), "{told}");
        assert_eq!(names.0.load(Ordering::SeqCst), 1);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn localhost_by_the_systems_own_look_up_needs_leave() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let mut step = step(&format!("http://localhost:{}/", server.port));
    let told = reason(run(&step, "1").await);
    assert!(told.contains("refused: localhost resolves to"), "{told}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    step.allow_hosts = vec!["LocalHost".into()];
    assert_eq!(run(&step, "1").await, due(2.0, 1));
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_a_connection() {
    let server = Server::start(|_, before| match before {
        0 => reply("200 OK\r\nConnection: close", r#"{"due":2}"#),
        _ => reply("200 OK", r#"{"due":3}"#),
    })
    .await;
    // The second look-up leads elsewhere, as a rebinding name server's does.
    let names = Arc::new(Names(AtomicUsize::new(0), vec!["127.0.0.1", "127.0.0.2"]));
    let mut step = step(&format!("http://source.test:{}/", server.port));
    step.allow_hosts = vec!["source.test".into()];
    let http = Http::with_lookup(&step, &setup(), names.clone()).unwrap();
    assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    assert_eq!(names.0.load(Ordering::SeqCst), 1);
    // 127.0.0.2 has no such server: what the look-up says is what is connected to.
    assert!(run_on(&http, "1").await.outputs.is_err());
    assert_eq!(names.0.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn redirects_to_private_places_are_refused() {
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
        let told = reason(run_on(&http, "1").await);
        assert!(told.contains("refused: "), "{target}: {told}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn large_responses_are_cut_off_packed_or_not() {
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
        move |asked, _| match asked.line.split(' ').nth(1).unwrap() {
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
        let told = reason(run(&step, path).await);
        assert!(
            told.ends_with("the response is larger than 10 MiB"),
            "{path}: {told}"
        );
    }
    assert_eq!(run(&step, "small").await, due(5.0, 1));
    assert_eq!(run(&step, "fits").await, due(6.0, 1));
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"due":2}"#)).await;
    let http = Http::new(&step(&server.address), &setup()).unwrap();
    for _ in 0..20 {
        assert_eq!(run_on(&http, "1").await, due(2.0, 1));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_rate_is_kept() {
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

/// Runs rows 1 to `rows`, `at_once` at a time; all results.
async fn run_all(http: Http, rows: u32, at_once: usize) -> Vec<StepResult> {
    let http = Arc::new(http);
    let next = Arc::new(std::sync::atomic::AtomicU32::new(1));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (http, next) = (http.clone(), next.clone());
        workers.spawn(async move {
            let columns = Columns::new(["ID"]);
            let mut results = Vec::new();
            loop {
                let row = next.fetch_add(1, Ordering::SeqCst);
                if row > rows {
                    return results;
                }
                let record = Record {
                    row,
                    values: vec![Some(f64::from(row).into())],
                };
                let row = Row {
                    columns: &columns,
                    record: &record,
                    outputs: &[],
                };
                results.push(http.run(row).await);
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_source_that_throttles_loses_no_row() {
    // 20 requests in any tenth of a second, and 429 without a word about when for the rest.
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
    let mut setup = setup();
    setup.concurrency = 16;
    let results = run_all(Http::new(&step, &setup).unwrap(), 150, 16).await;
    assert_eq!(results.len(), 150);
    for result in results {
        assert!(result.outputs.is_ok(), "{result:?}");
    }
    let throttled = server.asked().len() - 150;
    assert!((1..150).contains(&throttled), "{throttled} refused");
}

#[tokio::test]
async fn a_source_that_dies_and_comes_back_loses_no_row() {
    for dead in ["503 Service Unavailable", "close"] {
        let born = Mutex::new(None);
        let server = Server::start(move |_, before| {
            // Dead for a second from the 50th request on.
            let mut born = born.lock().unwrap();
            if before < 50 {
                return reply("200 OK", r#"{"due":2}"#);
            }
            let since: &mut Instant = born.get_or_insert_with(Instant::now);
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
        let mut setup = setup();
        setup.concurrency = 8;
        let results = run_all(Http::new(&step, &setup).unwrap(), 200, 8).await;
        assert_eq!(results.len(), 200);
        for result in results {
            assert!(result.outputs.is_ok(), "{dead}: {result:?}");
        }
        assert!(server.asked().len() < 300, "the dead source is not stormed");
    }
}

/// A server whose port is closed for a time, as while it is restarted.
#[tokio::test]
async fn a_source_that_goes_away_and_comes_back_loses_no_row() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let answer = Arc::new(|_: &Asked, _: usize| reply("200 OK", r#"{"due":2}"#));
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
            // The first life ends after 60 requests, with its connections.
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
    let mut setup = setup();
    setup.concurrency = 8;
    let results = run_all(Http::new(&step, &setup).unwrap(), 200, 8).await;
    assert_eq!(results.len(), 200);
    for result in results {
        assert!(result.outputs.is_ok(), "{result:?}");
    }
}

#[tokio::test]
async fn a_source_that_goes_away_for_good_ends_with_reasons_in_bounded_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = Arc::new(|_: &Asked, before: usize| match before {
            0..10 => reply("200 OK", r#"{"due":2}"#),
            _ => Reply::Close,
        });
        serve(stream, answer, Arc::default()).await;
    });
    let mut step = step(&format!("http://{address}"));
    step.attempts = 4;
    let mut http = Http::new(&step, &setup()).unwrap();
    http.patience = Duration::from_millis(700);
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
async fn a_source_that_stays_dead_ends_with_reasons_in_bounded_time() {
    let server = Server::start(|_, before| match before {
        ..=10 => reply("200 OK", r#"{"due":2}"#),
        _ => reply("502 Bad Gateway", ""),
    })
    .await;
    let mut step = step(&server.address);
    step.attempts = 2;
    let mut http = Http::new(&step, &setup()).unwrap();
    http.patience = Duration::from_millis(700);
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
    assert!(server.asked().len() < 550, "{}", server.asked().len());
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
async fn what_a_success_is_can_be_said() {
    let server = Server::start(
        |asked, before| match asked.line.split(' ').nth(1).unwrap() {
            "/gone" => reply("404 Not Found", r#"{"due":0}"#),
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
    let result = run(&step, "no").await;
    assert_eq!(result.attempts, 1);
    assert!(
        reason(result).ends_with("400 Bad Request, and `status == 404 || due >= 0` does not hold")
    );
    let result = run(&step, "busy").await;
    assert_eq!(result.attempts, 2);
    assert!(reason(result).contains("503 Service Unavailable, and `status"));
}

#[tokio::test]
async fn the_same_request_is_sent_once_where_responses_are_kept() {
    let server = Server::start(
        |asked, before| match asked.line.split(' ').nth(1).unwrap() {
            "/bad" => reply("404 Not Found", ""),
            _ => reply("200 OK", &format!("{{\"due\":{before}}}")),
        },
    )
    .await;
    let mut step = step(&server.address);
    step.cache = true;
    let results = run_all(Http::new(&step, &setup()).unwrap(), 50, 4).await;
    assert!(results.iter().all(|result| *result == due(0.0, 1)));
    assert_eq!(server.asked().len(), 1);
    // Another URL, other headers: other requests. What fails is not kept.
    step.url = Template::compile(&format!("{}/{{{{ row['ID'] }}}}", server.address)).unwrap();
    step.headers = vec![("X-Id".into(), Template::compile("{{ row['ID'] }}").unwrap())];
    let http = Http::new(&step, &setup()).unwrap();
    for path in ["a", "b", "a", "bad", "bad"] {
        let _ = run_on(&http, path).await;
    }
    let lines: Vec<String> = server.asked()[1..].iter().map(|a| a.line.clone()).collect();
    let get = |path: &str| format!("GET /{path} HTTP/1.1");
    assert_eq!(lines, [get("a"), get("b"), get("bad"), get("bad")]);
}
