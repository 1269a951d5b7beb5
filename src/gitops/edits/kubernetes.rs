//! Images of Kubernetes objects.
//!
//! An image is found by what surrounds it and not by a list of kinds, so that a kind that nobody
//! here has heard of is as good as a Deployment: a sequence called `containers`, `initContainers`,
//! `ephemeralContainers`, or Tekton's `steps` and `sidecars`, whose items are mappings; a mapping
//! called `container`, `script` or `stepTemplate` with an `image`; and the one image of a
//! `StepAction`. What is inside of a text, such as a manifest in a `ConfigMap`, is not looked at.

use super::at::At;
use super::found::Matches;
use super::image::Parts;
use super::object::{Object, objects};
use super::{ImageSelector, Typing, Wanted};
use crate::yaml::{Stream, Value};

/// The name that Knative gives to a container without one.
const KNATIVE: &str = "user-container";

/// A container, whatever its kind calls it.
pub(super) struct Container<'a> {
    object: Object<'a>,
    /// What it is: `container`, `initContainer`, `step`, …
    role: &'static str,
    name: String,
    /// The mapping that it is.
    at: At<'a>,
    /// Its image.
    pub(super) image: Option<At<'a>>,
}

/// What is looked for.
pub(super) struct Search<'s> {
    /// Which images.
    pub(super) selector: &'s ImageSelector,
    /// What they become.
    pub(super) wanted: &'s Wanted,
    /// In which namespace.
    pub(super) namespace: Option<&'s str>,
    /// Whether a container without an image gets one.
    pub(super) add: bool,
}

impl Search<'_> {
    /// The images of a file that are meant.
    pub(super) fn find(&self, stream: &Stream, matches: &mut Matches) -> Result<(), String> {
        for object in objects(stream) {
            if let ImageSelector::Container { kind, name, container } = self.selector
                && let Some(path) = container.as_str().strip_prefix('.')
            {
                let selected = object.is_selected(kind.as_deref(), name.as_ref(), self.namespace);
                self.by_path(&object, path, selected, matches)?;
                continue;
            }
            let mut containers = Vec::new();
            walk(&object, &object.at, "", &mut containers);
            if containers.is_empty() {
                without_containers(&object, self.selector, matches);
            }
            for container in containers {
                self.meet(&container, matches)?;
            }
        }
        Ok(())
    }

    fn by_path(
        &self,
        object: &Object<'_>,
        path: &str,
        selected: bool,
        matches: &mut Matches,
    ) -> Result<(), String> {
        let keys: Vec<&str> = path.split('.').collect();
        let image = object.at.at(&keys).filter(|_| selected);
        match image.as_ref().and_then(|at| Some((at, at.node.scalar()?))) {
            Some((at, old)) => {
                let label = format!("{} {path}", object.label());
                matches.set(&label, at, self.wanted.over(old)?, Typing::Text);
            }
            None => matches.there(object.label()),
        }
        Ok(())
    }

    /// Decides about one container.
    pub(super) fn meet(
        &self,
        container: &Container<'_>,
        matches: &mut Matches,
    ) -> Result<(), String> {
        let Container { object, role, name: called, at, image } = container;
        let label = format!("{} {role} {called}", object.label());
        let old = image.as_ref().and_then(|at| Some((at, at.node.scalar()?)));
        let is_meant = match self.selector {
            ImageSelector::Container { kind, name, container } => {
                object.is_selected(kind.as_deref(), name.as_ref(), self.namespace)
                    && container.matches(called)
            }
            ImageSelector::Repository(repository) => {
                object.is_selected(None, None, self.namespace)
                    && old.is_some_and(|(_, old)| Parts::of(old).is_of(repository))
            }
        };
        match old {
            Some((_, old)) if !is_meant => matches.there(format!("{label}: {old}")),
            Some((image, old)) => {
                matches.set(&label, image, self.wanted.over(old)?, Typing::Text);
            }
            None if is_meant && self.add && image.is_none() => {
                let new = Value::Text(self.wanted.over("")?);
                matches.place(&label, at).insert(&label, at, "image", new);
            }
            None => matches.there(format!("{label}, which has no image here")),
        }
        Ok(())
    }
}

/// All containers below a node. An object inside of the object, such as the template of a
/// trigger, is one of its own.
fn walk<'a>(object: &Object<'a>, at: &At<'a>, parent: &str, found: &mut Vec<Container<'a>>) {
    if at.is_mapping() {
        let inner = match Object::of(at.clone()) {
            Some(inner) if at.steps != object.at.steps && !inner.name.is_empty() => inner,
            _ => object.clone(),
        };
        let own = at.text(&["name"]).unwrap_or(parent);
        for (key, value) in at.pairs() {
            if let Some(role) = role(key).filter(|_| value.node.items().is_some()) {
                let items = value.items().into_iter().enumerate();
                // Others have steps too, of a rollout for example, and a step may run elsewhere.
                let bare = !matches!(role, "step" | "sidecar");
                let items = items
                    .filter(|(_, item)| item.is_mapping() && (bare || item.get("image").is_some()));
                found.extend(items.map(|(number, item)| {
                    let name = item
                        .text(&["name"])
                        .map_or_else(|| unnamed(&inner, role, number), Into::into);
                    container(&inner, role, name, item)
                }));
            }
            if matches!(key, "container" | "script" | "stepTemplate")
                && value.get("image").is_some()
            {
                let role = if key == "stepTemplate" { "stepTemplate" } else { "container" };
                let name = value.text(&["name"]).unwrap_or(if own.is_empty() { key } else { own });
                found.push(container(&inner, role, name.to_owned(), value.clone()));
            }
            if key == "spec" && inner.kind == "StepAction" && value.get("image").is_some() {
                found.push(container(&inner, "step", inner.name.to_owned(), value.clone()));
            }
            walk(&inner, &value, own, found);
        }
    }
    for item in at.items() {
        walk(object, &item, parent, found);
    }
}

/// A container of an object.
pub(super) fn container<'a>(
    object: &Object<'a>,
    role: &'static str,
    name: String,
    at: At<'a>,
) -> Container<'a> {
    let image = at.get("image");
    Container { object: object.clone(), role, name, at, image }
}

fn role(key: &str) -> Option<&'static str> {
    Some(match key {
        "containers" => "container",
        "initContainers" => "initContainer",
        "ephemeralContainers" => "ephemeralContainer",
        "steps" => "step",
        "sidecars" => "sidecar",
        _ => return None,
    })
}

/// What a container without a name is called: as its controller will call it.
fn unnamed(object: &Object<'_>, role: &str, number: usize) -> String {
    match role {
        "step" => format!("unnamed-{number}"),
        "container" if object.group == "serving.knative.dev" => KNATIVE.to_owned(),
        _ => format!("[{number}]"),
    }
}

/// Says of an object without containers what it is, and where its containers are.
fn without_containers(object: &Object<'_>, selector: &ImageSelector, matches: &mut Matches) {
    let ImageSelector::Container { kind, name, container } = selector else { return };
    matches.there(format!("{}, without containers", object.label()));
    let reference = ["kind", "name"].map(|key| object.at.text(&["spec", "workloadRef", key]));
    if let [Some(target), Some(of)] = reference
        && object.is_selected(kind.as_deref(), name.as_ref(), None)
    {
        matches.hint = Some(format!(
            "{} takes its containers from {target}/{of} (workloadRef): {target}/{of}/{}=…",
            object.label(),
            container.as_str(),
        ));
    }
}
