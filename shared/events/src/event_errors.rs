use std::fmt::Display;

/// Collects the errors of the parts of one event, so that an error of one part does not stop the
/// others.
#[derive(Debug)]
pub struct EventErrors<E> {
    /// The error to return.
    error: Option<E>,
    is_retryable: fn(&E) -> bool,
}

impl<E: Display> EventErrors<E> {
    /// A collection without errors. `is_retryable` says whether the same event may succeed later.
    pub fn new(is_retryable: fn(&E) -> bool) -> EventErrors<E> {
        EventErrors {
            error: None,
            is_retryable,
        }
    }

    /// Returns the value of a part that succeeded. Logs and keeps the error of a part that failed.
    pub fn collect<T>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(%error, "a part of the event failed");
                // A retryable error takes precedence, so that the event is delivered again.
                if !self.error.as_ref().is_some_and(self.is_retryable) {
                    self.error = Some(error);
                }
                None
            }
        }
    }

    /// The result of the event: `answer` if no part failed.
    ///
    /// # Errors
    /// The first retryable error of a part, or else the last error.
    pub fn finish<T>(self, answer: T) -> Result<T, E> {
        self.error.map_or(Ok(answer), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_errors_take_precedence() {
        let mut errors = EventErrors::new(|e: &&str| e.starts_with("later"));
        assert_eq!(errors.collect(Ok(1)), Some(1));
        for error in ["never", "later 1", "later 2", "never"] {
            assert_eq!(errors.collect::<i32>(Err(error)), None);
        }
        assert_eq!(errors.finish(2), Err("later 1"));
        assert_eq!(EventErrors::new(|_: &&str| false).finish(2), Ok(2));
    }
}
