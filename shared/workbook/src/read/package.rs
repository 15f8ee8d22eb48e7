//! The parts of an Office file (Open Packaging Conventions): which one is the main part, and how parts
//! refer to each other.

use percent_encoding::percent_decode_str;

use super::archive::{Archive, Entry};
use super::error::ReadError;
use super::limits::ReadLimits;
use super::xml::{self, Event, ScanError};

/// A relationship from one part to another.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) id: String,
    /// The last segment of its type, which is the same in the strict and the transitional format.
    pub(super) kind: String,
    /// The path of the other part in the archive.
    pub(super) target: String,
}

/// The relationships of a part, or of the file if `part` is empty. Empty if there are none.
pub(super) fn relations(
    archive: &Archive,
    limits: &ReadLimits,
    part: &str,
) -> Result<Vec<Relation>, ReadError> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let path = match folder {
        "" => format!("_rels/{file}.rels"),
        folder => format!("{folder}/_rels/{file}.rels"),
    };
    let Some(entry) = find(archive, &path) else {
        return Ok(Vec::new());
    };
    xml::scan(archive, entry, limits, |scanner| {
        let mut relations = Vec::new();
        let mut bytes = 0;
        loop {
            let attributes = match scanner.next()? {
                Event::Start {
                    name, attributes, ..
                } if scanner.local(&name) == b"Relationship" => attributes,
                Event::Eof => return Ok(relations),
                _ => continue,
            };
            let text = |name| scanner.text_attribute(&attributes, name);
            let kind = text(b"Type").unwrap_or_default();
            let relation = Relation {
                id: text(b"Id").unwrap_or_default(),
                kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
                target: resolve(folder, &text(b"Target").unwrap_or_default()),
            };
            bytes += relation.id.len() + relation.kind.len() + relation.target.len();
            check(bytes, relations.len(), limits)?;
            relations.push(relation);
        }
    })
}

/// Limits the memory of a list of parts: its texts, and its length, because each part is an entry of the
/// archive.
pub(super) fn check(bytes: usize, parts: usize, limits: &ReadLimits) -> Result<(), ScanError> {
    ScanError::check("string_bytes", bytes as u64, limits.string_bytes)?;
    ScanError::check("entries", parts as u64 + 1, limits.entries)
}

/// Finds a part by its path, which may be percent-encoded in the archive or in what refers to it.
pub(super) fn find<'a>(archive: &'a Archive, path: &str) -> Option<&'a Entry> {
    archive.find(path).or_else(|| {
        let decoded = |path: &str| {
            let path = percent_decode_str(path.trim_start_matches('/'));
            path.decode_utf8_lossy().to_ascii_lowercase()
        };
        let path = decoded(path);
        let mut entries = archive.entries().iter().rev();
        entries.find(|entry| decoded(&entry.name) == path)
    })
}

/// Resolves the target of a relationship to a path in the archive.
fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let mut segments: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').collect(),
    };
    for segment in target.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments.retain(|s| !s.is_empty());
    segments.join("/")
}

/// What an Office file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PackageKind {
    /// A workbook whose parts are XML.
    Workbook,
    /// A workbook whose parts are binary.
    BinaryWorkbook,
    /// A text, as Word writes it.
    Document,
    /// A presentation, as PowerPoint writes it.
    Presentation,
    /// Something else, such as a drawing.
    Other,
}

/// The part from which all others are reached.
#[derive(Debug)]
pub(super) struct MainPart {
    /// Its path in the archive.
    pub(super) path: String,
    pub(super) kind: PackageKind,
}

/// Paths of main parts in files that do not say which one it is.
const USUAL: [&str; 4] = [
    "xl/workbook.xml",
    "xl/workbook.bin",
    "word/document.xml",
    "ppt/presentation.xml",
];

/// The main part: the one that the relationships of the file name, otherwise one whose content type says
/// so, otherwise one with the usual path. `None` if the archive is not an Office file.
pub(super) fn main_part(
    archive: &Archive,
    limits: &ReadLimits,
) -> Result<Option<MainPart>, ReadError> {
    let roots = relations(archive, limits, "")?;
    let related = roots
        .iter()
        .filter(|root| root.kind == "officeDocument" && find(archive, &root.target).is_some())
        .map(|root| root.target.as_str());
    let types = content_types(archive, limits)?;
    let typed = types
        .iter()
        .filter(|(path, kind)| kind.contains(".main+xml") && find(archive, path).is_some())
        .map(|(path, _)| path.as_str());
    let usual = USUAL.iter().copied();
    let usual = usual.filter(|path| archive.find(path).is_some());
    let Some(path) = related.chain(typed).chain(usual).next() else {
        return Ok(None);
    };
    let named = types
        .iter()
        .find(|(part, _)| part.eq_ignore_ascii_case(path.trim_start_matches('/')))
        .and_then(|(_, kind)| kind_of_type(kind));
    let kind = match named {
        Some(kind) => kind,
        None => kind_of_content(archive, limits, path)?,
    };
    Ok(Some(MainPart {
        path: path.to_owned(),
        kind,
    }))
}

/// The parts that have a content type of their own, with that type in lower case.
fn content_types(
    archive: &Archive,
    limits: &ReadLimits,
) -> Result<Vec<(String, String)>, ReadError> {
    let Some(entry) = archive.find("[Content_Types].xml") else {
        return Ok(Vec::new());
    };
    xml::scan(archive, entry, limits, |scanner| {
        let mut types = Vec::new();
        let mut bytes = 0;
        loop {
            match scanner.next()? {
                Event::Start {
                    name, attributes, ..
                } if scanner.local(&name) == b"Override" => {
                    let text = |name| scanner.text_attribute(&attributes, name);
                    if let (Some(part), Some(kind)) = (text(b"PartName"), text(b"ContentType")) {
                        bytes += part.len() + kind.len();
                        check(bytes, types.len(), limits)?;
                        types.push((resolve("", &part), kind.to_ascii_lowercase()));
                    }
                }
                Event::Eof => return Ok(types),
                _ => {}
            }
        }
    })
}

fn kind_of_type(content_type: &str) -> Option<PackageKind> {
    let is = |words: &[&str]| words.iter().any(|word| content_type.contains(word));
    Some(if is(&["ms-excel.sheet.binary"]) {
        PackageKind::BinaryWorkbook
    } else if is(&["spreadsheetml", "ms-excel"]) {
        PackageKind::Workbook
    } else if is(&["wordprocessingml", "ms-word"]) {
        PackageKind::Document
    } else if is(&["presentationml", "ms-powerpoint"]) {
        PackageKind::Presentation
    } else {
        return None;
    })
}

/// What a main part without a known content type is, by its name and its root element.
fn kind_of_content(
    archive: &Archive,
    limits: &ReadLimits,
    path: &str,
) -> Result<PackageKind, ReadError> {
    if path.to_ascii_lowercase().ends_with(".bin") {
        return Ok(PackageKind::BinaryWorkbook);
    }
    let Some(entry) = find(archive, path) else {
        return Ok(PackageKind::Other);
    };
    xml::scan(archive, entry, limits, |scanner| {
        loop {
            match scanner.next()? {
                Event::Start { name, .. } => {
                    return Ok(match scanner.local(&name) {
                        b"workbook" => PackageKind::Workbook,
                        b"document" => PackageKind::Document,
                        b"presentation" => PackageKind::Presentation,
                        _ => PackageKind::Other,
                    });
                }
                Event::Eof => return Ok(PackageKind::Other),
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relationship_targets_resolve_to_paths() {
        for (folder, target, want) in [
            ("xl", "worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            (
                "xl",
                "/xl/worksheets/sheet1.xml",
                "xl/worksheets/sheet1.xml",
            ),
            ("xl", "../a.xml", "a.xml"),
            ("xl", "..\\..\\..\\a.xml", "a.xml"),
            ("", "xl/workbook.xml", "xl/workbook.xml"),
            ("", "./xl//workbook.xml", "xl/workbook.xml"),
        ] {
            assert_eq!(resolve(folder, target), want);
        }
    }
}
