use std::fmt::Display;

/// What became of an event of several records: each is worked on, whatever became of the others.
#[derive(Debug)]
pub struct Tried<E> {
    failed: Option<E>,
    is_retryable: fn(&E) -> bool,
}

impl<E: Display> Tried<E> {
    /// Nothing has failed yet. `is_retryable`: whether the same event may succeed later.
    pub fn new(is_retryable: fn(&E) -> bool) -> Tried<E> {
        Tried {
            failed: None,
            is_retryable,
        }
    }

    /// What came of a record, where it did not fail.
    pub fn keep<T>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "a record of the event failed");
                // One that may pass counts, so that the event is given again.
                let known = self.failed.as_ref().is_some_and(self.is_retryable);
                if !known {
                    self.failed = Some(error);
                }
                None
            }
        }
    }

    /// The answer to the event: what came of its records, or an error.
    ///
    /// # Errors
    /// One of the records failed; the first that may pass, if any may.
    pub fn end<T>(self, answer: T) -> Result<T, E> {
        self.failed.map_or(Ok(answer), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_may_pass_counts_before_one_that_cannot() {
        let mut tried = Tried::new(|e: &&str| e.starts_with("later"));
        assert_eq!(tried.keep(Ok(1)), Some(1));
        for error in ["never", "later 1", "later 2", "never"] {
            assert_eq!(tried.keep::<i32>(Err(error)), None);
        }
        assert_eq!(tried.end(2), Err("later 1"));
        assert_eq!(Tried::new(|_: &&str| false).end(2), Ok(2));
    }
}
