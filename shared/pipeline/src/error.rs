//! An error in a pipeline file, with its position.

/// An error in a pipeline file: what is wrong, where, and how to fix it. As a [`miette::Diagnostic`]
/// it renders with the marked line of the file.
#[derive(Debug, Clone, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
pub struct PipelineError {
    /// What is wrong, without the position.
    pub message: String,
    /// How to fix it.
    #[help]
    pub help: Option<String>,
    /// The name and text of the file.
    #[source_code]
    pub file: miette::NamedSource<String>,
    /// The position in the file, in bytes.
    #[label("here")]
    pub at: miette::SourceSpan,
    /// The other errors, in the order of the file.
    #[related]
    pub others: Vec<PipelineError>,
}

impl PipelineError {
    /// Returns the line and column, both from 1.
    pub fn position(&self) -> (usize, usize) {
        let before = &self.file.inner().as_bytes()[..self.at.offset().min(self.file.inner().len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        (
            line,
            String::from_utf8_lossy(&before[start..]).chars().count() + 1,
        )
    }

    /// Returns the error in one line, with its position and the fix: `tax.toml:3:10: ..; ..`.
    pub fn one_line(&self) -> String {
        let (line, column) = self.position();
        let file = self.file.name();
        match &self.help {
            Some(help) => format!("{file}:{line}:{column}: {self}; {help}"),
            None => format!("{file}:{line}:{column}: {self}"),
        }
    }
}
