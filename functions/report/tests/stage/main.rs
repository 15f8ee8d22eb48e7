//! Report as a stage, on local adapters.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

mod bench;
mod bounced;
mod second_round;

use bench::{Bench, QUEUE, Spec, TWO_PHASES, WORK, at, kept};
use rowmill_domain::event::Reported;
use rowmill_domain::job::{JobName, JobStateChange, JobStatus};
use rowmill_domain::link::{Link, LinkKey};
use rowmill_domain::run::{Counts, Failure, REPORT_STARTS, Work};
use rowmill_domain::{Outcome, RunState, Status, keys};
use rowmill_events::ToReport;
use rowmill_ports::faulty::{Faults, Moment};
use rowmill_ports::{Coordination, Objects, RunPatch, Runs};
use rowmill_report::{Links, ReportError};
use rowmill_runs::Transition;

fn failure() -> Failure {
    Failure {
        stage: "split".into(),
        what: "sheet `S` has no row below its header".into(),
        advice: "Add rows.".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_delivers_the_result() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let reported = bench.handle_all().await;
    assert_eq!(
        reported,
        [Reported {
            run: bench.run.clone()
        }]
    );

    let item = bench.item().await;
    assert_eq!(item.state, RunState::Delivered);
    assert_eq!(
        item.counts,
        Counts {
            records: 7,
            rejected: 2,
            ok: 7,
            failed: 0,
            missing: 0
        }
    );
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    let (envelope, mail) = &sent[0];
    assert_eq!(envelope.from, "rowmill@example.com");
    assert_eq!(envelope.to, ["pipeline@example.com"]);
    assert!(
        mail.contains(&format!("Message-ID: <{}@example.com>", bench.run)),
        "{mail}"
    );
    assert!(mail.contains("Content-Disposition: attachment"), "{mail}");
    assert_eq!(item.mail, Some(format!("{}@example.com", bench.run)));
    assert_eq!(bench.get(&keys::mail(&bench.run)).await.unwrap(), mail);

    let results = bench.sheet("Results").await;
    let header = [
        "n",
        "text",
        "sa_class",
        "sa_score",
        "twice",
        "status",
        "error",
        "attempts",
        "input row",
    ];
    assert_eq!(results[0], header);
    assert_eq!(
        results[1],
        ["4", "good", "positive", "0.5", "", "ok", "", "1", "4"]
    );
    let rows: Vec<&str> = results[1..].iter().map(|r| r[0].as_str()).collect();
    assert_eq!(rows, ["4", "5", "6", "7", "8", "9", "10"]);
    assert_eq!(bench.sheet("Rejected").await.len(), 3);

    let columns = bench.manifest.columns();
    for plan in &bench.manifest.chunks {
        let gzip = bench
            .get(&keys::archived_rows(&bench.run, plan.chunk))
            .await
            .unwrap();
        let rows: Vec<u32> = kept(&gzip, &columns).iter().map(|(r, _)| r.row).collect();
        assert_eq!(rows, (plan.first_row..=plan.last_row).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_records_of_a_failed_child_are_missing() {
    // Child 1 of chunk 0 fails in the first phase, so its child in the second phase never runs.
    let bench = Bench::new(Spec {
        pipeline: TWO_PHASES,
        phases: 2,
        chunks: vec![(6, 3), (3, 1)],
        exits: vec![("0-0-1", 75), ("1-1-0", 137)],
        ..Spec::default()
    })
    .await;
    bench
        .outcomes(|o| match o.row {
            // The child was killed after it stored the first of its two records.
            6 => Some(Outcome { phase: 0, ..o }),
            7 => None,
            // Failed in the first phase and carried over.
            8 => Some(Outcome {
                status: Status::Failed,
                error: Some("step 1 (sentiment): no text".into()),
                ..o
            }),
            // Chunk 1 is done in the first phase and lost in the second.
            10.. => Some(Outcome { phase: 0, ..o }),
            _ => Some(o),
        })
        .await;
    assert_eq!(bench.handle_all().await.len(), 1);
    let item = bench.item().await;
    assert_eq!(item.state, RunState::DeliveredWithErrors);
    assert_eq!(
        (item.counts.ok, item.counts.failed, item.counts.missing),
        (3, 1, 5)
    );

    let results = bench.sheet("Results").await;
    let status: Vec<&str> = results[1..].iter().map(|r| r[5].as_str()).collect();
    assert_eq!(
        status,
        [
            "ok", "ok", "missing", "missing", "failed", "ok", "missing", "missing", "missing"
        ]
    );
    let name = |chunk, phase| JobName::new(&bench.run, chunk, phase).0;
    for row in [3, 4] {
        let error = &results[row][6];
        // The root cause, not the failed dependency.
        assert!(
            error.contains(&name(0, 0)) && error.contains("child 1"),
            "{error}"
        );
        assert!(error.contains("exit code 75"), "{error}");
    }
    assert_eq!(
        results[3][2], "positive",
        "what the first phase gave is kept"
    );
    assert_eq!(results[4][2], "");
    for row in [7, 8, 9] {
        let error = &results[row][6];
        assert!(
            error.contains(&name(1, 1)) && error.contains("exit code 137"),
            "{error}"
        );
    }
    let (_, mail) = &bench.sent()[0];
    assert!(mail.contains("5 missing"), "{mail}");

    let gzip = bench
        .get(&keys::archived_rows(&bench.run, 0))
        .await
        .unwrap();
    let kept = kept(&gzip, &bench.manifest.columns());
    assert_eq!(kept[3].1.status, Status::Missing);
    assert_eq!(kept[3].1.error.as_ref(), Some(&results[4][6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_delivers_what_is_done_and_says_why_the_rest_is_missing() {
    // The last chunk was never submitted.
    let bench = Bench::new(Spec {
        chunks: vec![(6, 3), (3, 1), (2, 1)],
        exits: vec![("0-0-1", 75)],
        submitted: 2,
        ..Spec::default()
    })
    .await;
    // Rows 4 to 12 are in the submitted chunks. Child 0 of the first stopped after its first record, and
    // child 1 had failed.
    bench
        .outcomes(|o| (!matches!(o.row, 5..=7 | 13..)).then_some(o))
        .await;
    assert_eq!(bench.handle_all().await, [], "not all jobs are submitted");
    bench.cancel().await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    // Submit could still submit the rest.
    let (run, now) = (&bench.run, at(3).now);
    let lease = std::time::Duration::from_secs(60);
    let claim = bench.ledger.claim(run, Work::Submit, "submit", now, lease);
    claim.await.unwrap();
    assert_eq!(bench.handle(&check, 3).await.unwrap(), None);
    let released = bench.ledger.release(run, Work::Submit, "submit");
    released.await.unwrap();
    let ended = bench.handle(&check, 3).await.unwrap();
    assert!(ended.is_some());
    let item = bench.item().await;
    assert_eq!(item.state, RunState::DeliveredWithErrors);
    let results = bench.sheet("Results").await;
    let at = |name: &str| results[0].iter().position(|cell| cell == name).unwrap();
    let (number, error) = (at("input row"), at("error"));
    let why = |row: u32| {
        let mut rows = results[1..].iter();
        let line = rows.find(|cells| cells[number] == row.to_string());
        line.unwrap()[error].as_str()
    };
    assert!(why(6).contains("exit code 75"), "{results:?}");
    for row in [5, 13, 14] {
        assert_eq!(why(row), "Stopped: the run was cancelled by ana");
    }
    let (_, mail) = &bench.sent()[0];
    assert!(mail.contains("cancelled by ana"), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_before_its_first_row_is_failed_and_says_so() {
    let bench = Bench::new(Spec {
        submitted: 0,
        ..Spec::default()
    })
    .await;
    bench.cancel().await;
    let run = bench.run.clone();
    bench.handle(&ToReport::Check { run }, 3).await.unwrap();
    let item = bench.item().await;
    assert_eq!((item.state, item.counts.missing), (RunState::Failed, 7));
    let failure = item.failure.unwrap();
    assert!(failure.what.contains("cancelled by ana"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_outcomes_is_failed() {
    let bench = Bench::new(Spec {
        exits: vec![("0-0-0", 2), ("0-0-1", 2), ("1-0-0", 2)],
        ..Spec::default()
    })
    .await;
    assert_eq!(bench.handle_all().await.len(), 1);
    let item = bench.item().await;
    assert_eq!(item.state, RunState::Failed);
    assert_eq!((item.counts.missing, item.result), (7, None));
    let failure = item.failure.unwrap();
    assert!(failure.what.contains("exit code 2"), "{failure:?}");
    let (_, mail) = &bench.sent()[0];
    assert!(mail.contains("not processed"), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_events_send_one_mail() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let events = bench.events();
    for event in events.iter().chain(&events) {
        let event = ToReport::Job(event.clone());
        bench.handle(&event, 3).await.unwrap();
    }
    assert_eq!(bench.sent().len(), 1);
    // Until cleanup is done, each event of the run requests it again. After that, nothing is left to do.
    let last = ToReport::Job(events.last().unwrap().clone());
    assert!(bench.handle(&last, 4).await.unwrap().is_some());
    let cleaned = RunPatch {
        cleaned: Some(at(5).now),
        ..RunPatch::default()
    };
    let cleaned = Transition::Clean.apply(&*bench.ledger, &bench.run, cleaned, at(5).now);
    assert!(cleaned.await.unwrap());
    assert_eq!(bench.handle(&last, 6).await.unwrap(), None);
    assert_eq!(bench.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_jobs_are_ignored() {
    let bench = Bench::new(Spec::default()).await;
    let ours = JobStateChange {
        id: bench.events()[0].id.clone(),
        name: JobName::new(&bench.run, 0, 0),
        queue: format!("arn:aws:batch:eu-west-1:123456789012:job-queue/{QUEUE}"),
        status: JobStatus::Succeeded,
        status_reason: None,
        array_index: None,
    };
    let others = [
        JobStateChange {
            queue: "other".into(),
            ..ours.clone()
        },
        JobStateChange {
            array_index: Some(0),
            ..ours.clone()
        },
        JobStateChange {
            status: JobStatus::Running,
            ..ours.clone()
        },
        JobStateChange {
            name: JobName("nightly-backup".into()),
            ..ours.clone()
        },
        JobStateChange {
            name: JobName::new(&"20261121-reviews-ffffffffffff".parse().unwrap(), 0, 0),
            ..ours.clone()
        },
    ];
    let ended = async || {
        let jobs = bench.ledger.jobs(&bench.run).await.unwrap();
        jobs.iter().filter(|job| job.ended).count()
    };
    for other in others {
        let event = ToReport::Job(other);
        assert_eq!(bench.handle(&event, 1).await.unwrap(), None);
        assert_eq!(ended().await, 0);
    }
    let event = ToReport::Job(ours);
    assert_eq!(bench.handle(&event, 1).await.unwrap(), None);
    assert_eq!(ended().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_by_the_sweep_replaces_lost_events() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    assert!(bench.handle(&check, 20).await.unwrap().is_some());
    assert_eq!(bench.item().await.state, RunState::Delivered);
    assert_eq!(bench.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_workbook_is_linked() {
    let mut bench = Bench::new(Spec::default()).await;
    bench.attach_limit = 100;
    bench.outcomes(Some).await;
    bench.handle_all().await;
    let (_, mail) = &bench.sent()[0];
    assert!(!mail.contains("Content-Disposition: attachment"), "{mail}");
    assert!(mail.contains("too large to attach"), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_api_the_mail_links_to_it_and_states_the_expiry() {
    let mut bench = Bench::new(Spec::default()).await;
    let key = LinkKey::new(vec![7; 32]).unwrap();
    bench.attach_limit = 100;
    bench.links = Some(Links {
        base: "https://api.example.com/".into(),
        key: key.clone(),
    });
    bench.outcomes(Some).await;
    bench.handle_all().await;
    let (_, mail) = &bench.sent()[0];
    // Decode quoted-printable: soft line breaks, and `=3D` for `=`.
    let text = mail.replace("=\r\n", "");
    assert!(text.contains("before 5 December 2026"), "{text}");
    let (_, after) = text.split_once("https://api.example.com/d/").unwrap();
    let token = after.split_whitespace().next().unwrap();
    let now = bench::at(9).now;
    let link = Link::verify(token, &key, now).unwrap();
    assert_eq!(link.run, bench.run);
    assert_eq!(Some(link.object), bench.item().await.result);
    assert!((13..=14).contains(&(link.expires - now).num_days()));
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_at_other_domains_are_dropped_and_the_default_recipient_hears_of_it() {
    let mut bench = Bench::new(Spec::default()).await;
    bench.allowed_domains = vec!["elsewhere.org".into()];
    bench.outcomes(Some).await;
    bench.handle_all().await;
    let (envelope, mail) = &bench.sent()[0];
    assert_eq!(envelope.to, ["default@example.com"]);
    let text = mail.replace("=\r\n", "");
    assert!(
        text.contains("`pipeline@example.com` did not get this mail"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_mailed_to_the_recipients_of_the_pipeline() {
    for (pipeline, to) in [
        (Some(bench::PIPELINE), "pipeline@example.com"),
        (Some("[[step]"), "default@example.com"),
        (None, "default@example.com"),
    ] {
        let bench = Bench::new(Spec::default()).await;
        let manifest = keys::manifest(&bench.run);
        bench.objects.delete(WORK, &[manifest]).await.unwrap();
        if let Some(pipeline) = pipeline {
            bench
                .put(
                    &keys::pipeline(&"reviews".parse().unwrap()),
                    pipeline.as_bytes().to_vec(),
                )
                .await;
        }
        let event = ToReport::Failed {
            run: bench.run.clone(),
            failure: failure(),
        };
        for minute in [1, 2] {
            assert!(bench.handle(&event, minute).await.unwrap().is_some());
        }
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].0.to, [to]);
        assert!(
            sent[0].1.contains("has no row below its header"),
            "{}",
            sent[0].1
        );
        let item = bench.item().await;
        assert_eq!(
            (item.state, item.failure),
            (RunState::Failed, Some(failure()))
        );
    }
}

/// The role may be denied to read the pipeline. The email is sent anyway.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_pipeline_has_the_default_recipient() {
    let bench = Bench::new(Spec::default()).await;
    let manifest = keys::manifest(&bench.run);
    bench.objects.delete(WORK, &[manifest]).await.unwrap();
    let file = bench::PIPELINE.as_bytes().to_vec();
    bench
        .put(&keys::pipeline(&"reviews".parse().unwrap()), file)
        .await;
    let event = ToReport::Failed {
        run: bench.run.clone(),
        failure: failure(),
    };
    let report = bench.report(&Faults::denied("/pipelines/"));
    assert!(report.handle(&event, &at(1)).await.unwrap().is_some());
    assert_eq!(bench.sent()[0].0.to, ["default@example.com"]);
    assert_eq!(bench.item().await.state, RunState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanently_refused_mail_goes_to_the_default_recipient_with_the_reason() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    let report = bench.report(&Faults::denied("pipeline@example.com"));
    assert!(report.handle(&check, &at(3)).await.unwrap().is_some());
    let sent = bench.sent();
    let [(envelope, mail)] = &sent[..] else {
        panic!("expected exactly one email: {sent:?}")
    };
    assert_eq!(envelope.to, ["default@example.com"]);
    let text = mail.replace("=\r\n", "");
    for part in ["pipeline@example.com", "injected: not allowed", "mail.eml"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The stored mail is the original one, with the workbook.
    let kept = bench.get(&keys::mail(&bench.run)).await.unwrap();
    let kept = String::from_utf8(kept.to_vec()).unwrap();
    assert!(mail.contains(kept.trim_end()), "{mail}");
    assert_eq!(bench.item().await.state, RunState::Delivered);

    // If the default recipient is refused too, nobody can be notified.
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let report = bench.report(&Faults::denied("@example.com"));
    let error = report.handle(&check, &at(3)).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(bench.item().await.state, RunState::Reporting);
}

/// A missing permission, a folder of another user, a locked key: all can be repaired. Until then
/// nothing is decided, so that the next try delivers.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_repaired_neither_ends_a_run_nor_leaves_a_failure() {
    for denied in ["/results/", "/chunks/", "/runs/"] {
        let bench = Bench::new(Spec::default()).await;
        bench.outcomes(Some).await;
        let check = ToReport::Check {
            run: bench.run.clone(),
        };
        let report = bench.report(&Faults::denied(denied));
        report.handle(&check, &at(3)).await.unwrap_err();
        let item = bench.item().await;
        assert!(!item.state.is_terminal(), "{denied}: {:?}", item.state);
        assert_eq!((item.failure, bench.sent().len()), (None, 0), "{denied}");

        // Another delivery, after the lease.
        let repaired = bench.report(&Faults::never());
        let reported = repaired.handle(&check, &at(45)).await.unwrap();
        assert!(reported.is_some(), "{denied}");
        let item = bench.item().await;
        assert_eq!((item.state, item.failure), (RunState::Delivered, None));
        assert_eq!((item.counts.ok, bench.sent().len()), (7, 1), "{denied}");
    }
}

/// A result that cannot be created for now does not stay silent, and report does not start forever.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_result_is_announced_once_and_fails_after_two_weeks() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    let denied = bench.report(&Faults::denied("/chunks/"));
    for start in 1..=REPORT_STARTS + 2 {
        denied.handle(&check, &at(20 * start)).await.unwrap_err();
        let starts = bench.item().await.report.unwrap();
        assert_eq!(starts.count, start);
        assert!(
            starts
                .error
                .as_ref()
                .is_some_and(|error| error.contains("/chunks/"))
        );
        assert_eq!(starts.wait(at(20 * start + 20).now), start >= REPORT_STARTS);
        let notices = usize::from(start > REPORT_STARTS);
        assert_eq!(bench.sent().len(), notices, "after {start} starts");
    }
    let (envelope, mime) = bench.sent().remove(0);
    assert_eq!(envelope.to, ["pipeline@example.com"]);
    for part in [
        "the result is late",
        "6 starts failed",
        "/chunks/",
        "tries again every 6 hours",
    ] {
        let flat = mime.replace("=\r\n", "").replace("\r\n", " ");
        assert!(flat.contains(part), "{part}: {mime}");
    }

    // Repaired: the result comes, and the run is delivered.
    let repaired = Bench::new(Spec::default()).await;
    repaired.outcomes(Some).await;
    let check_repaired = ToReport::Check {
        run: repaired.run.clone(),
    };
    let report = repaired.report(&Faults::denied("/chunks/"));
    for start in 1..=REPORT_STARTS + 1 {
        report
            .handle(&check_repaired, &at(20 * start))
            .await
            .unwrap_err();
    }
    repaired
        .handle(&check_repaired, 500)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(repaired.item().await.state, RunState::Delivered);
    assert_eq!(repaired.sent().len(), 2);

    // Never repaired: the run fails with the last error.
    let two_weeks = 14 * 24 * 60 + 20;
    denied
        .handle(&check, &at(two_weeks))
        .await
        .unwrap()
        .unwrap();
    let item = bench.item().await;
    assert_eq!(item.state, RunState::Failed);
    let failure = item.failure.unwrap();
    assert!(
        failure.what.contains("in 14 days and 8 starts"),
        "{failure:?}"
    );
    assert!(failure.what.contains("/chunks/"), "{failure:?}");
    assert_eq!(bench.sent().len(), 2);
}

/// A start that was ended from outside leaves no error. The notice says what that means.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_killed_each_time_is_announced_with_the_parameter_to_raise() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    let faults = Faults::never();
    let report = bench.report(&faults);
    // As few steps as record the start.
    let (mut steps, mut count) = (1, 0);
    while count <= REPORT_STARTS {
        faults.restart();
        faults.kill_after(steps);
        report.handle(&check, &at(20)).await.unwrap_err();
        match bench.item().await.report {
            Some(starts) if starts.count > count => {
                assert_eq!(starts.error, None);
                count = starts.count;
            }
            _ => steps += 1,
        }
    }
    let (_, mime) = bench.sent().remove(0);
    assert!(mime.contains("ReportMemory"), "{mime}");
}

/// A failure whose mail could not be stored is not recorded: the next try may deliver.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_does_not_outlive_its_cause() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    let mut wrong = bench.manifest.clone();
    wrong.rows_in += 1;
    bench.store_manifest(&wrong).await;
    let report = bench.report(&Faults::denied("mail.eml"));
    report.handle(&check, &at(3)).await.unwrap_err();
    assert_eq!(bench.item().await.failure, None);

    bench.store_manifest(&bench.manifest).await;
    bench.handle(&check, 45).await.unwrap();
    let item = bench.item().await;
    assert_eq!((item.state, item.failure), (RunState::Delivered, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_an_unknown_run_is_an_error() {
    let bench = Bench::new(Spec::default()).await;
    let event = ToReport::Failed {
        run: "20261121-reviews-ffffffffffff".parse().unwrap(),
        failure: failure(),
    };
    let error = bench.handle(&event, 1).await.unwrap_err();
    assert!(matches!(error, ReportError::UnknownRun(_)) && !error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn report_accepts_its_events_and_refuses_others() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let report = bench.report(&Faults::never());
    let invoke = async |payload: &serde_json::Value| report.invoke(payload, &at(3)).await;
    let event = |name: &str| -> serde_json::Value {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    // Jobs of a run that is not in this ledger, and messages for other stages.
    for name in [
        "batch-child",
        "batch-job-failed",
        "batch-job-succeeded",
        "sns-check",
        "sns-due",
        "sns-split",
        "sns-stop",
    ] {
        assert_eq!(invoke(&event(name)).await.unwrap(), None, "{name}");
    }
    let failed = invoke(&event("sns-failed")).await.unwrap_err();
    assert!(matches!(failed, ReportError::UnknownRun(_)), "{failed}");
    for name in [
        "api-download",
        "cleanup-reported",
        "s3-put",
        "s3-put-in-sns",
    ] {
        let error = invoke(&event(name)).await.unwrap_err();
        assert!(matches!(error, ReportError::Event(_)), "{name}: {error}");
        assert!(!error.is_retryable());
    }
    // Its answer is cleanup's event.
    let mut check = event("sns-check");
    let message = serde_json::json!({ "kind": "check", "run": bench.run }).to_string();
    check["Records"][0]["Sns"]["Message"] = message.into();
    let answer = invoke(&check).await.unwrap();
    assert_eq!(answer, Some(serde_json::json!({ "run": bench.run })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_unaccounted_rows_fails() {
    let bench = Bench::new(Spec::default()).await;
    bench.outcomes(Some).await;
    let mut wrong = bench.manifest.clone();
    wrong.rows_in += 1;
    bench.store_manifest(&wrong).await;
    assert_eq!(bench.handle_all().await.len(), 1);
    let item = bench.item().await;
    assert_eq!((item.state, item.result), (RunState::Failed, None));
    let what = item.failure.unwrap().what;
    assert!(
        what.contains("not every row is accounted for") && what.contains("the file has 10 rows"),
        "{what}"
    );
}

/// Every call fails once, before or after it took effect. The retry, of the same delivery or of another
/// one after the lease, has the same result as a run without faults.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_at_any_point_loses_nothing() {
    let spec = || Spec {
        exits: vec![("1-0-0", 75)],
        ..Spec::default()
    };
    let lost = |o: Outcome| (o.row < 8).then_some(o);
    let check = |bench: &Bench| ToReport::Check {
        run: bench.run.clone(),
    };
    let undisturbed = Bench::new(spec()).await;
    undisturbed.outcomes(lost).await;
    let faults = Faults::never();
    undisturbed
        .report(&faults)
        .handle(&check(&undisturbed), &at(3))
        .await
        .unwrap();
    let expected = (
        undisturbed.item().await.counts,
        undisturbed.sheet("Results").await,
    );
    assert_eq!(expected.0.missing, 3);

    for call in 0..faults.calls() {
        for moment in [Moment::Before, Moment::After] {
            let bench = Bench::new(spec()).await;
            bench.outcomes(lost).await;
            let faults = Faults::nth(call, moment);
            let first = bench.report(&faults).handle(&check(&bench), &at(3)).await;
            match first {
                Err(error) => assert!(error.is_retryable(), "{call} {moment:?}: {error}"),
                // The lost answer was "not found", which the fault wrapper does not lose.
                Ok(first) => assert!(moment == Moment::After && first.is_some(), "{call}"),
            }
            // An immediate retry of the same delivery, or another delivery after the lease.
            let mut cx = at(4);
            if call % 2 == 1 {
                cx = at(30);
                cx.owner = "message-2".into();
            }
            let again = bench
                .report(&Faults::never())
                .handle(&check(&bench), &cx)
                .await
                .unwrap_or_else(|error| panic!("{call} {moment:?}: {error}"));
            assert!(again.is_some(), "{call} {moment:?}");

            let item = bench.item().await;
            assert_eq!(
                item.state,
                RunState::DeliveredWithErrors,
                "{call} {moment:?}"
            );
            assert_eq!(item.counts, expected.0, "{call} {moment:?}");
            assert!(item.mail.is_some(), "{call} {moment:?}");
            assert_eq!(bench.sheet("Results").await.len(), expected.1.len());
            let sent = bench.sent();
            assert!((1..=2).contains(&sent.len()), "{call} {moment:?}");
            assert!(
                sent.iter().all(|mail| mail == &sent[0]),
                "{call} {moment:?}"
            );
        }
    }
}
