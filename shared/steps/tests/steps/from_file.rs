//! Every option of `http` and `command`, from the pipeline file to what a real server or program
//! receives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row, Value};
use rowmill_pipeline::{HttpMethod, Pipeline};
use rowmill_steps::{StepDeps, StepResult, runner};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Request lines with their bodies, in the order received.
type Requests = Arc<Mutex<Vec<String>>>;

const PAGE: &str =
    "<p>Parcel No 17</p><ul><li>one</li><li>two</li></ul><a href='/next'>Next page</a>";

/// Starts a local server. Returns its address and the requests that it receives.
async fn server() -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let shared = requests.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, shared.clone()));
        }
    });
    (address, requests)
}

/// `/gone` is a 404 with a body, all other paths return [`PAGE`]. A header returns the method.
async fn serve(stream: TcpStream, requests: Requests) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let headers: HashMap<String, &str> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |l| l.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let body = String::from_utf8(body).unwrap();
        let line = lines[0].trim_end_matches(" HTTP/1.1");
        let (method, target) = line.split_once(' ').unwrap();
        // Every step requests robots.txt once; it is not recorded.
        if target != "/robots.txt" {
            let request = format!("{line} {body}");
            requests.lock().unwrap().push(request.trim_end().to_owned());
        }
        let (status, body) = match target {
            "/robots.txt" => ("200 OK", "User-agent: *\nDisallow: /private"),
            "/gone" => ("404 Not Found", r#"{"due":0}"#),
            "/refused" => ("400 Bad Request", r#"{"due":-1}"#),
            _ => ("200 OK", PAGE),
        };
        let length = body.len();
        let body = if method == "HEAD" { "" } else { body };
        let reply = format!(
            "HTTP/1.1 {status}\r\nX-Method: {method}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Runs the first step of a pipeline on records with these values of the column `ID`, in order.
async fn run(toml: &str, ids: &[&str]) -> Vec<StepResult> {
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let deps = StepDeps::new(1, std::env::temp_dir());
    let step = runner(&pipeline.steps[0], &deps).unwrap();
    let columns = Columns::new(["ID"]);
    let mut results = Vec::new();
    for (row, id) in (1..).zip(ids) {
        let record = Record {
            row,
            values: vec![Some((*id).into())],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        results.push(step.run(row).await);
    }
    step.close().await;
    results
}

/// The value of an output.
#[track_caller]
fn output(result: &StepResult, name: &str) -> Value {
    let outputs = result.outputs.as_ref().unwrap();
    let found = outputs.iter().find(|(n, _)| &**n == name);
    found
        .unwrap_or_else(|| panic!("{name}: {outputs:?}"))
        .1
        .clone()
}

/// An `http` step for a URL, with more keys.
fn http(url: &str, more: &str) -> String {
    format!(
        "[[step]]\nkind = \"http\"\nurl = \"{url}\"\nattempts = 1\nallow_hosts = [\"127.0.0.1\"]\n{more}\n"
    )
}

#[tokio::test]
async fn method_is_sent() {
    let (address, requests) = server().await;
    for method in HttpMethod::ALL {
        let name = method.name();
        let more = format!(
            "method = \"{name}\"\noutputs = {{ m = {{ header = \"x-method\" }}, s = {{ status = true }} }}"
        );
        let result = run(&http(&address, &more), &["1"]).await.remove(0);
        assert_eq!(output(&result, "m"), name.into());
        assert_eq!(output(&result, "s"), 200.0.into());
    }
    let lines = HttpMethod::ALL.map(|m| format!("{} /", m.name()));
    assert_eq!(*requests.lock().unwrap(), lines);
}

#[tokio::test]
async fn query_and_form_are_sent() {
    let (address, requests) = server().await;
    let more = r#"
method = "PATCH"
query = { q = "{{ row['ID'] }}", b = "2" }
form = { id = "{{ row['ID'] }}", "n m" = "x" }
outputs = { s = { status = true } }"#;
    let results = run(&http(&format!("{address}/x?a=1"), more), &["ä&b"]).await;
    assert_eq!(output(&results[0], "s"), 200.0.into());
    assert_eq!(
        *requests.lock().unwrap(),
        ["PATCH /x?a=1&q=%C3%A4%26b&b=2 id=%C3%A4%26b&n+m=x"]
    );
}

#[tokio::test]
async fn cache_avoids_repeated_requests() {
    let (address, requests) = server().await;
    for (cache, expected) in [("false", 4), ("true", 2)] {
        let more = format!("cache = {cache}\noutputs = {{ s = {{ status = true }} }}");
        let url = format!("{address}/{{{{ row['ID'] }}}}");
        let results = run(&http(&url, &more), &["a", "b", "a", "b"]).await;
        assert!(results.iter().all(|r| output(r, "s") == 200.0.into()));
        let requests = std::mem::take(&mut *requests.lock().unwrap());
        assert_eq!(requests.len(), expected, "cache = {cache}: {requests:?}");
    }
}

#[tokio::test]
async fn robots_txt_is_obeyed_unless_robots_is_false() {
    let (address, requests) = server().await;
    for (more, disallowed) in [("", true), ("robots = false\n", false)] {
        let more = format!("{more}outputs = {{ s = {{ status = true }} }}");
        let results = run(&http(&format!("{address}/private/1"), &more), &["1"]).await;
        assert_eq!(results[0].outputs.is_err(), disallowed);
    }
    assert_eq!(*requests.lock().unwrap(), ["GET /private/1"]);
}

#[tokio::test]
async fn ok_when_decides_what_a_success_is() {
    let (address, _) = server().await;
    let more = r#"
ok_when = "status == 404 && due >= 0 && row['ID'] != 'x'"
outputs = { due = { json = "$.due" } }"#;
    let url = format!("{address}/{{{{ row['ID'] }}}}");
    let results = run(&http(&url, more), &["gone", "refused"]).await;
    assert_eq!(output(&results[0], "due"), 0.0.into());
    let reason = results[1].outputs.as_ref().unwrap_err();
    assert!(
        reason.contains("400 Bad Request, and `status == 404"),
        "{reason}"
    );
}

#[tokio::test]
async fn outputs_come_from_body_headers_and_status() {
    let (address, _) = server().await;
    let more = r#"
[step.outputs]
text = { css = "a" }
link = { css = "a", attribute = "href" }
items = { css = "li", all = true }
number = { regex = "No ([0-9]+)", type = "number" }
method = { header = "X-Method" }
code = { status = true }
none = { header = "ETag", optional = true }"#;
    let results = run(&http(&address, more), &["1"]).await;
    let expected: [(Arc<str>, Value); 6] = [
        ("text".into(), "Next page".into()),
        ("link".into(), "/next".into()),
        ("items".into(), "one; two".into()),
        ("number".into(), 17.0.into()),
        ("method".into(), "GET".into()),
        ("code".into(), 200.0.into()),
    ];
    assert_eq!(results[0].outputs.as_deref(), Ok(&expected[..]));
}

/// A `command` step whose program returns the number that `value` prints for each record.
#[cfg(unix)]
fn command(value: &str, more: &str) -> String {
    format!(
        r#"[[step]]
kind = "command"
program = ["sh", "-c", '''
while IFS= read -r line; do
    row=${{line#*:}}; row=${{row%%,*}}
    printf '{{"row":%s,"outputs":{{"n":%s}}}}\n' "$row" "$({value})"
done''']
outputs = ["n"]
{more}
"#
    )
}

#[cfg(unix)]
#[tokio::test]
async fn process_is_per_child_or_per_record() {
    for (process, processes) in [("child", 1), ("record", 3)] {
        let toml = command("echo $$", &format!("process = \"{process}\""));
        let results = run(&toml, &["a", "b", "c"]).await;
        let ids: std::collections::HashSet<String> =
            results.iter().map(|r| output(r, "n").to_text()).collect();
        assert_eq!(ids.len(), processes, "{process}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_limits_the_address_space() {
    for process in ["child", "record"] {
        let more = format!("process = \"{process}\"\nprocess_memory = \"256 MiB\"");
        let results = run(&command("ulimit -v", &more), &["a"]).await;
        // `ulimit` counts KiB.
        assert_eq!(output(&results[0], "n"), f64::from(256 * 1024).into());
    }
}
