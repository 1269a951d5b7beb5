//! A patch and an object, node by node: which keys change, come and go.

use super::Typing;
use super::at::At;
use super::found::{Place, What};
use super::object::Object;
use super::strategic::Patch;
use crate::yaml::{Content, Node, Style, Value};

/// A patch does not fit an object.
#[derive(Debug)]
pub(super) struct Unfit(pub(super) String);

/// What the merge of a patch into one object comes to.
pub(super) struct Merge<'a> {
    /// The patch.
    pub(super) patch: &'a Patch<'a>,
    /// Whether an item that no item of the file has the key of is added.
    pub(super) add: bool,
    /// What the merge comes to.
    pub(super) place: Place,
    /// Whether mappings or lists are made that were not there.
    pub(super) makes: bool,
}

/// The value of `$patch`.
pub(super) fn directive(node: &Node) -> Option<&str> {
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
    /// Merges a mapping of the patch into one of the file.
    pub(super) fn mapping(
        &mut self,
        object: &Object<'_>,
        at: &At<'_>,
        patch: &Node,
    ) -> Result<(), Unfit> {
        let pairs = patch.pairs().unwrap_or_default();
        for (key, value) in pairs {
            let Some(key) = key.scalar() else {
                return Err(Unfit("the patch has a key that is no text".into()));
            };
            match key.split_once('/') {
                Some(("$deleteFromPrimitiveList", list)) => {
                    self.delete_items(object, at, list, value);
                }
                Some(("$setElementOrder", list)) => order(at, list, value, pairs)?,
                _ if key == "$retainKeys" => self.retain(object, at, value),
                // What else there is was looked at when the patch was read.
                _ if key.starts_with('$') => {}
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
        let label = called(object, at, Some(key));
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
        let label = called(object, at, Some(key));
        if at.is_mapping() && at.node.pairs().is_some_and(|pairs| !pairs.is_empty()) {
            self.place.insert(label, at, key, fresh);
            return;
        }
        // An empty mapping, or several keys into it, are one change.
        let label = called(object, at, None);
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
            let label = called(object, at, None);
            if is_same(at.node, patch) {
                return;
            }
            let scalars: Option<Vec<(String, Typing)>> =
                patch.iter().map(|item| merge.patch.scalar(item)).collect();
            let old = at.items();
            if let Some(scalars) = scalars
                && scalars.len() == old.len()
                && old.iter().all(|item| item.node.scalar().is_some())
            {
                // As many items as before: each is changed where it stands.
                for (item, (text, typing)) in old.iter().zip(scalars) {
                    let label = called(object, item, None);
                    merge.place.set(label, item, text, typing);
                }
            } else {
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
                    let label = called(object, at, None);
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
                        let label = format!("{}[{key}={value}]", called(object, at, None));
                        let fresh = self.patch.fresh(item);
                        self.place.append(label, at, fresh);
                    }
                    _ => return Err(Unfit(no_item(at, name, key, value))),
                }
                continue;
            };
            match directive(item) {
                Some("delete") => {
                    let label = called(object, target, None);
                    self.place.remove(label, target);
                }
                _ => self.mapping(object, target, item)?,
            }
        }
        Ok(())
    }

    fn delete_items(&mut self, object: &Object<'_>, at: &At<'_>, list: &str, values: &Node) {
        let Some(list) = at.get(list) else { return };
        for value in values.items().unwrap_or_default() {
            for item in list
                .items()
                .iter()
                .filter(|item| item.node.scalar().is_some() && item.node.scalar() == value.scalar())
            {
                let label = called(object, item, None);
                self.place.remove(label, item);
            }
        }
    }

    fn retain(&mut self, object: &Object<'_>, at: &At<'_>, keys: &Node) {
        let keys: Vec<&str> =
            keys.items().unwrap_or_default().iter().filter_map(Node::scalar).collect();
        for (key, value) in at.pairs() {
            if !keys.contains(&key) {
                let label = called(object, &value, None);
                self.place.remove(label, &value);
            }
        }
    }
}

/// How a node of an object is called in messages.
fn called(object: &Object<'_>, at: &At<'_>, key: Option<&str>) -> String {
    let steps = &at.steps[object.at.steps.len()..];
    let below = At { document: at.document, steps: steps.to_vec(), node: at.node }.path();
    match key {
        Some(key) if below.is_empty() => format!("{} {key}", object.label()),
        Some(key) => format!("{} {below}.{key}", object.label()),
        None => format!("{} {below}", object.label()),
    }
}

/// An order is accepted if the list has it already, new items being last.
fn order(at: &At<'_>, list: &str, wanted: &Node, pairs: &[(Node, Node)]) -> Result<(), Unfit> {
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

/// Whether a list has the values of a patch already.
fn is_same(old: &Node, patch: &[Node]) -> bool {
    let items = old.items().unwrap_or_default();
    items.len() == patch.len() && items.iter().zip(patch).all(|(old, new)| same(old, new))
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
