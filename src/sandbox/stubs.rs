//! Mount points made for a step, and gone after it.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// The mount points that were missing and had to be made.
///
/// They are removed by [`Stubs::remove`], as far as the step left them empty,
/// and the directories they stood in keep the times that they would have without.
#[derive(Debug)]
pub struct Stubs {
    root: OwnedFd,
    /// Made directories and files, parents first.
    created: Vec<(PathBuf, bool)>,
    /// Directories that were there before, with their times.
    touched: Vec<(PathBuf, Timestamps)>,
}

impl Stubs {
    /// Sees to it that every target is there: paths inside `root`, and whether a
    /// directory is wanted. Links are followed inside the root.
    pub fn prepare<'a>(
        root: impl AsFd,
        targets: impl IntoIterator<Item = (&'a str, bool)>,
    ) -> io::Result<Self> {
        let root = crate::fs::reopen_dir(root)?;
        let mut stubs = Self { root, created: Vec::new(), touched: Vec::new() };
        for (target, is_dir) in targets {
            if let Err(error) = stubs.prepare_one(Path::new(target), is_dir, 0) {
                stubs.remove();
                return Err(error);
            }
        }
        // What the times are after the step is then the step's doing alone.
        for (path, times) in stubs.touched.iter().rev() {
            stubs.set_times(path, times);
        }
        Ok(stubs)
    }

    fn prepare_one(&mut self, target: &Path, is_dir: bool, links: u32) -> io::Result<()> {
        match crate::fs::open_in_root(&self.root, target, OFlags::PATH, Mode::empty()) {
            Ok(_) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let mode = Mode::from_raw_mode(0o755);
        let parent_path = if is_dir { target } else { target.parent().unwrap_or(Path::new("")) };
        self.remember_times(parent_path);
        let parent = crate::fs::create_dir_all_in_root(&self.root, parent_path, mode)?;
        self.created.extend(parent.created.iter().map(|path| (path.clone(), true)));
        if is_dir {
            return Ok(());
        }
        let name = target.file_name().ok_or(Errno::INVAL)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent.fd, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) => {
                self.created.push((parent.path.join(name), false));
                Ok(())
            }
            // A dangling link: what it leads to is made.
            Err(Errno::EXIST) if links < 40 => {
                let link = rustix::fs::readlinkat(&parent.fd, name, Vec::new())?;
                let link = Path::new(OsStr::from_bytes(link.as_bytes()));
                self.prepare_one(&parent.path.join(link), false, links + 1)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Notes the times of the innermost directory of `path` that is there.
    fn remember_times(&mut self, path: &Path) {
        for ancestor in path.ancestors() {
            let Ok(fd) = crate::fs::open_in_root(&self.root, ancestor, OFlags::PATH, Mode::empty())
            else {
                continue;
            };
            if let Ok(times) = times_of(&fd) {
                self.touched.push((ancestor.to_owned(), times));
            }
            return;
        }
    }

    fn set_times(&self, path: &Path, times: &Timestamps) {
        if let Ok(fd) = crate::fs::open_in_root(&self.root, path, OFlags::RDONLY, Mode::empty()) {
            // Times that cannot be set are those of a read-only place, which has no stubs.
            let _ = rustix::fs::futimens(&fd, times);
        }
    }

    /// Removes what was made, unless the step put something there.
    pub fn remove(&mut self) {
        for (path, times) in &mut self.touched {
            let now = crate::fs::open_in_root(&self.root, path, OFlags::PATH, Mode::empty())
                .and_then(times_of);
            if let Ok(now) = now {
                *times = now;
            }
        }
        while let Some((path, is_dir)) = self.created.pop() {
            // What cannot be removed has become part of the step's result.
            let _ = self.remove_one(&path, is_dir);
        }
        for (path, times) in std::mem::take(&mut self.touched) {
            self.set_times(&path, &times);
        }
    }

    fn remove_one(&self, path: &Path, is_dir: bool) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let name = CString::new(name.as_bytes())?;
        let parent = crate::fs::open_in_root(
            &self.root,
            parent,
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )?;
        if is_dir {
            return Ok(rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?);
        }
        let stat = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_size == 0 {
            rustix::fs::unlinkat(&parent, &name, AtFlags::empty())?;
        }
        Ok(())
    }
}

/// The times of a file, to be set again.
pub(super) fn times_of(file: impl AsFd) -> io::Result<Timestamps> {
    let stat = rustix::fs::fstat(file)?;
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    Ok(Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn mount_points_come_and_go() -> io::Result<()> {
        let temp = TempDir::new("stubs");
        let path = temp.path();
        fs::create_dir_all(path.join("etc"))?;
        fs::write(path.join("etc/hosts"), "kept")?;
        symlink("../run/resolve/stub.conf", path.join("etc/resolv.conf"))?;
        let root = crate::fs::open_dir(path)?;
        let before = fs::metadata(path.join("etc"))?.modified()?;
        let targets = [
            ("/proc", true),
            ("/etc/hosts", false),
            ("/etc/resolv.conf", false),
            ("/etc/hostname", false),
        ];
        let mut stubs = Stubs::prepare(&root, targets)?;
        assert!(path.join("run/resolve/stub.conf").is_file() && path.join("proc").is_dir());
        fs::write(path.join("etc/hostname"), "written by the step")?;
        stubs.remove();
        assert!(!path.join("run").exists() && !path.join("proc").exists());
        assert_eq!(fs::read_to_string(path.join("etc/hosts"))?, "kept");
        assert!(path.join("etc/hostname").is_file());
        assert!(fs::symlink_metadata(path.join("etc/resolv.conf"))?.is_symlink());
        assert_eq!(fs::metadata(path.join("etc"))?.modified()?, before);
        Ok(())
    }
}
