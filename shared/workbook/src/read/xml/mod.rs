//! Reads the XML parts of workbooks.

mod encoding;
mod scanner;
mod text;

pub(super) use encoding::{Utf8, declared as declared_encoding};
pub(super) use scanner::{Attributes, Event, ScanError, Scanner, tag_end};
pub(super) use text::unescape;

use super::archive::{Archive, Entry, Part};
use super::error::ReadError;
use super::limits::ReadLimits;

/// A scanner for a part.
pub(super) fn scanner(
    archive: &Archive,
    entry: &Entry,
    limits: &ReadLimits,
) -> Result<Scanner<Part>, ReadError> {
    let part = archive.part(entry)?;
    Ok(Scanner::new(part, limits.text_bytes, limits.nesting))
}

/// Runs `read` on a part.
pub(super) fn scan<T>(
    archive: &Archive,
    entry: &Entry,
    limits: &ReadLimits,
    read: impl FnOnce(&mut Scanner<Part>) -> Result<T, ScanError>,
) -> Result<T, ReadError> {
    read(&mut scanner(archive, entry, limits)?).map_err(|e| error(archive, entry, e))
}

/// The error for a part that could not be scanned.
pub(super) fn error(archive: &Archive, entry: &Entry, error: ScanError) -> ReadError {
    match error {
        ScanError::Limit(limit, found, allowed) => archive.limit(limit, found, allowed),
        error => archive.broken(entry, &error),
    }
}
