//! Reads the merged ranges of a sheet.

use std::io::Read;

use crate::read::header::{MERGES_MAX, MergedRange};
use crate::read::reference::parse_unusual_reference;
use crate::read::xml::{Event, ScanError, Scanner};

/// The merged ranges that start in a row (from 0). The file lists them after the cells.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    row: u32,
) -> Result<Vec<MergedRange>, ScanError> {
    let mut merges = Vec::new();
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => match scanner.local(&name) {
                b"sheetData" if !empty => scanner.skip_element()?,
                b"mergeCell" => {
                    let range = scanner.attribute(&attributes, b"ref").unwrap_or_default();
                    let mut ends = range
                        .split(|b| *b == b':')
                        .filter_map(parse_unusual_reference);
                    if let (Some(start), Some(end)) = (ends.next(), ends.next())
                        && start.0 == row
                        && merges.len() < MERGES_MAX
                    {
                        merges.push(MergedRange {
                            rows: (start.0, end.0),
                            columns: (start.1, end.1),
                        });
                    }
                }
                _ => {}
            },
            Event::Eof => return Ok(merges),
            _ => {}
        }
    }
}
