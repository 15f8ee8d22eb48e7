//! `rowmill new`: a folder with a pipeline and a sample workbook to start from.

use std::path::Path;

use miette::miette;
use rust_xlsxwriter::{Format, Workbook, XlsxError};

use crate::args::{Kind, NewArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// The files of a kind: its pipeline, the files next to it, and the rows of the sample.
struct Template {
    pipeline: &'static str,
    files: &'static [(&'static str, &'static str)],
    columns: &'static [&'static str],
    rows: &'static [&'static [&'static str]],
    /// A command to start before the sample runs.
    first: Option<&'static str>,
}

const TEXTS: &[&[&str]] = &[
    &["0001", "I love it, works perfectly!"],
    &["0002", "It broke after two days. Terrible."],
    &["0003", "It arrived on Tuesday."],
    &["0004", "Not bad, but the manual is useless 😕"],
    &["0005", "Très bien, great support."],
];

fn template(kind: Kind) -> Template {
    match kind {
        Kind::Sentiment => Template {
            pipeline: include_str!("../templates/sentiment.toml"),
            files: &[],
            columns: &["ID", "Text"],
            rows: TEXTS,
            first: None,
        },
        Kind::Command => Template {
            pipeline: include_str!("../templates/command.toml"),
            files: &[("score.py", include_str!("../templates/score.py"))],
            columns: &["ID", "Text"],
            rows: TEXTS,
            first: None,
        },
        Kind::Http => Template {
            pipeline: include_str!("../templates/http.toml"),
            files: &[("source.py", include_str!("../templates/source.py"))],
            columns: &["ID", "Name"],
            rows: &[
                &["0007", "Kettle"],
                &["0008", "Lamp"],
                &["0012", "Knife"],
                &["0042", "Jacket"],
                &["A/1", "Bread board"],
            ],
            first: Some("python3 source.py &"),
        },
    }
}

/// Creates the folder. Refused if it exists, so that nothing is overwritten.
pub(crate) fn new(args: &NewArgs) -> Result<Exit, CliError> {
    let folder = &args.name;
    if folder.exists() {
        return Err(CliError::refused(miette!(
            help = "choose another name, or remove it first",
            "{} already exists",
            folder.display()
        )));
    }
    let failed =
        |e: std::io::Error| CliError::failed(format_args!("cannot create {}", folder.display()), e);
    let template = template(args.kind);
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(folder.join("pipeline.toml"), template.pipeline).map_err(failed)?;
    for (name, text) in template.files {
        std::fs::write(folder.join(name), text).map_err(failed)?;
    }
    sample(&folder.join("sample.xlsx"), &template).map_err(|e| {
        CliError::failed(
            format_args!("cannot write the sample in {}", folder.display()),
            e,
        )
    })?;

    let shown = folder.display();
    output::line(format_args!(
        "Created {shown}/pipeline.toml and {shown}/sample.xlsx. Next:"
    ));
    let quoted = |path: &Path| output::quoted(&path.to_string_lossy());
    if let Some(first) = template.first {
        output::line(format_args!("  (cd {}; {first})", quoted(folder)));
    }
    output::line(format_args!(
        "  rowmill run {}",
        quoted(&folder.join("sample.xlsx"))
    ));
    Ok(Exit::Done)
}

fn sample(path: &Path, template: &Template) -> Result<(), XlsxError> {
    let mut book = Workbook::new();
    let (bold, text) = (Format::new().set_bold(), Format::new().set_num_format("@"));
    let sheet = book.add_worksheet().set_name("Sample")?;
    for (at, name) in (0..).zip(template.columns) {
        sheet.write_with_format(0, at, *name, &bold)?;
    }
    for (at, row) in (1..).zip(template.rows) {
        sheet.write_row_with_format(at, 0, row.iter().copied(), &text)?;
    }
    sheet.set_column_width(1, 50)?;
    book.save(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_pipeline::Pipeline;
    use rowmill_workbook::{ReadOptions, read_header};

    #[test]
    fn every_kind_parses_and_its_sample_has_the_columns() {
        for kind in [Kind::Http, Kind::Command, Kind::Sentiment] {
            let dir = tempfile::tempdir().unwrap();
            let name = dir.path().join("trial");
            let made = new(&NewArgs {
                name: name.clone(),
                kind,
            });
            assert_eq!(made.unwrap(), Exit::Done);
            let toml = std::fs::read_to_string(name.join("pipeline.toml")).unwrap();
            let pipeline = Pipeline::parse("pipeline.toml", &toml).unwrap();
            assert_eq!(pipeline.steps.len(), 1, "{kind:?}");
            let header = read_header(&name.join("sample.xlsx"), &ReadOptions::default()).unwrap();
            assert!(
                pipeline.check_columns(&header.columns).is_empty(),
                "{kind:?}"
            );

            let again = new(&NewArgs { name, kind }).unwrap_err();
            assert_eq!(again.exit, Exit::Refused);
        }
    }
}
