//! Why no tag can be made.

use super::super::template::TemplateError;
use super::super::{Classified, Kind};
use crate::git::{LocalError, ObjectId};
use crate::image::ReferenceError;

/// Why no tag can be made.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The format.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The checkout.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The name of the image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The image has a tag or digest already.
    #[error("--repo {0:?} has a tag or digest already; give HOST/PATH alone")]
    Named(String),
    /// A commit that is none.
    #[error("--commit {0:?} is no commit: expected all 40 or 64 hexadecimal digits")]
    Commit(String),
    /// A time that no calendar has.
    #[error("{0} seconds since 1970 is no time")]
    Time(i64),
    /// What came out is no tag.
    #[error(
        "{tag:?} is no tag: 1 to 128 letters, digits, '_', '.' or '-', not beginning with '.' or '-'"
    )]
    Grammar {
        /// What came out.
        tag: String,
    },
    /// A tag that is not text in a YAML file.
    #[error("YAML reads the tag {tag} as {what} where it stands without quotes")]
    NotText {
        /// The tag.
        tag: String,
        /// What YAML takes it for.
        what: &'static str,
    },
    /// A version is wanted, without a checkout.
    #[error("a version comes from git tags, and there is no checkout: give --source DIR")]
    NoRepository,
    /// The commit has no tag of a version.
    #[error("no git tag gives commit {commit} a version{}", last_text(.last.as_deref()))]
    NoVersion {
        /// The commit.
        commit: ObjectId,
        /// The last version before it.
        last: Option<String>,
    },
    /// The last version cannot be known.
    #[error("no version before commit {commit} is known, since the history is cut off")]
    Shallow {
        /// The commit.
        commit: ObjectId,
    },
    /// What is to stand behind the version.
    #[error("{0}")]
    Prerelease(String),
}

fn last_text(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!("; the last one before it is {last}"))
}

impl Classified for TagError {
    fn kind(&self) -> Kind {
        match self {
            Self::Local(LocalError::NoObject { .. } | LocalError::Unborn { .. }) => Kind::Missing,
            Self::Local(_) => Kind::Input,
            Self::NoVersion { .. } | Self::Shallow { .. } => Kind::NothingMatched,
            _ => Kind::Usage,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotText { .. } => {
                "a letter in --format makes it text, as in v{{date}}; --allow-numeric takes it as it is"
            }
            Self::NoVersion { .. } => "--bump patch|minor|major makes the next version",
            Self::Shallow { .. } => "clone with more depth, or with tags",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
