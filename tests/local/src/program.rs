//! The program under test, and one run of it in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::workbook::{Book, read};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// The program, as Cargo built it for the tests.
pub fn binary() -> PathBuf {
    built("rowmill-under-test")
}

/// A binary of this package: `.../target/<profile>/deps/<test>` has it two directories up.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.ancestors().nth(2).unwrap().join(name);
    assert!(
        binary.is_file(),
        "{} is built with the tests of this package",
        binary.display()
    );
    binary
}

/// A directory with a workbook and a pipeline, and the runs of `rowmill` in it.
pub struct Job {
    dir: TempDir,
    /// The workbook, in the directory.
    pub workbook: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What `--json` printed; null where it printed nothing.
    pub json: Value,
    /// What went to standard error.
    pub stderr: String,
}

impl Job {
    /// A directory with `book` as `input.xlsx` and `pipeline` as `pipeline.toml`.
    pub fn new(book: &Book, pipeline: &str) -> Job {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("job");
        std::fs::create_dir(&folder).unwrap();
        let workbook = folder.join("input.xlsx");
        book.save(&workbook);
        std::fs::write(folder.join("pipeline.toml"), pipeline).unwrap();
        Job { dir, workbook }
    }

    /// A directory with a copy of the workbook at `book` as `input.xlsx`, and `pipeline` beside it.
    pub fn of_file(book: &Path, pipeline: &str) -> Job {
        let job = Job::new(&Book::numbered(0), pipeline);
        std::fs::copy(book, &job.workbook).unwrap();
        job
    }

    /// The directory that holds the workbook and the pipeline.
    pub fn folder(&self) -> &Path {
        self.workbook.parent().unwrap()
    }

    /// Where results go.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// `rowmill run` on the workbook, with further arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_on(&self.workbook, args)
    }

    /// The same on another workbook.
    pub fn command_on(&self, workbook: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("run")
            .arg(workbook)
            .arg("--out")
            .arg(self.out())
            .arg("--json")
            .args(args);
        command.stdin(Stdio::null()).current_dir(self.dir.path());
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// The result workbook, as openpyxl reads it.
    pub fn result(&self) -> Read {
        Read(read(&self.out().join("input-result.xlsx"), false))
    }

    /// The result workbook of a large run: cells only.
    pub fn result_cells(&self) -> Read {
        Read(read(&self.out().join("input-result.xlsx"), true))
    }

    /// The mail, decoded: headers and parts in one text.
    pub fn mail(&self) -> String {
        crate::python::run(
            "read_mail.py",
            &[self.out().join("input-mail.eml").as_path()],
        )
    }

    /// The mails in the outbox.
    pub fn mails(&self) -> usize {
        files(&self.out().join(".rowmill/outbox"))
            .iter()
            .filter(|f| f.ends_with(".eml"))
            .count()
    }

    /// What is left below the state directory, relative to it.
    pub fn state(&self) -> Vec<String> {
        files(&self.out().join(".rowmill"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let stdout = String::from_utf8(output.stdout).unwrap();
        Ran {
            code: output.status.code(),
            json: serde_json::from_str(stdout.trim()).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Asserts the exit code, showing what the program said where it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.json, self.stderr);
        self
    }
}

/// Every file below a directory, relative to it, in order.
pub fn files(dir: &Path) -> Vec<String> {
    fn walk(base: &Path, dir: &Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(base, &path, all);
            } else {
                all.push(
                    path.strip_prefix(base)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    let mut all = Vec::new();
    walk(dir, dir, &mut all);
    all.sort();
    all
}

/// A result workbook as an independent reader sees it.
#[derive(Debug, PartialEq)]
pub struct Read(pub Value);

impl Read {
    /// The rows of a sheet, the header first; empty where there is no such sheet.
    pub fn rows(&self, sheet: &str) -> &[Value] {
        self.sheet(sheet)
            .map_or(&[], |s| s["rows"].as_array().unwrap())
    }

    /// A sheet with its properties.
    pub fn sheet(&self, name: &str) -> Option<&Value> {
        self.0["sheets"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["name"] == name)
    }

    /// The header of `Results`.
    pub fn header(&self) -> Vec<&str> {
        self.rows("Results")[0]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c[1].as_str().unwrap())
            .collect()
    }

    /// A column of `Results` below its header: `[type, value]` or null each.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<&Value> {
        let header = self.header();
        let at = header.iter().position(|n| *n == name);
        let at = at.unwrap_or_else(|| panic!("no column {name} in {header:?}"));
        self.rows("Results")[1..].iter().map(|r| &r[at]).collect()
    }

    /// A column of `Results` as texts; empty cells are empty texts.
    #[track_caller]
    pub fn texts(&self, name: &str) -> Vec<String> {
        let text = |c: &&Value| match &c[1] {
            Value::String(s) => s.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        self.column(name).iter().map(text).collect()
    }
}
