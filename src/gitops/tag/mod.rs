//! `image-tag`: the name that an image gets, from a template, a clock and a checkout.
//!
//! It promises a tag that registries take, that sorts by time unless another form is asked for,
//! that is the same for the same commit and epoch, and that no YAML reader takes for a number,
//! boolean or date, unless that is allowed. The checkout is read without git, and only if the
//! template needs it. What it refuses: variables without a value, rather than leaving them out.

mod error;
mod grammar;
mod version;

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use semver::Version;

use super::template::{Template, TemplateError};
use crate::git::{LocalRepository, ObjectId};
use crate::image::{Digest, Reference};

pub use error::TagError;
pub use grammar::{is_tag, not_text, slug};
pub use version::Bump;

/// The variables of a format.
pub const VARIABLES: &[&str] = &[
    "date",
    "timestamp",
    "commit_date",
    "sha",
    "short_sha",
    "branch",
    "tag",
    "version",
    "major",
    "minor",
    "patch",
    "prerelease",
    "count",
    "digest",
    "run",
];

/// The variables of what stands behind a version: a version within it would have no end.
const WITHIN: &[&str] =
    &["date", "timestamp", "commit_date", "sha", "short_sha", "branch", "count", "run"];
/// The format of `{{date}}`: sortable, and no number.
const DATE: &str = "%Y%m%dT%H%M%SZ";
/// Digits of a short commit id, as git shows them.
const SHORT: usize = 7;
/// Characters of a branch: a tag has room for more beside it.
const BRANCH: usize = 63;

/// Where the tag comes from, which decides on the format unless one is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagSource {
    /// When and what: `{{date}}-{{short_sha}}`
    #[default]
    Both,
    /// The commit: `sha-{{short_sha}}`
    Git,
    /// The version that the git tags give: `{{version}}`
    Semver,
    /// The time: `{{date}}`
    Timestamp,
    /// The digest of an image: `sha256-{{digest}}`
    Digest,
}

impl TagSource {
    /// Its format.
    pub fn format(self) -> &'static str {
        match self {
            Self::Both => "{{date}}-{{short_sha}}",
            Self::Git => "sha-{{short_sha}}",
            Self::Semver => "{{version}}",
            Self::Timestamp => "{{date}}",
            Self::Digest => "sha256-{{digest}}",
        }
    }
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct TagRequest {
    /// The image without a tag, as `HOST/PATH`; absent: only the tag is made.
    pub repository: Option<String>,
    /// The template; else that of `source`.
    pub format: Option<String>,
    /// Where the tag comes from.
    pub source: TagSource,
    /// A directory in a checkout.
    pub checkout: PathBuf,
    /// The time, in seconds since 1970.
    pub now: i64,
    /// The commit, instead of the one that is checked out.
    pub commit: Option<String>,
    /// The branch, which a checkout of a commit does not know.
    pub branch: Option<String>,
    /// A digest, for `{{digest}}`.
    pub digest: Option<Digest>,
    /// The name of the pipeline's run, for `{{run}}`.
    pub run: Option<String>,
    /// Which part of the last version grows, where the commit has none of its own.
    pub bump: Option<Bump>,
    /// What stands behind a version that grew; a template too.
    pub prerelease: Option<String>,
    /// What git tags of versions begin with, before `v`.
    pub tag_prefix: String,
    /// Whether a tag is taken that YAML does not read as text.
    pub allow_numeric: bool,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeTag {
    /// The tag.
    pub tag: String,
    /// Repository and tag.
    pub image: Option<String>,
    /// The commit, if it is known.
    pub commit: Option<String>,
    /// The beginning of its id.
    pub short_commit: Option<String>,
    /// The time, as RFC 3339 has it.
    pub timestamp: String,
}

/// Makes a tag.
pub fn make_tag(request: &TagRequest) -> Result<MadeTag, TagError> {
    let format = request.format.as_deref().unwrap_or(request.source.format());
    let template = Template::parse(format, VARIABLES)?;
    let values = Values::new(request)?;
    let tag = template.fill(|name, argument| values.get(name, argument))?;
    if !is_tag(&tag) {
        return Err(TagError::Grammar { tag });
    }
    if let Some(what) = not_text(&tag).filter(|_| !request.allow_numeric) {
        return Err(TagError::NotText { tag, what });
    }
    let image = request.repository.as_deref().map(|repository| named(repository, &tag));
    let commit = values.commit.as_ref().map(ToString::to_string);
    Ok(MadeTag {
        image: image.transpose()?,
        tag,
        short_commit: commit.as_deref().map(|commit| commit[..SHORT].to_owned()),
        commit,
        timestamp: values.now.to_string(),
    })
}

/// The name of an image with a tag, as the repository was written.
fn named(repository: &str, tag: &str) -> Result<String, TagError> {
    let image = format!("{repository}:{tag}");
    let parsed: Reference = image.parse()?;
    let whole = repository.contains('@') || parsed.tag() != Some(tag);
    // A colon after the last slash is a tag's, and then there are two.
    if whole { Err(TagError::Named(repository.to_owned())) } else { Ok(image) }
}

/// What the variables stand for; what costs something is found when it is used.
struct Values<'a> {
    request: &'a TagRequest,
    now: Timestamp,
    repository: Option<LocalRepository>,
    commit: Option<ObjectId>,
    branch: Option<String>,
}

impl<'a> Values<'a> {
    fn new(request: &'a TagRequest) -> Result<Self, TagError> {
        let now = timestamp(request.now)?;
        let repository = LocalRepository::open(&request.checkout)?;
        let given = request
            .commit
            .as_deref()
            .map(|text| ObjectId::parse(text).ok_or_else(|| TagError::Commit(text.to_owned())));
        let given = given.transpose()?;
        let head = match (&repository, given) {
            (Some(repository), None) => Some(repository.head()?),
            _ => None,
        };
        let commit = given.or(head.as_ref().map(|head| head.commit));
        let branch = request.branch.clone().or(head.and_then(|head| head.branch));
        let strip =
            |name: String| name.strip_prefix("refs/heads/").map_or(name.clone(), str::to_owned);
        Ok(Self { request, now, repository, commit, branch: branch.map(strip) })
    }

    fn get(&self, name: &str, argument: Option<&str>) -> Result<String, TagError> {
        let wrong = |argument: &str, problem: &str| {
            TagError::Template(TemplateError::Argument {
                name: name.to_owned(),
                argument: argument.to_owned(),
                problem: problem.to_owned(),
            })
        };
        let absent = |problem: &str| {
            TagError::Template(TemplateError::Absent { name: name.into(), problem: problem.into() })
        };
        let none = "there is no checkout: give --source DIR or --commit";
        let commit = || self.commit.ok_or_else(|| absent(none));
        // How many characters of what is longer.
        let length = |default: usize| match argument {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => Err(wrong(text, "expected a number of characters")),
                Ok(number) => Ok(number),
            },
        };
        let plain = |value: String| match argument {
            None => Ok(value),
            Some(argument) => Err(wrong(argument, "this variable takes nothing after a colon")),
        };
        let date = |time: Timestamp| {
            let format = argument.unwrap_or(DATE);
            strtime::format(format, &time.to_zoned_datetime(TimeZone::UTC))
                .map_err(|error| wrong(format, &error.to_string()))
        };
        match name {
            "date" => date(self.now),
            "timestamp" => plain(self.request.now.to_string()),
            "commit_date" => {
                let id = commit()?;
                let repository = self.repository.as_ref().ok_or_else(|| absent(none))?;
                date(timestamp(repository.commit(&id)?.committed)?)
            }
            "sha" => plain(commit()?.to_string()),
            "short_sha" => Ok(start(&commit()?.to_string(), length(SHORT)?)),
            "branch" => match &self.branch {
                Some(branch) => {
                    let cut = start(&slug(branch), length(BRANCH)?);
                    Ok(cut.trim_end_matches(['-', '.']).to_owned())
                }
                None => Err(absent("no branch is checked out; give --branch")),
            },
            "tag" => {
                let tags = self.own_tags()?;
                let best = tags.iter().max_by_key(|tag| (self.version_of(tag), (*tag).clone()));
                let best = best.ok_or_else(|| absent("no git tag points to the commit"))?;
                plain(slug(best))
            }
            "version" => plain(version::as_tag(&self.version()?)),
            "major" => plain(self.version()?.major.to_string()),
            "minor" => plain(self.version()?.minor.to_string()),
            "patch" => plain(self.version()?.patch.to_string()),
            "prerelease" => plain(self.version()?.pre.to_string()),
            "count" => {
                let whole = self.repository.as_ref().ok_or_else(|| absent(none))?;
                if whole.is_shallow() {
                    return Err(absent("the history is cut off; clone it with depth 0"));
                }
                plain(whole.ancestors(commit()?)?.len().to_string())
            }
            "digest" => match &self.request.digest {
                Some(digest) => Ok(start(digest.hex(), length(12)?)),
                None => Err(absent("give --digest")),
            },
            _ => match &self.request.run {
                Some(run) => plain(slug(run)),
                None => Err(absent("give --run")),
            },
        }
    }

    fn version_of(&self, tag: &str) -> Option<Version> {
        version::of_tag(tag, &self.request.tag_prefix)
    }

    /// The git tags of the commit.
    fn own_tags(&self) -> Result<Vec<String>, TagError> {
        let Some(repository) = &self.repository else { return Ok(Vec::new()) };
        let tags = repository.tags()?.into_iter();
        Ok(tags.filter(|(_, id)| Some(*id) == self.commit).map(|(name, _)| name).collect())
    }

    /// The version of the commit's own tag; else the one after the last before it.
    fn version(&self) -> Result<Version, TagError> {
        let repository = self.repository.as_ref().ok_or(TagError::NoRepository)?;
        let commit = self.commit.ok_or(TagError::NoRepository)?;
        let tags = repository.tags()?.into_iter();
        let versions: Vec<(Version, ObjectId)> =
            tags.filter_map(|(name, id)| Some((self.version_of(&name)?, id))).collect();
        let own = versions.iter().filter(|(_, id)| *id == commit).map(|(version, _)| version);
        if let Some(own) = own.max() {
            return Ok(own.clone());
        }
        // Nothing is walked where no tag could be found.
        let before: BTreeSet<ObjectId> =
            if versions.is_empty() { BTreeSet::new() } else { repository.ancestors(commit)? };
        let last = versions.iter().filter(|(_, id)| before.contains(id)).map(|(v, _)| v).max();
        let Some(bump) = self.request.bump else {
            return Err(TagError::NoVersion { commit, last: last.map(ToString::to_string) });
        };
        if last.is_none() && repository.is_shallow() {
            return Err(TagError::Shallow { commit });
        }
        let next = version::next(last.unwrap_or(&Version::new(0, 0, 0)), bump);
        let Some(prerelease) = &self.request.prerelease else { return Ok(next) };
        let template = Template::parse(prerelease, WITHIN)?;
        let text = template.fill(|name, argument| self.get(name, argument))?;
        version::with_prerelease(&next, &text).map_err(TagError::Prerelease)
    }
}

fn timestamp(seconds: i64) -> Result<Timestamp, TagError> {
    Timestamp::from_second(seconds).map_err(|_| TagError::Time(seconds))
}

fn start(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
mod tests;
