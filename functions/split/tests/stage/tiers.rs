//! The limits of a submitter's tier.

use rowmill_domain::run::{Failure, RunState};
use rowmill_domain::{RunItem, Submitter};
use rowmill_ports::Submitters;

use crate::bench::{Bench, at};

const TIERS: &str = "\
default = \"free\"
[tier.free]
max_bytes = 100
max_records = 2
[tier.cheap]
max_cost = 0.000001
[tier.premium]
";
const ADA: [(&str, &str); 1] = [("submitter", "ada@example.com")];

/// A workbook with this many records.
fn workbook(records: usize) -> String {
    let rows = (1..=records).map(|n| format!("{n},Lamp\n"));
    format!("id,product\n{}", rows.collect::<String>())
}

/// A deployment with tiers, and Ada's tier if she was given one.
async fn deployment(given: Option<&str>) -> Bench {
    let bench = Bench::new();
    bench.tiers(TIERS).await;
    let sentiment = "[[step]]\nkind = \"sentiment\"\ncolumn = \"product\"\n";
    bench.pipeline("p", sentiment).await;
    if let Some(tier) = given {
        let ada: Submitter = "ada@example.com".parse().unwrap();
        assert!(
            bench
                .ledger
                .give_tier(&ada, tier, at("", 0).now)
                .await
                .unwrap()
        );
    }
    bench
}

async fn split(bench: &Bench, records: usize, hours: u32) -> RunItem {
    let key = format!("p/{records}.csv");
    let event = bench.upload(&key, &workbook(records), &ADA).await;
    bench.split.handle(&event, &at(&key, hours)).await.unwrap();
    bench.item(&rowmill_split::run_id(&event)).await
}

async fn refusal(bench: &Bench, records: usize) -> Failure {
    let item = split(bench, records, 0).await;
    let failure = item.failure.unwrap();
    assert!(failure.advice.contains("another tier"), "{failure:?}");
    failure
}

#[tokio::test]
async fn a_workbook_above_a_limit_of_the_default_tier_is_refused_with_both_figures() {
    let bench = deployment(None).await;
    let large = refusal(&bench, 50).await;
    let bytes = workbook(50).len();
    assert_eq!(
        large.what,
        format!(
            "50.csv: the workbook has {bytes} bytes, and the tier `free` of ada@example.com allows 100 \
             bytes (max_bytes). Nothing was processed"
        )
    );
    let many = refusal(&bench, 3).await;
    assert_eq!(
        many.what,
        "3.csv: the workbook has 3 records, and the tier `free` of ada@example.com allows 2 \
         (max_records). Nothing was processed"
    );
    assert_eq!(split(&bench, 2, 0).await.state, RunState::Running);
}

#[tokio::test]
async fn the_planned_cost_is_limited_by_the_tier() {
    let bench = deployment(Some("cheap")).await;
    let costly = refusal(&bench, 3).await;
    assert!(
        costly
            .what
            .contains("the run of 3 records is planned to cost")
            && costly.what.contains("tier `cheap`")
            && costly.what.contains("(max_cost)"),
        "{costly:?}"
    );
}

#[tokio::test]
async fn another_tier_counts_from_the_next_upload_on() {
    let bench = deployment(None).await;
    refusal(&bench, 50).await;
    let ada: Submitter = "ada@example.com".parse().unwrap();
    let given = bench.ledger.give_tier(&ada, "premium", at("", 0).now);
    assert!(given.await.unwrap());
    assert_eq!(split(&bench, 60, 0).await.state, RunState::Running);
}

#[tokio::test]
async fn a_tier_that_the_file_no_longer_has_limits_nothing() {
    let bench = deployment(Some("gold")).await;
    assert_eq!(split(&bench, 50, 0).await.state, RunState::Running);
}

#[tokio::test]
async fn a_file_with_errors_refuses_uploads_until_it_is_corrected() {
    let bench = deployment(None).await;
    bench.tiers("default = 5").await;
    let failure = split(&bench, 2, 0).await.failure.unwrap();
    assert!(
        failure.what.contains("config/tiers.toml:1:1") && failure.advice.contains("Ask the person"),
        "{failure:?}"
    );
    bench.tiers(TIERS).await;
    assert_eq!(split(&bench, 1, 0).await.state, RunState::Running);
}

#[tokio::test]
async fn a_change_of_the_file_counts_within_a_minute() {
    let bench = deployment(None).await;
    assert_eq!(split(&bench, 2, 0).await.state, RunState::Running);
    bench.tiers(&TIERS.replace("= 2", "= 1")).await;
    let key = "p/2b.csv";
    let event = bench.upload(key, &workbook(2), &ADA).await;
    bench.split.handle(&event, &at(key, 1)).await.unwrap();
    let item = bench.item(&rowmill_split::run_id(&event)).await;
    assert!(item.failure.is_some(), "after an hour");
}
