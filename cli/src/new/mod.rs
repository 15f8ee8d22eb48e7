//! `rowmill new`: a folder with a pipeline to start from, for the columns of a workbook or of a small
//! sample.

mod profile;

use std::fmt::Write as _;
use std::path::Path;

use miette::miette;
use rust_xlsxwriter::{Format, Workbook, XlsxError};

use self::profile::{Profile, profile};
use crate::args::{Kind, NewArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted};
use crate::workbook;

/// What is special about a kind. In its texts, `@ID@` and `@TEXT@` stand for the columns, quoted.
struct Template {
    pipeline: &'static str,
    files: &'static [(&'static str, &'static str)],
    columns: [&'static str; 2],
    rows: &'static [[&'static str; 2]],
    /// Whether each row needs a text.
    text: bool,
    /// Commands to run in the folder before the pipeline runs.
    first: &'static [&'static str],
}

const TEXTS: &[[&str; 2]] = &[
    ["0001", "I love it, works perfectly!"],
    ["0002", "It broke after two days. Terrible."],
    ["0003", "It arrived on Tuesday."],
    ["0004", "Not bad, but the manual is useless 😕"],
    ["0005", "Très bien, great support."],
];

const FOREIGN: &[[&str; 2]] = &[
    ["0001", "Es ist nach zwei Tagen kaputtgegangen."],
    ["0002", "Le paquet est arrivé mardi."],
    ["0003", "No está mal, pero el manual es inútil."],
    ["0004", "Thank you for the great support!"],
    ["0005", "Sehr freundlicher Kundendienst, vielen Dank!"],
];

fn template(kind: Kind) -> Template {
    let texts = |pipeline| Template {
        pipeline,
        files: &[],
        columns: ["ID", "Text"],
        rows: TEXTS,
        text: true,
        first: &[],
    };
    match kind {
        Kind::Sentiment => texts(include_str!("../../templates/sentiment.toml")),
        Kind::Language => Template {
            rows: FOREIGN,
            ..texts(include_str!("../../templates/language.toml"))
        },
        Kind::Translate => Template {
            rows: FOREIGN,
            files: &[(
                "translator.py",
                include_str!("../../templates/translator.py"),
            )],
            first: &["python3 translator.py &"],
            ..texts(include_str!("../../templates/translate.toml"))
        },
        Kind::Classify => Template {
            files: &[("labeled.csv", include_str!("../../templates/labeled.csv"))],
            first: &["rowmill train labeled.csv --text text --label topic --out topics.model"],
            ..texts(include_str!("../../templates/classify.toml"))
        },
        Kind::Command => Template {
            files: &[("score.py", include_str!("../../templates/score.py"))],
            text: false,
            ..texts(include_str!("../../templates/command.toml"))
        },
        Kind::Http => Template {
            pipeline: include_str!("../../templates/http.toml"),
            files: &[("source.py", include_str!("../../templates/source.py"))],
            columns: ["ID", "Name"],
            rows: &[
                ["0007", "Kettle"],
                ["0008", "Lamp"],
                ["0012", "Knife"],
                ["0042", "Jacket"],
                ["A/1", "Bread board"],
            ],
            text: false,
            first: &["python3 source.py &"],
        },
    }
}

/// Creates the folder. Refused if it exists, so that nothing is overwritten, and if the workbook cannot
/// be read.
pub(crate) fn new(args: &NewArgs) -> Result<Exit, CliError> {
    let folder = &args.name;
    if folder.exists() {
        return Err(CliError::refused(miette!(
            help = "choose another name, or remove it first",
            "{} already exists",
            folder.display()
        )));
    }
    let template = template(args.kind);
    let given = args.from.as_deref().map(of_workbook).transpose()?;

    let failed =
        |e: std::io::Error| CliError::failed(format_args!("cannot create {}", folder.display()), e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let sample = folder.join("sample.xlsx");
    let profile = match given {
        Some(given) => given,
        None => {
            write_sample(&sample, &template).map_err(|e| {
                CliError::failed(
                    format_args!("cannot write the sample in {}", folder.display()),
                    e,
                )
            })?;
            of_workbook(&sample)?
        }
    };

    let workbook = args.from.as_deref().unwrap_or(&sample);
    let quoted = |path: &Path| output::quoted(&path.to_string_lossy());
    // Next to the sample, the pipeline is found without its name.
    let run = match &args.from {
        Some(workbook) => format!(
            "{} --pipeline {}",
            quoted(workbook),
            quoted(&folder.join("pipeline.toml"))
        ),
        None => quoted(&sample),
    };
    let in_folder = match &args.from {
        Some(_) => run.as_str(),
        None => "sample.xlsx",
    };
    let filled = |text: &str| fill(text, &profile, &template, in_folder, workbook);
    std::fs::write(folder.join("pipeline.toml"), filled(template.pipeline)).map_err(failed)?;
    for (name, text) in template.files {
        std::fs::write(folder.join(name), filled(text)).map_err(failed)?;
    }

    let shown = folder.display();
    match &args.from {
        Some(workbook) => {
            output::line(format_args!(
                "Created {shown}/pipeline.toml from {}: {}, {}.",
                workbook.display(),
                counted(profile.columns.len() as u64, "column"),
                counted(profile.rows, "row")
            ));
            output::line(match profile.key() {
                Some(key) => format!(
                    "Key: {}, guessed: {}. Change `key` if that is wrong.",
                    key.column,
                    why(&profile)
                ),
                None => {
                    "Key: none, because no column has a short value that is different in each row."
                        .to_owned()
                }
            });
            if template.text {
                let text = text(&profile);
                output::line(format_args!(
                    "Text: {text}, guessed: its texts are the longest. Change `column` if that is wrong."
                ));
            }
            output::line("Next:");
        }
        None => output::line(format_args!(
            "Created {shown}/pipeline.toml and {shown}/sample.xlsx. Next:"
        )),
    }
    for first in template.first {
        output::line(format_args!("  (cd {}; {first})", quoted(folder)));
    }
    if args.from.is_some() {
        output::line(format_args!("  rowmill preview {run}"));
    }
    output::line(format_args!("  rowmill run {run}"));
    Ok(Exit::Done)
}

/// The profile of a workbook with at least one column.
fn of_workbook(file: &Path) -> Result<Profile, CliError> {
    workbook::require_file(file)?;
    profile(file).map_err(|e| CliError::refused(miette!("{}: {e}", file.display())))
}

/// The column whose values identify rows: the key, or else the first one.
fn id(profile: &Profile) -> &str {
    profile.key().map_or(profile.first(), |key| key.column)
}

/// The column with the text: the one with the longest texts, or else the first one.
fn text(profile: &Profile) -> &str {
    profile.text().unwrap_or(profile.first())
}

/// Why the key was guessed.
fn why(profile: &Profile) -> String {
    let Some(key) = profile.key() else {
        return String::new();
    };
    let mut why = match (key.empty + key.repeated, key.by_name) {
        (0, true) => "by its name, and its values are different in all rows".to_owned(),
        (0, false) => "its values are different in all rows".to_owned(),
        _ => "by its name".to_owned(),
    };
    // Writing to a String cannot fail.
    if key.repeated > 0 {
        let rows = counted(key.repeated, "row");
        let _ = write!(
            why,
            "; {rows} with the value of an earlier row will be rejected"
        );
    }
    if key.empty > 0 {
        let _ = write!(
            why,
            "; {} without a value will be rejected",
            counted(key.empty, "row")
        );
    }
    why
}

/// Fills in the columns.
fn fill(text: &str, profile: &Profile, template: &Template, run: &str, workbook: &Path) -> String {
    let in_template = id(profile).replace('\\', r"\\").replace('\'', r"\'");
    let url = format!("http://127.0.0.1:8730/items/{{{{ row['{in_template}'] | urlencode }}}}");
    let replaced = [
        ("@INPUT@", input(profile, template, workbook)),
        ("@RUN@", on_one_line(run)),
        ("@URL@", quoted(&url)),
        ("@ID@", quoted(id(profile))),
        ("@TEXT@", quoted(self::text(profile))),
    ];
    // In one pass: the name of a column may look like a placeholder.
    let mut filled = String::new();
    let mut rest = text;
    while let Some((at, (name, value))) = (replaced.iter())
        .filter_map(|one| Some((rest.find(one.0)?, one)))
        .min_by_key(|(at, _)| *at)
    {
        filled.push_str(&rest[..at]);
        filled.push_str(value);
        rest = &rest[at + name.len()..];
    }
    filled + rest
}

/// The section `[input]`.
fn input(profile: &Profile, template: &Template, workbook: &Path) -> String {
    let name = workbook.file_name().unwrap_or_default().to_string_lossy();
    let mut required = vec![id(profile)];
    if template.text && text(profile) != required[0] {
        required.push(text(profile));
    }
    let required: Vec<String> = required.into_iter().map(quoted).collect();
    let mut lines = vec![
        format!(
            "# {}, sheet {}: {}, {}",
            on_one_line(&name),
            on_one_line(&profile.sheet),
            counted(profile.columns.len() as u64, "column"),
            counted(profile.rows, "row")
        ),
        "[input]".to_owned(),
        "# Rows without a value in these columns go to the sheet Rejected.".to_owned(),
        format!("required = [{}]", required.join(", ")),
    ];
    match profile.key() {
        Some(key) => lines.extend([
            format!(
                "# So do later rows with the same key. Guessed: {}.",
                why(profile)
            ),
            format!("key = [{}]", quoted(key.column)),
        ]),
        None => lines.push(
            "# No key: no column has a short value that is different in each row.".to_owned(),
        ),
    }
    lines.extend([
        String::new(),
        "# The types of the columns, guessed. Rows with a value of another type go to the sheet Rejected."
            .to_owned(),
        "[input.types]".to_owned(),
    ]);
    for column in &profile.columns {
        lines.push(match column.kind() {
            Some(kind) => format!("{} = \"{kind}\"", quoted(&column.name)),
            None if column.mixture().is_empty() => {
                format!("# {} has no values", quoted(&column.name))
            }
            None => format!(
                "# {} has {}; without a type, each cell keeps its own",
                quoted(&column.name),
                column.mixture()
            ),
        });
    }
    lines.join("\n")
}

/// A string of TOML, which is also one of JSON and Python.
fn quoted(text: &str) -> String {
    // TOML does not allow it, and JSON does not escape it.
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007F")
}

/// A text in a comment.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn write_sample(path: &Path, template: &Template) -> Result<(), XlsxError> {
    let mut book = Workbook::new();
    let (bold, text) = (Format::new().set_bold(), Format::new().set_num_format("@"));
    let sheet = book.add_worksheet().set_name("Sample")?;
    for (at, name) in (0..).zip(template.columns) {
        sheet.write_with_format(0, at, name, &bold)?;
    }
    for (at, row) in (1..).zip(template.rows) {
        sheet.write_row_with_format(at, 0, row.iter().copied(), &text)?;
    }
    sheet.set_column_width(1, 50)?;
    book.save(path)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use clap::ValueEnum;
    use rowmill_pipeline::Pipeline;
    use rowmill_workbook::{ReadOptions, read_header};

    /// Creates a folder and returns the pipeline in it, which must fit the workbook.
    fn made(kind: Kind, from: Option<PathBuf>) -> Pipeline {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("trial");
        let args = NewArgs {
            name: name.clone(),
            kind,
            from: from.clone(),
        };
        assert_eq!(new(&args).unwrap(), Exit::Done);
        let toml = std::fs::read_to_string(name.join("pipeline.toml")).unwrap();
        let pipeline =
            Pipeline::parse("pipeline.toml", &toml).unwrap_or_else(|e| panic!("{toml}\n{e:?}"));
        assert_eq!(pipeline.steps.len(), 1, "{kind:?}");
        let workbook = from.unwrap_or_else(|| name.join("sample.xlsx"));
        let header = read_header(&workbook, &ReadOptions::default()).unwrap();
        let wrong = pipeline.check_columns(&header.columns);
        assert!(wrong.is_empty(), "{kind:?}: {wrong:?}");

        let again = new(&args).unwrap_err();
        assert_eq!(again.exit, Exit::Refused);
        pipeline
    }

    #[test]
    fn every_kind_fits_its_sample() {
        for kind in Kind::value_variants() {
            let pipeline = made(*kind, None);
            assert_eq!(pipeline.input.key, ["ID"], "{kind:?}");
        }
    }

    #[test]
    fn every_kind_fits_a_workbook_with_hostile_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's \"mine\".csv");
        let columns = [r#"it's "No""#, "@RUN@ \\ ''' # [x]", "Größe\u{7f}"];
        let quoted = columns.map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
        let rows = "1,first text,2.5\n2,second text,3\n";
        std::fs::write(&file, format!("{}\n{rows}", quoted.join(","))).unwrap();
        let read = read_header(&file, &ReadOptions::default()).unwrap().columns;
        for kind in Kind::value_variants() {
            let pipeline = made(*kind, Some(file.clone()));
            assert_eq!(pipeline.input.key, [read[0].as_str()], "{kind:?}");
            let types: Vec<_> = pipeline.input.types.iter().map(|t| t.1.name()).collect();
            assert_eq!(types, ["number", "text", "number"], "{kind:?}");
        }
    }

    #[test]
    fn a_workbook_that_cannot_be_read_leaves_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("trial");
        let from = Some(dir.path().join("none.xlsx"));
        let refused = new(&NewArgs {
            name: name.clone(),
            kind: Kind::Http,
            from,
        })
        .unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert!(!name.exists());
    }
}
