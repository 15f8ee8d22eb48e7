//! Receives the elements and texts that the parser creates, and counts its work.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::{Attribute, LocalName, QualName, ns};

use super::super::budget::Budget;
use super::tree::{ListId, NodeId, Tree};

/// Steps that an element, and each of its attributes, costs. Other calls cost one step.
const ELEMENT_STEPS: usize = 8;
const ATTRIBUTE_STEPS: usize = 4;

/// A node that the parser refers to.
#[derive(Clone)]
pub(super) struct Handle {
    /// `None` for a comment, which the tree leaves out.
    id: Option<NodeId>,
    name: Rc<QualName>,
}

pub(super) struct Sink<'a> {
    tree: RefCell<Tree>,
    budget: &'a Budget,
    shared: RefCell<Shared>,
    /// The name of everything that is not an element.
    unnamed: Rc<QualName>,
}

/// Attributes that the parser sees as one attribute, because it clones them many times. Its value is
/// the number of the list in the tree.
struct Shared {
    /// Not a name that a page can contain.
    mark: QualName,
    /// By two hashes of names and values, with keys that a page cannot know.
    lists: HashMap<[u64; 2], ListId>,
    keys: [RandomState; 2],
}

impl<'a> Sink<'a> {
    pub(super) fn new(budget: &'a Budget) -> Sink<'a> {
        let unnamed = |local: &str| QualName::new(None, ns!(), LocalName::from(local));
        Sink {
            tree: RefCell::new(Tree::new()),
            budget,
            shared: RefCell::new(Shared {
                mark: unnamed(" "),
                lists: HashMap::new(),
                keys: [RandomState::new(), RandomState::new()],
            }),
            unnamed: Rc::new(unnamed("")),
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        self.budget
    }

    /// Approximate memory of the page so far.
    pub(super) fn bytes(&self) -> usize {
        self.tree.borrow().bytes()
    }

    /// Stores attributes, and returns one that stands for them. Equal attributes are stored once,
    /// whatever their order: the parser compares them.
    pub(super) fn share(&self, attributes: &[Attribute]) -> Attribute {
        let mut sorted: Vec<&Attribute> = attributes.iter().collect();
        sorted.sort_unstable();
        let mut shared = self.shared.borrow_mut();
        let hashes = shared.keys.each_ref().map(|key| {
            let mut hasher = key.build_hasher();
            for attribute in &sorted {
                for text in [&*attribute.name.local, &*attribute.value] {
                    hasher.write_usize(text.len());
                    hasher.write(text.as_bytes());
                }
            }
            hasher.finish()
        });
        let list = *shared.lists.entry(hashes).or_insert_with(|| {
            let mut tree = self.tree.borrow_mut();
            tree.add_attributes(pairs(attributes))
        });
        Attribute {
            name: shared.mark.clone(),
            value: StrTendril::from_slice(&list.0.to_string()),
        }
    }

    fn list(&self, attributes: &[Attribute]) -> ListId {
        if let [only] = attributes
            && only.name == self.shared.borrow().mark
            && let Ok(number) = only.value.parse()
        {
            return ListId(number);
        }
        self.budget.spend(ATTRIBUTE_STEPS * attributes.len());
        self.tree.borrow_mut().add_attributes(pairs(attributes))
    }

    fn handle(&self, id: NodeId) -> Handle {
        Handle {
            id: Some(id),
            name: self.unnamed.clone(),
        }
    }
}

fn pairs(attributes: &[Attribute]) -> impl Iterator<Item = (QualName, &str)> {
    attributes
        .iter()
        .map(|attribute| (attribute.name.clone(), &*attribute.value))
}

impl TreeSink for Sink<'_> {
    type Handle = Handle;
    type Output = Tree;
    type ElemName<'a>
        = &'a QualName
    where
        Self: 'a;

    fn finish(self) -> Tree {
        self.tree.into_inner()
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn get_document(&self) -> Handle {
        self.handle(NodeId::DOCUMENT)
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> &'a QualName {
        self.budget.spend(1);
        &target.name
    }

    fn same_node(&self, x: &Handle, y: &Handle) -> bool {
        self.budget.spend(1);
        x.id == y.id
    }

    fn create_element(
        &self,
        name: QualName,
        attributes: Vec<Attribute>,
        _: ElementFlags,
    ) -> Handle {
        self.budget.spend(ELEMENT_STEPS);
        let list = self.list(&attributes);
        let mut tree = self.tree.borrow_mut();
        let name = tree.number(name);
        Handle {
            id: Some(tree.add_element(name, list)),
            name: tree.name(name).clone(),
        }
    }

    fn create_comment(&self, _: StrTendril) -> Handle {
        Handle {
            id: None,
            name: self.unnamed.clone(),
        }
    }

    fn create_pi(&self, _: StrTendril, data: StrTendril) -> Handle {
        self.create_comment(data)
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        self.budget.spend(1);
        let Some(parent) = parent.id else { return };
        let mut tree = self.tree.borrow_mut();
        match child {
            NodeOrText::AppendNode(Handle { id: Some(id), .. }) => tree.append(parent, id),
            NodeOrText::AppendNode(_) => {}
            NodeOrText::AppendText(text) => tree.append_text(parent, &text),
        }
    }

    fn append_before_sibling(&self, sibling: &Handle, new: NodeOrText<Handle>) {
        self.budget.spend(1);
        let Some(sibling) = sibling.id else { return };
        let mut tree = self.tree.borrow_mut();
        if let NodeOrText::AppendNode(Handle { id: Some(id), .. }) = &new {
            tree.detach(*id);
        }
        if tree.node(sibling).parent.is_none() {
            return;
        }
        match new {
            NodeOrText::AppendNode(Handle { id: Some(id), .. }) => tree.insert_before(sibling, id),
            NodeOrText::AppendNode(_) => {}
            NodeOrText::AppendText(text) => tree.insert_text_before(sibling, &text),
        }
    }

    fn append_based_on_parent_node(
        &self,
        element: &Handle,
        previous: &Handle,
        child: NodeOrText<Handle>,
    ) {
        let parent = element.id.and_then(|id| self.tree.borrow().node(id).parent);
        match parent {
            Some(_) => self.append_before_sibling(element, child),
            None => self.append(previous, child),
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Handle) -> Handle {
        let content = target.id.and_then(|id| self.tree.borrow().node(id).first);
        self.handle(content.unwrap_or(NodeId::DOCUMENT))
    }

    fn add_attrs_if_missing(&self, target: &Handle, attributes: Vec<Attribute>) {
        let Some(id) = target.id else { return };
        let mut tree = self.tree.borrow_mut();
        // Each is compared with each, and the list is copied.
        let steps = tree.attribute_count(id) * (attributes.len() + ATTRIBUTE_STEPS);
        if self
            .budget
            .spend(steps + ATTRIBUTE_STEPS * attributes.len())
        {
            tree.add_missing(id, pairs(&attributes));
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        self.budget.spend(1);
        if let Some(id) = target.id {
            self.tree.borrow_mut().detach(id);
        }
    }

    fn reparent_children(&self, node: &Handle, new_parent: &Handle) {
        let (Some(node), Some(new_parent)) = (node.id, new_parent.id) else {
            return;
        };
        let mut tree = self.tree.borrow_mut();
        while let Some(child) = tree.node(node).first {
            self.budget.spend(1);
            tree.detach(child);
            tree.append(new_parent, child);
        }
    }
}
