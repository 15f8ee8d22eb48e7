//! Node.js with the packages that the tests need, installed under `target/`.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use crate::program::root;

/// Runs a script of `tests/node`. Installs the packages of `tests/node/package-lock.json` in
/// `target/test-node` if they are missing or outdated; a lock keeps two processes from doing this at
/// the same time.
pub fn run(script: &str, args: &[&Path]) -> Output {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let lock = File::create(target.join("test-node.lock")).unwrap();
    lock.lock().unwrap();
    let (from, to) = (root().join("tests/node"), target.join("test-node"));
    let wanted = std::fs::read(from.join("package-lock.json")).unwrap();
    if !std::fs::read(to.join("installed")).is_ok_and(|installed| installed == wanted) {
        std::fs::create_dir_all(&to).unwrap();
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
        let installed = Command::new("npm")
            .args([
                "install",
                "--no-save",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ])
            .current_dir(&to)
            .output();
        assert!(
            installed.as_ref().is_ok_and(|i| i.status.success()),
            "this test needs Node.js 20 or later with npm, and packages from its registry: {installed:?}"
        );
        std::fs::write(to.join("installed"), wanted).unwrap();
    }
    // Node looks for packages beside the script.
    std::fs::copy(from.join(script), to.join(script)).unwrap();
    Command::new("node")
        .arg(to.join(script))
        .args(args)
        .output()
        .unwrap()
}
