//! A commit with all that it leads to, on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::GitError;
use super::id::ObjectId;
use super::modules::{self, Module};
use super::object::{self, Commit, Kind, Mode, TreeEntry};
use super::pack::{Pack, PackError, PackReader};
use super::url::Remote;

/// A commit and its pack.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) remote: Remote,
    pub(super) pack: Pack,
    pub(super) commit: ObjectId,
    pub(super) tree: ObjectId,
    pub(super) committed: i64,
    /// The annotated tag that was fetched.
    pub(super) tag: Option<ObjectId>,
    /// The branch or tag that was asked for.
    pub(super) reference: Option<String>,
    /// Commits whose parents are not here.
    pub(super) shallow: Vec<ObjectId>,
    /// By their paths.
    pub(super) modules: BTreeMap<Vec<u8>, Submodule>,
}

/// A submodule that was fetched.
#[derive(Debug)]
pub(super) struct Submodule {
    /// Its name in `.gitmodules`.
    pub(super) name: String,
    pub(super) repository: Repository,
}

/// A submodule that a tree names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) path: Vec<u8>,
    pub(super) commit: ObjectId,
}

impl Repository {
    /// Finds the commit that `wanted`, a commit or a tag, leads to.
    pub(super) fn open(remote: Remote, pack: Pack, wanted: ObjectId) -> Result<Self, GitError> {
        /// Tags of tags.
        const DEPTH: usize = 8;
        let mut reader = PackReader::new(&pack);
        let failed = |error| pack_error(&remote, error);
        let mut commit = wanted;
        let mut tag = None;
        for _ in 0..DEPTH {
            if pack.kind(&commit) != Some(Kind::Tag) {
                break;
            }
            tag = tag.or(Some(commit));
            let bytes = reader.read(&commit, Kind::Tag).map_err(failed)?;
            let malformed = || PackError::Damaged(format!("the tag {commit} is malformed"));
            commit = object::tagged(&bytes).ok_or_else(malformed).map_err(failed)?;
        }
        let bytes = reader.read(&commit, Kind::Commit).map_err(failed)?;
        let malformed = || PackError::Damaged(format!("the commit {commit} is malformed"));
        let Commit { tree, committed } =
            Commit::parse(&bytes).ok_or_else(malformed).map_err(failed)?;
        drop(reader);
        Ok(Self {
            remote,
            pack,
            commit,
            tree,
            committed,
            tag,
            reference: None,
            shallow: Vec::new(),
            modules: BTreeMap::new(),
        })
    }

    /// Where it came from, for people.
    pub(super) fn name(&self) -> String {
        self.remote.to_string()
    }

    pub(super) fn pack_error(&self, error: PackError) -> GitError {
        pack_error(&self.remote, error)
    }

    pub(super) fn damaged(&self, problem: String) -> GitError {
        self.pack_error(PackError::Damaged(problem))
    }

    pub(super) fn no_subdir(&self, subdir: &str) -> GitError {
        GitError::NoSubdir {
            remote: self.name(),
            subdir: subdir.to_owned(),
            commit: self.commit.to_string(),
        }
    }

    pub(super) fn read(
        &self,
        reader: &mut PackReader<'_>,
        id: &ObjectId,
        kind: Kind,
    ) -> Result<Arc<Vec<u8>>, GitError> {
        reader.read(id, kind).map_err(|error| self.pack_error(error))
    }

    pub(super) fn tree(
        &self,
        reader: &mut PackReader<'_>,
        id: &ObjectId,
    ) -> Result<Vec<TreeEntry>, GitError> {
        let bytes = self.read(reader, id, Kind::Tree)?;
        let tree = object::parse_tree(&bytes, self.pack.format());
        tree.ok_or_else(|| self.damaged(format!("the tree {id} is malformed")))
    }

    /// The submodules of the commit that lie in `subdir`, or in which it lies.
    pub(super) fn links(
        &self,
        subdir: Option<&str>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Link>, GitError> {
        let mut reader = PackReader::new(&self.pack);
        let mut links = Vec::new();
        let mut left = vec![(Vec::new(), self.tree)];
        // A tree that is in many places is searched in all of them; the same limit as for files.
        let mut count = 0;
        while let Some((path, tree)) = left.pop() {
            if stop() {
                return Err(GitError::Stopped);
            }
            for entry in self.tree(&mut reader, &tree)? {
                count += 1;
                let below = match path.as_slice() {
                    b"" => entry.name,
                    path => [path, b"/", &entry.name].concat(),
                };
                if !subdir.is_none_or(|subdir| meets(&below, subdir.as_bytes())) {
                    continue;
                }
                match entry.mode {
                    Mode::Directory => left.push((below, entry.id)),
                    Mode::Submodule => links.push(Link { path: below, commit: entry.id }),
                    _ => {}
                }
            }
            if count > super::checkout::ENTRIES {
                return Err(self.damaged("it has too many entries".to_owned()));
            }
        }
        Ok(links)
    }

    /// What `.gitmodules` says, by path.
    pub(super) fn gitmodules(&self) -> Result<BTreeMap<String, Module>, GitError> {
        let mut reader = PackReader::new(&self.pack);
        let root = self.tree(&mut reader, &self.tree)?;
        let entry = root.iter().find(|entry| entry.name == b".gitmodules");
        let Some(entry) = entry.filter(|entry| matches!(entry.mode, Mode::File { .. })) else {
            return Ok(BTreeMap::new());
        };
        let text = self.read(&mut reader, &entry.id, Kind::Blob)?;
        modules::parse(&String::from_utf8_lossy(&text))
            .map_err(|line| self.damaged(format!("line {line} of .gitmodules is malformed")))
    }
}

/// Whether one path is the other or above it.
fn meets(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

pub(super) fn pack_error(remote: &Remote, error: PackError) -> GitError {
    match error {
        PackError::Damaged(problem) => GitError::Pack { remote: remote.to_string(), problem },
        PackError::Io(source) => GitError::Io { path: format!("the pack of {remote}"), source },
        PackError::Stopped => GitError::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::meets;

    #[test]
    fn paths_meet_when_one_is_above_the_other() {
        for (a, b, expected) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a/b", "a", true),
            ("a", "ab", false),
            ("a/b", "a/c", false),
        ] {
            assert_eq!(meets(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
