//! The figures of a run, collected record by record in bounded memory.

use std::collections::HashMap;

use rowmill_domain::manifest::DISTINCT_CAP;
use rowmill_domain::outcome::{failed_step, step_error};
use rowmill_domain::run::{Counts, StepSeconds};
use rowmill_domain::{Columns, Outcome, Reason, Record, Row, Status};
use rowmill_pipeline::Pipeline;
use rowmill_workbook::{Chart, StepFigures};

use crate::advice::advice;

/// Bars of the chart, in addition to the one for all other values.
const BARS: usize = 12;
/// Maximum number of reasons that are counted separately. Further ones are counted together.
const REASONS_CAP: usize = 1000;
/// Maximum number of example rows per reason.
pub(crate) const EXAMPLE_ROWS: usize = 5;

/// The figures of the records so far.
pub(crate) struct Figures {
    counts: Counts,
    steps: Vec<StepTally>,
    reasons: Vec<ReasonTally>,
    chart: Option<Distribution>,
}

/// Rows that are not `ok` for the same reason. Reasons are the same if they differ only in numbers,
/// quoted values and URLs.
struct ReasonTally {
    reason: Reason,
    pattern: String,
}

impl Figures {
    /// Figures without a record.
    pub(crate) fn new(pipeline: &Pipeline, rejected: u64) -> Figures {
        Figures {
            counts: Counts {
                rejected,
                ..Counts::default()
            },
            steps: pipeline
                .steps
                .iter()
                .enumerate()
                .map(|(i, step)| StepTally {
                    name: format!("{} {}", i + 1, step.kind_name()),
                    ok: 0,
                    failed: 0,
                    times: Times::default(),
                })
                .collect(),
            reasons: Vec::new(),
            chart: pipeline.report.chart.as_ref().map(|column| Distribution {
                column: column.clone(),
                counts: HashMap::new(),
                other: 0,
                empty: 0,
            }),
        }
    }

    /// Adds a record with its outcome.
    pub(crate) fn add(&mut self, columns: &Columns, record: &Record, outcome: &Outcome) {
        self.counts.records += 1;
        match outcome.status {
            Status::Ok => self.counts.ok += 1,
            Status::Failed => self.counts.failed += 1,
            Status::Missing => self.counts.missing += 1,
        }
        let error = outcome.error.as_deref();
        let failed = match outcome.status {
            Status::Failed => error.and_then(failed_step),
            _ => None,
        };
        for time in &outcome.times {
            if let Some(step) = self.steps.get_mut(usize::from(time.step)) {
                step.times.add(f64::from(time.ms));
                match failed == Some(time.step) {
                    true => step.failed += 1,
                    false => step.ok += 1,
                }
            }
        }
        if outcome.status != Status::Ok {
            self.reason(
                outcome.status,
                error.unwrap_or("no reason given"),
                outcome.row,
            );
        }
        if let Some(chart) = &mut self.chart {
            let row = Row {
                columns,
                record,
                outputs: &outcome.outputs,
            };
            chart.add(row);
        }
    }

    fn reason(&mut self, status: Status, text: &str, row: u32) {
        let mut pattern = pattern(text);
        let mut text = text;
        let known = |tally: &ReasonTally, pattern: &str| {
            tally.reason.status == status.name() && tally.pattern == pattern
        };
        if self.reasons.len() >= REASONS_CAP && !self.reasons.iter().any(|t| known(t, &pattern)) {
            (pattern, text) = ("other".to_owned(), "other reasons");
        }
        match self.reasons.iter_mut().find(|t| known(t, &pattern)) {
            Some(ReasonTally { reason, .. }) => {
                reason.count += 1;
                if reason.rows.len() < EXAMPLE_ROWS {
                    reason.rows.push(row);
                }
            }
            None => self.reasons.push(ReasonTally {
                reason: Reason {
                    status: status.name().to_owned(),
                    text: text.to_owned(),
                    count: 1,
                    rows: vec![row],
                    advice: advice(status, text).to_owned(),
                },
                pattern,
            }),
        }
    }

    /// How many records have which status.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Why rows are not `ok`, most frequent reason first.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let reasons = self.reasons.iter().map(|tally| tally.reason.clone());
        let mut reasons: Vec<Reason> = reasons.collect();
        reasons.sort_by_key(|r| std::cmp::Reverse(r.count));
        reasons
    }

    /// The counts and times of each step.
    pub(crate) fn steps(&self) -> Vec<StepFigures> {
        self.steps
            .iter()
            .map(|step| StepFigures {
                step: step.name.clone(),
                ok: step.ok,
                failed: step.failed,
                mean_ms: step.times.mean(),
                p95_ms: step.times.quantile(0.95),
                max_ms: step.times.max,
            })
            .collect()
    }

    /// What each step took, for the plan of the next run. Empty if a step never ran, because its time is
    /// then unknown.
    pub(crate) fn measured(&self, pipeline: &Pipeline) -> Vec<StepSeconds> {
        let steps = pipeline.steps.iter().zip(&self.steps);
        let measured: Vec<StepSeconds> = steps
            .map(|(step, tally)| StepSeconds {
                kind: step.kind_name().to_owned(),
                p95_seconds: tally.times.quantile(0.95) / 1000.0,
                records: tally.times.count,
            })
            .collect();
        match measured.iter().all(|step| step.records > 0) {
            true => measured,
            false => Vec::new(),
        }
    }

    /// The title and the bars of the chart: the most frequent values, then the other values, then
    /// the empty ones.
    pub(crate) fn chart(&self) -> Option<Chart> {
        let chart = self.chart.as_ref()?;
        Some(Chart {
            title: chart.column.clone(),
            bars: chart.bars(),
        })
    }
}

struct StepTally {
    name: String,
    ok: u64,
    failed: u64,
    times: Times,
}

/// Times in milliseconds, in buckets 2% wide. Quantiles are exact to 1%, and memory use does not
/// grow with the records.
#[derive(Default)]
struct Times {
    count: u64,
    sum: f64,
    max: f64,
    buckets: Vec<u64>,
}

impl Times {
    const WIDTH: f64 = 1.02;
    /// A microsecond. Shorter times count as this one.
    const SHORTEST: f64 = 0.001;

    fn add(&mut self, ms: f64) {
        let ms = if ms.is_finite() { ms.max(0.0) } else { 0.0 };
        self.count += 1;
        self.sum += ms;
        self.max = self.max.max(ms);
        // About 1,500 buckets at most: f32 milliseconds from an `Instant` stay below 1e10.
        let bucket = ((ms.max(Self::SHORTEST) / Self::SHORTEST).ln() / Self::WIDTH.ln()) as usize;
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
    }

    fn mean(&self) -> f64 {
        match self.count {
            0 => 0.0,
            count => self.sum / count as f64,
        }
    }

    fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                let middle = Self::SHORTEST * Self::WIDTH.powf(bucket as f64 + 0.5);
                return middle.min(self.max);
            }
        }
        0.0
    }
}

struct Distribution {
    column: String,
    counts: HashMap<String, u64>,
    other: u64,
    empty: u64,
}

impl Distribution {
    fn add(&mut self, row: Row<'_>) {
        let Some(value) = row.get(&self.column) else {
            self.empty += 1;
            return;
        };
        let text = value.to_text();
        if let Some(count) = self.counts.get_mut(&text) {
            *count += 1;
        } else if self.counts.len() < DISTINCT_CAP {
            self.counts.insert(text, 1);
        } else {
            self.other += 1;
        }
    }

    fn bars(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(&String, &u64)> = self.counts.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let rest: u64 = all.iter().skip(BARS).map(|(_, n)| **n).sum();
        let mut bars: Vec<(String, u64)> = all
            .into_iter()
            .take(BARS)
            .map(|(text, n)| (text.clone(), *n))
            .collect();
        for (text, n) in [("(other)", rest + self.other), ("(empty)", self.empty)] {
            if n > 0 {
                bars.push((text.to_owned(), n));
            }
        }
        bars
    }
}

/// A reason without the parts that differ from row to row: digits, quoted values and URLs. The number of
/// the step stays, because the same reason of two steps is two reasons.
fn pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    if let Some(step) = failed_step(text) {
        out = step_error(step, "", "");
        rest = text.split_once('(').map_or(text, |(_, rest)| rest);
    }
    while let Some(c) = rest.chars().next() {
        let skip = if c == '`' {
            rest[1..].find('`').map_or(1, |end| end + 2)
        } else if rest.starts_with("http://") || rest.starts_with("https://") {
            rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len())
        } else if c.is_ascii_digit() {
            rest.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len())
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.push('#');
        rest = &rest[skip..];
    }
    out
}

#[cfg(test)]
mod tests {
    use rowmill_domain::Value;
    use rowmill_domain::outcome::StepTime;

    use super::*;

    fn outcome(row: u32, status: Status, error: Option<&str>) -> Outcome {
        Outcome {
            row,
            phase: 0,
            status,
            outputs: vec![],
            error: error.map(str::to_owned),
            attempts: 1,
            times: vec![],
            steps: 0,
            notes: Vec::new(),
        }
    }

    fn pipeline(steps: &str) -> Pipeline {
        Pipeline::parse("test.toml", steps).unwrap()
    }

    #[test]
    fn quantiles_are_exact_to_one_percent() {
        let mut times = Times::default();
        for i in 1..=1000 {
            times.add(f64::from(i));
        }
        let p95 = times.quantile(0.95);
        assert!((p95 / 950.0 - 1.0).abs() < 0.011, "{p95}");
        assert_eq!(times.mean(), 500.5);
        assert_eq!(times.max, 1000.0);
        assert_eq!(Times::default().quantile(0.95), 0.0);
        let mut one = Times::default();
        one.add(0.0);
        assert_eq!((one.quantile(0.95), one.max), (0.0, 0.0));
    }

    #[test]
    fn reasons_that_differ_only_in_values_are_grouped() {
        let mut figures = Figures::new(&pipeline(""), 0);
        let columns = Columns::new(["a"]);
        for row in 2..12 {
            let record = Record {
                row,
                values: vec![None],
            };
            let error = match row % 3 {
                0 => format!("step 1 (http): 404 from https://tax.example.gov/parcels/{row}"),
                _ => format!("check `n < {row}` failed"),
            };
            figures.add(
                &columns,
                &record,
                &outcome(row, Status::Failed, Some(&error)),
            );
        }
        let reasons = figures.reasons();
        assert_eq!(reasons.len(), 2);
        assert_eq!((reasons[0].count, reasons[1].count), (7, 3));
        assert_eq!(reasons[0].rows, [2, 4, 5, 7, 8]);
        assert_eq!(
            reasons[1].text,
            "step 1 (http): 404 from https://tax.example.gov/parcels/3"
        );
        assert_eq!(figures.counts().failed, 10);
    }

    #[test]
    fn the_same_reason_of_two_steps_is_two_reasons() {
        let mut figures = Figures::new(&pipeline(""), 0);
        let columns = Columns::new(["a"]);
        for row in 2..8 {
            let record = Record {
                row,
                values: vec![None],
            };
            let error = step_error((row % 2) as u16, "http", &format!("{row} is not found"));
            figures.add(
                &columns,
                &record,
                &outcome(row, Status::Failed, Some(&error)),
            );
        }
        let counts: Vec<u64> = figures
            .reasons()
            .iter()
            .map(|reason| reason.count)
            .collect();
        assert_eq!(counts, [3, 3]);
    }

    #[test]
    fn only_the_step_that_failed_counts_a_failure() {
        let toml = "[[step]]\nkind = \"sentiment\"\ncolumn = \"a\"\n\
                    [[step]]\nkind = \"command\"\nprogram = [\"x\"]\noutputs = [\"y\"]\n";
        let mut figures = Figures::new(&pipeline(toml), 0);
        let columns = Columns::new(["a"]);
        let record = Record {
            row: 2,
            values: vec![None],
        };
        let times = vec![StepTime { step: 0, ms: 1.0 }, StepTime { step: 1, ms: 3.0 }];
        for (status, error) in [
            (Status::Failed, Some(step_error(1, "command", "no text"))),
            (Status::Failed, Some("check `x`: no".to_owned())),
            (Status::Ok, None),
        ] {
            let outcome = Outcome {
                times: times.clone(),
                steps: 0,
                notes: Vec::new(),
                error,
                ..outcome(2, status, None)
            };
            figures.add(&columns, &record, &outcome);
        }
        let steps = figures.steps();
        assert_eq!((steps[0].ok, steps[0].failed), (3, 0));
        assert_eq!((steps[1].ok, steps[1].failed), (2, 1));
        assert_eq!(steps[1].mean_ms, 3.0);
        let pipeline = pipeline(toml);
        let measured = figures.measured(&pipeline);
        assert_eq!((measured[0].records, measured[1].records), (3, 3));
        assert_eq!(measured[1].kind, "command");
        assert!((measured[1].p95_seconds / 0.003 - 1.0).abs() < 0.011);
        assert_eq!(Figures::new(&pipeline, 0).measured(&pipeline), []);
    }

    #[test]
    fn the_chart_counts_every_row_once() {
        let mut figures = Figures::new(
            &pipeline("[[column]]\nname = \"c\"\nvalue = \"row.a\"\n[report]\nchart = \"c\"\n"),
            0,
        );
        let columns = Columns::new(["a"]);
        for row in 0..100 {
            let record = Record {
                row,
                values: vec![None],
            };
            let mut outcome = outcome(row, Status::Ok, None);
            if row % 10 != 0 {
                let value = Value::Number(f64::from(row % 20));
                outcome.outputs = vec![("c".into(), value)];
            }
            figures.add(&columns, &record, &outcome);
        }
        let Chart { title, bars } = figures.chart().unwrap();
        assert_eq!(title, "c");
        assert_eq!(bars.len(), BARS + 2);
        assert_eq!(bars.iter().map(|(_, n)| n).sum::<u64>(), 100);
        assert_eq!(bars[0], ("1".to_owned(), 5));
        assert_eq!(bars[BARS], ("(other)".to_owned(), 30));
        assert_eq!(bars[BARS + 1], ("(empty)".to_owned(), 10));
    }
}
