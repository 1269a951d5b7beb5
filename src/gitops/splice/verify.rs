//! The safety net: the new text, read again, is the old tree with exactly the changes.

use std::collections::BTreeMap;

use super::resolve::File;
use super::{Action, Change, EditError, Key, Problem, show};
use crate::yaml::{Content, Node, Style, Value, is_string_for_all, parse};

/// The changes of a node and of what is below it.
#[derive(Debug, Default)]
pub(super) struct Branch<'a> {
    set: Option<&'a Value>,
    remove: bool,
    /// New keys and items, in the order in which they are asked for.
    inserts: Vec<(&'a Key, &'a Value)>,
    below: BTreeMap<&'a Key, Branch<'a>>,
}

/// The changes of each document.
pub(super) type Plan<'a> = BTreeMap<usize, Branch<'a>>;

impl<'a> Branch<'a> {
    /// The changes as a tree. Two different changes of one place are an error.
    pub(super) fn of(file: &File<'_>, changes: &'a [Change]) -> Result<Plan<'a>, EditError> {
        let mut plan = Plan::new();
        for change in changes {
            let root = plan.entry(change.document).or_default();
            if !root.add(change) {
                let offset = file.root(change.document)?.span.start;
                return Err(file.error(offset, Problem::Overlap { path: show(&change.path) }));
            }
        }
        let overlap = plan.values().find_map(|branch| branch.overlap(&mut Vec::new()));
        match overlap {
            Some(path) => Err(file.error(0, Problem::Overlap { path })),
            None => Ok(plan),
        }
    }

    /// Adds a change; false if there is another one of the same place.
    fn add(&mut self, change: &'a Change) -> bool {
        let (path, last) = match (&change.action, change.path.split_last()) {
            (Action::Insert(_), Some((last, path))) => (path, Some(last)),
            _ => (change.path.as_slice(), None),
        };
        let mut branch = self;
        for key in path {
            branch = branch.below.entry(key).or_default();
        }
        match (&change.action, last) {
            (Action::Set(value), _) => branch.set.replace(value).is_none_or(|old| old == value),
            (Action::Remove, _) => {
                branch.remove = true;
                true
            }
            (Action::Insert(value), Some(key)) => {
                let known = branch.inserts.iter().find(|(other, _)| *other == key);
                let differs = matches!(key, Key::Name(_)) && known.is_some();
                branch.inserts.push((key, value));
                !differs
            }
            // All of a document is not inserted.
            (Action::Insert(_), None) => false,
        }
    }

    /// The path of a place that is changed as a whole and in part.
    fn overlap(&self, path: &mut Vec<Key>) -> Option<String> {
        let inside = !self.below.is_empty() || !self.inserts.is_empty();
        if (self.remove && (self.set.is_some() || inside)) || (self.set.is_some() && inside) {
            return Some(show(path));
        }
        self.below.iter().find_map(|(key, branch)| {
            path.push((*key).clone());
            let found = branch.overlap(path);
            path.pop();
            found
        })
    }
}

/// Compares the new text with the old one and what was asked for.
pub(super) fn verify(file: &File<'_>, new: &str, plan: &Plan<'_>) -> Result<(), EditError> {
    let wrong = |path: String| file.error(0, Problem::Wrong { path });
    let Ok(stream) = parse(new) else { return Err(wrong(".".to_owned())) };
    let (old, new) = (&file.stream.documents, &stream.documents);
    if old.len() != new.len() {
        return Err(wrong(".".to_owned()));
    }
    for (number, (old, new)) in old.iter().zip(new).enumerate() {
        let mut path = Vec::new();
        let equal = match (&old.root, &new.root) {
            (None, None) => true,
            (Some(old), Some(new)) => same(old, new, plan.get(&number), &mut path),
            _ => false,
        };
        if !equal {
            return Err(wrong(show(&path)));
        }
    }
    Ok(())
}

/// Whether the new node is the old one with the changes; the path is left where it is not.
fn same(old: &Node, new: &Node, branch: Option<&Branch<'_>>, path: &mut Vec<Key>) -> bool {
    let names = |node: &Node| {
        let anchor = node.anchor.as_ref().map(|anchor| anchor.name.clone());
        (anchor, node.tag.as_ref().map(|tag| tag.name.clone()))
    };
    if names(old) != names(new) {
        return false;
    }
    let Some(branch) = branch else { return unchanged(old, new, path) };
    if let Some(value) = branch.set {
        return is_value(new, value);
    }
    match (&old.content, &new.content) {
        (Content::Sequence { items: old, .. }, Content::Sequence { items: new, .. }) => {
            same_items(old, new, branch, path)
        }
        (Content::Mapping { pairs: old, .. }, Content::Mapping { pairs: new, .. }) => {
            same_pairs(old, new, branch, path)
        }
        // Into nothing, all is inserted.
        (Content::Scalar { .. }, Content::Sequence { items, .. }) if branch.below.is_empty() => {
            same_items(&[], items, branch, path)
        }
        (Content::Scalar { .. }, Content::Mapping { pairs, .. }) if branch.below.is_empty() => {
            same_pairs(&[], pairs, branch, path)
        }
        _ => false,
    }
}

fn same_items(old: &[Node], new: &[Node], branch: &Branch<'_>, path: &mut Vec<Key>) -> bool {
    let mut new = new.iter();
    for index in 0..=old.len() {
        let key = Key::Index(index);
        for (_, value) in branch.inserts.iter().filter(|(at, _)| **at == key) {
            if !new.next().is_some_and(|new| is_inserted(new, value)) {
                return false;
            }
        }
        let below = branch.below.get(&key);
        let Some(old) = old.get(index) else { break };
        if below.is_some_and(|branch| branch.remove) {
            continue;
        }
        path.push(key);
        if !new.next().is_some_and(|new| same(old, new, below, path)) {
            return false;
        }
        path.pop();
    }
    new.next().is_none()
}

fn same_pairs(
    old: &[(Node, Node)],
    new: &[(Node, Node)],
    branch: &Branch<'_>,
    path: &mut Vec<Key>,
) -> bool {
    let mut new = new.iter();
    for (key, old) in old {
        let name = key.scalar().map(Key::from);
        let below = name.as_ref().and_then(|name| branch.below.get(name));
        if below.is_some_and(|branch| branch.remove) {
            continue;
        }
        path.extend(name.clone());
        let next = new.next();
        let equal = next.is_some_and(|(new_key, new)| {
            unchanged(key, new_key, &mut Vec::new()) && same(old, new, below, path)
        });
        if !equal {
            return false;
        }
        path.truncate(path.len() - usize::from(name.is_some()));
    }
    let inserted = branch.inserts.iter().all(|(name, value)| {
        let next = new.next();
        next.is_some_and(|(key, node)| is_key(key, name) && is_inserted(node, value))
    });
    inserted && new.next().is_none()
}

/// Whether nothing but the place is different.
fn unchanged(old: &Node, new: &Node, path: &mut Vec<Key>) -> bool {
    let anchors = old.anchor.as_ref().map(|anchor| &anchor.name)
        == new.anchor.as_ref().map(|anchor| &anchor.name);
    let tags = old.tag.as_ref().map(|tag| &tag.name) == new.tag.as_ref().map(|tag| &tag.name);
    let contents = match (&old.content, &new.content) {
        (Content::Scalar { .. }, Content::Scalar { .. }) => {
            old.content == new.content && old.is_absent() == new.is_absent()
        }
        // No anchor is ever added, and none that is used is removed, so the name is enough.
        (Content::Alias { name: old, .. }, Content::Alias { name: new, .. }) => old == new,
        (
            Content::Sequence { items: old, flow },
            Content::Sequence { items: new, flow: new_flow },
        ) => flow == new_flow && same_items(old, new, &Branch::default(), path),
        (
            Content::Mapping { pairs: old, flow },
            Content::Mapping { pairs: new, flow: new_flow },
        ) => flow == new_flow && same_pairs(old, new, &Branch::default(), path),
        _ => false,
    };
    anchors && tags && contents
}

fn is_inserted(node: &Node, value: &Value) -> bool {
    node.anchor.is_none() && node.tag.is_none() && is_value(node, value)
}

/// Whether a node is read as a value by all readers.
pub(super) fn is_value(node: &Node, value: &Value) -> bool {
    match (&node.content, value) {
        (Content::Scalar { value: text, style }, Value::Text(wanted)) => {
            let typed = node.tag.is_some() || *style != Style::Plain || is_string_for_all(text);
            text == wanted && typed && !node.is_absent()
        }
        (Content::Scalar { value: text, style }, Value::Raw(wanted)) => {
            text == wanted && *style == Style::Plain && !node.is_absent()
        }
        (Content::Sequence { items, .. }, Value::List(values)) => {
            items.len() == values.len()
                && items.iter().zip(values).all(|(item, value)| is_inserted(item, value))
        }
        (Content::Mapping { pairs, .. }, Value::Map(values)) => {
            pairs.len() == values.len()
                && pairs.iter().zip(values).all(|((key, node), (name, value))| {
                    is_key(key, &Key::Name(name.clone())) && is_inserted(node, value)
                })
        }
        _ => false,
    }
}

fn is_key(node: &Node, key: &Key) -> bool {
    let Key::Name(name) = key else { return false };
    is_inserted(node, &Value::Text(name.clone()))
}
