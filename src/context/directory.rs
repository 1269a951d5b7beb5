//! A context that is a directory.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{ContextError, Index};
use crate::dockerfile::Ignore;
use crate::rootfs::Include;

/// A directory of files, and which of them take part.
#[derive(Debug)]
pub struct Context {
    path: PathBuf,
    root: OwnedFd,
    ignore: Ignore,
    /// The file that the patterns are from.
    ignore_file: PathBuf,
    /// Whether the directory is there for other builds too.
    lasting: bool,
    index: OnceLock<Index>,
}

impl Context {
    /// Opens the directory `path`. The ignore file is `<Dockerfile>.dockerignore`
    /// beside the Dockerfile if it is there, else `.dockerignore` of the context.
    pub fn open(path: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let root = crate::fs::open_dir(path)
            .map_err(|source| ContextError::Open { path: path.to_owned(), source })?;
        let beside = dockerfile.map(|dockerfile| {
            let mut name = dockerfile.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let (mut ignore, mut ignore_file) = (Ignore::default(), PathBuf::new());
        for candidate in beside.into_iter().chain([path.join(".dockerignore")]) {
            let fail = |problem| ContextError::Ignore { path: candidate.clone(), problem };
            match fs::read(&candidate) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    ignore = Ignore::parse(&text).map_err(|e| fail(e.to_string()))?;
                    ignore_file = candidate;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fail(error.to_string())),
            }
        }
        Ok(Self::new(path, root, ignore, ignore_file, true))
    }

    /// Opens the directory `path`, made for this build alone, with all that is in it.
    pub fn open_all(path: &Path) -> Result<Self, ContextError> {
        let root = crate::fs::open_dir(path)
            .map_err(|source| ContextError::Open { path: path.to_owned(), source })?;
        Ok(Self::new(path, root, Ignore::default(), PathBuf::new(), false))
    }

    fn new(
        path: &Path,
        root: OwnedFd,
        ignore: Ignore,
        ignore_file: PathBuf,
        lasting: bool,
    ) -> Self {
        Self { path: path.to_owned(), root, ignore, ignore_file, lasting, index: OnceLock::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of its files are left out.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The directory.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Where it is for every build that has it as a context; `None` for one that only this
    /// build has, or whose file system need not show each change in its times.
    pub fn lasting_path(&self) -> Option<PathBuf> {
        let lasting = self.lasting && has_change_times(&self.root);
        fs::read_link(crate::fs::proc_path(&self.root)).ok().filter(|_| lasting)
    }

    /// What is known of the files' contents; `load` gives what other builds knew of them.
    pub fn index_or(&self, load: impl FnOnce() -> Index) -> &Index {
        self.index.get_or_init(load)
    }

    /// The same, if anybody has asked for it.
    pub fn used_index(&self) -> Option<&Index> {
        self.index.get()
    }

    /// Whether a file takes part, by its path below the context.
    pub fn include(&self, path: &Path, is_dir: bool) -> Include {
        let path = path.to_string_lossy();
        if path.is_empty() || !self.ignore.matches(&path) {
            Include::Yes
        } else if is_dir && self.ignore.may_hold_exceptions(&path) {
            Include::Below
        } else {
            Include::No
        }
    }

    /// Why a file does not take part: the line of the ignore file that says so.
    pub fn reason(&self, path: &Path) -> Option<String> {
        let path = path.to_string_lossy();
        let (line, text) = self.ignore.reason(&path)?;
        let file = self.ignore_file.file_name().unwrap_or_default().to_string_lossy();
        Some(format!("{file}, line {line}: {text}"))
    }
}

/// Whether the kernel itself keeps the times of the files there: not a file server, which
/// others write to and whose answers are kept for seconds, nor a program (FUSE).
fn has_change_times(root: &OwnedFd) -> bool {
    /// ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, ZFS, tmpfs, ramfs, overlay (`linux/magic.h`).
    const LOCAL: [u64; 9] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0xf2f5_2010,
        0xca45_1a4e,
        0x2fc1_2fc1,
        0x0102_1994,
        0x8584_58f6,
        0x794c_7630,
    ];
    rustix::fs::fstatfs(root).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u64)))
}
