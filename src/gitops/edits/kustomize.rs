//! Kustomize: entries of `images:`.
//!
//! The grammar is that of `kustomize edit set image`, and three of its habits are not taken over:
//! what is not mentioned stays (there a new tag drops `newName`), the list keeps its order, and an
//! entry that is not there is an error, since a name with a mistake in it deploys nothing.
//! As there, a tag without a digest removes the digest, which would decide over it, and a digest
//! without a tag removes the tag, which would be wrong about it; `*` keeps it nevertheless.

use super::at::At;
use super::found::{Matches, Place, texts};
use super::image::Parts;
use super::{Pin, Typing, Wanted};
use crate::image::Digest;
use crate::yaml::{Stream, Value};

/// What `kustomize edit set image` takes: `NAME[=NEWNAME][:TAG][@DIGEST]`, each of the last three
/// `*` to keep what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    pub(super) name: String,
    pub(super) new_name: Part<String>,
    pub(super) tag: Part<String>,
    pub(super) digest: Part<Digest>,
}

/// One part of an image: not mentioned, to be kept, or new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<T> {
    /// Not mentioned.
    Unsaid,
    /// `*`
    Kept,
    /// A new one.
    New(T),
}

impl<T> Part<T> {
    fn given(&self) -> Option<&T> {
        match self {
            Self::New(value) => Some(value),
            Self::Unsaid | Self::Kept => None,
        }
    }
}

impl ImageEntry {
    /// Reads `text`; an error is a sentence about it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (name, Some(Parts::of(rest))),
            None => (Parts::of(text).name, None),
        };
        let parts = rest.unwrap_or(Parts { name: "", ..Parts::of(text) });
        if name.is_empty() || name.contains(['*', '@']) || name.contains(char::is_whitespace) {
            return Err("it does not begin with the name of an image".into());
        }
        if rest.is_some() && parts == Parts::of("") {
            return Err("nothing is behind the '='".into());
        }
        let part = |text: Option<&str>| match text {
            None | Some("") => Part::Unsaid,
            Some("*") => Part::Kept,
            Some(text) => Part::New(text.to_owned()),
        };
        if parts.tag == Some("") || parts.digest == Some("") {
            return Err("nothing is behind the ':' or '@'".into());
        }
        let new_name = part(Some(parts.name));
        let tag = part(parts.tag);
        // What is new must be an image together.
        let mut probe = new_name.given().map_or("name", String::as_str).to_owned();
        if let Part::New(tag) = &tag {
            probe = format!("{probe}:{tag}");
        }
        let digest = match part(parts.digest) {
            Part::New(digest) => {
                probe = format!("{probe}@{digest}");
                Part::New(digest.parse::<Digest>().map_err(|e| e.to_string())?)
            }
            Part::Kept => Part::Kept,
            Part::Unsaid => Part::Unsaid,
        };
        Wanted::parse(&probe)?;
        Ok(Self { name: name.to_owned(), new_name, tag, digest })
    }

    /// Whether it says nothing but the name.
    pub(super) fn is_bare(&self) -> bool {
        (&self.new_name, &self.tag, &self.digest) == (&Part::Unsaid, &Part::Unsaid, &Part::Unsaid)
    }

    /// The same entry with the image that is given for edits that name none.
    pub(super) fn with_image(&self, image: &Wanted) -> Self {
        let part =
            |text: Option<&str>| text.map_or(Part::Unsaid, |text| Part::New(text.to_owned()));
        let same = image.name() == Some(self.name.as_str());
        Self {
            name: self.name.clone(),
            new_name: if same { Part::Unsaid } else { part(image.name()) },
            tag: part(image.tag()),
            digest: image.digest().cloned().map_or(Part::Unsaid, Part::New),
        }
    }

    /// The same entry with the parts that `pin` names.
    pub(super) fn pinned(&self, pin: Pin) -> Result<Self, String> {
        let mut entry = self.clone();
        match (pin, &self.tag, &self.digest) {
            (Pin::Tag, Part::Unsaid, _) => return Err("--pin tag needs a tag".into()),
            (Pin::Digest, _, Part::Unsaid) => return Err("--pin digest needs a digest".into()),
            (Pin::Both, Part::Unsaid, _) | (Pin::Both, _, Part::Unsaid) => {
                return Err("--pin both needs a tag and a digest".into());
            }
            (Pin::Tag, ..) => entry.digest = Part::Unsaid,
            (Pin::Digest, ..) => entry.tag = Part::Unsaid,
            (Pin::Both, ..) => {}
        }
        Ok(entry)
    }

    /// Its parts with the keys of a kustomization: what is new, and what goes.
    fn keys(&self) -> [(&'static str, Option<String>, bool); 3] {
        let tag_goes = self.tag == Part::Unsaid && self.digest.given().is_some();
        let digest_goes = self.digest == Part::Unsaid && self.tag.given().is_some();
        [
            ("newName", self.new_name.given().cloned(), false),
            ("newTag", self.tag.given().cloned(), tag_goes),
            ("digest", self.digest.given().map(ToString::to_string), digest_goes),
        ]
    }

    /// The text form, written over an old text of that form.
    pub(super) fn over(&self, old: &str) -> String {
        let (name, rest) = match old.split_once('=') {
            Some((name, rest)) => (name, Parts::of(rest)),
            None => (Parts::of(old).name, Parts { name: "", ..Parts::of(old) }),
        };
        let [(_, new_name, _), (_, tag, tag_goes), (_, digest, digest_goes)] = self.keys();
        let new_name = new_name.unwrap_or_else(|| rest.name.to_owned());
        let tag = tag.or_else(|| rest.tag.filter(|_| !tag_goes).map(str::to_owned));
        let digest = digest.or_else(|| rest.digest.filter(|_| !digest_goes).map(str::to_owned));
        let mut text = name.to_owned();
        if !new_name.is_empty() {
            text = format!("{text}={new_name}");
        }
        if let Some(tag) = tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = digest {
            text = format!("{text}@{digest}");
        }
        text
    }
}

/// Whether a file is a kustomization: by its kind, or by its name if it says none.
pub(super) fn is_kustomization(path: &str, root: &At<'_>) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    let named = matches!(file, "kustomization.yaml" | "kustomization.yml" | "Kustomization");
    let group = root.text(&["apiVersion"]).map(|v| v.starts_with("kustomize.config.k8s.io/"));
    match root.text(&["kind"]) {
        Some("Kustomization") => group.unwrap_or(named),
        Some("Component") => group.unwrap_or(true),
        Some(_) => false,
        None => named,
    }
}

/// The entry of a kustomization that is meant.
pub(super) fn find(path: &str, stream: &Stream, entry: &ImageEntry, add: bool) -> Matches {
    let mut matches = Matches::default();
    for root in At::roots(stream) {
        if !is_kustomization(path, &root) {
            continue;
        }
        let before = matches.places.len();
        let images = root.get("images");
        for item in images.as_ref().map(At::items).unwrap_or_default() {
            match item.text(&["name"]) {
                Some(name) if name == entry.name => {
                    let label = format!("images entry {name}");
                    change(entry, &item, &label, matches.place(&label, &item));
                }
                Some(name) => matches.there(format!("images entry {}", shown(name, &item))),
                None => {}
            }
        }
        if add && matches.places.len() == before {
            let label = format!("images entry {}", entry.name);
            let mut pairs = vec![("name", entry.name.as_str())];
            let keys = entry.keys();
            for (key, value, _) in &keys {
                pairs.extend(value.as_deref().map(|value| (*key, value)));
            }
            let value = texts(&pairs);
            match &images {
                Some(list) if list.node.items().is_some_and(|items| !items.is_empty()) => {
                    matches.place(&label, list).append(&label, list, value);
                }
                Some(list) => {
                    matches.place(&label, list).replace(&label, list, Value::List(vec![value]));
                }
                None => {
                    let list = Value::List(vec![value]);
                    matches.place(&label, &root).insert(&label, &root, "images", list);
                }
            }
        }
    }
    if !matches.there.is_empty() || !add {
        matches.hint = Some("an entry that is not there is made with --add".into());
    }
    matches
}

fn shown(name: &str, item: &At<'_>) -> String {
    let mut text = name.to_owned();
    for (key, before) in [("newName", "="), ("newTag", ":"), ("digest", "@")] {
        if let Some(value) = item.text(&[key]) {
            text = format!("{text}{before}{value}");
        }
    }
    text
}

fn change(entry: &ImageEntry, item: &At<'_>, label: &str, place: &mut Place) {
    for (key, new, goes) in entry.keys() {
        let label = format!("{label} {key}");
        match (item.get(key), new) {
            (Some(old), Some(new)) => place.set(label, &old, new, Typing::Text),
            (None, Some(new)) => {
                // A name that is said again is no new one.
                if !(key == "newName" && new == entry.name) {
                    place.insert(label, item, key, Value::Text(new));
                }
            }
            (Some(old), None) if goes => place.remove(label, &old),
            (_, None) => {}
        }
    }
}
