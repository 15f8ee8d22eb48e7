//! A rate that all children of a run keep together.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rowmill_tests::program::Job;
use rowmill_tests::source::{Answer, Source};
use rowmill_tests::workbook::Book;

/// `rows` rows by 16 children at once, at 50 requests a second; when they reached the source.
fn arrivals(rows: u32) -> Vec<Duration> {
    let start = Instant::now();
    let times = Arc::new(Mutex::new(Vec::new()));
    let shared = times.clone();
    let source = Source::start(move |_, _| {
        shared.lock().unwrap().push(start.elapsed());
        Answer::Json("{\"value\": 1}".into())
    });
    // Children of four minutes, as the planner makes them.
    let seconds = 240.0 * 16.0 / f64::from(rows);
    let pipeline = format!(
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
        source.url()
    );
    let job = Job::new(&Book::numbered(rows), &pipeline);
    let ran = job.run(&["--slots", "16"]).expect(0);
    assert_eq!(ran.json["ok"], rows);
    let mut times = times.lock().unwrap().clone();
    times.sort_unstable();
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
#[ignore = "takes half a minute"]
fn sixteen_children_keep_the_rate_within_a_twentieth_over_half_a_minute() {
    let times = arrivals(1700);
    let (least, most) = least_and_most(&times, Duration::from_secs(30));
    assert!(
        (1425..=1575).contains(&least) && (1425..=1575).contains(&most),
        "{least} to {most} in 30 s, at 50 a second"
    );
}
