//! The commands that show and control runs, and what happens to a run that is stopped.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rowmill_tests_local::program::{Job, Ran, binary};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};

/// A source that takes a while for each request.
fn slow() -> Source {
    let answer = || Box::new(Answer::Json("{\"value\": 1}".into()));
    Source::start(move |_, _| Answer::After(Duration::from_millis(50), answer()))
}

fn pipeline(source: &Source) -> String {
    format!(
        r#"
{}
[batch]
records_per_child = 100
concurrency = 4
"#,
        source.step()
    )
}

fn start(job: &Job) -> Child {
    let mut command = job.command(&[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

fn wait_for(hits: usize, source: &Source) {
    let began = Instant::now();
    while source.hits().len() < hits {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{hits} requests"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The only run that has not ended.
fn open_run(job: &Job) -> String {
    let runs = job.control(&["runs"]).expect(0).json;
    let open = |run: &&serde_json::Value| run["result"].is_null();
    let mut open = runs.as_array().unwrap().iter().filter(open);
    let run = open.next().expect("a run that has not ended");
    assert_eq!(open.next(), None, "{runs}");
    run["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_can_be_cancelled_from_another_terminal_and_delivers_what_is_done() {
    let source = slow();
    let job = Job::new(&Book::numbered(2_000), &pipeline(&source));
    let running = start(&job);
    wait_for(40, &source);
    let id = open_run(&job);
    let status = job.control(&["status", &id]).expect(0).json;
    assert_eq!(
        (&status["state"], &status["active"]),
        (&"running".into(), &true.into())
    );
    assert!(status["cost_usd"].as_f64().unwrap() > 0.0, "{status}");

    // The start of the id is enough.
    let cancelled = job.control(&["cancel", &id[..id.len() - 4]]).expect(0);
    assert_eq!(cancelled.json["run_id"], *id);
    let ran = end(running).expect(3);
    assert_eq!(ran.json["state"], "delivered_with_errors");
    let (ok, missing) = (
        ran.json["ok"].as_u64().unwrap(),
        ran.json["missing"].as_u64().unwrap(),
    );
    assert_eq!(ok + missing, 2_000, "{}", ran.json);
    assert!(ok >= 40 && missing > 500, "{}", ran.json);
    // Each request that was sent was finished and stored, and nothing was requested twice.
    let hits = source.hits();
    assert_eq!((hits.len() as u64, hits.values().max()), (ok, Some(&1)));
    let result = job.result_cells();
    let errors = result.texts("error");
    for (status, error) in result.texts("status").iter().zip(&errors) {
        let expected = match status.as_str() {
            "ok" => "",
            _ => "Stopped: the run was cancelled by ana",
        };
        assert_eq!(error, expected);
    }
    assert_eq!(job.mails(), 1);
    assert!(job.mail().contains("cancelled by ana"));

    let status = job.control(&["status", &id]).expect(0).json;
    assert_eq!(status["stop"]["reason"], "the run was cancelled by ana");
    assert_eq!(
        (&status["ok"], &status["missing"]),
        (&ok.into(), &missing.into())
    );
    let late = job.control(&["cancel", &id]).expect(2);
    assert!(late.stderr.contains("has ended"), "{}", late.stderr);
}

#[test]
fn the_cost_of_a_run_is_compared_with_its_plan() {
    let source = Source::start(|_, _| Answer::Json("{\"value\": 1}".into()));
    // Then each child is billed for the minute that AWS bills at least, in the plan and in the run.
    let quick = format!("{}\n[batch]\nseconds_per_record = 0.01\n", source.step());
    let job = Job::new(&Book::numbered(300), &quick);
    let ran = job.run(&[]).expect(0);
    let id = ran.json["run_id"].as_str().unwrap();
    let shown = job.control(&["cost", id]).expect(0).json;
    let cost = &shown["cost"];
    let number = |name: &str| cost[name].as_f64().unwrap();
    assert_eq!(shown["records"], 300);
    assert_eq!(cost["usd"], ran.json["cost_usd"]);
    assert!((number("usd_per_record") * 300.0 / number("usd") - 1.0).abs() < 1e-9);
    // The parts are the whole.
    let parts = cost["usd_by"].as_object().unwrap();
    let parts = parts.iter().filter(|(name, _)| *name != "on_demand");
    let sum: f64 = parts.map(|(_, usd)| usd.as_f64().unwrap()).sum();
    assert!((sum / number("usd") - 1.0).abs() < 1e-9, "{cost}");
    // Each child is billed for at least a minute of 0.25 vCPU and half a GiB.
    let seconds = number("task_seconds");
    assert!(seconds >= 60.0 * number("tasks"), "{cost}");
    assert!(
        (number("vcpu_seconds") / seconds - 0.25).abs() < 1e-9,
        "{cost}"
    );
    assert!(
        (number("gib_seconds") / seconds - 0.5).abs() < 1e-9,
        "{cost}"
    );
    let planned = cost["planned"]["cost"].as_f64().unwrap();
    assert!((number("usd") / planned - 1.0).abs() < 0.1, "{cost}");
    assert!(cost["planned"]["cost_one_per_child"].as_f64().unwrap() > 10.0 * planned);

    let mail = job.mail();
    assert!(mail.contains("had it run on AWS"), "{mail}");
    let unknown = job
        .control(&["cost", "20000101-none-000000000000"])
        .expect(2);
    assert!(unknown.stderr.contains("no run"), "{}", unknown.stderr);
}

#[test]
fn a_run_continues_only_by_its_own_command() {
    let source = slow();
    let job = Job::new(&Book::numbered(1_000), &pipeline(&source));
    let running = start(&job);
    wait_for(20, &source);
    let pid = Pid::from_raw(running.id() as i32).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    end(running).expect(130);
    let id = open_run(&job);
    let before = source.hits().len();

    // Another command in the same directory works only on its own run, and says so.
    let other = job.run(&["--limit", "10"]).expect(0);
    assert_eq!(other.json["ok"], 10);
    assert!(
        other.stderr.contains(&format!("rowmill cancel {id}")),
        "{}",
        other.stderr
    );
    let hits: u32 = source.hits().values().sum();
    assert_eq!(hits as usize, before + 10);
    assert_eq!(job.mails(), 1);
    let status = job.control(&["status", &id]).expect(0).json;
    assert_eq!(
        (&status["state"], &status["active"]),
        (&"running".into(), &false.into())
    );

    // Nobody works on it, so the command that cancels it delivers what is done.
    let cancelled = job.control(&["cancel", &id]).expect(3);
    assert_eq!(cancelled.json["ok"], before);
    assert_eq!(cancelled.json["missing"], 1_000 - before);
    assert_eq!(source.hits().values().sum::<u32>() as usize, before + 10);
    assert_eq!(job.mails(), 2);
}

#[test]
fn logs_of_a_row_are_those_of_its_child_and_clean_removes_old_runs() {
    let step = r#"
[[step]]
kind = "command"
program = ["sh", "-c", 'while read -r line; do echo "about $line" >&2; row=${line#*:}; echo "{\"row\":${row%%,*},\"outputs\":{\"y\":1}}"; done']
outputs = ["y"]
[batch]
records_per_child = 10
"#;
    let job = Job::new(&Book::numbered(40), step);
    let none = job.control(&["runs"]).expect(0);
    assert_eq!(none.json, serde_json::json!([]), "nothing ran yet");
    assert!(
        !job.out().join(".rowmill").exists(),
        "and nothing was created"
    );
    let id = job.run(&[]).expect(0).json["run_id"]
        .as_str()
        .unwrap()
        .to_owned();

    let all = job.control(&["logs", &id]).expect(0).json;
    assert_eq!(all.as_array().unwrap().len(), 4, "{all}");
    // The header is row 1, and each child has ten rows.
    let one = job.control(&["logs", &id, "--row", "25"]).expect(0).json;
    assert_eq!(one.as_array().unwrap().len(), 1, "{one}");
    assert_eq!(
        (&one[0]["child"], &one[0]["attempt"]),
        (&2.into(), &1.into())
    );
    assert!(
        one[0]["text"].as_str().unwrap().contains("\"row\":25"),
        "{one}"
    );
    job.control(&["logs", &id, "--row", "42"]).expect(2);
    let unknown = job.control(&["logs", "19990101"]).expect(2);
    assert!(
        unknown.stderr.contains("rowmill runs"),
        "{}",
        unknown.stderr
    );

    assert_eq!(
        job.control(&["clean"]).expect(0).json,
        serde_json::json!([])
    );
    let old = ["clean", "--older-than", "0s", "--dry-run"];
    assert_eq!(job.control(&old).expect(0).json[0]["run_id"], *id);
    let removed = job.control(&old[..3]).expect(0).json;
    assert_eq!(removed[0]["run_id"], *id);
    assert_eq!(job.control(&old[..3]).expect(0).json, serde_json::json!([]));
    let left = job
        .state()
        .into_iter()
        .filter(|file| file.contains("results/") || file.contains("logs/"));
    assert_eq!(left.collect::<Vec<_>>(), [] as [&str; 0]);
    // The delivered file stays.
    assert_eq!(job.result().texts("y").len(), 40);
    job.control(&["clean", "--older-than", "30"]).expect(2);
}

#[test]
fn the_result_of_a_run_can_be_downloaded_and_replaces_no_file_unasked() {
    let step = "[[column]]\nname = \"twice\"\nvalue = \"'x'\"\n";
    let job = Job::new(&Book::numbered(3), step);
    let id = job.run(&[]).expect(0).json["run_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let folder = job.folder().to_str().unwrap();
    let file = job.folder().join("input-result.xlsx");

    let args = ["download", &id, "--to", folder];
    let got = job.control(&args).expect(0).json;
    assert_eq!(got["result"].as_str(), file.to_str());
    let delivered = std::fs::read(job.out().join("input-result.xlsx")).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), delivered);

    std::fs::write(&file, "mine").unwrap();
    let refused = job.control(&args).expect(2);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(refused.json["state"], "refused");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let forced = [&args[..], &["--force"]].concat();
    job.control(&forced).expect(0);
    assert_eq!(std::fs::read(&file).unwrap(), delivered);

    job.control(&["clean", "--older-than", "0s"]).expect(0);
    let gone = job.control(&forced).expect(2);
    assert!(gone.stderr.contains("was removed"), "{}", gone.stderr);
    assert_eq!(std::fs::read(&file).unwrap(), delivered);
}

#[test]
fn a_run_is_followed_from_another_terminal_which_can_leave_it() {
    let source = slow();
    let job = Job::new(&Book::numbered(400), &pipeline(&source));
    let running = start(&job);
    wait_for(20, &source);
    let id = open_run(&job);
    let follow = || {
        let mut command = Command::new(binary());
        command.args(["attach", &id, "--json", "--out"]);
        command.arg(job.out()).arg("--to").arg(job.folder());
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let leaving = follow();
    // Once it listens, Ctrl-Z would otherwise stop it.
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_raw(leaving.id() as i32).unwrap(), Signal::TSTP).unwrap();
    let left = end(leaving).expect(130);
    assert_eq!(left.json["run_id"], *id);
    assert!(left.stderr.contains("rowmill attach"), "{}", left.stderr);

    let followed = end(follow()).expect(0);
    assert_eq!(followed.json["ok"], 400);
    let file = job.folder().join("input-result.xlsx");
    assert_eq!(followed.json["result"].as_str(), file.to_str());
    end(running).expect(0);
    let delivered = std::fs::read(job.out().join("input-result.xlsx")).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), delivered);
    // The file is not replaced.
    end(follow()).expect(2);
}

#[test]
fn a_run_that_was_interrupted_is_not_followed() {
    let source = slow();
    let job = Job::new(&Book::numbered(1_000), &pipeline(&source));
    let running = start(&job);
    wait_for(20, &source);
    kill_process(Pid::from_raw(running.id() as i32).unwrap(), Signal::INT).unwrap();
    end(running).expect(130);
    let id = open_run(&job);
    let refused = job.control(&["attach", &id]).expect(2);
    assert_eq!(refused.json["state"], "refused");
    let advice = refused.json["errors"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("rowmill cancel"), "{advice}");
}

#[test]
fn a_directory_and_a_stack_exclude_each_other() {
    let job = Job::new(&Book::numbered(1), "");
    let both = job.control(&["runs", "--stack", "rowmill"]).expect(2);
    assert!(both.stderr.contains("--out"), "{}", both.stderr);
}

#[test]
fn info_hides_the_password_of_a_relay() {
    let mut command = Command::new(binary());
    command.args(["info", "--json"]);
    command.env("ROWMILL_SMTP", "smtps://me:sesame@example.com");
    let info = Ran::from(command.output().unwrap()).expect(0).json;
    assert_eq!(info["environment"]["ROWMILL_SMTP"], "hidden");
    assert!(!info.to_string().contains("sesame"), "{info}");
}
