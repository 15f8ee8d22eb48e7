//! The commands of the README, the tutorial and the how-to pages run word for word, and print what the
//! pages show. Only building is skipped: `cargo install` does nothing, and `cargo run` starts the program
//! under test.
//!
//! A block ```` ```console ```` has commands after `$ ` and the output of each below it, from both streams.
//! A line after `> ` continues the command. A line `...` stands for any lines, and `[..]` for any text in a
//! line. Indented blocks are not run.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rowmill_tests_local::program::{binary, root};
use tempfile::TempDir;

/// A command and the lines that it prints.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// The commands of a page, in order.
fn commands(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut console = false;
    for (at, line) in (1..).zip(page.lines()) {
        match line.trim_end() {
            "```console" => console = true,
            "```" => console = false,
            text if console && text.starts_with('>') => {
                let more = text.strip_prefix("> ").unwrap_or_default();
                let command = &mut found.last_mut().expect("a command").command;
                *command = format!("{command}\n{more}");
            }
            text if console => match (text.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push(Shown {
                    line: at,
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                (None, Some(last)) => last.output.push(text.to_owned()),
                (None, None) => panic!("line {at}: output without a command"),
            },
            _ => {}
        }
    }
    found
}

/// Whether a line has the shown text, where `[..]` stands for any text.
fn line_matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split("[..]");
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether lines are those shown, where `...` stands for any number of lines.
fn output_matches(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=printed.len()).any(|skipped| output_matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed.split_first().is_some_and(|(line, others)| {
            line_matches(first, line.trim_end()) && output_matches(rest, others)
        }),
    }
}

/// A directory as after `git clone` and `cargo install`.
struct Clone {
    dir: TempDir,
}

impl Clone {
    fn new() -> Clone {
        let dir = TempDir::new().unwrap();
        copy(
            &root().join("examples"),
            &dir.path().join("rowmill/examples"),
        );
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        symlink(binary(), bin.join("rowmill")).unwrap();
        let cargo = "#!/bin/sh\ncase \"$*\" in\n\
            'install --path cli') ;;\n\
            'run --release -- '*) shift 3; exec rowmill \"$@\" ;;\n\
            *) echo \"cargo $*: not in a page\"; exit 1 ;;\nesac\n";
        std::fs::write(bin.join("cargo"), cargo).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bin.join("cargo"), executable).unwrap();
        Clone { dir }
    }

    /// Runs the commands of a page in one shell.
    #[track_caller]
    fn follow(&self, page: &str) {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let shown = commands(&text);
        assert!(!shown.is_empty(), "{page} has no commands");
        let marks: String = (shown.iter().enumerate())
            .map(|(at, shown)| format!("{}\nprintf '\\n<%s %s>\\n' {at} $?\n", shown.command))
            .collect();
        let mut shell = Command::new("bash");
        shell
            .args([
                "-c",
                &format!("exec 2>&1\nPATH=$1:$PATH\n{marks}kill -- -$$"),
            ])
            .args(["bash".as_ref(), self.dir.path().join("bin").as_os_str()])
            .current_dir(self.dir.path().join("rowmill"))
            .env_remove("ROWMILL_SMTP")
            .stdin(Stdio::null())
            // Servers that a page starts end with it.
            .process_group(0);
        let ran = shell.output().unwrap();
        let printed = String::from_utf8(ran.stdout).unwrap();
        let mut rest = printed.as_str();
        for (at, shown) in shown.iter().enumerate() {
            let place = format!("{page}:{}: {}", shown.line, shown.command);
            let (output, after) = rest
                .split_once(&format!("\n<{at} "))
                .unwrap_or_else(|| panic!("{place}: the shell ended\n{rest}"));
            let (code, after) = after.split_once(">\n").unwrap();
            let failing = shown.output.iter().any(|line| line.contains("failed"));
            assert!(
                code == "0" || (code == "3" && failing),
                "{place}: exit code {code}\n{output}"
            );
            let lines: Vec<&str> = output.trim_end().lines().collect();
            assert!(
                output_matches(&shown.output, &lines),
                "{place} prints\n{output}\n\ninstead of\n{}",
                shown.output.join("\n")
            );
            rest = after;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_readme_does_what_it_shows() {
    Clone::new().follow("README.md");
}

#[test]
fn the_tutorial_does_what_it_shows() {
    Clone::new().follow("docs/tutorial.md");
}

#[test]
fn the_how_to_pages_do_what_they_show() {
    for page in [
        "docs/how-to/json-api.md",
        "docs/how-to/python-script.md",
        "docs/how-to/review.md",
        "docs/how-to/decimal-commas.md",
        "docs/cost.md",
    ] {
        Clone::new().follow(page);
    }
}

/// The help of the program as a page: what it prints, command by command.
fn help() -> String {
    let printed = |args: &[&str]| {
        let ran = Command::new(binary()).args(args).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{args:?}");
        let text = String::from_utf8(ran.stdout).unwrap();
        let lines = text.trim_end().lines().map(str::trim_end);
        lines
            .collect::<Vec<_>>()
            .join("\n")
            .replace("rowmill-under-test", "rowmill")
    };
    let all = printed(&["--help"]);
    let names = commands_in(&all);
    let mut page = format!(
        "# Command line\n\n<!-- Made by ROWMILL_BLESS=1 cargo test -p rowmill-tests-local --test e2e \
         docs::the_page_of_the_command_line -->\n\n```text\n{all}\n```\n"
    );
    for name in names {
        let text = printed(&[name, "--help"]);
        page += &format!("\n## rowmill {name}\n\n```text\n{text}\n```\n");
        for second in commands_in(&text) {
            let text = printed(&[name, second, "--help"]);
            page += &format!("\n### rowmill {name} {second}\n\n```text\n{text}\n```\n");
        }
    }
    page
}

/// The commands that a help lists.
fn commands_in(help: &str) -> Vec<&str> {
    let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether to write the page is said by the person who runs the test"
)]
fn the_page_of_the_command_line_is_its_help() {
    let page = root().join("docs/reference/command-line.md");
    if std::env::var_os("ROWMILL_BLESS").is_some() {
        std::fs::write(&page, help()).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap();
    assert_eq!(
        found,
        help(),
        "docs/reference/command-line.md is out of date: run ROWMILL_BLESS=1 cargo test \
         -p rowmill-tests-local --test e2e docs::the_page_of_the_command_line"
    );
}

#[test]
fn shown_output_is_compared_in_full() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let page = "text\n```console\n$ a\none\n$ b\n> c\n```\n    $ no\n```toml\n$ no\n```\n";
    let found = commands(page);
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].command.as_str(), &found[0].output),
        ("a", &lines("one"))
    );
    assert_eq!(
        (found[1].command.as_str(), found[1].output.len()),
        ("b\nc", 0)
    );

    assert!(output_matches(&lines("a [..] c"), &["a bb c"]));
    assert!(output_matches(&lines("..."), &[]));
    assert!(output_matches(&lines("a\n...\nd"), &["a", "b", "c", "d"]));
    assert!(!output_matches(&lines("a\n...\nd"), &["a", "b", "c"]));
    assert!(!output_matches(&lines("a"), &["a", "b"]));
    assert!(!output_matches(&lines(""), &["a"]));
    assert!(!line_matches("a [..] c", "a b d"));
    assert!(!line_matches("a", "ab"));
}
