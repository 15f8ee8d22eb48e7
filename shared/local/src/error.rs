use std::path::{Path, PathBuf};

use rowmill_ports::{ErrorKind, PortError};

/// A failure of the state directory itself.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A database refused or failed.
    #[error("{}: {source}", path.display())]
    Database {
        /// The database's file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A file or directory refused or failed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state directory was written by another version of this program.
    #[error(
        "{} has format {found}, and this program uses format {known}: finish the run with the \
         {} program that wrote it, or start again in a fresh output directory",
        path.display(), if found < known { "older" } else { "newer" }
    )]
    Format {
        /// The database's file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format of this program.
        known: i64,
    },
    /// Another command is at work on the state directory.
    #[error(
        "another rowmill command ({holder}) is at work on {}; wait for it, end it, or give \
         another directory", path.display()
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// Who holds it: `process 4711`, or `process unknown`.
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

    /// As a port's error. What the disk or a lock refuses today it may take later.
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
