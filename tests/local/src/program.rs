//! The program under test, and runs of it in a temporary directory.

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

/// The path of the program that Cargo built for these tests.
pub fn binary() -> PathBuf {
    built("rowmill-under-test")
}

/// The path of a binary of the running test's package. A test is `.../target/<profile>/deps/<test>`
/// and its package's binaries are one directory above.
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

/// A temporary directory with a workbook and a pipeline, in which tests run `rowmill`.
pub struct Job {
    dir: TempDir,
    /// The path of the workbook.
    pub workbook: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The output of `--json`; null if there was none.
    pub json: Value,
    /// Standard error.
    pub stderr: String,
}

impl Job {
    /// Writes `book` to `input.xlsx` and `pipeline` to `pipeline.toml`.
    pub fn new(book: &Book, pipeline: &str) -> Job {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("job");
        std::fs::create_dir(&folder).unwrap();
        let workbook = folder.join("input.xlsx");
        book.save(&workbook);
        std::fs::write(folder.join("pipeline.toml"), pipeline).unwrap();
        Job { dir, workbook }
    }

    /// Copies the workbook at `book` to `input.xlsx` and writes `pipeline` to `pipeline.toml`.
    pub fn of_file(book: &Path, pipeline: &str) -> Job {
        let job = Job::new(&Book::numbered(0), pipeline);
        std::fs::copy(book, &job.workbook).unwrap();
        job
    }

    /// The directory that holds the workbook and the pipeline.
    pub fn folder(&self) -> &Path {
        self.workbook.parent().unwrap()
    }

    /// The directory for results (`--out`).
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// The command `rowmill run` on the workbook, with additional arguments. It is not started.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_on(&self.workbook, args)
    }

    /// Like [`Job::command`], on another workbook.
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

    /// Runs `rowmill run` and waits for its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Runs a command such as `runs` or `cancel` on the directory for results, and waits for its end.
    pub fn control(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(binary());
        command
            .args(args)
            .arg("--out")
            .arg(self.out())
            .arg("--json");
        command.env("USER", "ana").stdin(Stdio::null());
        Ran::from(command.output().unwrap())
    }

    /// The result workbook as openpyxl reads it.
    pub fn result(&self) -> Read {
        Read(read(&self.out().join("input-result.xlsx"), false))
    }

    /// The result workbook of a large run, without formats.
    pub fn result_cells(&self) -> Read {
        Read(read(&self.out().join("input-result.xlsx"), true))
    }

    /// The decoded mail: headers and parts in one text.
    pub fn mail(&self) -> String {
        crate::python::run(
            "read_mail.py",
            &[self.out().join("input-mail.eml").as_path()],
        )
    }

    /// The number of emails in the outbox.
    pub fn mails(&self) -> usize {
        files(&self.out().join(".rowmill/outbox"))
            .iter()
            .filter(|f| f.ends_with(".eml"))
            .count()
    }

    /// The files in the state directory, as paths relative to it.
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
    /// Asserts the exit code; on failure the panic message contains the program's output.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.json, self.stderr);
        self
    }
}

/// All files below a directory, as sorted paths relative to it.
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
    /// The rows of a sheet, the header first; empty if the sheet does not exist.
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

    /// The cells of a column of `Results` below its header, each `[type, value]` or null.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<&Value> {
        let header = self.header();
        let at = header.iter().position(|n| *n == name);
        let at = at.unwrap_or_else(|| panic!("no column {name} in {header:?}"));
        self.rows("Results")[1..].iter().map(|r| &r[at]).collect()
    }

    /// The cells of a column of `Results` as texts; an empty cell is an empty text.
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
