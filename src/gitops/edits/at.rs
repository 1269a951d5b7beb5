//! A node of a file together with the way to it.

use crate::gitops::splice::{Key, show};
use crate::yaml::{Content, Node, Stream};

/// A node, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    /// The document, counted from 0.
    pub(super) document: usize,
    /// The steps from its root.
    pub(super) steps: Vec<Key>,
    /// The node.
    pub(super) node: &'a Node,
}

impl<'a> At<'a> {
    /// The root of a document.
    pub(super) fn root(document: usize, node: &'a Node) -> Self {
        Self { document, steps: Vec::new(), node }
    }

    /// The roots of all documents that have one.
    pub(super) fn roots(stream: &'a Stream) -> Vec<Self> {
        let documents = stream.documents.iter().enumerate();
        documents
            .filter_map(|(at, document)| Some(Self::root(at, document.root.as_ref()?)))
            .collect()
    }

    fn below(&self, step: Key, node: &'a Node) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { document: self.document, steps, node }
    }

    /// The value of a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        self.node.get(key).map(|node| self.below(Key::Name(key.into()), node))
    }

    /// The value at the end of several keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |at, key| at.get(key))
    }

    /// The text of a scalar at the end of several keys.
    pub(super) fn text(&self, keys: &[&str]) -> Option<&'a str> {
        self.node.at(keys)?.scalar()
    }

    /// The items of a sequence.
    pub(super) fn items(&self) -> Vec<Self> {
        let items = self.node.items().unwrap_or_default();
        items.iter().enumerate().map(|(i, node)| self.below(Key::Index(i), node)).collect()
    }

    /// The keys of a mapping that are scalars, with their values.
    pub(super) fn pairs(&self) -> Vec<(&'a str, Self)> {
        let pairs = self.node.pairs().unwrap_or_default().iter();
        pairs
            .filter_map(|(key, node)| {
                let key = key.scalar()?;
                Some((key, self.below(Key::Name(key.into()), node)))
            })
            .collect()
    }

    /// Whether it is a mapping.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.content, Content::Mapping { .. })
    }

    /// Calls `visit` with this node and the values below it, in the order of the text.
    pub(super) fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        self.items().iter().for_each(|item| item.walk(visit));
        self.pairs().iter().for_each(|(_, value)| value.walk(visit));
    }

    /// The way as it is written in `--set`.
    pub(super) fn path(&self) -> String {
        show(&self.steps)
    }
}
