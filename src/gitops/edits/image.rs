//! The image that an edit wants, and how it is written over another one.

use crate::image::{Digest, Reference};

/// Which parts of a reference are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The tag, without a digest.
    Tag,
    /// The digest, without a tag.
    Digest,
    /// Both, and both must be known.
    Both,
}

/// An image, or the parts of one that are to change.
///
/// `NAME`, `NAME:TAG`, `NAME@DIGEST` and `NAME:TAG@DIGEST` are as everywhere; without a name,
/// `:TAG`, `@DIGEST` and `:TAG@DIGEST` keep the old one. The name stays as it is written: no
/// registry and no `latest` is added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    name: Option<String>,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// An image as it stands in a file, cut into its parts without a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// Registry and path.
    pub(super) name: &'a str,
    /// The tag.
    pub(super) tag: Option<&'a str>,
    /// The digest.
    pub(super) digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// The parts of `text`: a digest is behind the first `@`, a tag behind the last `:` that is
    /// behind the last `/`.
    pub(super) fn of(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let path = name.rfind('/').map_or(0, |slash| slash + 1);
        match name[path..].rfind(':') {
            Some(colon) => {
                let (name, tag) = name.split_at(path + colon);
                Self { name, tag: Some(&tag[1..]), digest }
            }
            None => Self { name, tag: None, digest },
        }
    }

    /// Whether it is of the repository `name`; `nginx` is `docker.io/library/nginx`.
    pub(super) fn is_of(&self, name: &str) -> bool {
        let repository = |text: &str| {
            let reference: Option<Reference> = text.parse().ok();
            reference.map(|reference| reference.repository().clone())
        };
        self.name == name
            || match (repository(self.name), repository(name)) {
                (Some(one), Some(other)) => one == other,
                _ => false,
            }
    }
}

impl Wanted {
    /// Reads `text`; an error is a sentence about it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = Parts::of(text);
        // The grammar of tags and digests is the reference's, so a name is lent where none is given.
        let lent = if parts.name.is_empty() { format!("name{text}") } else { text.to_owned() };
        if parts.name.is_empty() && parts.tag.is_none() && parts.digest.is_none() {
            return Err("the image is empty".into());
        }
        let reference: Reference = lent.parse().map_err(|e| format!("{e}"))?;
        Ok(Self {
            name: (!parts.name.is_empty()).then(|| parts.name.to_owned()),
            tag: parts.tag.map(str::to_owned),
            digest: reference.digest().cloned(),
        })
    }

    /// Its name as it was written.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Its digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same with the parts that `pin` names, all of which must be there.
    pub fn pinned(&self, pin: Pin) -> Result<Self, String> {
        let missing = |what: &str, pin: &str| Err(format!("--pin {pin} needs {what}"));
        let mut pinned = self.clone();
        match pin {
            Pin::Tag if self.tag.is_none() => return missing("a tag", "tag"),
            Pin::Digest if self.digest.is_none() => return missing("a digest", "digest"),
            Pin::Both if self.tag.is_none() || self.digest.is_none() => {
                return missing("a tag and a digest", "both");
            }
            Pin::Tag => pinned.digest = None,
            Pin::Digest => pinned.tag = None,
            Pin::Both => {}
        }
        Ok(pinned)
    }

    /// The text that replaces the image `old` when the whole reference is one scalar.
    ///
    /// A tag that is not given is not kept, nor is a digest: an old digest would decide over a new
    /// tag, and an old tag would be wrong about a new digest.
    pub(super) fn over(&self, old: &str) -> Result<String, String> {
        if self.tag.is_none() && self.digest.is_none() {
            let name = self.name.as_deref().unwrap_or_default();
            return Err(format!(
                "it has neither a tag nor a digest; write {name}:latest if that is meant"
            ));
        }
        let parts = Parts::of(old);
        let mut text = match &self.name {
            Some(name) => name.clone(),
            None if parts.name.is_empty() => {
                return Err(format!("the old image {old:?} has no name to keep"));
            }
            None => parts.name.to_owned(),
        };
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        Ok(text)
    }
}

impl std::str::FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tag" => Ok(Self::Tag),
            "digest" => Ok(Self::Digest),
            "both" => Ok(Self::Both),
            _ => Err(format!("{text:?} is none of tag, digest, both")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn is_written_over_the_old_image() {
        let pinned = format!("a/b:1@{DIGEST}");
        for (wanted, old, expected) in [
            ("a/b:2", "a/b:1", "a/b:2"),
            ("a/b:2", &pinned, "a/b:2"),
            (":2", "host:5000/a/b", "host:5000/a/b:2"),
            (":2", &pinned, "a/b:2"),
            ("host:5000/a:2", "x", "host:5000/a:2"),
        ] {
            assert_eq!(Wanted::parse(wanted).unwrap().over(old).unwrap(), expected, "{wanted}");
        }
        let digest = Wanted::parse(&format!("@{DIGEST}")).unwrap();
        assert_eq!(digest.over("nginx:1").unwrap(), format!("nginx@{DIGEST}"));
    }

    #[test]
    fn refuses_what_is_no_image_or_would_float() {
        for text in ["", ":", "@", "a:", "a/B", "a:b c", "a@sha256:1", ":-x", "https://a/b"] {
            assert!(Wanted::parse(text).is_err(), "{text}");
        }
        assert!(Wanted::parse("a/b").unwrap().over("a/b:1").is_err());
        assert!(Wanted::parse(":2").unwrap().over("").is_err());
    }

    #[test]
    fn pins_what_is_known() {
        let both = Wanted::parse(&format!("a:1@{DIGEST}")).unwrap();
        assert_eq!(both.pinned(Pin::Tag).unwrap().over("").unwrap(), "a:1");
        assert_eq!(both.pinned(Pin::Digest).unwrap().over("").unwrap(), format!("a@{DIGEST}"));
        assert_eq!(both.pinned(Pin::Both).unwrap(), both);
        assert!(Wanted::parse("a:1").unwrap().pinned(Pin::Both).is_err());
    }

    #[test]
    fn knows_the_repository_of_an_image() {
        assert!(Parts::of("nginx:1").is_of("docker.io/library/nginx"));
        assert!(Parts::of("{{ x }}:1").is_of("{{ x }}"));
        assert!(!Parts::of("a/nginx:1").is_of("nginx"));
    }
}
