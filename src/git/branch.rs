//! A branch of a repository elsewhere, read a little at a time.
//!
//! Opening it takes the commit and its root directory. Reading paths takes, in one request for
//! each level, the directories on the way to all of them, and in one more the files. Links and
//! submodules are not followed: a path on which one lies is an error, since what it leads to is
//! not what a change of this path would change.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::error::GitError;
use super::glob::Pattern;
use super::id::ObjectId;
use super::object::{Kind, Mode, TreeEntry};
use super::objects::Source;
use super::protocol::{self, Filter};
use super::url::Remote;
use super::{Commit, Git, refs};

/// A commit at the tip of a branch, of which more is fetched when it is asked for.
#[derive(Clone)]
pub struct Head<'g> {
    pub(super) source: Source<'g>,
    pub(super) reference: String,
    pub(super) commit: Commit,
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("reference", &self.reference)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Whether it is executable.
    pub executable: bool,
    /// What is in it.
    pub bytes: Arc<Vec<u8>>,
    /// The id of its content.
    pub id: ObjectId,
}

impl Git {
    /// The commit of a branch (`main`, or a full reference) as it is now. What is here of the
    /// repository since it was opened before is not fetched again.
    pub async fn open_branch(&self, remote: &Remote, branch: &str) -> Result<Head<'_>, GitError> {
        let source = self.source(remote).await?;
        let reference = full_name(branch);
        let Some(id) = look_up(&source, &reference).await? else {
            return Err(absent(&source, branch).await);
        };
        source.need_commit(id).await?;
        let commit = source.commit(&id)?;
        Ok(Head { source, reference, commit })
    }

    /// What a reference (`main`, or its full name) points to now, if it is there.
    pub async fn reference(
        &self,
        remote: &Remote,
        name: &str,
    ) -> Result<Option<ObjectId>, GitError> {
        let source = self.source(remote).await?;
        look_up(&source, &full_name(name)).await
    }
}

/// The full name of a branch.
pub(super) fn full_name(branch: &str) -> String {
    if branch.starts_with("refs/") { branch.to_owned() } else { format!("refs/heads/{branch}") }
}

async fn look_up(source: &Source<'_>, reference: &str) -> Result<Option<ObjectId>, GitError> {
    let prefixes = [reference.to_owned()];
    let found = protocol::ls_refs(&source.git.transport, &source.server, &prefixes).await?;
    Ok(found.all.iter().find(|found| found.name == reference).map(|found| found.id))
}

async fn absent(source: &Source<'_>, branch: &str) -> GitError {
    let remote = source.remote.to_string();
    let prefixes = ["refs/heads/".to_owned()];
    match protocol::ls_refs(&source.git.transport, &source.server, &prefixes).await {
        Ok(found) if found.all.is_empty() => GitError::Empty { remote },
        Ok(found) => {
            let near = refs::near(&found.all, branch);
            GitError::NoReference { remote, name: branch.to_owned(), near }
        }
        Err(error) => error,
    }
}

/// The names of a path; an error for what is no path in a repository.
pub(super) fn parts(path: &str) -> Result<Vec<&str>, GitError> {
    let parts: Vec<&str> = path.split('/').collect();
    let bad = |part: &&str| matches!(*part, "" | "." | "..") || part.contains('\0');
    if parts.iter().any(bad) {
        return Err(GitError::BadPath { path: path.to_owned() });
    }
    Ok(parts)
}

/// What stands where a file or a directory was expected.
pub(super) fn what(mode: Mode) -> &'static str {
    match mode {
        Mode::Directory => "a directory",
        Mode::File { .. } => "a file",
        Mode::Symlink => "a symbolic link",
        Mode::Submodule => "a submodule",
    }
}

/// A path whose entry is being looked for.
struct Search<'a> {
    parts: Vec<&'a str>,
    /// How many names were found.
    at: usize,
    found: Option<TreeEntry>,
    done: bool,
}

impl Head<'_> {
    /// The full name of the reference.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The commit's id.
    pub fn id(&self) -> ObjectId {
        self.commit.id
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// Files, in the order of their paths; `None` for what is not there. What is there and no file
    /// is an error.
    pub async fn read<P: AsRef<str>>(&self, paths: &[P]) -> Result<Vec<Option<File>>, GitError> {
        let entries = self.find(paths).await?;
        let mut blobs = Vec::new();
        for (entry, path) in entries.iter().zip(paths) {
            match entry {
                Some(TreeEntry { mode: Mode::File { .. }, id, .. }) => blobs.push(*id),
                Some(entry) => return Err(self.in_the_way(path.as_ref(), entry.mode, "a file")),
                None => {}
            }
        }
        self.source.need(self.id(), &blobs).await?;
        let file = |entry: Option<TreeEntry>| {
            let Some(entry) = entry else { return Ok(None) };
            let bytes = self.source.read(&entry.id, Kind::Blob)?;
            let executable = entry.mode == Mode::File { executable: true };
            Ok(Some(File { executable, bytes, id: entry.id }))
        };
        entries.into_iter().map(file).collect()
    }

    /// The entries of a directory (of the root: `""`), if it is there.
    pub async fn list(&self, dir: &str) -> Result<Option<Vec<TreeEntry>>, GitError> {
        let dir = dir.trim_end_matches('/');
        let tree = if dir.is_empty() {
            self.commit.tree
        } else {
            match self.find(&[dir]).await?.pop().flatten() {
                Some(TreeEntry { mode: Mode::Directory, id, .. }) => id,
                Some(entry) => return Err(self.in_the_way(dir, entry.mode, "a directory")),
                None => return Ok(None),
            }
        };
        self.source.need(self.id(), &[tree]).await?;
        self.source.tree(&tree).map(Some)
    }

    /// The paths of the files that a pattern matches, sorted. `*`, `?` and `[a-z]` stand for what
    /// is in one name, `**` as a name for any number of directories. Links and submodules are
    /// passed over.
    pub async fn glob(&self, pattern: &str) -> Result<Vec<String>, GitError> {
        let pattern = Pattern::parse(pattern)
            .ok_or_else(|| GitError::BadPath { path: pattern.to_owned() })?;
        let mut found = Vec::new();
        let mut left = vec![(String::new(), self.commit.tree, pattern.start())];
        while !left.is_empty() {
            let mut missing = Vec::new();
            while let Some((path, tree, states)) = left.pop() {
                if self.source.has(&tree) {
                    self.descend(&pattern, &path, &tree, &states, &mut found, &mut left)?;
                } else {
                    missing.push((path, tree, states));
                }
            }
            let deep = missing.iter().any(|(_, _, states)| pattern.any_depth(states));
            let filter = if deep { Filter::NoBlobs } else { Filter::TreeDepth(0) };
            let trees: Vec<ObjectId> = missing.iter().map(|(_, tree, _)| *tree).collect();
            self.source.need_with(self.id(), &trees, filter).await?;
            left = missing;
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Matches the entries of one directory.
    fn descend(
        &self,
        pattern: &Pattern,
        path: &str,
        tree: &ObjectId,
        states: &[usize],
        found: &mut Vec<String>,
        below: &mut Vec<(String, ObjectId, Vec<usize>)>,
    ) -> Result<(), GitError> {
        for entry in self.source.tree(tree)? {
            // Paths are text here; what is not cannot be named in a pattern.
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            let full = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let states = pattern.step(states, &name);
            match entry.mode {
                Mode::File { .. } if pattern.matched(&states) => found.push(full),
                Mode::Directory if pattern.goes_on(&states) => {
                    below.push((full, entry.id, states));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The entries at some paths; the directories on the way to them are here afterwards.
    pub(super) async fn find<P: AsRef<str>>(
        &self,
        paths: &[P],
    ) -> Result<Vec<Option<TreeEntry>>, GitError> {
        let mut searches = Vec::new();
        for path in paths {
            let parts = parts(path.as_ref())?;
            searches.push(Search { parts, at: 0, found: None, done: false });
        }
        loop {
            let mut trees = Vec::new();
            for search in searches.iter().filter(|search| !search.done) {
                trees.push(search.found.as_ref().map_or(self.commit.tree, |entry| entry.id));
            }
            if trees.is_empty() {
                return Ok(searches.into_iter().map(|search| search.found).collect());
            }
            self.source.need(self.id(), &trees).await?;
            let mut parsed: HashMap<ObjectId, Vec<TreeEntry>> = HashMap::new();
            for (search, tree) in searches.iter_mut().filter(|search| !search.done).zip(trees) {
                let entries = match parsed.get(&tree) {
                    Some(entries) => entries,
                    None => parsed.entry(tree).or_insert(self.source.tree(&tree)?),
                };
                let name = search.parts[search.at].as_bytes();
                search.found = entries.iter().find(|entry| entry.name == name).cloned();
                search.at += 1;
                search.done = search.found.is_none() || search.at == search.parts.len();
                if let Some(TreeEntry { mode, .. }) = search.found
                    && !search.done
                    && mode != Mode::Directory
                {
                    let path = search.parts[..search.at].join("/");
                    return Err(self.in_the_way(&path, mode, "a directory"));
                }
            }
        }
    }

    pub(super) fn in_the_way(&self, path: &str, mode: Mode, expected: &'static str) -> GitError {
        GitError::InTheWay {
            remote: self.source.remote.to_string(),
            path: path.to_owned(),
            found: what(mode),
            expected,
        }
    }
}
