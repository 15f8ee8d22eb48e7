//! What every [`Ledger`] keeps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_domain::outcome::StepTime;
use rowmill_domain::run::{Counts, Failure, Source, Work};
use rowmill_domain::{Kind, Outcome, RunId, RunItem, RunState, Status, Value};

use crate::{Asked, Claim, ErrorKind, JobRecord, Ledger, RunPatch, TablePlan};

/// Checks an adapter. The ledger must be empty; it keeps a few runs, and no table.
///
/// # Panics
/// Where a guarantee of [`Ledger`] does not hold.
pub async fn ledger(ledger: &dyn Ledger) {
    runs(ledger).await;
    updates(ledger).await;
    claims(ledger).await;
    claims_at_once(ledger).await;
    jobs(ledger).await;
    tables(ledger).await;
    turns(ledger).await;
    turns_at_once(ledger).await;
    answers(ledger).await;
    answers_at_once(ledger).await;
    outcomes(ledger).await;
    outcomes_at_once(ledger).await;
}

/// A time of whole milliseconds, `seconds` after a fixed one.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_255_200_123).unwrap() + TimeDelta::seconds(seconds)
}

fn id(name: &str) -> RunId {
    RunId::new("inbox", name, "v1", at(0), "suite")
}

fn item(id: &RunId) -> RunItem {
    let source = Source {
        bucket: "inbox".into(),
        key: "suite/my file (1)+ü.xlsx".into(),
        version: "v1".into(),
        size: 51_382,
        uploaded: at(-60),
    };
    RunItem::new(id.clone(), source, at(0))
}

async fn runs(ledger: &dyn Ledger) {
    let mut ids: Vec<RunId> = (0..7).map(|n| id(&format!("runs/{n}"))).collect();
    assert_eq!(ledger.run(&ids[0]).await.unwrap(), None);
    for id in &ids {
        assert!(ledger.create_run(&item(id)).await.unwrap(), "a new run");
    }
    let mut other = item(&ids[0]);
    other.state = RunState::Failed;
    assert!(!ledger.create_run(&other).await.unwrap(), "its id exists");
    let kept = ledger.run(&ids[0]).await.unwrap();
    assert_eq!(kept, Some(item(&ids[0])), "and nothing changed");

    ids.sort_unstable();
    let mut listed = Vec::new();
    let mut after: Option<RunId> = None;
    loop {
        let page = ledger.runs(after.as_ref(), 3).await.unwrap();
        assert!(page.len() <= 3, "at most as many as asked for");
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        listed.extend(page.into_iter().map(|run| run.id));
    }
    assert_eq!(listed, ids, "in the order of ids, each once");
}

async fn updates(ledger: &dyn Ledger) {
    let run = id("updates");
    let any = [RunState::Splitting, RunState::Running, RunState::Reporting];
    let absent = ledger
        .update_run(&run, &any, RunPatch::default(), at(1))
        .await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);

    ledger.create_run(&item(&run)).await.unwrap();
    let mut expected = item(&run);
    let all = RunPatch {
        state: Some(RunState::Running),
        jobs: Some(4),
        counts: Some(Counts {
            records: 10,
            rejected: 2,
            ok: 7,
            failed: 2,
            missing: 1,
        }),
        failure: Some(Failure {
            stage: "submit".into(),
            what: "what".into(),
            advice: "advice".into(),
        }),
        result: Some("results/r.xlsx".into()),
        mail: Some("mail@example.com".into()),
        bounced: Some([("a@example.com".into(), "full".into())].into()),
        linked_mail: Some("linked@example.com".into()),
        definitions: Some(vec!["arn:1".into(), "arn:2".into()]),
        cleaned: Some(at(3)),
    };
    let from = [RunState::Splitting, RunState::Running];
    assert!(
        ledger
            .update_run(&run, &from, all.clone(), at(2))
            .await
            .unwrap()
    );
    expected.state = RunState::Running;
    expected.jobs = all.jobs;
    expected.counts = all.counts.unwrap();
    expected.failure = all.failure;
    expected.result = all.result;
    expected.mail = all.mail;
    expected.bounced = all.bounced.unwrap();
    expected.linked_mail = all.linked_mail;
    expected.definitions = all.definitions.unwrap();
    expected.cleaned = all.cleaned;
    expected.updated = at(2);
    assert_eq!(ledger.run(&run).await.unwrap().as_ref(), Some(&expected));

    let none = RunPatch::default();
    assert!(ledger.update_run(&run, &from, none, at(4)).await.unwrap());
    expected.updated = at(4);
    let kept = ledger.run(&run).await.unwrap();
    assert_eq!(kept.as_ref(), Some(&expected), "absent fields stay");

    let patch = RunPatch {
        state: Some(RunState::Failed),
        ..RunPatch::default()
    };
    let from = [RunState::Splitting, RunState::Reporting];
    assert!(!ledger.update_run(&run, &from, patch, at(5)).await.unwrap());
    let kept = ledger.run(&run).await.unwrap();
    assert_eq!(kept, Some(expected), "in another state nothing changes");
}

async fn claims(ledger: &dyn Ledger) {
    let run = id("claims");
    let lease = Duration::from_secs(60);
    let claim = |owner: &'static str, work, seconds| {
        let run = run.clone();
        async move {
            ledger
                .claim(&run, work, owner, at(seconds), lease)
                .await
                .unwrap()
        }
    };
    let taken = |resumed| Claim::Taken { resumed };
    assert_eq!(
        claim("a", Work::Split, 0).await,
        taken(false),
        "without a run, too"
    );
    let held = Claim::Held {
        owner: "a".into(),
        until: at(60),
    };
    assert_eq!(claim("b", Work::Split, 59).await, held);
    assert_eq!(
        claim("b", Work::Submit, 59).await,
        taken(false),
        "each work for itself"
    );
    assert_eq!(
        claim("a", Work::Split, 30).await,
        taken(true),
        "the holder's retry"
    );
    let held = Claim::Held {
        owner: "a".into(),
        until: at(90),
    };
    assert_eq!(
        claim("b", Work::Split, 61).await,
        held,
        "its lease is longer now"
    );
    assert_eq!(
        claim("b", Work::Split, 91).await,
        taken(true),
        "after the lease"
    );

    let lost = ledger.complete(&run, Work::Split, "a").await;
    assert_eq!(lost.unwrap_err().kind, ErrorKind::Conflict);
    ledger.release(&run, Work::Split, "a").await.unwrap();
    assert!(matches!(
        claim("c", Work::Split, 92).await,
        Claim::Held { .. }
    ));
    ledger.release(&run, Work::Split, "b").await.unwrap();
    assert_eq!(claim("c", Work::Split, 92).await, taken(true), "given back");
    ledger.complete(&run, Work::Split, "c").await.unwrap();
    ledger
        .complete(&run, Work::Split, "c")
        .await
        .expect("the retry of a lost answer");
    for owner in ["a", "b", "c"] {
        assert_eq!(claim(owner, Work::Split, 10_000).await, Claim::Done);
    }
    ledger.release(&run, Work::Split, "c").await.unwrap();
    assert_eq!(
        claim("d", Work::Split, 10_000).await,
        Claim::Done,
        "done is done"
    );
    let never = ledger.complete(&run, Work::Report, "a").await;
    assert_eq!(never.unwrap_err().kind, ErrorKind::Conflict);
    ledger.release(&run, Work::Report, "a").await.unwrap();
}

async fn claims_at_once(ledger: &dyn Ledger) {
    let run = id("claims at once");
    let owners: Vec<String> = (0..16).map(|n| format!("owner-{n}")).collect();
    let tries = owners.iter().map(|owner| {
        let lease = Duration::from_secs(60);
        ledger.claim(&run, Work::Report, owner, at(0), lease)
    });
    let claims = futures::future::join_all(tries).await;
    let taken: Vec<_> = (owners.iter().zip(claims))
        .filter(|(_, claim)| matches!(claim, Ok(Claim::Taken { .. })))
        .collect();
    assert_eq!(taken.len(), 1, "one owner takes it: {taken:?}");
}

async fn jobs(ledger: &dyn Ledger) {
    let run = id("jobs");
    let job = |n: u32| (JobName(format!("{run}-{n}")), JobId(format!("job-{n}")));
    assert_eq!(ledger.jobs(&run).await.unwrap(), []);
    for n in [1, 0, 1] {
        let (name, id) = job(n);
        ledger.record_job(&run, &name, &id).await.unwrap();
    }
    let stray = JobId("stray".into());
    let other = ledger.record_job(&run, &job(1).0, &stray).await;
    assert_eq!(other.unwrap_err().kind, ErrorKind::Conflict);

    // The event of a job may come before submit has written it down.
    for (n, ended) in [(2, 1), (2, 1), (0, 2), (0, 2), (2, 2)] {
        let (name, id) = job(n);
        assert_eq!(ledger.job_ended(&run, &name, &id).await.unwrap(), ended);
    }
    let (name, id) = job(2);
    ledger.record_job(&run, &name, &id).await.unwrap();
    let ended = ledger.job_ended(&run, &job(1).0, &stray).await.unwrap();
    assert_eq!(
        ended, 2,
        "a job of another id than the one recorded does not count"
    );
    let expected: Vec<JobRecord> = (0..3)
        .map(|n| {
            let (name, id) = job(n);
            let ended = n != 1;
            JobRecord { name, id, ended }
        })
        .collect();
    assert_eq!(ledger.jobs(&run).await.unwrap(), expected, "by name");

    // Each end counted once, however many come at once.
    let run = self::id("jobs at once");
    let ends = (0..20_u32).map(|n| {
        let (name, id) = (
            JobName(format!("j-{}", n % 10)),
            JobId(format!("{}", n % 10)),
        );
        let run = run.clone();
        async move { ledger.job_ended(&run, &name, &id).await.unwrap() }
    });
    let counts = futures::future::join_all(ends).await;
    assert_eq!(counts.into_iter().max(), Some(10), "the last one sees all");
}

const PLAN: TablePlan = TablePlan {
    writes_per_second: 1000,
    records: 100,
};

async fn tables(ledger: &dyn Ledger) {
    let run = id("tables");
    let none = ledger.put_outcomes(&run, 0, &[outcome(2)]).await;
    assert_eq!(none.unwrap_err().kind, ErrorKind::NotFound);
    let none = ledger.outcomes(&run, 0, 0..=u32::MAX).await;
    assert_eq!(none.unwrap_err().kind, ErrorKind::NotFound);
    ledger.drop_table(&run).await.unwrap();

    ledger.create_table(&run, PLAN).await.unwrap();
    ledger.put_outcomes(&run, 0, &[outcome(2)]).await.unwrap();
    ledger.create_table(&run, PLAN).await.unwrap();
    let kept = ledger.outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(kept, [outcome(2)], "a table that exists stays as it is");
    let other = id("another table");
    ledger.create_table(&other, PLAN).await.unwrap();
    let mut both = [run.clone(), other.clone()];
    both.sort_unstable();
    let mut listed = ledger.tables().await.unwrap();
    listed.sort_unstable();
    assert_eq!(listed, both);

    ledger.drop_table(&run).await.unwrap();
    ledger.drop_table(&run).await.unwrap();
    assert_eq!(ledger.tables().await.unwrap(), std::slice::from_ref(&other));
    let gone = ledger.put_outcomes(&run, 0, &[outcome(2)]).await;
    assert_eq!(gone.unwrap_err().kind, ErrorKind::NotFound);
    let gone = ledger.outcomes(&run, 0, 0..=u32::MAX).await;
    assert_eq!(gone.unwrap_err().kind, ErrorKind::NotFound);
    ledger.create_table(&run, PLAN).await.unwrap();
    let new = ledger.outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(new, [], "a table of the same name begins empty");
    ledger.drop_table(&run).await.unwrap();
    ledger.drop_table(&other).await.unwrap();
    assert_eq!(ledger.tables().await.unwrap(), []);
}

/// An outcome with every kind of value.
fn outcome(row: u32) -> Outcome {
    let value = |text, kind| Value::parse(text, kind).unwrap();
    Outcome {
        row,
        stage: 1,
        status: Status::Failed,
        outputs: vec![
            ("z number".into(), Value::Number(-0.25)),
            ("a text".into(), Value::Text("=1+1 \u{1F600} \"\\\n".into())),
            ("bool".into(), Value::Bool(true)),
            ("date".into(), value("2024-02-29", Kind::Date)),
            (
                "datetime".into(),
                value("2024-02-29T23:59:59.250", Kind::DateTime),
            ),
            ("time".into(), value("13:37:00", Kind::Time)),
            ("duration".into(), value("PT36H15M", Kind::Duration)),
        ],
        error: Some("step 2 (http): 404 Not Found".into()),
        attempts: 3,
        times: vec![StepTime { step: 0, ms: 1.5 }],
    }
}

async fn turns(ledger: &dyn Ledger) {
    let gap = Duration::from_millis(250);
    let take = |lane: &'static str, turns, now| ledger.take_turns(lane, turns, gap, now);
    let quarters = |n: i64| at(0) + TimeDelta::milliseconds(250 * n);
    assert_eq!(take("a.example:80", 4, at(0)).await.unwrap(), at(0));
    let next = take("a.example:80", 1, at(0)).await.unwrap();
    assert_eq!(next, quarters(4), "after those of others");
    let other = take("b.example:80", 1, at(0)).await.unwrap();
    assert_eq!(other, at(0), "each lane has turns of its own");
    let slow = take("a.example:80", 1, at(-60)).await.unwrap();
    assert_eq!(slow, quarters(5), "also for one whose clock is behind");
    let later = take("a.example:80", 2, at(60)).await.unwrap();
    assert_eq!(later, at(60), "what was not used in time is gone");
    assert_eq!(
        take("a.example:80", 1, at(60)).await.unwrap(),
        at(60) + TimeDelta::milliseconds(500)
    );
    // One request a day: far ahead, and no turn is given twice for that.
    let day = Duration::from_secs(86_400);
    for n in 0..3 {
        let first = ledger.take_turns("slow", 100, day, at(0)).await.unwrap();
        assert_eq!(first, at(0) + TimeDelta::days(100 * n));
    }
    // Turns are of no run: those that runs drop with their tables are others.
    let run = id("turns");
    ledger.create_table(&run, PLAN).await.unwrap();
    ledger.drop_table(&run).await.unwrap();
    let kept = take("b.example:80", 1, at(0)).await.unwrap();
    assert_eq!(kept, quarters(1));
}

/// No turn is given twice, however many ask at once.
async fn turns_at_once(ledger: &dyn Ledger) {
    let gap = Duration::from_micros(10);
    let ask = (1..=20).map(|turns| ledger.take_turns("lane", turns, gap, at(0)));
    let firsts = futures::future::join_all(ask).await;
    let mut taken: Vec<(i64, u32)> = (1..=20)
        .zip(firsts)
        .map(|(turns, first)| ((first.unwrap() - at(0)).num_microseconds().unwrap(), turns))
        .collect();
    taken.sort_unstable();
    let mut next = 0;
    for (first, turns) in taken {
        assert_eq!(first, next, "no turn twice, and none left out");
        next += 10 * i64::from(turns);
    }
}

async fn answers(ledger: &dyn Ledger) {
    let run = id("answers");
    let lease = Duration::from_secs(60);
    let ask = |question: &'static str, owner: &'static str, seconds| {
        ledger.ask(&run, question, owner, at(seconds), lease)
    };
    let answer = |question: &'static str, owner: &'static str, text: Option<&'static str>| {
        ledger.answer(&run, question, owner, text)
    };
    let absent = ask("q", "a", 0).await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);
    let absent = answer("q", "a", Some("x")).await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);

    ledger.create_table(&run, PLAN).await.unwrap();
    assert_eq!(ask("q", "a", 0).await.unwrap(), Asked::Yours);
    assert_eq!(ask("other", "b", 0).await.unwrap(), Asked::Yours);
    assert_eq!(ask("q", "b", 59).await.unwrap(), Asked::Awaited);
    let retry = ask("q", "a", 10).await.unwrap();
    assert_eq!(retry, Asked::Yours, "the owner's retry, with a lease anew");
    assert_eq!(ask("q", "b", 69).await.unwrap(), Asked::Awaited);
    let late = ask("q", "b", 71).await.unwrap();
    assert_eq!(late, Asked::Yours, "after the lease");
    answer("q", "a", None).await.unwrap();
    let held = ask("q", "c", 72).await.unwrap();
    assert_eq!(
        held,
        Asked::Awaited,
        "only the holder gives a question back"
    );
    answer("q", "b", None).await.unwrap();
    let back = ask("q", "c", 72).await.unwrap();
    assert_eq!(back, Asked::Yours, "given back");

    // Empty, and of more than ASCII: any text.
    for (question, text) in [("q", "\u{1F600} \"=1+1\"\n"), ("other", "")] {
        answer(question, "c", Some(text)).await.unwrap();
        answer(question, "c", Some(text))
            .await
            .expect("the retry of a lost answer");
        answer(question, "c", None).await.unwrap();
        for owner in ["a", "c"] {
            let known = ask(question, owner, 10_000).await.unwrap();
            assert_eq!(known, Asked::Known(text.to_owned()));
        }
    }
    let large = "x".repeat(OUTCOME_BYTES + 1);
    let refused = ledger.answer(&run, "large", "a", Some(&large)).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(ask("large", "b", 0).await.unwrap(), Asked::Yours);
    let most = &large[1..];
    ledger.answer(&run, "large", "b", Some(most)).await.unwrap();
    let known = ask("large", "a", 1).await.unwrap();
    assert_eq!(known, Asked::Known(most.to_owned()));
    let none = ledger.outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(none, [], "an answer is no outcome");

    ledger.drop_table(&run).await.unwrap();
    ledger.create_table(&run, PLAN).await.unwrap();
    let anew = ask("q", "z", 0).await.unwrap();
    assert_eq!(anew, Asked::Yours, "answers are gone with their table");
    ledger.drop_table(&run).await.unwrap();
}

/// However many ask at once, one of them finds the answer.
async fn answers_at_once(ledger: &dyn Ledger) {
    let run = id("answers at once");
    ledger.create_table(&run, PLAN).await.unwrap();
    let owners: Vec<String> = (0..16).map(|n| format!("owner-{n}")).collect();
    let lease = Duration::from_secs(60);
    let asked = owners
        .iter()
        .map(|owner| ledger.ask(&run, "question", owner, at(0), lease));
    let asked = futures::future::join_all(asked).await;
    let yours = asked.iter().filter(|a| matches!(a, Ok(Asked::Yours)));
    assert_eq!(yours.count(), 1, "{asked:?}");
    let awaited = asked.iter().filter(|a| matches!(a, Ok(Asked::Awaited)));
    assert_eq!(awaited.count(), 15, "{asked:?}");
    ledger.drop_table(&run).await.unwrap();
}

async fn outcomes(ledger: &dyn Ledger) {
    let run = id("outcomes");
    ledger.create_table(&run, PLAN).await.unwrap();
    ledger.put_outcomes(&run, 0, &[]).await.unwrap();
    // Out of order, and more than any service takes at once.
    let rows: Vec<u32> = (0..1500_u32).map(|n| n * 7 % 1500 + 2).collect();
    let all: Vec<Outcome> = rows.iter().map(|row| outcome(*row)).collect();
    ledger.put_outcomes(&run, 0, &all).await.unwrap();
    ledger
        .put_outcomes(&run, 1, &[outcome(5), outcome(4)])
        .await
        .unwrap();
    let stored = ledger.outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    let in_order: Vec<Outcome> = (2..1502).map(outcome).collect();
    assert!(
        stored == in_order,
        "every outcome, as it was, in the order of rows"
    );
    let slice = ledger.outcomes(&run, 0, 10..=12).await.unwrap();
    assert_eq!(
        slice,
        [outcome(10), outcome(11), outcome(12)],
        "both ends included"
    );
    assert_eq!(ledger.outcomes(&run, 0, 1502..=9000).await.unwrap(), []);
    assert_eq!(ledger.outcomes(&run, 2, 0..=u32::MAX).await.unwrap(), []);
    let other = ledger.outcomes(&run, 1, 0..=u32::MAX).await.unwrap();
    assert_eq!(other, [outcome(4), outcome(5)], "chunks are apart");

    let mut later = outcome(4);
    later.status = Status::Ok;
    later.error = None;
    later.stage = 0;
    ledger
        .put_outcomes(&run, 1, &[later.clone()])
        .await
        .unwrap();
    let replaced = ledger.outcomes(&run, 1, 0..=u32::MAX).await.unwrap();
    assert_eq!(
        replaced,
        [later.clone(), outcome(5)],
        "the later replaces the earlier"
    );
    let mut last = later.clone();
    last.attempts = 9;
    let twice = [later, outcome(6), last.clone()];
    ledger.put_outcomes(&run, 1, &twice).await.unwrap();
    let replaced = ledger.outcomes(&run, 1, 4..=4).await.unwrap();
    assert_eq!(replaced, [last], "within a call, too");

    // As large as an item may be, near enough.
    let mut large = outcome(7);
    large.outputs = vec![("text".into(), Value::Text("ü".repeat(150_000)))];
    ledger
        .put_outcomes(&run, 1, &[large.clone()])
        .await
        .unwrap();
    assert_eq!(ledger.outcomes(&run, 1, 7..=7).await.unwrap(), [large]);
    let mut larger = outcome(9);
    larger.outputs = vec![("text".into(), Value::Text("x".repeat(OUTCOME_BYTES)))];
    let refused = ledger.put_outcomes(&run, 1, &[outcome(8), larger]).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid);
    let stored = ledger.outcomes(&run, 1, 8..=9).await.unwrap();
    assert_eq!(stored, [], "nothing of a call that is refused");
    ledger.drop_table(&run).await.unwrap();
}

async fn outcomes_at_once(ledger: &dyn Ledger) {
    let run = id("outcomes at once");
    ledger.create_table(&run, PLAN).await.unwrap();
    let slices = (0..8_u32).map(|slice| {
        let run = run.clone();
        async move {
            let rows: Vec<Outcome> = (slice * 50..(slice + 1) * 50).map(outcome).collect();
            for part in rows.chunks(10) {
                ledger.put_outcomes(&run, 0, part).await.unwrap();
            }
        }
    });
    futures::future::join_all(slices).await;
    let stored = ledger.outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    let rows: Vec<u32> = stored.iter().map(|outcome| outcome.row).collect();
    assert_eq!(
        rows,
        (0..400).collect::<Vec<_>>(),
        "no writer loses another's"
    );
    ledger.drop_table(&run).await.unwrap();
}
