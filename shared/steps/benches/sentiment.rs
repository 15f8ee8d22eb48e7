//! Texts per second of the `sentiment` step on one core.
//!
//! `cargo bench -p rowmill-steps --bench sentiment`

#![allow(clippy::print_stdout)]

use std::time::Instant;

use rowmill_domain::job::Resources;
use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row};
use rowmill_pipeline::{SentimentStep, Step, StepKind};
use rowmill_steps::{StepDeps, runner};

const TEXTS: [&str; 3] = [
    "Arrived on time and does its job. The battery lasts all day, which is more than I hoped for!",
    "Not worth the money: it broke after two weeks, and the support was useless and rude.",
    "It is a lamp. It has a switch, and the cable is two meters long.",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let step = Step {
        kind: StepKind::Sentiment(SentimentStep {
            column: "Notes".into(),
        }),
        image: None,
        resources: Resources::SMALLEST,
    };
    let deps = StepDeps::new(1, ".");
    let step = runner(&step, &deps)?;
    let columns = Columns::new(["Notes"]);
    let longest = "good ".repeat(6553);
    for (texts, count) in [(&TEXTS[..], 100_000), (&[longest.as_str()], 10)] {
        let records: Vec<Record> = (0..count)
            .map(|i| Record {
                row: i,
                values: vec![Some(texts[i as usize % texts.len()].into())],
            })
            .collect();
        let start = Instant::now();
        for record in &records {
            let row = Row {
                columns: &columns,
                record,
                outputs: &[],
            };
            assert!(runtime.block_on(step.run(row)).outputs.is_ok());
        }
        let took = start.elapsed();
        println!(
            "{count} texts of about {} characters: {:.2} s, {:.0}/s",
            texts[0].len(),
            took.as_secs_f64(),
            f64::from(count) / took.as_secs_f64()
        );
    }
    Ok(())
}
