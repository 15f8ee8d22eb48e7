//! What is wrong with a pipeline file, and where.

/// A pipeline file that cannot be used: what, where, and what was probably meant. Renders with
/// the file's line and column, marked.
#[derive(Debug, Clone, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
pub struct PipelineError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[help]
    pub help: Option<String>,
    /// The file.
    #[source_code]
    pub file: miette::NamedSource<String>,
    /// The place.
    #[label("here")]
    pub at: miette::SourceSpan,
    /// What else is wrong, in the file's order.
    #[related]
    pub others: Vec<PipelineError>,
}

impl PipelineError {
    /// Line and column of the place, both from 1.
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

    /// The message in one line, with its place and what to do: `tax.toml:3:10: ..; ..`.
    pub fn one_line(&self) -> String {
        let (line, column) = self.position();
        let file = self.file.name();
        match &self.help {
            Some(help) => format!("{file}:{line}:{column}: {self}; {help}"),
            None => format!("{file}:{line}:{column}: {self}"),
        }
    }
}
