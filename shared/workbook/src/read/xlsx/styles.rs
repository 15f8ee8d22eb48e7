//! Reads the number formats of cells from `styles.xml`.

use std::collections::HashMap;
use std::io::Read;

use crate::read::number_format::{self, FormatKind};
use crate::read::xml::{Event, ScanError, Scanner};

/// Maximum number of formats to keep. The limit of Excel is 65,490.
const FORMATS_MAX: usize = 100_000;

/// The number format of each cell style.
#[derive(Default)]
pub(super) struct Styles {
    kinds: Vec<FormatKind>,
    ids: Vec<u32>,
    codes: HashMap<u32, String>,
}

impl Styles {
    /// What numbers with this style display.
    pub(super) fn kind(&self, style: u32) -> FormatKind {
        let kind = self.kinds.get(style as usize).copied();
        kind.unwrap_or(FormatKind::Number)
    }

    /// The format ID of a style; 0 if it is `General` or unknown.
    pub(super) fn format(&self, style: u32) -> u32 {
        self.ids.get(style as usize).copied().unwrap_or(0)
    }

    /// The code of a format ID, or `None` if it is `General` or unknown.
    pub(super) fn code(&self, format: u32) -> Option<String> {
        let code = match self.codes.get(&format) {
            Some(code) => code,
            None => number_format::builtin_code(format)?,
        };
        (!code.eq_ignore_ascii_case("general") && !code.is_empty()).then(|| code.to_owned())
    }

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
                    b"xf" if in_cells && styles.ids.len() < FORMATS_MAX => {
                        let id = scanner.text_attribute(&attributes, b"numFmtId");
                        let id = id.and_then(|id| id.trim().parse().ok());
                        styles.ids.push(id.unwrap_or(0));
                    }
                    b"numFmt" if in_formats && styles.codes.len() < FORMATS_MAX => {
                        let id = scanner.text_attribute(&attributes, b"numFmtId");
                        let code = scanner.text_attribute(&attributes, b"formatCode");
                        if let (Some(Ok(id)), Some(code)) = (id.map(|id| id.trim().parse()), code) {
                            styles.codes.insert(id, code);
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
        styles.kinds = styles
            .ids
            .iter()
            .map(|id| match styles.codes.get(id) {
                Some(code) => number_format::classify(code),
                None => number_format::builtin_kind(*id),
            })
            .collect();
        Ok(styles)
    }
}
