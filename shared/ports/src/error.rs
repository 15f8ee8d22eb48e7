use std::fmt;

/// The result of a call.
pub type Result<T> = std::result::Result<T, PortError>;

/// A failed call to a service: the operation, the resource, and whether a retry can help.
///
/// ```
/// use rowmill_ports::{ErrorKind, Optional, PortError};
///
/// let throttled = PortError::new("SubmitJob", "job-1", ErrorKind::Throttled, "slow down");
/// assert!(throttled.is_retryable());
/// assert_eq!(throttled.to_string(), "SubmitJob job-1: slow down");
///
/// let absent = PortError::new("GetObject", "s3://b/k", ErrorKind::NotFound, "no such key");
/// assert_eq!(Err::<(), _>(absent).optional().unwrap(), None);
/// ```
#[derive(Debug)]
pub struct PortError {
    /// The operation, such as `GetObject` or `SubmitJob`.
    pub operation: &'static str,
    /// What the operation was on, such as `s3://bucket/key` or the name of a job.
    pub resource: String,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The message of the service, with its request id if there is one.
    pub message: String,
}

/// The kinds of failures that callers distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The resource does not exist.
    NotFound,
    /// A condition was not met: the resource exists or was changed.
    Conflict,
    /// The request is invalid: a limit is exceeded or a value is malformed. A retry fails again.
    Invalid,
    /// Access is denied.
    Denied,
    /// The object is archived, and must be restored before it can be read.
    Archived,
    /// There are too many calls. A later retry may succeed.
    Throttled,
    /// The service or the network failed. A later retry may succeed.
    Unavailable,
}

impl PortError {
    /// Creates an error.
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

    /// Whether the object must be restored before it can be read.
    pub fn is_archived(&self) -> bool {
        self.kind == ErrorKind::Archived
    }

    /// Whether the resource does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }
}

/// Turns "not found" into `None`.
pub trait Optional<T> {
    /// Returns `None` if the resource does not exist. Other errors are unchanged.
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
