//! Values for `{{…}}` in parameters, labels and annotations.
//!
//! | in braces | value |
//! |---|---|
//! | `revision`, `revision.2` | the commit that was synced; of the second source |
//! | `short_revision` | its first seven digits |
//! | `application` | the Application |
//! | `repository`, `repository.2` | where it is synced from |
//! | `image:NAME` | the image of this name that the Application runs, whole |
//! | `tag:NAME` | its tag |
//!
//! What has no value is an error, and so is what is not in this table.

use super::{Synced, TriggerError};
use crate::image::Digest;

/// The values.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// The commit, if it was told; it is that of the first source.
    pub revision: Option<String>,
    /// What Argo CD has synced, if it was asked.
    pub synced: Option<Synced>,
}

impl Values {
    /// The commit of the first source.
    pub fn revision(&self) -> Option<&str> {
        let synced = self.synced.as_ref().and_then(|synced| synced.revisions.first());
        self.revision.as_deref().or(synced.map(String::as_str))
    }

    /// What tells these commits from others: the commit, or of several sources all of them.
    pub fn key_revision(&self) -> Option<String> {
        let all = self.synced.as_ref().map_or(&[][..], |synced| &synced.revisions);
        if all.len() < 2 {
            return self.revision().map(str::to_owned);
        }
        let first = self.revision().into_iter();
        let all: Vec<&str> = first.chain(all[1..].iter().map(String::as_str)).collect();
        Some(Digest::of(all.join(",").as_bytes()).hex()[..40].to_owned())
    }

    /// A text with its values filled in.
    pub fn fill(&self, text: &str) -> Result<String, TriggerError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(TriggerError::Usage(format!("{text:?}: a {{{{ is not closed")));
            };
            filled.push_str(before);
            filled.push_str(&self.value(name.trim())?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Result<String, TriggerError> {
        let unknown = || {
            TriggerError::Usage(format!(
                "{{{{{name}}}}} is not known; there are revision, short_revision, application, \
                 repository, image:NAME and tag:NAME"
            ))
        };
        let (word, position) = match name.split_once('.') {
            Some((word, position)) if !name.contains(':') => {
                let position = position.parse::<usize>().ok().and_then(|p| p.checked_sub(1));
                (word, position.ok_or_else(unknown)?)
            }
            _ => (name, 0),
        };
        let of = |list: fn(&Synced) -> &Vec<String>| {
            self.synced.as_ref().and_then(|synced| list(synced).get(position)).map(String::as_str)
        };
        let revision = match (position, &self.revision) {
            (0, Some(revision)) => Some(revision.as_str()),
            _ => of(|synced| &synced.revisions),
        };
        let value = match word {
            "revision" => revision.map(str::to_owned),
            "short_revision" => revision.map(|revision| revision.chars().take(7).collect()),
            "repository" => of(|synced| &synced.repositories).map(str::to_owned),
            "application" => self.synced.as_ref().map(|synced| synced.application.clone()),
            _ => match word.split_once(':') {
                Some(("image", image)) => self.image(image).map(str::to_owned),
                Some(("tag", image)) => self.image(image).and_then(tag).map(str::to_owned),
                _ => return Err(unknown()),
            },
        };
        value.ok_or_else(|| TriggerError::Usage(format!("{{{{{name}}}}} has no value here")))
    }

    /// The image of this name, which may be its last part.
    fn image(&self, name: &str) -> Option<&str> {
        let images = &self.synced.as_ref()?.images;
        let fits = |image: &&String| {
            let repository = repository(image);
            repository == name || repository.ends_with(&format!("/{name}"))
        };
        images.iter().find(fits).map(String::as_str)
    }
}

/// An image without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

fn tag(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    image.strip_prefix(repository(image))?.strip_prefix(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_and_what_is_not_known_is_an_error() {
        let values = Values {
            revision: None,
            synced: Some(Synced {
                application: "web".into(),
                revisions: vec!["0123456789".into(), "abc".into()],
                repositories: vec!["https://r/1".into()],
                images: vec!["r.io:5000/team/app:1.2@sha256:00".into(), "r.io/db".into()],
            }),
        };
        for (text, expected) in [
            ("none", Some("none")),
            ("{{revision}}", Some("0123456789")),
            ("a {{ revision.2 }} b", Some("a abc b")),
            ("{{short_revision}}-{{application}}", Some("0123456-web")),
            ("{{repository}}", Some("https://r/1")),
            ("{{repository.2}}", None),
            ("{{image:app}}", Some("r.io:5000/team/app:1.2@sha256:00")),
            ("{{tag:r.io:5000/team/app}}", Some("1.2")),
            ("{{tag:db}}", None),
            ("{{image:none}}", None),
            ("{{revision.0}}", None),
            ("{{what}}", None),
            ("{{revision", None),
            ("}}", Some("}}")),
        ] {
            assert_eq!(values.fill(text).ok().as_deref(), expected, "{text}");
        }
        let told = Values { revision: Some("told".into()), ..values };
        assert_eq!(told.fill("{{revision}} {{revision.2}}").ok().as_deref(), Some("told abc"));
        assert!(Values::default().fill("{{revision}}").is_err());
    }
}
