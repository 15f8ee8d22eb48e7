//! A run in which only checks, derived columns and the like changed evaluates archived rows again, and
//! contacts no source.

use std::process::Stdio;

use rowmill_tests_local::program::{Job, Ran};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};

/// A source that has no answer for every tenth row.
fn source() -> Source {
    Source::start(|path, _| {
        let n: u32 = path.rsplit('/').next().unwrap().parse().unwrap();
        match n % 10 {
            9 => Answer::Status(404, Vec::new()),
            _ => Answer::Json(format!("{{\"value\": {}}}", n * 3)),
        }
    })
}

fn requests(source: &Source) -> u32 {
    source.hits().values().sum()
}

/// A step that needs a secret and its own image, and what follows it.
fn pipeline(source: &Source, after: &str) -> String {
    let step = source.step();
    let step = step.replace("[[step]]", "[[step]]\nimage = 'other'");
    format!("secrets = ['KEY']\n{step}\n{after}")
}

fn column(value: &str) -> String {
    format!("[[column]]\nname = 'sum'\nvalue = '{value}'\n")
}

fn save(job: &Job, toml: &str) {
    std::fs::write(job.folder().join("pipeline.toml"), toml).unwrap();
}

fn run(job: &Job, args: &[&str]) -> Ran {
    let mut command = job.command(args);
    command.env("ROWMILL_SECRET_KEY", "a secret of 20 bytes");
    Ran::from(command.output().unwrap())
}

fn counts(ran: &Ran) -> (u64, u64, u64) {
    let count = |name: &str| ran.json[name].as_u64().unwrap();
    (count("ok"), count("failed"), count("missing"))
}

fn id(ran: &Ran) -> &str {
    ran.json["run_id"].as_str().unwrap()
}

#[test]
fn a_changed_column_costs_no_request_and_a_changed_step_costs_all() {
    let source = source();
    let mut book = Book::numbered(100);
    book.rows.insert(5, vec![]);
    let job = Job::new(&book, &pipeline(&source, &column("value + 1.0")));
    let first = run(&job, &[]).expect(3);
    assert_eq!((counts(&first), requests(&source)), ((90, 10, 0), 100));
    let before = job.result();

    // Everything that comes after the steps, in one go, and without the secret.
    let after = format!(
        "description = 'changed'\n{}{}[[check]]\nrule = 'value < 240'\n\
         [report]\nchart = 'value'\n[notify]\nto = ['b@example.com']\n",
        column("value + 2.0"),
        column("value * 2.0").replace("'sum'", "'twice'"),
    );
    let (description, after) = after.split_once('\n').unwrap();
    let changed = format!("{description}\n{}", pipeline(&source, after));
    save(&job, &changed);
    let second = job.run(&[]).expect(3);
    assert_eq!(requests(&source), 100);
    assert_ne!(id(&second), id(&first));
    assert_eq!(job.mails(), 2);
    // Rows 80 to 98 fail the check; rows that failed in the step stay as they are.
    assert_eq!(counts(&second), (72, 28, 0));
    assert_eq!(second.json["rejected"], 1);
    for (part, of) in [
        ("no step runs", &second.stderr),
        ("90 of its 100 rows", &second.stderr),
        (id(&first), &second.stderr),
        ("90 of the 100 rows", &job.mail()),
        (id(&first), &job.mail()),
        ("b@example.com", &job.mail()),
    ] {
        assert!(of.contains(part), "{part}: {of}");
    }
    let result = job.result();
    for column in ["ID", "Amount", "Note", "value", "attempts"] {
        assert_eq!(result.column(column), before.column(column), "{column}");
    }
    assert_eq!(result.rows("Rejected"), before.rows("Rejected"));
    let (sums, twice) = (result.texts("sum"), result.texts("twice"));
    let (status, error) = (result.texts("status"), result.texts("error"));
    for n in 0..100 {
        let (failed, checked) = (n % 10 == 9, n >= 80);
        assert_eq!(status[n] == "ok", !failed && !checked, "row {n}");
        assert_eq!(error[n].contains("404"), failed, "row {n}");
        if status[n] == "ok" {
            assert_eq!(sums[n], (n * 3 + 2).to_string());
            assert_eq!(twice[n], (n * 6).to_string());
        } else {
            assert_eq!((&*sums[n], &*twice[n]), ("", ""), "row {n}");
        }
    }

    // Again: the same run. Back: the first one.
    let again = job.run(&[]).expect(3);
    assert_eq!((id(&again), job.mails()), (id(&second), 2));
    save(&job, &pipeline(&source, &column("value + 1.0")));
    let back = run(&job, &[]).expect(3);
    assert_eq!(id(&back), id(&first));
    assert_eq!(requests(&source), 100);

    // The archived rows of a re-evaluation can be evaluated again; rows that failed a check are, too.
    save(&job, &pipeline(&source, &column("value + 3.0")));
    let third = run(&job, &[]).expect(3);
    assert_eq!((counts(&third), requests(&source)), ((90, 10, 0), 100));
    assert!(third.stderr.contains(id(&second)), "{}", third.stderr);

    // The flag, and a change of the step.
    let forced = run(&job, &["--force"]).expect(3);
    assert_eq!(requests(&source), 200);
    assert!(!forced.stderr.contains("no step runs"), "{}", forced.stderr);
    let other = pipeline(&source, &column("value + 3.0")).replace("$.value", "$['value']");
    save(&job, &other);
    run(&job, &[]).expect(3);
    assert_eq!(requests(&source), 300);
    // Another workbook.
    book.rows.pop();
    book.save(&job.workbook);
    save(&job, &other.replace("3.0", "4.0"));
    run(&job, &[]).expect(3);
    assert_eq!(requests(&source), 399);
    // Other rows.
    run(&job, &["--limit", "50"]).expect(3);
    assert_eq!(requests(&source), 449);
    // A secret that is not set, where steps run.
    save(&job, &other.replace("$['value']", "$..value"));
    let refused = job.run(&[]).expect(2);
    assert!(refused.stderr.contains("KEY"), "{}", refused.stderr);
}

#[test]
fn a_re_evaluation_resumes_after_kills_and_under_chaos() {
    let source = source();
    let toml = |value: &str| {
        let batch = "[batch]\nrecords_per_child = 20\n";
        pipeline(&source, &(column(value) + batch))
    };
    let job = Job::new(&Book::numbered(400), &toml("value + 1.0"));
    run(&job, &[]).expect(3);
    for seed in 1..=3 {
        save(&job, &toml(&format!("value + {seed}.5")));
        let mut id = String::new();
        for ms in [20, 80, 160, 320] {
            let mut child = job
                .command(&["--chaos", &seed.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(std::time::Duration::from_millis(ms));
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            child.wait().unwrap();
        }
        let ended = job.run(&["--chaos", &seed.to_string()]).expect(3);
        id.push_str(self::id(&ended));
        assert_eq!(counts(&ended), (360, 40, 0));
        assert_eq!(job.mails(), 1 + seed);
        let sums = job.result().texts("sum");
        for (n, sum) in sums.iter().enumerate().filter(|(n, _)| n % 10 != 9) {
            let expected = format!("{}", (n * 3 + seed) as f64 + 0.5);
            assert_eq!(*sum, expected, "row {n} of {id}");
        }
    }
    assert_eq!(requests(&source), 400);
}

#[test]
fn a_retry_of_a_re_evaluation_requests_only_the_failed_rows() {
    let source = source();
    let job = Job::new(
        &Book::numbered(50),
        &pipeline(&source, &column("value + 1.0")),
    );
    run(&job, &[]).expect(3);
    save(&job, &pipeline(&source, &column("value + 2.0")));
    let second = run(&job, &[]).expect(3);
    assert_eq!((counts(&second), requests(&source)), ((45, 5, 0), 50));
    let run_id = id(&second).to_owned();
    let retry = |args: &[&str]| {
        let mut command = std::process::Command::new(rowmill_tests_local::program::binary());
        command.arg("retry").arg(&run_id).args(args).arg("--json");
        command.arg("--out").arg(job.out());
        command.env("ROWMILL_SECRET_KEY", "a secret of 20 bytes");
        Ran::from(command.stdin(Stdio::null()).output().unwrap())
    };
    let third = retry(&[]).expect(3);
    assert_eq!((counts(&third), requests(&source)), ((45, 5, 0), 55));

    // A retry with other steps leaves rows of both, which are not evaluated again.
    let other = pipeline(&source, &column("value + 2.0")).replace("$.value", "$['value']");
    let corrected = job.folder().join("corrected.toml");
    std::fs::write(&corrected, &other).unwrap();
    retry(&["--pipeline", corrected.to_str().unwrap()]).expect(3);
    assert_eq!(requests(&source), 60);
    save(&job, &other.replace("2.0", "3.0"));
    run(&job, &[]).expect(3);
    assert_eq!(requests(&source), 110);
    // Those of the retry before it are.
    save(&job, &pipeline(&source, &column("value + 3.0")));
    let last = run(&job, &[]).expect(3);
    assert!(
        last.stderr.contains(&format!("{run_id}-r1")),
        "{}",
        last.stderr
    );
    assert_eq!((counts(&last), requests(&source)), ((45, 5, 0), 110));
}

#[test]
fn a_program_that_was_saved_since_runs_again() {
    let toml = |value: &str| {
        format!(
            "[[step]]\nkind = 'command'\nprogram = ['python3', 'double.py']\noutputs = ['doubled']\n{}",
            column(value)
        )
    };
    let job = Job::new(&Book::numbered(20), &toml("doubled + 1.0"));
    let program = job.folder().join("double.py");
    let script = "import json, sys\n\
        for line in sys.stdin:\n    row = json.loads(line)\n    open('worked', 'a').write('x')\n    \
        print(json.dumps({'row': row['row'], 'outputs': {'doubled': row['values']['Amount'] * 2}}), flush=True)\n";
    std::fs::write(&program, script).unwrap();
    let worked = || std::fs::read(job.folder().join("worked")).unwrap().len();
    job.run(&[]).expect(0);
    save(&job, &toml("doubled + 2.0"));
    job.run(&[]).expect(0);
    assert_eq!(worked(), 20);
    std::fs::write(&program, script.replace("* 2", "* 3")).unwrap();
    save(&job, &toml("doubled + 3.0"));
    let third = job.run(&[]).expect(0);
    assert!(third.stderr.contains("double.py"), "{}", third.stderr);
    assert_eq!(worked(), 40);
    assert_eq!(job.result().texts("sum")[4], "15");

    // With the pipeline as it is.
    std::fs::write(&program, script.replace("* 2", "* 4")).unwrap();
    job.run(&[]).expect(0);
    assert_eq!(worked(), 60);
    assert_eq!(job.result().texts("sum")[4], "19");
    let is_known = || {
        let again = job.run(&[]).expect(0);
        let said = &again.stderr;
        assert!(said.contains("already delivered"), "{said}");
        assert_eq!(worked(), 60);
    };
    is_known();
    // What was saved with the same content is the same.
    std::fs::write(&program, script.replace("* 2", "* 3")).unwrap();
    is_known();
}

/// The file is not the program, but decides what it prints.
#[test]
fn an_argument_that_was_saved_since_runs_again() {
    let toml = |value: &str| {
        format!(
            "[[step]]\nkind = 'command'\nprogram = ['python3', 'times.py', 'factor.txt']\n\
             outputs = ['doubled']\n{}",
            column(value)
        )
    };
    let job = Job::new(&Book::numbered(20), &toml("doubled + 1.0"));
    let script = "import json, sys\nfactor = float(open(sys.argv[1]).read())\n\
        for line in sys.stdin:\n    row = json.loads(line)\n    \
        print(json.dumps({'row': row['row'], 'outputs': {'doubled': row['values']['Amount'] * factor}}), flush=True)\n";
    std::fs::write(job.folder().join("times.py"), script).unwrap();
    std::fs::write(job.folder().join("factor.txt"), "2").unwrap();
    job.run(&[]).expect(0);
    std::fs::write(job.folder().join("factor.txt"), "3").unwrap();
    save(&job, &toml("doubled + 3.0"));
    let second = job.run(&[]).expect(0);
    assert!(second.stderr.contains("factor.txt"), "{}", second.stderr);
    assert_eq!(job.result().texts("sum")[4], "15");
}
