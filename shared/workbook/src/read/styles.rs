//! The number formats of cells, from the styles of a workbook.

use std::collections::HashMap;

use super::number_format::{self, FormatKind};

/// Maximum number of formats to keep. The limit of Excel is 65,490.
const FORMATS_MAX: usize = 100_000;
/// Maximum size of all format codes in bytes. Excel allows 255 characters for each.
const CODES_MAX: usize = 16 << 20;

/// The number format of each cell style. A reader adds styles and codes in any order, then calls
/// [`Styles::classify`].
#[derive(Default)]
pub(super) struct Styles {
    kinds: Vec<FormatKind>,
    ids: Vec<u32>,
    codes: HashMap<u32, String>,
    code_bytes: usize,
}

impl Styles {
    /// Adds the next cell style, which has this number format.
    pub(super) fn add_style(&mut self, format: u32) {
        if self.ids.len() < FORMATS_MAX {
            self.ids.push(format);
        }
    }

    /// Adds a number format. It has priority over a built-in format with the same ID.
    pub(super) fn add_code(&mut self, format: u32, code: String) {
        self.code_bytes = self.code_bytes.saturating_add(code.len());
        if self.codes.len() < FORMATS_MAX && self.code_bytes <= CODES_MAX {
            self.codes.insert(format, code);
        }
    }

    /// Finds out what each style displays.
    pub(super) fn classify(&mut self) {
        let kind = |id: &u32| match self.codes.get(id) {
            Some(code) => number_format::classify(code),
            None => number_format::builtin_kind(*id),
        };
        self.kinds = self.ids.iter().map(kind).collect();
    }

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_codes_have_a_memory_budget() {
        let mut styles = Styles::default();
        styles.add_code(200, "0.00".to_owned());
        for id in 201..300 {
            styles.add_code(id, "0".repeat(1 << 20));
        }
        assert_eq!(styles.code(200).as_deref(), Some("0.00"));
        let kept: usize = styles.codes.values().map(String::len).sum();
        assert!(kept <= CODES_MAX, "{kept}");
    }
}
