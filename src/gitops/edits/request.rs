//! What can be asked for: one edit for each flag, and the grammar of their values.

use std::fmt;

use super::kustomize::ImageEntry;
use super::{EditError, Glob, Pin, Wanted};

/// A flag that asks for an edit; in the list of `--edits` it is a key, without the dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `--set-image [KIND/NAME/]CONTAINER=IMAGE`
    SetImage,
    /// `--kustomize-image NAME[=NEWNAME][:TAG][@DIGEST]`
    KustomizeImage,
    /// `--helm-image PREFIX=IMAGE`
    HelmImage,
    /// `--chart-version VERSION`
    ChartVersion,
    /// `--app-version VERSION`
    AppVersion,
    /// `--set PATH=VALUE`
    Set,
    /// `--set-string PATH=VALUE`
    SetString,
    /// `--set-raw PATH=VALUE`
    SetRaw,
    /// `--marker POLICY=IMAGE`
    Marker,
    /// `--argocd-parameter [APP/]NAME=VALUE`
    ArgocdParameter,
    /// `--argocd-kustomize-image [APP//]NAME[=NEWNAME][:TAG][@DIGEST]`
    ArgocdKustomizeImage,
    /// `--strategic-patch JSON`
    StrategicPatch,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// As what the old value is: a number stays one if the new text is one too, a text a text.
    Kept,
    /// As a text, quoted where it would be read as something else.
    Text,
    /// As it is given.
    Raw,
}

/// Which image of a manifest is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSelector {
    /// A container by its name.
    Container {
        /// The kind of the object, if it was given.
        kind: Option<String>,
        /// The name of the object.
        name: Option<Glob>,
        /// The name of the container; with a dot in front, a path in the object.
        container: Glob,
    },
    /// Whatever is of this repository now.
    Repository(String),
}

/// What an edit is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Containers of Kubernetes objects. Without an image, it is [`super::Options::image`]'s.
    Image {
        /// Which ones.
        selector: ImageSelector,
        /// The new image.
        image: Option<Wanted>,
    },
    /// An entry below `images:` of a kustomization.
    Kustomize(ImageEntry),
    /// The values of a chart below a path.
    Helm {
        /// The path, such as `image` or `sub.image`.
        prefix: String,
        /// The new image.
        image: Option<Wanted>,
    },
    /// `version` or `appVersion` of a `Chart.yaml`.
    Chart {
        /// The key.
        key: &'static str,
        /// The version.
        version: String,
    },
    /// A scalar by its path.
    Value {
        /// The path.
        path: String,
        /// The new value.
        value: String,
        /// How it is written.
        typing: Typing,
    },
    /// Lines with a marker in a comment.
    Marker {
        /// What the marker says.
        policy: String,
        /// The new image.
        image: Option<Wanted>,
    },
    /// A Helm parameter of an Argo CD Application.
    Parameter {
        /// The name of the Application.
        app: Option<Glob>,
        /// The name of the parameter.
        name: String,
        /// The new value.
        value: String,
    },
    /// An image below `kustomize.images` of an Argo CD Application.
    ArgocdImage {
        /// The name of the Application.
        app: Option<Glob>,
        /// The image.
        entry: ImageEntry,
    },
    /// A strategic merge patch.
    Patch(String),
}

/// An edit, and where it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The flag that it came from.
    pub flag: Flag,
    /// The value of the flag.
    pub text: String,
    /// What it is about.
    pub target: Target,
    /// In which files, if not in all that are given.
    pub paths: Vec<Glob>,
    /// In which namespace; decides over [`super::Options::namespace`].
    pub namespace: Option<String>,
    /// Whether several places may match; decides over [`super::Options::all`].
    pub all: Option<bool>,
    /// Whether what is not there is made; decides over [`super::Options::add`].
    pub add: Option<bool>,
    /// Which parts of an image are written; decides over [`super::Options::pin`].
    pub pin: Option<Pin>,
}

impl Flag {
    /// All flags.
    pub const ALL: [Self; 12] = [
        Self::SetImage,
        Self::KustomizeImage,
        Self::HelmImage,
        Self::ChartVersion,
        Self::AppVersion,
        Self::Set,
        Self::SetString,
        Self::SetRaw,
        Self::Marker,
        Self::ArgocdParameter,
        Self::ArgocdKustomizeImage,
        Self::StrategicPatch,
    ];

    /// Its name, with the dashes.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetImage => "--set-image",
            Self::KustomizeImage => "--kustomize-image",
            Self::HelmImage => "--helm-image",
            Self::ChartVersion => "--chart-version",
            Self::AppVersion => "--app-version",
            Self::Set => "--set",
            Self::SetString => "--set-string",
            Self::SetRaw => "--set-raw",
            Self::Marker => "--marker",
            Self::ArgocdParameter => "--argocd-parameter",
            Self::ArgocdKustomizeImage => "--argocd-kustomize-image",
            Self::StrategicPatch => "--strategic-patch",
        }
    }

    /// The grammar of its value.
    pub fn grammar(self) -> &'static str {
        match self {
            Self::SetImage => "[KIND/NAME/]CONTAINER=IMAGE, or repo:OLD=IMAGE",
            Self::KustomizeImage => "NAME[=NEWNAME][:TAG][@DIGEST]",
            Self::HelmImage => "PREFIX=IMAGE",
            Self::ChartVersion | Self::AppVersion => "VERSION",
            Self::Set | Self::SetString | Self::SetRaw => "PATH=VALUE",
            Self::Marker => "POLICY=IMAGE",
            Self::ArgocdParameter => "[APP/]NAME=VALUE",
            Self::ArgocdKustomizeImage => "[APP//]NAME[=NEWNAME][:TAG][@DIGEST]",
            Self::StrategicPatch => "a patch as JSON or YAML",
        }
    }
}

impl Edit {
    /// Reads the value of a flag. The image of a `…=IMAGE` may be left out, with its `=`, where
    /// [`super::Options::image`] will say it.
    pub fn parse(flag: Flag, text: &str) -> Result<Self, EditError> {
        let target = target(flag, text).map_err(|problem| EditError::Flag {
            flag,
            text: text.into(),
            problem,
        })?;
        Ok(Self {
            flag,
            text: text.into(),
            target,
            paths: Vec::new(),
            namespace: None,
            all: None,
            add: None,
            pin: None,
        })
    }

    /// Whether it holds in the file `path`.
    pub fn is_for(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|glob| glob.matches(path))
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 120;
        write!(f, "{} ", self.flag.name())?;
        let line = self.text.replace('\n', " ");
        match line.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}…", &line[..end]),
            None => f.write_str(&line),
        }
    }
}

fn target(flag: Flag, text: &str) -> Result<Target, String> {
    let malformed = || format!("it is not {}", flag.grammar());
    match flag {
        Flag::SetImage => {
            let (selector, image) = with_image(text)?;
            Ok(Target::Image { selector: image_selector(selector)?, image })
        }
        Flag::KustomizeImage => Ok(Target::Kustomize(ImageEntry::parse(text)?)),
        Flag::HelmImage => {
            let (prefix, image) = with_image(text)?;
            Ok(Target::Helm { prefix: prefix.into(), image })
        }
        Flag::ChartVersion | Flag::AppVersion => {
            let key = if flag == Flag::ChartVersion { "version" } else { "appVersion" };
            if text.is_empty() || text.contains(char::is_whitespace) {
                return Err(malformed());
            }
            if flag == Flag::ChartVersion {
                let exact = text.strip_prefix('v').unwrap_or(text);
                semver::Version::parse(exact).map_err(|e| format!("not a version: {e}"))?;
            }
            Ok(Target::Chart { key, version: text.into() })
        }
        Flag::Set | Flag::SetString | Flag::SetRaw => {
            let (path, value) = assignment(text).ok_or_else(malformed)?;
            let typing = match flag {
                Flag::SetString => Typing::Text,
                Flag::SetRaw => Typing::Raw,
                _ => Typing::Kept,
            };
            Ok(Target::Value { path: path.into(), value: value.into(), typing })
        }
        Flag::Marker => {
            let (policy, image) = with_image(text)?;
            Ok(Target::Marker { policy: policy.into(), image })
        }
        Flag::ArgocdParameter => {
            let (name, value) = assignment(text).ok_or_else(malformed)?;
            let (app, name) = application(name);
            if name.is_empty() {
                return Err(malformed());
            }
            Ok(Target::Parameter { app, name: name.into(), value: value.into() })
        }
        Flag::ArgocdKustomizeImage => {
            let (app, entry) = argocd_image(text)?;
            Ok(Target::ArgocdImage { app, entry })
        }
        Flag::StrategicPatch => {
            if text.trim().is_empty() {
                return Err("the patch is empty".into());
            }
            Ok(Target::Patch(text.into()))
        }
    }
}

/// What is left and right of the first `=` that is neither in brackets nor in quotes.
pub(super) fn assignment(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) => quote = (c != open).then_some(open),
            (None, '"' | '\'') if depth > 0 => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, '=') if depth == 0 => {
                return (at > 0).then_some((&text[..at], &text[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

/// `SELECTOR=IMAGE`, or `SELECTOR` alone.
fn with_image(text: &str) -> Result<(&str, Option<Wanted>), String> {
    match assignment(text) {
        Some((selector, image)) => Ok((selector, Some(Wanted::parse(image)?))),
        None if text.is_empty() || text.starts_with('=') => {
            Err("what is to be changed is missing in front of the '='".into())
        }
        None => Ok((text, None)),
    }
}

fn image_selector(text: &str) -> Result<ImageSelector, String> {
    if let Some(repository) = text.strip_prefix("repo:") {
        let wanted = Wanted::parse(repository)?;
        return match (wanted.name(), wanted.tag(), wanted.digest()) {
            (Some(name), None, None) => Ok(ImageSelector::Repository(name.into())),
            _ => Err("repo: is followed by a repository, without tag and digest".into()),
        };
    }
    let words: Vec<&str> = text.splitn(3, '/').collect();
    if words.iter().any(|word| word.is_empty()) {
        return Err("a part of KIND/NAME/CONTAINER is empty; * stands for any name".into());
    }
    match words[..] {
        [container] => {
            Ok(ImageSelector::Container { kind: None, name: None, container: Glob::new(container) })
        }
        [kind, name, container] => Ok(ImageSelector::Container {
            kind: (kind != "*").then(|| kind.to_owned()),
            name: Some(Glob::new(name)),
            container: Glob::new(container),
        }),
        _ => Err("it is neither CONTAINER=IMAGE nor KIND/NAME/CONTAINER=IMAGE".into()),
    }
}

/// The name of an Application has no dot, which parameters that contain a `/` have.
fn application(text: &str) -> (Option<Glob>, &str) {
    match text.split_once('/') {
        Some((app, rest)) if is_application(app) => (Some(Glob::new(app)), rest),
        _ => (None, text),
    }
}

fn is_application(text: &str) -> bool {
    let letter =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*' | '?');
    !text.is_empty() && text.chars().all(letter)
}

/// An image's name may have a `/` itself, so the Application is told by two: `APP//NAME:TAG`.
fn argocd_image(text: &str) -> Result<(Option<Glob>, ImageEntry), String> {
    match text.split_once("//") {
        Some((app, entry)) if is_application(app) => {
            Ok((Some(Glob::new(app)), ImageEntry::parse(entry)?))
        }
        Some(_) => Err("in front of the // is no name of an Application".into()),
        None => Ok((None, ImageEntry::parse(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_themselves_in_errors() {
        for (flag, text, expected) in [
            (
                Flag::SetImage,
                "a/b=c:1",
                "--set-image a/b=c:1: it is neither CONTAINER=IMAGE nor KIND/NAME/CONTAINER=IMAGE",
            ),
            (
                Flag::SetImage,
                "=c:1",
                "--set-image =c:1: what is to be changed is missing in front of the '='",
            ),
            (Flag::SetImage, "a=", "--set-image a=: the image is empty"),
            (Flag::Set, "a", "--set a: it is not PATH=VALUE"),
            (Flag::KustomizeImage, "a=", "--kustomize-image a=: nothing is behind the '='"),
            (
                Flag::KustomizeImage,
                "*:1",
                "--kustomize-image *:1: it does not begin with the name of an image",
            ),
        ] {
            assert_eq!(Edit::parse(flag, text).unwrap_err().to_string(), expected);
        }
        for (flag, text) in [
            (Flag::SetImage, "a=B:1"),
            (Flag::SetImage, "repo:a:1=b:1"),
            (Flag::SetImage, "a//b=c:1"),
            (Flag::KustomizeImage, "a=bad name"),
            (Flag::KustomizeImage, "a:"),
            (Flag::ChartVersion, "1"),
            (Flag::ArgocdKustomizeImage, "a.b//x:1"),
            (Flag::StrategicPatch, " "),
        ] {
            assert!(Edit::parse(flag, text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_assignment_is_cut_outside_of_brackets() {
        for (text, expected) in [
            ("a=b=c", Some(("a", "b=c"))),
            ("a[x=y].z=1", Some(("a[x=y].z", "1"))),
            ("a[x=\"]=\"].z=1", Some(("a[x=\"]=\"].z", "1"))),
            ("a", None),
            ("=1", None),
        ] {
            assert_eq!(assignment(text), expected);
        }
    }

    #[test]
    fn an_application_has_no_dot() {
        let app = |text| match Edit::parse(Flag::ArgocdParameter, text).unwrap().target {
            Target::Parameter { app, name, .. } => (app.map(|a| a.as_str().to_owned()), name),
            _ => unreachable!("it is a parameter"),
        };
        assert_eq!(app("web/image.tag=1"), (Some("web".into()), "image.tag".into()));
        assert_eq!(app("a.b/c=1"), (None, "a.b/c".into()));
    }
}
