//! Kustomize: entries of `images:`.

use super::Wanted;
use super::image::Parts;
use crate::image::Digest;

/// What `kustomize edit set image` takes: `NAME[=NEWNAME][:TAG][@DIGEST]`, each of the last three
/// `*` to keep what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    name: String,
    new_name: Part<String>,
    tag: Part<String>,
    digest: Part<Digest>,
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
        let mut probe = match &new_name {
            Part::New(name) => name.clone(),
            _ => "name".into(),
        };
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
}
