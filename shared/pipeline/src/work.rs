//! What a pipeline asks of the planner.

use rowmill_planning::{Phase, Work};

use crate::pipeline::Pipeline;
use crate::step::{Step, StepKind, TranslateService};

/// The shortest time for a record, in seconds, so that a step measured as 0 can be planned.
const SHORTEST: f64 = 1e-6;

/// The time for a record whose checks and columns are evaluated and stored, in seconds.
const EVALUATION: f64 = 0.001;

impl Pipeline {
    /// Returns the work of a run with this number of records. `measured` has the seconds per record of
    /// each step in past runs; without it, `[batch] seconds_per_record` counts, divided equally among
    /// the phases.
    pub fn work(&self, records: u64, measured: Option<&[f64]>) -> Work {
        let batch = &self.batch;
        let measured = measured.filter(|steps| steps.len() == self.steps.len());
        let phases = self.phases();
        let guess = match self.steps_done {
            true => EVALUATION,
            false => batch.seconds_per_record / phases.len() as f64,
        };
        let resources = self.phase_resources();
        let phases = phases.into_iter().zip(resources).map(|(steps, resources)| {
            let seconds = match measured.and_then(|measured| measured.get(steps.clone())) {
                Some(measured) if !measured.is_empty() => measured.iter().sum(),
                _ => guess,
            };
            let rates = self
                .steps
                .get(steps)
                .unwrap_or_default()
                .iter()
                .filter_map(rate);
            Phase {
                seconds_per_record: seconds.max(SHORTEST),
                source_rate: rates.min_by(f64::total_cmp),
                resources,
            }
        });
        Work {
            records,
            phases: phases.collect(),
            concurrency: batch.concurrency,
            timeout_seconds: batch.timeout_seconds,
            max_children: batch.max_children,
            table_writes: batch.table_writes,
            records_per_child: batch.records_per_child,
            within_seconds: batch.within.map(|within| within.as_secs_f64()),
        }
    }
}

/// The most records per second that a step's source allows, if each needs one request.
fn rate(step: &Step) -> Option<f64> {
    match &step.kind {
        StepKind::Http(http) => http.rate,
        StepKind::Translate(translate) => match &translate.service {
            TranslateService::Server(server) => server.rate,
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::limits::NEW_TABLE_WRITES;
    use rowmill_planning::{Quotas, plan};

    use super::*;
    use crate::built_in;

    const TWO: &str = "[[step]]\nkind = 'http'\nurl = 'https://a.example'\nrate = '20/s'\n\
                       outputs = { a = { text = true } }\n\
                       [[step]]\nkind = 'sentiment'\ncolumn = 't'\nimage = 'b'\n\
                       [batch]\nseconds_per_record = 3\nwithin = '2h'\nrecords_per_child = 7\n";

    #[test]
    fn no_shipped_example_pays_for_its_table() {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
        let mut pipelines = Vec::new();
        for entry in std::fs::read_dir(examples).unwrap() {
            let file = entry.unwrap().path().join("pipeline.toml");
            if file.exists() {
                pipelines.push(std::fs::read_to_string(file).unwrap());
            }
        }
        assert!(pipelines.len() >= 4, "{}", pipelines.len());
        pipelines.extend(built_in("reviews").map(str::to_owned));
        for toml in pipelines {
            let pipeline = Pipeline::parse("pipeline.toml", &toml).unwrap();
            for records in [1, 339, 40_000, 1_048_575] {
                let plan = plan(&pipeline.work(records, None), &Quotas::default());
                let writes = plan.chosen.table_writes;
                assert!((1..=NEW_TABLE_WRITES).contains(&writes), "{writes}: {toml}");
            }
        }
    }

    #[test]
    fn each_phase_has_its_time_and_the_rate_of_its_source() {
        let toml = TWO.replace("{ text = true }", "{ status = true }");
        let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
        let phases = |measured| {
            let phases = pipeline.work(10, measured).phases;
            let of = |phase: &Phase| (phase.seconds_per_record, phase.source_rate);
            phases.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(phases(None), [(1.5, Some(20.0)), (1.5, None)]);
        assert_eq!(
            phases(Some(&[2.0, 0.25])),
            [(2.0, Some(20.0)), (0.25, None)]
        );
        assert_eq!(phases(Some(&[0.0, 0.25]))[0].0, SHORTEST);
        // Measured with other steps.
        assert_eq!(phases(Some(&[2.0])), phases(None));
        let work = pipeline.work(10, None);
        assert_eq!(work.within_seconds, Some(7200.0));
        assert_eq!(work.records_per_child, Some(7));
    }
}
