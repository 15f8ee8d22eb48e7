/// A payload that is not the envelope it should be. Trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It does not have the envelope's fields.
    #[error("this is no {expected}: {source}")]
    Malformed {
        /// The envelope: `S3 event`.
        expected: &'static str,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// A field says something that the envelope does not allow.
    #[error("this is no {expected}: `{field}` is {found}")]
    Field {
        /// The envelope.
        expected: &'static str,
        /// The field's path in it.
        field: &'static str,
        /// What it says.
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
