//! `rowmill train`: trains a text classifier and prints how accurate it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use indicatif::{HumanCount, ProgressBar};
use miette::miette;
use rowmill_classify::{Corpus, Model, Trained, Validation};
use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, RowSink, read_rows};
use serde_json::json;

use crate::args::TrainArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::{duration, output_file, workbook};

/// Reads the data, trains, and writes the model. Writes nothing if there is an error.
pub(crate) fn train(args: &TrainArgs) -> Result<Exit, CliError> {
    let began = Instant::now();
    workbook::require_file(&args.data)?;
    let out = output_file::target(&args.out)?;
    // What the model that is replaced says about the same texts. Without one, nothing.
    let data = read(args, Model::open(&out).ok())?;
    let before = data.before.validation();
    say!("read     {} texts", HumanCount(data.corpus.len() as u64));
    let Trained { model, validation } = fit(&data.corpus, args)?;

    let bytes = model.to_bytes();
    let cannot = |e| CliError::failed(format_args!("cannot write {}", args.out.display()), e);
    write(&out, &bytes).map_err(cannot)?;
    if args.json {
        output::json(&json!({
            "texts": data.corpus.len(),
            "left_out": data.left_out,
            "labels": validation.labels,
            "folds": validation.folds,
            "accuracy": validation.accuracy(),
            "macro_f1": validation.macro_f1(),
            "confusion": validation.confusion,
            "before": before.as_ref().map(|before| {
                json!({ "accuracy": before.accuracy(), "macro_f1": before.macro_f1() })
            }),
            "features": model.features(),
            "bytes": bytes.len(),
            "seconds": began.elapsed().as_secs_f64(),
        }));
    } else {
        if let Some(before) = &before {
            output::line(format_args!(
                "before: accuracy {:.3}, macro F1 {:.3}; the model that this one replaces, on the same texts",
                before.accuracy(),
                before.macro_f1()
            ));
        }
        output::line(figures(&validation));
        output::line(format_args!(
            "{}: {} n-grams, {} bytes",
            args.out.display(),
            HumanCount(model.features() as u64),
            HumanCount(bytes.len() as u64)
        ));
    }
    if data.left_out > 0 {
        say!(
            "{} rows without a text or label were left out",
            HumanCount(data.left_out)
        );
    }
    Ok(Exit::Done)
}

/// Writes a file atomically.
fn write(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut new = tempfile::Builder::new()
        // As for any new file; the umask applies.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(output_file::folder(out))?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(out)?;
    Ok(())
}

/// Labeled texts, and the number of rows without a text or label.
#[derive(Default)]
struct Data {
    corpus: Corpus,
    left_out: u64,
    before: Before,
}

/// How often an earlier model predicted a label for texts with another: by the right label, then by the
/// predicted one.
#[derive(Default)]
struct Before(BTreeMap<String, BTreeMap<String, u64>>);

impl Before {
    fn add(&mut self, label: &str, predicted: &str) {
        let of = self.0.entry(label.to_owned()).or_default();
        *of.entry(predicted.to_owned()).or_default() += 1;
    }

    /// `None`: there was no model.
    fn validation(&self) -> Option<Validation> {
        let predicted = self.0.values().flat_map(BTreeMap::keys);
        let mut labels: Vec<String> = self.0.keys().chain(predicted).cloned().collect();
        labels.sort();
        labels.dedup();
        let count = |label: &String, predicted: &String| {
            let of = self.0.get(label);
            of.and_then(|of| of.get(predicted)).copied().unwrap_or(0)
        };
        let confusion = labels
            .iter()
            .map(|label| labels.iter().map(|p| count(label, p)).collect());
        (!labels.is_empty()).then(|| Validation {
            folds: 1,
            confusion: confusion.collect(),
            labels: labels.clone(),
        })
    }
}

fn read(args: &TrainArgs, earlier: Option<Model>) -> Result<Data, CliError> {
    let mut rows = Rows {
        args,
        earlier,
        columns: (0, 0),
        data: Data::default(),
        refused: None,
    };
    read_rows(&args.data, &ReadOptions::default(), &mut rows)
        .map_err(|e| CliError::refused(miette!("{}: {e}", args.data.display())))?;
    match rows.refused {
        None => Ok(rows.data),
        Some(why) => Err(CliError::refused(miette!("{}: {why}", args.data.display()))),
    }
}

struct Rows<'a> {
    args: &'a TrainArgs,
    /// The model that is replaced.
    earlier: Option<Model>,
    /// The positions of the text and label columns.
    columns: (usize, usize),
    data: Data,
    refused: Option<String>,
}

impl Rows<'_> {
    fn refuse(&mut self, why: String) -> ControlFlow<()> {
        self.refused = Some(why);
        ControlFlow::Break(())
    }
}

impl RowSink for Rows<'_> {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        let position = |name: &str| header.columns.iter().position(|c| c == name);
        let (text, label) = (&self.args.text, &self.args.label);
        match (position(text), position(label)) {
            (Some(text), Some(label)) => {
                self.columns = (text, label);
                ControlFlow::Continue(())
            }
            (found, _) => {
                let missing = if found.is_none() { text } else { label };
                let columns = header.columns.join("`, `");
                self.refuse(format!(
                    "column `{missing}` not found; the columns are `{columns}`"
                ))
            }
        }
    }

    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        let text = |at: usize| match cells.get(at) {
            Some(Cell::Value(value)) => Some(value.to_text()).filter(|t| !t.trim().is_empty()),
            Some(Cell::Empty | Cell::Error(_)) | None => None,
        };
        let (Some(text), Some(label)) = (text(self.columns.0), text(self.columns.1)) else {
            self.data.left_out += 1;
            return ControlFlow::Continue(());
        };
        if let Some(earlier) = &self.earlier {
            let predicted = earlier.predict(&text).label;
            self.data.before.add(label.trim(), predicted);
        }
        match self.data.corpus.push(&text, label.trim()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => self.refuse(format!("row {row}: {e}")),
        }
    }
    fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
        // Which of its values is the label is uncertain.
        self.data.left_out += 1;
        ControlFlow::Continue(())
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        self.data.left_out += u64::from(last - first) + 1;
        ControlFlow::Continue(())
    }
    fn restart(&mut self) -> bool {
        self.data = Data::default();
        true
    }
}

/// Trains and shows progress, as a bar on a terminal and as lines elsewhere.
fn fit(corpus: &Corpus, args: &TrainArgs) -> Result<Trained, CliError> {
    let began = Instant::now();
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(u64::from(args.folds) + 1);
        bar.set_position(0);
        bar
    });
    let trained = rowmill_classify::train(corpus, args.folds.into(), |done, of| match &bar {
        Some(bar) => bar.set_position(done as u64),
        None => say!("train    {done} of {of} models"),
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let trained =
        trained.map_err(|e| CliError::refused(miette!("{}: {e}", args.data.display())))?;
    say!(
        "train    {} models in {}",
        u64::from(args.folds) + 1,
        duration::human(began.elapsed())
    );
    Ok(trained)
}

/// The figures as a table with one line per label. The columns are numbers, so that a long label
/// does not widen them.
fn figures(validation: &Validation) -> String {
    let count = validation.labels.len();
    let name = |l: &str| l.chars().count();
    let widest = validation.labels.iter().map(|l| name(l)).max().unwrap_or(0);
    let cells = validation.confusion.iter().flatten().copied();
    let digits = cells.max().unwrap_or(0).max(count as u64).to_string().len();
    let number = count.to_string().len();

    let mut out = format!(
        "accuracy {:.3}, macro F1 {:.3}; cross-validated over {} parts\n",
        validation.accuracy(),
        validation.macro_f1(),
        validation.folds
    );
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "\n{:number$} {:widest$}     F1  predicted:",
        "", "label"
    );
    for label in 1..=count {
        let _ = write!(out, " {label:>digits$}");
    }
    for (at, label) in validation.labels.iter().enumerate() {
        let _ = write!(
            out,
            "\n{:>number$} {label:widest$}  {:.3}            ",
            at + 1,
            validation.f1(at)
        );
        for cell in &validation.confusion[at] {
            let _ = write!(out, " {cell:>digits$}");
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_the_table_are_aligned() {
        let validation = Validation {
            labels: vec!["billing".into(), "praise".into()],
            folds: 4,
            confusion: vec![vec![105, 3], vec![0, 92]],
        };
        assert_eq!(
            figures(&validation),
            "accuracy 0.985, macro F1 0.985; cross-validated over 4 parts\n\
             \n\
             \x20 label       F1  predicted:   1   2\n\
             1 billing  0.986             105   3\n\
             2 praise   0.984               0  92\n"
        );
    }
}
