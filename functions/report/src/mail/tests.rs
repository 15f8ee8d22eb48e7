use std::collections::BTreeMap;

use rowmill_domain::cost::{Cost, CostReport, Planned, RunCost};
use rowmill_domain::manifest::{MANIFEST_VERSION, RejectReason};
use rowmill_domain::outcome::{Outcome, Status, StepTime, step_error};
use rowmill_domain::run::{Failure, UploadSource};
use rowmill_domain::{Columns, Manifest, Record, RunId, RunItem, RunState};
use rowmill_pipeline::Pipeline;

use super::content::Rendered;
use super::*;
use crate::config::Given;
use crate::figures::Figures;

const NOW: &str = "2026-11-21T10:03:12Z";

fn run(key: &str) -> RunItem {
    let uploaded = "2026-11-21T10:00:00Z".parse().unwrap();
    let source = UploadSource {
        bucket: "inbox".into(),
        key: key.into(),
        version: "v1".into(),
        size: 1,
        uploaded,
    };
    let id = RunId::new("inbox", key, "v1", uploaded, "reviews");
    RunItem::new(id, source, uploaded)
}

fn manifest(run: &RunItem, records: u64) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        run: run.id.clone(),
        source: run.source.clone(),
        created: run.created,
        pipeline: "reviews".parse().unwrap(),
        pipeline_toml: String::new(),
        sheet: "Reviews".into(),
        columns: Vec::new(),
        chunks: Vec::new(),
        phases: 1,
        rows_in: records + 3,
        records,
        rejected: BTreeMap::from([(RejectReason::Blank, 2), (RejectReason::DuplicateKey, 1)]),
        notes: vec!["column C had no header and is called `Column C`".into()],
        notify: Vec::new(),
        parameters: Default::default(),
        base: None,
    }
}

fn outcome(row: u32) -> Outcome {
    let (status, error) = match row {
        5 | 9 => (
            Status::Failed,
            Some(step_error(0, "http", &format!("404 <b>{row}</b>"))),
        ),
        7 => (
            Status::Missing,
            Some("the job failed (job x, child 3)".into()),
        ),
        _ => (Status::Ok, None),
    };
    Outcome {
        row,
        phase: 0,
        status,
        outputs: Vec::new(),
        error,
        attempts: 1,
        times: vec![StepTime {
            step: 0,
            ms: row as f32 * 100.0,
        }],
        steps: 0,
        notes: Vec::new(),
    }
}

/// The mail of a run whose records are these rows.
fn content(key: &str, rows: std::ops::Range<u32>) -> Content {
    let run = run(key);
    let manifest = manifest(&run, u64::from(rows.end - rows.start));
    let toml = "[[step]]\nkind = \"sentiment\"\ncolumn = \"a\"\n";
    let pipeline = Pipeline::parse("reviews.toml", toml).unwrap();
    let mut figures = Figures::new(&pipeline, manifest.rejected_total());
    let columns = Columns::new(["a"]);
    for row in rows {
        let record = Record {
            row,
            values: vec![Some("x".into())],
        };
        figures.add(&columns, &record, &outcome(row));
    }
    let mut content = Content::new(
        &run,
        Some(&manifest),
        figures.counts(),
        Given::Upload,
        NOW.parse().unwrap(),
    );
    content.figures(&figures);
    let used = RunCost {
        tasks: 4,
        task_seconds: 250.0,
        vcpu_seconds: 62.5,
        gib_seconds: 125.0,
        usd: Cost {
            vcpu: 0.0012,
            ..Cost::default()
        },
    };
    let planned = Planned {
        seconds: 90.0,
        cost: 0.0011,
        cost_one_per_child: 0.152,
    };
    let records = figures.counts().records;
    content.cost(Some(&CostReport::new(&used, Some(planned), records)));
    content.workbook = Some(Workbook {
        name: "reviews-result.xlsx".into(),
        size: 812_345,
        link: None,
        until: None,
    });
    content
}

fn show(rendered: &Rendered) -> String {
    format!("Subject: {}\n\n{}", rendered.subject, rendered.text)
}

#[test]
fn delivered() {
    let rendered = render(
        RunState::Delivered,
        &content("reviews/reviews.xlsx", 10..1210),
    )
    .unwrap();
    insta::assert_snapshot!("delivered_text", show(&rendered));
    insta::assert_snapshot!("delivered_html", rendered.html);
}

#[test]
fn delivered_with_errors() {
    let mut content = content("reviews/reviews.xlsx", 2..12);
    let workbook = content.workbook.as_mut().unwrap();
    workbook.size = 12_345_678;
    workbook.link = Some("https://files.example.com/d/abc?x=1&y=2".into());
    workbook.until = Some("5 December 2026".into());
    let rendered = render(RunState::DeliveredWithErrors, &content).unwrap();
    insta::assert_snapshot!("partial_text", show(&rendered));
    insta::assert_snapshot!("partial_html", rendered.html);
    // HTML from a source is escaped.
    assert!(!rendered.html.contains("<b>5"), "{}", rendered.html);
}

#[test]
fn the_advice_is_about_the_place_where_the_run_was() {
    let text = |given| {
        let mut content = content("reviews/reviews 2.xlsx", 2..12);
        content.given(given);
        let rendered = render(RunState::DeliveredWithErrors, &content).unwrap();
        format!("{}{}", rendered.text, rendered.html)
    };
    let uploaded = text(Given::Upload);
    assert!(
        uploaded.contains("upload it to inbox/reviews/"),
        "{uploaded}"
    );
    assert!(!uploaded.contains("rowmill run"), "{uploaded}");
    let local = text(Given::Command);
    assert!(
        local.contains("rowmill run 'reviews 2.xlsx' --force"),
        "{local}"
    );
    assert!(!local.contains("upload it"), "{local}");
}

#[test]
fn failed() {
    let run = run("reviews/reviews.xlsx");
    let mut content = Content::new(&run, None, run.counts, Given::Upload, NOW.parse().unwrap());
    content.failure = Some(Failure {
        stage: "split".into(),
        what: "reviews.xlsx, sheet `Reviews`: no rows below the header".into(),
        advice: "add rows and upload the file again".into(),
    });
    let rendered = render(RunState::Failed, &content).unwrap();
    insta::assert_snapshot!("failed_text", show(&rendered));
    insta::assert_snapshot!("failed_html", rendered.html);
}

#[test]
fn only_the_first_of_many_notes_are_shown() {
    let run = run("reviews/reviews.xlsx");
    let mut manifest = manifest(&run, 3);
    manifest.notes = (1..=1020).map(|n| format!("note {n}.")).collect();
    let delivered = content("reviews/reviews.xlsx", 2..5);
    let mut content = Content::new(
        &run,
        Some(&manifest),
        delivered.counts,
        Given::Upload,
        NOW.parse().unwrap(),
    );
    content.notes.push("of the mail".to_owned());
    let last = |state: RunState, content: &Content| {
        let rendered = render(state, content).unwrap();
        let html = rendered.html;
        assert!(html.len() < 10_000, "{} bytes", html.len());
        assert!(html.contains("<li>And 1,000 more"), "{html}");
        let (_, notes) = rendered.text.split_once("Notes\n").unwrap();
        let notes: Vec<String> = notes.lines().map(str::to_owned).collect();
        notes[19..22].to_vec()
    };
    content.workbook = delivered.workbook;
    assert_eq!(
        last(RunState::Delivered, &content),
        [
            "  - Note 20.",
            "  - Of the mail.",
            "  - And 1,000 more (see the sheet \"Summary\" of the result)."
        ]
    );
    // Without a result there is no sheet to refer to.
    content.workbook = None;
    content.failure = Some(Failure {
        stage: "report".into(),
        what: "no row has a result".into(),
        advice: "Correct the rows.".into(),
    });
    assert_eq!(last(RunState::Failed, &content)[2], "  - And 1,000 more.");
}

#[test]
fn characters_that_html_forbids_do_not_reach_the_mail() {
    let mut content = content("reviews/a\u{fffe}b.xlsx", 10..12);
    content.failure = Some(Failure {
        stage: "report".into(),
        what: "the program wrote a\u{1}b\u{7f}c\u{85}d\u{fdd0}e\u{ffff}f\u{1fffe}g\th".into(),
        advice: "Correct it.".into(),
    });
    let rendered = render(RunState::Failed, &content).unwrap();
    let expected = "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g";
    for part in [&rendered.html, &rendered.text] {
        assert!(part.contains(expected), "{part}");
    }
    for part in [&rendered.html, &rendered.text, &rendered.subject] {
        assert!(!part.contains([
            '\u{1}', '\u{7f}', '\u{85}', '\u{fdd0}', '\u{fffe}', '\u{ffff}'
        ]));
    }
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let content = content("reviews/my file (1)+ü\r\nBcc: x@example.com.xlsx", 10..12);
    let to = vec![
        "a@example.com".to_owned(),
        "Jörg <b@example.com>".to_owned(),
    ];
    let anybody = Allowed {
        domains: &[],
        default_to: &[],
    };
    let recipients = Recipients::choose(&[&to], anybody).unwrap();
    let make = || {
        let attachment = ("my file (1)+ü-result.xlsx".to_owned(), b"PK".to_vec());
        let rendered = render(RunState::Delivered, &content).unwrap();
        let from = "Rowmill <rowmill@example.com>";
        let mime = mime(
            "20261121-reviews-0123456789ab",
            from,
            &recipients,
            rendered,
            Some(attachment),
            NOW.parse().unwrap(),
        );
        String::from_utf8(mime.unwrap()).unwrap()
    };
    let mail = make();
    assert_eq!(mail, make());
    let headers = mail.split("\r\n\r\n").next().unwrap();
    insta::assert_snapshot!("headers", headers.replace("\r\n", "\n"));
    for line in mail.lines() {
        assert!(line.len() <= 78, "{line}");
    }
    // A line break in a file name does not start a header.
    assert!(!headers.contains("\nBcc"), "{headers}");
    assert!(mail.contains("filename*0*=utf-8''my%20file"), "{mail}");
}
