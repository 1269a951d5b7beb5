//! Helm: the image of a values file, and the versions of a `Chart.yaml`.
//!
//! Charts spell an image in a few ways, which are told apart by the keys that are there: one text
//! (`image: app:1`), or a mapping of `registry`, `repository` (or `name`, `repo`, `image`), `tag`
//! (or `version`) and `digest` (or `sha`, without its algorithm). Only keys that are there are
//! written, since a key that the chart does not read changes nothing; `--add` makes `repository`,
//! `tag` and `digest`. A digest that is not given is emptied when the tag changes: charts let it
//! decide over the tag.

use super::at::At;
use super::found::{Matches, Place};
use super::{Typing, Wanted};
use crate::gitops::splice::Key;
use crate::image::Reference;
use crate::yaml::{Stream, Value};

const NAMES: [&str; 4] = ["repository", "name", "repo", "image"];
const TAGS: [&str; 2] = ["tag", "version"];

/// The image below a path of a values file.
pub(super) fn find(
    stream: &Stream,
    prefix: &str,
    wanted: &Wanted,
    add: bool,
) -> Result<Matches, String> {
    let mut matches = Matches::default();
    for root in At::roots(stream) {
        let Some(at) = follow(&root, prefix) else {
            images(&root, &mut matches);
            continue;
        };
        if at.is_mapping() {
            mapping(&at, prefix, wanted, add, &mut matches)?;
        } else if let Some(old) = at.node.scalar() {
            let new = one_text(prefix, old, wanted)?;
            matches.set(prefix, &at, new, Typing::Text);
        } else {
            return Err(format!("{prefix} is neither an image nor a mapping of its parts"));
        }
    }
    Ok(matches)
}

/// The node at keys with dots between them; a key may have dots itself, and items have numbers.
pub(super) fn follow<'a>(at: &At<'a>, path: &str) -> Option<At<'a>> {
    if path.is_empty() {
        return Some(at.clone());
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (number, rest) = rest.split_once(']')?;
        let item = at.items().into_iter().nth(number.parse().ok()?)?;
        return follow(&item, rest.strip_prefix('.').unwrap_or(rest));
    }
    // The longest key that is there, so that a dot in a key is found without quotes.
    let mut ends: Vec<usize> =
        path.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at).collect();
    ends.push(path.len());
    ends.into_iter().rev().find_map(|end| {
        let rest = &path[end..];
        follow(&at.get(&path[..end])?, rest.strip_prefix('.').unwrap_or(rest))
    })
}

/// The text for a scalar: a part, if the key says which one, else all of an image.
fn one_text(prefix: &str, old: &str, wanted: &Wanted) -> Result<String, String> {
    let key = prefix.rsplit('.').next().unwrap_or(prefix);
    let needs = |what: &str| format!("{prefix} is {what}, which the image does not say");
    let ends = |end: &str| key == end || key.ends_with(&capital(end));
    if ends("tag") {
        wanted.tag().map(str::to_owned).ok_or_else(|| needs("a tag"))
    } else if ends("digest") {
        wanted.digest().map(ToString::to_string).ok_or_else(|| needs("a digest"))
    } else if ends("repository") {
        wanted.name().map(str::to_owned).ok_or_else(|| needs("a repository"))
    } else {
        wanted.over(old)
    }
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

fn mapping(
    at: &At<'_>,
    prefix: &str,
    wanted: &Wanted,
    add: bool,
    matches: &mut Matches,
) -> Result<(), String> {
    let scalar = |key: &str| at.get(key).filter(|at| at.node.scalar().is_some());
    let first = |keys: &[&str]| keys.iter().find_map(|key| scalar(key));
    let registry = scalar("registry");
    let name = first(&NAMES);
    let tag = first(&TAGS);
    let digest = scalar("digest").or_else(|| scalar("sha"));
    if [&registry, &name, &tag, &digest].iter().all(|part| part.is_none()) && !add {
        images(at, matches);
        return Ok(());
    }
    let label = |at: &At<'_>| at.path();
    let place = matches.place(prefix, at);
    if let Some(wanted_name) = wanted.name() {
        names(at, prefix, wanted_name, registry.as_ref(), name.as_ref(), add, place)?;
    }
    // A chart without a digest of its own often has it behind the tag.
    let joined = digest.is_none()
        && tag.as_ref().and_then(|tag| tag.node.scalar()).is_some_and(|tag| tag.contains('@'));
    let lacking = |key: &str| {
        format!("there is no {key} below {prefix}; --add makes it, if the chart reads it")
    };
    match (wanted.tag(), wanted.digest(), &tag) {
        (Some(text), Some(digest), Some(tag)) if joined => {
            place.set(label(tag), tag, format!("{text}@{digest}"), Typing::Text);
        }
        (Some(text), _, Some(tag)) => place.set(label(tag), tag, text.into(), Typing::Text),
        (Some(text), _, None) if add => {
            place.insert(format!("{prefix}.tag"), at, "tag", Value::Text(text.into()));
        }
        (Some(_), _, None) => return Err(lacking("tag")),
        (None, Some(_), Some(_)) if joined => {
            return Err(format!("the tag of {prefix} holds the digest too; give both"));
        }
        (None, ..) => {}
    }
    match (wanted.digest(), &digest) {
        (Some(_), None) if joined => {}
        (Some(new), Some(old)) => {
            let bare = old.steps.last() == Some(&Key::Name("sha".into()));
            let text = if bare { new.hex().to_owned() } else { new.to_string() };
            place.set(label(old), old, text, Typing::Text);
        }
        (Some(new), None) if add => {
            place.insert(format!("{prefix}.digest"), at, "digest", Value::Text(new.to_string()));
        }
        (Some(_), None) if wanted.tag().is_some() => {
            return Err(format!("{}; --pin tag leaves it out", lacking("digest")));
        }
        (Some(_), None) => return Err(lacking("digest")),
        (None, Some(old)) if wanted.tag().is_some() && !is_empty(old) => {
            place.set(label(old), old, String::new(), Typing::Text);
        }
        (None, _) => {}
    }
    Ok(())
}

/// Whether nothing is said: an empty text or null.
fn is_empty(at: &At<'_>) -> bool {
    matches!(at.node.scalar(), Some("" | "~" | "null"))
}

/// Registry and path. With a key for the registry, the name is cut at it.
fn names(
    at: &At<'_>,
    prefix: &str,
    wanted: &str,
    registry: Option<&At<'_>>,
    name: Option<&At<'_>>,
    add: bool,
    place: &mut Place,
) -> Result<(), String> {
    let old_registry = registry.filter(|at| !is_empty(at)).and_then(|at| at.node.scalar());
    let old_name = name.and_then(|at| at.node.scalar()).unwrap_or_default();
    let old = old_registry.map_or_else(|| old_name.to_owned(), |host| format!("{host}/{old_name}"));
    if old == wanted {
        return Ok(());
    }
    let reference: Reference = wanted.parse().map_err(|e| format!("{e}"))?;
    let host = reference.repository().host();
    let written = wanted.strip_prefix(host).and_then(|rest| rest.strip_prefix('/'));
    let path = match (old_registry, registry) {
        (Some(old), Some(at)) => {
            if old != host {
                place.set(at.path(), at, host.to_owned(), Typing::Text);
            }
            written.unwrap_or(wanted)
        }
        _ => wanted,
    };
    match name {
        Some(at) => place.set(at.path(), at, path.to_owned(), Typing::Text),
        None if add => {
            let label = format!("{prefix}.repository");
            place.insert(label, at, "repository", Value::Text(path.to_owned()));
        }
        None => {
            return Err(format!(
                "there is no repository below {prefix}; leave the name out (=:TAG), or give --add"
            ));
        }
    }
    Ok(())
}

/// Says where there are images in a values file.
fn images(at: &At<'_>, matches: &mut Matches) {
    for (key, value) in at.pairs() {
        let is_image = key.to_lowercase().ends_with("image");
        let parts = |keys: &[&str]| keys.iter().any(|key| value.get(key).is_some());
        if is_image && value.node.scalar().is_some()
            || value.is_mapping()
                && (is_image || parts(&NAMES[..1]))
                && (parts(&NAMES) || parts(&TAGS))
        {
            let old = value.node.scalar().map_or_else(String::new, |text| format!(": {text}"));
            matches.there(format!("{}{old}", value.path()));
        } else {
            images(&value, matches);
        }
    }
    for item in at.items() {
        images(&item, matches);
    }
}

/// `version` or `appVersion` of a `Chart.yaml`.
pub(super) fn chart(path: &str, stream: &Stream, key: &str, version: &str) -> Matches {
    let mut matches = Matches::default();
    let file = path.rsplit('/').next().unwrap_or(path);
    for root in At::roots(stream) {
        if file != "Chart.yaml" && file != "Chart.yml" {
            matches.there(format!("{file}, which is no Chart.yaml"));
            continue;
        }
        match root.get(key) {
            Some(at) => matches.set(key, &at, version.to_owned(), Typing::Text),
            None => matches.there(format!("a chart without {key}")),
        }
    }
    matches
}
