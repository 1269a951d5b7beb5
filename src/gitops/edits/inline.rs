//! Patches that stand as texts in a kustomization: `patches[].patch`, `patchesStrategicMerge[]`
//! and `patchesJson6902[].patch`.
//!
//! A text is YAML of its own. An image in it is found as in a file, and the text with the new image
//! takes the place of the old one. Of a JSON patch only the values are known, not what they are put
//! into: an image that stands alone is found by its repository, a container by its name.

use super::at::At;
use super::found::{Action, Matches, What};
use super::kubernetes::{Search, container};
use super::object::Object;
use super::write;
use crate::yaml::{Content, Stream, Style, parse};

/// The texts of a kustomization that are patches, with the entry that each belongs to.
fn texts<'a>(root: &At<'a>) -> Vec<(At<'a>, Option<At<'a>>)> {
    let mut found = Vec::new();
    for key in ["patches", "patchesJson6902"] {
        let entries = root.get(key).map(|list| list.items()).unwrap_or_default();
        found.extend(
            entries.into_iter().filter_map(|entry| Some((entry.get("patch")?, Some(entry)))),
        );
    }
    let entries = root.get("patchesStrategicMerge").map(|list| list.items()).unwrap_or_default();
    found.extend(entries.into_iter().map(|entry| (entry, None)));
    found.retain(|(text, _)| match &text.node.content {
        // A folded text is not line by line what it says; a plain one is the name of a file.
        Content::Scalar { style, .. } => !matches!(style, Style::Folded | Style::Plain),
        _ => false,
    });
    found
}

/// The images in the patches of a kustomization.
pub(super) fn find(
    root: &At<'_>,
    search: &Search<'_>,
    matches: &mut Matches,
) -> Result<(), String> {
    for (text, entry) in texts(root) {
        let Some(value) = text.node.scalar() else { continue };
        let label = text.path();
        let Ok(stream) = parse(value) else {
            matches.there(format!("{label}, which is no YAML"));
            continue;
        };
        let mut inner = Matches::default();
        if stream.documents.iter().any(|d| d.root.as_ref().is_some_and(|r| r.items().is_some())) {
            operations(&stream, entry.as_ref(), search, &mut inner)?;
        } else {
            search.find(&stream, &mut inner)?;
        }
        matches.there.extend(inner.there.into_iter().map(|there| format!("{label}: {there}")));
        let actions = inner.places.iter().flat_map(|place| &place.actions);
        let actions: Vec<&Action> = actions.filter(|action| !action.is_done()).collect();
        let mut change = if actions.is_empty() {
            None
        } else {
            let whole = write::nodes(value, &actions).map_err(|e| format!("{label}: {e}"))?;
            let joined = |texts: Vec<String>| texts.join(", ");
            let new = |action: &&Action| match &action.what {
                What::Set(text, _) => text.clone(),
                _ => String::new(),
            };
            let old = joined(actions.iter().filter_map(|action| action.old.clone()).collect());
            Some((old, What::Inside { whole, new: joined(actions.iter().map(new).collect()) }))
        };
        // All changes of a text are one, which the first place makes.
        for place in inner.places {
            let outer = matches.place(format!("{label}: {}", place.label), &text);
            if let Some((old, what)) = change.take() {
                outer.inside(&text, old, what);
            }
        }
    }
    Ok(())
}

/// The images in the operations of a JSON patch.
fn operations(
    stream: &Stream,
    entry: Option<&At<'_>>,
    search: &Search<'_>,
    matches: &mut Matches,
) -> Result<(), String> {
    let target = |key: &str| entry.and_then(|entry| entry.text(&["target", key]));
    for root in At::roots(stream) {
        let object = Object {
            at: root.clone(),
            kind: target("kind").unwrap_or_default(),
            group: target("group").unwrap_or_default(),
            name: target("name").unwrap_or_default(),
            namespace: target("namespace"),
        };
        for operation in root.items() {
            let (Some(path), Some(value)) = (operation.text(&["path"]), operation.get("value"))
            else {
                continue;
            };
            if path.ends_with("/image") {
                let mut alone = container(&object, "image at", path.to_owned(), operation.clone());
                alone.image = Some(value);
                search.meet(&alone, matches)?;
            } else if value.get("image").is_some() {
                let name = value.text(&["name"]).unwrap_or(path).to_owned();
                search.meet(&container(&object, "container", name, value), matches)?;
            }
        }
    }
    Ok(())
}
