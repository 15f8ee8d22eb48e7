//! Answers that the children of a run share.

use std::fmt;
use std::future::Future;

use async_trait::async_trait;

/// Answers that all children of a run share, so that each question is asked once.
#[async_trait]
pub trait Answers: fmt::Debug + Send + Sync {
    /// Returns the answer to a question. If another child is already looking for it, this child
    /// waits. `None`: the caller must find the answer and then call [`Answers::answer`].
    ///
    /// # Errors
    /// The shared answers are not available at the moment.
    async fn ask(&self, question: &str) -> Result<Option<String>, String>;

    /// Shares the answer to a question that [`Answers::ask`] left to the caller. `None`: the caller
    /// found no answer, and another child may try.
    ///
    /// # Errors
    /// The answer could not be stored.
    async fn answer(&self, question: &str, answer: Option<&str>) -> Result<(), String>;
}

/// Returns the shared answer to a question, or finds it with `find` and shares it.
///
/// `decode` reads a shared answer; `encode` writes one to share. If `decode` rejects the answer, or
/// the shared answers are not available, this child finds its own.
pub(crate) async fn get_or_share<T>(
    answers: &dyn Answers,
    question: &str,
    decode: impl FnOnce(&str) -> Option<T>,
    find: impl Future<Output = T>,
    encode: impl FnOnce(&T) -> Option<String>,
) -> T {
    match answers.ask(question).await {
        Ok(Some(answer)) => match decode(&answer) {
            Some(found) => found,
            None => find.await,
        },
        Ok(None) => {
            let found = find.await;
            if let Err(reason) = answers.answer(question, encode(&found).as_deref()).await {
                tracing::warn!(reason, "cannot share an answer with the other children");
            }
            found
        }
        Err(reason) => {
            tracing::warn!(reason, "cannot ask for shared answers");
            find.await
        }
    }
}
