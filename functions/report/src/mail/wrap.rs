//! Lines of a mail's text.

use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// The longest line, in columns. Source: RFC 5322, section 2.1.1.
const WIDTH: usize = 78;
/// The longest part of a word in a script that is written without spaces. Leaves room for the indent.
const PART: usize = WIDTH - 8;
/// Lines that are indented this far are commands, which must stay whole to be copied.
const COMMAND: &str = "       ";

/// The text in lines of at most [`WIDTH`] columns. Lines continue below the start of their text. Links,
/// ids, paths and commands are not broken.
pub(super) fn wrapped(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len() + text.len() / 32);
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            wrapped.push('\n');
        }
        if line.len() <= WIDTH || line.starts_with(COMMAND) {
            wrapped.push_str(line);
            continue;
        }
        let indent = " ".repeat(start(line));
        let options = Options::new(WIDTH)
            .subsequent_indent(&indent)
            .word_separator(WordSeparator::Custom(words))
            .word_splitter(WordSplitter::NoHyphenation)
            .wrap_algorithm(WrapAlgorithm::FirstFit)
            .break_words(false);
        wrapped.push_str(&textwrap::wrap(line, options).join("\n"));
    }
    wrapped
}

/// The column at which the text of a line starts, after its indent, and the `-` or number of an item.
fn start(line: &str) -> usize {
    let text = line.trim_start_matches(' ');
    let marker = match text.split_once(' ') {
        Some((marker, _)) if marker == "-" || is_number(marker) => marker.len() + 1,
        _ => 0,
    };
    line.len() - text.len() + marker
}

/// Whether this is the number of an item, like `2.`.
fn is_number(marker: &str) -> bool {
    let digits = marker.strip_suffix('.').unwrap_or_default();
    (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let words = WordSeparator::AsciiSpace.find_words(line);
    Box::new(
        words.flat_map(|word| match word.is_ascii() || word.contains("://") {
            true => vec![word],
            false => word.break_apart(PART).collect(),
        }),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_continue_below_their_text() {
        let text = format!(
            "{}\n  - {}\n  12. {}",
            "a b ".repeat(30),
            "c d ".repeat(30),
            "e ".repeat(60)
        );
        let lines: Vec<String> = wrapped(&text).lines().map(str::to_owned).collect();
        for line in &lines {
            assert!(line.len() <= WIDTH, "{line}");
        }
        for start in ["a b ", "  - c d", "    d c d", "  12. e e", "      e e"] {
            assert!(
                lines.iter().any(|line| line.starts_with(start)),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn what_is_copied_is_not_broken() {
        let link = format!("https://example.com/d/{}ü?a=1", "x-/".repeat(60));
        let command = format!("{COMMAND}rowmill run {} --force", "'a b' ".repeat(30));
        let text = format!("Download it, {}:\n{link}\n{command}", "please ".repeat(12));
        let wrapped = wrapped(&text);
        assert!(
            wrapped.contains(&link) && wrapped.contains(&command),
            "{wrapped}"
        );
        assert_eq!(wrapped.lines().count(), 4, "{wrapped}");
    }

    #[test]
    fn a_text_without_spaces_is_broken_between_its_characters() {
        let text = format!("  - {}", "東京".repeat(60));
        let wrapped = wrapped(&text);
        assert_eq!(wrapped.lines().count(), 4, "{wrapped}");
        assert_eq!(wrapped.replace(['\n', ' '], ""), text.replace(' ', ""));
    }

    proptest! {
        #[test]
        fn wrapping_changes_only_white_space(text in "([ a-zü東,.-]|\\n|[a-z]{9} ){0,300}") {
            let visible = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(visible(&wrapped(&text)), visible(&text));
            prop_assert_eq!(wrapped(&text).split('\n').count() >= text.split('\n').count(), true);
        }
    }
}
