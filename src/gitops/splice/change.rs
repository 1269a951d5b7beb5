//! What is to be changed.

use std::fmt;

use crate::yaml::Value;

/// A step from a node to one below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The value of a key of a mapping, by the text of the key.
    Name(String),
    /// An item of a sequence, from 0.
    Index(usize),
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Key {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Name(name) if is_bare(name) => f.write_str(name),
            Self::Name(name) => write!(f, "[{}]", crate::yaml::double(name)),
        }
    }
}

/// Whether a key needs no quotes in a path.
pub(super) fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('@')
        && name != "*"
        && !name.contains(|c: char| ".[]=\\\"'".contains(c) || c.is_whitespace() || c.is_control())
}

/// A path as users write it: `spec.containers[0].image`.
pub fn show(path: &[Key]) -> String {
    let mut text = String::new();
    for key in path {
        let step = key.to_string();
        if !text.is_empty() && !step.starts_with('[') {
            text.push('.');
        }
        text.push_str(&step);
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// One change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which document, from 0.
    pub document: usize,
    /// Where in it; empty for all of it.
    pub path: Vec<Key>,
    /// What becomes of it.
    pub action: Action,
}

/// What becomes of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The value that is there is replaced. A scalar replaces a scalar only.
    Set(Value),
    /// A key or an item is added.
    Insert(Value),
    /// The key with its value, or the item, goes.
    Remove,
}

impl Change {
    /// Replaces a value.
    pub fn set(document: usize, path: impl Into<Vec<Key>>, value: Value) -> Self {
        Self { document, path: path.into(), action: Action::Set(value) }
    }

    /// Adds a key or an item.
    pub fn insert(document: usize, path: impl Into<Vec<Key>>, value: Value) -> Self {
        Self { document, path: path.into(), action: Action::Insert(value) }
    }

    /// Removes a key or an item.
    pub fn remove(document: usize, path: impl Into<Vec<Key>>) -> Self {
        Self { document, path: path.into(), action: Action::Remove }
    }
}
