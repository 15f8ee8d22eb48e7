//! Writes the corpus of `tests/dialect` for `benches/dialect.py`:
//! `dialect-corpus FOLDER SEED FILES_PER_KIND`.
//!
//! `labels.tsv` has a line for each file: its name, its kind, its delimiter and the one that this crate
//! detects, both as in a pipeline's `[input] delimiter`.

#[path = "../tests/dialect/corpus.rs"]
mod corpus;

use std::fmt::Write as _;
use std::path::PathBuf;

use rowmill_workbook::guess_delimiter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || {
        arguments
            .next()
            .ok_or("usage: dialect-corpus FOLDER SEED FILES_PER_KIND")
    };
    let folder = PathBuf::from(argument()?);
    let (seed, per_kind) = (argument()?.parse()?, argument()?.parse()?);
    std::fs::create_dir_all(&folder)?;
    let mut labels = String::new();
    for (number, sample) in corpus::corpus(seed, per_kind).enumerate() {
        let name = format!("{number:05}.{}", sample.extension);
        let path = folder.join(&name);
        std::fs::write(&path, &sample.text)?;
        let detected = guess_delimiter(&sample.text, true, &path).delimiter;
        writeln!(
            labels,
            "{name}\t{}\t{}\t{detected}",
            sample.kind, sample.delimiter
        )?;
    }
    std::fs::write(folder.join("labels.tsv"), labels)?;
    Ok(())
}
