//! The start of a refusal's body as one line, for error messages: sources say there what is wrong
//! with a request.

use super::charset;
use crate::truncate;

/// Characters that are shown.
const SHOWN: usize = 200;
/// Bytes of the body that are looked at. Pages start with long heads.
const READ: usize = 64 * 1024;
/// Elements whose text nobody reads.
const HIDDEN: [&str; 2] = ["script", "style"];

/// The start of a body: without tags if it is HTML or XML, white space collapsed. Empty if the body
/// is not text.
pub(super) fn start(body: &[u8], content_type: Option<&str>) -> String {
    let part = &body[..body.len().min(READ)];
    let text = charset::text(part, content_type);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    // Images and archives.
    if text.contains('\0') {
        return String::new();
    }
    let text = match text.starts_with('<') {
        true => without_tags(text),
        false => text.to_owned(),
    };
    let words: Vec<&str> = text.split_whitespace().take(SHOWN).collect();
    truncate(&words.join(" "), SHOWN)
}

/// Replaces tags, comments, and scripts and styles with their content, by spaces. This is no parser:
/// it shows a page, and never misreads more than the excerpt.
fn without_tags(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        plain.push(' ');
        let name_end = tag.find(|c: char| !c.is_ascii_alphanumeric());
        let name = &tag[..name_end.unwrap_or(tag.len())];
        let close = HIDDEN
            .iter()
            .find(|hidden| hidden.eq_ignore_ascii_case(name))
            .map(|hidden| format!("</{hidden}"));
        rest = if let Some(comment) = tag.strip_prefix("!--") {
            comment.split_once("-->").map_or("", |(_, after)| after)
        } else if let Some(data) = tag.strip_prefix("![CDATA[") {
            let (data, after) = data.split_once("]]>").unwrap_or((data, ""));
            plain.push_str(data);
            after
        } else if let Some(close) = close {
            find_ignoring_case(tag, &close).map_or("", |at| &tag[at..])
        } else {
            tag.split_once('>').map_or("", |(_, after)| after)
        };
    }
    plain.push_str(rest);
    let entities = [
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(plain, |text, (entity, c)| text.replace(entity, c))
}

/// The position of an ASCII text in any case.
fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    let windows = text.as_bytes().windows(wanted.len());
    let mut windows = windows.map(|w| w.eq_ignore_ascii_case(wanted.as_bytes()));
    windows.position(|found| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_body_is_one_line_of_text() {
        for (body, expected) in [
            ("", ""),
            (" \r\n", ""),
            ("no such parcel\n", "no such parcel"),
            (
                "{\"error\":\r\n  {\"message\": \"postcode must have 5 digits\"}}",
                "{\"error\": {\"message\": \"postcode must have 5 digits\"}}",
            ),
            (
                "<!DOCTYPE html><html><head><title>Forbidden</title><style>p {}</style>\
                 <SCRIPT>if (1 < 2) {}</SCRIPT></head><body><!-- x > y --><p>Your key&nbsp;expired",
                "Forbidden Your key expired",
            ),
            (
                "<?xml version=\"1.0\"?><e><![CDATA[a < b]]> &amp; c</e>",
                "a < b & c",
            ),
            ("<script>never closed", ""),
            ("a < b", "a < b"),
            ("\u{feff}text", "text"),
        ] {
            assert_eq!(start(body.as_bytes(), None), expected, "{body}");
        }
        assert_eq!(start(b"\x89PNG\0\0", None), "");
        assert_eq!(
            start(b"caf\xe9", Some("text/plain; charset=latin1")),
            "caf\u{e9}"
        );
        let long = "x".repeat(READ * 2);
        assert_eq!(start(long.as_bytes(), None).len(), SHOWN + "...".len());
    }
}
