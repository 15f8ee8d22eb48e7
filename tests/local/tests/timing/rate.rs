//! A rate that all children of all runs keep together.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rowmill_tests_local::program::{Job, Ran};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};

/// A source, and when each path was asked for.
struct Timed {
    source: Source,
    times: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Timed {
    fn start() -> Timed {
        let start = Instant::now();
        let times: Arc<Mutex<Vec<_>>> = Arc::default();
        let shared = times.clone();
        let source = Source::start(move |path, _| {
            let asked = (start.elapsed(), path.to_owned());
            shared.lock().unwrap().push(asked);
            Answer::Json("{\"value\": 1}".into())
        });
        Timed { source, times }
    }

    /// A pipeline of 50 requests a second, whose `rows` rows are worked on by 16 children.
    fn pipeline(&self, rows: u32) -> String {
        // Children of four minutes, as the planner makes them, of four records at once; a little
        // less, so that none is left over.
        let seconds = 239.0 * 4.0 * 16.0 / f64::from(rows);
        format!(
            r#"
[[step]]
kind = "http"
url = "{}/{{{{ row.ID }}}}"
rate = "50/s"
allow_hosts = ["127.0.0.1"]
outputs = {{ value = {{ json = "$.value" }} }}

[batch]
seconds_per_record = {seconds}
concurrency = 4
"#,
            self.source.url()
        )
    }

    /// When requests whose path begins so came, in order.
    fn times(&self, path: &str) -> Vec<Duration> {
        let times = self.times.lock().unwrap();
        let of = times.iter().filter(|(_, p)| p.starts_with(path));
        let mut times: Vec<Duration> = of.map(|(time, _)| *time).collect();
        times.sort_unstable();
        times
    }
}

/// `rows` rows by 16 children at once; when they reached the source.
fn arrivals(rows: u32) -> Vec<Duration> {
    let source = Timed::start();
    let job = Job::new(&Book::numbered(rows), &source.pipeline(rows));
    let ran = job.run(&["--slots", "16"]).expect(0);
    assert_eq!(ran.json["ok"], rows);
    let first_log = |file: &&String| file.starts_with("logs/") && file.ends_with("/1.log");
    assert_eq!(job.state().iter().filter(first_log).count(), 16);
    let times = source.times("/");
    assert_eq!(times.len(), rows as usize);
    times
}

/// The least and the most requests in any stretch of time that long, between the first and the
/// last.
fn least_and_most(times: &[Duration], long: Duration) -> (usize, usize) {
    let last = times[times.len() - 1];
    let (mut least, mut most) = (usize::MAX, 0);
    for from in times.iter().filter(|t| **t + long <= last) {
        let within = |t: &&Duration| *t >= from && **t < *from + long;
        let count = times.iter().filter(within).count();
        (least, most) = (least.min(count), most.max(count));
    }
    (least, most)
}

#[test]
fn children_do_not_add_up_their_rates() {
    let times = arrivals(160);
    let (_, most) = least_and_most(&times, Duration::from_secs(1));
    assert!(most <= 60, "{most} in a second");
}

#[test]
fn runs_at_once_do_not_add_up_their_rates() {
    let source = Timed::start();
    let pipeline = source.pipeline(304);
    let job = Job::new(&Book::numbered(304), &pipeline);
    let mut first = job.command(&["--slots", "32"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while source.times("/").len() < 50 {
        assert!(Instant::now() < deadline, "the first run does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(first.id() as i32).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(130));
    let before = source.times("/0").len();

    // A command at work on the directory goes on with all runs that it finds there.
    let second = job.folder().join("second.xlsx");
    let rows = (0..160).map(|n| vec![format!("second-{n}")]);
    Book::new(&["ID"], rows).save(&second);
    let ran = job.command_on(&second, &["--slots", "32"]).output();
    let ran = Ran::from(ran.unwrap()).expect(0);
    assert_eq!(ran.json["ok"], 160);

    let (first, second) = (&source.times("/0")[before..], source.times("/second"));
    let both = first.iter().filter(|t| **t > second[0]).count();
    assert!(both > 100, "only {both} of the first run beside the second");
    let (_, most) = least_and_most(&source.times("/"), Duration::from_secs(1));
    assert!(most <= 60, "{most} in a second");
}

#[test]
#[ignore = "takes half a minute"]
fn sixteen_children_keep_the_rate_within_a_twentieth_over_half_a_minute() {
    let times = arrivals(1696);
    let (least, most) = least_and_most(&times, Duration::from_secs(30));
    assert!(
        (1425..=1575).contains(&least) && (1425..=1575).contains(&most),
        "{least} to {most} in 30 s, at 50 a second"
    );
}
