//! A step's `rate` limits the requests of all children of all runs together.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rowmill_tests_local::program::Job;
use rowmill_tests_local::server::Server;
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;

/// A source that records when each path was requested.
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

    /// A pipeline with 50 requests per second and 16 children for `rows` rows.
    fn pipeline(&self, rows: u32) -> String {
        let per_child = rows.div_ceil(16);
        format!(
            r#"
[[step]]
kind = "http"
url = "{}/{{{{ row.ID }}}}"
rate = "50/s"
allow_hosts = ["127.0.0.1"]
outputs = {{ value = {{ json = "$.value" }} }}

[batch]
records_per_child = {per_child}
concurrency = 4
"#,
            self.source.url()
        )
    }

    /// The sorted times of requests whose path starts with `path`.
    fn times(&self, path: &str) -> Vec<Duration> {
        let times = self.times.lock().unwrap();
        let of = times.iter().filter(|(_, p)| p.starts_with(path));
        let mut times: Vec<Duration> = of.map(|(time, _)| *time).collect();
        times.sort_unstable();
        times
    }
}

/// Runs `rows` rows in 16 concurrent children and returns the sorted times of their requests.
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

/// The minimum and maximum number of requests in any window of this length between the first and the
/// last request.
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
fn concurrent_children_share_one_rate() {
    let _alone = crate::alone();
    let times = arrivals(160);
    let (_, most) = least_and_most(&times, Duration::from_secs(1));
    assert!(most <= 60, "{most} requests in one second");
}

#[test]
fn concurrent_runs_share_one_rate() {
    let _alone = crate::alone();
    let source = Timed::start();
    let job = Job::new(&Book::numbered(304), &source.pipeline(304));
    let server = Server::start_with(job.folder(), &job.out(), &["--slots", "32"]);
    let first = server.run(&server.upload(&job.workbook, "job"), "job");
    let deadline = Instant::now() + Duration::from_secs(60);
    while source.times("/").len() < 50 {
        assert!(Instant::now() < deadline, "the first run does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = job.folder().join("second.xlsx");
    let rows = (0..160).map(|n| vec![format!("second-{n}")]);
    Book::new(&["ID"], rows).save(&second);
    let second = server.run(&server.upload(&second, "job"), "job");
    assert_eq!(server.ended(&second)["counts"]["ok"], 160);
    assert_eq!(server.ended(&first)["counts"]["ok"], 304);

    let (first, second) = (source.times("/0"), source.times("/second"));
    let both = first.iter().filter(|t| **t > second[0]).count();
    assert!(
        both > 100,
        "only {both} requests of the first run during the second"
    );
    let (_, most) = least_and_most(&source.times("/"), Duration::from_secs(1));
    assert!(most <= 60, "{most} requests in one second");
}

#[test]
#[ignore = "takes half a minute"]
fn sixteen_children_keep_the_rate_within_five_percent_over_half_a_minute() {
    let _alone = crate::alone();
    let times = arrivals(1696);
    let (least, most) = least_and_most(&times, Duration::from_secs(30));
    assert!(
        (1425..=1575).contains(&least) && (1425..=1575).contains(&most),
        "{least} to {most} in 30 s, at 50 per second"
    );
}
