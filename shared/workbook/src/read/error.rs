//! Why a workbook could not be read.

use std::io;
use std::path::{Path, PathBuf};

/// Why a workbook could not be read. Every message names the file and, if there is something to do
/// about it, ends with `; ` and the advice.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be opened or read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The file is not a workbook in a supported format.
    #[error("{}: {what}; {advice}", file.display())]
    NotAWorkbook {
        /// The file.
        file: PathBuf,
        /// What the file is: `is a PDF document`.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// The file is a lock file, which a spreadsheet program creates while a workbook is open.
    #[error(
        "{}: is a lock file and contains no rows: `{of}` is open in a spreadsheet program; save and \
         close `{of}` and use that file",
        file.display()
    )]
    LockFile {
        /// The file.
        file: PathBuf,
        /// The name of the workbook that is open.
        of: String,
    },
    /// The file is encrypted.
    #[error("{}: is encrypted; save it without a password and try again", file.display())]
    Encrypted {
        /// The file.
        file: PathBuf,
    },
    /// The file exceeds one of the [`ReadLimits`](crate::ReadLimits).
    #[error(
        "{}: {found} exceeds the limit `{limit}` of {allowed}; if you trust the file, raise \
         `{limit}` under [input.limits] in the pipeline",
        file.display()
    )]
    Limit {
        /// The file.
        file: PathBuf,
        /// The name of the limit, which is its field in [`ReadLimits`](crate::ReadLimits).
        limit: &'static str,
        /// The value found. The full value may be larger.
        found: u64,
        /// The maximum allowed.
        allowed: u64,
    },
    /// The workbook has no sheet with the requested name or index.
    #[error(
        "{}: no {wanted} (found: {sheets}); set `sheet` under [input] in the pipeline to one \
         of them",
        file.display()
    )]
    NoSheet {
        /// The file.
        file: PathBuf,
        /// The requested sheet: `sheet number 3`.
        wanted: String,
        /// The sheets in the workbook.
        sheets: String,
    },
    /// The sheet has no header.
    #[error(
        "{}: sheet `{sheet}` has no header: {why}; put the column names in one row, or set \
         `header_row` under [input] in the pipeline",
        file.display()
    )]
    NoHeader {
        /// The file.
        file: PathBuf,
        /// The sheet.
        sheet: String,
        /// Why there is no header.
        why: String,
    },
    /// The file violates its format.
    #[error(
        "{}: {place}: {what}; open it in a spreadsheet program, save it again and retry",
        file.display()
    )]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where: a part of the archive, or a sheet with row and column.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The reader panicked.
    #[error(
        "{}: the reader crashed ({detail}); open the file in a spreadsheet program, save it as xlsx \
         and try again",
        file.display()
    )]
    Panicked {
        /// The file.
        file: PathBuf,
        /// The panic message.
        detail: String,
    },
}

impl ReadError {
    /// The message without the advice, and the advice if there is any.
    pub fn message_and_advice(&self) -> (String, Option<String>) {
        let text = self.to_string();
        match text.rsplit_once("; ") {
            Some((message, advice)) => (message.to_owned(), Some(advice.to_owned())),
            None => (text, None),
        }
    }

    pub(crate) fn io(file: &Path, source: io::Error) -> ReadError {
        ReadError::Io {
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(
        file: &Path,
        place: impl Into<String>,
        what: impl std::fmt::Display,
    ) -> ReadError {
        ReadError::Malformed {
            file: file.to_owned(),
            place: place.into(),
            what: what.to_string(),
        }
    }

    /// Fails if `found` exceeds `allowed`.
    pub(crate) fn check(
        file: &Path,
        limit: &'static str,
        found: u64,
        allowed: u64,
    ) -> Result<(), ReadError> {
        if found <= allowed {
            return Ok(());
        }
        Err(ReadError::Limit {
            file: file.to_owned(),
            limit,
            found,
            allowed,
        })
    }
}
