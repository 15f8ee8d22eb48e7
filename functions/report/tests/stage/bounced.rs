//! Bounced mail.

use std::collections::BTreeMap;

use rowmill_domain::event::Bounce;
use rowmill_domain::link::LinkKey;
use rowmill_domain::run::Work;
use rowmill_domain::{RunState, keys};
use rowmill_events::ToReport;
use rowmill_ports::faulty::{Faults, Moment};
use rowmill_ports::{Coordination, Objects};
use rowmill_report::Links;

use crate::bench::{Bench, Spec, WORK, at};

const TO: &str = "pipeline@example.com";

/// A run that is delivered with its workbook attached, after cleanup.
async fn delivered() -> Bench {
    let mut bench = Bench::new(Spec::default()).await;
    bench.links = Some(Links {
        base: "https://api.example.com".into(),
        key: LinkKey::new("0123456789abcdef0123456789abcdef".into()).unwrap(),
    });
    bench.outcomes(Some).await;
    assert_eq!(bench.handle_all().await.len(), 1);
    let manifest = [keys::manifest(&bench.run)];
    bench.objects.delete(WORK, &manifest).await.unwrap();
    bench
}

fn bounce(bench: &Bench, address: &str, why: &str, by_workbook: bool) -> ToReport {
    ToReport::Bounced(Bounce {
        run: bench.run.clone(),
        mail: "m".into(),
        recipients: BTreeMap::from([(address.to_owned(), why.to_owned())]),
        by_workbook,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_because_of_size_sends_a_link_once() {
    let bench = delivered().await;
    let (_, first) = &bench.sent()[0];
    assert!(first.contains("Content-Disposition: attachment"), "{first}");
    assert!(!first.contains("api.example.com"), "{first}");

    let large = bounce(&bench, TO, "Transient/MessageTooLarge", true);
    for minute in [5, 6] {
        assert_eq!(bench.handle(&large, minute).await.unwrap(), None);
    }
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    let (envelope, second) = &sent[1];
    assert_eq!(envelope.to, [TO]);
    assert_eq!(envelope.run, bench.run);
    let id = format!("{}-linked@example.com", bench.run);
    assert!(second.contains(&format!("Message-ID: <{id}>")), "{second}");
    assert!(!second.contains("Content-Disposition"), "{second}");
    let text = second.replace("=\r\n", "");
    assert!(text.contains("https://api.example.com/d/"), "{text}");

    // Also if the linked form bounces, or another recipient's mailbox is too small as well.
    let other = bounce(&bench, "ana@example.com", "Permanent/NoEmail: 550", true);
    bench.handle(&other, 7).await.unwrap();
    assert_eq!(bench.sent().len(), 2);
    let item = bench.item().await;
    assert_eq!(item.linked_mail, Some(id));
    assert_eq!(item.state, RunState::Delivered);
    let bounced: Vec<_> = item.bounced.iter().map(|(a, w)| (&**a, &**w)).collect();
    assert_eq!(
        bounced,
        [
            ("ana@example.com", "Permanent/NoEmail: 550"),
            (TO, "Transient/MessageTooLarge")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bounces_are_recorded_and_nothing_is_sent() {
    let bench = delivered().await;
    let full = bounce(&bench, TO, "Transient/MailboxFull", false);
    bench.handle(&full, 5).await.unwrap();
    assert_eq!(bench.sent().len(), 1);
    let item = bench.item().await;
    assert_eq!(item.bounced[TO], "Transient/MailboxFull");
    assert_eq!(item.linked_mail, None);

    let ToReport::Bounced(mut unknown) = full else {
        unreachable!()
    };
    unknown.run = "20261121-reviews-ffffffffffff".parse().unwrap();
    let unknown = ToReport::Bounced(unknown);
    assert_eq!(bench.handle(&unknown, 6).await.unwrap(), None);
}

/// The mail already contains the link.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_without_attachment_is_not_sent_again() {
    let mut bench = Bench::new(Spec::default()).await;
    bench.attach_limit = 10;
    bench.outcomes(Some).await;
    bench.handle_all().await;
    let refused = bounce(&bench, TO, "Transient/ContentRejected", true);
    bench.handle(&refused, 5).await.unwrap();
    assert_eq!(bench.sent().len(), 1);
    assert!(bench.item().await.bounced.contains_key(TO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_during_another_invocation_is_retried() {
    let bench = delivered().await;
    let large = bounce(&bench, TO, "Transient/MessageTooLarge", true);
    let lease = std::time::Duration::from_secs(60);
    let held = bench
        .ledger
        .claim(&bench.run, Work::Bounce, "other", at(5).now, lease);
    held.await.unwrap();
    let error = bench.handle(&large, 5).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(bench.sent().len(), 1);
    bench.handle(&large, 7).await.unwrap();
    assert_eq!(bench.sent().len(), 2);
}

/// As with every mail, only a send whose answer is lost can be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_at_any_point_loses_no_bounce() {
    let bench = delivered().await;
    let faults = Faults::never();
    let large = |bench: &Bench| bounce(bench, TO, "Transient/MessageTooLarge", true);
    let event = large(&bench);
    bench.report(&faults).handle(&event, &at(5)).await.unwrap();
    assert!(faults.calls() > 8, "{}", faults.calls());
    for call in 0..faults.calls() {
        for moment in [Moment::Before, Moment::After] {
            let bench = delivered().await;
            let event = large(&bench);
            let report = bench.report(&Faults::nth(call, moment));
            if let Err(error) = report.handle(&event, &at(5)).await {
                assert!(error.is_retryable(), "{call} {moment:?}: {error}");
            }
            // An immediate retry of the same delivery.
            bench.handle(&event, 5).await.unwrap();
            let item = bench.item().await;
            assert!(item.linked_mail.is_some(), "{call} {moment:?}");
            assert!(item.bounced.contains_key(TO), "{call} {moment:?}");
            let sent = bench.sent().len();
            assert!((2..=3).contains(&sent), "{call} {moment:?}: {sent}");
        }
    }
}
