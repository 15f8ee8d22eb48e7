use std::io;
use std::path::{Path, PathBuf};

use rust_xlsxwriter::XlsxError;

/// Why a workbook could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system failed: the disk may be full.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// More columns than a sheet takes.
    #[error("{}: {found} columns are more than the 16,384 of a sheet; leave some out", file.display())]
    Columns {
        /// The file.
        file: PathBuf,
        /// How many.
        found: usize,
    },
    /// The writer refused something.
    #[error("{}: {source}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What it said.
        source: XlsxError,
    },
}

impl WriteError {
    pub(crate) fn io(file: &Path, source: io::Error) -> WriteError {
        WriteError::Io {
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn new(file: &Path, error: XlsxError) -> WriteError {
        let file = file.to_owned();
        match error {
            XlsxError::IoError(source) => WriteError::Io { file, source },
            source => WriteError::Format { file, source },
        }
    }
}
