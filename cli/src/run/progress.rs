//! The progress of a run, as bars on a terminal and as plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use rowmill_domain::run::Counts;

use crate::duration;
use crate::output::say;

/// How often to print a plain line.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The progress of a run: its stage, and how much of that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunProgress {
    /// Split reads the workbook: rows so far.
    Split(u64),
    /// Children process records. Each record counts once per phase.
    Enrich {
        /// Records with an outcome.
        done: u64,
        /// All records.
        of: u64,
        /// The phases of the pipeline.
        phases: u16,
    },
    /// Report writes the workbook: rows so far, and all rows.
    Report(u64, u64),
    /// The email is sent, and temporary objects are removed.
    Cleanup,
}

impl RunProgress {
    fn stage(self) -> &'static str {
        match self {
            RunProgress::Split(_) => "split",
            RunProgress::Enrich { .. } => "enrich",
            RunProgress::Report(..) => "report",
            RunProgress::Cleanup => "cleanup",
        }
    }

    fn done(self) -> u64 {
        match self {
            RunProgress::Split(done)
            | RunProgress::Enrich { done, .. }
            | RunProgress::Report(done, _) => done,
            RunProgress::Cleanup => 0,
        }
    }

    fn of(self) -> Option<u64> {
        match self {
            RunProgress::Enrich { of, .. } | RunProgress::Report(_, of) => Some(of),
            RunProgress::Split(_) | RunProgress::Cleanup => None,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            RunProgress::Enrich { phases: 0 | 1, .. } => "records",
            RunProgress::Enrich { .. } => "records, counted in each phase",
            RunProgress::Split(_) | RunProgress::Report(..) | RunProgress::Cleanup => "rows",
        }
    }
}

/// Shows the progress of a run on standard error.
pub(crate) struct ProgressDisplay {
    terminal: bool,
    stage: Option<StageDisplay>,
}

/// The current stage.
struct StageDisplay {
    at: RunProgress,
    began: Instant,
    /// When the last plain line was printed, and how much was done then.
    printed: Instant,
    printed_done: u64,
    bar: Option<ProgressBar>,
}

impl ProgressDisplay {
    /// Shows bars if standard error is a terminal, and plain lines otherwise.
    pub(crate) fn new() -> ProgressDisplay {
        ProgressDisplay {
            terminal: std::io::stderr().is_terminal(),
            stage: None,
        }
    }

    /// Updates the display. Call it often: it draws only when needed. `counts` are those of the run so
    /// far.
    pub(crate) fn show(&mut self, at: RunProgress, counts: Counts) {
        match &mut self.stage {
            Some(stage) if stage.at.stage() == at.stage() => stage.advance(at),
            _ => {
                self.end_stage(counts);
                self.stage = Some(StageDisplay::begin(at, self.terminal));
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

    /// Prints the summary of the last stage of a run with these counts.
    pub(crate) fn finish(mut self, counts: Counts) {
        self.end_stage(counts);
    }

    /// Removes the bar of an unfinished stage.
    pub(crate) fn abandon(&mut self) {
        if let Some(bar) = self.stage.take().and_then(|s| s.bar) {
            bar.finish_and_clear();
        }
    }

    fn end_stage(&mut self, counts: Counts) {
        let Some(stage) = self.stage.take() else {
            return;
        };
        let at = stage.at;
        // A stage ends when the next one starts, so all of it is done, even if it ended between two
        // looks.
        let read = counts.records + counts.rejected;
        let done = at.of().unwrap_or(at.done().max(read));
        if let Some(bar) = stage.bar {
            bar.finish_and_clear();
        }
        if at != RunProgress::Cleanup {
            say!(
                "{:8} {} {} in {}",
                at.stage(),
                HumanCount(done),
                at.unit(),
                duration::human(stage.began.elapsed())
            );
        }
    }
}

impl StageDisplay {
    fn begin(at: RunProgress, terminal: bool) -> StageDisplay {
        let now = Instant::now();
        let bar = (terminal && at != RunProgress::Cleanup).then(|| {
            let bar = match at.of() {
                Some(of) => ProgressBar::new(of).with_style(style(BAR)),
                None => ProgressBar::no_length().with_style(style(COUNT)),
            };
            bar.set_prefix(at.stage());
            bar.set_message(at.unit());
            bar.set_position(at.done());
            // The rate of this command, without the work of an earlier one.
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        StageDisplay {
            at,
            began: now,
            printed: now,
            // A resumed run does not start at 0.
            printed_done: at.done(),
            bar,
        }
    }

    fn advance(&mut self, at: RunProgress) {
        self.at = at;
        match &self.bar {
            Some(bar) => {
                bar.set_position(at.done());
                if let Some(of) = at.of() {
                    bar.set_length(of);
                }
            }
            None if at != RunProgress::Cleanup && self.printed.elapsed() >= PLAIN_EVERY => {
                say!("{}", self.line());
                self.printed = Instant::now();
                self.printed_done = at.done();
            }
            None => {}
        }
    }

    /// `enrich   3,400 of 10,000 records, 420/s, 0:16 left`. The rate is measured since the last line,
    /// because the last records of a run may be slower than those before.
    fn line(&self) -> String {
        let (done, unit) = (self.at.done(), self.at.unit());
        let passed = self.printed.elapsed().as_secs_f64().max(0.001);
        let rate = done.saturating_sub(self.printed_done) as f64 / passed;
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
            line += &format!(", {} left", duration::clock(left));
        }
        line
    }
}

const BAR: &str = "{prefix:8} {wide_bar} {human_pos}/{human_len} {msg}, {rate}, {eta} left";
const COUNT: &str = "{prefix:8} {human_pos} {msg}, {rate} {spinner}";

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        // Writing to the bar's own text cannot fail.
        let _ = write!(to, "{:.0}/s", state.per_sec());
    };
    // The templates are constants, and a test checks them.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
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
    fn the_rate_of_a_plain_line_is_measured_since_the_last_one() {
        let now = Instant::now();
        let mut stage = StageDisplay {
            at: RunProgress::Enrich {
                done: 3000,
                of: 10_000,
                phases: 1,
            },
            began: now.checked_sub(Duration::from_secs(100)).unwrap(),
            printed: now.checked_sub(Duration::from_secs(10)).unwrap(),
            printed_done: 2000,
            bar: None,
        };
        let line = stage.line();
        // A little time passes after `printed`.
        assert!(
            line.starts_with("enrich   3,000 of 10,000 records, 100/s, 1:1"),
            "{line}"
        );
        assert!(line.ends_with(" left"), "{line}");
        stage.printed_done = 3000;
        let line = stage.line();
        assert_eq!(line, "enrich   3,000 of 10,000 records, 0/s");
    }
}
