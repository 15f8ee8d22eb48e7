//! Memory of a child with large responses, measured in a process of its own.

use std::process::Command;

use super::*;

/// What a child has by default.
const CHILD_MIB: usize = 512;
const CONCURRENCY: usize = 16;
const SIZE: usize = 10_000_000;

/// Responses of 10 MB, by path.
fn large(path: &str) -> Vec<u8> {
    let fill = |start: &str, part: &dyn Fn(usize) -> String, end: &str| {
        let mut body = start.to_owned();
        let mut n = 0;
        while body.len() < SIZE {
            body += &part(n);
            n += 1;
        }
        (body + end).into_bytes()
    };
    match path {
        "/records" => fill(
            r#"{"due":1,"items":["#,
            &|n| format!(r#"{{"id":{n},"name":"abc","tags":[1,2]}},"#),
            "{}]}",
        ),
        "/numbers" => fill(r#"{"due":1,"items":["#, &|_| "0,".to_owned(), "0]}"),
        "/arrays" => fill(r#"{"due":1,"items":["#, &|_| "[[0],[]],".to_owned(), "0]}"),
        "/page" => fill("<v>1</v>", &|_| "<p>x".to_owned(), ""),
        _ => Vec::new(),
    }
}

/// The peak memory of this process in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let kib = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = kib.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() / 1024
}

/// Paths, what is selected, and for how many of the records to wait; then the responses of all have arrived.
fn cases() -> [(&'static str, Extract, usize); 4] {
    let json = |path: &str| Extract::Json(path.into());
    [
        ("/records", json("$.items[?@.id == 7].tags[0]"), 2),
        ("/numbers", json("$.items[5:]"), 2),
        ("/arrays", json("$..due"), 2),
        ("/page", Extract::Css("v".into()), 2),
    ]
}

/// The last argument is the number of the case and the address of the server. As in a child, one thread handles all records.
#[tokio::test]
#[ignore = "run by large_responses_fit_the_memory_of_a_child, in a process of its own"]
async fn peak_memory_of_large_responses() {
    let argument = std::env::args().next_back().unwrap();
    // Without a server, as when all ignored tests run, there is nothing to measure.
    let Some((case, address)) = argument.split_once('@') else {
        return;
    };
    let (path, from, wait) = cases()[case.parse::<usize>().unwrap()].clone();
    let mut step = step(&format!("{address}{path}?{{{{ row['ID'] }}}}"));
    step.timeout = Duration::from_secs(600);
    step.outputs[0].from = from;
    let deps = StepDeps::new(CONCURRENCY, std::env::temp_dir());
    let http = Arc::new(Http::new(&step, &deps).unwrap());
    let mut records = tokio::task::JoinSet::new();
    for n in 0..CONCURRENCY {
        let http = http.clone();
        records.spawn(async move { run_on(&http, &n.to_string()).await });
    }
    for _ in 0..wait {
        let result = records.join_next().await.unwrap().unwrap();
        println!("{:?}, {} MiB", result.outputs, peak());
    }
    println!("peak {}", peak());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn large_responses_fit_the_memory_of_a_child() {
    let bodies = cases().map(|(path, ..)| (path, large(path)));
    let server = Server::start(move |request, _| {
        let path = request.line.split([' ', '?']).nth(1).unwrap();
        let body = bodies.iter().find(|(known, _)| *known == path);
        Reply::Http("200 OK".into(), body.unwrap().1.clone())
    })
    .await;
    for (n, (path, ..)) in cases().iter().enumerate() {
        let argument = format!("{n}@{}", server.address);
        let child = tokio::task::spawn_blocking(move || {
            let test = "http::tests::memory::peak_memory_of_large_responses";
            Command::new(std::env::current_exe().unwrap())
                .args([
                    test,
                    "--exact",
                    "--ignored",
                    "--nocapture",
                    "--skip",
                    &argument,
                ])
                .output()
                .unwrap()
        });
        let output = String::from_utf8(child.await.unwrap().stdout).unwrap();
        println!("{path} {output}");
        let peak = output.lines().find_map(|line| line.strip_prefix("peak "));
        let peak = peak.unwrap_or_else(|| panic!("{output}"));
        assert!(
            peak.parse::<usize>().unwrap() < CHILD_MIB,
            "{path}: {output}"
        );
        let expected = match *path {
            "/numbers" => "values take more than 192 MiB",
            _ => "Ok([(\"due\", Number(1.0))])",
        };
        assert_eq!(output.matches(expected).count(), 2, "{path}: {output}");
    }
}
