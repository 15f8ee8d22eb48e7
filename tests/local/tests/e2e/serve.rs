//! `rowmill serve`: the API and the page on one machine.

use rowmill_tests_local::program::{Job, root};
use rowmill_tests_local::server::Server;
use rowmill_tests_local::workbook::{Book, Cell};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
description = "Scores reviews."
[input]
required = ["text"]
[[step]]
kind = "sentiment"
column = "text"
"#;

fn reviews() -> Book {
    let texts = ["I love it", "I hate it", "It arrived on Monday", ""];
    let row = |text| vec![Cell::from("x"), Cell::from(text)];
    Book::new(&["id", "text"], texts.map(row))
}

fn started() -> (Job, Server) {
    let job = Job::new(&reviews(), PIPELINE);
    let server = Server::start(job.folder(), &job.out());
    (job, server)
}

#[test]
fn a_workbook_is_uploaded_previewed_run_and_downloaded() {
    let (job, server) = started();
    let session = server.get("/session");
    assert_eq!(session["role"], "operator");

    let pipelines = server.get("/pipelines");
    let pipeline = &pipelines["pipelines"][0];
    assert_eq!(pipeline["name"], "job");
    assert_eq!(pipeline["columns"], json!(["text"]));
    assert_eq!(pipeline["steps"][0]["kind"], "sentiment");

    let upload = server.upload(&job.workbook, "job");
    let asked = json!({ "upload": upload, "pipeline": "job", "limit": 2 });
    let answer = server.call("POST", "/preview", &asked);
    let preview = answer.json();
    assert_eq!(preview["problem"], Value::Null, "{preview}");
    assert_eq!(
        (&preview["records"], &preview["rejected"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(preview["rows"].as_array().unwrap().len(), 2);
    assert_eq!(preview["rows"][0]["row"], 2);
    assert_eq!(preview["rows"][0]["values"]["sa_class"], "positive");
    assert!(
        preview["plan"]["cost_usd"].as_f64().unwrap() > 0.0,
        "{preview}"
    );

    let run = server.run(&upload, "job");
    // It is known at once, and the same request again is the same run.
    assert_eq!(server.get(&format!("/runs/{run}"))["run"], *run);
    assert_eq!(server.run(&upload, "job"), run);
    let ended = server.ended(&run);
    assert_eq!(ended["state"], "delivered", "{ended}");
    assert_eq!(ended["counts"]["ok"], 3);
    assert_eq!(ended["counts"]["rejected"], 1);
    assert_eq!(ended["processed"], 3);
    assert!(ended["cost_usd"].as_f64().unwrap() > 0.0, "{ended}");
    assert_eq!(ended["reasons"][0]["status"], "rejected");
    assert_eq!(ended["file"], "input.xlsx");

    // Cleanup still changes the run for a moment.
    let path = format!("/runs/{run}");
    let unchanged = || {
        let etag = server
            .call("GET", &path, &Value::Null)
            .header("etag")
            .to_owned();
        let host = server.host();
        let bearer = format!("Bearer {}", server.token);
        let headers = [
            ("Host", &*host),
            ("Authorization", &*bearer),
            ("If-None-Match", &*etag),
        ];
        let answer = server.send("GET", &path, &headers, b"");
        answer.status == 304 && answer.body.is_empty()
    };
    assert!((0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        unchanged()
    }));

    let answer = server.call("GET", &format!("{path}/workbook"), &Value::Null);
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-disposition")
            .contains("filename=\"input-result.xlsx\"")
    );
    let copy = job.folder().join("copy.xlsx");
    std::fs::write(&copy, &answer.body).unwrap();
    let read = rowmill_tests_local::workbook::read(&copy, false);
    let read = rowmill_tests_local::program::Read(read);
    assert_eq!(read.texts("sa_class"), ["positive", "negative", "neutral"]);

    // A second upload of the same file is another run; the newest is first, in pages.
    let second = server.run(&server.upload(&job.workbook, "job"), "job");
    assert_ne!(second, run);
    server.ended(&second);
    let page = server.get("/runs?limit=1");
    assert_eq!(page["runs"][0]["run"], *second);
    let next = page["next"].as_str().unwrap();
    let page = server.get(&format!(
        "/runs?limit=1&after={next}&state=delivered&pipeline=job"
    ));
    assert_eq!(page["runs"][0]["run"], *run);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(server.get("/runs?state=failed")["runs"], json!([]));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_deleted_run_leaves_nothing_and_another_stays() {
    let (job, server) = started();
    let run = server.run(&server.upload(&job.workbook, "job"), "job");
    let other = server.run(&server.upload(&job.workbook, "job"), "job");
    server.ended(&other);
    let path = format!("/runs/{run}");
    // Cleanup still works on the run for a moment.
    let deleted = || server.call("DELETE", &path, &Value::Null).status;
    let first = (0..100).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        deleted()
    });
    let first: Vec<u16> = first.take_while(|status| *status != 204).collect();
    assert!(
        first.len() < 100 && first.iter().all(|status| *status == 409),
        "{first:?}"
    );
    assert_eq!(deleted(), 404);
    for path in [&path, &format!("{path}/workbook"), &format!("{path}/rows")] {
        assert_eq!(server.call("GET", path, &Value::Null).status, 404, "{path}");
    }
    let listed = server.get("/runs");
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["runs"][0]["run"], *other);
    assert!(listed["runs"][0]["cost_usd"].as_f64().unwrap() > 0.0);
    // No file has its id, and the other run has its workbook.
    let mut folders = vec![job.out()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            files += 1;
            let is_log = path
                .components()
                .any(|part| part.as_os_str() == "logs" || part.as_os_str() == "outbox");
            assert!(
                is_log || !path.to_string_lossy().contains(&*run),
                "{}",
                path.display()
            );
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(files > 10);
    let answer = server.call("GET", &format!("/runs/{other}/workbook"), &Value::Null);
    assert_eq!(answer.status, 200);
}

#[test]
fn a_run_in_progress_is_not_deleted() {
    let job = Job::new(&Book::numbered(400), SLOW);
    let server = Server::start(job.folder(), &job.out());
    let run = server.run(&server.upload(&job.workbook, "job"), "job");
    let path = format!("/runs/{run}");
    while server.get(&path)["processed"].as_u64().unwrap() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let running = server.get(&path);
    assert!(running["cost_usd"].as_f64().unwrap() > 0.0, "{running}");
    assert_eq!(server.call("DELETE", &path, &Value::Null).status, 409);
    server.call("POST", &format!("{path}/cancel"), &json!({}));
    assert_eq!(server.ended(&run)["counts"]["records"], 400);
}

#[test]
fn an_interrupted_run_continues_when_serve_starts_again() {
    let job = Job::new(&Book::numbered(200), SLOW);
    let server = Server::start(job.folder(), &job.out());
    let upload = server.upload(&job.workbook, "job");
    let run = server.run(&upload, "job");
    let path = format!("/runs/{run}");
    while server.get(&path)["processed"].as_u64().unwrap() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(server.stop(), Some(0));

    let server = Server::start(job.folder(), &job.out());
    let ended = server.ended(&run);
    assert_eq!(ended["counts"]["ok"], 200, "{ended}");
}

#[test]
fn a_cancelled_run_delivers_what_is_done() {
    let job = Job::new(&Book::numbered(400), SLOW);
    let server = Server::start(job.folder(), &job.out());
    let run = server.run(&server.upload(&job.workbook, "job"), "job");
    let path = format!("/runs/{run}");
    while server.get(&path)["processed"].as_u64().unwrap() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for _ in 0..2 {
        let answer = server.call("POST", &format!("{path}/cancel"), &json!({}));
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let ended = server.ended(&run);
    assert_eq!(ended["state"], "delivered_with_errors", "{ended}");
    let counts = &ended["counts"];
    let (ok, missing) = (
        counts["ok"].as_u64().unwrap(),
        counts["missing"].as_u64().unwrap(),
    );
    assert!(ok > 0 && missing > 0 && ok + missing == 400, "{ended}");
    let stopped = ended["stopped"].as_str().unwrap();
    assert!(stopped.contains("cancelled by operator"), "{stopped}");
    let late = server.call("POST", &format!("{path}/cancel"), &json!({}));
    assert_eq!(late.status, 409, "{}", late.text());
}

const SLOW: &str = r#"
[[step]]
kind = "command"
program = ["sh", "-c", '''while read -r line; do
sleep 0.05
row=${line#*:}; row=${row%%,*}
echo "{\"row\":$row,\"outputs\":{\"seen\":\"yes\"}}"
done''']
outputs = ["seen"]
"#;

#[test]
fn only_this_machine_with_the_token_gets_an_answer() {
    let (_job, server) = started();
    let (host, bearer) = (server.host(), format!("Bearer {}", server.token));
    let origin = format!("http://{host}");
    let token = ("Authorization", &*bearer);
    let own = ("Host", &*host);
    for (headers, status) in [
        (vec![own, token], 200),
        (vec![own, token, ("Origin", &*origin)], 200),
        (
            vec![("Host", &*format!("localhost:{}", server.port)), token],
            200,
        ),
        (vec![own], 401),
        (vec![own, ("Authorization", "Bearer 0123")], 401),
        (vec![own, ("Authorization", "Basic 0123")], 401),
        // DNS rebinding: another name for this machine.
        (vec![("Host", "evil.example"), token], 403),
        (vec![("Host", "127.0.0.1"), token], 403),
        (vec![token], 403),
        // A page of another site.
        (vec![own, token, ("Origin", "https://evil.example")], 403),
        (vec![own, token, ("Origin", "null")], 403),
    ] {
        for path in ["/session", "/pipelines", "/runs"] {
            let answer = server.send("GET", path, &headers, b"");
            assert_eq!(
                answer.status,
                status,
                "{path} {headers:?} {}",
                answer.text()
            );
        }
    }
    // A page of another site can send a form without asking first. It has no token, and would be refused
    // with one.
    let evil = ("Origin", "https://evil.example");
    let form = ("Content-Type", "text/plain");
    let run = "/runs/20261121-job-0123456789ab";
    for (method, path) in [
        ("POST", "/runs"),
        ("POST", "/uploads"),
        ("POST", "/feedback"),
        ("POST", &*format!("{run}/cancel")),
        ("DELETE", run),
    ] {
        let status = |headers: &[(&str, &str)]| server.send(method, path, headers, b"{}").status;
        assert_eq!(status(&[own]), 401, "{path}");
        assert_eq!(status(&[own, form, evil]), 403, "{path}");
        assert_eq!(status(&[own, form, evil, token]), 403, "{path}");
        let rebound = ("Host", "evil.example");
        assert_eq!(status(&[rebound, token]), 403, "{path}");
    }

    // The page needs no token, and every answer has the headers.
    for (path, status, kind) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/assets/app.js", 200, "text/javascript; charset=utf-8"),
        ("/assets/app.css", 200, "text/css; charset=utf-8"),
        ("/assets/icon.svg", 200, "image/svg+xml"),
        ("/session", 401, "application/problem+json"),
        ("/no-such", 404, "application/problem+json"),
    ] {
        let answer = server.send("GET", path, &[own], b"");
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), kind, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{path} {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(!answer.text().contains(&server.token), "{path}");
        assert_eq!(server.send("GET", path, &[], b"").status, 403, "{path}");
    }
}

#[test]
fn every_error_is_a_problem_that_says_what_to_do() {
    let (job, server) = started();
    let upload = server.upload(&job.workbook, "job");
    let big = "x".repeat(70_000);
    let unknown = "20261121-job-0123456789ab";
    let none = Value::Null;
    for (method, path, body, status) in [
        ("GET", "/no-such", none.clone(), 404),
        ("PUT", "/runs", none.clone(), 405),
        ("DELETE", "/session", none.clone(), 405),
        ("GET", "/runs/no-such", none.clone(), 404),
        ("GET", &*format!("/runs/{unknown}"), none.clone(), 404),
        (
            "GET",
            &*format!("/runs/{unknown}/workbook"),
            none.clone(),
            404,
        ),
        ("GET", "/runs?limit=0", none.clone(), 400),
        ("GET", "/runs?limit=x", none.clone(), 400),
        ("GET", "/runs?after=x", none.clone(), 400),
        ("GET", "/runs?state=x", none.clone(), 400),
        ("GET", "/runs?color=x", none.clone(), 400),
        ("POST", "/runs", none.clone(), 415),
        ("POST", "/runs", json!({}), 400),
        ("POST", "/runs", json!([big]), 413),
        (
            "POST",
            "/runs",
            json!({ "upload": "0", "pipeline": "job" }),
            404,
        ),
        (
            "POST",
            "/runs",
            json!({ "upload": upload, "pipeline": "x" }),
            400,
        ),
        (
            "POST",
            "/runs",
            json!({ "upload": upload, "pipeline": "../x" }),
            400,
        ),
        (
            "POST",
            "/preview",
            json!({ "upload": upload, "pipeline": "job", "limit": 0 }),
            400,
        ),
        (
            "POST",
            "/uploads",
            json!({ "file": "../a.xlsx", "pipeline": "job", "size": 1 }),
            400,
        ),
        (
            "POST",
            "/uploads",
            json!({ "file": "a.xlsx", "pipeline": "x", "size": 1 }),
            400,
        ),
        (
            "POST",
            "/uploads",
            json!({ "file": "a.xlsx", "pipeline": "job", "size": 1u64 << 40 }),
            413,
        ),
        ("POST", "/uploads/0", none.clone(), 404),
        ("POST", &*format!("/uploads/{upload}"), none.clone(), 415),
        ("DELETE", &*format!("/runs/{unknown}"), none.clone(), 404),
        ("GET", "/feedback?pipeline=x", none.clone(), 400),
        ("GET", "/feedback?pipeline=job&after=x", none.clone(), 400),
    ] {
        let answer = server.call(method, path, &body);
        assert_eq!(answer.status, status, "{method} {path} {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        for member in ["title", "detail"] {
            assert!(problem[member].as_str().unwrap().len() > 5, "{problem}");
        }
    }
    // A key of another upload, or outside of the uploads.
    for key in ["../../ledger.db", "uploads/0/a.xlsx", "pipelines/job.toml"] {
        let answer = server.send_file(&format!("/uploads/{upload}"), key, b"x");
        assert_eq!(answer.status, 400, "{key} {}", answer.text());
    }
    // What is wrong with the workbook is part of the preview.
    let text = job.folder().join("text.csv");
    std::fs::write(&text, "other\n1\n").unwrap();
    let asked = json!({ "upload": server.upload(&text, "job"), "pipeline": "job" });
    let preview = server.call("POST", "/preview", &asked).json();
    let detail = preview["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("`text`"), "{detail}");
    assert_eq!(preview["rows"], json!([]));
}

#[test]
fn pipelines_are_reread_and_errors_in_them_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("all"), dir.path().join("out"));
    std::fs::create_dir_all(folder.join("reviews")).unwrap();
    let toml = root().join("examples/reviews/pipeline.toml");
    std::fs::copy(toml, folder.join("reviews/pipeline.toml")).unwrap();
    std::fs::write(folder.join("tax.toml"), "[input]\nkye = []\n").unwrap();
    let server = Server::start(&folder, &out);
    let find = |name: &str| {
        let all = server.get("/pipelines");
        let all = all["pipelines"].as_array().unwrap().clone();
        all.into_iter().find(|pipeline| pipeline["name"] == name)
    };
    assert_eq!(find("reviews").unwrap()["error"], Value::Null);
    let error = find("tax").unwrap()["error"].to_string();
    assert!(
        error.contains("tax.toml:2:1") && error.contains("key"),
        "{error}"
    );

    std::fs::write(folder.join("tax.toml"), "description = \"Tax\"\n").unwrap();
    assert_eq!(find("tax").unwrap()["description"], "Tax");
    std::fs::remove_file(folder.join("tax.toml")).unwrap();
    assert_eq!(find("tax"), None);
}

/// Lambda returns at most 6 MB.
#[test]
fn a_page_of_large_rows_ends_early_and_continues() {
    let text = "x".repeat(30_000);
    let row = |_| vec![Cell::from(&*text); 6];
    let book = Book::new(&["a", "b", "c", "d", "e", "f"], (0..40).map(row));
    let job = Job::new(&book, "[[column]]\nname = \"one\"\nvalue = \"1\"\n");
    let server = Server::start(job.folder(), &job.out());
    let run = server.run(&server.upload(&job.workbook, "job"), "job");
    assert_eq!(server.ended(&run)["state"], "delivered");
    let (mut rows, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/runs/{run}/rows?limit=100{after}");
        let answer = server.call("GET", &path, &Value::Null);
        assert!(answer.body.len() < 6_000_000, "{}", answer.body.len());
        let page = answer.json();
        let found = page["rows"].as_array().unwrap();
        rows.extend(found.iter().map(|row| row["row"].as_u64().unwrap()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(rows, (2..42).collect::<Vec<_>>());
    assert_eq!(pages, 2);
}
