//! A repository on this machine, read without git: what `HEAD` is, which tags there are, what a
//! commit's parents are.
//!
//! A `.git` may be a directory or a file that leads to one (linked work trees, submodules), or the
//! directory itself is a bare repository. References are loose files or lines of `packed-refs`;
//! objects are loose files or in packs with an index of version 2, of this repository or of its
//! alternates. Nothing is written, no configuration is obeyed and whose files they are does not
//! matter, so it needs neither a home directory nor `safe.directory`. What it refuses: reftables,
//! and objects whose content is not what their id says.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config;
use super::id::{ObjectFormat, ObjectId};
use super::object::Kind;
use super::pack::{PackError, Stored};
use super::stored::{StoredObjects, text};

/// Why a repository on this machine cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file of it cannot be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of it says something that it cannot say.
    #[error("{path}: {problem}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The branch that is checked out has no commit yet.
    #[error("{path}: branch {branch:?} has no commit yet", path = path.display())]
    Unborn {
        /// The repository.
        path: PathBuf,
        /// Its branch.
        branch: String,
    },
    /// An object that should be there.
    #[error("{path} has no object {id}", path = path.display())]
    NoObject {
        /// The repository.
        path: PathBuf,
        /// The object.
        id: ObjectId,
    },
}

/// A repository on this machine.
#[derive(Debug)]
pub struct LocalRepository {
    /// What this work tree has of its own.
    git_dir: PathBuf,
    /// What all work trees share.
    common: PathBuf,
    format: ObjectFormat,
    /// Opened when one is wanted first.
    objects: OnceCell<StoredObjects>,
    packed: BTreeMap<String, Packed>,
    shallow: BTreeSet<ObjectId>,
}

/// A line of `packed-refs`.
#[derive(Clone, Copy, Debug)]
struct Packed {
    id: ObjectId,
    peeled: Option<ObjectId>,
}

/// What is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalHead {
    /// The commit.
    pub commit: ObjectId,
    /// The branch, without `refs/heads/`; none when the commit itself is checked out.
    pub branch: Option<String>,
}

/// What matters of a commit here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCommit {
    /// The commits before it; none where the history was cut off.
    pub parents: Vec<ObjectId>,
    /// When it was committed, in seconds since 1970.
    pub committed: i64,
}

impl LocalRepository {
    /// Opens the repository that `dir` is in; `None` if it is in none.
    pub fn open(dir: &Path) -> Result<Option<Self>, LocalError> {
        let dir = std::path::absolute(dir)
            .map_err(|source| LocalError::Read { path: dir.to_owned(), source })?;
        for at in dir.ancestors() {
            let dot_git = at.join(".git");
            if dot_git.is_dir() && is_git_dir(&dot_git) {
                return Self::read(dot_git).map(Some);
            }
            if dot_git.is_file() {
                let text = read(&dot_git)?;
                let target = text.strip_prefix("gitdir: ").map(str::trim_end);
                let target = target.ok_or_else(|| malformed(&dot_git, "it has no gitdir: line"))?;
                return Self::read(at.join(target)).map(Some);
            }
            if at == dir && is_git_dir(at) {
                return Self::read(at.to_owned()).map(Some);
            }
        }
        Ok(None)
    }

    fn read(git_dir: PathBuf) -> Result<Self, LocalError> {
        let common = match optional(&git_dir.join("commondir"))? {
            Some(text) => git_dir.join(text.trim_end()),
            None => git_dir.clone(),
        };
        let path = common.join("config");
        let config = config::parse(&optional(&path)?.unwrap_or_default());
        let config =
            config.map_err(|line| malformed(&path, &format!("line {line} is not understood")))?;
        let format = config::object_format(&config).map_err(|e| malformed(&path, &e))?;
        let path = common.join("packed-refs");
        let packed = parse_packed(&optional(&path)?.unwrap_or_default());
        let packed = packed.ok_or_else(|| malformed(&path, "it is malformed"))?;
        let path = common.join("shallow");
        let shallow = optional(&path)?.unwrap_or_default().lines().map(ObjectId::parse).collect();
        let shallow = Option::ok_or_else(shallow, || malformed(&path, "it is malformed"))?;
        Ok(Self { git_dir, common, format, objects: OnceCell::new(), packed, shallow })
    }

    /// What is checked out.
    pub fn head(&self) -> Result<LocalHead, LocalError> {
        let mut name = "HEAD".to_owned();
        // A reference to a reference to …
        for _ in 0..5 {
            if let Some(text) = self.loose(&name)? {
                let text = text.trim_end();
                if let Some(target) = text.strip_prefix("ref: ") {
                    target.trim().clone_into(&mut name);
                    continue;
                }
                let path = self.git_dir.join(&name);
                let commit = ObjectId::parse(text);
                let commit = commit.ok_or_else(|| malformed(&path, "it holds no commit"))?;
                return Ok(LocalHead { commit, branch: branch(&name) });
            }
            if let Some(packed) = self.packed.get(&name) {
                return Ok(LocalHead { commit: packed.id, branch: branch(&name) });
            }
            let (path, branch) = (self.git_dir.clone(), branch(&name).unwrap_or(name));
            return Err(LocalError::Unborn { path, branch });
        }
        Err(malformed(&self.git_dir.join("HEAD"), "references lead to each other"))
    }

    /// The loose reference of a name: of this work tree, else of all.
    fn loose(&self, name: &str) -> Result<Option<String>, LocalError> {
        let odd = name.split('/').any(|part| matches!(part, "" | "." | ".."));
        if odd {
            return Err(malformed(&self.git_dir, &format!("{name:?} is no reference")));
        }
        match optional(&self.git_dir.join(name))? {
            Some(text) => Ok(Some(text)),
            None => optional(&self.common.join(name)),
        }
    }

    /// Tags and the commits that they lead to, by name; those of other objects are left out.
    pub fn tags(&self) -> Result<Vec<(String, ObjectId)>, LocalError> {
        const PREFIX: &str = "refs/tags/";
        let mut all: BTreeMap<String, Packed> = BTreeMap::new();
        for (name, packed) in self.packed.range(PREFIX.to_owned()..) {
            let Some(name) = name.strip_prefix(PREFIX) else { break };
            all.insert(name.to_owned(), *packed);
        }
        let root = self.common.join("refs/tags");
        let mut left = vec![root.clone()];
        while let Some(dir) = left.pop() {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(LocalError::Read { path: dir, source }),
            };
            for entry in entries {
                let entry = entry.map_err(|e| LocalError::Read { path: dir.clone(), source: e })?;
                let path = entry.path();
                if path.is_dir() {
                    left.push(path);
                    continue;
                }
                let name = path.strip_prefix(&root).ok().and_then(Path::to_str);
                // A lock of a writer is no tag.
                let locked = path.extension().is_some_and(|extension| extension == "lock");
                let Some(name) = name.filter(|_| !locked) else { continue };
                let id = ObjectId::parse(read(&path)?.trim_end());
                let id = id.ok_or_else(|| malformed(&path, "it holds no object id"))?;
                all.insert(name.to_owned(), Packed { id, peeled: None });
            }
        }
        let mut tags = Vec::new();
        for (name, Packed { id, peeled }) in all {
            if let Some(commit) = self.peel(peeled.unwrap_or(id))? {
                tags.push((name, commit));
            }
        }
        Ok(tags)
    }

    /// The commit that an object is or leads to.
    fn peel(&self, mut id: ObjectId) -> Result<Option<ObjectId>, LocalError> {
        // A tag of a tag of …
        for _ in 0..10 {
            // What a shallow clone has not fetched cannot be what is checked out.
            let Some((kind, bytes)) = self.object(&id)? else { return Ok(None) };
            match kind {
                Kind::Commit => return Ok(Some(id)),
                Kind::Tag => {
                    let target = super::object::tagged(&bytes);
                    id = target.ok_or_else(|| self.damaged(&id, "it is a malformed tag"))?;
                }
                Kind::Tree | Kind::Blob => return Ok(None),
            }
        }
        Err(self.damaged(&id, "tags lead to tags without end"))
    }

    /// A commit.
    pub fn commit(&self, id: &ObjectId) -> Result<LocalCommit, LocalError> {
        let found = self.object(id)?;
        let (kind, bytes) =
            found.ok_or_else(|| LocalError::NoObject { path: self.git_dir.clone(), id: *id })?;
        let parsed = (kind == Kind::Commit).then(|| parse_commit(&bytes)).flatten();
        let mut commit = parsed.ok_or_else(|| self.damaged(id, "it is no commit"))?;
        if self.shallow.contains(id) {
            commit.parents.clear();
        }
        Ok(commit)
    }

    /// Whether history was cut off when this was cloned.
    pub fn is_shallow(&self) -> bool {
        !self.shallow.is_empty()
    }

    /// All commits that lead to `from`, itself included, as far as there are any here.
    pub fn ancestors(&self, from: ObjectId) -> Result<BTreeSet<ObjectId>, LocalError> {
        let (mut seen, mut left) = (BTreeSet::from([from]), vec![from]);
        while let Some(id) = left.pop() {
            let parents = self.commit(&id)?.parents;
            left.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
        Ok(seen)
    }

    fn object(&self, id: &ObjectId) -> Result<Option<Stored>, LocalError> {
        let dir = self.common.join("objects");
        let failed = |error| match error {
            PackError::Io(source) => LocalError::Read { path: dir.clone(), source },
            PackError::Damaged(problem) => malformed(&dir, &problem),
            PackError::Stopped => malformed(&dir, "reading was stopped"),
        };
        if self.objects.get().is_none() {
            let opened = StoredObjects::open(dir.clone(), self.format).map_err(failed)?;
            let _ = self.objects.set(opened);
        }
        self.objects.get().map_or(Ok(None), |objects| objects.read(id).map_err(failed))
    }

    fn damaged(&self, id: &ObjectId, problem: &str) -> LocalError {
        malformed(&self.git_dir, &format!("object {id}: {problem}"))
    }
}

fn is_git_dir(dir: &Path) -> bool {
    let shared = dir.join("objects").is_dir() && dir.join("refs").is_dir();
    dir.join("HEAD").is_file() && (shared || dir.join("commondir").is_file())
}

fn branch(name: &str) -> Option<String> {
    name.strip_prefix("refs/heads/").map(str::to_owned)
}

fn parse_commit(bytes: &[u8]) -> Option<LocalCommit> {
    let committed = super::object::Commit::parse(bytes)?.committed;
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]);
    let parents = head.lines().filter_map(|line| line.strip_prefix("parent "));
    Some(LocalCommit { parents: parents.map(ObjectId::parse).collect::<Option<_>>()?, committed })
}

/// Lines `ID NAME`, each perhaps followed by `^ID`, what the tag leads to.
fn parse_packed(text: &str) -> Option<BTreeMap<String, Packed>> {
    let mut all: BTreeMap<String, Packed> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(peeled) = line.strip_prefix('^') {
            all.get_mut(&last.take()?)?.peeled = Some(ObjectId::parse(peeled)?);
            continue;
        }
        let (id, name) = line.split_once(' ')?;
        all.insert(name.to_owned(), Packed { id: ObjectId::parse(id)?, peeled: None });
        last = Some(name.to_owned());
    }
    Some(all)
}

fn malformed(path: &Path, problem: &str) -> LocalError {
    LocalError::Malformed { path: path.to_owned(), problem: problem.to_owned() }
}

fn read(path: &Path) -> Result<String, LocalError> {
    text(path).map_err(|source| LocalError::Read { path: path.to_owned(), source })
}

/// The text of a file that may not be there; where a directory has its name, it is not.
fn optional(path: &Path) -> Result<Option<String>, LocalError> {
    if path.is_dir() {
        return Ok(None);
    }
    match text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(LocalError::Read { path: path.to_owned(), source: error }),
        },
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
