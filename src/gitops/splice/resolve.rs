//! From the path of a change to the node, and what forbids to change it.

use std::collections::HashMap;

use super::select::known_below;
use super::{EditError, Key, Problem, show};
use crate::yaml::{Content, Node, Place, Stream, is_merge, parse};

/// A text that has been read, with what is needed to change it.
pub(super) struct File<'a> {
    pub(super) text: &'a str,
    pub(super) stream: Stream,
    /// Whether the text is JSON and is to remain so.
    pub(super) json: bool,
    /// Where aliases are, by the anchor that they stand for.
    aliases: HashMap<usize, Vec<usize>>,
}

/// A node, and what it is in.
pub(super) struct Located<'a> {
    pub(super) node: &'a Node,
    /// The key, if it is a value in a mapping.
    pub(super) key: Option<&'a Node>,
    /// What it is in; none for the root.
    pub(super) parent: Option<&'a Node>,
}

impl Located<'_> {
    /// Whether what it is in is written in brackets.
    pub(super) fn in_flow(&self) -> bool {
        self.parent.is_some_and(is_flow)
    }
}

/// Whether a collection is written in brackets.
pub(super) fn is_flow(node: &Node) -> bool {
    matches!(
        node.content,
        Content::Sequence { flow: true, .. } | Content::Mapping { flow: true, .. }
    )
}

impl<'a> File<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, EditError> {
        let stream = parse(text).map_err(|error| EditError::unreadable(text, &error))?;
        let mut aliases: HashMap<usize, Vec<usize>> = HashMap::new();
        for root in stream.documents.iter().filter_map(|document| document.root.as_ref()) {
            root.walk(&mut |node| {
                if let Content::Alias { target, .. } = &node.content {
                    aliases.entry(*target).or_default().push(node.span.start);
                }
            });
        }
        let root = stream.documents.first().and_then(|document| document.root.as_ref());
        let json = stream.documents.len() == 1
            && root.is_some_and(is_flow)
            && serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}'))
                .is_ok();
        Ok(Self { text, stream, json, aliases })
    }

    pub(super) fn error(&self, offset: usize, problem: Problem) -> EditError {
        EditError::at(self.text, offset, problem)
    }

    /// The root of a document.
    pub(super) fn root(&self, document: usize) -> Result<&Node, EditError> {
        let count = self.stream.documents.len();
        let root = self.stream.documents.get(document).and_then(|found| found.root.as_ref());
        let problem = Problem::NoDocument { index: document as i64, count };
        root.ok_or_else(|| self.error(0, problem))
    }

    /// The node at a path that is there and may be changed.
    pub(super) fn locate(&self, document: usize, path: &[Key]) -> Result<Located<'_>, EditError> {
        let mut found = Located { node: self.root(document)?, key: None, parent: None };
        self.unshared(found.node, &path[..0])?;
        for (depth, key) in path.iter().enumerate() {
            found = self.step(found.node, path, depth, key)?;
            self.unshared(found.node, &path[..=depth])?;
        }
        Ok(found)
    }

    fn step<'b>(
        &self,
        node: &'b Node,
        path: &[Key],
        depth: usize,
        key: &Key,
    ) -> Result<Located<'b>, EditError> {
        let here = node.outer().start;
        let shown = || show(&path[..=depth]);
        match (&node.content, key) {
            (Content::Alias { name, target }, _) => {
                let target = Place::of(self.text, *target);
                let path = show(&path[..depth]);
                Err(self.error(here, Problem::Alias { path, alias: name.clone(), target }))
            }
            (Content::Mapping { pairs, .. }, Key::Name(name)) => {
                let mut named = pairs.iter().filter(|(key, _)| key.scalar() == Some(name));
                match (named.next(), named.next()) {
                    (Some(_), Some((key, _))) => {
                        Err(self.error(key.outer().start, Problem::Twice { path: shown() }))
                    }
                    (Some((key, _)), None) if is_merge(key) => {
                        let reason = "it is a merge key";
                        let problem = Problem::Unsupported { path: shown(), reason };
                        Err(self.error(key.outer().start, problem))
                    }
                    (Some((key, value)), None) => {
                        Ok(Located { node: value, key: Some(key), parent: Some(node) })
                    }
                    (None, _) if pairs.iter().any(|(key, _)| is_merge(key)) => {
                        Err(self.error(here, Problem::Merged { path: shown() }))
                    }
                    (None, _) => Err(self.not_found(node, path, depth)),
                }
            }
            (Content::Sequence { items, .. }, Key::Index(index)) => match items.get(*index) {
                Some(item) => Ok(Located { node: item, key: None, parent: Some(node) }),
                None => Err(self.not_found(node, path, depth)),
            },
            _ => Err(self.not_found(node, path, depth)),
        }
    }

    fn not_found(&self, node: &Node, path: &[Key], depth: usize) -> EditError {
        let problem = Problem::NotFound {
            path: show(path),
            reached: show(&path[..depth]),
            known: known_below(node, None),
        };
        self.error(node.outer().start, problem)
    }

    /// That a node on the way is not used elsewhere too.
    fn unshared(&self, node: &Node, path: &[Key]) -> Result<(), EditError> {
        let Some(anchor) = &node.anchor else { return Ok(()) };
        let Some(aliases) = self.aliases.get(&anchor.span.start) else { return Ok(()) };
        Err(self.shared(anchor.span.start, &anchor.name, aliases, path))
    }

    fn shared(&self, at: usize, anchor: &str, aliases: &[usize], path: &[Key]) -> EditError {
        let others = aliases.iter().map(|alias| Place::of(self.text, *alias).to_string()).collect();
        let problem = Problem::Shared { path: show(path), anchor: anchor.to_owned(), others };
        self.error(at, problem)
    }

    /// That nothing below a node is used elsewhere, so that it can go.
    pub(super) fn removable(&self, node: &Node, path: &[Key]) -> Result<(), EditError> {
        let mut shared = None;
        let outer = node.outer();
        node.walk(&mut |node| {
            let Some(anchor) = &node.anchor else { return };
            let aliases = self.aliases.get(&anchor.span.start);
            let outside: Vec<usize> = aliases
                .into_iter()
                .flatten()
                .copied()
                .filter(|alias| !outer.contains(alias))
                .collect();
            if !outside.is_empty() && shared.is_none() {
                shared = Some(self.shared(anchor.span.start, &anchor.name, &outside, path));
            }
        });
        shared.map_or(Ok(()), Err)
    }
}
