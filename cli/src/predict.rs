//! `rowmill predict`: labels a text, or every line of standard input, with a model.

use std::io::BufRead;

use miette::miette;
use rowmill_classify::Model;

use crate::args::PredictArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// Prints the label, its probability and the words that contributed most.
pub(crate) fn predict(args: &PredictArgs) -> Result<Exit, CliError> {
    let model = Model::open(&args.model)
        .map_err(|e| CliError::refused(miette!("{}: {e}", args.model.display())))?;
    match &args.text {
        Some(text) => one(&model, text, args.words),
        None => lines(&model, args.words)?,
    }
    Ok(Exit::Done)
}

/// For a person: every label, the likeliest first, and the weight of each word.
fn one(model: &Model, text: &str, most: usize) {
    let prediction = model.predict(text);
    let mut labels: Vec<_> = model
        .labels()
        .iter()
        .zip(&prediction.probabilities)
        .collect();
    labels.sort_by(|a, b| b.1.total_cmp(a.1));
    for (label, probability) in labels {
        output::line(format_args!("{probability:.4}  {label}"));
    }
    let words = model.words(text, prediction.label, most);
    if !words.is_empty() {
        output::line(format_args!("\nwords for {}:", prediction.label));
    }
    for word in words {
        output::line(format_args!("{:+.4}  {}", word.weight, word.word));
    }
}

/// For a program: one line per answer, each written before the next line is read.
fn lines(model: &Model, most: usize) -> Result<(), CliError> {
    for line in std::io::stdin().lock().lines() {
        let text = line.map_err(|e| {
            CliError::refused(miette!(
                "cannot read a line of standard input: {e}; it must be UTF-8 text"
            ))
        })?;
        let prediction = model.predict(&text);
        let words: Vec<String> = if most > 0 {
            let words = model.words(&text, prediction.label, most);
            words.into_iter().map(|w| w.word).collect()
        } else {
            Vec::new()
        };
        output::line(format_args!(
            "{}\t{:.4}\t{}",
            prediction.label,
            prediction.probability,
            words.join(", ")
        ));
    }
    Ok(())
}
