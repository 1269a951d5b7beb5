//! `--build-context NAME=VALUE`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::exit::CliError;
use crate::context::ContextLocation;
use crate::git::GitUrl;
use crate::image::{Digest, Reference};
use crate::plan::{ImageSource, NamedContext, context_name};

/// One `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BuildContext {
    /// As [`context_name`] gives it.
    name: String,
    kind: NamedContext,
    /// Where the files are, if it is [`NamedContext::Files`].
    location: Option<ContextLocation>,
}

/// Reads the value of the flag.
pub(super) fn parse(text: &str) -> Result<BuildContext, String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or("expected NAME=VALUE")?;
    let Some(name) = context_name(name) else {
        return Err(match name.to_lowercase().as_str() {
            "scratch" | "context" => {
                format!("{name} has a meaning of its own, choose another name")
            }
            _ => format!("{name:?} is no name that FROM or --from could have"),
        });
    };
    if let Some(location) = remote(value)? {
        return Ok(BuildContext { name, kind: NamedContext::Files, location: Some(location) });
    }
    let (kind, location) = match value.split_once(':') {
        Some(("docker-image", rest)) => (docker_image(rest.trim_start_matches("//"))?, None),
        Some(("oci-layout", rest)) => {
            (NamedContext::Image(layout(rest.trim_start_matches("//"))?), None)
        }
        Some(("target", stage)) => (NamedContext::Stage(stage.to_owned()), None),
        Some((scheme, rest)) if rest.starts_with("//") => {
            return Err(format!(
                "{scheme}:// is not known; a context is a directory, a git or https URL, docker-image://IMAGE, oci-layout://DIRECTORY[:TAG][@DIGEST] or target:STAGE"
            ));
        }
        _ => (NamedContext::Files, Some(ContextLocation::Directory(PathBuf::from(value)))),
    };
    Ok(BuildContext { name, kind, location })
}

/// A context that is elsewhere: a git or http URL. `None` for everything else.
pub(super) fn remote(text: &str) -> Result<Option<ContextLocation>, String> {
    // A directory of this name comes before `github.com/…`, which is a repository too.
    let like_a_path = text.starts_with("github.com/") && std::path::Path::new(text).exists();
    if !like_a_path && let Some(url) = GitUrl::parse(text).map_err(|e| e.to_string())? {
        return Ok(Some(ContextLocation::Git(url)));
    }
    let web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    Ok(web.then(|| ContextLocation::Web(text.to_owned())))
}

fn docker_image(text: &str) -> Result<NamedContext, String> {
    if text == "scratch" {
        return Ok(NamedContext::Scratch);
    }
    let reference = text.parse::<Reference>().map_err(|e| e.to_string())?;
    Ok(NamedContext::Image(ImageSource::Registry(reference)))
}

/// `DIRECTORY[:TAG][@DIGEST]`.
fn layout(text: &str) -> Result<ImageSource, String> {
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|e| e.to_string())?)),
    };
    let colon = rest.rfind(':').filter(|colon| !rest[*colon..].contains('/'));
    let (path, tag) = match colon {
        None => (rest, None),
        Some(colon) => (&rest[..colon], Some(rest[colon + 1..].to_owned())),
    };
    if path.is_empty() {
        return Err("the directory of the layout is missing".to_owned());
    }
    Ok(ImageSource::Layout { path: PathBuf::from(path), tag, digest })
}

/// What the names stand for, for the plan; and where the files are, for the builder.
pub(super) type Contexts = (BTreeMap<String, NamedContext>, BTreeMap<String, ContextLocation>);

/// The flags as the plan and the builder want them; a name given twice is a mistake.
pub(super) fn collect(flags: &[BuildContext]) -> Result<Contexts, CliError> {
    let (mut kinds, mut locations) = Contexts::default();
    for flag in flags {
        if kinds.insert(flag.name.clone(), flag.kind.clone()).is_some() {
            return Err(CliError::Usage(format!(
                "--build-context: the name {} is given twice",
                flag.name
            )));
        }
        if let Some(location) = &flag.location {
            locations.insert(flag.name.clone(), location.clone());
        }
    }
    Ok((kinds, locations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_name_stands_for() {
        let digest = Digest::of(b"");
        let image = |text: &str| {
            NamedContext::Image(ImageSource::Registry(text.parse().expect("a reference")))
        };
        let layout = |path: &str, tag: Option<&str>, digest: Option<&Digest>| {
            NamedContext::Image(ImageSource::Layout {
                path: path.into(),
                tag: tag.map(str::to_owned),
                digest: digest.cloned(),
            })
        };
        for (text, name, kind) in [
            ("a=.", "a", NamedContext::Files),
            ("A=/x:y/z", "a", NamedContext::Files),
            ("docker.io/library/alpine:latest=d", "alpine", NamedContext::Files),
            ("h.io/x:1=docker-image://b:2", "h.io/x:1", image("b:2")),
            ("a=docker-image://scratch", "a", NamedContext::Scratch),
            ("a=oci-layout:///l", "a", layout("/l", None, None)),
            ("a=oci-layout://d/l:t", "a", layout("d/l", Some("t"), None)),
            (&format!("a=oci-layout://l:t@{digest}"), "a", layout("l", Some("t"), Some(&digest))),
            ("a=https://h.io/x.tar.gz", "a", NamedContext::Files),
            ("a=https://h.io/x.git#main:dir", "a", NamedContext::Files),
            ("a=git@h.io:x.git", "a", NamedContext::Files),
            ("a=target:B", "a", NamedContext::Stage("B".to_owned())),
        ] {
            let flag = parse(text).expect(text);
            assert_eq!((flag.name.as_str(), &flag.kind), (name, &kind), "{text}");
            assert_eq!(flag.location.is_some(), kind == NamedContext::Files, "{text}");
        }
        for bad in [
            "a",
            "=x",
            "a=",
            "scratch=x",
            "Context=x",
            "a b=x",
            "a=ftp://x",
            "a=https://h.io/x.git?nope=1",
            "a=oci-layout://",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let twice = [parse("a=x").expect("good"), parse("A:latest=y").expect("good")];
        assert!(collect(&twice).is_err());
    }
}
