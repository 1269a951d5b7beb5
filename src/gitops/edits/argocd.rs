//! Argo CD: what an Application says of its sources, and the same in `.argocd-source.yaml` files.
//!
//! A parameter is the entry of `helm.parameters` with its name; if there is none, the value at its
//! path in `helm.valuesObject`. Both at once are ambiguous for a reader and not here: Argo CD lets
//! the parameter decide. `helm.values` is a text and is not looked into.

use super::at::At;
use super::found::{Matches, texts};
use super::helm::follow;
use super::image::Parts;
use super::kustomize::ImageEntry;
use super::object::objects;
use super::{Glob, Typing};
use crate::yaml::{Stream, Value};

/// A source of an Application.
struct Source<'a> {
    /// How it is called in messages.
    label: String,
    at: At<'a>,
}

/// The sources of the Applications of a file that `app` means, and what others there are.
fn sources<'a>(
    path: &str,
    stream: &'a Stream,
    app: Option<&Glob>,
    namespace: Option<&str>,
    matches: &mut Matches,
) -> Vec<Source<'a>> {
    let mut found = Vec::new();
    for object in objects(stream) {
        let spec: &[&str] = match object.kind {
            _ if object.group != "argoproj.io" => continue,
            "Application" => &["spec"],
            "ApplicationSet" => &["spec", "template", "spec"],
            _ => continue,
        };
        let label = object.label();
        if !object.is_selected(None, app, namespace) {
            matches.there(label);
            continue;
        }
        let Some(spec) = object.at.at(spec) else { continue };
        if let Some(at) = spec.get("source") {
            found.push(Source { label: label.clone(), at });
        }
        let several = spec.get("sources").map(|at| at.items()).unwrap_or_default();
        found.extend(several.into_iter().enumerate().map(|(number, at)| {
            let name = at.text(&["name"]).map_or_else(|| (number + 1).to_string(), str::to_owned);
            Source { label: format!("{label} source {name}"), at }
        }));
    }
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.strip_suffix(".yaml").and_then(|file| file.strip_prefix(".argocd-source"));
    if let Some(stem) = stem {
        let name = stem.strip_prefix('-').unwrap_or(stem);
        if app.is_some_and(|app| !name.is_empty() && !app.matches(name)) {
            matches.there(file);
            return found;
        }
        let roots = At::roots(stream).into_iter();
        found.extend(roots.map(|at| Source { label: file.to_owned(), at }));
    }
    found
}

/// The parameter that is meant.
pub(super) fn parameter(
    path: &str,
    stream: &Stream,
    app: Option<&Glob>,
    name: &str,
    value: &str,
    namespace: Option<&str>,
    add: bool,
) -> Matches {
    let mut matches = Matches::default();
    for Source { label, at } in sources(path, stream, app, namespace, &mut matches) {
        let parameters = at.at(&["helm", "parameters"]);
        let items = parameters.as_ref().map(At::items).unwrap_or_default();
        let before = matches.places.len();
        for item in &items {
            let Some(found) = item.text(&["name"]) else { continue };
            let label = format!("{label} parameter {found}");
            match item.get("value") {
                Some(old) if found == name => {
                    matches.set(&label, &old, value.to_owned(), Typing::Text);
                }
                None if found == name => {
                    let value = Value::Text(value.to_owned());
                    matches.place(&label, item).insert(&label, item, "value", value);
                }
                _ => matches.there(label),
            }
        }
        if matches.places.len() > before {
            continue;
        }
        let values = at.at(&["helm", "valuesObject"]);
        if let Some(old) = values.and_then(|values| follow(&values, name))
            && old.node.scalar().is_some()
        {
            let label = format!("{label} value {name}");
            matches.set(&label, &old, value.to_owned(), Typing::Kept);
            continue;
        }
        if add {
            let label = format!("{label} parameter {name}");
            add_to(
                &at,
                "helm",
                "parameters",
                texts(&[("name", name), ("value", value)]),
                &label,
                &mut matches,
            );
            continue;
        }
        if at.at(&["helm", "values"]).is_some() {
            matches.hint = Some(format!(
                "{label} has its values as a text, which is not looked into; use valuesObject, \
                 or a marker on the line"
            ));
        }
        matches.there(format!("{label}, without this parameter"));
    }
    matches
}

/// The image of `kustomize.images` that is meant.
pub(super) fn image(
    path: &str,
    stream: &Stream,
    app: Option<&Glob>,
    entry: &ImageEntry,
    namespace: Option<&str>,
    add: bool,
) -> Matches {
    let mut matches = Matches::default();
    for Source { label, at } in sources(path, stream, app, namespace, &mut matches) {
        let before = matches.places.len();
        for item in at.at(&["kustomize", "images"]).map(|at| at.items()).unwrap_or_default() {
            let Some(old) = item.node.scalar() else { continue };
            let name = old.split_once('=').map_or_else(|| Parts::of(old).name, |(name, _)| name);
            if name == entry.name {
                let label = format!("{label} image {name}");
                matches.set(&label, &item, entry.over(old), Typing::Text);
            } else {
                matches.there(format!("{label} image {old}"));
            }
        }
        if matches.places.len() == before && add {
            let label = format!("{label} image {}", entry.name);
            let value = Value::Text(entry.over(&entry.name));
            add_to(&at, "kustomize", "images", value, &label, &mut matches);
        }
    }
    matches
}

/// Adds an item to the list at two keys, and makes what is not there of them.
fn add_to(at: &At<'_>, outer: &str, inner: &str, value: Value, label: &str, matches: &mut Matches) {
    let list = at.at(&[outer, inner]);
    match (at.get(outer), list) {
        (_, Some(list)) if list.node.items().is_some_and(|items| !items.is_empty()) => {
            matches.place(label, &list).append(label, &list, value);
        }
        (_, Some(list)) => {
            matches.place(label, &list).replace(label, &list, Value::List(vec![value]));
        }
        (Some(map), None) if map.is_mapping() => {
            matches.place(label, &map).insert(label, &map, inner, Value::List(vec![value]));
        }
        (Some(absent), None) => {
            let map = Value::Map(vec![(inner.to_owned(), Value::List(vec![value]))]);
            matches.place(label, &absent).replace(label, &absent, map);
        }
        (None, None) => {
            let map = Value::Map(vec![(inner.to_owned(), Value::List(vec![value]))]);
            matches.place(label, at).insert(label, at, outer, map);
        }
    }
}
