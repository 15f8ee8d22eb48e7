//! Limits that a pipeline sets for its runs.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;

/// Rows whose number is a multiple of `every` fail.
fn source(every: u32) -> Source {
    Source::start(move |path, _| {
        let n: u32 = path.rsplit('/').next().unwrap().parse().unwrap();
        match n.is_multiple_of(every) {
            true => Answer::Status(404, Vec::new()),
            false => Answer::Json("{\"value\": 1}".into()),
        }
    })
}

fn pipeline(source: &Source, batch: &str) -> String {
    format!(
        r#"
[[step]]
kind = "http"
url = "{}/{{{{ row.Amount }}}}"
attempts = 1
allow_hosts = ["127.0.0.1"]
[step.outputs]
value = {{ json = "$.value", type = "number" }}
[batch]
concurrency = 4
{batch}
"#,
        source.url()
    )
}

#[test]
fn a_run_that_fails_too_often_stops_before_it_burns_the_source() {
    const ROWS: usize = 6_000;
    let burning = source(1);
    let batch = "records_per_child = 500\nstop_after = \"20%\"";
    let job = Job::new(&Book::numbered(ROWS as u32), &pipeline(&burning, batch));
    let ran = job.run(&[]).expect(3);
    let hits = burning.hits().len();
    assert!((100..ROWS / 2).contains(&hits), "{hits} requests");
    assert_eq!(ran.json["failed"], hits);
    assert_eq!(ran.json["missing"], ROWS - hits);
    let stop = ran.json["stop"].as_str().unwrap();
    assert!(
        stop.ends_with("records failed, and the limit is 20%"),
        "{stop}"
    );
    let errors = job.result_cells().texts("error");
    let missing = errors
        .iter()
        .filter(|error| **error == format!("Stopped: {stop}"));
    assert_eq!(missing.count(), ROWS - hits);
    assert_eq!(job.mails(), 1);

    // A tenth fails, which is allowed.
    let fine = source(10);
    let batch = "records_per_child = 100\nstop_after = \"20%\"";
    let job = Job::new(&Book::numbered(500), &pipeline(&fine, batch));
    let ran = job.run(&[]).expect(3);
    assert_eq!(
        (&ran.json["failed"], &ran.json["missing"]),
        (&50.into(), &0.into())
    );
}

#[test]
fn a_run_with_more_bad_rows_than_tolerated_is_failed_and_delivered_all_the_same() {
    let source = source(10);
    for (tolerate, code) in [("\"9%\"", 1), ("1", 1), ("\"10%\"", 3), ("2", 3)] {
        let batch = format!("tolerate = {tolerate}");
        let job = Job::new(&Book::numbered(20), &pipeline(&source, &batch));
        let ran = job.run(&[]).expect(code);
        assert_eq!(
            (&ran.json["ok"], &ran.json["failed"]),
            (&18.into(), &2.into())
        );
        assert_eq!(job.result().texts("status").len(), 20, "{tolerate}");
        let mail = job.mail();
        assert!(mail.contains("input-result.xlsx"), "attached: {mail}");
        let why = "2 of 20 records are failed or missing";
        match code {
            1 => {
                assert_eq!(ran.json["state"], "failed");
                let reason = ran.json["failure"]["reason"].as_str().unwrap();
                assert!(reason.starts_with(why), "{reason}");
                assert!(mail.contains(why), "{mail}");
            }
            _ => assert!(!mail.contains(why), "{mail}"),
        }
        // The same command shows the same end.
        assert_eq!(job.run(&[]).expect(code).json["state"], ran.json["state"]);
        assert_eq!(job.mails(), 1);
    }
}

#[test]
fn a_run_above_max_records_or_max_cost_contacts_no_source() {
    let source = source(10);
    for (limit, figures) in [
        ("max_records = 19", ["20 records", "allows 19"]),
        ("max_cost = 0.000001", ["USD", "allows 0.00"]),
    ] {
        let job = Job::new(&Book::numbered(20), &pipeline(&source, limit));
        let ran = job.run(&[]).expect(1);
        let reason = ran.json["failure"]["reason"].as_str().unwrap();
        for figure in figures {
            assert!(reason.contains(figure), "{reason}");
            assert!(job.mail().contains(figure), "{}", job.mail());
        }
        assert!(!ran.json["failure"]["advice"].as_str().unwrap().is_empty());
    }
    assert!(source.hits().is_empty());
}

/// Each child is killed once, which costs a minute more than planned.
#[test]
fn a_run_that_becomes_too_expensive_delivers_what_is_done() {
    let toml = |batch: &str| {
        format!(
            "[[step]]\nkind = 'command'\nprogram = ['python3', 'once.py']\noutputs = ['twice']\n\
             [batch]\nrecords_per_child = 10\n{batch}"
        )
    };
    let job = Job::new(&Book::numbered(300), &toml(""));
    let script = r#"
import json, os, signal, sys
for line in sys.stdin:
    row = json.loads(line)
    n = int(row["values"]["Amount"])
    mark = f"killed-{n // 10}"
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getppid(), signal.SIGKILL)
        sys.exit()
    print(json.dumps({"row": row["row"], "outputs": {"twice": n * 2}}), flush=True)
"#;
    std::fs::write(job.folder().join("once.py"), script).unwrap();
    let plan = std::process::Command::new(rowmill_tests_local::program::binary())
        .args(["plan", "--json"])
        .arg(&job.workbook)
        .output()
        .unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    let planned = plan["cost_usd"].as_f64().unwrap();
    let limit = planned * 1.3;
    let batch = format!("max_cost = {limit}\n");
    std::fs::write(job.folder().join("pipeline.toml"), toml(&batch)).unwrap();

    let ran = job.run(&["--slots", "2"]).expect(3);
    let count = |name: &str| ran.json[name].as_u64().unwrap();
    let (ok, missing) = (count("ok"), count("missing"));
    assert_eq!((count("records"), count("failed")), (300, 0));
    assert!(ok > 0 && missing > 0 && ok + missing == 300, "{}", ran.json);
    let cost = ran.json["cost_usd"].as_f64().unwrap();
    assert!(cost > limit && cost < 2.0 * planned, "{cost} of {limit}");
    let stop = ran.json["stop"].as_str().unwrap();
    assert!(stop.contains("max_cost") || stop.contains("cost"), "{stop}");
    let (twice, errors) = (job.result().texts("twice"), job.result().texts("error"));
    for n in 0..300 {
        match errors[n].is_empty() {
            true => assert_eq!(twice[n], (2 * n).to_string()),
            // A child that was killed just before is not started again.
            false if errors[n].starts_with("the job failed (job ") => {
                let killed = format!("): Stopped: {stop}; exit code 137 (killed");
                assert!(errors[n].contains(&killed), "{}", errors[n]);
            }
            false => assert_eq!(errors[n], format!("Stopped: {stop}")),
        }
    }
    assert_eq!(job.mails(), 1);

    // The rest costs what it costs.
    std::fs::write(job.folder().join("pipeline.toml"), toml("")).unwrap();
    let file = job.folder().join("pipeline.toml");
    let run = ran.json["run_id"].as_str().unwrap();
    let rest = job
        .control(&["retry", run, "--pipeline", file.to_str().unwrap()])
        .expect(0);
    assert_eq!(rest.json["ok"], 300);
}

#[test]
fn plan_and_check_show_the_limits_that_are_set() {
    let source = source(10);
    let all =
        "max_cost = 5\nmax_records = 10000\nwithin = \"2h\"\ntolerate = \"5%\"\nstop_after = 20";
    let job = Job::new(&Book::numbered(20), &pipeline(&source, all));
    let file = job.folder().join("pipeline.toml");
    let shown = |args: &[&str]| {
        let mut command = std::process::Command::new(rowmill_tests_local::program::binary());
        let output = command.args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let file = file.to_str().unwrap();
    for args in [
        &["plan", "--rows", "20", "--pipeline", file][..],
        &["check", file],
    ] {
        let text = shown(args);
        for limit in [
            "max_cost 5.00 USD",
            "max_records 10,000",
            "within 2.0 h",
            "tolerate 5%",
            "stop_after 20",
        ] {
            assert!(text.contains(limit), "{limit}: {text}");
        }
    }
    let json = shown(&["plan", "--rows", "20", "--pipeline", file, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["within_seconds"], 7200.0);
    assert_eq!(
        (&json["tolerate"], &json["stop_after"]),
        (&"5%".into(), &"20".into())
    );
    std::fs::write(job.folder().join("pipeline.toml"), pipeline(&source, "")).unwrap();
    assert!(!shown(&["check", file]).contains("limits"));
}
