//! Why a workbook could not be written.

use std::io;
use std::path::{Path, PathBuf};

use rust_xlsxwriter::XlsxError;

/// Why a workbook could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be written. The disk may be full.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The result has more columns than a sheet can hold.
    #[error("{}: {found} columns exceed the maximum of 16,384 per sheet; remove some columns", file.display())]
    Columns {
        /// The file.
        file: PathBuf,
        /// The number of columns.
        found: usize,
    },
    /// rust_xlsxwriter rejected something.
    #[error("{}: {source}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// The error of rust_xlsxwriter.
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
