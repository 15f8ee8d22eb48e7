//! `rowmill retry` processes only the rows that are not done, and its result has all rows.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowmill_tests_local::program::{Job, Ran, binary};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};

/// A source that fails for every 27th row until it is repaired.
struct Repairable {
    source: Source,
    repaired: Arc<AtomicBool>,
}

fn number(path: &str) -> u32 {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

fn fails(n: u32) -> bool {
    n.is_multiple_of(27) && n < 27 * 37
}

impl Repairable {
    fn start(delay: Duration) -> Repairable {
        Repairable::with(delay, Duration::ZERO)
    }

    /// Answers requests for the rows that failed after a delay.
    fn slow_once_repaired(delay: Duration) -> Repairable {
        Repairable::with(Duration::ZERO, delay)
    }

    fn with(delay: Duration, delay_of_repaired: Duration) -> Repairable {
        let repaired = Arc::new(AtomicBool::new(false));
        let now = repaired.clone();
        let source = Source::start(move |path, _| {
            let n = number(path);
            let value = Answer::Json(format!("{{\"value\": {}}}", n * 3));
            let (delay, answer) = match (fails(n), now.load(Ordering::Relaxed)) {
                (true, false) => (delay, Answer::Status(404, Vec::new())),
                (true, true) => (delay_of_repaired, value),
                (false, _) => (delay, value),
            };
            Answer::After(delay, Box::new(answer))
        });
        Repairable { source, repaired }
    }

    fn repair(&self) {
        self.repaired.store(true, Ordering::Relaxed);
    }

    fn requests(&self) -> u32 {
        self.source.hits().values().sum()
    }
}

fn pipeline(source: &Source, more: &str) -> String {
    format!(
        r#"
{}
[[column]]
name = "check"
value = "value - row.Amount * 3"
{more}
"#,
        source.step()
    )
}

/// `rowmill retry`.
fn command(job: &Job, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("retry").args(args).arg("--json");
    command.arg("--out").arg(job.out());
    command.stdin(Stdio::null()).current_dir(job.folder());
    command
}

fn retry(job: &Job, args: &[&str]) -> Ran {
    Ran::from(command(job, args).output().unwrap())
}

fn id(ran: &Ran) -> String {
    ran.json["run_id"].as_str().unwrap().to_owned()
}

/// Rows, with a blank and a repeated one that are rejected.
fn book(rows: u32) -> Book {
    let mut book = Book::numbered(rows);
    book.rows.insert(5, vec![]);
    let repeated = book.rows[3].clone();
    book.rows.push(repeated);
    book
}

const KEY: &str = "[input]\nkey = ['ID']\n";

#[test]
fn only_the_failed_rows_are_requested_again_and_the_result_has_all() {
    let repairable = Repairable::start(Duration::ZERO);
    let toml = pipeline(&repairable.source, KEY);
    let job = Job::new(&book(1000), &toml);
    let first = job.run(&[]).expect(3);
    assert_eq!(
        (&first.json["ok"], &first.json["failed"]),
        (&963.into(), &37.into())
    );
    let before = repairable.requests();
    assert_eq!(before, 1000);
    assert_eq!(job.mails(), 1);
    repairable.repair();

    // An undisturbed run of the repaired source.
    let expected = Job::new(&book(1000), &toml);
    expected.run(&[]).expect(0);
    let before = before + 1000;
    assert_eq!(repairable.requests(), before);

    let run = id(&first);
    // The start of the id is enough, and everything temporary is gone.
    let second = retry(&job, &[&run[..run.len() - 6]]).expect(0);
    assert_eq!(repairable.requests(), before + 37);
    assert_eq!(id(&second), format!("{run}-r1"));
    assert_eq!(
        (&second.json["ok"], &second.json["rejected"]),
        (&1000.into(), &2.into())
    );
    assert_eq!(second.json["records"], 1000);
    assert_eq!(second.json["state"], "delivered");
    assert_eq!(job.mails(), 2);
    let (result, expected) = (job.result(), expected.result());
    assert_eq!(result.rows("Rejected"), expected.rows("Rejected"));
    for column in ["ID", "Amount", "Note", "value", "check", "status", "error"] {
        assert_eq!(result.column(column), expected.column(column), "{column}");
    }
    for (n, attempts) in (0..).zip(result.texts("attempts")) {
        assert_eq!(attempts, if fails(n) { "2" } else { "1" }, "row {n}");
    }
    assert!(
        job.mail().contains("37 of the 1,000 rows"),
        "{}",
        job.mail()
    );

    // Again: nothing is left.
    let third = retry(&job, &[&run]).expect(0);
    assert!(
        third.stderr.contains("nothing to retry"),
        "{}",
        third.stderr
    );
    assert_eq!(id(&third), format!("{run}-r1"));
    assert_eq!((repairable.requests(), job.mails()), (before + 37, 2));

    // The same `run` command shows the latest result.
    let shown = job.run(&[]).expect(0);
    assert_eq!(id(&shown), format!("{run}-r1"));
    assert_eq!(job.result(), result);

    // The archived rows of the retry are complete.
    let folder = job.out().join(".rowmill/work/results").join(id(&second));
    let rebuilt = job.folder().join("rebuilt.xlsx");
    let report = Command::new(binary())
        .arg("report")
        .arg(&folder)
        .arg("--out")
        .arg(&rebuilt)
        .output()
        .unwrap();
    assert!(report.status.success(), "{report:?}");
    let left: Vec<_> = job
        .state()
        .into_iter()
        .filter(|f| f.contains("work/runs/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn rows_are_chosen_by_an_expression_and_a_retry_can_be_retried() {
    let repairable = Repairable::start(Duration::ZERO);
    let job = Job::new(&Book::numbered(100), &pipeline(&repairable.source, ""));
    let first = job.run(&[]).expect(3);
    assert_eq!(first.json["failed"], 4);
    let run = id(&first);
    repairable.repair();
    let rule = "status == 'failed' && error.contains('404') && row.Amount < 50";
    let second = retry(&job, &[&run, "--where", rule]).expect(3);
    assert_eq!(
        (&second.json["failed"], repairable.requests()),
        (&2.into(), 102)
    );

    let missing = retry(&job, &[&run, "--missing"]).expect(0);
    assert!(
        missing.stderr.contains("no row is missing"),
        "{}",
        missing.stderr
    );
    let third = retry(&job, &[&run, "--failed"]).expect(0);
    assert_eq!(id(&third), format!("{run}-r2"));
    assert_eq!(
        (&third.json["ok"], repairable.requests()),
        (&100.into(), 104)
    );
    assert_eq!(job.mails(), 3);
    assert!(job.result().texts("check").iter().all(|v| v == "0"));

    // A row that is ok can be requested again.
    let fourth = retry(&job, &[&run, "--where", "row.Amount == 7"]).expect(0);
    assert_eq!(id(&fourth), format!("{run}-r3"));
    assert_eq!(repairable.requests(), 105);
    assert_eq!(job.result().texts("attempts")[7], "2");

    for (args, why) in [
        (
            &[&run, "--where", "nowhere == 1"][..],
            "no column `nowhere`",
        ),
        (
            &[&run, "--where", "Amount == 1"],
            "`row.Amount` is the column",
        ),
        (&[&run, "--where", "1 +"], "invalid expression"),
        (&["2020"], "has an id that starts with `2020`"),
    ] {
        let refused = retry(&job, args).expect(2);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert_eq!(refused.json["state"], "refused");
    }
    // A prefix that several runs have.
    let forced = job.run(&["--force"]).expect(0);
    assert_ne!(id(&forced), run);
    let refused = retry(&job, &[&run[..9]]).expect(2);
    assert!(
        refused.stderr.contains("the start of the ids of 2 runs"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_corrected_pipeline_continues_after_the_steps_that_did_not_change() {
    let source = Source::start(|path, _| match path.starts_with("/b/") {
        true => Answer::Status(404, Vec::new()),
        false => Answer::Json(format!("{{\"value\": {}}}", number(path))),
    });
    let step = |folder: &str, name: &str| {
        let url = source.url();
        format!(
            "[[step]]\nkind = 'http'\nurl = '{url}/{folder}/{{{{ row.Amount }}}}'\nallow_hosts = ['127.0.0.1']\n\
             outputs = {{ {name} = {{ json = '$.value', type = 'number' }} }}\n"
        )
    };
    let toml = step("a", "first") + &step("b", "second");
    let job = Job::new(&Book::numbered(10), &toml);
    let first = job.run(&[]).expect(3);
    assert_eq!(first.json["failed"], 10);
    let corrected = job.folder().join("corrected.toml");
    std::fs::write(
        &corrected,
        step("a", "first")
            + &step("c", "second")
            + "[[column]]\nname = 'sum'\nvalue = 'first + second'\n",
    )
    .unwrap();
    let file = corrected.to_str().unwrap();
    let some = retry(
        &job,
        &[&id(&first), "--pipeline", file, "--where", "row.Amount < 4"],
    )
    .expect(3);
    assert!(
        some.stderr
            .contains("new columns, empty in the rows that are not retried: `sum`"),
        "{}",
        some.stderr
    );
    assert!(
        some.stderr.contains("another definition") && some.stderr.contains("`second`"),
        "{}",
        some.stderr
    );
    assert_eq!(
        (&some.json["ok"], &some.json["failed"]),
        (&4.into(), &6.into())
    );
    let all = retry(&job, &[&id(&first)]).expect(0);
    assert_eq!(all.json["ok"], 10);
    let hits = source.hits();
    let count = |folder: &str| {
        hits.iter()
            .filter(|(path, _)| path.starts_with(folder))
            .map(|(_, n)| n)
            .sum::<u32>()
    };
    assert_eq!((count("/a/"), count("/b/"), count("/c/")), (10, 10, 10));
    let sums: Vec<String> = (0..10).map(|n| (2 * n).to_string()).collect();
    assert_eq!(job.result().texts("sum"), sums);

    std::fs::write(&corrected, format!("{toml}[input]\nkey = ['ID']\n")).unwrap();
    let refused = retry(&job, &[&id(&first), "--pipeline", file]).expect(2);
    assert!(refused.stderr.contains("[input]"), "{}", refused.stderr);
}

#[test]
fn rows_of_children_that_never_started_are_retried() {
    // The children of all but the first ten rows are killed until a file exists.
    let toml = r#"
[[step]]
kind = "command"
program = ["./double"]
outputs = ["doubled"]

[batch]
records_per_child = 10
attempts = 1
"#;
    let job = Job::new(&Book::numbered(30), toml);
    let program = job.folder().join("double");
    let script = r#"#!/usr/bin/env python3
import json, os, signal, sys
for line in sys.stdin:
    row = json.loads(line)
    n = row["values"]["Amount"]
    if n >= 10 and not os.path.exists("repaired"):
        os.kill(os.getppid(), signal.SIGKILL)
    print(json.dumps({"row": row["row"], "outputs": {"doubled": n * 2}}), flush=True)
"#;
    std::fs::write(&program, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let first = job.run(&[]).expect(3);
    assert_eq!(
        (&first.json["ok"], &first.json["missing"]),
        (&10.into(), &20.into())
    );
    std::fs::write(job.folder().join("repaired"), "").unwrap();
    let failed = retry(&job, &[&id(&first), "--failed"]).expect(0);
    assert!(
        failed.stderr.contains("no row is failed"),
        "{}",
        failed.stderr
    );
    let second = retry(&job, &[&id(&first), "--missing"]).expect(0);
    assert_eq!(second.json["ok"], 30);
    let doubled: Vec<String> = (0..30).map(|n| (2 * n).to_string()).collect();
    assert_eq!(job.result().texts("doubled"), doubled);
}

#[test]
fn a_killed_retry_resumes() {
    let repairable = Repairable::slow_once_repaired(Duration::from_millis(200));
    let job = Job::new(
        &Book::numbered(1000),
        &pipeline(&repairable.source, "[batch]\nconcurrency = 2\n"),
    );
    let first = job.run(&[]).expect(3);
    let run = id(&first);
    assert_eq!(first.json["failed"], 37);
    repairable.repair();
    let kills = [0, 1, 8, 16, 24];
    for requests in kills {
        let mut child = command(&job, &[&run])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while repairable.requests() < 1000 + requests {
            assert!(
                child.try_wait().unwrap().is_none(),
                "ended before {requests} requests"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }
    let second = retry(&job, &[&run]).expect(0);
    assert_eq!(id(&second), format!("{run}-r1"));
    assert_eq!((&second.json["ok"], job.mails()), (&1000.into(), 2));
    // A kill repeats the records in progress and those not stored yet, which wait for half a second.
    let repeated = repairable.requests() - 1037;
    assert!(repeated <= kills.len() as u32 * 8, "{repeated}");
    let again = retry(&job, &[&run]).expect(0);
    assert_eq!((id(&again), job.mails()), (id(&second), 2));
}

/// Kills at moments before the retry contacts the source, with every event delivered twice and in random
/// order.
#[test]
fn a_retry_that_is_killed_before_a_request_costs_nothing_more() {
    let repairable = Repairable::start(Duration::ZERO);
    // The children wait until the first file exists, and say that they are there with the second.
    let toml = format!(
        "[[step]]\nkind = 'command'\nprogram = ['python3', 'wait.py']\noutputs = ['waited']\n{}",
        pipeline(&repairable.source, "")
    );
    let job = Job::new(&Book::numbered(1000), &toml);
    let script = "import json, os, sys, time\n\
        for line in sys.stdin:\n    open('here', 'w').close()\n    \
        while not os.path.exists('go'): time.sleep(0.01)\n    \
        print(json.dumps({'row': json.loads(line)['row'], 'outputs': {'waited': 1}}), flush=True)\n";
    std::fs::write(job.folder().join("wait.py"), script).unwrap();
    let (go, here) = (job.folder().join("go"), job.folder().join("here"));
    std::fs::write(&go, "").unwrap();
    let first = job.run(&[]).expect(3);
    assert_eq!(
        (&first.json["failed"], repairable.requests()),
        (&37.into(), 1000)
    );
    let run = id(&first);
    repairable.repair();
    // Rows that failed in the second step do not wait again, so the whole row is retried.
    let rows = "status == 'failed'";
    let toml = toml.replace(
        "outputs = ['waited']",
        "outputs = ['waited']\ntimeout = '50s'",
    );
    let changed = job.folder().join("changed.toml");
    std::fs::write(&changed, toml).unwrap();
    let args = [
        &*run,
        "--where",
        rows,
        "--pipeline",
        changed.to_str().unwrap(),
        "--chaos",
        "7",
    ];
    std::fs::remove_file(&go).unwrap();
    std::fs::remove_file(&here).unwrap();
    for delay in [30, 100, 200, 400] {
        let mut child = command(&job, &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }
    let mut child = command(&job, &args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !here.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(repairable.requests(), 1000);
    std::fs::write(&go, "").unwrap();
    let last = retry(&job, &args).expect(0);
    assert_eq!(id(&last), format!("{run}-r1"));
    assert_eq!((&last.json["ok"], job.mails()), (&1000.into(), 2));
    let hits = repairable.source.hits();
    for (path, times) in &hits {
        let expected = if fails(number(path)) { 2 } else { 1 };
        assert_eq!(*times, expected, "{path}");
    }
}

#[test]
fn a_run_that_has_not_ended_is_not_retried() {
    let repairable = Repairable::start(Duration::from_millis(50));
    let job = Job::new(&Book::numbered(500), &pipeline(&repairable.source, ""));
    let mut child = job
        .command(&[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while repairable.requests() < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = kill_process(Pid::from_child(&child), Signal::KILL);
    child.wait().unwrap();
    let refused = retry(&job, &["20"]).expect(2);
    assert!(
        refused.stderr.contains("has not ended"),
        "{}",
        refused.stderr
    );
    assert_eq!(job.run(&[]).expect(3).json["failed"], 19);
}
