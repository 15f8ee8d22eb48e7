//! Answers that the children of a run share.

use std::fmt;
use std::future::Future;

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

/// What any child of a run finds first: read from its answer, or found here and told as `tell`
/// makes of it. An answer that `read` has no use for is found here for this child alone, and so is
/// one where the others cannot be asked.
pub(crate) async fn once<T>(
    answers: &dyn Answers,
    question: &str,
    read: impl FnOnce(&str) -> Option<T>,
    find: impl Future<Output = T>,
    tell: impl FnOnce(&T) -> Option<String>,
) -> T {
    match answers.ask(question).await {
        Ok(Some(answer)) => match read(&answer) {
            Some(found) => found,
            None => find.await,
        },
        Ok(None) => {
            let found = find.await;
            if let Err(reason) = answers.answer(question, tell(&found).as_deref()).await {
                tracing::warn!(reason, "other children of the run cannot be told an answer");
            }
            found
        }
        Err(reason) => {
            tracing::warn!(reason, "no other child of the run can be asked");
            find.await
        }
    }
}
