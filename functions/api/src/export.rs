//! The rows of a run with their reviews, for a file. Rows are read chunk by chunk, so that memory does not
//! depend on their number.

mod text;
mod workbook;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use rowmill_domain::review::{Feedback, Review};
use rowmill_domain::{Outcome, PipelineName, Record, RunItem, Status, Value, archive, keys};
use rowmill_pipeline::from_manifest;
use rowmill_runs::scratch_folder;
use serde::{Deserialize, Serialize};

use crate::indexed::{FullRow, Indexed};
use crate::problem::Problem;
use crate::reviewed::Reviewed;
use crate::service::{Service, text_and_label};

pub(crate) use text::{TextForm, TextFormat};
use workbook::WorkbookForm;

/// The columns after those of the result.
const AFTER: [&str; 5] = ["prediction", "final", "verdict", "reviewer", "reviewed"];

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExportFormat {
    /// Comma-separated, with a header.
    #[serde(rename = "csv")]
    Csv,
    /// One object for each row.
    #[serde(rename = "jsonl")]
    JsonLines,
    /// A workbook.
    #[serde(rename = "xlsx")]
    Workbook,
}

impl ExportFormat {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            ExportFormat::Csv => "csv",
            ExportFormat::JsonLines => "jsonl",
            ExportFormat::Workbook => "xlsx",
        }
    }

    /// The format of the text, if it is one.
    pub(crate) fn text(self) -> Option<TextFormat> {
        match self {
            ExportFormat::Csv => Some(TextFormat::Csv),
            ExportFormat::JsonLines => Some(TextFormat::JsonLines),
            ExportFormat::Workbook => None,
        }
    }
}

/// A row of an export.
pub(crate) struct Exported<'a> {
    index: &'a Indexed,
    full: &'a FullRow,
    prediction: Option<&'a str>,
    review: Option<Review>,
}

impl Exported<'_> {
    /// The row number in the input. `None`: the row is feedback about a text.
    fn row(&self) -> Option<u32> {
        Some(self.full.record.row).filter(|row| *row > 0)
    }
}

/// What writes a kind of file.
pub(crate) trait Form: Send + 'static {
    /// Writes a row. May block. Breaks if nobody reads the file any more.
    fn row(&mut self, row: &Exported<'_>) -> std::io::Result<ControlFlow<()>>;
}

/// An export of a run.
pub(crate) struct Export {
    pub(crate) index: Arc<Indexed>,
    reviewed: Reviewed,
    /// Also rows without a verdict.
    all: bool,
    feedback: Option<FeedbackRows>,
}

/// Feedback about a pipeline, as rows of one of its runs.
struct FeedbackRows {
    pipeline: PipelineName,
    /// The column of the text.
    text: String,
    /// The column of the label.
    label: String,
}

impl Export {
    /// An export of the rows with a verdict or of all, and of feedback about the pipeline.
    pub(crate) async fn new(
        service: &Service,
        run: &RunItem,
        all: bool,
        feedback: bool,
    ) -> Result<Export, Problem> {
        let index = service.indexes.get(&service.work, run).await?;
        let reviewed = Reviewed::all(&*service.reviews, &run.id).await?;
        let feedback = match feedback {
            false => None,
            true => {
                let pipeline =
                    from_manifest(&index.manifest).map_err(|error| Problem::internal(&error))?;
                // Without a model there is no feedback.
                text_and_label(&pipeline).map(|(text, label)| FeedbackRows {
                    pipeline: index.manifest.pipeline.clone(),
                    text,
                    label,
                })
            }
        };
        Ok(Export {
            index,
            reviewed,
            all,
            feedback,
        })
    }

    /// Writes the export to a workbook.
    pub(crate) async fn save_workbook(self, service: &Service, path: &Path) -> Result<(), Problem> {
        let form = WorkbookForm::create(path, &self.index)?;
        let form = self.walk(service, form).await?;
        tokio::task::spawn_blocking(move || form.finish()).await?
    }

    /// Gives each row to the form.
    pub(crate) async fn walk<F: Form>(self, service: &Service, form: F) -> std::io::Result<F> {
        let folder = scratch_folder("rowmill-export-")?;
        let path = folder.path().join("rows.jsonl.gz");
        let run = self.index.manifest.run.clone();
        let chunks = self.index.manifest.chunks.len() as u32;
        let (mut export, mut form, mut position) = (self, form, 0);
        for chunk in 0..chunks {
            let key = keys::archived_rows(&run, chunk);
            let found = service.work.download(&key, &path).await;
            found.map_err(std::io::Error::other)?;
            let path = path.clone();
            let flow;
            (export, form, position, flow) = blocking(move || {
                let flow = export.chunk(&path, &mut position, &mut form)?;
                Ok((export, form, position, flow))
            })
            .await?;
            if flow.is_break() {
                return Ok(form);
            }
        }
        let Some(of) = export.feedback.take() else {
            return Ok(form);
        };
        let index = export.index;
        let mut next = Some(None::<String>);
        while let Some(after) = next {
            let page = service
                .reviews
                .list_feedback(&of.pipeline, after.as_deref());
            let (page, after) = page.await.map_err(std::io::Error::other)?;
            next = after.map(Some);
            let rows: Vec<(FullRow, Feedback)> = page
                .into_iter()
                .map(|feedback| (of.row(&index, &feedback), feedback))
                .collect();
            let index = index.clone();
            let flow;
            (form, flow) = blocking(move || {
                for (full, feedback) in rows {
                    let row = Exported {
                        index: &index,
                        full: &full,
                        prediction: Some(&feedback.prediction),
                        review: Some(Review {
                            verdict: feedback.verdict(),
                            value: feedback.value.clone(),
                            reviewer: feedback.reviewer.clone(),
                            time: feedback.time,
                        }),
                    };
                    if form.row(&row)?.is_break() {
                        return Ok((form, ControlFlow::Break(())));
                    }
                }
                Ok((form, ControlFlow::Continue(())))
            })
            .await?;
            if flow.is_break() {
                break;
            }
        }
        Ok(form)
    }

    /// Gives the rows of a chunk to the form, and advances the position.
    fn chunk(
        &self,
        path: &Path,
        position: &mut usize,
        form: &mut impl Form,
    ) -> std::io::Result<ControlFlow<()>> {
        let index = &*self.index;
        let mut from = BufReader::new(MultiGzDecoder::new(BufReader::new(File::open(path)?)));
        let mut line = Vec::new();
        loop {
            line.clear();
            if from.read_until(b'\n', &mut line)? == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            let at = *position;
            *position += 1;
            let (review, _) = self.reviewed.at(index, at);
            if review.is_none() && !self.all {
                continue;
            }
            let (record, outcome) = archive::read_line(&line, index.columns())?;
            let row = Exported {
                index,
                full: &FullRow { record, outcome },
                prediction: index.prediction(at),
                review,
            };
            if form.row(&row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

impl FeedbackRows {
    /// A row that has only the text and the predicted label.
    fn row(&self, index: &Indexed, feedback: &Feedback) -> FullRow {
        let columns = index.columns();
        let mut values = vec![None; columns.len()];
        let mut outputs = vec![(
            self.label.as_str().into(),
            Value::Text(feedback.prediction.clone()),
        )];
        let text = Value::Text(feedback.text.clone());
        match columns.position(&self.text) {
            Some(at) => values[at] = Some(text),
            None => outputs.insert(0, (self.text.as_str().into(), text)),
        }
        FullRow {
            record: Record { row: 0, values },
            outcome: Outcome {
                row: 0,
                phase: 0,
                status: Status::Ok,
                outputs,
                error: None,
                attempts: 0,
                times: Vec::new(),
                steps: 0,
                notes: Vec::new(),
            },
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other)?
}

/// Names that the columns of the result do not have: one that they have gets a suffix.
fn unique(columns: &[String], name: &str) -> String {
    let mut name = name.to_owned();
    while columns.contains(&name) {
        name += " (review)";
    }
    name
}
