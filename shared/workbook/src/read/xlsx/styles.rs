//! Reads the number formats of cells from `styles.xml`.

use std::io::Read;

use crate::read::styles::Styles;
use crate::read::xml::{Event, ScanError, Scanner};

/// Reads the part.
pub(super) fn read<R: Read>(scanner: &mut Scanner<R>) -> Result<Styles, ScanError> {
    let mut styles = Styles::default();
    let (mut in_cells, mut in_formats) = (false, false);
    loop {
        match scanner.next()? {
            Event::Start {
                name,
                attributes,
                empty,
            } => match scanner.local(&name) {
                b"cellXfs" => in_cells = !empty,
                b"numFmts" => in_formats = !empty,
                // The formats of conditional formatting and of extensions reuse the IDs.
                b"dxfs" | b"extLst" if !empty => scanner.skip_element()?,
                b"xf" if in_cells => {
                    let id = scanner.text_attribute(&attributes, b"numFmtId");
                    let id = id.and_then(|id| id.trim().parse().ok());
                    styles.add_style(id.unwrap_or(0));
                }
                b"numFmt" if in_formats => {
                    let id = scanner.text_attribute(&attributes, b"numFmtId");
                    let code = scanner.text_attribute(&attributes, b"formatCode");
                    if let (Some(Ok(id)), Some(code)) = (id.map(|id| id.trim().parse()), code) {
                        styles.add_code(id, code);
                    }
                }
                _ => {}
            },
            Event::End { name } => match scanner.local(&name) {
                b"cellXfs" => in_cells = false,
                b"numFmts" => in_formats = false,
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    styles.classify();
    Ok(styles)
}
