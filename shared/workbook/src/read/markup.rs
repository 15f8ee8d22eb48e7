//! Tells HTML, XML Spreadsheet 2003 and other XML apart by how they begin.

use super::foreign::{Foreign, SAVE, TABLE};

/// A text that begins with markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Markup {
    Html,
    /// XML Spreadsheet 2003.
    SpreadsheetXml,
    /// A flat OpenDocument file.
    OpenDocument,
    /// XML that is not a workbook.
    Xml(Foreign),
}

/// Elements that only a page begins with.
const PAGE: [&str; 14] = [
    "html", "head", "meta", "title", "link", "style", "script", "base", "body", "frameset",
    "table", "thead", "tbody", "tr",
];

/// Elements that a page can begin with if it is only a part of one, or has a message before it.
const PART: [&str; 22] = [
    "div", "span", "p", "br", "b", "i", "u", "font", "center", "hr", "h1", "h2", "h3", "h4",
    "strong", "form", "caption", "section", "main", "article", "pre", "a",
];

/// The namespace of XML Spreadsheet 2003.
const SPREADSHEET: &str = "urn:schemas-microsoft-com:office:spreadsheet";

/// What a text, without a byte order mark, is if it begins with markup. `None` if it is something else,
/// such as delimited text whose first name is in angle brackets.
pub(super) fn markup(text: &str) -> Option<Markup> {
    let mut rest = text.trim_start();
    let mut declared = false;
    // Skip the prolog.
    let element = loop {
        let body = rest.strip_prefix('<')?;
        let end = if body.starts_with("!--") {
            "-->"
        } else if body.starts_with('?') {
            declared |= begins(body, "?xml");
            "?>"
        } else if begins(body, "!doctype") {
            let name = body["!doctype".len()..].trim_start();
            if begins(name, "html") {
                return Some(Markup::Html);
            }
            return Some(Markup::Xml(Foreign::new("is an XML document", SAVE)));
        } else {
            break body;
        };
        let at = body.find(end);
        // A long comment can hide where the element is.
        let Some(at) = at else {
            return declared.then(|| Markup::Xml(Foreign::new("is an XML document", SAVE)));
        };
        rest = body[at + end.len()..].trim_start();
    };
    let length = element
        .find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))
        .unwrap_or(element.len());
    let name = &element[..length];
    if !name.starts_with(|c: char| c.is_alphabetic()) {
        return declared.then(|| Markup::Xml(Foreign::new("is an XML document", SAVE)));
    }
    let known = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if known(&PAGE) {
        return Some(Markup::Html);
    }
    if known(&PART) {
        let text = text.to_ascii_lowercase();
        let has = ["<table", "<html", "<tr>", "<td"];
        return has
            .iter()
            .any(|tag| text.contains(tag))
            .then_some(Markup::Html);
    }
    let tag = &element[..element.find('>').unwrap_or(element.len())];
    let local = name.rsplit(':').next().unwrap_or(name);
    if local == "Workbook" && text.contains(SPREADSHEET) {
        return Some(Markup::SpreadsheetXml);
    }
    if local == "document" && text.contains("opendocument:xmlns:office") {
        return Some(Markup::OpenDocument);
    }
    if !declared && !tag.contains("xmlns") {
        return None;
    }
    Some(Markup::Xml(match local {
        "wordDocument" => Foreign::new("is a Word document", TABLE),
        "package" if tag.contains("xmlPackage") => Foreign::new("is a flat Office document", SAVE),
        "svg" => Foreign::new("is an SVG image", TABLE),
        _ => {
            let shown: String = name.chars().take(40).collect();
            Foreign::new(
                format!("is an XML document (`{shown}`) and not a workbook"),
                "open it in Excel as an XML table, save that as xlsx and try again",
            )
        }
    }))
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_distinguished_from_tables() {
        for html in [
            "<!DOCTYPE html>",
            "<html xmlns:x=\"urn:schemas-microsoft-com:office:excel\">",
            "\n<!-- a <b> --><META charset=utf-8>",
            "<?xml version=\"1.0\"?><!doctype html PUBLIC \"-//W3C//DTD\"><html>",
            "<table border=1>",
            "<style>a</style><table>",
            "<br />\n<b>Warning</b>: x<table><tr>",
            "<div><TABLE>",
        ] {
            assert_eq!(markup(html), Some(Markup::Html), "{html}");
        }
        for workbook in [
            "<?xml version=\"1.0\"?>\n<?mso-application progid=\"Excel.Sheet\"?>\n<Workbook \
             xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\">",
            "<ss:Workbook xmlns:ss=\"urn:schemas-microsoft-com:office:spreadsheet\">",
        ] {
            assert_eq!(markup(workbook), Some(Markup::SpreadsheetXml), "{workbook}");
        }
        let flat = "<?xml?><office:document xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\">";
        assert_eq!(markup(flat), Some(Markup::OpenDocument));
        for (xml, what) in [
            (
                "<?xml version=\"1.0\"?><rows/>",
                "is an XML document (`rows`)",
            ),
            (
                "<?xml version=\"1.0\"?><Workbook/>",
                "is an XML document (`Workbook`)",
            ),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a/>", "is an XML document"),
            (
                "<svg xmlns=\"http://www.w3.org/2000/svg\">",
                "is an SVG image",
            ),
            ("<?xml version=\"1.0\"?><!-- cut", "is an XML document"),
            ("<?xml version=\"1.0\"?>", "is an XML document"),
        ] {
            let found = markup(xml);
            let fits = matches!(&found, Some(Markup::Xml(f)) if f.what.starts_with(what));
            assert!(fits || xml.ends_with("?>"), "{xml}: {found:?}");
        }
        for table in [
            "",
            "a,b",
            "<name>,<value>\n1,2",
            "<b>Name</b>,c\n",
            "< 5,> 5",
            "<",
            "<!--",
            "<é>",
        ] {
            assert_eq!(markup(table), None, "{table}");
        }
    }
}
