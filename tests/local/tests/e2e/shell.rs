//! What shells and `man` know about the program.

use std::process::Command;

use rowmill_tests_local::program::binary;
use tempfile::TempDir;

fn printed(args: &[&str]) -> String {
    let ran = Command::new(binary()).args(args).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{args:?}");
    String::from_utf8(ran.stdout).unwrap()
}

/// The names of all commands, from the help.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let list = help.split_once("Commands:\n").unwrap().1;
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("rowmill.bash");
    std::fs::write(&script, printed(&["completions", "bash"])).unwrap();
    let completed = |words: &[&str]| {
        let asked = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; _rowmill rowmill {} {}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let ran = Command::new("bash").args(["-c", &asked]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let text = String::from_utf8(ran.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["rowmill", "att"]), ["attach"]);
    let options = completed(&["rowmill", "runs", "--"]);
    for option in ["--stack", "--out", "--json"] {
        assert!(options.iter().any(|found| found == option), "{options:?}");
    }
}

#[test]
fn every_shell_has_a_script_with_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
}

#[test]
fn every_command_has_a_man_page() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man");
    printed(&["man", pages.to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("rowmill.1").contains("rowmill\\-attach(1)"));
    for command in commands() {
        let text = page(&format!("rowmill-{command}.1"));
        assert!(text.contains(".TH"), "{command}: {text}");
    }
    // It is not meant for people.
    assert!(!pages.join("rowmill-enrich.1").exists());
}
