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
struct Container<'a> {
    object: Object<'a>,
    /// What it is: `container`, `initContainer`, `step`, …
    role: &'static str,
    name: String,
    /// The mapping that it is.
    at: At<'a>,
    image: Option<At<'a>>,
}

/// The images of a file that a selector means.
pub(super) fn find(
    stream: &Stream,
    selector: &ImageSelector,
    wanted: &Wanted,
    namespace: Option<&str>,
    add: bool,
) -> Result<Matches, String> {
    let mut matches = Matches::default();
    for object in objects(stream) {
        if let ImageSelector::Container { kind, name, container } = selector
            && let Some(path) = container.as_str().strip_prefix('.')
        {
            let node = at_path(&object.at, path).filter(|at| at.node.scalar().is_some());
            match node.filter(|_| object.is_selected(kind.as_deref(), name.as_ref(), namespace)) {
                Some(image) => {
                    let label = format!("{} {path}", object.label());
                    let new = wanted.over(image.node.scalar().unwrap_or_default())?;
                    matches.set(&label, &image, new, Typing::Text);
                }
                None => matches.there(object.label()),
            }
            continue;
        }
        let mut containers = Vec::new();
        walk(&object, &object.at, "", &mut containers);
        if containers.is_empty() {
            without_containers(&object, selector, &mut matches);
        }
        for container in containers {
            container.meet(selector, wanted, namespace, add, &mut matches)?;
        }
    }
    Ok(matches)
}

impl Container<'_> {
    fn meet(
        &self,
        selector: &ImageSelector,
        wanted: &Wanted,
        namespace: Option<&str>,
        add: bool,
        matches: &mut Matches,
    ) -> Result<(), String> {
        let label = format!("{} {} {}", self.object.label(), self.role, self.name);
        let image = self.image.as_ref().and_then(|at| Some((at, at.node.scalar()?)));
        let is_meant = match selector {
            ImageSelector::Container { kind, name, container } => {
                self.object.is_selected(kind.as_deref(), name.as_ref(), namespace)
                    && container.matches(&self.name)
            }
            ImageSelector::Repository(repository) => {
                self.object.is_selected(None, None, namespace)
                    && image.is_some_and(|(_, old)| Parts::of(old).is_of(repository))
            }
        };
        match image {
            Some((_, old)) if !is_meant => matches.there(format!("{label}: {old}")),
            Some((at, old)) => {
                let new = wanted.over(old)?;
                matches.set(&label, at, new, Typing::Text);
            }
            None if is_meant && add && self.image.is_none() => {
                let new = Value::Text(wanted.over("")?);
                matches.place(&label, &self.at).insert(&label, &self.at, "image", new);
            }
            None => matches.there(format!("{label}, which has no image here")),
        }
        Ok(())
    }
}

/// The node at keys with dots between them.
fn at_path<'a>(at: &At<'a>, path: &str) -> Option<At<'a>> {
    let keys: Vec<&str> = path.split('.').collect();
    at.at(&keys)
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
                let items = items.filter(|(_, item)| item.is_mapping());
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

fn container<'a>(
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
