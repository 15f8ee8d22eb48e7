//! The text of a cell as a page displays it.

/// Collects the text of a cell: white space becomes one space, and a line begins where an element
/// begins one.
#[derive(Debug, Default)]
pub(super) struct CellText {
    text: Vec<u8>,
    /// White space follows the text.
    space: bool,
    /// A new line begins if more text follows.
    line: bool,
}

impl CellText {
    /// Adds text.
    pub(super) fn push(&mut self, text: &[u8]) {
        for part in text.split_inclusive(u8::is_ascii_whitespace) {
            let word = part.trim_ascii_end();
            if !word.is_empty() {
                if std::mem::take(&mut self.line) && !self.text.is_empty() {
                    self.text.push(b'\n');
                } else if self.space && !matches!(self.text.last(), None | Some(b'\n')) {
                    self.text.push(b' ');
                }
                self.text.extend_from_slice(word);
                self.space = false;
            }
            self.space |= word.len() < part.len();
        }
    }

    /// Ends the line here, even if it is empty.
    pub(super) fn line_break(&mut self) {
        if std::mem::take(&mut self.line) && !self.text.is_empty() {
            self.text.push(b'\n');
        }
        self.text.push(b'\n');
        self.space = false;
    }

    /// Begins a new line unless this one is empty.
    pub(super) fn block(&mut self) {
        self.line = !matches!(self.text.last(), None | Some(b'\n'));
        self.space = false;
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text without the space around it, of which programs fill empty cells with a no-break space.
    pub(super) fn finish(self) -> String {
        let outer = |c: char| c.is_ascii_whitespace() || c == '\u{a0}';
        let text = String::from_utf8_lossy(&self.text);
        text.trim_matches(outer).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_collapses_and_lines_stay() {
        type Step = fn(&mut CellText);
        let cases: [(&[Step], &str); 8] = [
            (&[|t| t.push(b" a \n\t b ")], "a b"),
            (
                &[|t| t.push(b"a"), |t| t.push(b"b "), |t| t.push(b" c")],
                "ab c",
            ),
            (
                &[|t| t.push(b"a "), CellText::line_break, |t| t.push(b" b")],
                "a\nb",
            ),
            (
                &[
                    |t| t.push(b"a"),
                    CellText::line_break,
                    CellText::line_break,
                    |t| t.push(b"b"),
                ],
                "a\n\nb",
            ),
            (
                &[
                    CellText::block,
                    |t| t.push(b"a"),
                    CellText::block,
                    CellText::block,
                    |t| t.push(b"b"),
                ],
                "a\nb",
            ),
            (
                &[
                    |t| t.push(b"a"),
                    CellText::line_break,
                    CellText::block,
                    |t| t.push(b"b"),
                ],
                "a\nb",
            ),
            (&[|t| t.push("\u{a0}".as_bytes())], ""),
            (
                &[
                    |t| t.push(&"ä".as_bytes()[..1]),
                    |t| t.push(&"ä".as_bytes()[1..]),
                ],
                "ä",
            ),
        ];
        for (steps, want) in cases {
            let mut text = CellText::default();
            for step in steps {
                step(&mut text);
            }
            assert_eq!(text.finish(), want);
        }
    }
}
