//! The directory that a clone is made in.
//!
//! What it promises: nothing that was there is touched before [`Target::begin`]; a directory that
//! holds something is refused unless it is to be emptied; and what was begun and not kept goes with
//! the value, the directories that were made for it too. Emptying neither follows a link nor
//! crosses a mount.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::error::GitError;
use crate::fs::{list, open_dir, remove_tree};

/// What a file system puts into its own root. It is neither ours nor in the way.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// A directory to clone into.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    dir: OwnedFd,
    /// Directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
    delete_existing: bool,
    begun: bool,
    kept: bool,
}

impl Target {
    /// Opens the directory, making what is missing of its path.
    pub fn open(path: &Path, delete_existing: bool) -> Result<Self, GitError> {
        let failed = |source| GitError::Io { path: path.display().to_string(), source };
        let mut made = Vec::new();
        let opened = make(path, &mut made).and_then(|()| open_dir(path));
        let dir = match opened {
            Ok(dir) => dir,
            Err(error) => {
                remove(&made);
                return Err(failed(error));
            }
        };
        let target =
            Self { path: path.to_owned(), dir, made, delete_existing, begun: false, kept: false };
        if !delete_existing {
            target.refuse_content()?;
        }
        Ok(target)
    }

    /// Where it is, as the caller named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From here on it is written into: what is there goes, if it is to.
    pub(super) fn begin(&mut self) -> Result<(), GitError> {
        if self.delete_existing {
            let emptied = self.empty();
            emptied
                .map_err(|source| GitError::Io { path: self.path.display().to_string(), source })?;
        } else {
            self.refuse_content()?;
        }
        self.begun = true;
        Ok(())
    }

    /// What was made stays.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    fn refuse_content(&self) -> Result<(), GitError> {
        let path = || self.path.display().to_string();
        let entries = list(&self.dir).map_err(|source| GitError::Io { path: path(), source })?;
        let other = entries.iter().find(|e| e.name.to_bytes() != OF_THE_FILE_SYSTEM.as_bytes());
        match other {
            None => Ok(()),
            Some(entry) => Err(GitError::NotEmpty {
                path: path(),
                holds: entry.name.to_string_lossy().into_owned(),
            }),
        }
    }

    /// Removes what is in it.
    fn empty(&self) -> io::Result<()> {
        for entry in list(&self.dir)? {
            if entry.name.to_bytes() != OF_THE_FILE_SYSTEM.as_bytes() {
                remove_tree(&self.dir, &entry.name)?;
            }
        }
        Ok(())
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.begun {
            let _ = self.empty();
        }
        remove(&self.made);
    }
}

/// Makes a directory and those above it; `made` gets those that were not there.
fn make(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)) {
        Ok(()) => {
            made.push(path.to_owned());
            Ok(())
        }
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let Some(parent) = parent else { return Err(rustix::io::Errno::NOENT.into()) };
            make(parent, made)?;
            make(path, made)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes directories that are empty, the innermost first.
fn remove(made: &[PathBuf]) {
    for path in made.iter().rev() {
        if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
            let _ = rustix::fs::rmdir(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn what_is_not_kept_goes_with_the_directories_made_for_it() {
        let temp = TempDir::new("target");
        let path = temp.path().join("a/b/c");
        let mut target = Target::open(&path, false).unwrap();
        target.begin().unwrap();
        fs::create_dir(path.join("dir")).unwrap();
        fs::write(path.join("dir/file"), "x").unwrap();
        drop(target);
        assert!(!temp.path().join("a").exists());
        let mut target = Target::open(&path, false).unwrap();
        target.begin().unwrap();
        fs::write(path.join("file"), "x").unwrap();
        target.keep();
        assert!(path.join("file").exists());
    }

    #[test]
    fn what_was_there_is_refused_or_emptied_but_not_before_it_begins() {
        let temp = TempDir::new("target-full");
        let path = temp.path().join("full");
        let outside = temp.path().join("outside");
        fs::create_dir_all(path.join("dir")).unwrap();
        fs::create_dir(path.join(OF_THE_FILE_SYSTEM)).unwrap();
        fs::write(path.join("dir/file"), "x").unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, path.join("link")).unwrap();
        let refused = Target::open(&path, false).unwrap_err().to_string();
        assert!(refused.contains("is not empty"), "{refused}");
        drop(Target::open(&path, true).unwrap());
        assert!(path.join("dir/file").exists(), "it was not begun");
        let mut target = Target::open(&path, true).unwrap();
        target.begin().unwrap();
        let left: Vec<_> = fs::read_dir(&path).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, [OF_THE_FILE_SYSTEM]);
        drop(target);
        assert!(path.exists() && outside.join("file").exists());
        fs::remove_dir(path.join(OF_THE_FILE_SYSTEM)).unwrap();
        drop(Target::open(&path, false).unwrap());
        assert!(path.exists(), "it was there before");
    }
}
