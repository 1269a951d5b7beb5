//! Strategic merge patches, as `kubectl patch` takes them, turned into edits of single nodes.
//!
//! A patch is a part of an object. Its mappings are merged; so are the lists that the API merges
//! by a key of their items (`merge.rs` has the table); other lists are replaced; `null` removes. The
//! directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…` and `$setElementOrder/…` are
//! known, the last one as a check only: an order that the file does not have is refused.
//!
//! Unlike `kubectl patch --local`, which puts the patch into whatever document it meets, a patch
//! goes to the object that it fits: of its `kind` and name, if it says them, else to the one that
//! has what it is about. And an item that no item of the file has the key of is an error without
//! `--add`, as it is a name with a mistake in it as often as a new container.

use super::found::{Matches, Place};
use super::merge::{Merge, Unfit, directive};
use super::object::objects;
use super::{Glob, Typing};
use crate::yaml::{Content, Document, Node, Stream, Style, Value, node_to_json, parse};

/// A patch that was read.
pub(super) struct Patch<'a> {
    text: &'a str,
    document: Document,
}

impl<'a> Patch<'a> {
    /// Reads a patch, JSON or YAML; an error is a sentence about it.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let stream = parse(text).map_err(|e| format!("the patch is no YAML: {e}"))?;
        let mut documents = stream.documents.into_iter();
        let (Some(document), None) = (documents.next(), documents.next()) else {
            return Err("the patch is not one document".into());
        };
        let patch = Self { text, document };
        let root = patch.root().ok_or("the patch is empty")?;
        let pairs = root.pairs().ok_or("the patch is not a mapping")?;
        if pairs.is_empty() {
            return Err("the patch is empty".into());
        }
        // Also what could be read in two ways: keys that are there twice, aliases without an end.
        node_to_json(text, &patch.document, root).map_err(|e| format!("the patch: {e}"))?;
        directives(root)?;
        let mut written = true;
        root.walk(&mut |node| {
            written &= node.anchor.is_none() && !matches!(node.content, Content::Alias { .. });
        });
        if !written {
            return Err("the patch has anchors or aliases; write out what they stand for".into());
        }
        Ok(patch)
    }

    fn root(&self) -> Option<&Node> {
        self.document.root.as_ref()
    }

    /// A scalar of the patch: its text, and how it is written.
    pub(super) fn scalar(&self, node: &Node) -> Option<(String, Typing)> {
        let Content::Scalar { value, style } = &node.content else { return None };
        let is_text = *style != Style::Plain
            || node_to_json(self.text, &self.document, node).is_ok_and(|value| value.is_string());
        Some((value.clone(), if is_text { Typing::Text } else { Typing::Raw }))
    }

    /// Whether the patch has null there.
    pub(super) fn is_null(&self, node: &Node) -> bool {
        node.scalar().is_some()
            && node_to_json(self.text, &self.document, node).is_ok_and(|value| value.is_null())
    }

    /// What the patch has at a node, without directives and what it removes.
    pub(super) fn fresh(&self, node: &Node) -> Value {
        if let Some((text, typing)) = self.scalar(node) {
            return if typing == Typing::Text { Value::Text(text) } else { Value::Raw(text) };
        }
        if let Some(items) = node.items() {
            let items = items.iter().filter(|item| directive(item).is_none());
            return Value::List(items.map(|item| self.fresh(item)).collect());
        }
        let pairs = node.pairs().unwrap_or_default().iter();
        let pairs = pairs.filter_map(|(key, value)| {
            let key = key.scalar().filter(|key| !key.starts_with('$'))?;
            (!self.is_null(value)).then(|| (key.to_owned(), self.fresh(value)))
        });
        Value::Map(pairs.collect())
    }
}

/// The objects that a patch fits.
pub(super) fn find(
    stream: &Stream,
    patch: &Patch<'_>,
    namespace: Option<&str>,
    add: bool,
) -> Matches {
    let mut matches = Matches::default();
    let Some(root) = patch.root() else { return matches };
    let kind = root.get("kind").and_then(Node::scalar);
    let name = root.at(&["metadata", "name"]).and_then(Node::scalar);
    let glob = name.map(Glob::new);
    let namespace = root.at(&["metadata", "namespace"]).and_then(Node::scalar).or(namespace);
    let version = root.get("apiVersion").and_then(Node::scalar);
    for object in objects(stream) {
        let label = object.label();
        let other = name.is_some_and(|name| name != object.name)
            || version.is_some_and(|version| object.at.text(&["apiVersion"]) != Some(version));
        if other || !object.is_selected(kind, glob.as_ref(), namespace) {
            matches.there(label);
            continue;
        }
        let place =
            Place { label: label.clone(), start: object.at.node.span.start, actions: vec![] };
        let mut merge = Merge { patch, add, place, makes: false };
        match merge.mapping(&object, &object.at, root) {
            Ok(()) if merge.makes && kind.is_none() && name.is_none() => {
                matches.there(format!("{label}, where something would have to be made"));
                matches.weak.push(merge.place);
            }
            Ok(()) => matches.places.push(merge.place),
            Err(Unfit(reason)) => matches.there(format!("{label}: {reason}")),
        }
    }
    matches
}

/// Refuses directives that are not known, and one that says what nobody means: an item that has
/// `$patch: replace` beside other keys empties the list, for kubectl.
fn directives(node: &Node) -> Result<(), String> {
    let mut wrong = None;
    let mut empties = false;
    node.walk(&mut |node| {
        let mut items = node.items().unwrap_or_default().iter();
        empties |= items.any(|item| {
            directive(item) == Some("replace") && item.pairs().is_some_and(|pairs| pairs.len() > 1)
        });
        for (key, value) in node.pairs().unwrap_or_default() {
            let known = match key.scalar() {
                Some("$patch") => matches!(value.scalar(), Some("replace" | "delete" | "merge")),
                Some("$retainKeys") => value.items().is_some(),
                Some(key) if key.starts_with("$deleteFromPrimitiveList/") => {
                    value.items().is_some()
                }
                Some(key) if key.starts_with("$setElementOrder/") => value.items().is_some(),
                Some(key) => !key.starts_with('$'),
                None => false,
            };
            if !known {
                wrong.get_or_insert_with(|| {
                    key.scalar().unwrap_or("a key that is no text").to_owned()
                });
            }
        }
    });
    if empties {
        return Err(
            "the patch has an item with $patch: replace and other keys, which would empty the \
                    list; {$patch: replace} stands alone, in front of the new items"
                .into(),
        );
    }
    wrong.map_or(Ok(()), |key| {
        Err(format!("the patch has {key}, or a value of it, that is not known"))
    })
}
