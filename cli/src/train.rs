//! `rowmill train`: a classifier of labelled texts, and how well it does.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use indicatif::{HumanCount, ProgressBar};
use miette::miette;
use rowmill_classify::{Corpus, Trained, Validation};
use rowmill_workbook::{Cell, Header, ReadOptions, RowSink, read_rows};
use serde_json::json;

use crate::args::TrainArgs;
use crate::exit::{Exit, Stop};
use crate::file;
use crate::input;
use crate::output;
use crate::output::say;
use crate::progress::seconds;

/// Reads the data, trains, and writes the model. Nothing is written where something is wrong.
pub(crate) fn train(args: &TrainArgs) -> Result<Exit, Stop> {
    let began = Instant::now();
    input::is_file(&args.data)?;
    let out = file::target(&args.out)?;
    let data = read(args)?;
    say!("read     {} texts", HumanCount(data.corpus.len() as u64));
    let Trained { model, validation } = fit(&data.corpus, args)?;

    let bytes = model.to_bytes();
    let cannot = |e| Stop::failed(format_args!("cannot write {}", args.out.display()), e);
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
            "features": model.features(),
            "bytes": bytes.len(),
            "seconds": began.elapsed().as_secs_f64(),
        }));
    } else {
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
            "{} rows were left out: they have no text or no label",
            HumanCount(data.left_out)
        );
    }
    Ok(Exit::Done)
}

/// Writes a file whole or not at all.
fn write(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut new = tempfile::Builder::new()
        // As any file is made, less what the umask takes.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(file::folder(out))?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(out)?;
    Ok(())
}

/// Labelled texts, and how many rows are none.
struct Data {
    corpus: Corpus,
    left_out: u64,
}

fn read(args: &TrainArgs) -> Result<Data, Stop> {
    let mut rows = Rows {
        args,
        columns: (0, 0),
        data: Data {
            corpus: Corpus::new(),
            left_out: 0,
        },
        refused: None,
    };
    read_rows(&args.data, &ReadOptions::default(), &mut rows)
        .map_err(|e| Stop::refused(miette!("{}: {e}", args.data.display())))?;
    match rows.refused {
        None => Ok(rows.data),
        Some(why) => Err(Stop::refused(miette!("{}: {why}", args.data.display()))),
    }
}

struct Rows<'a> {
    args: &'a TrainArgs,
    /// Places of text and label.
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
        let place = |name: &str| header.columns.iter().position(|c| c == name);
        let (text, label) = (&self.args.text, &self.args.label);
        match (place(text), place(label)) {
            (Some(text), Some(label)) => {
                self.columns = (text, label);
                ControlFlow::Continue(())
            }
            (found, _) => {
                let missing = if found.is_none() { text } else { label };
                let columns = header.columns.join("`, `");
                self.refuse(format!(
                    "there is no column `{missing}`; it has `{columns}`"
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
        match self.data.corpus.push(&text, label.trim()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => self.refuse(format!("row {row}: {e}")),
        }
    }
}

/// Trains, and shows how far it is: a bar on a terminal, lines elsewhere.
fn fit(corpus: &Corpus, args: &TrainArgs) -> Result<Trained, Stop> {
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
    let trained = trained.map_err(|e| Stop::refused(miette!("{}: {e}", args.data.display())))?;
    say!(
        "train    {} models in {}",
        u64::from(args.folds) + 1,
        seconds(began.elapsed())
    );
    Ok(trained)
}

/// The figures as a table, a line a label. Labels are numbered, so that a long one does not
/// stretch the columns.
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
    // Writing to a text does not fail.
    let _ = write!(out, "\n{:number$} {:widest$}     F1  given:", "", "label");
    for label in 1..=count {
        let _ = write!(out, " {label:>digits$}");
    }
    for (at, label) in validation.labels.iter().enumerate() {
        let _ = write!(
            out,
            "\n{:>number$} {label:widest$}  {:.3}        ",
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
    fn the_table_stands_straight() {
        let validation = Validation {
            labels: vec!["billing".into(), "praise".into()],
            folds: 4,
            confusion: vec![vec![105, 3], vec![0, 92]],
        };
        assert_eq!(
            figures(&validation),
            "accuracy 0.985, macro F1 0.985; cross-validated over 4 parts\n\
             \n\
             \x20 label       F1  given:   1   2\n\
             1 billing  0.986         105   3\n\
             2 praise   0.984           0  92\n"
        );
    }
}
