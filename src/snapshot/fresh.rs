//! A copy to where nothing is, as an archive, without the copied files.
//!
//! It is what `rootfs::copy` into an empty tree and [`super::write_upper`] of that tree
//! would make, for the simple requests alone: one source, a file or a directory, no
//! archive to unpack. Each file is opened once and read once, and none is made.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;

use super::SnapshotError;
use super::archive::{Archive, Counts, Times, join, read_error};
use crate::layer::{Entry, Kind, TarWriter};
use crate::rootfs::{Chmod, Filter, Include, Origin, Owners, recorded_of};

/// The mode of directories that have to be made.
const DIRECTORY: u32 = 0o755;

/// A copy to where nothing is.
#[expect(missing_debug_implementations, reason = "a function has none")]
pub struct FreshCopy<'a> {
    /// Where the source is.
    pub origin: Origin<'a>,
    /// Its path below the origin's root.
    pub source: &'a Path,
    /// Which files take part, if it is a directory.
    pub include: &'a Filter<'a>,
    /// The path inside the tree.
    pub destination: &'a Path,
    /// Whether it ended in a slash.
    pub destination_is_directory: bool,
    /// The owner of everything new; `None` keeps what the source says, and what is made on
    /// the way to the destination is root's.
    pub owner: Option<(u32, u32)>,
    /// The change of permission bits.
    pub chmod: Option<&'a Chmod>,
}

impl FreshCopy<'_> {
    /// Whether it is as simple as this. What is not there, or cannot be copied, is not:
    /// whoever copies it says what is wrong.
    pub fn is_simple(&self) -> bool {
        let is_name = |part| matches!(part, Component::RootDir | Component::Normal(_));
        let kind =
            |fd: OwnedFd| rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let opened =
            crate::fs::open_in_root(self.origin.root, self.source, OFlags::PATH, Mode::empty());
        self.destination.components().all(is_name)
            && opened.is_ok_and(|fd| kind(fd).is_ok_and(|kind| kind.is_dir() || kind.is_file()))
    }

    /// Writes it.
    pub fn write<W: Write>(
        &self,
        times: Times,
        tar: &mut TarWriter<W>,
    ) -> Result<Counts, SnapshotError> {
        let shown = self.source.as_os_str().as_bytes();
        let fail = |source| read_error("read", shown, source);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = crate::fs::open_in_root(self.origin.root, self.source, flags, Mode::empty())
            .map_err(fail)?;
        let stat = rustix::fs::fstat(&opened).map_err(|e| fail(e.into()))?;
        let archive = Archive::new(tar, times, Owners::Real);
        let mut writer = Writer { copy: self, times, archive };
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let at = writer.way(self.destination)?;
            let path = crate::fs::path_below(self.origin.root, &opened).map_err(fail)?;
            writer.contents(&opened, &path, &at)?;
        } else {
            let name = self.destination.file_name().filter(|_| !self.destination_is_directory);
            let (dir, name) = match name {
                Some(name) => (self.destination.parent().unwrap_or(Path::new("")), name),
                None => (self.destination, self.source.file_name().unwrap_or_default()),
            };
            let dir = writer.way(dir)?;
            let name = CString::new(name.as_bytes()).map_err(|e| fail(e.into()))?;
            writer.file(opened, &join(&dir, &name))?;
        }
        Ok(writer.archive.counts)
    }
}

struct Writer<'a, 'b, W: Write> {
    copy: &'a FreshCopy<'a>,
    times: Times,
    archive: Archive<'b, W>,
}

impl<W: Write> Writer<'_, '_, W> {
    /// Writes the directories on the way to a place; gives its path.
    fn way(&mut self, place: &Path) -> Result<Vec<u8>, SnapshotError> {
        let mode = match self.copy.chmod {
            Some(Chmod::Octal(mode)) => mode & 0o777,
            _ => DIRECTORY,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut at = Vec::new();
        for component in place.components() {
            let Component::Normal(name) = component else { continue };
            if !at.is_empty() {
                at.push(b'/');
            }
            at.extend_from_slice(name.as_bytes());
            let mut entry = Entry::new(&*at, Kind::Dir);
            entry.mode = mode;
            (entry.uid, entry.gid) = self.copy.owner.unwrap_or_default();
            entry.mtime = self.times.apply(now.as_secs().cast_signed());
            self.archive.append(&entry, io::empty())?;
        }
        Ok(at)
    }

    /// Writes what is in a directory; `source` and `at` are the paths of it and its copy.
    fn contents(&mut self, dir: &OwnedFd, source: &Path, at: &[u8]) -> Result<(), SnapshotError> {
        for entry in crate::fs::list(dir).map_err(|e| read_error("list", at, e))? {
            let name = entry.name.as_c_str();
            let path = source.join(OsStr::from_bytes(name.to_bytes()));
            let at = join(at, name);
            let part = (self.copy.include)(&path, entry.is_dir);
            if part == Include::No || part == Include::Below && !entry.is_dir {
                continue;
            }
            if entry.is_file {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(dir, name, flags, Mode::empty())
                    .map_err(|e| read_error("open", &at, e.into()))?;
                self.file(file, &at)?;
            } else if entry.is_dir {
                let below =
                    crate::fs::open_subdir(dir, name).map_err(|e| read_error("open", &at, e))?;
                let any = || crate::rootfs::any_in(&below, &path, self.copy.include);
                if part == Include::Below && !any().map_err(|e| read_error("list", &at, e))? {
                    continue;
                }
                let stat =
                    rustix::fs::fstat(&below).map_err(|e| read_error("read", &at, e.into()))?;
                let entry = self.entry(&at, Kind::Dir, &stat, &below)?;
                self.archive.append(&entry, io::empty())?;
                self.contents(&below, &path, &at)?;
            } else {
                self.special(dir, name, &at)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, file: OwnedFd, at: &[u8]) -> Result<(), SnapshotError> {
        let stat = rustix::fs::fstat(&file).map_err(|e| read_error("read", at, e.into()))?;
        let first =
            if self.copy.origin.hard_links { self.archive.first_name(&stat, at) } else { None };
        if let Some(target) = first {
            let mut entry = self.entry(at, Kind::Hardlink { target }, &stat, &file)?;
            entry.xattrs.clear();
            return self.archive.append(&entry, io::empty());
        }
        let size = stat.st_size as u64;
        let entry = self.entry(at, Kind::File { size }, &stat, &file)?;
        self.archive.append_file(&entry, &File::from(file), size)
    }

    /// Writes a link, pipe or device. A socket is of no use without its process.
    fn special(&mut self, dir: &OwnedFd, name: &CStr, at: &[u8]) -> Result<(), SnapshotError> {
        let fail = |action, e: Errno| read_error(action, at, e.into());
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| fail("read", e))?;
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let mut mode = self.mode(&stat, false);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                mode = stat.st_mode & 0o7777;
                let target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(|e| fail("read the link", e))?;
                Kind::Symlink { target: target.into_bytes() }
            }
            FileType::Fifo => Kind::Fifo,
            // In an overlay this one is a whiteout.
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                return Err(fail("copy", Errno::PERM));
            }
            FileType::CharacterDevice => Kind::Char { major, minor },
            FileType::BlockDevice => Kind::Block { major, minor },
            _ => return Ok(()),
        };
        let origin = self.copy.origin;
        let owner = match self.copy.owner.or(origin.owner) {
            None => origin
                .owners
                .noted(dir, name)
                .map_err(|e| read_error("find the owner of", at, e))?,
            owner => owner,
        };
        let mut entry = Entry::new(at, kind);
        entry.mode = mode;
        (entry.uid, entry.gid) = owner.unwrap_or((stat.st_uid, stat.st_gid));
        entry.mtime = self.times.apply(origin.mtime.unwrap_or(stat.st_mtime));
        self.archive.append(&entry, io::empty())
    }

    /// The entry of a file or directory.
    fn entry(
        &self,
        at: &[u8],
        kind: Kind,
        stat: &Stat,
        file: &OwnedFd,
    ) -> Result<Entry, SnapshotError> {
        let origin = self.copy.origin;
        let recorded = || if origin.owners.are_single() { recorded_of(file) } else { None };
        let owner = self.copy.owner.or(origin.owner).or_else(recorded);
        let mut entry = Entry::new(at, kind);
        entry.mode = self.mode(stat, entry.kind == Kind::Dir);
        (entry.uid, entry.gid) = owner.unwrap_or((stat.st_uid, stat.st_gid));
        entry.mtime = self.times.apply(origin.mtime.unwrap_or(stat.st_mtime));
        if origin.xattrs {
            entry.xattrs = super::archive::xattrs(file, at)?;
        }
        Ok(entry)
    }

    fn mode(&self, stat: &Stat, is_dir: bool) -> u32 {
        let bits = stat.st_mode & 0o7777;
        self.copy.chmod.map_or(bits, |chmod| chmod.apply(bits, is_dir))
    }
}
