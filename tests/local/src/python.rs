//! Python with the packages that the tests need, in virtual environments under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::program::root;

/// The interpreter with the packages that read workbooks and mail.
pub fn interpreter() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| venv("test-venv", "requirements.txt"))
}

/// The interpreter of `target/<name>`, a virtual environment with the packages of
/// `tests/python/<requirements>`. Creates the environment if it is missing or outdated. The
/// script takes a lock, so two processes do not do this at the same time.
pub fn venv(name: &str, requirements: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let scripts = root().join("tests/python");
    let venv = target.join(name);
    let made = Command::new("python3")
        .arg(scripts.join("environment.py"))
        .arg(&venv)
        .arg(scripts.join(requirements))
        .output();
    assert!(
        made.as_ref().is_ok_and(|made| made.status.success()),
        "the tests need python3 with its module venv (Debian: apt-get install python3-venv) and \
         packages from PyPI: {made:?}"
    );
    venv.join("bin/python")
}

/// Runs a script of `tests/python` and returns its output.
#[track_caller]
pub fn run(script: &str, args: &[&Path]) -> String {
    let output = Command::new(interpreter())
        .arg(root().join("tests/python").join(script))
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
