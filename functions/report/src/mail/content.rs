//! What the mail of a run says: one of three kinds, each as text and as HTML.

use chrono::{DateTime, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use rowmill_domain::colors::{DARK, LIGHT, Theme};
use rowmill_domain::cost::{CostReport, usd};
use rowmill_domain::run::{Counts, Failure};
use rowmill_domain::{Manifest, Reason, RunItem, RunState, keys};
use serde::Serialize;

use super::wrap::wrapped;
use crate::config::Given;
use crate::figures::Figures;
use crate::format::{duration, milliseconds, quoted, rows, sentence, size, thousands, verdict};
use crate::merge;
use crate::workbook::rejected_reasons;

/// The most reasons that a mail shows. The workbook has all of them.
const REASONS: usize = 10;
/// The most notes on the workbook that a mail shows. The sheet Summary has all of them.
const NOTES: usize = 20;

/// What a mail says.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Content {
    file: String,
    pipeline: String,
    run: String,
    /// The folder that the file was uploaded to: `inbox/reviews/`.
    folder: String,
    duration: String,
    /// How many rows are done, failed, missing and rejected, in words.
    verdict: String,
    /// Whether the file was given to a command on this machine, and not uploaded.
    command: bool,
    /// The statuses of the rows without a result, in words.
    unfinished: &'static str,
    /// Whether the rows were counted, so that the figures can be shown.
    counted: bool,
    rows_in: u64,
    pub(super) counts: Counts,
    cost: Option<CostLines>,
    steps: Vec<StepLine>,
    reasons: Vec<Reason>,
    /// The number of rows whose reasons are not shown.
    further: u64,
    /// What else the recipient should know.
    pub(crate) notes: Vec<String>,
    /// The number of notes on the workbook that are not shown.
    further_notes: usize,
    pub(crate) workbook: Option<Workbook>,
    pub(crate) failure: Option<Failure>,
}

/// The result workbook as the mail presents it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Workbook {
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
    /// The link to it, if it is not attached.
    pub(crate) link: Option<String>,
    /// The day on which the link expires, like `5 December 2026`, if it is known.
    pub(crate) until: Option<String>,
}

/// What the run cost, in words.
#[derive(Clone, Debug, Serialize)]
struct CostLines {
    /// At list prices: `0.0071 USD`.
    total: String,
    /// For each 10,000 rows.
    per_10_000: Option<String>,
    planned: Option<String>,
    one_per_child: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct StepLine {
    name: String,
    ok: u64,
    failed: u64,
    mean: String,
    p95: String,
    max: String,
}

impl Content {
    /// The content that every kind of mail has.
    pub(crate) fn new(
        run: &RunItem,
        manifest: Option<&Manifest>,
        counts: Counts,
        given: Given,
        now: DateTime<Utc>,
    ) -> Content {
        let rows_in = manifest.map_or(0, |m| m.rows_in);
        let mut notes: Vec<String> = manifest.and_then(merge::note).into_iter().collect();
        notes.extend(manifest.into_iter().flat_map(|m| m.notes.clone()));
        let further_notes = notes.len().saturating_sub(NOTES);
        notes.truncate(NOTES);
        let key = &run.source.key;
        let folder = key.strip_suffix(keys::file_name(key)).unwrap_or_default();
        Content {
            file: keys::file_name(key).to_owned(),
            pipeline: run.id.pipeline().to_string(),
            run: run.id.to_string(),
            folder: format!("{}/{folder}", run.source.bucket),
            duration: duration(now - run.created),
            counted: manifest.is_some(),
            verdict: verdict(counts, rows_in),
            command: given == Given::Command,
            unfinished: unfinished(counts),
            rows_in,
            counts,
            cost: None,
            steps: Vec::new(),
            reasons: manifest.into_iter().flat_map(rejected_reasons).collect(),
            further: 0,
            notes,
            further_notes,
            workbook: None,
            failure: None,
        }
    }

    /// Sets how the file was given.
    #[cfg(test)]
    pub(super) fn given(&mut self, given: Given) {
        self.command = given == Given::Command;
    }

    /// Adds what the run cost, or would have cost on AWS.
    pub(crate) fn cost(&mut self, report: Option<&CostReport>) {
        let money = |amount| format!("{} USD", usd(amount));
        self.cost = report.map(|report| CostLines {
            total: money(report.usd),
            per_10_000: report.usd_per_record.map(|each| money(each * 10_000.0)),
            planned: report.planned.map(|planned| money(planned.cost)),
            one_per_child: report
                .planned
                .map(|planned| money(planned.cost_one_per_child)),
        });
    }

    /// Adds the figures of the records.
    pub(crate) fn figures(&mut self, figures: &Figures) {
        self.steps = figures
            .steps()
            .into_iter()
            .map(|step| StepLine {
                name: step.step,
                ok: step.ok,
                failed: step.failed,
                mean: milliseconds(step.mean_ms),
                p95: milliseconds(step.p95_ms),
                max: milliseconds(step.max_ms),
            })
            .collect();
        let mut reasons = figures.reasons();
        reasons.append(&mut self.reasons);
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        let rest = reasons.split_off(reasons.len().min(REASONS));
        self.further = rest.iter().map(|r| r.count).sum();
        self.reasons = reasons;
    }
}

/// What the templates see.
#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    content: &'a Content,
    /// The file and how the run ended, in words.
    title: &'a str,
    /// The state of the run in words.
    state: &'a str,
    /// The name of the colors of the verdict.
    color: &'a str,
    light: Theme,
    dark: Theme,
}

/// The texts of a mail.
#[derive(Debug, PartialEq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Renders the mail of a run that ended in `state`.
pub(crate) fn render(state: RunState, content: &Content) -> Result<Rendered, minijinja::Error> {
    let name = match state {
        RunState::Delivered => "delivered",
        RunState::DeliveredWithErrors => "partial",
        // More records are bad than the pipeline tolerates.
        _ if content.workbook.is_some() => "partial",
        _ => "failed",
    };
    let file = &content.file;
    let counts = content.counts;
    let (title, words, color) = match state {
        RunState::Delivered => (&content.verdict, "Delivered", "ok"),
        RunState::DeliveredWithErrors if counts.failed == 0 => {
            (&content.verdict, "Delivered with errors", "missing")
        }
        RunState::DeliveredWithErrors => (&content.verdict, "Delivered with errors", "failed"),
        _ if content.workbook.is_some() => (&content.verdict, "Failed", "failed"),
        _ => (&"not processed".to_owned(), "Failed", "failed"),
    };
    let title = format!("{file}: {title}");
    let page = Page {
        content,
        title: &title,
        state: words,
        color,
        light: LIGHT,
        dark: DARK,
    };
    let environment = environment()?;
    let part = |extension: &str| {
        environment
            .get_template(&format!("{name}.{extension}"))?
            .render(Serde(&page))
    };
    Ok(Rendered {
        // A file name may contain a line break, which would end the header.
        subject: allowed(&title.replace(char::is_control, " ")),
        text: wrapped(&allowed(&part("txt")?)),
        html: allowed(&part("html")?),
    })
}

/// A text without the code points that HTML forbids: controls and noncharacters (WHATWG HTML, section
/// 13.1.4). Programs and sources can write them into values and reasons.
fn allowed(text: &str) -> String {
    let is_forbidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
            || matches!(c, '\u{fdd0}'..='\u{fdef}')
            || u32::from(c) & 0xfffe == 0xfffe
    };
    text.replace(is_forbidden, "\u{fffd}")
}

/// The statuses to filter by, to find the rows without a result.
fn unfinished(counts: Counts) -> &'static str {
    match (counts.failed, counts.missing) {
        (0, _) => "missing",
        (_, 0) => "failed",
        _ => "failed and missing",
    }
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.add_filter("thousands", thousands);
    environment.add_filter("rows", rows);
    environment.add_filter("size", size);
    environment.add_filter("sentence", sentence);
    environment.add_filter("quoted", quoted);
    macro_rules! templates {
        ($($name:literal)*) => {$(
            environment.add_template(
                $name,
                include_str!(concat!("../../templates/", $name)),
            )?;
        )*};
    }
    // Values are escaped in templates whose names end with `.html`.
    templates!("base.html" "colors.css" "verdict.html" "result.html" "reasons.html" "figures.html");
    templates!("delivered.html" "partial.html" "failed.html");
    templates!("result.txt" "reasons.txt" "figures.txt");
    templates!("delivered.txt" "partial.txt" "failed.txt");
    Ok(environment)
}
