use std::io;
use std::path::{Path, PathBuf};

/// Why a workbook could not be read. Each names the file and says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system failed.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No kind of workbook that can be read.
    #[error(
        "{}: {what}; save it as xlsx, xlsb, xls, ods or csv and try again",
        file.display()
    )]
    NotAWorkbook {
        /// The file.
        file: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A file that a spreadsheet program keeps beside a workbook that is open in it.
    #[error(
        "{}: only marks `{of}` as open in a spreadsheet program, and holds no rows; take `{of}` \
         itself, saved and closed",
        file.display()
    )]
    LockFile {
        /// The file.
        file: PathBuf,
        /// The workbook's name.
        of: String,
    },
    /// The file is encrypted.
    #[error("{}: is encrypted; save it without a password and try again", file.display())]
    Encrypted {
        /// The file.
        file: PathBuf,
    },
    /// A limit of [`crate::ReadLimits`] would be passed.
    #[error(
        "{}: {found} is more than the limit `{limit}` of {allowed}; if the file is to be trusted, \
         raise `{limit}` under [input.limits] in the pipeline",
        file.display()
    )]
    Limit {
        /// The file.
        file: PathBuf,
        /// The limit's name: its field in [`crate::ReadLimits`].
        limit: &'static str,
        /// What was found, at least.
        found: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// No sheet of that name or index.
    #[error(
        "{}: no sheet {wanted} (it has {sheets}); name another as `sheet` under [input] of the \
         pipeline",
        file.display()
    )]
    NoSheet {
        /// The file.
        file: PathBuf,
        /// The one asked for.
        wanted: String,
        /// Those there are.
        sheets: String,
    },
    /// The sheet holds no header.
    #[error(
        "{}: sheet `{sheet}` has no header: {why}; put the columns' names into one row, or name \
         the row with `header_row`",
        file.display()
    )]
    NoHeader {
        /// The file.
        file: PathBuf,
        /// The sheet.
        sheet: String,
        /// Why not.
        why: String,
    },
    /// The file breaks the rules of its format.
    #[error(
        "{}: {place}: {what}; open it in a spreadsheet program, save it anew and try again",
        file.display()
    )]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where: a part of the archive, a sheet with row and column.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The reader gave up in a way that its author did not foresee.
    #[error(
        "{}: the reader failed on it ({detail}); open it in a spreadsheet program, save it as \
         xlsx and try again",
        file.display()
    )]
    Panicked {
        /// The file.
        file: PathBuf,
        /// The panic's message.
        detail: String,
    },
}

impl ReadError {
    /// What happened and where, and what to do next where this error says it.
    pub fn told(&self) -> (String, Option<String>) {
        let text = self.to_string();
        match text.rsplit_once("; ") {
            Some((what, advice)) => (what.to_owned(), Some(advice.to_owned())),
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

    /// Fails where `found` is more than `allowed`.
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
