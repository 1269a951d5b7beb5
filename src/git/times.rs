//! Which times files get; and when each was changed last, by the history that is here.
//!
//! A file's last change is the newest commit whose version of it differs from that of all its
//! parents, with git's rule for merges: where one parent has the same version, the history of that
//! parent counts. Where the history ends (a shallow clone) everything that is left is of that commit.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Timespec, Timestamps};

use super::error::GitError;
use super::id::ObjectId;
use super::object::{Commit, Kind, Mode};
use super::packs::Reader;
use super::repository::Repository;

/// Which times files of a checkout get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// That of the checkout.
    #[default]
    Now,
    /// That of the commit.
    Commit,
    /// For each file that of the commit which changed it last, as far as the history is here.
    LastChange,
}

/// Times of files, in seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct LastChanges(HashMap<Vec<u8>, i64>);

impl LastChanges {
    /// When a file was changed last.
    pub(super) fn get(&self, path: &[u8]) -> Option<i64> {
        self.0.get(path).copied()
    }
}

/// Access and change at this time.
pub(super) fn both(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// A little before now. git looks at the content of a file that is not older than its index; and the
/// content of what Git LFS has stored is not what the index names.
pub(super) fn moments_ago() -> Option<Timestamps> {
    const MOMENTS: Duration = Duration::from_secs(2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(both(now.checked_sub(MOMENTS)?.as_secs() as i64))
}

/// What of a commit's files is still to be dated: all of them at first, then those that came from it
/// unchanged.
type Paths = BTreeSet<Vec<u8>>;

/// When each file of the commit was changed last.
pub(super) fn last_changes(
    repository: &Repository,
    stop: &dyn Fn() -> bool,
) -> Result<LastChanges, GitError> {
    let mut history = History::read(repository, stop)?;
    let mut changes = LastChanges::default();
    let mut reader = repository.packs.reader();
    let mut all = Paths::new();
    let mut diff = Diff {
        repository,
        reader: &mut reader,
        changed: &mut |path| {
            all.insert(path.to_vec());
        },
    };
    diff.trees(&[], Some(repository.tree), None)?;
    let mut waiting = HashMap::from([(repository.commit, all)]);
    while let Some(id) = history.next() {
        if stop() {
            return Err(GitError::Stopped);
        }
        let Some(mut paths) = waiting.remove(&id).filter(|paths| !paths.is_empty()) else {
            if waiting.is_empty() {
                break;
            }
            continue;
        };
        let (commit, parents) = history.commits[&id].clone();
        for parent in parents {
            let tree = history.commits[&parent].0.tree;
            let mut other = Paths::new();
            let mut diff = Diff {
                repository,
                reader: &mut reader,
                changed: &mut |path| {
                    if let Some(path) = paths.take(path) {
                        other.insert(path);
                    }
                },
            };
            diff.trees(&[], Some(commit.tree), Some(tree))?;
            // What is left is the same there.
            let same = std::mem::replace(&mut paths, other);
            let theirs = waiting.entry(parent).or_default();
            if theirs.is_empty() { *theirs = same } else { theirs.extend(same) }
        }
        changes.0.extend(paths.into_iter().map(|path| (path, commit.committed)));
    }
    Ok(changes)
}

/// All commits that are here, each after all of its children.
struct History {
    commits: HashMap<ObjectId, (Commit, Vec<ObjectId>)>,
    /// How many children are still to come before a commit.
    children: HashMap<ObjectId, usize>,
    /// Commits whose children are done.
    ready: Vec<ObjectId>,
}

impl History {
    fn read(repository: &Repository, stop: &dyn Fn() -> bool) -> Result<Self, GitError> {
        let mut reader = repository.packs.reader();
        let mut commits = HashMap::new();
        let mut children: HashMap<ObjectId, usize> = HashMap::new();
        let mut left = vec![repository.commit];
        while let Some(id) = left.pop() {
            if stop() {
                return Err(GitError::Stopped);
            }
            if commits.contains_key(&id) {
                continue;
            }
            let bytes = repository.read(&mut reader, &id, Kind::Commit)?;
            let malformed = || repository.damaged(format!("the commit {id} is malformed"));
            let commit = Commit::parse(&bytes).ok_or_else(malformed)?;
            let mut parents = Commit::parents(&bytes);
            if repository.shallow.contains(&id) {
                parents.clear();
            }
            for parent in &parents {
                *children.entry(*parent).or_default() += 1;
            }
            left.extend(&parents);
            commits.insert(id, (commit, parents));
        }
        Ok(Self { commits, children, ready: vec![repository.commit] })
    }

    fn next(&mut self) -> Option<ObjectId> {
        let id = self.ready.pop()?;
        for parent in &self.commits[&id].1 {
            if let Some(count) = self.children.get_mut(parent) {
                *count -= 1;
                if *count == 0 {
                    self.ready.push(*parent);
                }
            }
        }
        Some(id)
    }
}

/// Finds the files of one tree that another does not have in the same way.
struct Diff<'a, 'b> {
    repository: &'a Repository,
    reader: &'a mut Reader<'b>,
    changed: &'a mut dyn FnMut(&[u8]),
}

impl Diff<'_, '_> {
    fn trees(
        &mut self,
        path: &[u8],
        ours: Option<ObjectId>,
        theirs: Option<ObjectId>,
    ) -> Result<(), GitError> {
        let Some(ours) = ours.filter(|ours| Some(*ours) != theirs) else { return Ok(()) };
        let theirs = theirs.map(|id| self.repository.tree(self.reader, &id)).transpose()?;
        let theirs: HashMap<_, _> =
            theirs.unwrap_or_default().into_iter().map(|e| (e.name, (e.mode, e.id))).collect();
        for entry in self.repository.tree(self.reader, &ours)? {
            let other = theirs.get(&entry.name);
            if other == Some(&(entry.mode, entry.id)) {
                continue;
            }
            let path =
                if path.is_empty() { entry.name } else { [path, b"/", &entry.name].concat() };
            if entry.mode == Mode::Directory {
                let other = other.filter(|(mode, _)| *mode == Mode::Directory).map(|(_, id)| *id);
                self.trees(&path, Some(entry.id), other)?;
            } else {
                (self.changed)(&path);
            }
        }
        Ok(())
    }
}
