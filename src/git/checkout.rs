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

use rustix::fs::{AtFlags, Mode as Permissions, OFlags, Timespec, Timestamps};

use super::attributes::{LeftAlone, Rules};
use super::error::GitError;
use super::gitdir;
use super::id::ObjectId;
use super::object::{self, Kind, Mode, TreeEntry};
use super::pack::{PackError, PackReader};
use super::repository::Repository;
use crate::fs::open_subdir;

/// Entries that a commit may have, its submodules' not counted: a few hundred bytes of trees can
/// name more files than any disk holds.
pub(super) const ENTRIES: usize = 10_000_000;

/// How a checkout is made.
pub(super) struct Checkout<'a> {
    /// The directory it is made in.
    pub(super) root: BorrowedFd<'a>,
    /// Whether a `.git` is written.
    pub(super) keep_git_dir: bool,
    /// Whether files get the commit's time.
    pub(super) commit_times: bool,
    /// Whether to stop.
    pub(super) stop: &'a dyn Fn() -> bool,
    /// How many files of Git LFS there were, and how many with an encoding of their own.
    pub(super) left_alone: Cell<(usize, usize)>,
}

/// An entry of `.git/index`.
pub(super) struct Staged {
    pub(super) path: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) id: ObjectId,
}

/// A directory that is still to be written.
struct Pending {
    /// In the repository.
    path: Vec<u8>,
    /// Below the root of the checkout.
    target: Vec<u8>,
    tree: ObjectId,
    rules: Option<Arc<Rules>>,
}

impl Checkout<'_> {
    /// Writes the directory `subdir` of a repository (or all of it) into the root.
    pub(super) fn subdir(
        &self,
        repository: &Repository,
        subdir: Option<&str>,
    ) -> Result<(), GitError> {
        let Some(subdir) = subdir else { return self.all(repository, b"", None) };
        let mut reader = PackReader::new(&repository.pack);
        let mut pending =
            Pending { path: Vec::new(), target: Vec::new(), tree: repository.tree, rules: None };
        let mut rest = subdir.split('/');
        while let Some(name) = rest.next() {
            let entries = repository.tree(&mut reader, &pending.tree)?;
            pending.rules = Self::rules(repository, &mut reader, &pending, &entries)?;
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
        self.trees(repository, reader, pending)?;
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
        };
        let reader = PackReader::new(&repository.pack);
        let staged = self.trees(repository, reader, pending)?;
        if self.keep_git_dir {
            let location = gitdir::Location { root: self.root, work_tree: target, module };
            location.write(repository, staged)?;
        }
        let git_dir = module.map_or_else(|| ".git".to_owned(), str::to_owned);
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

    /// Writes directories one after the other; gives what was written.
    fn trees(
        &self,
        repository: &Repository,
        mut reader: PackReader<'_>,
        first: Pending,
    ) -> Result<Vec<Staged>, GitError> {
        let mut staged = Vec::new();
        let mut count = 0;
        let mut directories = Vec::new();
        let base = first.path.len();
        let mut left = vec![first];
        while let Some(mut pending) = left.pop() {
            let entries = repository.tree(&mut reader, &pending.tree)?;
            count += entries.len();
            if count > ENTRIES {
                return Err(repository.damaged(format!("it has more than {ENTRIES} entries")));
            }
            pending.rules = Self::rules(repository, &mut reader, &pending, &entries)?;
            for entry in &entries {
                if let Some(problem) = object::problem(entry) {
                    return Err(GitError::Path {
                        remote: repository.name(),
                        path: lossy(&below(&pending.path, &entry.name)),
                        problem,
                    });
                }
            }
            let failed = |source: io::Error| io_error(&pending.target, source);
            let dir = self.open(&pending.target).map_err(failed)?;
            directories.push(pending.target.clone());
            for entry in entries {
                if (self.stop)() {
                    return Err(GitError::Stopped);
                }
                let path = below(&pending.path, &entry.name);
                let target = below(&pending.target, &entry.name);
                match entry.mode {
                    Mode::Directory => {
                        make_dir(&dir, &entry.name).map_err(|e| io_error(&target, e))?;
                        let rules = pending.rules.clone();
                        left.push(Pending { path, target, tree: entry.id, rules });
                        continue;
                    }
                    Mode::Submodule => {
                        make_dir(&dir, &entry.name).map_err(|e| io_error(&target, e))?;
                    }
                    Mode::Symlink => {
                        self.link(repository, &mut reader, &dir, &entry, &target)?;
                    }
                    Mode::File { executable } => {
                        let rules = pending.rules.as_deref();
                        let file = Self::create(&dir, &entry.name, executable);
                        let file = file.map_err(|e| io_error(&target, e))?;
                        let content = (rules, path.as_slice(), &target[..]);
                        self.file(repository, &mut reader, file, &entry.id, content)?;
                    }
                }
                if self.keep_git_dir {
                    let path = path[base..].to_vec();
                    staged.push(Staged { path, mode: entry.mode, id: entry.id });
                }
            }
        }
        if self.commit_times {
            // What is made in a directory changes its time, so these come last.
            for target in directories.iter().rev() {
                let failed = |source: io::Error| io_error(target, source);
                let dir = self.open(target).map_err(failed)?;
                let times = times(repository.committed);
                rustix::fs::futimens(&dir, &times).map_err(|e| failed(e.into()))?;
            }
        }
        Ok(staged)
    }

    /// The rules that hold in a directory, its own included.
    fn rules(
        repository: &Repository,
        reader: &mut PackReader<'_>,
        pending: &Pending,
        entries: &[TreeEntry],
    ) -> Result<Option<Arc<Rules>>, GitError> {
        let own = entries.iter().find(|entry| entry.name == b".gitattributes");
        let Some(entry) = own.filter(|entry| matches!(entry.mode, Mode::File { .. })) else {
            return Ok(pending.rules.clone());
        };
        let text = repository.read(reader, &entry.id, Kind::Blob)?;
        Ok(Some(Arc::new(Rules::parse(pending.rules.clone(), &pending.path, &text))))
    }

    fn open(&self, target: &[u8]) -> io::Result<OwnedFd> {
        let path = if target.is_empty() { b".".as_slice() } else { target };
        open_subdir(self.root, &CString::new(path)?)
    }

    fn create(dir: &OwnedFd, name: &[u8], executable: bool) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Permissions::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let fd = rustix::fs::openat(dir, &*CString::new(name)?, flags, mode)?;
        // Whatever the umask is.
        rustix::fs::fchmod(&fd, mode)?;
        Ok(fd.into())
    }

    fn file(
        &self,
        repository: &Repository,
        reader: &mut PackReader<'_>,
        mut file: File,
        id: &ObjectId,
        (rules, path, target): (Option<&Rules>, &[u8], &[u8]),
    ) -> Result<(), GitError> {
        let attributes = rules.map(|rules| rules.of(path)).unwrap_or_default();
        let failed = |source: io::Error| io_error(target, source);
        let (pointers, encoded) = self.left_alone.get();
        match attributes.left_alone() {
            Some(LeftAlone::Lfs) => self.left_alone.set((pointers + 1, encoded)),
            Some(LeftAlone::Encoding) => self.left_alone.set((pointers, encoded + 1)),
            None => {}
        }
        if attributes.convert() {
            let content = repository.read(reader, id, Kind::Blob)?;
            file.write_all(&attributes.apply(&content, id)).map_err(failed)?;
        } else {
            let copied = reader.copy(id, &mut |piece| file.write_all(piece));
            copied.map_err(|error| match error {
                PackError::Io(error) => failed(error),
                other => repository.pack_error(other),
            })?;
        }
        if self.commit_times {
            let set = rustix::fs::futimens(&file, &times(repository.committed));
            set.map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    fn link(
        &self,
        repository: &Repository,
        reader: &mut PackReader<'_>,
        dir: &OwnedFd,
        entry: &TreeEntry,
        target: &[u8],
    ) -> Result<(), GitError> {
        let content = repository.read(reader, &entry.id, Kind::Blob)?;
        let make = || -> io::Result<()> {
            let name = CString::new(entry.name.as_slice())?;
            rustix::fs::symlinkat(&*CString::new(content.as_slice())?, dir, &*name)?;
            if self.commit_times {
                let times = times(repository.committed);
                rustix::fs::utimensat(dir, &*name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(())
        };
        make().map_err(|error| io_error(target, error))
    }
}

fn make_dir(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    let mode = Permissions::from_raw_mode(0o755);
    rustix::fs::mkdirat(dir, &*name, mode)?;
    // Whatever the umask is.
    Ok(rustix::fs::fchmod(open_subdir(dir, &name)?, mode)?)
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
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
