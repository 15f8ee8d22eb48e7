//! Finds elements by CSS selectors. Each move in the tree is a step, because some selectors look at all
//! siblings or descendants of each element.

use std::fmt;

use cssparser::Parser;
use html5ever::{LocalName, Namespace, local_name, ns};
use scraper::CaseSensitivity;
use scraper::error::SelectorErrorKind;
use scraper::selector::{CssLocalName, CssString, NonTSPseudoClass, PseudoElement, Simple};
use selectors::OpaqueElement;
use selectors::attr::{AttrSelectorOperation, NamespaceConstraint};
use selectors::bloom::BloomFilter;
use selectors::context::{
    MatchingContext, MatchingForInvalidation, MatchingMode, NeedsSelectorFlags, QuirksMode,
    SelectorCaches,
};
use selectors::matching::{ElementSelectorFlags, matches_selector};
use selectors::parser::{ParseRelative, SelectorList};

use super::super::budget::Budget;
use super::Page;
use super::tree::{Content, Node, NodeId, Tree};

/// Bytes of an attribute read in one step.
const STEP_BYTES: usize = 16;

/// What is wrong with a selector, in words.
fn cause(error: &SelectorErrorKind) -> String {
    use selectors::parser::SelectorParseErrorKind as Kind;
    let SelectorErrorKind::UnexpectedSelectorParseError(kind) = error else {
        return error.to_string();
    };
    let words = match kind {
        Kind::EmptySelector => "a selector is missing",
        Kind::DanglingCombinator => "nothing follows the last combinator",
        Kind::ClassNeedsIdent => "a class name must follow the dot",
        Kind::UnsupportedPseudoClassOrElement => {
            "this pseudo-class or pseudo-element is not supported"
        }
        Kind::NoIdentForPseudo
        | Kind::PseudoElementExpectedIdent
        | Kind::PseudoElementExpectedColon => "a name must follow the colon",
        Kind::NoQualifiedNameInAttributeSelector | Kind::InvalidQualNameInAttr => {
            "the name of an attribute is missing"
        }
        Kind::BadValueInAttr => "the value of an attribute must be a word or be quoted",
        Kind::UnexpectedTokenInAttributeSelector | Kind::ExpectedBarInAttr => {
            "an attribute is followed by something unexpected"
        }
        Kind::UnexpectedIdent => "this name is not expected here",
        other => return format!("it is not valid ({other:?})"),
    };
    words.to_owned()
}

/// A list of selectors.
pub(in super::super) struct Selector(SelectorList<Simple>);

impl Selector {
    pub(in super::super) fn parse(text: &str) -> Result<Selector, String> {
        let list = SelectorList::parse(
            &scraper::selector::Parser,
            &mut Parser::new(text),
            ParseRelative::No,
        );
        match list {
            Ok(list) => Ok(Selector(list)),
            Err(error) => Err(cause(&SelectorErrorKind::from(error))),
        }
    }

    fn matches(&self, element: &Element<'_>, caches: &mut SelectorCaches) -> bool {
        let mut context = MatchingContext::new(
            MatchingMode::Normal,
            None,
            caches,
            QuirksMode::NoQuirks,
            NeedsSelectorFlags::No,
            MatchingForInvalidation::No,
        );
        let mut list = self.0.slice().iter();
        list.any(|selector| matches_selector(selector, 0, None, element, &mut context))
    }
}

impl Page {
    /// The elements that a selector matches, in document order. They end early if the budget is spent.
    pub(in super::super) fn select<'a>(
        &'a self,
        selector: &'a Selector,
        budget: &'a Budget,
    ) -> impl Iterator<Item = Element<'a>> {
        let mut caches = SelectorCaches::default();
        let mut at = Some(NodeId::DOCUMENT);
        std::iter::from_fn(move || {
            while let Some(id) = at.take() {
                at = self.tree.after(id, NodeId::DOCUMENT);
                let is_element = matches!(self.tree.node(id).content, Content::Element(..));
                let page = self;
                let element = Element { page, id, budget };
                if !budget.spend(1) {
                    return None;
                }
                if is_element && selector.matches(&element, &mut caches) {
                    // A match that was found without the budget may not be one.
                    return budget.spend(0).then_some(element);
                }
            }
            None
        })
    }
}

/// An element of a page, and what may be spent on it.
#[derive(Clone, Copy)]
pub(in super::super) struct Element<'a> {
    page: &'a Page,
    id: NodeId,
    budget: &'a Budget,
}

impl<'a> Element<'a> {
    pub(super) fn tree(&self) -> &'a Tree {
        &self.page.tree
    }

    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    pub(super) fn is_xml(&self) -> bool {
        self.page.is_xml
    }

    pub(super) fn budget(&self) -> &'a Budget {
        self.budget
    }

    fn node(&self) -> &'a Node {
        self.tree().node(self.id)
    }

    fn name(&self) -> Option<&'a html5ever::QualName> {
        match self.node().content {
            Content::Element(name, _) => Some(self.tree().name(name)),
            _ => None,
        }
    }

    /// The value of an attribute without a namespace.
    pub(in super::super) fn attribute(&self, name: &LocalName) -> Option<&'a str> {
        self.budget.spend(self.tree().attribute_count(self.id));
        match self.page.is_xml {
            true => {
                let lower = LocalName::from(name.to_ascii_lowercase());
                self.tree().attribute(self.id, &lower)
            }
            false => self.tree().attribute(self.id, name),
        }
    }

    /// The first element from this node on, to the next or previous ones.
    fn find(&self, from: Option<NodeId>, on: impl Fn(&Node) -> Option<NodeId>) -> Option<Self> {
        let mut at = from;
        while let Some(id) = at {
            if !self.budget.spend(1) {
                return None;
            }
            let node = self.tree().node(id);
            if let Content::Element(..) = node.content {
                return Some(Element { id, ..*self });
            }
            at = on(node);
        }
        None
    }
}

impl fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name().map(|name| &name.local))
    }
}

impl selectors::Element for Element<'_> {
    type Impl = Simple;

    fn opaque(&self) -> OpaqueElement {
        OpaqueElement::new(self.node())
    }

    fn parent_element(&self) -> Option<Self> {
        let parent = self.node().parent?;
        self.find(Some(parent), |_| None)
    }

    fn parent_node_is_shadow_root(&self) -> bool {
        false
    }

    fn containing_shadow_host(&self) -> Option<Self> {
        None
    }

    fn is_pseudo_element(&self) -> bool {
        false
    }

    fn prev_sibling_element(&self) -> Option<Self> {
        self.find(self.node().previous, |node| node.previous)
    }

    fn next_sibling_element(&self) -> Option<Self> {
        self.find(self.node().next, |node| node.next)
    }

    fn first_element_child(&self) -> Option<Self> {
        self.find(self.node().first, |node| node.next)
    }

    fn is_html_element_in_html_document(&self) -> bool {
        self.page.is_xml || self.name().is_some_and(|name| name.ns == ns!(html))
    }

    fn has_local_name(&self, local: &CssLocalName) -> bool {
        self.name().is_some_and(|name| name.local == local.0)
    }

    fn has_namespace(&self, namespace: &Namespace) -> bool {
        self.name().is_some_and(|name| name.ns == *namespace)
    }

    fn is_same_type(&self, other: &Self) -> bool {
        self.name() == other.name()
    }

    fn attr_matches(
        &self,
        namespace: &NamespaceConstraint<&Namespace>,
        local: &CssLocalName,
        operation: &AttrSelectorOperation<&CssString>,
    ) -> bool {
        self.budget.spend(self.tree().attribute_count(self.id));
        self.tree().attributes(self.id).any(|(name, value)| {
            let in_namespace = match namespace {
                NamespaceConstraint::Any => true,
                NamespaceConstraint::Specific(url) => **url == name.ns,
            };
            in_namespace
                && name.local == local.0
                && self.budget.spend(value.len() / STEP_BYTES)
                && operation.eval_str(value)
        })
    }

    fn match_non_ts_pseudo_class(
        &self,
        _: &NonTSPseudoClass,
        _: &mut MatchingContext<'_, Simple>,
    ) -> bool {
        false
    }

    fn match_pseudo_element(&self, _: &PseudoElement, _: &mut MatchingContext<'_, Simple>) -> bool {
        false
    }

    fn apply_selector_flags(&self, _: ElementSelectorFlags) {}

    fn is_link(&self) -> bool {
        self.has_local_name(&CssLocalName(local_name!("link")))
    }

    fn is_html_slot_element(&self) -> bool {
        true
    }

    fn has_id(&self, id: &CssLocalName, case: CaseSensitivity) -> bool {
        let found = self.attribute(&local_name!("id"));
        found.is_some_and(|found| case.eq(id.0.as_bytes(), found.as_bytes()))
    }

    fn has_class(&self, class: &CssLocalName, case: CaseSensitivity) -> bool {
        let classes = self.attribute(&local_name!("class")).unwrap_or_default();
        self.budget.spend(classes.len() / STEP_BYTES)
            && classes
                .split_ascii_whitespace()
                .any(|found| case.eq(class.0.as_bytes(), found.as_bytes()))
    }

    fn has_custom_state(&self, _: &CssLocalName) -> bool {
        false
    }

    fn imported_part(&self, _: &CssLocalName) -> Option<CssLocalName> {
        None
    }

    fn is_part(&self, _: &CssLocalName) -> bool {
        false
    }

    fn is_empty(&self) -> bool {
        // Nodes are elements and texts, except in a `<template>`.
        self.node()
            .first
            .is_none_or(|first| matches!(self.tree().node(first).content, Content::Template))
    }

    fn is_root(&self) -> bool {
        self.node().parent == Some(NodeId::DOCUMENT)
    }

    fn add_element_unique_hashes(&self, _: &mut BloomFilter) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_selector_names_the_cause() {
        for (text, message) in [
            ("td..owner", "a class name must follow the dot"),
            ("td >", "nothing follows the last combinator"),
            ("", "a selector is missing"),
            ("a:visible-to-all", "is not supported"),
            ("a[=x]", "the name of an attribute is missing"),
        ] {
            let error = Selector::parse(text).err().unwrap();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
