//! The guarantees of [`Coordination`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_domain::run::Work;

use super::{PLAN, at, id};
use crate::{Asked, Claim, Coordination, ErrorKind, Holder, Outcomes};

const LEASE: Duration = Duration::from_secs(60);

/// Checks an adapter. It must hold no claims and no permits at the start. `outcomes` is the
/// adapter that keeps the tables which the answers are in; it holds no tables at the end.
///
/// # Panics
/// If a guarantee of [`Coordination`] does not hold.
pub async fn coordination(coordination: &dyn Coordination, outcomes: &dyn Outcomes) {
    claims(coordination).await;
    holders(coordination).await;
    concurrent_claims(coordination).await;
    permits(coordination, outcomes).await;
    concurrent_permits(coordination).await;
    answers(coordination, outcomes).await;
    concurrent_questions(coordination, outcomes).await;
}

fn holder(owner: &str, until: DateTime<Utc>) -> Holder {
    let owner = owner.to_owned();
    Holder { owner, until }
}

async fn claims(coordination: &dyn Coordination) {
    let run = id("claims");
    let claim = async |owner: &str, work, seconds| {
        let claim = coordination.claim(&run, work, owner, at(seconds), LEASE);
        claim.await.unwrap()
    };
    let taken = |resumed| Claim::Taken { resumed };
    let held = |owner, until| Claim::Held(holder(owner, at(until)));
    let first = claim("a", Work::Split, 0).await;
    assert_eq!(first, taken(false), "the run does not have to exist");
    assert_eq!(claim("b", Work::Split, 59).await, held("a", 60));
    let other = claim("b", Work::Submit, 59).await;
    assert_eq!(other, taken(false), "each kind of work has its own claim");
    let retry = claim("a", Work::Split, 30).await;
    assert_eq!(retry, taken(true), "the holder's retry");
    let renewed = claim("b", Work::Split, 61).await;
    assert_eq!(renewed, held("a", 90), "the retry renewed the lease");
    let expired = claim("b", Work::Split, 91).await;
    assert_eq!(expired, taken(true), "after the lease");

    let lost = coordination.complete(&run, Work::Split, "a").await;
    assert_eq!(lost.unwrap_err().kind, ErrorKind::Conflict);
    coordination.release(&run, Work::Split, "a").await.unwrap();
    let kept = claim("c", Work::Split, 92).await;
    assert_eq!(kept, held("b", 151), "only the holder releases a claim");
    coordination.release(&run, Work::Split, "b").await.unwrap();
    let released = claim("c", Work::Split, 92).await;
    assert_eq!(released, taken(true), "after a release");
    for _ in 0..2 {
        // The second time is the retry after a lost response.
        coordination.complete(&run, Work::Split, "c").await.unwrap();
    }
    for owner in ["a", "b", "c"] {
        assert_eq!(claim(owner, Work::Split, 10_000).await, Claim::Done);
    }
    coordination.release(&run, Work::Split, "c").await.unwrap();
    let done = claim("d", Work::Split, 10_000).await;
    assert_eq!(done, Claim::Done, "completed work stays complete");
    let never = coordination.complete(&run, Work::Report, "a").await;
    assert_eq!(never.unwrap_err().kind, ErrorKind::Conflict);
    coordination.release(&run, Work::Report, "a").await.unwrap();
}

async fn holders(coordination: &dyn Coordination) {
    let run = id("holders");
    let held = async |seconds| {
        let held = coordination.holder(&run, Work::Submit, at(seconds)).await;
        held.unwrap()
    };
    let claim = async |owner: &str, seconds| {
        let claim = coordination.claim(&run, Work::Submit, owner, at(seconds), LEASE);
        claim.await.unwrap()
    };
    assert_eq!(held(0).await, None, "never claimed");
    let first = claim("a", 0).await;
    assert_eq!(
        first,
        Claim::Taken { resumed: false },
        "a query takes no claim"
    );
    for seconds in [0, 59] {
        assert_eq!(held(seconds).await, Some(holder("a", at(60))));
    }
    assert_eq!(held(60).await, None, "the lease has ended");
    let other = coordination.holder(&run, Work::Report, at(0)).await;
    assert_eq!(other.unwrap(), None, "each kind of work has its own claim");

    claim("b", 60).await;
    assert_eq!(held(61).await, Some(holder("b", at(120))));
    coordination.release(&run, Work::Submit, "b").await.unwrap();
    assert_eq!(held(61).await, None, "released");
    claim("c", 62).await;
    coordination
        .complete(&run, Work::Submit, "c")
        .await
        .unwrap();
    assert_eq!(held(63).await, None, "completed");
}

async fn concurrent_claims(coordination: &dyn Coordination) {
    let run = id("concurrent claims");
    let owners: Vec<String> = (0..16).map(|n| format!("owner-{n}")).collect();
    let attempts = owners
        .iter()
        .map(|owner| coordination.claim(&run, Work::Report, owner, at(0), LEASE));
    let claims = futures::future::join_all(attempts).await;
    let taken: Vec<_> = (owners.iter().zip(claims))
        .filter(|(_, claim)| matches!(claim, Ok(Claim::Taken { .. })))
        .collect();
    assert_eq!(taken.len(), 1, "exactly one owner takes it: {taken:?}");
}

async fn permits(coordination: &dyn Coordination, outcomes: &dyn Outcomes) {
    let gap = Duration::from_millis(250);
    let take = async |rate_key: &str, permits, now| {
        let first = coordination.take_permits(rate_key, permits, gap, now);
        first.await.unwrap()
    };
    let quarters = |n: i64| at(0) + TimeDelta::milliseconds(250 * n);
    assert_eq!(take("a.example:80", 4, at(0)).await, at(0));
    let next = take("a.example:80", 1, at(0)).await;
    assert_eq!(next, quarters(4), "after the permits taken earlier");
    let other = take("b.example:80", 1, at(0)).await;
    assert_eq!(other, at(0), "each rate key has its own permits");
    let slow = take("a.example:80", 1, at(-60)).await;
    assert_eq!(slow, quarters(5), "even if the caller's clock is behind");
    let later = take("a.example:80", 2, at(60)).await;
    assert_eq!(later, at(60), "unused time is lost");
    let next = take("a.example:80", 1, at(60)).await;
    assert_eq!(next, at(60) + TimeDelta::milliseconds(500));
    // One request a day: permits far in the future are still given once.
    let day = Duration::from_secs(86_400);
    for n in 0..3 {
        let first = coordination.take_permits("slow", 100, day, at(0)).await;
        assert_eq!(first.unwrap(), at(0) + TimeDelta::days(100 * n));
    }
    // Permits belong to no run, so they outlive the tables of runs.
    let run = id("permits");
    outcomes.create_table(&run, PLAN).await.unwrap();
    outcomes.drop_table(&run).await.unwrap();
    assert_eq!(take("b.example:80", 1, at(0)).await, quarters(1));
}

/// Concurrent callers never get the same permit.
async fn concurrent_permits(coordination: &dyn Coordination) {
    let gap = Duration::from_micros(10);
    let takes =
        (1..=20).map(|permits| coordination.take_permits("concurrent", permits, gap, at(0)));
    let firsts = futures::future::join_all(takes).await;
    let mut taken: Vec<(i64, u32)> = (1..=20)
        .zip(firsts)
        .map(|(permits, first)| {
            let micros = (first.unwrap() - at(0)).num_microseconds();
            (micros.unwrap(), permits)
        })
        .collect();
    taken.sort_unstable();
    let mut next = 0;
    for (first, permits) in taken {
        assert_eq!(first, next, "each permit is given exactly once");
        next += 10 * i64::from(permits);
    }
}

async fn answers(coordination: &dyn Coordination, outcomes: &dyn Outcomes) {
    let run = id("answers");
    let ask = |question: &'static str, owner: &'static str, seconds| {
        coordination.ask(&run, question, owner, at(seconds), LEASE)
    };
    let answer = |question: &'static str, owner: &'static str, text: Option<&'static str>| {
        coordination.answer(&run, question, owner, text)
    };
    let absent = ask("q", "a", 0).await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);
    let absent = answer("q", "a", Some("x")).await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);

    outcomes.create_table(&run, PLAN).await.unwrap();
    assert_eq!(ask("q", "a", 0).await.unwrap(), Asked::Yours);
    assert_eq!(ask("other", "b", 0).await.unwrap(), Asked::Yours);
    assert_eq!(ask("q", "b", 59).await.unwrap(), Asked::Awaited);
    let retry = ask("q", "a", 10).await.unwrap();
    assert_eq!(retry, Asked::Yours, "the owner's retry renews the lease");
    assert_eq!(ask("q", "b", 69).await.unwrap(), Asked::Awaited);
    let late = ask("q", "b", 71).await.unwrap();
    assert_eq!(late, Asked::Yours, "after the lease");
    answer("q", "a", None).await.unwrap();
    let held = ask("q", "c", 72).await.unwrap();
    assert_eq!(held, Asked::Awaited, "only the holder releases a question");
    answer("q", "b", None).await.unwrap();
    let back = ask("q", "c", 72).await.unwrap();
    assert_eq!(back, Asked::Yours, "released");

    // Any text is an answer, including an empty one.
    for (question, text) in [("q", "\u{1F600} \"=1+1\"\n"), ("other", "")] {
        for _ in 0..2 {
            // The second time is the retry after a lost response.
            answer(question, "c", Some(text)).await.unwrap();
        }
        answer(question, "c", None).await.unwrap();
        for owner in ["a", "c"] {
            let known = ask(question, owner, 10_000).await.unwrap();
            assert_eq!(known, Asked::Known(text.to_owned()));
        }
    }
    let large = "x".repeat(OUTCOME_BYTES + 1);
    let refused = coordination.answer(&run, "large", "a", Some(&large)).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(ask("large", "b", 0).await.unwrap(), Asked::Yours);
    let most = &large[1..];
    let stored = coordination.answer(&run, "large", "b", Some(most)).await;
    stored.unwrap();
    let known = ask("large", "a", 1).await.unwrap();
    assert_eq!(known, Asked::Known(most.to_owned()));
    let none = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(none, [], "answers are not outcomes");

    outcomes.drop_table(&run).await.unwrap();
    outcomes.create_table(&run, PLAN).await.unwrap();
    let again = ask("q", "z", 0).await.unwrap();
    assert_eq!(again, Asked::Yours, "answers are dropped with their table");
    outcomes.drop_table(&run).await.unwrap();
}

/// Of concurrent callers, exactly one gets the question.
async fn concurrent_questions(coordination: &dyn Coordination, outcomes: &dyn Outcomes) {
    let run = id("concurrent questions");
    outcomes.create_table(&run, PLAN).await.unwrap();
    let owners: Vec<String> = (0..16).map(|n| format!("owner-{n}")).collect();
    let asked = owners
        .iter()
        .map(|owner| coordination.ask(&run, "question", owner, at(0), LEASE));
    let asked = futures::future::join_all(asked).await;
    let yours = asked.iter().filter(|a| matches!(a, Ok(Asked::Yours)));
    assert_eq!(yours.count(), 1, "{asked:?}");
    let awaited = asked.iter().filter(|a| matches!(a, Ok(Asked::Awaited)));
    assert_eq!(awaited.count(), 15, "{asked:?}");
    outcomes.drop_table(&run).await.unwrap();
}
