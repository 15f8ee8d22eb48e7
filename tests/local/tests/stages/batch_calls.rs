//! The number of calls to Batch, which an account may make only slowly.

use std::sync::Arc;

use crate::bench::{Bench, HOUR, QUEUE, at};
use chrono::{DateTime, Utc};
use rowmill_cleanup::Finding;
use rowmill_domain::job::JobName;
use rowmill_domain::run::UploadSource;
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::conformance::jobs as suite;
use rowmill_ports::faulty::{Faults, Faulty};
use rowmill_ports::{Jobs, Runs};

/// The most calls that a check makes about a run with `jobs` jobs that have waited for a long time.
async fn calls_of_a_check(jobs: u32, gives_up: bool) -> u64 {
    let mut bench = Bench::with_fast_batch();
    let run: RunId = "20261121-p-0123456789ab".parse().unwrap();
    let source = UploadSource {
        bucket: "inbox".into(),
        key: "p/a.csv".into(),
        version: "1".into(),
        size: 1,
        uploaded: at("", 0).now,
    };
    let item = RunItem {
        state: RunState::Running,
        // In the second round, whose jobs are not given up while they wait for capacity.
        jobs: Some(0),
        second_round: Some(jobs),
        ..RunItem::new(run.clone(), source, at("", 0).now)
    };
    assert!(bench.ledger.create_run(&item).await.unwrap());
    let definition = suite::definition("rowmill-calls");
    let arn = bench.batch.register(&definition).await.unwrap();
    let mut created = 0;
    for chunk in 0..jobs {
        let mut job = suite::job("", QUEUE, &arn);
        job.name = JobName::second_round(&run, chunk, 0);
        job.array_size = Some(2);
        let id = bench.batch.submit(&job).await.unwrap();
        bench.ledger.record_job(&run, &job.name, &id).await.unwrap();
        created = Utc::now().timestamp_millis();
    }
    let faults = Faults::never();
    let counted = Arc::new(Faulty::new(bench.batch.clone(), faults.clone()));
    bench.cleanup.jobs = counted;
    let mut cx = at("sweep", 0);
    cx.now = DateTime::from_timestamp_millis(created).unwrap() + HOUR * 7;
    let actions = bench.cleanup.due(&run, &cx).await.unwrap();
    let waits = |action: &Finding| matches!(action, Finding::JobWaits { .. });
    assert!(
        !actions.is_empty() && actions.iter().all(waits),
        "{actions:?}"
    );
    let calls = faults.calls();
    if !gives_up {
        return calls;
    }

    bench.batch_says("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - It needs more than there is");
    let faults = Faults::never();
    bench.cleanup.jobs = Arc::new(Faulty::new(bench.batch.clone(), faults.clone()));
    cx.now += HOUR;
    let actions = bench.cleanup.due(&run, &cx).await.unwrap();
    let given_up = |action: &&Finding| matches!(action, Finding::JobStuck { .. });
    let given_up = actions.iter().filter(given_up).count();
    assert_eq!(given_up, jobs as usize, "all jobs of the phase");
    // One call each terminates them.
    calls.max(faults.calls() - u64::from(jobs))
}

#[tokio::test]
async fn a_check_makes_few_calls_to_batch_whatever_the_number_of_jobs() {
    // DescribeJobs takes 100 jobs, for the run's jobs and for the pending jobs of the queue, whose
    // pages have 100 jobs. The rest, for both queues, does not depend on the number of jobs.
    for (jobs, pages, gives_up) in [(100, 1, true), (3000, 30, false)] {
        let calls = calls_of_a_check(jobs, gives_up).await;
        assert!(calls <= 3 * pages + 13, "{jobs} jobs: {calls} calls");
    }
}
