//! Reads XML into the same tree as HTML, so that CSS selectors work on both. Names are in lower case and
//! keep their prefix: `dc:creator` is the selector `dc\\:creator`.

use html5ever::interface::{ElementFlags, NodeOrText, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::{Attribute, LocalName, QualName, ns};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::sink::{Handle, Sink};
use super::{BYTES_MAX, BYTES_MIN, BYTES_PER_BYTE, DEPTH_MAX, Page, PageError, Stopped};
use crate::http::extract::budget::Budget;

/// Events between two checks of the limits.
const CHECK: u32 = 64;

impl Page {
    /// Parses XML. Entities that a document defines itself are not replaced.
    ///
    /// # Errors
    /// The document is not well-formed, or exceeds a limit of [`Page::parse`].
    pub(in super::super) fn parse_xml(text: &str, budget: &Budget) -> Result<Page, PageError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let bytes_max = (BYTES_MIN + BYTES_PER_BYTE * text.len()).min(BYTES_MAX);
        let sink = Sink::new(budget);
        let mut reader = Reader::from_str(text);
        let mut open = vec![sink.get_document()];
        let malformed = |reason: &dyn std::fmt::Display, at: u64| {
            let before = &text.as_bytes()[..usize::try_from(at).unwrap_or(0).min(text.len())];
            let line = 1 + memchr::memchr_iter(b'\n', before).count();
            PageError::Refused(format!(
                "the response is not well-formed XML (line {line}): {reason}"
            ))
        };
        let mut events = 0_u32;
        loop {
            let event = reader.read_event();
            let event = event.map_err(|e| malformed(&e, reader.error_position()))?;
            let Some(parent) = open.last() else {
                break;
            };
            match event {
                Event::Start(start) => {
                    let element = element(&sink, &start)
                        .map_err(|e| malformed(&e, reader.buffer_position()))?;
                    sink.append(parent, NodeOrText::AppendNode(element.clone()));
                    open.push(element);
                }
                Event::Empty(start) => {
                    let element = element(&sink, &start)
                        .map_err(|e| malformed(&e, reader.buffer_position()))?;
                    sink.append(parent, NodeOrText::AppendNode(element));
                }
                Event::End(_) => drop(open.pop()),
                Event::Text(part) => append(&sink, parent, &part),
                Event::CData(part) => append(&sink, parent, &part),
                Event::GeneralRef(reference) => append(&sink, parent, &character(&reference)),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            events += 1;
            if events.is_multiple_of(CHECK) {
                check(&sink, budget, bytes_max, open.len())
                    .map_err(|stopped| stopped.error(text.len(), bytes_max))?;
            }
        }
        check(&sink, budget, bytes_max, open.len())
            .map_err(|stopped| stopped.error(text.len(), bytes_max))?;
        if open.len() > 1 {
            let end = "an element is not closed; the response may be incomplete";
            return Err(malformed(&end, text.len() as u64));
        }
        Ok(Page {
            tree: sink.finish(),
            is_xml: true,
        })
    }
}

fn check(sink: &Sink<'_>, budget: &Budget, bytes_max: usize, depth: usize) -> Result<(), Stopped> {
    budget.check().map_err(Stopped::Spent)?;
    if sink.bytes() > bytes_max {
        return Err(Stopped::Memory);
    }
    match depth <= DEPTH_MAX {
        true => Ok(()),
        false => Err(Stopped::Depth),
    }
}

fn append(sink: &Sink<'_>, parent: &Handle, text: &str) {
    sink.append(parent, NodeOrText::AppendText(StrTendril::from_slice(text)));
}

fn element(sink: &Sink<'_>, start: &BytesStart<'_>) -> Result<Handle, quick_xml::Error> {
    let name = |name: &str| {
        let name = LocalName::from(name.to_ascii_lowercase());
        QualName::new(None, ns!(), name)
    };
    let mut attributes = Vec::new();
    // Comparing each name with all others takes long. The first one counts.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute?;
        // A value with an entity that is not XML's own stays as it is.
        let value = quick_xml::escape::unescape(&attribute.value);
        let value = value.unwrap_or_else(|_| attribute.value.clone());
        attributes.push(Attribute {
            name: name(attribute.key.as_ref()),
            value: StrTendril::from_slice(&value),
        });
    }
    let flags = ElementFlags::default();
    Ok(sink.create_element(name(start.name().as_ref()), attributes, flags))
}

/// The text of an entity, or the entity itself if it is not one of XML's own.
fn character(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name: &str = reference;
    match resolve_predefined_entity(name) {
        Some(text) => text.to_owned(),
        // The most frequent of HTML.
        None if name == "nbsp" => "\u{a0}".to_owned(),
        None => format!("&{name};"),
    }
}
