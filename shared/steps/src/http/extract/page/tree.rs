//! The elements and texts of a page, in little memory: 32 bytes each, plus their text. Elements that the
//! parser clones share their attributes.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;

use html5ever::{LocalName, QualName, local_name, ns};

/// A node of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NodeId(NonZeroU32);

impl NodeId {
    pub(super) const DOCUMENT: NodeId = NodeId(NonZeroU32::MIN);

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Names are numbered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NameId(u32);

/// Attributes of an element. Elements can share them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ListId(pub(super) u32);

/// A part of the page's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Document,
    /// The content of a `<template>`, its only child.
    Template,
    Element(NameId, ListId),
    Text(Span),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: Option<NodeId>,
    pub(super) previous: Option<NodeId>,
    pub(super) next: Option<NodeId>,
    pub(super) first: Option<NodeId>,
    pub(super) last: Option<NodeId>,
    pub(super) content: Content,
}

#[derive(Clone, Copy, Debug)]
struct Attribute {
    name: NameId,
    value: Span,
}

/// The nodes of a page. Comments are left out.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    names: Vec<Rc<QualName>>,
    numbers: HashMap<Rc<QualName>, NameId>,
    lists: Vec<Span>,
    attributes: Vec<Attribute>,
    /// All texts and values of attributes.
    text: String,
    bytes: usize,
}

/// Approximate memory of a name that occurs for the first time.
const NAME_BYTES: usize = 200;

impl Tree {
    pub(super) const NO_ATTRIBUTES: ListId = ListId(0);

    pub(super) fn new() -> Tree {
        let mut tree = Tree {
            nodes: Vec::new(),
            names: Vec::new(),
            numbers: HashMap::new(),
            lists: vec![Span { start: 0, end: 0 }],
            attributes: Vec::new(),
            text: String::new(),
            bytes: 0,
        };
        tree.add(Content::Document);
        tree
    }

    /// Approximate memory of the tree.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// Adds a node without a parent. Numbers do not overflow: a tree is stopped long before.
    fn add(&mut self, content: Content) -> NodeId {
        self.bytes += size_of::<Node>();
        self.nodes.push(Node {
            parent: None,
            previous: None,
            next: None,
            first: None,
            last: None,
            content,
        });
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        NodeId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
    }

    /// Adds an element without a parent.
    pub(super) fn add_element(&mut self, name: NameId, attributes: ListId) -> NodeId {
        let element = self.add(Content::Element(name, attributes));
        let name = &*self.names[name.0 as usize];
        if name.ns == ns!(html) && name.local == local_name!("template") {
            let content = self.add(Content::Template);
            self.append(element, content);
        }
        element
    }

    /// The number of a name.
    pub(super) fn number(&mut self, name: QualName) -> NameId {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        self.bytes += NAME_BYTES + name.local.len();
        let number = NameId(self.names.len() as u32);
        let name = Rc::new(name);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn name(&self, name: NameId) -> &Rc<QualName> {
        &self.names[name.0 as usize]
    }

    fn keep(&mut self, text: &str) -> Span {
        self.bytes += text.len();
        let start = self.text.len() as u32;
        self.text.push_str(text);
        let end = self.text.len() as u32;
        Span { start, end }
    }

    pub(super) fn text(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// Adds attributes, each name at most once.
    pub(super) fn add_attributes<'a>(
        &mut self,
        attributes: impl IntoIterator<Item = (QualName, &'a str)>,
    ) -> ListId {
        let start = self.attributes.len();
        for (name, value) in attributes {
            let name = self.number(name);
            let value = self.keep(value);
            self.attributes.push(Attribute { name, value });
        }
        self.list_from(start)
    }

    fn list_from(&mut self, start: usize) -> ListId {
        let end = self.attributes.len();
        if start == end {
            return Tree::NO_ATTRIBUTES;
        }
        self.bytes += (end - start) * size_of::<Attribute>() + size_of::<Span>();
        self.lists.push(Span {
            start: start as u32,
            end: end as u32,
        });
        ListId(self.lists.len() as u32 - 1)
    }

    fn list(&self, list: ListId) -> &[Attribute] {
        let Span { start, end } = self.lists[list.0 as usize];
        &self.attributes[start as usize..end as usize]
    }

    /// Adds those attributes that the element does not have.
    pub(super) fn add_missing<'a>(
        &mut self,
        element: NodeId,
        attributes: impl IntoIterator<Item = (QualName, &'a str)>,
    ) {
        let Content::Element(name, list) = self.node(element).content else {
            return;
        };
        let start = self.attributes.len();
        let Span { start: from, end } = self.lists[list.0 as usize];
        self.attributes
            .extend_from_within(from as usize..end as usize);
        let before = self.attributes.len();
        for (name, value) in attributes {
            let name = self.number(name);
            if self.attributes[start..before]
                .iter()
                .all(|attribute| attribute.name != name)
            {
                let value = self.keep(value);
                self.attributes.push(Attribute { name, value });
            }
        }
        match self.attributes.len() == before {
            true => self.attributes.truncate(start),
            false => {
                let list = self.list_from(start);
                self.node_mut(element).content = Content::Element(name, list);
            }
        }
    }

    pub(super) fn attribute_count(&self, element: NodeId) -> usize {
        match self.node(element).content {
            Content::Element(_, list) => self.list(list).len(),
            _ => 0,
        }
    }

    /// The attributes of an element.
    pub(super) fn attributes(&self, element: NodeId) -> impl Iterator<Item = (&QualName, &str)> {
        let list = match self.node(element).content {
            Content::Element(_, list) => list,
            _ => Tree::NO_ATTRIBUTES,
        };
        let list = self.list(list).iter();
        list.map(|attribute| (&**self.name(attribute.name), self.text(attribute.value)))
    }

    /// The value of an attribute without a namespace.
    pub(super) fn attribute(&self, element: NodeId, name: &LocalName) -> Option<&str> {
        self.attributes(element)
            .find(|(found, _)| found.local == *name && found.ns == ns!())
            .map(|(_, value)| value)
    }

    pub(super) fn append(&mut self, parent: NodeId, child: NodeId) {
        let last = self.node_mut(parent).last.replace(child);
        let node = self.node_mut(child);
        (node.parent, node.previous, node.next) = (Some(parent), last, None);
        match last {
            Some(last) => self.node_mut(last).next = Some(child),
            None => self.node_mut(parent).first = Some(child),
        }
    }

    /// Inserts a node before another, which has a parent.
    pub(super) fn insert_before(&mut self, sibling: NodeId, new: NodeId) {
        let Node {
            parent, previous, ..
        } = *self.node(sibling);
        let node = self.node_mut(new);
        (node.parent, node.previous, node.next) = (parent, previous, Some(sibling));
        self.node_mut(sibling).previous = Some(new);
        match (previous, parent) {
            (Some(previous), _) => self.node_mut(previous).next = Some(new),
            (None, Some(parent)) => self.node_mut(parent).first = Some(new),
            (None, None) => {}
        }
    }

    pub(super) fn detach(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        let (previous, next) = (node.previous.take(), node.next.take());
        let Some(parent) = node.parent.take() else {
            return;
        };
        match previous {
            Some(previous) => self.node_mut(previous).next = next,
            None => self.node_mut(parent).first = next,
        }
        match next {
            Some(next) => self.node_mut(next).previous = previous,
            None => self.node_mut(parent).last = previous,
        }
    }

    /// Appends a text, which is joined with a text before it if possible.
    pub(super) fn append_text(&mut self, parent: NodeId, text: &str) {
        let last = self.node(parent).last;
        if let Some(new) = self.join_text(last, text) {
            self.append(parent, new);
        }
    }

    /// Inserts a text before a node, which has a parent.
    pub(super) fn insert_text_before(&mut self, sibling: NodeId, text: &str) {
        let previous = self.node(sibling).previous;
        if let Some(new) = self.join_text(previous, text) {
            self.insert_before(sibling, new);
        }
    }

    /// A node for a text, unless the one before it holds it now. Two texts that are not joined follow
    /// each other, which changes neither what selectors match nor what is read.
    fn join_text(&mut self, before: Option<NodeId>, text: &str) -> Option<NodeId> {
        let Span { start, end } = self.keep(text);
        if let Some(id) = before
            && let Content::Text(span) = &mut self.node_mut(id).content
            && span.end == start
        {
            span.end = end;
            return None;
        }
        Some(self.add(Content::Text(Span { start, end })))
    }

    /// The node after this one in document order, within `root`.
    pub(super) fn after(&self, id: NodeId, root: NodeId) -> Option<NodeId> {
        match self.node(id).first {
            Some(first) => Some(first),
            None => self.beyond(id, root),
        }
    }

    /// The node after this one and all nodes in it, in document order, within `root`.
    pub(super) fn beyond(&self, id: NodeId, root: NodeId) -> Option<NodeId> {
        let mut id = id;
        while id != root {
            let node = self.node(id);
            if node.next.is_some() {
                return node.next;
            }
            id = node.parent?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_32_bytes() {
        assert_eq!(size_of::<Node>(), 32);
        assert_eq!(size_of::<Attribute>(), 12);
    }
}
