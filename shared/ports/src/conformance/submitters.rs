//! The guarantees of [`Submitters`].

use rowmill_domain::{RunId, Submitter};

use super::{at, id};
use crate::Submitters;
use crate::submitters::GivenTier;

/// Checks an adapter. It must hold nothing about submitters at the start.
///
/// # Panics
/// If a guarantee of [`Submitters`] does not hold.
pub async fn submitters(submitters: &dyn Submitters) {
    let ada: Submitter = "ada@example.com".parse().unwrap();
    let bob: Submitter = "bob@example.com".parse().unwrap();
    tiers(submitters, &ada, &bob).await;
    events(submitters).await;
    runs(submitters, &ada, &bob).await;
    // Tiers and runs of a submitter are independent.
    assert_eq!(submitters.runs_of(&bob, None, 9).await.unwrap().len(), 1);
    submitters.forget_tier(&bob).await.unwrap();
    submitters.forget_tier(&bob).await.unwrap();
    assert_eq!(submitters.given_tier(&bob).await.unwrap(), None);
    assert_eq!(submitters.runs_of(&bob, None, 9).await.unwrap().len(), 1);
    assert!(submitters.given_tier(&ada).await.unwrap().is_some());
}

async fn tiers(submitters: &dyn Submitters, ada: &Submitter, bob: &Submitter) {
    let given = async |submitter| submitters.given_tier(submitter).await.unwrap();
    let give = async |tier, seconds| {
        let given = submitters.give_tier(ada, tier, at(seconds)).await;
        given.unwrap()
    };
    let tier = |name: &str, seconds| {
        Some(GivenTier {
            name: name.into(),
            since: at(seconds),
        })
    };
    assert_eq!(given(ada).await, None);
    assert!(give("premium", 10).await);
    assert!(give("premium", 10).await, "safe to repeat");
    assert_eq!(given(ada).await, tier("premium", 10));
    assert!(!give("free", 9).await, "an older decision");
    assert_eq!(given(ada).await, tier("premium", 10));
    assert!(give("free", 10).await, "the last of two at the same time");
    assert!(give("premium", 11).await);
    assert_eq!(given(ada).await, tier("premium", 11));
    assert_eq!(given(bob).await, None);
    assert!(submitters.give_tier(bob, "free", at(5)).await.unwrap());
    assert_eq!(given(bob).await, tier("free", 5));
    assert_eq!(given(ada).await, tier("premium", 11));
}

async fn events(submitters: &dyn Submitters) {
    let has = async |id| submitters.has_event(id).await.unwrap();
    assert!(!has("msg_1").await);
    for _ in 0..2 {
        submitters.record_event("msg_1", at(0)).await.unwrap();
        assert!(has("msg_1").await);
    }
    submitters.record_event("msg_2 ü#", at(60)).await.unwrap();
    assert!(has("msg_1").await && has("msg_2 ü#").await && !has("msg_3").await);
}

async fn runs(submitters: &dyn Submitters, ada: &Submitter, bob: &Submitter) {
    assert_eq!(submitters.runs_of(ada, None, 9).await.unwrap(), []);
    let mut all: Vec<RunId> = (0..7).map(|n| id(&format!("run {n}"))).collect();
    all.push(all[3].next_retry().unwrap());
    for run in all.iter().chain(&all[..2]) {
        submitters.add_run(ada, run).await.unwrap();
    }
    submitters.add_run(bob, &all[0]).await.unwrap();
    all.sort_unstable();
    assert_eq!(submitters.runs_of(ada, None, 9).await.unwrap(), all);
    let (mut paged, mut after): (Vec<RunId>, Option<RunId>) = (Vec::new(), None);
    loop {
        let page = submitters.runs_of(ada, after.as_ref(), 3).await.unwrap();
        paged.extend(page.iter().cloned());
        if page.len() < 3 {
            break;
        }
        after = page.last().cloned();
    }
    assert_eq!(paged, all);
    for _ in 0..2 {
        submitters.remove_run(ada, &all[4]).await.unwrap();
    }
    all.remove(4);
    assert_eq!(submitters.runs_of(ada, None, 9).await.unwrap(), all);
}
