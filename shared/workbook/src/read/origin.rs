//! The origin of a result workbook that is uploaded again: the properties that
//! [`crate::ResultWriter`] writes. Excel and LibreOffice keep them when they save the file.

use std::io::Read;

use super::sink::Origin;
use super::xml::{Event, ScanError, Scanner, unescape};
use crate::write::{ADDED_PROPERTY, REVIEW_PROPERTY, RUN_PROPERTY};

/// Reads the custom properties of a workbook, which are elements named `property`. `None` if no run
/// wrote it.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    property: &[u8],
) -> Result<Option<Origin>, ScanError> {
    let mut run = None;
    let (mut added, mut review) = (Vec::new(), None);
    let mut name = String::new();
    let mut value = String::new();
    loop {
        match scanner.next()? {
            Event::Start {
                name: element,
                attributes,
                ..
            } if scanner.local(&element) == property => {
                name = scanner
                    .text_attribute(&attributes, b"name")
                    .unwrap_or_default();
                value.clear();
            }
            Event::Text(text) => unescape(scanner.bytes(&text), &mut value),
            Event::End { name: element } if scanner.local(&element) == property => {
                if name == RUN_PROPERTY {
                    run = Some(value.trim().to_owned());
                } else if name == REVIEW_PROPERTY {
                    review = Some(value.clone());
                } else if name.starts_with(ADDED_PROPERTY) {
                    added.push(value.clone());
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let run = run.and_then(|run| run.parse().ok());
    Ok(run.map(|run| Origin { run, added, review }))
}
