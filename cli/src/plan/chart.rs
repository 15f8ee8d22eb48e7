//! The chart of running tasks over time.

use rowmill_planning::Estimate;

use crate::output::thousands;
use crate::words::time;

const WIDTH: u32 = 60;
const HEIGHT: u64 = 5;
/// Eighths of a line.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of the chart.
pub(super) fn chart(estimate: &Estimate) -> Vec<String> {
    let end = estimate.makespan_seconds;
    let running: Vec<u64> = (0..WIDTH)
        .map(|column| estimate.running(end * (f64::from(column) + 0.5) / f64::from(WIDTH)))
        .collect();
    let most = running.iter().copied().max().unwrap_or(0).max(1);
    let label = thousands(most);
    let width = label.len();
    let mut lines = Vec::new();
    for row in (0..HEIGHT).rev() {
        let cells = running.iter().map(|tasks| {
            let eighths = (tasks * HEIGHT * 8).div_ceil(most);
            BLOCKS[eighths.saturating_sub(row * 8).min(8) as usize]
        });
        let label = if row == HEIGHT - 1 {
            label.as_str()
        } else {
            ""
        };
        lines.push(
            format!("{label:>width$} |{}", cells.collect::<String>())
                .trim_end()
                .to_owned(),
        );
    }
    let (start, end) = ("0", time(end));
    let gap = (WIDTH as usize).saturating_sub(start.len() + end.len());
    lines.push(format!("{:>width$} +{start}{}{end}", "", "-".repeat(gap)));
    lines
}
