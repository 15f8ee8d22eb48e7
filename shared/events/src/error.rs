/// A payload that does not have the expected format. Retrying does not help.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A field is missing or has the wrong type.
    #[error("not a valid {expected}: {source}")]
    Malformed {
        /// The expected format, such as `SNS event`.
        expected: &'static str,
        /// Which field is wrong.
        source: serde_json::Error,
    },
    /// A field has an invalid value.
    #[error("not a valid {expected}: `{field}` is {found}")]
    Field {
        /// The expected format.
        expected: &'static str,
        /// The path of the field.
        field: &'static str,
        /// The value of the field.
        found: String,
    },
}

impl EventError {
    pub(crate) fn malformed(
        expected: &'static str,
    ) -> impl FnOnce(serde_json::Error) -> EventError {
        move |source| EventError::Malformed { expected, source }
    }

    pub(crate) fn field(
        expected: &'static str,
        field: &'static str,
        found: impl std::fmt::Debug,
    ) -> EventError {
        EventError::Field {
            expected,
            field,
            found: format!("{found:?}"),
        }
    }
}
