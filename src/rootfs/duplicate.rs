//! Copying trees, with all that a file has: COPY, merging layers, exporting.
//!
//! Both sides are walked by directory descriptors. In the source no link is
//! followed below the place where the copy begins; in the destination none at
//! all, so that nothing is ever written through a link.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::Chmod;
use super::owner::{self, Owners};

/// How much of a file is read at once.
const BUFFER: usize = 128 * 1024;

/// What could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum DuplicateError {
    /// A system call failed.
    #[error("{action} /{path}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what, below the destination.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A directory would have to replace a file, or the other way round.
    #[error("cannot copy {from} over {to} at /{path}", path = path.display())]
    Kind {
        /// What is copied.
        from: &'static str,
        /// What is there.
        to: &'static str,
        /// Where, below the destination.
        path: PathBuf,
    },
    /// The owner cannot be had with the ids that there are.
    #[error("/{path} cannot belong to {uid}:{gid}: the builder has no such id; give its user subordinate ids in /etc/subuid and /etc/subgid", path = path.display())]
    Owner {
        /// What, below the destination.
        path: PathBuf,
        /// The user wanted.
        uid: u32,
        /// The group wanted.
        gid: u32,
    },
}

/// Whether an entry of the source takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// With all that is below it, unless asked again.
    Yes,
    /// Not at all.
    No,
    /// A directory that takes part only for what is below it.
    Below,
}

/// How two trees become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// COPY: kinds must not clash. The destination itself keeps its attributes; a
    /// directory below it gets the source's, one that is there only for what is
    /// below it no more than the mode.
    Copy,
    /// A layer in overlay form: whiteouts are obeyed, its attributes win.
    Layer,
    /// A whole tree into a directory of the caller's: files are replaced, directories
    /// merged, its attributes win; a directory that holds something is never removed.
    Export,
}

/// A copy under way.
pub(super) struct Duplicator<'a> {
    pub(super) form: Form,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) chmod: Option<&'a Chmod>,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: bool,
    pub(super) hard_links: bool,
    /// Those of the source.
    pub(super) from_owners: Owners<'a>,
    /// Those of the destination.
    pub(super) owners: Owners<'a>,
    pub(super) include: &'a dyn Fn(&Path, bool) -> Include,
    /// Where the paths of `links` begin.
    pub(super) base: &'a OwnedFd,
    /// The first copy of each file with several names.
    pub(super) links: HashMap<(u64, u64), PathBuf>,
    /// What a small file's content goes through.
    pub(super) buffer: Vec<u8>,
}

/// A directory of the destination.
pub(super) struct Entered {
    pub(super) fd: OwnedFd,
    is_new: bool,
}

/// Applies the unpacked layer at `layer` to the tree at `target`.
pub fn merge(
    layer: &Path,
    layer_owners: Owners<'_>,
    target: &Path,
    owners: Owners<'_>,
) -> Result<(), DuplicateError> {
    let (from, to) = (open(layer)?, open(target)?);
    let mut duplicator = whole_tree(Form::Layer, &to, layer_owners, owners, None);
    let at = Path::new("");
    let stat = duplicator.check("read", at, rustix::fs::fstat(&from))?;
    duplicator.contents(&from, at, &to, at)?;
    duplicator.dir_attributes(&from, &stat, &to, at)
}

/// Copies a stage's whole tree into the directory `target`, over what is there.
///
/// The directory itself stays as it is: it is the caller's. With an `owner`
/// everything new is his, else it keeps the owners that it has on disk. Files are
/// replaced; a directory that holds something is not, and where the tree has no
/// directory this is an error.
pub fn export(tree: &Path, target: &Path, owner: Option<(u32, u32)>) -> Result<(), DuplicateError> {
    let (from, to) = (open(tree)?, open(target)?);
    let at = Path::new("");
    whole_tree(Form::Export, &to, Owners::Real, Owners::Real, owner).contents(&from, at, &to, at)
}

fn open(path: &Path) -> Result<OwnedFd, DuplicateError> {
    crate::fs::open_dir(path)
        .map_err(|e| io_error("open", path.strip_prefix("/").unwrap_or(path), e))
}

fn whole_tree<'a>(
    form: Form,
    to: &'a OwnedFd,
    from_owners: Owners<'a>,
    owners: Owners<'a>,
    owner: Option<(u32, u32)>,
) -> Duplicator<'a> {
    Duplicator {
        form,
        owner,
        chmod: None,
        mtime: None,
        xattrs: true,
        hard_links: true,
        from_owners,
        owners,
        include: &|_, _| Include::Yes,
        base: to,
        links: HashMap::new(),
        buffer: Vec::new(),
    }
}

impl Duplicator<'_> {
    /// Copies everything in `from` into `to`; `source` and `at` are their paths.
    pub(super) fn contents(
        &mut self,
        from: &OwnedFd,
        source: &Path,
        to: &OwnedFd,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let entries = crate::fs::list(from).map_err(|e| io_error("list", at, e))?;
        for entry in entries {
            let name = Path::new(OsStr::from_bytes(entry.name.to_bytes()));
            self.entry(from, &entry, &source.join(name), to, &at.join(name))?;
        }
        Ok(())
    }

    /// Copies one entry of a directory to another one.
    fn entry(
        &mut self,
        from: &OwnedFd,
        entry: &crate::fs::Entry,
        source: &Path,
        to: &OwnedFd,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let name = entry.name.as_c_str();
        let part = (self.include)(source, entry.is_dir);
        match part {
            Include::No => return Ok(()),
            Include::Below if !entry.is_dir => return Ok(()),
            Include::Yes | Include::Below => {}
        }
        if entry.is_file {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let file =
                self.check("open", at, rustix::fs::openat(from, name, flags, Mode::empty()))?;
            let stat = self.check("read", at, rustix::fs::fstat(&file))?;
            if self.hard_links && stat.st_nlink > 1 && self.link(&stat, to, name, at)? {
                return Ok(());
            }
            return self.file(file, &stat, to, name, at);
        }
        if entry.is_dir {
            let dir = crate::fs::open_subdir(from, name).map_err(|e| io_error("open", at, e))?;
            if part == Include::Below && !self.any_in(&dir, source)? {
                return Ok(());
            }
            let stat = self.check("read", at, rustix::fs::fstat(&dir))?;
            return self.dir(&dir, &stat, (source, part), to, name, at);
        }
        let mut stat =
            self.check("read", at, rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.form == Form::Layer && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return crate::fs::remove_tree(to, name).map_err(|e| io_error("remove", at, e));
        }
        self.make_room(to, name, at)?;
        if self.owner.is_none() {
            let noted = self.from_owners.noted(from, name);
            let noted = noted.map_err(|e| io_error("find the owner of", at, e))?;
            (stat.st_uid, stat.st_gid) = noted.unwrap_or((stat.st_uid, stat.st_gid));
        }
        match kind {
            FileType::Symlink => self.symlink(from, name, &stat, to, at),
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                self.node(kind, &stat, to, name, at)
            }
            // A socket is of no use without its process.
            _ => Ok(()),
        }
    }

    /// Copies the regular file `file` to `name`, where nothing or another file is.
    pub(super) fn file(
        &mut self,
        file: OwnedFd,
        stat: &Stat,
        to: &OwnedFd,
        name: &CStr,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = self.mode(stat.st_mode, false);
        // Those of set-id programs come last: a change of the owner takes them away.
        let bits = (mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO)) | Mode::WUSR;
        let new = match rustix::fs::openat(to, name, flags, bits) {
            Err(Errno::EXIST) => {
                self.make_room(to, name, at)?;
                rustix::fs::openat(to, name, flags, bits)
            }
            other => other,
        };
        let (from, into) = (File::from(file), File::from(self.check("create", at, new)?));
        self.content(&from, &into, stat.st_size as u64).map_err(|e| io_error("write", at, e))?;
        // As the file was made it may be all that it should be.
        let created = self.check("read", at, rustix::fs::fstat(&into))?;
        self.give(&from, stat, (to, name, Some(&created)), at)?;
        if created.st_mode & 0o7777 != mode.as_raw_mode() {
            self.check("set the mode of", at, rustix::fs::fchmod(&into, mode))?;
        }
        self.copy_xattrs(&from, &into, at)?;
        self.check("set the times of", at, rustix::fs::futimens(&into, &self.times(stat)))
    }

    /// Copies all of a file that had `size` bytes when it was opened.
    fn content(&mut self, mut from: &File, mut into: &File, size: u64) -> io::Result<()> {
        if size > BUFFER as u64 {
            // The standard library shares the blocks or copies in the kernel
            // (copy_file_range, sendfile) where that can be done.
            return io::copy(&mut from, &mut into).map(drop);
        }
        // To ask the kernel for that costs more than a small file does.
        self.buffer.resize(BUFFER, 0);
        let mut total = 0;
        loop {
            let count = match from.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            into.write_all(&self.buffer[..count])?;
            total += count as u64;
            // A short read that ends where the file does: the next would find nothing.
            if count == 0 || count < BUFFER && total == size {
                return Ok(());
            }
        }
    }

    /// Makes another name of a file that was copied before.
    fn link(
        &mut self,
        stat: &Stat,
        to: &OwnedFd,
        name: &CStr,
        at: &Path,
    ) -> Result<bool, DuplicateError> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            let link = || rustix::fs::linkat(self.base, first, to, name, AtFlags::empty());
            let linked = match link() {
                Err(Errno::EXIST) => {
                    self.make_room(to, name, at)?;
                    link()
                }
                other => other,
            };
            self.check("link", at, linked)?;
            return Ok(true);
        }
        self.links.insert(key, at.to_owned());
        Ok(false)
    }

    fn dir(
        &mut self,
        from: &OwnedFd,
        stat: &Stat,
        (source, part): (&Path, Include),
        to: &OwnedFd,
        name: &CStr,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let opaque = self.form == Form::Layer && super::is_opaque(from).unwrap_or(false);
        if opaque {
            crate::fs::remove_tree(to, name).map_err(|e| io_error("remove", at, e))?;
        }
        let made = self.enter(to, name, at)?;
        self.contents(from, source, &made.fd, at)?;
        self.leave(from, stat, &made, part, at)
    }

    /// Opens the directory `name`, making it if it is missing.
    pub(super) fn enter(
        &self,
        to: &OwnedFd,
        name: &CStr,
        at: &Path,
    ) -> Result<Entered, DuplicateError> {
        let mut is_new = false;
        let mode = Mode::RWXU;
        match rustix::fs::mkdirat(to, name, mode) {
            Ok(()) => is_new = true,
            Err(Errno::EXIST) => {
                let stat = self.check(
                    "read",
                    at,
                    rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW),
                )?;
                let there = FileType::from_raw_mode(stat.st_mode);
                if !there.is_dir() {
                    if self.form == Form::Copy {
                        return Err(DuplicateError::Kind {
                            from: "a directory",
                            to: describe(there),
                            path: at.to_owned(),
                        });
                    }
                    self.make_room(to, name, at)?;
                    self.check("create", at, rustix::fs::mkdirat(to, name, mode))?;
                }
            }
            Err(error) => return Err(io_error("create", at, error.into())),
        }
        let fd = crate::fs::open_subdir(to, name).map_err(|e| io_error("open", at, e))?;
        Ok(Entered { fd, is_new })
    }

    /// Gives a directory its attributes, when nothing more is made in it.
    pub(super) fn leave(
        &self,
        from: &OwnedFd,
        stat: &Stat,
        to: &Entered,
        part: Include,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        if to.is_new || part == Include::Yes {
            return self.dir_attributes(from, stat, &to.fd, at);
        }
        let mode = self.mode(stat.st_mode, true);
        self.check("set the mode of", at, rustix::fs::fchmod(&to.fd, mode))
    }

    fn dir_attributes(
        &self,
        from: &OwnedFd,
        stat: &Stat,
        to: &OwnedFd,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        self.give(from, stat, (to, c".", None), at)?;
        self.check("set the mode of", at, rustix::fs::fchmod(to, self.mode(stat.st_mode, true)))?;
        self.copy_xattrs(from, to, at)?;
        self.check("set the times of", at, rustix::fs::futimens(to, &self.times(stat)))
    }

    fn symlink(
        &self,
        from: &OwnedFd,
        name: &CStr,
        stat: &Stat,
        to: &OwnedFd,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let target = self.check("read", at, rustix::fs::readlinkat(from, name, Vec::new()))?;
        self.check("create", at, rustix::fs::symlinkat(&target, to, name))?;
        let (uid, gid) = self.owner.unwrap_or((stat.st_uid, stat.st_gid));
        self.give_ids(to, name, uid, gid, at)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let set = rustix::fs::utimensat(to, name, &self.times(stat), flags);
        self.check("set the times of", at, set)
    }

    fn node(
        &self,
        kind: FileType,
        stat: &Stat,
        to: &OwnedFd,
        name: &CStr,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let mode = self.mode(stat.st_mode, false);
        if self.form == Form::Copy && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            // In a tree that is stacked it is a whiteout; an overlay makes none either.
            return Err(io_error("create", at, Errno::PERM.into()));
        }
        match rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev) {
            // A layer keeps its devices in its archive; in a user namespace
            // they cannot be had on disk, and no step needs them: /dev is mounted.
            Err(Errno::PERM) if self.form != Form::Copy => return Ok(()),
            result => self.check("create", at, result)?,
        }
        let (uid, gid) = self.owner.unwrap_or((stat.st_uid, stat.st_gid));
        self.give_ids(to, name, uid, gid, at)?;
        self.check("set the mode of", at, rustix::fs::chmodat(to, name, mode, AtFlags::empty()))?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        self.check(
            "set the times of",
            at,
            rustix::fs::utimensat(to, name, &self.times(stat), flags),
        )
    }

    /// Removes what stands at `name`, unless that would lose a directory; only to a
    /// layer that is what it is to be.
    pub(super) fn make_room(
        &self,
        to: &OwnedFd,
        name: &CStr,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        match rustix::fs::unlinkat(to, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) if self.form == Form::Layer => {
                crate::fs::remove_tree(to, name).map_err(|e| io_error("remove", at, e))
            }
            Err(Errno::ISDIR) if self.form == Form::Export => {
                match rustix::fs::unlinkat(to, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => Err(DuplicateError::Kind {
                        from: "a file",
                        to: "a directory that is not empty",
                        path: at.to_owned(),
                    }),
                    result => self.check("replace", at, result),
                }
            }
            Err(Errno::ISDIR) => {
                Err(DuplicateError::Kind { from: "a file", to: "a directory", path: at.to_owned() })
            }
            Err(error) => Err(io_error("replace", at, error.into())),
        }
    }

    /// Sets the owner of a file or directory; a new one, as it was `created`, may have it.
    fn give(
        &self,
        from: impl std::os::fd::AsFd,
        stat: &Stat,
        (to, name, created): (&OwnedFd, &CStr, Option<&Stat>),
        at: &Path,
    ) -> Result<(), DuplicateError> {
        let (uid, gid) = self
            .owner
            .or_else(
                || if self.from_owners.are_single() { owner::recorded_of(&from) } else { None },
            )
            .unwrap_or((stat.st_uid, stat.st_gid));
        if created.is_some_and(|created| self.owners.has_new(created, uid, gid)) {
            return Ok(());
        }
        self.give_ids(to, name, uid, gid, at)
    }

    pub(super) fn give_ids(
        &self,
        to: &OwnedFd,
        name: &CStr,
        uid: u32,
        gid: u32,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        owner::give(to, name, uid, gid, self.owners).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => DuplicateError::Owner { path: at.to_owned(), uid, gid },
            _ => io_error("set the owner of", at, error),
        })
    }

    fn mode(&self, mode: u32, is_dir: bool) -> Mode {
        let bits = mode & 0o7777;
        Mode::from_raw_mode(self.chmod.map_or(bits, |chmod| chmod.apply(bits, is_dir)))
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        let modified = match self.mtime {
            Some(seconds) => Timespec { tv_sec: seconds, tv_nsec: 0 },
            None => Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() },
        };
        Timestamps { last_access: modified, last_modification: modified }
    }

    /// Copies the attributes that belong to the file and not to this machine.
    fn copy_xattrs(
        &self,
        from: impl std::os::fd::AsFd,
        to: impl std::os::fd::AsFd,
        at: &Path,
    ) -> Result<(), DuplicateError> {
        if !self.xattrs {
            return Ok(());
        }
        for (name, value) in
            crate::fs::portable_xattrs(from).map_err(|e| io_error("read", at, e))?
        {
            let name = CString::new(name).map_err(|e| io_error("read", at, e.into()))?;
            let set = rustix::fs::fsetxattr(&to, &name, &value, XattrFlags::empty());
            self.check("set an extended attribute of", at, set)?;
        }
        Ok(())
    }

    /// Whether anything in a directory takes part.
    pub(super) fn any_in(&self, dir: &OwnedFd, source: &Path) -> Result<bool, DuplicateError> {
        any_in(dir, source, self.include).map_err(|e| io_error("list", source, e))
    }

    #[expect(clippy::unused_self, reason = "reads better where it is called")]
    fn check<T>(
        &self,
        action: &'static str,
        at: &Path,
        result: rustix::io::Result<T>,
    ) -> Result<T, DuplicateError> {
        result.map_err(|e| io_error(action, at, e.into()))
    }
}

/// Whether anything in the directory `dir` takes part; `source` is its path.
pub fn any_in(
    dir: &OwnedFd,
    source: &Path,
    include: &dyn Fn(&Path, bool) -> Include,
) -> io::Result<bool> {
    for entry in crate::fs::list(dir)? {
        let path = source.join(OsStr::from_bytes(entry.name.to_bytes()));
        let found = match include(&path, entry.is_dir) {
            Include::Yes => true,
            Include::No => false,
            Include::Below => {
                entry.is_dir && any_in(&crate::fs::open_subdir(dir, &entry.name)?, &path, include)?
            }
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> DuplicateError {
    DuplicateError::Io { action, path: path.to_owned(), source }
}

pub(super) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}
