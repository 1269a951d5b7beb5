//! `git-patch`: a change of a few values in files of a repository, as one commit on a branch.
//!
//! ```text
//!        ┌─► read the branch ─► read the files ─► edit them ─► nothing to do: done
//!        │                                          │
//!        │                              is what is there newer than ours? ─► superseded
//!        │                                          │
//!        │                                  commit, push ─► taken: done
//!        │                                          │
//!        └── the branch has moved ◄── refused, or nobody knows
//!                                                   │ it has not moved
//!                                                   ▼
//!                                       a pull request, or an error
//! ```
//!
//! It promises: all edits or none; no commit that changes nothing; no merge and no forced push of the
//! branch; that a change made of a newer commit is not rolled back, as far as trailers and the
//! repository of the sources tell; and that one run's change is made once, even if the connection
//! breaks after it was pushed. After a lost race the edit is made again on what is there then: it
//! never conflicts as text does. What a refusal says is not interpreted: whether it is final is seen
//! by whether the branch has moved.

mod attempt;
mod directory;
mod error;
mod history;
mod images;
mod message;
mod proposal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upstream;

use crate::git::{Author, ObjectId};
use crate::image::Digest;
use crate::net::Retry;
use crate::report::Sink;

use super::edits::{Edit, EditError, Glob, Options, edit_files};
use super::forge::{Forge, MergeMethod};

pub use directory::patch_directory;
pub use error::{PatchError, Superseded};
pub use message::{Texts, VARIABLES};
pub use upstream::Repository;

use attempt::End;
use upstream::{Upstream, short_name};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct PatchRequest {
    /// The branch; absent: the one that the repository's `HEAD` names.
    pub branch: Option<String>,
    /// What the branch is made of, if it is not there.
    pub base: Option<String>,
    /// The files, or patterns of them, of edits that name none themselves.
    pub paths: Vec<String>,
    /// What is changed.
    pub edits: Vec<Edit>,
    /// What holds for all edits.
    pub options: Options,
    /// What the commit says.
    pub texts: Texts,
    /// Who makes the change.
    pub author: Author,
    /// Who makes the commit.
    pub committer: Author,
    /// What becomes of values that others have changed.
    pub on_conflict: OnConflict,
    /// How often it is tried.
    pub max_attempts: u32,
    /// How long is waited between attempts.
    pub pace: Retry,
    /// Words for the server's hooks.
    pub push_options: Vec<String>,
    /// Whether and how a pull request is opened.
    pub pull: Pull,
    /// Whether all is done but the push.
    pub dry_run: bool,
}

/// What becomes of values that others have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// A value of a newer source stays.
    #[default]
    NewerWins,
    /// Ours is written whatever is there.
    Overwrite,
    /// As `NewerWins`; and a value that changes while we try is an error.
    Fail,
}

/// When a pull request is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Never.
    #[default]
    Never,
    /// When the branch may not be changed.
    Refused,
    /// Always; the branch itself is left alone.
    Always,
}

/// Whether and how a pull request is opened. Title, body and branch are templates.
#[derive(Clone, Debug, Default)]
pub struct Pull {
    /// When.
    pub when: When,
    /// The title; absent: the subject of the commit.
    pub title: Option<String>,
    /// What stands below it; absent: what has changed.
    pub body: Option<String>,
    /// The branch that has the commit; absent: one of the image's name and a hash.
    pub branch: Option<String>,
    /// Names of labels.
    pub labels: Vec<String>,
    /// Users, and teams as `ORGANISATION/TEAM`.
    pub reviewers: Vec<String>,
    /// Users.
    pub assignees: Vec<String>,
    /// Whether it is not to be merged yet.
    pub draft: bool,
    /// Whether and how it is merged once all checks have passed.
    pub auto_merge: Option<MergeMethod>,
}

/// Who opens a pull request.
#[derive(Clone, Copy, Debug)]
pub enum Opener<'a> {
    /// The API of a service.
    Forge(&'a Forge),
    /// GitLab, told by options of the push.
    PushOptions,
}

/// A value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: String,
    /// Where in it.
    pub place: String,
    /// What it was.
    pub old: Option<String>,
    /// What it becomes.
    pub new: Option<String>,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// The file.
    pub path: String,
    /// What was in it.
    pub old: Vec<u8>,
    /// What is in it then.
    pub new: Vec<u8>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patched {
    /// The commit that has the change; where there was nothing to do, the branch's.
    pub commit: Option<ObjectId>,
    /// The commit that the branch was at before.
    pub previous: Option<ObjectId>,
    /// Whether something was changed.
    pub changed: bool,
    /// The page of the pull request.
    pub pull_url: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// The files that change.
    pub files: Vec<ChangedFile>,
    /// Why nothing was changed, where that is not plain.
    pub note: Option<String>,
}

/// Makes the change in a repository elsewhere.
pub async fn patch(
    repository: &Repository<'_>,
    request: &PatchRequest,
    opener: Option<Opener<'_>>,
    sink: &dyn Sink,
) -> Result<Patched, PatchError> {
    patch_at(repository, request, opener, sink).await
}

async fn patch_at<U: Upstream>(
    upstream: &U,
    request: &PatchRequest,
    opener: Option<Opener<'_>>,
    sink: &dyn Sink,
) -> Result<Patched, PatchError> {
    request.check()?;
    let branch = match &request.branch {
        Some(branch) => branch.clone(),
        None => upstream.default_branch().await?.unwrap_or_else(|| "main".to_owned()),
    };
    let branch = short_name(&branch).to_owned();
    match attempt::run(upstream, request, &branch, sink).await? {
        End::Done(patched) => Ok(patched),
        End::Propose(ready) => {
            proposal::propose(upstream, request, opener, &branch, ready, sink).await
        }
    }
}

/// Files with what becomes of them.
#[derive(Clone, Debug, Default)]
struct Computed {
    files: Vec<ChangedFile>,
    changes: Vec<Change>,
}

impl PatchRequest {
    /// Finds mistakes before anything is asked for.
    fn check(&self) -> Result<(), PatchError> {
        self.texts.check()?;
        for template in [&self.pull.title, &self.pull.body, &self.pull.branch].into_iter().flatten()
        {
            super::template::Template::parse(template, VARIABLES)?;
        }
        let pathless = self.edits.iter().find(|edit| edit.paths.is_empty());
        match pathless {
            Some(edit) if self.paths.is_empty() => Err(PatchError::NoPath(edit.to_string())),
            _ if self.edits.is_empty() => Err(PatchError::NoEdit),
            _ => Ok(()),
        }
    }

    /// The edits, each with the files that it is about.
    fn edits(&self) -> Vec<Edit> {
        let globs: Vec<Glob> = self.paths.iter().map(Glob::new).collect();
        let placed = |edit: &Edit| {
            let mut edit = edit.clone();
            if edit.paths.is_empty() {
                edit.paths.clone_from(&globs);
            }
            edit
        };
        self.edits.iter().map(placed).collect()
    }

    /// All paths and patterns, each once.
    fn patterns(&self) -> Vec<Glob> {
        let mut all: Vec<Glob> = Vec::new();
        for edit in self.edits() {
            for glob in edit.paths {
                if !all.contains(&glob) {
                    all.push(glob);
                }
            }
        }
        all
    }

    /// What the edits make of files.
    fn compute(&self, files: &[(String, Vec<u8>)]) -> Result<Computed, EditError> {
        let mut computed = Computed::default();
        for edited in edit_files(files, &self.edits(), &self.options)? {
            let old = files.iter().find(|(path, _)| *path == edited.path);
            let Some((path, old)) = old.filter(|(_, old)| *old != edited.bytes) else { continue };
            for change in edited.changes {
                let (place, old, new) = (change.place, change.old, change.new);
                computed.changes.push(Change { path: path.clone(), place, old, new });
            }
            let (path, old) = (path.clone(), old.clone());
            computed.files.push(ChangedFile { path, old, new: edited.bytes });
        }
        Ok(computed)
    }

    /// Tells changes apart: the same request has the same one.
    fn hash(&self, branch: &str) -> String {
        let mut text = format!("{branch}\n{}\n", self.options.image.as_deref().unwrap_or_default());
        for edit in self.edits() {
            let paths: Vec<&str> = edit.paths.iter().map(Glob::as_str).collect();
            text.extend([edit.flag.name(), " ", &edit.text, "\n", &paths.join("\n"), "\n"]);
        }
        Digest::of(text.as_bytes()).hex()[..10].to_owned()
    }
}
