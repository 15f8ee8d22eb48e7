//! Trouble of the machine that passes: the command names it, nothing is lost, and the same command goes on
//! once it is repaired.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rowmill_tests_local::program::{Job, binary};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;

fn source() -> Source {
    Source::start(|_, _| Answer::Json("{\"value\": 1}".into()))
}

/// A file where a stage needs a folder: an error for every user, like a full disk.
struct Obstacle(PathBuf);

impl Obstacle {
    fn put(job: &Job, path: &str) -> Obstacle {
        let path = job.out().join(".rowmill").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        Obstacle(path)
    }

    fn remove(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

#[test]
fn a_run_goes_on_after_trouble_in_any_stage() {
    // Chunks and manifest (split), the result (report).
    for (path, stage) in [("work/runs", "split"), ("work/results", "report")] {
        let source = source();
        let job = Job::new(&Book::numbered(30), &source.step());
        let obstacle = Obstacle::put(&job, path);
        for _ in 0..2 {
            let ran = job.run(&[]).expect(1);
            for part in [stage, "cannot continue", path] {
                assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
            }
            assert_eq!(job.mails(), 0, "no email about what can be repaired");
        }
        obstacle.remove();
        let ran = job.run(&[]).expect(0);
        assert_eq!(ran.json["failure"], serde_json::Value::Null, "{stage}");
        assert_eq!(job.result().texts("value"), vec!["1"; 30]);
        assert_eq!((source.hits().values().sum::<u32>(), job.mails()), (30, 1));
    }
}

/// The program is away for a moment while children are to start, as during an upgrade.
#[test]
fn children_that_cannot_start_for_a_moment_lose_no_row() {
    let source = Source::start(|_, _| {
        let value = Answer::Json("{\"value\": 1}".into());
        Answer::After(Duration::from_millis(50), Box::new(value))
    });
    let batch = "\n[batch]\nrecords_per_child = 10\nconcurrency = 1\nattempts = 1\n";
    let job = Job::new(&Book::numbered(30), &(source.step() + batch));
    let (program, away) = (job.folder().join("rowmill"), job.folder().join("away"));
    std::fs::copy(binary(), &program).unwrap();
    let mut command = Command::new(&program);
    command
        .arg("run")
        .arg(&job.workbook)
        .arg("--out")
        .arg(job.out());
    command.args(["--slots", "1"]).stdin(Stdio::null());
    let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = piped.spawn().unwrap();
    while source.hits().is_empty() {
        assert!(running.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::rename(&program, &away).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert!(running.try_wait().unwrap().is_none(), "it gave up");
    std::fs::rename(&away, &program).unwrap();
    let ended = running.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{stderr}");
    assert!(
        stderr.contains("children cannot start, trying again"),
        "{stderr}"
    );
    assert_eq!(job.run(&[]).expect(0).json["ok"], 30);
}

/// Records renames and syncs of the program.
const RECORDER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void note(const char *what, const char *path) {
    char line[5000];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    int log = open(getenv("RECORDED"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (write(log, line, length) != length) abort();
    close(log);
}
int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    int result = real(from, to);
    if (result == 0) note("rename", to);
    return result;
}
int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    char link[64], path[4096] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int result = real(file);
    if (result == 0 && readlink(link, path, sizeof path - 1) > 0) note("fsync", path);
    return result;
}
"#;

/// A power failure after the record that an email is sent must not undo the email.
#[test]
fn the_outbox_is_on_disk_when_an_email_counts_as_sent() {
    let job = Job::new(
        &Book::numbered(3),
        "[[column]]\nname = 'a'\nvalue = 'row.Amount'\n",
    );
    let (code, library) = (job.folder().join("r.c"), job.folder().join("r.so"));
    std::fs::write(&code, RECORDER).unwrap();
    // The compiler that links Rust programs.
    let mut cc = Command::new("cc");
    let built = cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code);
    assert!(built.arg("-ldl").status().unwrap().success());
    let recorded = job.folder().join("recorded");
    let mut command = job.command(&[]);
    command
        .env("LD_PRELOAD", &library)
        .env("RECORDED", &recorded);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let recorded = std::fs::read_to_string(&recorded).unwrap();
    let outbox = job.out().join(".rowmill/outbox");
    let outbox = std::fs::canonicalize(outbox).unwrap();
    let outbox = outbox.to_str().unwrap();
    let lines: Vec<&str> = recorded.lines().collect();
    let is_mail = |line: &&str| line.starts_with("rename ") && line.ends_with(".eml");
    let sent = lines.iter().position(is_mail).expect("an email");
    let synced = lines[sent..].contains(&&*format!("fsync {outbox}"));
    assert!(synced, "the folder is synced after the rename: {recorded}");
}

/// Starts a program as a user without other processes, because the limit of processes does not apply to
/// root.
fn as_another_user() -> Command {
    use std::os::unix::fs::MetadataExt;

    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    // It may still read and write the files of the test.
    let files = "-all,+dac_override,+fowner";
    command.args(["--reuid", "64321", "--clear-groups", "--inh-caps", files]);
    command.args(["--ambient-caps", files]);
    command
}

/// Where some threads can be started and others not, the runtime panics on one of them, and would wait
/// for the others forever.
#[test]
fn a_process_without_enough_threads_ends() {
    let job = Job::new(
        &Book::numbered(3),
        "[[column]]\nname = 'a'\nvalue = 'row.Amount'\n",
    );
    let ends = |limit: String| {
        let script = format!("ulimit {limit}; exec \"$@\"");
        let mut command = as_another_user();
        command.args(["bash", "-c", &script, "bash"]);
        command.arg(binary()).arg("run").arg(&job.workbook);
        command.arg("--out").arg(job.out());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("hangs with ulimit {limit}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // Threads for the program and for none or one of those that it starts at once. With a few more, it waits
    // minutes for children that this machine cannot start.
    for threads in 1..3 {
        ends(format!("-u {threads}"));
    }
    for kib in (60_000..120_000).step_by(8_000) {
        ends(format!("-v {kib}"));
    }
    job.run(&[]).expect(0);
}

/// A failed allocation would end the process with a signal, sooner or later in a run.
#[test]
fn too_little_address_space_is_a_message_and_not_a_signal() {
    let job = Job::new(
        &Book::numbered(3),
        "[[column]]\nname = 'a'\nvalue = 'row.Amount'\n",
    );
    for (mib, code) in [
        (100, 2),
        (160, 2),
        (400, 2),
        (1023, 2),
        (1024, 0),
        (4096, 0),
    ] {
        let script = format!("ulimit -v {}; exec \"$@\"", mib << 10);
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(binary());
        command.args(["run", "--force", "--out"]).arg(job.out());
        let ended = command.arg(&job.workbook).output().unwrap();
        let message = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{mib} MiB: {message}");
        let says = message.contains(&format!("limited to {mib} MiB")) && message.contains("ulimit");
        assert_eq!(says, code == 2, "{mib} MiB: {message}");
    }
}

/// 1,500 rows of ten texts of 30 KB, in a workbook of some MB. The default child has 512 MiB, which the
/// local Batch enforces; a child that needs more ends in a second round.
#[test]
#[cfg(target_os = "linux")]
fn long_texts_fit_into_the_smallest_child() {
    const ROWS: usize = 1_500;
    let text = "lorem ipsum ".repeat(2_500);
    let header: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = (0..ROWS).map(|n| {
        let mut row = vec![text.clone(); 10];
        row[0] = n.to_string();
        row
    });
    let toml = "[[column]]\nname = 'length'\nvalue = 'size(row.c1)'\n";
    let job = Job::new(&Book::new(&header, rows), toml);
    let mut command = job.command(&["--slots", "1"]);
    let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = piped.spawn().unwrap();
    let (mut host, status) = (0, format!("/proc/{}/status", running.id()));
    while running.try_wait().unwrap().is_none() {
        // The most memory that the command used so far.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().split(' ').next()?.parse().ok());
        host = host.max(kib.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = running.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    println!("{host} MiB");
    assert!(host < 800, "split and report used {host} MiB");
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["ok"], ROWS);
    assert!(!job.mail().contains("second round"), "{}", job.mail());
}
