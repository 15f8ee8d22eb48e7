//! An upload that asks split to evaluate the archived rows of another run again.

use rowmill_domain::manifest::Continuation;
use rowmill_domain::{Manifest, RunState, keys};
use rowmill_split::REEVALUATE_METADATA;

use crate::bench::{Bench, at};
use crate::killed_anywhere::{INPUT, PIPELINE, archived};

const COLUMN: &str = "[[column]]\nname = 'sum'\nvalue = 'a + b'\n";

async fn manifest(bench: &Bench, key: &str) -> Manifest {
    let objects = bench.objects_under(key).await;
    Manifest::from_json(&objects[0].1).unwrap()
}

#[tokio::test]
async fn a_re_evaluation_killed_at_any_call_is_resumed() {
    let mut steps = 0;
    loop {
        let bench = Bench::new();
        let base = archived(&bench).await;
        bench.pipeline("p", &format!("{PIPELINE}{COLUMN}")).await;
        let metadata = [(REEVALUATE_METADATA, base.as_str())];
        let event = bench.upload("p/a.csv", INPUT, &metadata).await;
        let run = event.run_id();
        bench.faults.kill_after(steps);
        let first = bench.split.handle(&event, &at("first", 2)).await;
        bench.faults.restart();
        let owner = if steps % 2 == 0 { "first" } else { "second" };
        bench.split.handle(&event, &at(owner, 4)).await.unwrap();

        let item = bench.item(&run).await;
        assert_eq!((item.state, &item.failure), (RunState::Running, &None));
        // One chunk of one phase, although the steps have two.
        assert_eq!((item.counts.records, item.jobs), (2, Some(1)));
        let manifest = manifest(&bench, &keys::manifest(&run)).await;
        assert_eq!(
            (manifest.phases, manifest.records, manifest.rows_in),
            (1, 3, 6)
        );
        let of = manifest.base.unwrap();
        assert_eq!((of.run, of.by), (base, Continuation::Reevaluation));
        let mut lines = String::new();
        for plan in &manifest.chunks {
            let chunk = bench.objects_under(&keys::chunk(&run, plan.chunk)).await;
            lines += std::str::from_utf8(&chunk[0].1).unwrap();
        }
        let done = r#""outputs":{"a":1,"b":2},"attempts":0,"steps":2"#;
        assert_eq!(lines.matches(done).count(), 2, "{lines}");
        assert!(!lines.contains(r#"{"row":4,"#), "it failed in a step");

        bench.submit.handle(&run, &at("submit", 5)).await.unwrap();
        let jobs = bench.jobs().await;
        assert!(
            jobs.iter().all(|job| job.name.0.ends_with("-p0")),
            "{jobs:?}"
        );
        if first.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 20, "{steps}");
}

#[tokio::test]
async fn what_has_other_rows_or_steps_is_refused() {
    let bench = Bench::new();
    let base = archived(&bench).await;
    let column = format!("{PIPELINE}{COLUMN}");
    let parameter = format!("[parameters]\nday = {{ default = '1' }}\n{column}");
    let step = column.replace("program = [\"true\"]", "program = [\"false\"]");
    let unknown = "20261121-p-0123456789ab";
    for (pipeline, input, metadata, why) in [
        (
            &column,
            "id,n\n1,5\n",
            &[][..],
            "is not the workbook of run",
        ),
        (
            &column,
            INPUT,
            &[("limit", "2")][..],
            "the metadata `limit`",
        ),
        (&step, INPUT, &[][..], "differs in more than"),
        (&parameter, INPUT, &[][..], "differs in more than"),
        (
            &column,
            INPUT,
            &[(REEVALUATE_METADATA, unknown)][..],
            "no archived rows",
        ),
        (
            &column,
            INPUT,
            &[(REEVALUATE_METADATA, "x")][..],
            "not the id of a run",
        ),
    ] {
        bench.pipeline("p", pipeline).await;
        let mut all = vec![(REEVALUATE_METADATA, base.as_str())];
        all.extend(metadata);
        let event = bench.upload("p/a.csv", input, &all).await;
        let run = event.run_id();
        bench.split.handle(&event, &at("first", 2)).await.unwrap();
        let item = bench.item(&run).await;
        let failure = item.failure.expect(why);
        assert!(failure.what.contains(why), "{}", failure.what);
        assert!(!failure.advice.is_empty());
        let left = bench.objects_under(&keys::run_prefix(&run)).await;
        assert!(left.is_empty(), "{left:?}");
    }
    // Another pipeline of the same text.
    bench.pipeline("q", &column).await;
    let metadata = [(REEVALUATE_METADATA, base.as_str())];
    let event = bench.upload("q/a.csv", INPUT, &metadata).await;
    bench.split.handle(&event, &at("first", 2)).await.unwrap();
    let failure = bench.item(&event.run_id()).await.failure.unwrap();
    assert!(
        failure.what.contains("of the pipeline p"),
        "{}",
        failure.what
    );
}
