//! The guarantees of [`Outcomes`].

use rowmill_domain::limits::{OUTCOME_BYTES, OUTCOMES_PAGE_BYTES};
use rowmill_domain::outcome::StepTime;
use rowmill_domain::tally::Tally;
use rowmill_domain::{Kind, Outcome, Status, Value};

use super::{PLAN, id};
use crate::{ErrorKind, Outcomes};

/// Checks an adapter. It must hold no tables at the start, and holds none at the end.
///
/// # Panics
/// If a guarantee of [`Outcomes`] does not hold.
pub async fn outcomes(outcomes: &dyn Outcomes) {
    tables(outcomes).await;
    put_and_read(outcomes).await;
    phases(outcomes).await;
    concurrent_puts(outcomes).await;
    tallies(outcomes).await;
}

async fn tallies(outcomes: &dyn Outcomes) {
    let run = id("tallies");
    let one = Tally {
        ok: 3,
        failed: 1,
        tasks: 1,
        billed_ms: vec![0, 60_000],
    };
    for missing in [
        outcomes.tally(&run).await,
        outcomes.add_tally(&run, &one).await,
    ] {
        assert_eq!(missing.unwrap_err().kind, ErrorKind::NotFound);
    }
    outcomes.create_table(&run, PLAN).await.unwrap();
    assert_eq!(outcomes.tally(&run).await.unwrap(), Tally::default());
    assert_eq!(outcomes.add_tally(&run, &one).await.unwrap(), one);
    // Concurrent calls lose nothing, and one of them sees the sum.
    let more = (0..9).map(|_| outcomes.add_tally(&run, &one));
    let sums = futures::future::try_join_all(more).await.unwrap();
    let all = Tally {
        ok: 30,
        failed: 10,
        tasks: 10,
        billed_ms: vec![0, 600_000],
    };
    assert!(sums.contains(&all), "{sums:?}");
    assert_eq!(outcomes.tally(&run).await.unwrap(), all);
    // Another phase, with as many digits as the number of a phase can have.
    let mut last = Tally::default();
    last.add_billed(11, 70_000);
    let sum = outcomes.add_tally(&run, &last).await.unwrap();
    assert_eq!((sum.billed_ms[1], sum.billed_ms[11]), (600_000, 70_000));
    assert_eq!(outcomes.tally(&run).await.unwrap(), sum);
    let read = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(read, [], "it is not an outcome");
    outcomes.drop_table(&run).await.unwrap();
}

async fn tables(outcomes: &dyn Outcomes) {
    let run = id("tables");
    let none = outcomes.put_outcomes(&run, 0, &[outcome(2)]).await;
    assert_eq!(none.unwrap_err().kind, ErrorKind::NotFound);
    let none = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await;
    assert_eq!(none.unwrap_err().kind, ErrorKind::NotFound);
    outcomes.drop_table(&run).await.unwrap();

    outcomes.create_table(&run, PLAN).await.unwrap();
    outcomes.put_outcomes(&run, 0, &[outcome(2)]).await.unwrap();
    outcomes.create_table(&run, PLAN).await.unwrap();
    let kept = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(
        kept,
        [outcome(2)],
        "creating an existing table changes nothing"
    );
    let other = id("another table");
    outcomes.create_table(&other, PLAN).await.unwrap();
    let mut both = [run.clone(), other.clone()];
    both.sort_unstable();
    let listed = outcomes.list_tables().await.unwrap();
    assert_eq!(listed, both);

    outcomes.drop_table(&run).await.unwrap();
    outcomes.drop_table(&run).await.unwrap();
    assert_eq!(
        outcomes.list_tables().await.unwrap(),
        std::slice::from_ref(&other)
    );
    let gone = outcomes.put_outcomes(&run, 0, &[outcome(2)]).await;
    assert_eq!(gone.unwrap_err().kind, ErrorKind::NotFound);
    let gone = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await;
    assert_eq!(gone.unwrap_err().kind, ErrorKind::NotFound);
    outcomes.create_table(&run, PLAN).await.unwrap();
    let new = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(new, [], "a recreated table is empty");
    outcomes.drop_table(&run).await.unwrap();
    outcomes.drop_table(&other).await.unwrap();
    assert_eq!(outcomes.list_tables().await.unwrap(), []);
}

async fn put_and_read(outcomes: &dyn Outcomes) {
    let run = id("outcomes");
    outcomes.create_table(&run, PLAN).await.unwrap();
    outcomes.put_outcomes(&run, 0, &[]).await.unwrap();
    // Out of order, and more than a service accepts in one request.
    let rows: Vec<u32> = (0..1500_u32).map(|n| n * 7 % 1500 + 2).collect();
    let all: Vec<Outcome> = rows.iter().map(|row| outcome(*row)).collect();
    outcomes.put_outcomes(&run, 0, &all).await.unwrap();
    outcomes
        .put_outcomes(&run, 1, &[outcome(5), outcome(4)])
        .await
        .unwrap();
    let stored = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    let in_order: Vec<Outcome> = (2..1502).map(outcome).collect();
    assert!(stored == in_order, "every outcome unchanged, in row order");
    let page = outcomes.read_page(&run, 0, 0..=u32::MAX).await.unwrap();
    assert_eq!(page.next, None, "small outcomes fit into a page");
    assert!(page.outcomes == in_order);
    let slice = outcomes.read_outcomes(&run, 0, 10..=12).await.unwrap();
    assert_eq!(
        slice,
        [outcome(10), outcome(11), outcome(12)],
        "both ends are included"
    );
    assert_eq!(
        outcomes.read_outcomes(&run, 0, 1502..=9000).await.unwrap(),
        []
    );
    assert_eq!(
        outcomes.read_outcomes(&run, 2, 0..=u32::MAX).await.unwrap(),
        []
    );
    let other = outcomes.read_outcomes(&run, 1, 0..=u32::MAX).await.unwrap();
    assert_eq!(other, [outcome(4), outcome(5)], "chunks are separate");

    let mut later = outcome(4);
    later.status = Status::Ok;
    later.error = None;
    outcomes
        .put_outcomes(&run, 1, &[later.clone()])
        .await
        .unwrap();
    let replaced = outcomes.read_outcomes(&run, 1, 0..=u32::MAX).await.unwrap();
    assert_eq!(
        replaced,
        [later.clone(), outcome(5)],
        "a later outcome replaces an earlier one"
    );
    let mut last = later.clone();
    last.attempts = 9;
    let twice = [later, outcome(6), last.clone()];
    outcomes.put_outcomes(&run, 1, &twice).await.unwrap();
    let replaced = outcomes.read_outcomes(&run, 1, 4..=4).await.unwrap();
    assert_eq!(replaced, [last], "also within one call");

    // Close to the largest item.
    let mut large = outcome(7);
    large.outputs = vec![("text".into(), Value::Text("ü".repeat(150_000)))];
    outcomes
        .put_outcomes(&run, 1, &[large.clone()])
        .await
        .unwrap();
    assert_eq!(
        outcomes.read_outcomes(&run, 1, 7..=7).await.unwrap(),
        [large.clone()]
    );
    // More than fits into one answer of a service.
    let many: Vec<Outcome> = (100..140)
        .map(|row| Outcome {
            row,
            ..large.clone()
        })
        .collect();
    outcomes.put_outcomes(&run, 3, &many).await.unwrap();
    let (mut read, mut pages, mut next) = (Vec::new(), 0, Some(101));
    while let Some(first) = next {
        let page = outcomes.read_page(&run, 3, first..=138).await.unwrap();
        let bytes: usize = page.outcomes.iter().map(Outcome::estimated_bytes).sum();
        assert!(bytes <= 8 * OUTCOMES_PAGE_BYTES, "{bytes} bytes in a page");
        assert!(page.outcomes.iter().all(|outcome| outcome.row >= first));
        assert!(page.next.is_none_or(|next| next > first), "a page advances");
        read.extend(page.outcomes);
        (pages, next) = (pages + 1, page.next);
    }
    assert!(read == many[1..39], "every outcome once, in row order");
    assert!(pages > 1);
    let mut larger = outcome(9);
    larger.outputs = vec![("text".into(), Value::Text("x".repeat(OUTCOME_BYTES)))];
    let refused = outcomes.put_outcomes(&run, 1, &[outcome(8), larger]).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid);
    let stored = outcomes.read_outcomes(&run, 1, 8..=9).await.unwrap();
    assert_eq!(stored, [], "a refused call stores nothing");
    outcomes.drop_table(&run).await.unwrap();
}

/// Outcomes of several phases, of which the latest counts whatever the order of the writes.
async fn phases(outcomes: &dyn Outcomes) {
    let run = id("phases");
    outcomes.create_table(&run, PLAN).await.unwrap();
    let of = |row, phase, attempts| Outcome {
        phase,
        attempts,
        ..outcome(row)
    };
    let put = async |all: &[Outcome]| outcomes.put_outcomes(&run, 0, all).await.unwrap();
    let read = async |rows| outcomes.read_outcomes(&run, 0, rows).await.unwrap();
    put(&[of(2, 0, 1), of(3, 0, 1), of(4, 0, 1), of(5, 2, 1)]).await;
    put(&[of(3, 1, 2), of(4, 1, 2)]).await;
    put(&[of(4, 2, 3)]).await;
    let stored = [of(2, 0, 1), of(3, 1, 2), of(4, 2, 3), of(5, 2, 1)];
    assert_eq!(read(0..=u32::MAX).await, stored, "a later phase replaces");
    // A second child of an earlier phase, which started late.
    put(&[of(2, 0, 7), of(3, 0, 7), of(4, 1, 7), of(5, 0, 7)]).await;
    let stored = [of(2, 0, 7), of(3, 1, 2), of(4, 2, 3), of(5, 2, 1)];
    assert_eq!(read(0..=u32::MAX).await, stored, "an earlier one does not");
    put(&[of(3, 1, 8), of(6, 1, 1), of(6, 0, 2)]).await;
    assert_eq!(read(3..=3).await, [of(3, 1, 8)], "the same phase replaces");
    assert_eq!(read(6..=6).await, [of(6, 1, 1)], "also within one call");
    assert_eq!(read(7..=u32::MAX).await, []);

    // Pages that end within a row that several phases wrote.
    let large = |row, phase| Outcome {
        outputs: vec![("text".into(), Value::Text("ü".repeat(150_000)))],
        ..of(row, phase, 1)
    };
    for phase in [0, 2, 1] {
        let all: Vec<Outcome> = (100..116).map(|row| large(row, phase)).collect();
        put(&all).await;
    }
    let latest: Vec<Outcome> = (100..116).map(|row| large(row, 2)).collect();
    assert!(read(100..=115).await == latest, "each row once");
    assert!(read(101..=114).await == latest[1..15]);
    outcomes.drop_table(&run).await.unwrap();
}

async fn concurrent_puts(outcomes: &dyn Outcomes) {
    let run = id("concurrent puts");
    outcomes.create_table(&run, PLAN).await.unwrap();
    let slices = (0..8_u32).map(|slice| {
        let run = run.clone();
        async move {
            let rows: Vec<Outcome> = (slice * 50..(slice + 1) * 50).map(outcome).collect();
            for part in rows.chunks(10) {
                outcomes.put_outcomes(&run, 0, part).await.unwrap();
            }
        }
    });
    futures::future::join_all(slices).await;
    let stored = outcomes.read_outcomes(&run, 0, 0..=u32::MAX).await.unwrap();
    let rows: Vec<u32> = stored.iter().map(|outcome| outcome.row).collect();
    assert_eq!(
        rows,
        (0..400).collect::<Vec<_>>(),
        "no writer loses outcomes of another"
    );
    outcomes.drop_table(&run).await.unwrap();
}

/// An outcome with every kind of value.
fn outcome(row: u32) -> Outcome {
    let value = |text, kind| Value::parse(text, kind).unwrap();
    Outcome {
        row,
        phase: 1,
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
        steps: 1,
        notes: vec!["step 1 (http): a note".to_owned()],
    }
}
