use std::fmt;

/// A call's result.
pub type Result<T> = std::result::Result<T, PortError>;

/// A call to a service that failed: which, on what, and whether trying again can help.
#[derive(Debug)]
pub struct PortError {
    /// The operation: `GetObject`, `SubmitJob`.
    pub operation: &'static str,
    /// What it was on: `s3://bucket/key`, a job's name.
    pub resource: String,
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What the service said, with its request id where there is one.
    pub message: String,
}

/// Kinds of failures, as far as callers tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It does not exist.
    NotFound,
    /// A condition did not hold: it exists already, or has changed.
    Conflict,
    /// The service refuses such a request, now and always: a limit, a malformed value.
    Invalid,
    /// Not allowed.
    Denied,
    /// Too many calls: later.
    Throttled,
    /// The service or the way to it failed: later.
    Unavailable,
}

impl PortError {
    /// An error of that kind.
    pub fn new(
        operation: &'static str,
        resource: impl Into<String>,
        kind: ErrorKind,
        message: impl fmt::Display,
    ) -> PortError {
        PortError {
            operation,
            resource: resource.into(),
            kind,
            message: message.to_string(),
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Throttled | ErrorKind::Unavailable)
    }

    /// Whether it says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }
}

/// What may be absent.
pub trait Optional<T> {
    /// `None` where it does not exist; every other failure stays one.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> Optional<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortError {
            operation,
            resource,
            message,
            ..
        } = self;
        write!(f, "{operation} {resource}: {message}")
    }
}

impl std::error::Error for PortError {}
