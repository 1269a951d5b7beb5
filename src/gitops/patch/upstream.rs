//! The repository elsewhere, as the engine sees it; and git's.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::git::{
    Commit, Edit, Git, GitError, GitUrl, Head, Made, NewCommit, ObjectId, Push, Pushed, Remote,
    Signer, Update,
};

/// A repository whose branches are read, and pushed to.
pub(super) trait Upstream {
    /// A commit at the tip of a branch.
    type Tip: Clone;
    /// A commit that is not there yet.
    type Made;

    /// The branch that is meant where none is named.
    async fn default_branch(&self) -> Result<Option<String>, GitError>;
    /// A branch as it is now.
    async fn open(&self, branch: &str) -> Result<Self::Tip, GitError>;
    /// The commit of a branch now, if it is there.
    async fn reference(&self, branch: &str) -> Result<Option<ObjectId>, GitError>;
    /// The commit itself.
    fn commit<'a>(&self, tip: &'a Self::Tip) -> &'a Commit;
    /// The paths of files that a pattern matches.
    async fn glob(&self, tip: &Self::Tip, pattern: &str) -> Result<Vec<String>, GitError>;
    /// Files; none for what is not there.
    async fn read(
        &self,
        tip: &Self::Tip,
        paths: &[String],
    ) -> Result<Vec<Option<Arc<Vec<u8>>>>, GitError>;
    /// The names in a directory, if there is one.
    async fn list(&self, tip: &Self::Tip, dir: &str) -> Result<Vec<String>, GitError>;
    /// The last commits, the newest first.
    async fn log(&self, tip: &Self::Tip, count: u32) -> Result<Vec<Commit>, GitError>;
    /// Makes a commit on `tip` in which files have another content.
    async fn make(
        &self,
        tip: &Self::Tip,
        files: &BTreeMap<String, Vec<u8>>,
        new: &NewCommit,
    ) -> Result<Option<Self::Made>, GitError>;
    /// Its id.
    fn id(&self, made: &Self::Made) -> ObjectId;
    /// The id of its root directory.
    fn tree(&self, made: &Self::Made) -> ObjectId;
    /// Sets a branch to a commit, if it still is at `old`.
    async fn push(
        &self,
        branch: &str,
        old: Option<ObjectId>,
        made: &Self::Made,
        options: &[String],
    ) -> Result<Pushed, GitError>;
    /// Whether `older` leads to `newer` in the repository of the sources; none if nobody knows.
    async fn leads_to(&self, older: &ObjectId, newer: &ObjectId) -> Result<Option<bool>, GitError>;
}

/// A repository of a git server.
#[derive(Clone, Copy)]
pub struct Repository<'g> {
    /// The client.
    pub git: &'g Git,
    /// Where it is.
    pub remote: &'g Remote,
    /// Where the sources are that images are built of.
    pub sources: Option<&'g Remote>,
    /// Signs commits.
    pub signer: Option<&'g dyn Signer>,
}

impl std::fmt::Debug for Repository<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("remote", self.remote).finish_non_exhaustive()
    }
}

impl<'g> Upstream for Repository<'g> {
    type Tip = Head<'g>;
    type Made = Made;

    async fn default_branch(&self) -> Result<Option<String>, GitError> {
        let resolved = self.git.resolve(&GitUrl::new(self.remote.clone())).await?;
        Ok(resolved.name)
    }

    async fn open(&self, branch: &str) -> Result<Head<'g>, GitError> {
        self.git.open_branch(self.remote, branch).await
    }

    async fn reference(&self, branch: &str) -> Result<Option<ObjectId>, GitError> {
        self.git.reference(self.remote, branch).await
    }

    fn commit<'a>(&self, tip: &'a Head<'g>) -> &'a Commit {
        tip.commit()
    }

    async fn glob(&self, tip: &Head<'g>, pattern: &str) -> Result<Vec<String>, GitError> {
        tip.glob(pattern).await
    }

    async fn read(
        &self,
        tip: &Head<'g>,
        paths: &[String],
    ) -> Result<Vec<Option<Arc<Vec<u8>>>>, GitError> {
        let files = tip.read(paths).await?;
        Ok(files.into_iter().map(|file| file.map(|file| file.bytes)).collect())
    }

    async fn list(&self, tip: &Head<'g>, dir: &str) -> Result<Vec<String>, GitError> {
        let entries = tip.list(dir).await?.unwrap_or_default();
        let name = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
        Ok(entries.into_iter().map(|entry| name(entry.name)).collect())
    }

    async fn log(&self, tip: &Head<'g>, count: u32) -> Result<Vec<Commit>, GitError> {
        tip.log(count).await
    }

    async fn make(
        &self,
        tip: &Head<'g>,
        files: &BTreeMap<String, Vec<u8>>,
        new: &NewCommit,
    ) -> Result<Option<Made>, GitError> {
        let write = |bytes: &Vec<u8>| Edit::Write { bytes: bytes.clone(), executable: None };
        let edits = files.iter().map(|(path, bytes)| (path.clone(), write(bytes))).collect();
        tip.commit_with(&edits, new, self.signer).await
    }

    fn id(&self, made: &Made) -> ObjectId {
        made.commit.id
    }

    fn tree(&self, made: &Made) -> ObjectId {
        made.commit.tree
    }

    async fn push(
        &self,
        branch: &str,
        old: Option<ObjectId>,
        made: &Made,
        options: &[String],
    ) -> Result<Pushed, GitError> {
        let update = Update { reference: full_name(branch), old, new: Some(made.commit.id) };
        let push = Push {
            updates: vec![update],
            commits: vec![made],
            atomic: false,
            options: options.to_vec(),
        };
        self.git.push(self.remote, &push).await
    }

    async fn leads_to(&self, older: &ObjectId, newer: &ObjectId) -> Result<Option<bool>, GitError> {
        let Some(sources) = self.sources else { return Ok(None) };
        match self.git.is_ancestor(sources, older, newer).await {
            Ok(answer) => Ok(Some(answer)),
            // A commit that is not there any more; what cannot be asked is no such answer.
            Err(GitError::Refused { .. } | GitError::NoCommit { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The full name of a branch.
pub(super) fn full_name(branch: &str) -> String {
    if branch.starts_with("refs/") { branch.to_owned() } else { format!("refs/heads/{branch}") }
}

/// The name of a branch without `refs/heads/`, as services want it.
pub(super) fn short_name(branch: &str) -> &str {
    branch.strip_prefix("refs/heads/").unwrap_or(branch)
}
