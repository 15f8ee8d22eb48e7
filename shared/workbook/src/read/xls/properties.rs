//! The origin of a result workbook that was saved as xls: its custom properties, which calamine reads.

use std::io::Cursor;

use calamine::{Reader as _, Xls};

use super::records::Wrong;
use crate::read::compound::Compound;
use crate::read::sink::Origin;
use crate::write::{ADDED_PROPERTY, REVIEW_PROPERTY, RUN_PROPERTY};

/// The stream that holds custom properties.
const PROPERTIES: &str = "\u{5}DocumentSummaryInformation";

/// A workbook without sheets: the records BOF and EOF.
const EMPTY: [u8; 12] = [9, 8, 4, 0, 0, 6, 5, 0, 10, 0, 0, 0];

/// Where to put [`EMPTY`] so that only the properties of a file are left to read. `None` if no run can
/// have written the file.
pub(super) fn find(file: &Compound<'_>, workbook: &str) -> Option<usize> {
    let properties = file.stream(PROPERTIES)?;
    let wide: Vec<u8> = RUN_PROPERTY
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let named = |name: &[u8]| memchr::memmem::find(&properties, name).is_some();
    (named(RUN_PROPERTY.as_bytes()) || named(&wide)).then(|| file.position(workbook))?
}

/// Reads the origin. calamine reads the whole workbook before its properties, in memory that depends on
/// where its cells are, so an empty one takes its place in `bytes`.
pub(super) fn origin(mut bytes: Vec<u8>, workbook_at: usize) -> Result<Option<Origin>, Wrong> {
    let wrong = |error: calamine::XlsError| Wrong::from(format!("its properties: {error}"));
    let Some(start) = bytes.get_mut(workbook_at..workbook_at.saturating_add(EMPTY.len())) else {
        return Ok(None);
    };
    start.copy_from_slice(&EMPTY);
    let mut book = Xls::new(Cursor::new(bytes)).map_err(wrong)?;
    let properties = book.workbook_properties().map_err(wrong)?.custom_properties;
    let Some(run) = properties
        .get(RUN_PROPERTY)
        .and_then(|run| run.trim().parse().ok())
    else {
        return Ok(None);
    };
    let review = properties.get(REVIEW_PROPERTY).cloned();
    let mut added: Vec<(u32, String)> = properties
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(ADDED_PROPERTY)?.parse().ok()?, value)))
        .collect();
    added.sort();
    Ok(Some(Origin {
        run,
        added: added.into_iter().map(|(_, name)| name).collect(),
        review,
    }))
}
