//! The tokens of a page, in bounded memory: of tags only the attributes that tables need, and of texts and
//! values only as much as a cell can hold.

use std::collections::VecDeque;

use html5gum::emitters::{Emitter, naive_next_state};
use html5gum::{Error, State};
use memchr::memmem;

/// Text from which a token is emitted.
const TEXT: usize = 16 << 10;
/// Longest name that is kept. No name of interest is longer.
const NAME: usize = 32;
/// Longest value of an attribute that is kept.
const VALUE: usize = 4 << 10;
/// Longest comment that is kept.
const COMMENT: usize = 64 << 10;

/// The attributes that are kept.
const KEPT: [&[u8]; 12] = [
    b"charset",
    b"class",
    b"colspan",
    b"content",
    b"hidden",
    b"http-equiv",
    b"rowspan",
    b"style",
    b"x:bool",
    b"x:err",
    b"x:num",
    b"x:str",
];

/// A token of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A part of a text. It may end inside a character.
    Text(Vec<u8>),
    Start(Tag),
    /// The name of an element that ends.
    End(Vec<u8>),
    /// Excel's remark that numbers of days count from 1904.
    Date1904,
}

/// A start tag.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// In lower case.
    pub(super) name: Vec<u8>,
    attributes: Vec<(&'static [u8], Vec<u8>)>,
}

impl Tag {
    /// The value of an attribute.
    pub(super) fn get(&self, name: &[u8]) -> Option<String> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(known, _)| *known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

/// Collects tokens.
#[derive(Default)]
pub(super) struct Tokens {
    ready: VecDeque<Token>,
    text: Vec<u8>,
    tag: Tag,
    end: bool,
    attribute: Vec<u8>,
    value: Vec<u8>,
    comment: Vec<u8>,
    last_start: Vec<u8>,
}

/// Appends as much as fits.
fn push(to: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let room = most.saturating_sub(to.len()).min(bytes.len());
    to.extend_from_slice(&bytes[..room]);
}

impl Tokens {
    fn flush_text(&mut self) {
        if !self.text.is_empty() {
            self.ready
                .push_back(Token::Text(std::mem::take(&mut self.text)));
        }
    }

    fn finish_attribute(&mut self) {
        let value = std::mem::take(&mut self.value);
        if let Some(name) = KEPT.iter().find(|name| **name == self.attribute)
            // The first of repeated attributes counts.
            && !self.tag.attributes.iter().any(|(known, _)| known == name)
        {
            self.tag.attributes.push((name, value));
        }
        self.attribute.clear();
    }

    fn start_tag(&mut self, end: bool) {
        self.tag = Tag::default();
        self.attribute.clear();
        self.value.clear();
        self.end = end;
    }
}

impl Emitter for Tokens {
    type Token = Token;

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start = name.unwrap_or_default().to_vec();
    }

    fn emit_eof(&mut self) {
        self.flush_text();
    }

    fn emit_error(&mut self, _: Error) {}

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn pop_token(&mut self) -> Option<Token> {
        self.ready.pop_front()
    }

    fn emit_string(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        if self.text.len() >= TEXT {
            self.flush_text();
        }
    }

    fn init_start_tag(&mut self) {
        self.start_tag(false);
    }

    fn init_end_tag(&mut self) {
        self.start_tag(true);
    }

    fn init_comment(&mut self) {
        self.comment.clear();
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        self.finish_attribute();
        self.flush_text();
        let tag = std::mem::take(&mut self.tag);
        if self.end {
            self.ready.push_back(Token::End(tag.name));
            return None;
        }
        self.last_start.clone_from(&tag.name);
        let next = naive_next_state(&tag.name);
        self.ready.push_back(Token::Start(tag));
        next
    }

    fn emit_current_comment(&mut self) {
        if memmem::find(&self.comment, b"<x:Date1904").is_some() {
            self.ready.push_back(Token::Date1904);
        }
    }

    fn emit_current_doctype(&mut self) {}

    fn set_self_closing(&mut self) {}

    fn set_force_quirks(&mut self) {}

    fn push_tag_name(&mut self, name: &[u8]) {
        push(&mut self.tag.name, name, NAME);
    }

    fn push_comment(&mut self, text: &[u8]) {
        push(&mut self.comment, text, COMMENT);
    }

    fn push_doctype_name(&mut self, _: &[u8]) {}

    fn init_doctype(&mut self) {}

    fn init_attribute(&mut self) {
        self.finish_attribute();
    }

    fn push_attribute_name(&mut self, name: &[u8]) {
        push(&mut self.attribute, name, NAME);
    }

    fn push_attribute_value(&mut self, value: &[u8]) {
        push(&mut self.value, value, VALUE);
    }

    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}

    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}

    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}

    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.end && !self.last_start.is_empty() && self.tag.name == self.last_start
    }
}

#[cfg(test)]
mod tests {
    use html5gum::{IoReader, Tokenizer};

    use super::*;

    fn tokens(html: &str) -> Vec<Token> {
        let reader = IoReader::new(html.as_bytes());
        let tokenizer = Tokenizer::new_with_emitter(reader, Tokens::default());
        tokenizer.map(Result::unwrap).collect()
    }

    #[test]
    fn tags_keep_what_tables_need() {
        let html = "<TD Class=a x:NUM='1.5' id=z class=b colspan=2>a&amp;b</Td><style>.a{<b>}</style>\
                    <!--[if mso]><x:Date1904/><![endif]-->";
        let tokens = tokens(html);
        let Token::Start(td) = &tokens[0] else {
            panic!("{tokens:?}");
        };
        assert_eq!(td.name, b"td");
        assert_eq!(td.get(b"class").as_deref(), Some("a"));
        assert_eq!(td.get(b"x:num").as_deref(), Some("1.5"));
        assert_eq!(td.get(b"colspan").as_deref(), Some("2"));
        assert_eq!(td.get(b"id"), None);
        assert_eq!(tokens[1], Token::Text(b"a&b".to_vec()));
        assert_eq!(tokens[2], Token::End(b"td".to_vec()));
        assert_eq!(tokens[4], Token::Text(b".a{<b>}".to_vec()));
        assert_eq!(tokens.last(), Some(&Token::Date1904));
    }

    #[test]
    fn tokens_are_bounded() {
        let long = "x".repeat(1 << 20);
        let html =
            format!("<td style=\"{long}\" {long}=1 colspan=3>{long}</td><{long}><!--{long}-->");
        for token in tokens(&html) {
            match token {
                Token::Text(text) => assert!(text.len() < 2 * TEXT, "{}", text.len()),
                Token::Start(tag) => {
                    assert!(tag.name.len() <= NAME);
                    let style = tag.get(b"style").unwrap_or_default();
                    assert!(style.len() <= VALUE);
                }
                Token::End(_) | Token::Date1904 => {}
            }
        }
    }
}
