//! The smoke test for an account of AWS (`tests/aws/smoke.sh`), on emulators.

use std::process::Stdio;
use std::time::Duration;

use rowmill_tests_aws::deployment::{Account, SENDER};
use rowmill_tests_local::program::root;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Several times the duration on two busy cores.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Runs the script for a stack with this name. Each line is printed and passed to `heard`, with the script's
/// process. Returns its exit code and what it said.
async fn smoke(stack: &str, heard: impl Fn(&str, Pid)) -> (Option<i32>, String) {
    let (account, events) = Account::start(stack, &[]).await;
    let template = account.template();
    let mut command = Command::new(root().join("tests/aws/smoke.sh"));
    command
        .args(["--yes", "--sender", SENDER, "--stack", stack, "--template"])
        .arg(template.path())
        .args(["--architecture", architecture()])
        .envs(account.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // If the tests of the workspace have built it; otherwise the script builds it.
    let test = std::env::current_exe().unwrap();
    let rowmill = test.ancestors().nth(2).unwrap().join("rowmill-under-test");
    if rowmill.exists() {
        command.arg("--rowmill").arg(rowmill);
    }
    let mut script = command.spawn().unwrap();
    let pid = Pid::from_raw(script.id().unwrap() as i32).unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let all = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            println!("{line}");
            heard(&line, pid);
            said.push_str(&line);
            said.push('\n');
        }
        script.wait().await.unwrap().code()
    };
    let code = tokio::select! {
        code = tokio::time::timeout(PATIENCE, all) => code.ok().flatten(),
        () = account.deliver(events) => panic!("Batch ended"),
    };
    assert!(account.batch.active_definitions().is_empty());
    if code != Some(0) {
        eprintln!("{}", account.logs());
    }
    (code, said)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

const NOTHING_LEFT: &str = "no resource whose name or tag has the stack's name is left";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "builds the functions and deploys: takes minutes"]
async fn the_smoke_test_passes_and_leaves_nothing() {
    let (code, said) = smoke("rowmill-smoke-0a1b2c3d", |_, _| ()).await;
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "339 ok, 3 rejected",
        "80 rows in 4 children; one was lost and tried 2 times",
        "GET /health: 200",
        "rows, was reviewed and retried; another was cancelled",
        NOTHING_LEFT,
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "builds the functions and deploys: takes minutes"]
async fn an_interrupted_smoke_test_leaves_nothing() {
    let (code, said) = smoke("rowmill-smoke-1b2c3d4e", |line, script| {
        // While the children of the array run.
        if line.contains("a child was killed") {
            kill_process(script, Signal::INT).unwrap();
        }
    })
    .await;
    assert_eq!(code, Some(1), "{said}");
    for expected in ["stopped: SIGINT", NOTHING_LEFT] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
