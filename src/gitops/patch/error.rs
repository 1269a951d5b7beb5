//! Why nothing was changed.

use std::path::PathBuf;

use crate::git::{GitError, ObjectId};
use crate::gitops::edits::EditError;
use crate::gitops::forge::ForgeError;
use crate::gitops::{Classified, Kind, TemplateError};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// What is asked for does not fit the files.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The repository cannot be read, or not pushed to.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The service will not have a pull request.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// A text of the commit or of the pull request.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A trailer that is none.
    #[error(
        "{0:?} is no trailer, which is NAME: VALUE on one line, with a name of letters, digits and -"
    )]
    Trailer(String),
    /// The pull request would be from a branch to itself.
    #[error("--pr-branch {0} is the branch that the change is for")]
    SameBranch(String),
    /// Nothing is to be changed.
    #[error("nothing is to be changed: give an edit, such as --set-image, or --edits FILE")]
    NoEdit,
    /// An edit without a file.
    #[error("{0}: in which file? give --path")]
    NoPath(String),
    /// A file is not there.
    #[error("there is no file {path}{}", list(.there))]
    NoFile {
        /// The path or pattern.
        path: String,
        /// What is in its directory.
        there: Vec<String>,
    },
    /// The server does not let the branch be changed.
    #[error("{branch} is not changed: {reason}")]
    Refused {
        /// The branch.
        branch: String,
        /// Why, in the server's words.
        reason: String,
        /// What its hooks have said.
        messages: Vec<String>,
        /// Whether a pull request was not asked for.
        alone: bool,
    },
    /// Others were faster each time.
    #[error("{branch} was changed by others each time, in {attempts} attempts")]
    Attempts {
        /// The branch.
        branch: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// Others have changed the same value meanwhile.
    #[error("{path}: {place} was changed meanwhile, from {old} to {now}")]
    Conflict {
        /// The file.
        path: String,
        /// The place in it.
        place: String,
        /// What it was at first.
        old: String,
        /// What it is now.
        now: String,
    },
    /// What is there was built of a newer commit than ours.
    #[error("{0}")]
    Superseded(Box<Superseded>),
    /// The branch of a pull request has something that is not ours.
    #[error("branch {branch} has a commit of {author}, which is not replaced")]
    Foreign {
        /// The branch.
        branch: String,
        /// Whose it is.
        author: String,
    },
    /// A file of a checkout.
    #[error("{what} {path}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A value that was built of a newer commit than ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {place} is {now} already, built of {theirs}, which comes after {ours}")]
pub struct Superseded {
    /// The file.
    pub path: String,
    /// The place in it.
    pub place: String,
    /// What it is.
    pub now: String,
    /// Its source's commit.
    pub theirs: ObjectId,
    /// Ours.
    pub ours: ObjectId,
}

fn list(there: &[String]) -> String {
    /// Names that are listed.
    const SHOWN: usize = 30;
    if there.is_empty() {
        return String::new();
    }
    let mut lines: Vec<String> =
        there.iter().take(SHOWN).map(|name| format!("\n  {name}")).collect();
    if there.len() > SHOWN {
        lines.push(format!("\n  and {} more", there.len() - SHOWN));
    }
    format!("; there is:{}", lines.concat())
}

impl Classified for PatchError {
    fn kind(&self) -> Kind {
        match self {
            Self::Edit(error) => error.kind(),
            Self::Git(error) => error.kind(),
            Self::Forge(error) => error.kind(),
            Self::Template(_)
            | Self::Trailer(_)
            | Self::SameBranch(_)
            | Self::NoEdit
            | Self::NoPath(_) => Kind::Usage,
            Self::NoFile { .. } => Kind::NothingMatched,
            Self::Refused { .. } => Kind::Refused,
            Self::Attempts { .. } | Self::Conflict { .. } | Self::Foreign { .. } => Kind::Conflict,
            Self::Superseded(_) => Kind::Superseded,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Kind::Missing
            }
            Self::File { .. } => Kind::Output,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Edit(error) => error.hints(),
            Self::Git(error) => error.hints(),
            Self::Forge(error) => error.hints(),
            Self::Refused { messages, alone, .. } => {
                let mut hints: Vec<String> =
                    messages.iter().map(|line| format!("the server says: {line}")).collect();
                if *alone {
                    hints.push("--pr fallback opens a pull request instead".to_owned());
                }
                hints
            }
            Self::Attempts { .. } => vec!["--max-attempts lets it try more often".to_owned()],
            Self::Superseded(_) => vec![
                "--superseded ok takes this for success; --on-conflict overwrite writes nevertheless"
                    .to_owned(),
            ],
            Self::Foreign { .. } => vec!["--pr-branch names another one".to_owned()],
            _ => Vec::new(),
        }
    }
}
