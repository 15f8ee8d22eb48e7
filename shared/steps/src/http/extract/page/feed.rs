//! Feeds the tokens of a page to html5ever's tree builder. They come from the tokenizer html5gum,
//! because html5ever's compares each attribute of a tag with all others.

use std::cell::Cell;
use std::collections::HashSet;
use std::mem::take;

use html5ever::interface::Tracer;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Doctype, Tag, TagKind, Token, TokenSink, TokenSinkResult};
use html5ever::tree_builder::TreeBuilder;
use html5ever::{Attribute, LocalName, QualName, ns};
use html5gum::{Emitter, Error, State};

use super::sink::{Handle, Sink};
use super::{DEPTH_MAX, Stopped};

/// Tokens between two checks of the limits.
const CHECK: u32 = 64;
/// Tags with more attributes find duplicates with a set.
const FEW: usize = 16;
/// Approximate memory of an attribute before it is in the tree.
const ATTRIBUTE_BYTES: usize = size_of::<Attribute>() + 32;

/// Elements that the tree builder clones. Source: WHATWG HTML, section 13.2.4.2, "formatting".
#[rustfmt::skip]
const FORMATTING: &[&str] = &[
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
];

/// The output of the tokenizer. It yields a token only to stop it at a limit.
pub(super) struct Feeder<'a, 'b> {
    builder: &'a TreeBuilder<Handle, Sink<'b>>,
    bytes_max: usize,
    stopped: &'a Cell<Option<Stopped>>,
    tokens: u32,
    text: Vec<u8>,
    doctype: DoctypeText,
    tag: TagText,
    last_start_tag: Vec<u8>,
}

#[derive(Default)]
struct DoctypeText {
    name: Vec<u8>,
    public_id: Option<Vec<u8>>,
    system_id: Option<Vec<u8>>,
    force_quirks: bool,
}

#[derive(Default)]
struct TagText {
    is_end: bool,
    name: Vec<u8>,
    is_self_closing: bool,
    attributes: Vec<Attribute>,
    /// The names of `attributes`, if there are many.
    names: HashSet<LocalName>,
    has_duplicates: bool,
    bytes: usize,
    /// The name and value being read.
    attribute: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a, 'b> Feeder<'a, 'b> {
    pub(super) fn new(
        builder: &'a TreeBuilder<Handle, Sink<'b>>,
        bytes_max: usize,
        stopped: &'a Cell<Option<Stopped>>,
    ) -> Feeder<'a, 'b> {
        Feeder {
            builder,
            bytes_max,
            stopped,
            tokens: 0,
            text: Vec::new(),
            doctype: DoctypeText::default(),
            tag: TagText::default(),
            last_start_tag: Vec::new(),
        }
    }

    fn feed(&mut self, token: Token) -> Option<State> {
        if self.stopped.get().is_some() {
            return None;
        }
        let state = match self.builder.process_token(token, 1) {
            TokenSinkResult::Continue | TokenSinkResult::EncodingIndicator(_) => None,
            TokenSinkResult::Script(_) => Some(State::Data),
            TokenSinkResult::Plaintext => Some(State::PlainText),
            TokenSinkResult::RawData(RawKind::Rcdata) => Some(State::RcData),
            TokenSinkResult::RawData(RawKind::Rawtext) => Some(State::RawText),
            TokenSinkResult::RawData(_) => Some(State::ScriptData),
        };
        self.tokens += 1;
        if self.tokens.is_multiple_of(CHECK) {
            self.check();
        }
        state
    }

    /// Stops at a limit.
    fn check(&mut self) {
        let sink = &self.builder.sink;
        let depth = Depth(Cell::new(0));
        self.builder.trace_handles(&depth);
        let stopped = if let Err(spent) = sink.budget().check() {
            Stopped::Spent(spent)
        } else if sink.bytes() + self.tag.bytes > self.bytes_max {
            Stopped::Memory
        } else if depth.0.get() > DEPTH_MAX {
            Stopped::Depth
        } else {
            return;
        };
        self.stopped.set(Some(stopped));
    }

    /// Feeds the text before a tag or comment, as one token unless it contains NUL.
    fn flush_text(&mut self) {
        let text = take(&mut self.text);
        for (n, part) in text.split(|b| *b == 0).enumerate() {
            if n > 0 {
                self.feed(Token::NullCharacterToken);
            }
            if !part.is_empty() {
                self.feed(Token::CharacterTokens(tendril(part)));
            }
        }
        self.text = text;
        self.text.clear();
    }
}

/// Counts elements that are open or would be opened again.
struct Depth(Cell<usize>);

impl Tracer for Depth {
    type Handle = Handle;

    fn trace_handle(&self, _: &Handle) {
        self.0.set(self.0.get() + 1);
    }
}

impl TagText {
    /// Adds the attribute that was read, unless it is a duplicate.
    fn finish_attribute(&mut self) {
        let Some((name, value)) = self.attribute.take() else {
            return;
        };
        let name = LocalName::from(&*String::from_utf8_lossy(&name));
        if self.attributes.len() == FEW {
            let names = self.attributes.iter().map(|a| a.name.local.clone());
            self.names = names.collect();
        }
        let is_new = match self.attributes.len() < FEW {
            true => self.attributes.iter().all(|a| a.name.local != name),
            false => self.names.insert(name.clone()),
        };
        if !is_new {
            self.has_duplicates = true;
            return;
        }
        self.bytes += ATTRIBUTE_BYTES + value.len();
        self.attributes.push(Attribute {
            name: QualName::new(None, ns!(), name),
            value: tendril(&value),
        });
    }
}

fn tendril(bytes: &[u8]) -> StrTendril {
    StrTendril::from_slice(&String::from_utf8_lossy(bytes))
}

impl Emitter for Feeder<'_, '_> {
    type Token = ();

    fn pop_token(&mut self) -> Option<()> {
        self.stopped.get().map(|_| ())
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn emit_error(&mut self, _: Error) {}

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start_tag = name.unwrap_or_default().to_vec();
    }

    fn emit_eof(&mut self) {
        self.flush_text();
        self.check();
        self.feed(Token::EOFToken);
    }

    fn emit_string(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    fn init_start_tag(&mut self) {
        self.tag = TagText::default();
    }

    fn init_end_tag(&mut self) {
        self.tag = TagText {
            is_end: true,
            ..TagText::default()
        };
    }

    fn push_tag_name(&mut self, name: &[u8]) {
        self.tag.name.extend_from_slice(name);
    }

    fn set_self_closing(&mut self) {
        self.tag.is_self_closing = true;
    }

    fn init_attribute(&mut self) {
        self.tag.finish_attribute();
        self.tag.attribute = Some(Default::default());
        if self.tag.attributes.len().is_multiple_of(CHECK as usize) {
            self.check();
        }
    }

    fn push_attribute_name(&mut self, text: &[u8]) {
        if let Some((name, _)) = &mut self.tag.attribute {
            name.extend_from_slice(text);
        }
    }

    fn push_attribute_value(&mut self, text: &[u8]) {
        if let Some((_, value)) = &mut self.tag.attribute {
            value.extend_from_slice(text);
        }
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        self.flush_text();
        self.tag.finish_attribute();
        let tag = take(&mut self.tag);
        let name = LocalName::from(&*String::from_utf8_lossy(&tag.name));
        let mut attributes = tag.attributes;
        if !tag.is_end {
            let is_cloned = FORMATTING.contains(&&*name);
            // The tree builder changes the attributes of SVG and MathML.
            if is_cloned
                && !attributes.is_empty()
                && !self
                    .builder
                    .adjusted_current_node_present_but_not_in_html_namespace()
            {
                attributes = vec![self.builder.sink.share(&attributes)];
            }
            self.last_start_tag = tag.name;
        }
        self.feed(Token::TagToken(Tag {
            kind: match tag.is_end {
                true => TagKind::EndTag,
                false => TagKind::StartTag,
            },
            name,
            self_closing: tag.is_self_closing,
            attrs: attributes,
            had_duplicate_attributes: tag.has_duplicates,
        }))
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && !self.tag.name.is_empty() && self.tag.name == self.last_start_tag
    }

    // The tree leaves comments out.
    fn init_comment(&mut self) {}

    fn push_comment(&mut self, _: &[u8]) {}

    fn emit_current_comment(&mut self) {
        self.flush_text();
        self.feed(Token::CommentToken(StrTendril::new()));
    }

    fn init_doctype(&mut self) {
        self.doctype = DoctypeText::default();
    }

    fn push_doctype_name(&mut self, text: &[u8]) {
        self.doctype.name.extend_from_slice(text);
    }

    fn set_force_quirks(&mut self) {
        self.doctype.force_quirks = true;
    }

    fn set_doctype_public_identifier(&mut self, text: &[u8]) {
        self.doctype.public_id = Some(text.to_vec());
    }

    fn set_doctype_system_identifier(&mut self, text: &[u8]) {
        self.doctype.system_id = Some(text.to_vec());
    }

    fn push_doctype_public_identifier(&mut self, text: &[u8]) {
        self.doctype
            .public_id
            .get_or_insert_default()
            .extend_from_slice(text);
    }

    fn push_doctype_system_identifier(&mut self, text: &[u8]) {
        self.doctype
            .system_id
            .get_or_insert_default()
            .extend_from_slice(text);
    }

    fn emit_current_doctype(&mut self) {
        self.flush_text();
        let doctype = take(&mut self.doctype);
        self.feed(Token::DoctypeToken(Doctype {
            name: Some(tendril(&doctype.name)).filter(|name| !name.is_empty()),
            public_id: doctype.public_id.as_deref().map(tendril),
            system_id: doctype.system_id.as_deref().map(tendril),
            force_quirks: doctype.force_quirks,
        }));
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&mut self) -> bool {
        // The text may close or open elements.
        self.flush_text();
        self.builder
            .adjusted_current_node_present_but_not_in_html_namespace()
    }
}
