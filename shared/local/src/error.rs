use std::path::{Path, PathBuf};

use rowmill_ports::{ErrorKind, PortError};

/// An error of the state directory.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A database operation failed.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file of the database.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// A file or directory cannot be accessed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The state directory was written by another version of this program.
    #[error(
        "{} has format {found}, but this version of rowmill uses format {known}; finish the run with \
         the {} version that wrote it, or start again in an empty output directory",
        path.display(), if found < known { "older" } else { "newer" }
    )]
    Format {
        /// The file of the database.
        path: PathBuf,
        /// The format of the database.
        found: i64,
        /// The format that this version uses.
        known: i64,
    },
    /// Another command is using the state directory.
    #[error(
        "another rowmill command ({holder}) is using {}; wait until it has ended, stop it, or use \
         another directory", path.display()
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// The process that holds the lock: `process 4711`, or `process unknown`.
        holder: String,
    },
}

impl LocalError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> LocalError {
        move |source| LocalError::File {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> LocalError {
        move |source| LocalError::Database {
            path: path.to_owned(),
            source,
        }
    }

    /// Converts to the error of a port. Failures of the disk and of locks are retryable.
    pub fn into_port(self, operation: &'static str, resource: impl Into<String>) -> PortError {
        let kind = match &self {
            LocalError::Format { .. } => ErrorKind::Invalid,
            LocalError::Database { .. } | LocalError::File { .. } | LocalError::Locked { .. } => {
                ErrorKind::Unavailable
            }
        };
        PortError::new(operation, resource, kind, self)
    }
}
