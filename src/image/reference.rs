//! Image references: `[host[:port]/]path[:tag][@digest]`, normalised as Docker does.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// A place for images: a registry host and a path on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

/// The name of an image: a repository and a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid image reference {text:?}: {problem}")]
pub struct ReferenceError {
    text: String,
    problem: String,
}

impl Repository {
    /// The registry's host and port, such as `docker.io` or `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path on the registry, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if one was given, or `latest` when there is no digest either.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag.as_deref(),
        }
    }

    /// The digest, if one was given; it decides over the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository by `digest`.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { repository: self.repository.clone(), tag: self.tag.clone(), digest: Some(digest) }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let fail = |problem: &str| ReferenceError { text: text.into(), problem: problem.into() };
        if text.is_empty() {
            return Err(fail("it is empty"));
        }
        if text.contains("://") {
            return Err(fail("a reference has no scheme; leave out everything up to \"://\""));
        }
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => {
                let digest = digest.parse::<Digest>().map_err(|e| fail(&e.to_string()))?;
                (name, Some(digest))
            }
        };
        let tag_colon = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
        let bracketed = name.starts_with('[') && name.ends_with(']');
        let (name, tag) = match tag_colon.filter(|_| !bracketed) {
            Some(colon) => (&name[..colon], Some(&name[colon + 1..])),
            None => (name, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(fail(
                "a tag is 1 to 128 letters, digits, '_', '.' or '-', not beginning with '.' or '-'",
            ));
        }
        let (host, path) = split_host(name);
        if !is_host(host) {
            return Err(fail("malformed registry host"));
        }
        if path.is_empty() {
            return Err(fail("the repository path is missing"));
        }
        let official = host == "docker.io" && !path.contains('/');
        let path = if official { format!("library/{path}") } else { path.to_owned() };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(fail("the repository path must be lower case"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(fail(
                "a path component is lower-case letters and digits, separated by '.', '_', '__' or '-'",
            ));
        }
        if host.len() + 1 + path.len() > 255 {
            return Err(fail("it is longer than 255 characters"));
        }
        Ok(Self {
            repository: Repository { host: host.to_owned(), path },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// The first component is a host if it has a dot or a colon, an upper-case
/// letter, or is `localhost`; otherwise the image is on Docker Hub.
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { "docker.io" } else { first }, rest)
        }
        _ => ("docker.io", name),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", port.strip_prefix(':').or(port.is_empty().then_some("1")))
            }
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("1")),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.split('.').all(label) && port.is_some_and(|p| p.parse::<u16>().is_ok())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let mut at = 0;
    loop {
        let word = bytes[at..].iter().take_while(|b| alphanumeric(**b)).count();
        if word == 0 {
            return false;
        }
        at += word;
        if at == bytes.len() {
            return true;
        }
        let separator = bytes[at..].iter().take_while(|b| !alphanumeric(**b)).count();
        let separator_text = &component[at..at + separator];
        let good =
            matches!(separator_text, "." | "_" | "__") || separator_text.bytes().all(|b| b == b'-');
        if !good {
            return false;
        }
        at += separator;
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_docker_does() {
        let digest = Digest::of(b"").to_string();
        for (text, expected) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("docker.io", "docker.io/library/docker.io:latest".to_owned()),
            ("library/x", "docker.io/library/x:latest".to_owned()),
            ("x:5000", "docker.io/library/x:5000".to_owned()),
            ("x:5000/y:z", "x:5000/y:z".to_owned()),
            ("UPPER.io/x", "UPPER.io/x:latest".to_owned()),
            ("foo_bar.com/x", "foo_bar.com/x:latest".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("10.0.0.5/x", "10.0.0.5/x:latest".to_owned()),
            ("index.docker.io/a/b", "docker.io/a/b:latest".to_owned()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            ("localhost:5000/a/b-c__d.e:1.0", "localhost:5000/a/b-c__d.e:1.0".to_owned()),
        ] {
            assert_eq!(text.parse::<Reference>().map(|r| r.to_string()), Ok(expected), "{text}");
        }
        let pinned = format!("h.io/n:t@{digest}");
        assert_eq!(pinned.parse::<Reference>().map(|r| r.to_string()), Ok(pinned.clone()));
        let untagged = format!("h.io/n@{digest}");
        assert_eq!(untagged.parse::<Reference>().map(|r| r.to_string()), Ok(untagged.clone()));
    }

    #[test]
    fn refuses_what_docker_refuses() {
        let long = format!("h.io/{}", "a".repeat(256));
        for bad in [
            "",
            "X",
            "h.io/X/y",
            "a//b",
            "a/b..c",
            "a:b:c",
            "a@sha256:abc",
            "a:",
            "a:-x",
            "a/",
            "/a",
            "http://h.io/a",
            "h.io:99999/a",
            "[::g]/a",
            "a b",
            &long,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
