//! What the mail of a run says: one of three kinds, each as text and as HTML.

use chrono::{DateTime, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use rowmill_domain::run::{Counts, Failure};
use rowmill_domain::{Manifest, RunItem, RunState, keys};
use serde::Serialize;

use crate::figures::{Figures, Reason};
use crate::format::{duration, milliseconds, rows, sentence, size, thousands};

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
    /// The statuses of the rows without a result, in words.
    unfinished: &'static str,
    /// Whether the rows were counted, so that the figures can be shown.
    counted: bool,
    rows_in: u64,
    pub(super) counts: Counts,
    rejected: Vec<(String, u64)>,
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
        now: DateTime<Utc>,
    ) -> Content {
        let rows_in = manifest.map_or(0, |m| m.rows_in);
        let notes = manifest.map_or(&[][..], |m| m.notes.as_slice());
        let shown = notes.len().min(NOTES);
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
            unfinished: unfinished(counts),
            rows_in,
            counts,
            rejected: manifest
                .iter()
                .flat_map(|m| &m.rejected)
                .map(|(reason, n)| (reason.text().to_owned(), *n))
                .collect(),
            steps: Vec::new(),
            reasons: Vec::new(),
            further: 0,
            notes: notes[..shown].to_vec(),
            further_notes: notes.len() - shown,
            workbook: None,
            failure: None,
        }
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
        let rest = reasons.split_off(reasons.len().min(REASONS));
        self.further = rest.iter().map(|r| r.count).sum();
        self.reasons = reasons;
    }
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
        _ => "failed",
    };
    let file = &content.file;
    let subject = match state {
        RunState::Delivered | RunState::DeliveredWithErrors => {
            format!("{file}: {}", content.verdict)
        }
        _ => format!("{file}: not processed"),
    };
    let environment = environment()?;
    let part = |extension: &str| {
        environment
            .get_template(&format!("{name}.{extension}"))?
            .render(Serde(content))
    };
    Ok(Rendered {
        // A file name may contain a line break, which would end the header.
        subject: subject.replace(char::is_control, " "),
        text: part("txt")?,
        html: part("html")?,
    })
}

/// `all 1,200 rows done`, or `7 of 13 rows done, 2 failed, 1 missing, 3 rejected`.
fn verdict(counts: Counts, rows_in: u64) -> String {
    let Counts {
        ok,
        failed,
        missing,
        rejected,
        ..
    } = counts;
    if ok == rows_in {
        return match ok {
            1 => "1 row done".to_owned(),
            _ => format!("all {} done", rows(ok)),
        };
    }
    let mut text = format!("{} of {} done", thousands(ok), rows(rows_in));
    for (count, status) in [
        (failed, "failed"),
        (missing, "missing"),
        (rejected, "rejected"),
    ] {
        if count > 0 {
            text += &format!(", {} {status}", thousands(count));
        }
    }
    text
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
    macro_rules! templates {
        ($($name:literal)*) => {$(
            environment.add_template(
                $name,
                include_str!(concat!("../../templates/", $name)),
            )?;
        )*};
    }
    // Values are escaped in templates whose names end with `.html`.
    templates!("base.html" "figures.html" "result.html");
    templates!("delivered.html" "partial.html" "failed.html");
    templates!("figures.txt" "result.txt");
    templates!("delivered.txt" "partial.txt" "failed.txt");
    Ok(environment)
}
