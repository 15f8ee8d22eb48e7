//! The mails that only a deployment sends, through validators that nobody here wrote. Those of a run on
//! one machine are in `e2e/validators.rs`.

use std::collections::BTreeMap;

use rowmill_domain::event::Bounce;
use rowmill_domain::link::LinkKey;
use rowmill_domain::run::REPORT_STARTS;
use rowmill_domain::{RunState, Status};
use rowmill_events::ToReport;
use rowmill_ports::faulty::Faults;
use rowmill_report::Links;
use rowmill_tests_local::validators::{Validated, validate};

use crate::report_bench::{Bench, Spec, at};

/// A run whose jobs have ended, in a deployment with an API.
async fn bench(attach_limit: u64) -> Bench {
    let mut bench = Bench::new(Spec::default()).await;
    bench.attach_limit = attach_limit;
    bench.links = Some(Links {
        base: "https://api.example.com/with/a/long/path/before/the/token".into(),
        key: LinkKey::new(vec![7; 32]).unwrap(),
    });
    bench
}

/// The result is attached; the mail bounces because of its size, and a second one links to it.
async fn bounced() -> Bench {
    let bench = bench(1 << 20).await;
    bench.outcomes(Some).await;
    bench.handle_all().await;
    let why = "Transient/MessageTooLarge: 552 5.3.4 Message size exceeds fixed limit".to_owned();
    let bounce = ToReport::Bounced(Bounce {
        run: bench.run.clone(),
        mail: "m".into(),
        recipients: BTreeMap::from([("pipeline@example.com".to_owned(), why)]),
        by_workbook: true,
    });
    bench.handle(&bounce, 5).await.unwrap();
    bench
}

/// The result is linked, and reasons contain links.
async fn linked() -> Bench {
    let bench = bench(100).await;
    bench
        .outcomes(|mut outcome| {
            if outcome.row % 2 == 0 {
                let query = "a=1&b=<c>&".repeat(usize::try_from(outcome.row).unwrap());
                outcome.status = Status::Failed;
                outcome.outputs.clear();
                outcome.error = Some(format!(
                    "step 1 (http): 404 from https://example.com/{}?{query}: see http://[::1]/\u{e9}",
                    outcome.row
                ));
            }
            Some(outcome)
        })
        .await;
    bench.handle_all().await;
    assert_eq!(bench.item().await.state, RunState::DeliveredWithErrors);
    bench
}

/// The mail service refuses the mail.
async fn refused() -> Bench {
    let bench = bench(1 << 20).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    let report = bench.report(&Faults::denied("pipeline@example.com"));
    report.handle(&check, &at(3)).await.unwrap();
    bench
}

/// The result is late, and comes in the end.
async fn late() -> Bench {
    let bench = bench(1 << 20).await;
    bench.outcomes(Some).await;
    let check = ToReport::Check {
        run: bench.run.clone(),
    };
    let report = bench.report(&Faults::denied("/chunks/"));
    for start in 1..=REPORT_STARTS + 1 {
        report.handle(&check, &at(20 * start)).await.unwrap_err();
    }
    bench.handle(&check, 500).await.unwrap().unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node.js and packages from npm; .ci/run runs it"]
async fn mails_that_only_a_deployment_sends_pass_third_party_validators() {
    let folder = tempfile::tempdir().unwrap();
    // How many mails each sends.
    let benches = [
        ("bounced", bounced().await, 2),
        ("linked", linked().await, 1),
        ("refused", refused().await, 1),
        ("late", late().await, 2),
    ];
    for (name, bench, mails) in &benches {
        let sent = bench.sent();
        assert_eq!(sent.len(), *mails, "{name}");
        for (number, (_, mime)) in sent.iter().enumerate() {
            let file = folder.path().join(format!("{name}-{number}.eml"));
            std::fs::write(file, mime).unwrap();
        }
    }
    let expected = Validated {
        workbooks: 0,
        mails: 6,
        // The notices about refused mail and about a late result are only text.
        pages: 4,
        // The first of the bounced, and the result that was late.
        attachments: 2,
    };
    assert_eq!(validate(folder.path()), expected);
}
