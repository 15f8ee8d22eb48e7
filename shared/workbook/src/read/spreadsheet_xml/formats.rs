//! Which number format each style has.

use std::collections::HashMap;
use std::io::Read;

use crate::read::number_format::FormatKind;
use crate::read::styles::Styles;
use crate::read::xml::{Event, ScanError, Scanner};

/// Maximum number of styles to keep.
const STYLES_MAX: usize = 65_536;
/// The ID of the first format of a document, above those of built-in formats.
const FIRST: u32 = 1000;

/// The styles of a document. The number of a style is its place in the document.
#[derive(Default)]
pub(super) struct Formats {
    numbers: HashMap<Vec<u8>, u32>,
    styles: Styles,
}

impl Formats {
    /// The number of a style. `None` if it is not in the document.
    pub(super) fn style(&self, id: &[u8]) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// The style of cells that have none.
    pub(super) fn default(&self) -> u32 {
        self.style(b"Default").unwrap_or(u32::MAX)
    }

    /// What numbers with this style display.
    pub(super) fn kind(&self, style: u32) -> FormatKind {
        self.styles.kind(style)
    }

    /// The format ID of a style.
    pub(super) fn format(&self, style: u32) -> u32 {
        self.styles.format(style)
    }

    /// The code of a format ID.
    pub(super) fn code(&self, format: u32) -> Option<String> {
        self.styles.code(format)
    }

    /// Reads the element `Styles`, whose start was the last event.
    pub(super) fn read<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        budget: u64,
    ) -> Result<(), ScanError> {
        // The code of each style, and the style that it takes it from if it has none.
        let mut codes: Vec<(Option<String>, Option<u32>)> = Vec::new();
        let mut bytes = 0;
        loop {
            match scanner.next()? {
                Event::Start {
                    name, attributes, ..
                } => match scanner.local(&name) {
                    b"Style" if codes.len() < STYLES_MAX => {
                        let id = scanner.attribute(&attributes, b"ID").unwrap_or_default();
                        let parent = scanner.attribute(&attributes, b"Parent");
                        let parent = parent.and_then(|id| self.style(id));
                        bytes += id.len() as u64 + 32;
                        self.numbers.insert(id.to_vec(), codes.len() as u32);
                        codes.push((None, parent));
                    }
                    b"NumberFormat" => {
                        let code = scanner.text_attribute(&attributes, b"Format");
                        if let (Some(style), Some(code)) = (codes.last_mut(), code) {
                            bytes += code.len() as u64;
                            style.0 = Some(named_code(code));
                        }
                    }
                    _ => {}
                },
                Event::End { name } if scanner.local(&name) == b"Styles" => break,
                Event::Eof => break,
                _ => {}
            }
            ScanError::check("string_bytes", bytes, budget)?;
        }
        self.styles = Styles::default();
        let mut formats: Vec<u32> = Vec::with_capacity(codes.len());
        for (code, parent) in codes {
            // A parent comes before its children.
            let inherited = parent.and_then(|parent| formats.get(parent as usize).copied());
            let own = FIRST + formats.len() as u32;
            let format = match (code, inherited) {
                (Some(code), _) => {
                    self.styles.add_code(own, code);
                    own
                }
                (None, inherited) => inherited.unwrap_or(0),
            };
            self.styles.add_style(format);
            formats.push(format);
        }
        self.styles.classify();
        Ok(())
    }
}

/// The code of a format that the document gives by name.
fn named_code(format: String) -> String {
    let code = match format.as_str() {
        "General Number" => "General",
        "General Date" => "m/d/yyyy h:mm",
        "Long Date" => "dddd, mmmm d, yyyy",
        "Medium Date" => "d-mmm-yy",
        "Short Date" => "m/d/yyyy",
        "Long Time" => "h:mm:ss AM/PM",
        "Medium Time" => "h:mm AM/PM",
        "Short Time" => "h:mm",
        "Currency" | "Standard" => "#,##0.00",
        "Euro Currency" => "[$€-2]\\ #,##0.00",
        "Fixed" => "0.00",
        "Percent" => "0.00%",
        "Scientific" => "0.00E+00",
        "Yes/No" => "\"Yes\";\"Yes\";\"No\"",
        "True/False" => "\"True\";\"True\";\"False\"",
        "On/Off" => "\"On\";\"On\";\"Off\"",
        _ => return format,
    };
    code.to_owned()
}
