//! Children that run out of memory run again, with twice as much.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::{Book, Cell};

/// A program that keeps as many MiB in memory as the record says, for longer than the local Batch needs
/// to see it, and writes down the rows that it answered.
const HUNGRY: &str = r#"
import json, sys, time

for line in sys.stdin:
    record = json.loads(line)
    mib = int(record["values"]["mib"])
    if mib:
        kept = b"x" * (mib << 20)
        time.sleep(3)
        del kept
    print(json.dumps({"row": record["row"], "outputs": {"fed": mib}}), flush=True)
"#;

/// 20 records, 5 in a child. One of the second child needs memory.
fn book(mib: u32) -> Book {
    Book::new(
        &["n", "mib"],
        (0..20).map(|n| {
            let mib = if n == 7 { mib } else { 0 };
            vec![Cell::Number(f64::from(n)), Cell::Number(f64::from(mib))]
        }),
    )
}

/// A request to the source, and then the program, in a phase of their own each.
fn job(source: &Source, mib: u32) -> Job {
    let pipeline = format!(
        "[[step]]\nkind = \"http\"\nurl = \"{}/{{{{ row.n }}}}\"\nrobots = false\n\
         allow_hosts = [\"127.0.0.1\"]\noutputs = {{ said = {{ json = \"$.said\" }} }}\n\
         [[step]]\nkind = \"command\"\nprogram = [\"python3\", \"hungry.py\"]\noutputs = [\"fed\"]\n\
         timeout = \"30s\"\nimage = \"example/hungry:1\"\n\
         [batch]\nrecords_per_child = 5\nconcurrency = 1\nattempts = 1\n",
        source.url()
    );
    let job = Job::new(&book(mib), &pipeline);
    std::fs::write(job.folder().join("hungry.py"), HUNGRY).unwrap();
    job
}

fn source() -> Source {
    Source::start(|path, _| Answer::Json(format!(r#"{{"said":"{}"}}"#, &path[1..])))
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_that_runs_out_of_memory_finishes_in_the_second_round() {
    let source = source();
    // More than the 512 MiB of a child, less than twice as much.
    let job = job(&source, 700);
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["state"], "delivered");
    assert_eq!(ran.json["ok"], 20);
    let result = job.result();
    assert!(result.texts("status").iter().all(|status| status == "ok"));
    // The finished phase is not repeated: the source got each request once.
    let hits = source.hits();
    assert_eq!(hits.len(), 20, "{hits:?}");
    assert!(hits.values().all(|count| *count == 1), "{hits:?}");
    let mail = job.mail();
    for part in ["1 job ran out of memory", "1,024 MiB instead of 512 MiB"] {
        assert!(
            mail.replace("=\r\n", "").replace("=\n", "").contains(part),
            "{part}: {mail}"
        );
    }
    assert_eq!(job.mails(), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_that_runs_out_of_memory_twice_loses_only_unfinished_records() {
    let source = source();
    let job = job(&source, 1300);
    let ran = job.run(&[]).expect(3);
    assert_eq!(ran.json["state"], "delivered_with_errors");
    let result = job.result();
    let (status, error) = (result.texts("status"), result.texts("error"));
    // Rows 5 and 6 of the child may have been stored before.
    for n in (0..5).chain(10..20) {
        assert_eq!(status[n], "ok", "{n}: {}", error[n]);
    }
    assert_eq!(status[7], "missing");
    for part in ["in the second round", "OutOfMemory", "137"] {
        assert!(error[7].contains(part), "{part}: {}", error[7]);
    }
    assert!(source.hits().values().all(|count| *count == 1));
}
