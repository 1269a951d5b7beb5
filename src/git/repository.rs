//! A commit with all that it leads to, on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::Rules;
use super::error::GitError;
use super::id::ObjectId;
use super::modules::{self, Module};
use super::object::{self, Commit, Kind, Mode, TreeEntry};
use super::pack::{Pack, PackError};
use super::packs::{Packs, Reader};
use super::setup::Setup;
use super::sparse::{Extent, Sparse};
use super::url::Remote;

/// A commit and its packs.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) remote: Remote,
    pub(super) packs: Packs,
    pub(super) commit: ObjectId,
    pub(super) tree: ObjectId,
    pub(super) committed: i64,
    /// What a `.git` says of it.
    pub(super) setup: Setup,
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
        let packs = Packs::new(pack);
        let mut reader = packs.reader();
        let failed = |error| pack_error(&remote, error);
        let mut commit = wanted;
        for _ in 0..DEPTH {
            if packs.kind(&commit) != Some(Kind::Tag) {
                break;
            }
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
            packs,
            commit,
            tree,
            committed,
            setup: Setup::default(),
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

    /// Fails if the work tree is to have a directory that the commit has not.
    pub(super) fn require_sparse(&self) -> Result<(), GitError> {
        let mut reader = self.packs.reader();
        for dir in self.setup.sparse.iter().flat_map(Sparse::directories) {
            let text = String::from_utf8_lossy(dir);
            let mut tree = Some(self.tree);
            for name in text.split('/') {
                // What is in a submodule is not for this repository to say.
                let Some(id) = tree else { break };
                let entries = self.tree(&mut reader, &id)?;
                let entry = entries.iter().find(|entry| entry.name == name.as_bytes());
                tree = match entry.map(|entry| entry.mode) {
                    Some(Mode::Directory) => entry.map(|entry| entry.id),
                    Some(Mode::Submodule) => None,
                    _ => return Err(self.no_subdir(&text)),
                };
            }
        }
        Ok(())
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
        reader: &mut Reader<'_>,
        id: &ObjectId,
        kind: Kind,
    ) -> Result<Arc<Vec<u8>>, GitError> {
        reader.read(id, kind).map_err(|error| self.pack_error(error))
    }

    pub(super) fn tree(
        &self,
        reader: &mut Reader<'_>,
        id: &ObjectId,
    ) -> Result<Vec<TreeEntry>, GitError> {
        let bytes = self.read(reader, id, Kind::Tree)?;
        let tree = object::parse_tree(&bytes, self.packs.format());
        tree.ok_or_else(|| self.damaged(format!("the tree {id} is malformed")))
    }

    /// Visits the entries of the commit that are in a scope, a directory before what is in it.
    pub(super) fn walk(
        &self,
        scope: Scope<'_>,
        stop: &dyn Fn() -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), GitError> {
        let mut reader = self.packs.reader();
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
                    b"" => entry.name.clone(),
                    path => [path, b"/", &entry.name].concat(),
                };
                if !scope.takes(&below, entry.mode) {
                    continue;
                }
                visit(&below, &entry)?;
                if entry.mode == Mode::Directory {
                    left.push((below, entry.id));
                }
            }
            if count > super::checkout::ENTRIES {
                return Err(self.damaged("it has too many entries".to_owned()));
            }
        }
        Ok(())
    }

    /// The submodules of the commit that are in a scope.
    pub(super) fn links(
        &self,
        scope: Scope<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Link>, GitError> {
        let mut links = Vec::new();
        self.walk(scope, stop, &mut |path, entry| {
            if entry.mode == Mode::Submodule {
                links.push(Link { path: path.to_vec(), commit: entry.id });
            }
            Ok(())
        })?;
        Ok(links)
    }

    /// What `.gitmodules` says, by path.
    pub(super) fn gitmodules(&self) -> Result<BTreeMap<String, Module>, GitError> {
        let Some(text) = self.root_file(".gitmodules")? else { return Ok(BTreeMap::new()) };
        modules::parse(&text)
            .map_err(|line| self.damaged(format!("line {line} of .gitmodules is malformed")))
    }

    /// The text of a file in the root, if it is one.
    pub(super) fn root_file(&self, name: &str) -> Result<Option<String>, GitError> {
        let mut reader = self.packs.reader();
        let root = self.tree(&mut reader, &self.tree)?;
        let entry = root.iter().find(|entry| entry.name == name.as_bytes());
        let Some(entry) = entry.filter(|entry| matches!(entry.mode, Mode::File { .. })) else {
            return Ok(None);
        };
        let text = self.read(&mut reader, &entry.id, Kind::Blob)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The rules that hold in a directory with these entries: its own, and those above it.
    pub(super) fn rules(
        &self,
        reader: &mut Reader<'_>,
        above: Option<Arc<Rules>>,
        path: &[u8],
        entries: &[TreeEntry],
    ) -> Result<Option<Arc<Rules>>, GitError> {
        let own = entries.iter().find(|entry| entry.name == b".gitattributes");
        let Some(entry) = own.filter(|entry| matches!(entry.mode, Mode::File { .. })) else {
            return Ok(above);
        };
        let text = self.read(reader, &entry.id, Kind::Blob)?;
        Ok(Some(Arc::new(Rules::parse(above, path, &text))))
    }
}

/// What is told of each path and its entry.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &TreeEntry) -> Result<(), GitError> + 'a;

/// Which part of a commit is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scope<'a> {
    /// What lies in this directory, or in which it lies.
    pub(super) subdir: Option<&'a str>,
    /// What is in the work tree.
    pub(super) sparse: Option<&'a Sparse>,
}

impl Scope<'_> {
    /// Whether a path is in it, of which the directory above is.
    fn takes(&self, path: &[u8], mode: Mode) -> bool {
        self.subdir.is_none_or(|subdir| meets(path, subdir.as_bytes()))
            && (mode != Mode::Directory
                || self.sparse.is_none_or(|sparse| sparse.of(path) != Extent::Nothing))
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
