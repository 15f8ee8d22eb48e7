//! What the styles of a document say: which cells display dates or times, and which tables are hidden.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use crate::read::number_format::FormatKind;
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
    kind: FormatKind,
    /// The format of its first section, which applies to positive numbers, if it has sections.
    first: Option<Vec<u8>>,
}

/// The styles of a document.
#[derive(Default)]
pub(super) struct Styles {
    formats: HashMap<Vec<u8>, Format>,
    cells: HashMap<Vec<u8>, CellStyle>,
    hidden: HashSet<Vec<u8>>,
    bytes: u64,
}

/// Styles derived from styles: more than programs use, and an end to cycles.
const PARENTS_MAX: usize = 16;

impl Styles {
    /// What cells of a style display.
    pub(super) fn kind(&self, style: &[u8]) -> FormatKind {
        let mut style = self.cells.get(style);
        for _ in 0..PARENTS_MAX {
            let Some(found) = style else { break };
            if let Some(format) = &found.format {
                return self.format(format);
            }
            style = found
                .parent
                .as_ref()
                .and_then(|parent| self.cells.get(parent));
        }
        FormatKind::Number
    }

    fn format(&self, name: &[u8]) -> FormatKind {
        let format = self.formats.get(name);
        let first = format
            .and_then(|format| format.first.as_ref())
            .and_then(|first| self.formats.get(first));
        first.or(format).map_or(FormatKind::Number, |f| f.kind)
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
                    let mut kind = match scanner.local(&name) {
                        b"date-style" => FormatKind::Date,
                        b"time-style" if get(b"truncate-on-overflow") == Some(b"false") => {
                            FormatKind::Duration
                        }
                        b"time-style" => FormatKind::Time,
                        _ => FormatKind::Number,
                    };
                    let mut first = None;
                    if !empty {
                        let clock;
                        (clock, first) = format_parts(scanner)?;
                        if clock && kind == FormatKind::Date {
                            kind = FormatKind::DateTime;
                        }
                    }
                    self.count(key.len() + first.iter().flatten().count(), budget)?;
                    self.formats.insert(key, Format { kind, first });
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

/// Whether the format whose start was the last event displays a time, and the name of the format of
/// its first section; consumes its end.
fn format_parts<R: Read>(scanner: &mut Scanner<R>) -> Result<(bool, Option<Vec<u8>>), ScanError> {
    let mut clock = false;
    let mut first = None;
    inside(scanner, |scanner, name, attributes| match name {
        b"hours" | b"minutes" | b"seconds" | b"am-pm" => clock = true,
        b"map" if first.is_none() => {
            let applied = scanner.attribute(attributes, b"apply-style-name");
            first = applied.map(<[u8]>::to_vec);
        }
        _ => {}
    })?;
    Ok((clock, first))
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
            assert_eq!(styles.kind(style.as_bytes()), want, "{style}");
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
