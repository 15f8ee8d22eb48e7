//! What the mail of a run says: one of three kinds, each as text and as HTML.

use chrono::{DateTime, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use rowmill_domain::run::{Counts, Failure};
use rowmill_domain::{Manifest, RunItem, RunState, keys};
use serde::Serialize;

use crate::figures::{Figures, Reason};
use crate::format::{duration, milliseconds, rows, size, thousands};

/// Reasons shown in a mail; the workbook has them all.
const REASONS: usize = 10;
/// Notes on the workbook shown in a mail; the sheet Summary has them all.
const NOTES: usize = 20;

/// What a mail says.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Content {
    file: String,
    pipeline: String,
    run: String,
    /// `inbox/reviews/`, where the file was put.
    folder: String,
    duration: String,
    /// Whether the rows were counted, so that the figures mean something.
    counted: bool,
    rows_in: u64,
    pub(super) counts: Counts,
    rejected: Vec<(String, u64)>,
    steps: Vec<StepLine>,
    reasons: Vec<Reason>,
    /// Rows with other reasons than those shown.
    further: u64,
    /// What else should be known.
    pub(crate) notes: Vec<String>,
    /// Notes on the workbook beside those.
    further_notes: usize,
    pub(crate) workbook: Option<Workbook>,
    pub(crate) failure: Option<Failure>,
}

/// The result workbook as the mail presents it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Workbook {
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Where it is, if it is not attached.
    pub(crate) link: Option<String>,
    /// Until when the link works, as `5 December 2026`; absent where nobody can tell.
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
    /// What is known of a run whatever became of it.
    pub(crate) fn new(
        run: &RunItem,
        manifest: Option<&Manifest>,
        counts: Counts,
        now: DateTime<Utc>,
    ) -> Content {
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
            rows_in: manifest.map_or(0, |m| m.rows_in),
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

    /// Adds what was seen in the records.
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

/// A mail's texts.
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
    let Counts { ok, records, .. } = content.counts;
    let file = &content.file;
    let subject = match state {
        RunState::Delivered => format!("{file}: {} enriched", rows(records)),
        RunState::DeliveredWithErrors => format!(
            "{file}: {} of {} enriched, {} without a result",
            thousands(ok),
            rows(records),
            thousands(records - ok)
        ),
        _ => format!("{file}: not processed"),
    };
    let environment = environment()?;
    let part = |extension: &str| {
        environment
            .get_template(&format!("{name}.{extension}"))?
            .render(Serde(content))
    };
    Ok(Rendered {
        // A file's name may hold a line end, which would end the header.
        subject: subject.replace(char::is_control, " "),
        text: part("txt")?,
        html: part("html")?,
    })
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
    macro_rules! templates {
        ($($name:literal)*) => {$(
            environment.add_template(
                $name,
                include_str!(concat!("../../templates/", $name)),
            )?;
        )*};
    }
    // What ends in .html is escaped.
    templates!("base.html" "figures.html" "delivered.html" "partial.html" "failed.html");
    templates!("figures.txt" "delivered.txt" "partial.txt" "failed.txt");
    Ok(environment)
}
