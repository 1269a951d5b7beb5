//! Strategic merge patches, as `kubectl patch` takes them, turned into edits of single nodes.
//!
//! A patch is a part of an object. Its mappings are merged; so are the lists that the API merges
//! by a key of their items ([`merge_key`]); other lists are replaced; `null` removes. The
//! directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…` and `$setElementOrder/…` are
//! known, the last one as a check only: an order that the file does not have is refused.
//!
//! Unlike `kubectl patch --local`, which puts the patch into whatever document it meets, a patch
//! goes to the object that it fits: of its `kind` and name, if it says them, else to the one that
//! has what it is about. And an item that no item of the file has the key of is an error without
//! `--add`, as it is a name with a mistake in it as often as a new container.

use super::at::At;
use super::found::{Matches, Place, What};
use super::object::{Object, objects};
use super::{Glob, Typing};
use crate::yaml::{Content, Document, Node, Stream, Style, Value, node_to_json, parse};

/// A patch that was read.
pub(super) struct Patch<'a> {
    text: &'a str,
    document: Document,
}

/// A patch does not fit an object.
#[derive(Debug)]
struct Unfit(String);

/// What the merge of a patch into one object comes to.
struct Merge<'a> {
    patch: &'a Patch<'a>,
    add: bool,
    place: Place,
    /// Whether mappings or lists are made that were not there.
    makes: bool,
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
    fn scalar(&self, node: &Node) -> Option<(String, Typing)> {
        let Content::Scalar { value, style } = &node.content else { return None };
        let is_text = *style != Style::Plain
            || node_to_json(self.text, &self.document, node).is_ok_and(|value| value.is_string());
        Some((value.clone(), if is_text { Typing::Text } else { Typing::Raw }))
    }

    fn is_null(&self, node: &Node) -> bool {
        node.scalar().is_some()
            && node_to_json(self.text, &self.document, node).is_ok_and(|value| value.is_null())
    }

    /// What the patch has at a node, without directives and what it removes.
    fn fresh(&self, node: &Node) -> Value {
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

/// The value of `$patch`.
fn directive(node: &Node) -> Option<&str> {
    node.get("$patch").and_then(Node::scalar)
}

/// By which key the items of a list are merged: what the API's types say of the lists of this name.
fn merge_key(list: &str, items: &[Node]) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates"
        | "secrets" => "name",
        // A container's port, or a Service's.
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => "containerPort",
        "ports" => "port",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "ownerReferences" => "uid",
        "conditions" => "type",
        _ => return None,
    })
    .filter(|_| items.iter().all(|item| item.pairs().is_some()))
}

impl Merge<'_> {
    fn label(&self, object: &Object<'_>, at: &At<'_>, key: Option<&str>) -> String {
        let steps = &at.steps[object.at.steps.len()..];
        let below = At { document: at.document, steps: steps.to_vec(), node: at.node }.path();
        match key {
            Some(key) if below.is_empty() => format!("{} {key}", object.label()),
            Some(key) => format!("{} {below}.{key}", object.label()),
            None => format!("{} {below}", object.label()),
        }
    }

    fn mapping(&mut self, object: &Object<'_>, at: &At<'_>, patch: &Node) -> Result<(), Unfit> {
        let pairs = patch.pairs().unwrap_or_default();
        for (key, value) in pairs {
            let Some(key) = key.scalar() else {
                return Err(Unfit("the patch has a key that is no text".into()));
            };
            match key.split_once('/') {
                Some(("$deleteFromPrimitiveList", list)) => {
                    self.delete_items(object, at, list, value)
                }
                Some(("$setElementOrder", list)) => self.order(at, list, value, pairs)?,
                _ if key == "$retainKeys" => self.retain(object, at, value),
                _ if key == "$patch" => {
                    if value.scalar() != Some("merge") {
                        return Err(Unfit(format!(
                            "$patch: {:?} is not known here",
                            value.scalar()
                        )));
                    }
                }
                _ if key.starts_with('$') => {
                    return Err(Unfit(format!("the directive {key} is not known")));
                }
                _ => self.key(object, at, key, value)?,
            }
        }
        Ok(())
    }

    fn key(
        &mut self,
        object: &Object<'_>,
        at: &At<'_>,
        key: &str,
        value: &Node,
    ) -> Result<(), Unfit> {
        let label = self.label(object, at, Some(key));
        let removes = self.patch.is_null(value) || directive(value) == Some("delete");
        let Some(old) = at.get(key) else {
            if !removes {
                self.insert(object, at, key, value);
            }
            return Ok(());
        };
        if matches!(old.node.content, Content::Alias { .. }) {
            return Err(Unfit(format!("{} is an alias", old.path())));
        }
        if removes {
            self.place.remove(label, &old);
        } else if directive(value) == Some("replace") {
            self.place.replace(label, &old, self.patch.fresh(value));
        } else if value.pairs().is_some() && old.is_mapping() {
            self.mapping(object, &old, value)?;
        } else if let (Some(items), Some(_)) = (value.items(), old.node.items()) {
            self.list(object, &old, key, items)?;
        } else if let (Some((text, typing)), Some(_)) =
            (self.patch.scalar(value), old.node.scalar())
        {
            self.place.set(label, &old, text, typing);
        } else {
            self.place.replace(label, &old, self.patch.fresh(value));
        }
        Ok(())
    }

    fn insert(&mut self, object: &Object<'_>, at: &At<'_>, key: &str, value: &Node) {
        let fresh = self.patch.fresh(value);
        self.makes |= matches!(fresh, Value::Map(_) | Value::List(_));
        let label = self.label(object, at, Some(key));
        if at.is_mapping() && at.node.pairs().is_some_and(|pairs| !pairs.is_empty()) {
            self.place.insert(label, at, key, fresh);
            return;
        }
        // An empty mapping, or several keys into it, are one change.
        let label = self.label(object, at, None);
        if let Some(What::Replace(Value::Map(pairs))) = self
            .place
            .actions
            .last_mut()
            .filter(|last| last.steps == at.steps)
            .map(|last| &mut last.what)
        {
            pairs.push((key.to_owned(), fresh));
        } else {
            self.place.replace(label, at, Value::Map(vec![(key.to_owned(), fresh)]));
        }
    }

    fn list(
        &mut self,
        object: &Object<'_>,
        at: &At<'_>,
        name: &str,
        patch: &[Node],
    ) -> Result<(), Unfit> {
        let whole = |merge: &mut Self| {
            let items = patch.iter().filter(|item| directive(item).is_none());
            let items: Vec<Value> = items.map(|item| merge.patch.fresh(item)).collect();
            let label = merge.label(object, at, None);
            if !merge.is_same(at.node, patch) {
                merge.place.replace(label, at, Value::List(items));
            }
        };
        if patch.iter().any(|item| directive(item) == Some("replace") && keys(item) == 1) {
            whole(self);
            return Ok(());
        }
        if name == "finalizers" {
            for item in patch.iter().filter_map(Node::scalar) {
                if at.items().iter().all(|old| old.node.scalar() != Some(item)) {
                    let label = self.label(object, at, None);
                    self.place.append(label, at, Value::Text(item.to_owned()));
                }
            }
            return Ok(());
        }
        let old = at.items();
        let nodes: Vec<Node> = old.iter().map(|item| item.node).chain(patch).cloned().collect();
        let Some(key) = merge_key(name, &nodes) else {
            whole(self);
            return Ok(());
        };
        for item in patch {
            let Some(value) = item.get(key).and_then(Node::scalar) else {
                return Err(Unfit(format!("an item of {name} in the patch has no {key}")));
            };
            let mut found = old.iter().filter(|old| old.text(&[key]) == Some(value));
            let (first, second) = (found.next(), found.next());
            if second.is_some() {
                return Err(Unfit(format!("{} has {key} {value} twice", at.path())));
            }
            let Some(target) = first else {
                match directive(item) {
                    Some("delete") => {}
                    _ if self.add => {
                        let label = format!("{}[{key}={value}]", self.label(object, at, None));
                        let fresh = self.patch.fresh(item);
                        self.place.append(label, at, fresh);
                    }
                    _ => return Err(Unfit(no_item(at, name, key, value))),
                }
                continue;
            };
            match directive(item) {
                Some("delete") => {
                    let label = self.label(object, target, None);
                    self.place.remove(label, target);
                }
                Some("replace") => {
                    let label = self.label(object, target, None);
                    self.place.replace(label, target, self.patch.fresh(item));
                }
                _ => self.mapping(object, target, item)?,
            }
        }
        Ok(())
    }

    /// Whether a list has the values of the patch already.
    fn is_same(&self, old: &Node, patch: &[Node]) -> bool {
        let items = old.items().unwrap_or_default();
        items.len() == patch.len() && items.iter().zip(patch).all(|(old, new)| same(old, new))
    }

    fn delete_items(&mut self, object: &Object<'_>, at: &At<'_>, list: &str, values: &Node) {
        let Some(list) = at.get(list) else { return };
        for value in values.items().unwrap_or_default() {
            for item in list
                .items()
                .iter()
                .filter(|item| item.node.scalar().is_some() && item.node.scalar() == value.scalar())
            {
                let label = self.label(object, item, None);
                self.place.remove(label, item);
            }
        }
    }

    fn retain(&mut self, object: &Object<'_>, at: &At<'_>, keys: &Node) {
        let keys: Vec<&str> =
            keys.items().unwrap_or_default().iter().filter_map(Node::scalar).collect();
        for (key, value) in at.pairs() {
            if !keys.contains(&key) {
                let label = self.label(object, &value, None);
                self.place.remove(label, &value);
            }
        }
    }

    /// An order is accepted if the list has it already, new items being last.
    fn order(
        &self,
        at: &At<'_>,
        list: &str,
        wanted: &Node,
        pairs: &[(Node, Node)],
    ) -> Result<(), Unfit> {
        let wanted = wanted.items().unwrap_or_default();
        let old = at.get(list).map(|list| list.items()).unwrap_or_default();
        let patch = pairs.iter().find(|(key, _)| key.scalar() == Some(list));
        let patch = patch.and_then(|(_, value)| value.items()).unwrap_or_default();
        let all: Vec<Node> = old.iter().map(|item| item.node).chain(patch).cloned().collect();
        let identity = |node: &Node| match merge_key(list, &all) {
            Some(key) => node.get(key).and_then(Node::scalar).map(str::to_owned),
            None => node.scalar().map(str::to_owned),
        };
        let mut there: Vec<String> = Vec::new();
        for node in &all {
            there.extend(identity(node).filter(|id| !there.contains(id)));
        }
        let places = wanted.iter().filter_map(|item| {
            let id = identity(item)?;
            there.iter().position(|other| *other == id)
        });
        let places: Vec<usize> = places.collect();
        if places.is_sorted() {
            return Ok(());
        }
        Err(Unfit(format!("$setElementOrder/{list} asks for an order that the file does not have")))
    }
}

fn keys(node: &Node) -> usize {
    node.pairs().map_or(0, <[_]>::len)
}

/// Whether two nodes say the same, whatever their style.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.content, &other.content) {
        (Content::Scalar { value, style }, Content::Scalar { value: v, style: s }) => {
            value == v && (*style == Style::Plain) == (*s == Style::Plain)
        }
        (Content::Sequence { items, .. }, Content::Sequence { items: i, .. }) => {
            items.len() == i.len() && items.iter().zip(i).all(|(one, other)| same(one, other))
        }
        (Content::Mapping { pairs, .. }, Content::Mapping { pairs: p, .. }) => {
            pairs.len() == p.len()
                && pairs
                    .iter()
                    .zip(p)
                    .all(|(one, other)| same(&one.0, &other.0) && same(&one.1, &other.1))
        }
        _ => false,
    }
}

fn no_item(at: &At<'_>, list: &str, key: &str, value: &str) -> String {
    let there: Vec<&str> = at.items().iter().filter_map(|item| item.text(&[key])).collect();
    format!("no item of {list} has {key} {value}, only {}; --add makes it", there.join(", "))
}
