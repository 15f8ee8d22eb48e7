//! Answers that the children of a run share.

use std::fmt;

use async_trait::async_trait;

/// Answers that all children of a run share, so that what costs is asked for once.
#[async_trait]
pub trait Answers: fmt::Debug + Send + Sync {
    /// The answer to a question, where a child of the run has found it, or finds it while this one
    /// waits. `None`: the caller is to find it, and then to call [`Answers::answer`]. An error
    /// where that cannot be told for now.
    async fn ask(&self, question: &str) -> Result<Option<String>, String>;

    /// Tells the others the answer to a question that was the caller's to find; `None` where it has
    /// found none, so that another one may try.
    async fn answer(&self, question: &str, answer: Option<&str>) -> Result<(), String>;
}
