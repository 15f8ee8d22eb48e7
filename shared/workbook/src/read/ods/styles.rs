//! What the styles of a document say: which cells display dates or times, and which tables are hidden.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::format;
use crate::read::number_format::{FormatKind, classify};
use crate::read::xml::{Event, ScanError, Scanner};

/// Memory overhead per name in bytes.
const PER_NAME: u64 = 64;

/// A cell style: the format it names, and the style it is derived from.
#[derive(Default)]
struct CellStyle {
    format: Option<Vec<u8>>,
    parent: Option<Vec<u8>>,
}

/// A number format.
struct Format {
    id: u32,
    kind: FormatKind,
    is_text: bool,
    /// The conditions under which other formats apply, and their names.
    sections: Vec<(String, Vec<u8>)>,
    /// Its code in the notation of Excel, without those of its sections.
    code: Option<String>,
}

/// What cells of a style display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Display {
    pub(super) kind: FormatKind,
    /// The ID of the number format; 0 if there is none.
    pub(super) format: u32,
}

impl Display {
    /// That of cells without a style.
    pub(super) const PLAIN: Display = Display {
        kind: FormatKind::Number,
        format: 0,
    };
}

/// The styles of a document.
#[derive(Default)]
pub(super) struct Styles {
    formats: HashMap<Vec<u8>, Format>,
    /// The number of formats so far.
    ids: u32,
    cells: HashMap<Vec<u8>, CellStyle>,
    hidden: HashSet<Vec<u8>>,
    bytes: u64,
}

/// Styles derived from styles: more than programs use, and an end to cycles.
const PARENTS_MAX: usize = 16;

impl Styles {
    /// What cells of a style display.
    pub(super) fn display(&self, style: &[u8]) -> Display {
        let mut style = self.cells.get(style);
        for _ in 0..PARENTS_MAX {
            let Some(found) = style else { break };
            if let Some(format) = &found.format {
                let format = self.formats.get(format);
                return format.map_or(Display::PLAIN, |format| Display {
                    kind: self.kind(format),
                    format: format.id,
                });
            }
            style = found
                .parent
                .as_ref()
                .and_then(|parent| self.cells.get(parent));
        }
        Display::PLAIN
    }

    /// What a format displays: its first section, which applies to positive numbers, if it has sections.
    fn kind(&self, format: &Format) -> FormatKind {
        let first = format.sections.first();
        let first = first.and_then(|(_, name)| self.formats.get(name));
        first.unwrap_or(format).kind
    }

    /// The codes of the formats that Excel has, by ID.
    pub(super) fn codes(&self) -> HashMap<u32, String> {
        let codes = self.formats.values();
        codes
            .filter_map(|format| Some((format.id, self.code(format)?)))
            .collect()
    }

    fn code(&self, format: &Format) -> Option<String> {
        let sections: Vec<(&str, &str)> = format
            .sections
            .iter()
            .map(|(condition, name)| {
                let code = self.formats.get(name)?.code.as_deref()?;
                Some((condition.as_str(), code))
            })
            .collect::<Option<_>>()?;
        let code = format::with_sections(format.is_text, format.code.as_deref()?, &sections)?;
        // A value must not become one of another kind when the result is read.
        (code != "General" && classify(&code) == self.kind(format)).then_some(code)
    }

    /// Whether tables of a style are hidden.
    pub(super) fn is_hidden(&self, style: &[u8]) -> bool {
        self.hidden.contains(style)
    }

    /// Reads all styles of a part. `budget` is the maximum size of the names in bytes.
    pub(super) fn read_part<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        budget: u64,
    ) -> Result<(), ScanError> {
        loop {
            match scanner.next()? {
                Event::Start { name, empty, .. } => match scanner.local(&name) {
                    b"styles" | b"automatic-styles" if !empty => self.read(scanner, budget)?,
                    b"document-styles" => {}
                    _ if !empty => scanner.skip_element()?,
                    _ => {}
                },
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    /// Reads the children of the element whose start was the last event; consumes its end. Later
    /// styles replace earlier ones of the same name.
    pub(super) fn read<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        budget: u64,
    ) -> Result<(), ScanError> {
        loop {
            let (name, attributes, empty) = match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => (name, attributes, empty),
                Event::End { .. } => return Ok(()),
                Event::Eof => return Err(ScanError::Malformed("an element is not closed")),
                _ => continue,
            };
            let get = |name: &[u8]| scanner.attribute(&attributes, name);
            let own = |name: &[u8]| get(name).map(<[u8]>::to_vec);
            let key = own(b"name").unwrap_or_default();
            match scanner.local(&name) {
                b"style" => {
                    let style = CellStyle {
                        format: own(b"data-style-name"),
                        parent: own(b"parent-style-name"),
                    };
                    match get(b"family") {
                        Some(b"table-cell") => {
                            let names = [&style.format, &style.parent];
                            let bytes: usize = names.iter().map(|n| n.iter().len()).sum();
                            self.count(key.len() + bytes, budget)?;
                            self.cells.insert(key, style);
                            if !empty {
                                scanner.skip_element()?;
                            }
                        }
                        Some(b"table") if !empty => {
                            if table_is_hidden(scanner)? {
                                self.count(key.len(), budget)?;
                                self.hidden.insert(key);
                            } else {
                                self.hidden.remove(&key);
                            }
                        }
                        _ if !empty => scanner.skip_element()?,
                        _ => {}
                    }
                }
                b"date-style" | b"time-style" | b"number-style" | b"percentage-style"
                | b"currency-style" | b"text-style" | b"boolean-style" => {
                    let local = scanner.local(&name).to_vec();
                    let mut kind = match &local[..] {
                        b"date-style" => FormatKind::Date,
                        b"time-style" if get(b"truncate-on-overflow") == Some(b"false") => {
                            FormatKind::Duration
                        }
                        b"time-style" => FormatKind::Time,
                        _ => FormatKind::Number,
                    };
                    let mut content = format::DataStyle::default();
                    if !empty {
                        content = format::read(scanner, &local, kind == FormatKind::Duration)?;
                        if content.clock && kind == FormatKind::Date {
                            kind = FormatKind::DateTime;
                        }
                    }
                    let sections = content.sections.iter();
                    let sections: usize = sections.map(|(c, name)| c.len() + name.len()).sum();
                    let code = content.code.as_ref().map_or(0, String::len);
                    self.count(key.len() + sections + code, budget)?;
                    self.ids += 1;
                    let format = Format {
                        id: self.ids,
                        kind,
                        is_text: local == b"text-style",
                        sections: content.sections,
                        code: content.code,
                    };
                    self.formats.insert(key, format);
                }
                _ if !empty => scanner.skip_element()?,
                _ => {}
            }
        }
    }

    fn count(&mut self, bytes: usize, budget: u64) -> Result<(), ScanError> {
        self.bytes += bytes as u64 + PER_NAME;
        ScanError::check("string_bytes", self.bytes, budget)
    }
}

/// Whether the style whose start was the last event hides tables; consumes its end.
fn table_is_hidden<R: Read>(scanner: &mut Scanner<R>) -> Result<bool, ScanError> {
    let mut hidden = false;
    inside(scanner, |scanner, name, attributes| {
        hidden |= name == b"table-properties"
            && scanner.attribute(attributes, b"display") == Some(b"false");
    })?;
    Ok(hidden)
}

/// Calls `each` for every element inside the one whose start was the last event; consumes its end.
fn inside<R: Read>(
    scanner: &mut Scanner<R>,
    mut each: impl FnMut(&Scanner<R>, &[u8], &std::ops::Range<usize>),
) -> Result<(), ScanError> {
    let depth = scanner.depth();
    while scanner.depth() >= depth {
        match scanner.next()? {
            Event::Start {
                name, attributes, ..
            } => each(scanner, scanner.local(&name), &attributes),
            Event::Eof => return Err(ScanError::Malformed("an element is not closed")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_say_what_cells_display() {
        let xml = "<office:document-styles><office:styles>\
            <number:date-style style:name='D'><number:day/></number:date-style>\
            <number:date-style style:name='M'><number:day/><number:hours/></number:date-style>\
            <number:time-style style:name='T'/>\
            <number:time-style style:name='L' number:truncate-on-overflow='false'><x/></number:time-style>\
            <number:text-style style:name='S'><style:map style:apply-style-name='M'/>\
            <style:map style:apply-style-name='T'/></number:text-style>\
            <number:number-style style:name='N'><style:map style:apply-style-name='none'/></number:number-style>\
            <style:style style:name='d' style:family='table-cell' style:data-style-name='D'/>\
            <style:style style:name='d' style:family='table-row' style:data-style-name='T'/>\
            <style:style style:name='m' style:family='table-cell' style:data-style-name='M'/>\
            <style:style style:name='t' style:family='table-cell' style:data-style-name='T'/>\
            <style:style style:name='l' style:family='table-cell' style:data-style-name='L'/>\
            <style:style style:name='s' style:family='table-cell' style:data-style-name='S'/>\
            <style:style style:name='n' style:family='table-cell' style:data-style-name='N'/>\
            <style:style style:name='p' style:family='table-cell' style:parent-style-name='d'><x/></style:style>\
            <style:style style:name='c' style:family='table-cell' style:parent-style-name='c'/>\
            <style:style style:name='h' style:family='table'><y/><style:table-properties \
            table:display='false'/></style:style>\
            <style:style style:name='v' style:family='table'><style:table-properties/></style:style>\
            </office:styles><office:master-styles><style:style style:name='d'/></office:master-styles>\
            </office:document-styles>";
        let mut styles = Styles::default();
        let mut scanner = Scanner::new(xml.as_bytes(), 1 << 20, 16);
        styles.read_part(&mut scanner, 4096).unwrap();
        for (style, want) in [
            ("d", FormatKind::Date),
            ("m", FormatKind::DateTime),
            ("t", FormatKind::Time),
            ("l", FormatKind::Duration),
            ("s", FormatKind::DateTime),
            ("n", FormatKind::Number),
            ("p", FormatKind::Date),
            ("c", FormatKind::Number),
            ("unknown", FormatKind::Number),
        ] {
            assert_eq!(styles.display(style.as_bytes()).kind, want, "{style}");
        }
        assert!(styles.is_hidden(b"h") && !styles.is_hidden(b"v"));
        let mut scanner = Scanner::new(xml.as_bytes(), 1 << 20, 16);
        let error = Styles::default().read_part(&mut scanner, 100).unwrap_err();
        assert!(
            matches!(error, ScanError::Limit("string_bytes", ..)),
            "{error}"
        );
    }
}
