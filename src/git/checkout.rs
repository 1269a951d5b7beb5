//! Files of a commit, written into a directory.
//!
//! Every name comes from outside. A directory is opened by the kernel below the one that was
//! given, following no link; files are made new or not at all; and names that any tool could
//! take for something else are refused before anything of their directory is written.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode as Permissions, OFlags};

use super::attributes::{LeftAlone, Rules};
use super::error::GitError;
use super::gitdir;
use super::id::ObjectId;
use super::index::{Staged, Stat};
use super::lfs;
use super::object::{self, Kind, Mode, TreeEntry};
use super::pack::PackError;
use super::packs::Reader;
use super::repository::Repository;
use super::sparse::Extent;
use super::times::{self, LastChanges, Times};
use crate::fs::open_subdir;

/// Entries that a commit may have, its submodules' not counted: a few hundred bytes of trees can
/// name more files than any disk holds.
pub(super) const ENTRIES: usize = 10_000_000;

/// Who a checkout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An image: the same everywhere, whatever the umask is.
    Image,
    /// Somebody who works in it: permissions by the umask, and git knows each file again.
    Work,
}

/// How a checkout is made.
pub(super) struct Checkout<'a> {
    /// The directory it is made in.
    pub(super) root: BorrowedFd<'a>,
    /// Whether a `.git` is written.
    pub(super) keep_git_dir: bool,
    /// Who it is for.
    pub(super) purpose: Purpose,
    /// Which times files get.
    pub(super) times: Times,
    /// Whether the objects of Git LFS are there, to be put in place of their pointers.
    pub(super) lfs: bool,
    /// Whether to stop.
    pub(super) stop: &'a dyn Fn() -> bool,
    /// How many files of Git LFS there were, and how many with an encoding of their own.
    pub(super) left_alone: Cell<(usize, usize)>,
}

/// A directory that is still to be written.
struct Pending {
    /// In the repository.
    path: Vec<u8>,
    /// Below the root of the checkout.
    target: Vec<u8>,
    tree: ObjectId,
    rules: Option<Arc<Rules>>,
    /// Whether it is only staged.
    skipped: bool,
}

/// A repository that is being written out.
struct Source<'a> {
    repository: &'a Repository,
    reader: Reader<'a>,
    /// When each file was changed last, if files get these times.
    changes: Option<LastChanges>,
    /// Where its `.git` is, below the root.
    git_dir: &'a str,
}

impl Source<'_> {
    /// The time of a file, in seconds since 1970.
    fn time(&self, path: &[u8]) -> i64 {
        let known = self.changes.as_ref().and_then(|changes| changes.get(path));
        known.unwrap_or(self.repository.committed)
    }
}

impl Checkout<'_> {
    /// Writes the directory `subdir` of a repository (or all of it) into the root.
    pub(super) fn subdir(
        &self,
        repository: &Repository,
        subdir: Option<&str>,
    ) -> Result<(), GitError> {
        let Some(subdir) = subdir else { return self.all(repository, b"", None) };
        let mut reader = repository.packs.reader();
        let mut pending = Pending {
            path: Vec::new(),
            target: Vec::new(),
            tree: repository.tree,
            rules: None,
            skipped: false,
        };
        let mut rest = subdir.split('/');
        while let Some(name) = rest.next() {
            let entries = repository.tree(&mut reader, &pending.tree)?;
            pending.rules =
                repository.rules(&mut reader, pending.rules, &pending.path, &entries)?;
            pending.path = below(&pending.path, name.as_bytes());
            let entry = entries.iter().find(|entry| entry.name == name.as_bytes());
            match entry.map(|entry| (entry.mode, entry.id)) {
                Some((Mode::Directory, id)) => pending.tree = id,
                Some((Mode::Submodule, _)) => {
                    let Some(module) = repository.modules.get(pending.path.as_slice()) else {
                        return Err(repository.no_subdir(subdir));
                    };
                    let left: Vec<&str> = rest.collect();
                    let left = left.join("/");
                    return self.subdir(&module.repository, (!left.is_empty()).then_some(&*left));
                }
                _ => return Err(repository.no_subdir(subdir)),
            }
        }
        let path = below(&pending.path, b"");
        let source = Source { repository, reader, changes: None, git_dir: ".git" };
        self.trees(source, pending)?;
        for (at, module) in &repository.modules {
            if let Some(target) = at.strip_prefix(path.as_slice()) {
                self.module(at, &module.repository, target, None)?;
            }
        }
        Ok(())
    }

    /// What should be said about the files that were left as they are stored.
    pub(super) fn warnings(&self, repository: &Repository) -> Vec<String> {
        let name = repository.name();
        let (pointers, encoded) = self.left_alone.get();
        let files = |n: usize| if n == 1 { "1 file is".into() } else { format!("{n} files are") };
        let mut warnings = Vec::new();
        if pointers > 0 {
            let files = files(pointers);
            warnings
                .push(format!("{name}: {files} stored by Git LFS, of which the pointer is taken"));
        }
        if encoded > 0 {
            let files = files(encoded);
            warnings.push(format!(
                "{name}: {files} left in UTF-8, working-tree-encoding is not followed"
            ));
        }
        warnings
    }

    /// Writes all of a repository to `target`, and its `.git` if it is kept: of a submodule at
    /// `module` below the root.
    fn all(
        &self,
        repository: &Repository,
        target: &[u8],
        module: Option<&str>,
    ) -> Result<(), GitError> {
        let pending = Pending {
            path: Vec::new(),
            target: target.to_vec(),
            tree: repository.tree,
            rules: None,
            skipped: false,
        };
        let git_dir = module.unwrap_or(".git");
        let changes = match self.times {
            Times::LastChange => Some(times::last_changes(repository, self.stop)?),
            _ => None,
        };
        let source = Source { repository, reader: repository.packs.reader(), changes, git_dir };
        let staged = self.trees(source, pending)?;
        if self.keep_git_dir {
            let purpose = self.purpose;
            let location = gitdir::Location { root: self.root, work_tree: target, module, purpose };
            location.write(repository, staged)?;
        }
        for (path, found) in &repository.modules {
            let git_dir = format!("{git_dir}/modules/{}", found.name);
            self.module(path, &found.repository, &below(target, path), Some(&git_dir))?;
        }
        Ok(())
    }

    /// Writes the submodule at `path` of its repository.
    fn module(
        &self,
        path: &[u8],
        module: &Repository,
        target: &[u8],
        git_dir: Option<&str>,
    ) -> Result<(), GitError> {
        self.all(module, target, git_dir)
            .map_err(|source| GitError::Submodule { path: lossy(path), source: source.into() })
    }

    /// Writes directories one after the other; gives what is to be staged.
    fn trees(&self, mut source: Source<'_>, first: Pending) -> Result<Vec<Staged>, GitError> {
        let repository = source.repository;
        let mut staged = Vec::new();
        let mut count = 0;
        let mut directories = Vec::new();
        let base = first.path.len();
        let mut left = vec![first];
        while let Some(mut pending) = left.pop() {
            let entries = repository.tree(&mut source.reader, &pending.tree)?;
            count += entries.len();
            if count > ENTRIES {
                return Err(repository.damaged(format!("it has more than {ENTRIES} entries")));
            }
            for entry in &entries {
                if let Some(problem) = object::problem(entry) {
                    return Err(GitError::Path {
                        remote: repository.name(),
                        path: lossy(&below(&pending.path, &entry.name)),
                        problem,
                    });
                }
            }
            if pending.skipped {
                for entry in entries {
                    let path = below(&pending.path, &entry.name);
                    Self::skip(&entry, path, &mut left, &mut staged);
                }
                continue;
            }
            let above = pending.rules.take();
            pending.rules = repository.rules(&mut source.reader, above, &pending.path, &entries)?;
            let failed = |source: io::Error| io_error(&pending.target, source);
            let dir = self.open(&pending.target).map_err(failed)?;
            let mut newest = None;
            let before = left.len();
            for entry in entries {
                if (self.stop)() {
                    return Err(GitError::Stopped);
                }
                let path = below(&pending.path, &entry.name);
                let target = below(&pending.target, &entry.name);
                let mut stat = None;
                match entry.mode {
                    Mode::Directory => {
                        let sparse = repository.setup.sparse.as_ref();
                        if sparse.is_some_and(|sparse| sparse.of(&path) == Extent::Nothing) {
                            Self::skip(&entry, path, &mut left, &mut staged);
                            continue;
                        }
                        self.make_dir(&dir, &entry.name).map_err(|e| io_error(&target, e))?;
                        let rules = pending.rules.clone();
                        let tree = entry.id;
                        left.push(Pending { path, target, tree, rules, skipped: false });
                        continue;
                    }
                    Mode::Submodule => {
                        self.make_dir(&dir, &entry.name).map_err(|e| io_error(&target, e))?;
                    }
                    Mode::Symlink => {
                        stat = self.link(&mut source, &dir, &entry, (&path, &target))?;
                    }
                    Mode::File { executable } => {
                        let rules = pending.rules.as_deref();
                        let file = self.create(&dir, &entry.name, executable);
                        let file = file.map_err(|e| io_error(&target, e))?;
                        let content = (rules, path.as_slice(), &target[..]);
                        stat = self.file(&mut source, file, &entry.id, content)?;
                    }
                }
                if source.changes.is_some() {
                    newest = newest.max(Some(source.time(&path)));
                }
                if self.keep_git_dir {
                    let path = path[base..].to_vec();
                    let (mode, id) = (entry.mode, entry.id);
                    staged.push(Staged { path, mode, id, stat, skipped: false });
                }
            }
            // In the order of their names, in which packs mostly have their files.
            left[before..].reverse();
            directories.push((pending.target, newest));
        }
        if self.times != Times::Now {
            // What is made in a directory changes its time, so these come last. A directory is as
            // new as the newest of the files in it.
            for (target, newest) in directories.iter().rev() {
                let failed = |source: io::Error| io_error(target, source);
                let dir = self.open(target).map_err(failed)?;
                let times = times::both(newest.unwrap_or(repository.committed));
                rustix::fs::futimens(&dir, &times).map_err(|e| failed(e.into()))?;
            }
        }
        Ok(staged)
    }

    /// Stages what is left out of the work tree.
    fn skip(entry: &TreeEntry, path: Vec<u8>, left: &mut Vec<Pending>, staged: &mut Vec<Staged>) {
        if entry.mode == Mode::Directory {
            let target = Vec::new();
            left.push(Pending { path, target, tree: entry.id, rules: None, skipped: true });
        } else {
            let (mode, id) = (entry.mode, entry.id);
            staged.push(Staged { path, mode, id, stat: None, skipped: true });
        }
    }

    fn open(&self, target: &[u8]) -> io::Result<OwnedFd> {
        let path = if target.is_empty() { b".".as_slice() } else { target };
        open_subdir(self.root, &CString::new(path)?)
    }

    fn create(&self, dir: &OwnedFd, name: &[u8], executable: bool) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = CString::new(name)?;
        let fd = match self.purpose {
            Purpose::Work => {
                let mode = Permissions::from_raw_mode(if executable { 0o777 } else { 0o666 });
                rustix::fs::openat(dir, &*name, flags, mode)?
            }
            Purpose::Image => {
                let mode = Permissions::from_raw_mode(if executable { 0o755 } else { 0o644 });
                let fd = rustix::fs::openat(dir, &*name, flags, mode)?;
                rustix::fs::fchmod(&fd, mode)?;
                fd
            }
        };
        Ok(fd.into())
    }

    fn make_dir(&self, dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let name = CString::new(name)?;
        let mode = Permissions::from_raw_mode(0o755);
        match self.purpose {
            Purpose::Work => rustix::fs::mkdirat(dir, &*name, Permissions::from_raw_mode(0o777))?,
            Purpose::Image => {
                rustix::fs::mkdirat(dir, &*name, mode)?;
                rustix::fs::fchmod(open_subdir(dir, &name)?, mode)?;
            }
        }
        Ok(())
    }

    /// Fills a file. Gives what git knows it by, where it is to.
    fn file(
        &self,
        source: &mut Source<'_>,
        mut file: File,
        id: &ObjectId,
        (rules, path, target): (Option<&Rules>, &[u8], &[u8]),
    ) -> Result<Option<Stat>, GitError> {
        let attributes = rules.map(|rules| rules.of(path)).unwrap_or_default();
        let repository = source.repository;
        let failed = |source: io::Error| io_error(target, source);
        let (pointers, encoded) = self.left_alone.get();
        let mut times = (self.times != Times::Now).then(|| times::both(source.time(path)));
        let mut object = None;
        match attributes.left_alone() {
            Some(LeftAlone::Lfs) if self.lfs => {
                let content = repository.read(&mut source.reader, id, Kind::Blob)?;
                object = lfs::Pointer::parse(&content);
            }
            Some(LeftAlone::Lfs) => self.left_alone.set((pointers + 1, encoded)),
            Some(LeftAlone::Encoding) => self.left_alone.set((pointers, encoded + 1)),
            None => {}
        }
        if let Some(pointer) = object {
            lfs::place(self.root, source.git_dir, &pointer, &mut file).map_err(failed)?;
            times = times.or_else(times::moments_ago);
        } else if attributes.convert() {
            let content = repository.read(&mut source.reader, id, Kind::Blob)?;
            file.write_all(&attributes.apply(&content, id)).map_err(failed)?;
        } else {
            let copied = source.reader.copy(id, &mut |piece| file.write_all(piece));
            copied.map_err(|error| match error {
                PackError::Io(error) => failed(error),
                other => repository.pack_error(other),
            })?;
        }
        if let Some(times) = times {
            rustix::fs::futimens(&file, &times).map_err(|error| failed(error.into()))?;
        }
        let wanted = self.purpose == Purpose::Work && self.keep_git_dir;
        let stat = || rustix::fs::fstat(&file).map_err(|error| failed(error.into()));
        wanted.then(|| Ok(Stat::from(&stat()?))).transpose()
    }

    fn link(
        &self,
        source: &mut Source<'_>,
        dir: &OwnedFd,
        entry: &TreeEntry,
        (path, target): (&[u8], &[u8]),
    ) -> Result<Option<Stat>, GitError> {
        let content = source.repository.read(&mut source.reader, &entry.id, Kind::Blob)?;
        let make = || -> io::Result<Option<Stat>> {
            let name = CString::new(entry.name.as_slice())?;
            rustix::fs::symlinkat(&*CString::new(content.as_slice())?, dir, &*name)?;
            if self.times != Times::Now {
                let times = times::both(source.time(path));
                rustix::fs::utimensat(dir, &*name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            let wanted = self.purpose == Purpose::Work && self.keep_git_dir;
            let stat = || rustix::fs::statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW);
            wanted.then(|| Ok(Stat::from(&stat()?))).transpose()
        };
        make().map_err(|error| io_error(target, error))
    }
}

fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(super) fn io_error(target: &[u8], source: io::Error) -> GitError {
    GitError::Io { path: lossy(target), source }
}
