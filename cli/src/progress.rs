//! What a person sees while a run is under way: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use crate::output::say;

/// How often a plain line says how far a stage is.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// split reads the workbook: rows so far.
    Split(u64),
    /// Children are at work: records with an outcome, of all; each counts once a stage.
    Enrich {
        /// Done.
        done: u64,
        /// Of so many.
        of: u64,
        /// Stages of the pipeline.
        stages: u16,
    },
    /// report writes the workbook: rows so far, of all.
    Report(u64, u64),
    /// Mail is sent; what is temporary is removed.
    Cleanup,
}

impl At {
    fn stage(self) -> &'static str {
        match self {
            At::Split(_) => "split",
            At::Enrich { .. } => "enrich",
            At::Report(..) => "report",
            At::Cleanup => "cleanup",
        }
    }

    fn done(self) -> u64 {
        match self {
            At::Split(done) | At::Enrich { done, .. } | At::Report(done, _) => done,
            At::Cleanup => 0,
        }
    }

    fn of(self) -> Option<u64> {
        match self {
            At::Enrich { of, .. } | At::Report(_, of) => Some(of),
            At::Split(_) | At::Cleanup => None,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            At::Enrich { stages: 0 | 1, .. } => "records",
            At::Enrich { .. } => "records, each stage counted",
            At::Split(_) | At::Report(..) | At::Cleanup => "rows",
        }
    }
}

/// Shows a run's progress on stderr.
pub(crate) struct Progress {
    terminal: bool,
    /// What split counts: it may end between two looks.
    rows_read: Arc<AtomicU64>,
    stage: Option<Stage>,
}

/// The stage under way.
struct Stage {
    at: At,
    began: Instant,
    /// When a plain line was last written, and what was done then.
    told: Instant,
    told_done: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// On a terminal, or in plain lines where stderr is none.
    pub(crate) fn new(rows_read: Arc<AtomicU64>) -> Progress {
        Progress {
            terminal: std::io::stderr().is_terminal(),
            rows_read,
            stage: None,
        }
    }

    /// Shows where the run is now. Call it often: it draws no more than needed.
    pub(crate) fn show(&mut self, at: At) {
        match &mut self.stage {
            Some(stage) if stage.at.stage() == at.stage() => stage.advance(at),
            _ => {
                self.end_stage();
                self.stage = Some(Stage::begin(at, self.terminal));
            }
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn say(&self, text: &str) {
        match self.stage.as_ref().and_then(|s| s.bar.as_ref()) {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None => say!("{text}"),
        }
    }

    /// Ends the last stage.
    pub(crate) fn finish(mut self) {
        self.end_stage();
    }

    /// Takes the bar away where a stage is left unfinished.
    pub(crate) fn abandon(&mut self) {
        if let Some(bar) = self.stage.take().and_then(|s| s.bar) {
            bar.finish_and_clear();
        }
    }

    fn end_stage(&mut self) {
        let Some(stage) = self.stage.take() else {
            return;
        };
        let at = stage.at;
        // A stage is over when the next one has begun, so all of it is done.
        let read = || self.rows_read.load(Ordering::Relaxed);
        let done = at.of().unwrap_or_else(read);
        if let Some(bar) = stage.bar {
            bar.finish_and_clear();
        }
        if at != At::Cleanup {
            say!(
                "{:8} {} {} in {}",
                at.stage(),
                HumanCount(done),
                at.unit(),
                seconds(stage.began.elapsed())
            );
        }
    }
}

impl Stage {
    fn begin(at: At, terminal: bool) -> Stage {
        let now = Instant::now();
        let bar = (terminal && at != At::Cleanup).then(|| {
            let bar = match at.of() {
                Some(of) => ProgressBar::new(of).with_style(style(BAR)),
                None => ProgressBar::no_length().with_style(style(COUNT)),
            };
            bar.set_prefix(at.stage());
            bar.set_message(at.unit());
            bar.set_position(at.done());
            // The rate is that of this command, without what an earlier one did.
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Stage {
            at,
            began: now,
            told: now,
            // A resumed run does not begin at 0.
            told_done: at.done(),
            bar,
        }
    }

    fn advance(&mut self, at: At) {
        self.at = at;
        match &self.bar {
            Some(bar) => {
                bar.set_position(at.done());
                if let Some(of) = at.of() {
                    bar.set_length(of);
                }
            }
            None if at != At::Cleanup && self.told.elapsed() >= PLAIN_EVERY => {
                say!("{}", self.line());
                self.told = Instant::now();
                self.told_done = at.done();
            }
            None => {}
        }
    }

    /// `enrich   3,400 of 10,000 records, 420/s, 0:16 left`. The rate is that since the last line:
    /// the last records of a run may be slow ones, which those before them say nothing about.
    fn line(&self) -> String {
        let (done, unit) = (self.at.done(), self.at.unit());
        let passed = self.told.elapsed().as_secs_f64().max(0.001);
        let rate = done.saturating_sub(self.told_done) as f64 / passed;
        let mut line = format!("{:8} {}", self.at.stage(), HumanCount(done));
        match self.at.of() {
            Some(of) => line += &format!(" of {} {unit}", HumanCount(of)),
            None => line += &format!(" {unit}"),
        }
        line += &format!(", {rate:.0}/s");
        if let Some(of) = self.at.of()
            && rate > 0.0
        {
            let left = of.saturating_sub(done) as f64 / rate;
            line += &format!(", {} left", clock(left));
        }
        line
    }
}

const BAR: &str = "{prefix:8} {wide_bar} {human_pos}/{human_len} {msg}, {rate}, {eta} left";
const COUNT: &str = "{prefix:8} {human_pos} {msg}, {rate} {spinner}";

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        // Writing to a bar's own text does not fail.
        let _ = write!(to, "{:.0}/s", state.per_sec());
    };
    // The templates are constants, tried by a test.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
}

/// A length of time as `3.2 s` or `4 min 10 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64();
    if s < 60.0 {
        format!("{s:.1} s")
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// Seconds as `0:16`, `12:05` or `2:00:00`.
fn clock(seconds: f64) -> String {
    // Saturates: what is centuries away may be shown as anything long.
    let s = seconds.ceil() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [BAR, COUNT] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_plain_line_counts_from_the_last_one() {
        let now = Instant::now();
        let mut stage = Stage {
            at: At::Enrich {
                done: 3000,
                of: 10_000,
                stages: 1,
            },
            began: now.checked_sub(Duration::from_secs(100)).unwrap(),
            told: now.checked_sub(Duration::from_secs(10)).unwrap(),
            told_done: 2000,
            bar: None,
        };
        let line = stage.line();
        // The clock ran on a little since `told`.
        assert!(
            line.starts_with("enrich   3,000 of 10,000 records, 100/s, 1:1"),
            "{line}"
        );
        assert!(line.ends_with(" left"), "{line}");
        stage.told_done = 3000;
        let line = stage.line();
        assert_eq!(line, "enrich   3,000 of 10,000 records, 0/s");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_millis(3240)), "3.2 s");
        assert_eq!(seconds(Duration::from_secs(250)), "4 min 10 s");
        assert_eq!(clock(15.2), "0:16");
        assert_eq!(clock(7200.0), "2:00:00");
    }
}
