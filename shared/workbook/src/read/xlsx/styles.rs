//! The number formats of cells.

use std::collections::HashMap;
use std::io::Read;

use crate::read::number_format::{self, Shown};
use crate::read::xml::{Event, ScanError, Scanner};

/// Most formats that are kept; Excel's own limit is 65,490.
const FORMATS_MAX: usize = 100_000;

/// What numbers of each style are shown as.
#[derive(Default)]
pub(super) struct Styles {
    shown: Vec<Shown>,
    ids: Vec<u32>,
    codes: HashMap<u32, String>,
}

impl Styles {
    /// What numbers of a style are shown as.
    pub(super) fn shown(&self, style: u32) -> Shown {
        let shown = self.shown.get(style as usize).copied();
        shown.unwrap_or(Shown::Number)
    }

    /// The number of a style's format: 0 where it is `General` or not known.
    pub(super) fn format(&self, style: u32) -> u32 {
        self.ids.get(style as usize).copied().unwrap_or(0)
    }

    /// The code of a format by its number, where it is not `General`.
    pub(super) fn code(&self, format: u32) -> Option<String> {
        let code = match self.codes.get(&format) {
            Some(code) => code,
            None => number_format::builtin(format)?,
        };
        (!code.eq_ignore_ascii_case("general") && !code.is_empty()).then(|| code.to_owned())
    }

    /// Reads the part.
    pub(super) fn read<R: Read>(scanner: &mut Scanner<R>) -> Result<Styles, ScanError> {
        let mut styles = Styles::default();
        let mut in_cells = false;
        loop {
            match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => match scanner.local(&name) {
                    b"cellXfs" => in_cells = !empty,
                    b"xf" if in_cells && styles.ids.len() < FORMATS_MAX => {
                        let id = scanner.text_attribute(&attributes, b"numFmtId");
                        let id = id.and_then(|id| id.trim().parse().ok());
                        styles.ids.push(id.unwrap_or(0));
                    }
                    b"numFmt" if styles.codes.len() < FORMATS_MAX => {
                        let id = scanner.text_attribute(&attributes, b"numFmtId");
                        let code = scanner.text_attribute(&attributes, b"formatCode");
                        if let (Some(Ok(id)), Some(code)) = (id.map(|id| id.trim().parse()), code) {
                            styles.codes.insert(id, code);
                        }
                    }
                    _ => {}
                },
                Event::End { name } if scanner.local(&name) == b"cellXfs" => in_cells = false,
                Event::Eof => break,
                _ => {}
            }
        }
        styles.shown = styles
            .ids
            .iter()
            .map(|id| match styles.codes.get(id) {
                Some(code) => number_format::shown(code),
                None => number_format::builtin(*id).map_or(Shown::Number, number_format::shown),
            })
            .collect();
        Ok(styles)
    }
}
