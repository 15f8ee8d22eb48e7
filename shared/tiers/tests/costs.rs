//! What archiving costs, against figures computed by hand and as properties.

use std::time::Duration;

use proptest::prelude::*;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_tiers::{Amount, Archiving, Objects, Tier, Tiers};

use ArchiveClass::{DeepArchive, FlexibleRetrieval, InstantRetrieval};

const GB: u64 = 1 << 30;

fn archiving(sizes: &[u64], class: ArchiveClass) -> Archiving {
    Archiving::new(sizes.iter().copied().collect(), class)
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// Asserts that an amount is what was computed by hand, to a trillionth of a USD.
#[track_caller]
fn assert_usd(amount: Amount, usd: f64) {
    assert!((amount.usd() - usd).abs() < 1e-12, "{} {usd}", amount.usd());
}

#[test]
fn the_example_of_aws_has_the_cost_that_aws_computes() {
    // Source: repost.aws/knowledge-center/s3-manage-data-retrieval: 15,000,000 objects, 102,400 GB.
    let sizes = (0..15_000_000).map(|i| 7_330_077 + u64::from(i < 7_777_600));
    let objects: Objects = sizes.collect();
    assert_eq!(objects.bytes, 102_400 * u128::from(GB));
    let archived = Archiving::new(objects, FlexibleRetrieval);
    let cost = |speed| archived.restoring(speed, days(90)).unwrap();
    let standard = cost(RestoreSpeed::Standard);
    assert_eq!(standard.requests, Amount::each(750, 1_000_000_000));
    assert_eq!(standard.retrieved, Amount::each(1024, 1_000_000_000));
    let expedited = cost(RestoreSpeed::Expedited);
    assert_eq!(expedited.requests, Amount::each(150_000, 1_000_000_000));
    assert_eq!(expedited.retrieved, Amount::each(3072, 1_000_000_000));
    let bulk = cost(RestoreSpeed::Bulk);
    assert_eq!(bulk.requests + bulk.retrieved, Amount::ZERO);
}

#[test]
fn a_result_of_the_free_tier_costs_more_than_it_saves_for_a_year() {
    let small = archiving(&[150_000], FlexibleRetrieval);
    let three_months = days(90);
    // 150,000 bytes * 0.023 USD * 3 months / 2^30
    assert_usd(small.standard(three_months), 10_350.0 / GB as f64);
    // (182,768 bytes * 0.0036 USD + 8,192 bytes * 0.023 USD) * 3 months / 2^30
    assert_usd(small.archived(three_months), 2_539.142_4 / GB as f64);
    // A PUT for 0.03 USD and a GET for 0.0004 USD per thousand.
    assert_usd(small.requests(), 0.000_030_4);
    assert_eq!(small.early(three_months), Amount::ZERO);
    assert_usd(
        small.saved(three_months),
        7_810.857_6 / GB as f64 - 0.000_030_4,
    );
    // 0.0000304 USD / ((3,450 - 846.3808) / 2^30 USD per month) = 12.537 months of 30 days
    assert!(small.saved(days(376)).is_negative());
    assert!(!small.saved(days(377)).is_negative());
}

#[test]
fn a_large_result_in_deep_archive_pays_for_itself_in_eight_days() {
    let large = archiving(&[GB], DeepArchive);
    let overhead = (32_768.0 * 0.00099 + 8_192.0 * 0.023) * 6.0 / GB as f64;
    assert_usd(
        large.saved(days(180)),
        0.138 - 0.000_050_4 - 0.005_94 - overhead,
    );
    // 0.0000504 + 6 * 0.00099 USD at 0.023 USD per month = 7.81 days of 30
    assert!(large.saved(days(7)).is_negative());
    assert!(!large.saved(days(8)).is_negative());
    // Restored after 30 days: five months are billed all the same.
    let restored = large.restoring(RestoreSpeed::Standard, days(30)).unwrap();
    assert_usd(
        restored.early,
        (GB as f64 + 32_768.0) * 0.00099 * 5.0 / GB as f64,
    );
    assert_usd(restored.retrieved, 0.02);
    assert_usd(restored.requests, 0.000_1);
    // A PUT, a GET, and a day of 30.
    assert_usd(restored.copies, 0.000_005_4 + 0.023 / 30.0);
    assert_eq!(restored.within, Duration::from_secs(12 * 3600));
    assert!(large.restoring(RestoreSpeed::Expedited, days(30)).is_none());
}

#[test]
fn small_objects_never_save() {
    // In a month: 230 / 2^30 USD, against 42,768 * 0.0036 + 8,192 * 0.023 = 342.
    assert_eq!(archiving(&[10_000], FlexibleRetrieval).break_even(), None);
    // Billed as 128 KB: 131,072 * 0.004 = 524.
    let instant = archiving(&[10_000], InstantRetrieval);
    assert_usd(instant.archived(days(30)), 524.288 / GB as f64);
    assert_eq!(instant.break_even(), None);
    assert!(
        archiving(&[150_000], InstantRetrieval)
            .break_even()
            .is_some()
    );
    assert_eq!(archiving(&[], DeepArchive).break_even(), None);
}

#[test]
fn a_tier_that_costs_more_than_it_saves_gives_a_warning() {
    let mut tier = Tier {
        archive_after: Some(Duration::from_secs(1800)),
        ..Tier::default()
    };
    let one = |bytes| Objects::from_iter([bytes]);
    let never = tier.warning("free", one(10_000)).unwrap();
    assert!(never.contains("never saves anything"), "{never}");
    // Kept forever, so it saves in the end.
    assert_eq!(tier.warning("free", one(150_000)), None);
    tier.delete_after = Some(days(90) + Duration::from_secs(1800));
    // 0.0000304 - 7,810.8576 / 2^30 = 0.0000231 USD, rounded up to a millionth.
    assert_eq!(
        tier.warning("free", one(150_000)).unwrap(),
        "tier `free`: archiving 1 object of 150000 bytes for 90 days costs $0.000024 more than it saves; \
         it saves only from 377 days on: set `delete_after` later, or `archive_after = \"never\"`"
    );
    assert_eq!(tier.warning("free", one(GB)), None);
    tier.archive_after = None;
    assert_eq!(tier.warning("free", one(10_000)), None);
}

#[test]
fn the_shipped_example_has_a_free_and_a_premium_tier() {
    let text = include_str!("../../../examples/tiers.toml");
    let tiers = Tiers::parse("tiers.toml", text).unwrap();
    assert_eq!(tiers.default_name(), "free");
    let free = tiers.tier("free").unwrap();
    assert_eq!(free.max_bytes, Some(150_000));
    assert_eq!(free.archive_after, Some(Duration::from_secs(1800)));
    assert_eq!(free.restore, Some(RestoreSpeed::Expedited));
    assert_eq!(*tiers.tier("premium").unwrap(), Tier::default());
    assert_eq!(
        tiers.tier("gold").unwrap_err().to_string(),
        "unknown tier `gold`; tiers.toml has free, premium"
    );
}

#[test]
fn every_error_has_a_position_and_advice() {
    let text = "\
default = \"gold\"
[tier.free]
max_byte = 5
max_records = 0
max_cost = \"2\"
archive_after = \"30\"
[tier.deep]
archive_after = \"1.5 h\"
delete_after = \"1h\"
storage = \"deep_archive\"
restore = \"expedited\"
[tier.premium]
archive_after = \"never\"
storage = \"glacier\"
";
    let error = Tiers::parse("tiers.toml", text).unwrap_err().to_string();
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "tiers.toml:1:11: unknown tier \"gold\"; choose \"deep\" or \"free\" or \"premium\"",
            "tiers.toml:3:1: unknown key `max_byte`; the keys here are max_bytes, max_records, max_cost, \
             archive_after, delete_after, storage, restore",
            "tiers.toml:4:15: `max_records` is this number; write a whole number above 0, or remove the \
             key for no limit",
            "tiers.toml:5:12: `max_cost` is text; write an amount in USD above 0, such as 2.5",
            "tiers.toml:6:17: invalid value \"30\" for `archive_after`; write \"30m\", \"12h\", \"90d\" or \
             \"never\", from one minute to 3,650 days",
            "tiers.toml:9:16: `delete_after` is not after `archive_after`; both count from the delivery; \
             make it longer, or set `archive_after = \"never\"`",
            "tiers.toml:11:11: `deep_archive` has no speed \"expedited\"; choose standard or bulk",
            "tiers.toml:14:11: invalid value \"glacier\" for `storage`; choose \"instant_retrieval\" or \
             \"flexible_retrieval\" or \"deep_archive\"",
            "tiers.toml:14:11: `storage` has no effect: the tier never archives; set `archive_after`, or \
             remove `storage`",
        ]
    );
    let error = Tiers::parse("tiers.toml", "").unwrap_err().to_string();
    assert!(error.contains("`default` is missing"), "{error}");
    let error = Tiers::parse("tiers.toml", "a = = 1").unwrap_err();
    assert_eq!((error.0[0].line, error.0[0].column), (1, 5));
}

fn class() -> impl Strategy<Value = ArchiveClass> {
    prop::sample::select(ArchiveClass::ALL.to_vec())
}

proptest! {
    #[test]
    fn the_break_even_is_the_first_second_that_does_not_lose(
        sizes in prop::collection::vec(1u64..1 << 34, 1..20),
        class in class(),
        years in 1u64..1000,
    ) {
        let archiving = archiving(&sizes, class);
        match archiving.break_even() {
            Some(even) => {
                let second = Duration::from_secs(1);
                prop_assert!(!archiving.saved(even).is_negative());
                prop_assert!(archiving.saved(even - second).is_negative());
                prop_assert!(archiving.saved(even + days(365 * years)) >= archiving.saved(even));
            }
            None => prop_assert!(archiving.saved(days(365 * years)).is_negative()),
        }
    }

    #[test]
    fn two_halves_cost_exactly_what_the_whole_costs(
        sizes in prop::collection::vec(0u64..1 << 40, 0..20),
        class in class(),
        at in 0usize..20,
        kept in 0u64..1 << 32,
    ) {
        let (a, b) = sizes.split_at(at.min(sizes.len()));
        let kept = Duration::from_secs(kept);
        let saved = |sizes: &[u64]| archiving(sizes, class).saved(kept);
        prop_assert_eq!(saved(a) + saved(b), saved(&sizes));
        for speed in class.speeds() {
            let cost = |sizes: &[u64]| {
                let restoring = archiving(sizes, class).restoring(*speed, kept);
                restoring.unwrap().total()
            };
            prop_assert_eq!(cost(a) + cost(b), cost(&sizes));
        }
    }

    #[test]
    fn any_text_is_a_file_or_has_errors(text in "\\PC{0,80}") {
        if let Err(error) = Tiers::parse("tiers.toml", &text) {
            prop_assert!(!error.0.is_empty());
        }
    }
}
