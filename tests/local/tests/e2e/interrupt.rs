//! A run that is stopped by Ctrl-C or `kill -9` resumes and has the same result.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rowmill_tests_local::program::{Job, Ran};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};

fn source(delay: Duration) -> Source {
    Source::start(move |path, _| {
        let n: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
        Answer::After(
            delay,
            Box::new(Answer::Json(format!("{{\"value\": {}}}", n * 3))),
        )
    })
}

/// 16 children, slow enough to be interrupted.
fn pipeline(source: &Source) -> String {
    format!(
        r#"
{}
[[column]]
name = "check"
value = "value - row.Amount * 3"
[batch]
records_per_child = 184
concurrency = 4
"#,
        source.step()
    )
}

fn start(job: &Job, args: &[&str]) -> Child {
    job.command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(mut child: Child) -> Ran {
    let mut stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        text
    });
    let output = child.wait_with_output().unwrap();
    let mut ran = Ran::from(output);
    ran.stderr = String::from_utf8_lossy(&reader.join().unwrap()).into_owned();
    ran
}

/// The child processes of `of`.
fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name in parentheses can contain any character; the parent is the second field after it.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent == Some(of) {
            found.push(pid);
        }
    }
    found
}

/// An environment variable of another process.
fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let value = environment
        .split('\0')
        .find_map(|v| v.strip_prefix(name)?.strip_prefix('='));
    value.map(str::to_owned)
}

fn kill(pid: u32, signal: Signal) {
    // The process can have ended already.
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn ctrl_c_finishes_the_records_in_progress_and_the_same_command_resumes() {
    let source = source(Duration::from_millis(20));
    let job = Job::new(&Book::numbered(600), &pipeline(&source));
    let first = start(&job, &[]);
    let hits = || source.hits().len();
    wait_until("some records are done", Duration::from_secs(60), || {
        hits() > 100
    });
    kill(first.id(), Signal::INT);
    let first = end(first);
    assert_eq!(first.code, Some(130), "{}", first.stderr);
    assert!(
        first.stderr.contains("rowmill run"),
        "how to resume: {}",
        first.stderr
    );
    let asked = hits();
    assert!(asked < 600, "the run ended before it was interrupted");

    let second = job.run(&[]).expect(0);
    assert_eq!(second.json["ok"], 600);
    // Records in progress were finished and stored, so no request was repeated.
    assert!(
        source.hits().values().all(|n| *n == 1),
        "{:?}",
        source.hits()
    );
    assert!(job.result().texts("check").iter().all(|v| v == "0"));
    assert_eq!(job.mails(), 1);
}

#[test]
fn kill_9_at_random_times_does_not_change_the_result() {
    const KILLS: u32 = 50;
    let source = source(Duration::from_millis(20));
    let book = Book::numbered(3_000);
    let undisturbed = Job::new(&book, &pipeline(&source));
    undisturbed.run(&[]).expect(0);

    let job = Job::new(&book, &pipeline(&source));
    // A generator with a fixed seed, so that the sequence of kills is reproducible.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let (mut at_command, mut at_child) = (0, 0);
    // Batch makes at most ten attempts, so a child must not be killed more than eight times.
    let mut killed: HashMap<String, u32> = HashMap::new();
    let mut command = start(&job, &[]);
    while at_command + at_child < KILLS {
        std::thread::sleep(Duration::from_millis(50 + random(400)));
        if command.try_wait().unwrap().is_some() {
            let ran = end(command);
            panic!(
                "ended after {at_command} + {at_child} kills: {}",
                ran.stderr
            );
        }
        let mut running: Vec<(u32, String)> = children(command.id())
            .into_iter()
            .filter_map(|pid| Some((pid, variable(pid, "AWS_BATCH_JOB_ID")?)))
            .filter(|(_, job)| killed.get(job).is_none_or(|n| *n < 8))
            .collect();
        if at_child < KILLS / 2 && !running.is_empty() && random(2) == 0 {
            let (pid, id) = running.swap_remove(random(running.len() as u64) as usize);
            kill(pid, Signal::KILL);
            *killed.entry(id).or_default() += 1;
            at_child += 1;
        } else if at_command < KILLS / 2 || at_child == KILLS / 2 {
            kill(command.id(), Signal::KILL);
            command.wait().unwrap();
            at_command += 1;
            command = start(&job, &[]);
        }
    }
    let ran = end(command);
    let why = job
        .result()
        .texts("error")
        .into_iter()
        .find(|e| !e.is_empty());
    assert_eq!(ran.code, Some(0), "{why:?}\n{}", ran.stderr);
    println!("{at_command} kills of the command, {at_child} of a child");
    assert_eq!(ran.json["ok"], 3_000);
    let (result, expected) = (job.result(), undisturbed.result());
    for sheet in ["Results", "Rejected"] {
        assert_eq!(result.rows(sheet), expected.rows(sheet), "{sheet}");
    }
    assert_eq!(job.mails(), 1);
    wait_until("all processes have ended", Duration::from_secs(10), || {
        processes_naming(&job.out()).is_empty()
    });
}

/// Processes with a path in their environment. The environment of local Batch's children contains the
/// state directory.
fn processes_naming(path: &Path) -> Vec<u32> {
    let needle = path.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        if String::from_utf8_lossy(&environment).contains(&needle) {
            found.push(pid);
        }
    }
    found
}

/// The database of queue and jobs is lost while the ledger stays. The run goes on, and no stored record is
/// requested again.
#[test]
fn a_run_whose_queue_is_lost_goes_on() {
    let source = source(Duration::from_millis(20));
    let job = Job::new(&Book::numbered(400), &pipeline(&source));
    let lose = || {
        for name in ["cloud.db", "cloud.db-wal", "cloud.db-shm"] {
            let _ = std::fs::remove_file(job.out().join(".rowmill").join(name));
        }
    };
    let killed = |when: &mut dyn FnMut() -> bool| {
        let mut child = start(&job, &[]);
        wait_until("it is time to kill", Duration::from_secs(60), when);
        kill(child.id(), Signal::KILL);
        child.wait().unwrap();
        lose();
    };
    let ledger = job.out().join(".rowmill/ledger.db");
    killed(&mut || ledger.exists());
    std::thread::sleep(Duration::from_millis(50));
    for hits in [1, 150, 300] {
        killed(&mut || source.hits().len() >= hits);
    }
    let ran = job.run(&[]).expect(0);
    assert!(ran.stderr.contains("cloud.db was lost"), "{}", ran.stderr);
    assert_eq!(ran.json["ok"], 400);
    assert!(job.result().texts("check").iter().all(|v| v == "0"));
    assert_eq!(job.mails(), 1);
    // Records in progress, and those that wait half a second to be stored, are requested again.
    let requests: u32 = source.hits().values().sum();
    assert!(requests < 400 + 3 * 80, "{requests} requests");

    // A retry whose request is lost.
    let run = ran.json["run_id"].as_str().unwrap();
    let retry = |args: &[&str]| {
        let args = [&["retry", run, "--where", "row.Amount < 5"], args].concat();
        job.control(&args)
    };
    let first = retry(&[]).expect(0);
    assert_eq!(first.json["records"], 400);
    lose();
    let shown = job.run(&[]).expect(0);
    assert_eq!(shown.json["run_id"], first.json["run_id"]);
}
