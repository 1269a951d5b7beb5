//! One entry of the tree to one entry of the archive.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, major, minor};

use super::SnapshotError;
use crate::fs::Xattrs;
use crate::layer::{CAPABILITY_XATTR, Entry, Kind, TarWriter, capability_v2};
use crate::rootfs::Owners;

/// What becomes of the times of changed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// They stay, in whole seconds.
    Keep,
    /// None is later than this, in seconds since 1970; on disk as in the layer,
    /// so that later steps see the same whether this one was cached or not.
    Clamp(i64),
}

impl Times {
    pub(super) fn apply(self, seconds: i64) -> i64 {
        match self {
            Self::Keep => seconds,
            Self::Clamp(epoch) => seconds.min(epoch),
        }
    }
}

/// Files below this size are read at once.
const SMALL: usize = 128 * 1024;

/// How much was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries of the archive, whiteouts included.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Writes entries of a tree.
pub(super) struct Archive<'a, W: Write> {
    tar: &'a mut TarWriter<W>,
    times: Times,
    owners: Owners<'a>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    pub(super) counts: Counts,
    /// What a small file's content goes through.
    buffer: Vec<u8>,
}

impl<'a, W: Write> Archive<'a, W> {
    pub(super) fn new(tar: &'a mut TarWriter<W>, times: Times, owners: Owners<'a>) -> Self {
        let (links, counts) = (HashMap::new(), Counts::default());
        Self { tar, times, owners, links, counts, buffer: Vec::new() }
    }

    pub(super) fn whiteout(&mut self, path: &[u8]) -> Result<(), SnapshotError> {
        // The time a removal has is nobody's business.
        let time = match self.times {
            Times::Keep => 0,
            Times::Clamp(epoch) => epoch,
        };
        self.tar.whiteout(path, time)?;
        self.counts.entries += 1;
        Ok(())
    }

    /// Writes the directory that `dir` is.
    pub(super) fn directory(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<(), SnapshotError> {
        let stat = rustix::fs::fstat(dir).map_err(|e| read_error("read", path, e.into()))?;
        let entry = self.entry(path, Kind::Dir, &stat, Some(dir))?;
        self.append(&entry, io::empty())?;
        if let Some(times) = self.new_times(&stat) {
            rustix::fs::futimens(dir, &times)
                .map_err(|e| read_error("set the times of", path, e.into()))?;
        }
        Ok(())
    }

    /// Writes anything but a directory. Sockets are left out, as tar has no form for them.
    pub(super) fn file(
        &mut self,
        dir: &OwnedFd,
        name: &CStr,
        stat: &Stat,
        path: &[u8],
    ) -> Result<(), SnapshotError> {
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.regular(dir, name, path),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(|e| read_error("read the link", path, e.into()))?;
                Kind::Symlink { target: target.into_bytes() }
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Char { major, minor },
            FileType::BlockDevice => Kind::Block { major, minor },
            _ => return Ok(()),
        };
        let first = self.first_name(stat, path);
        let is_other = first.is_some();
        let kind = first.map_or(kind, |target| Kind::Hardlink { target });
        let mut entry = self.entry(path, kind, stat, None::<&OwnedFd>)?;
        if let Some(owner) = self.noted(path) {
            (entry.uid, entry.gid) = owner;
        }
        self.append(&entry, io::empty())?;
        if let Some(times) = self.new_times(stat).filter(|_| !is_other) {
            rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| read_error("set the times of", path, e.into()))?;
        }
        Ok(())
    }

    /// The name under which a file is in the archive already; else `path` is the first.
    pub(super) fn first_name(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let file = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&file) {
            return Some(first.clone());
        }
        self.links.insert(file, path.to_vec());
        None
    }

    /// The owner that is noted of what can carry no record.
    fn noted(&self, path: &[u8]) -> Option<(u32, u32)> {
        match self.owners {
            Owners::Real => None,
            Owners::Single(ledger) => ledger.get(path),
        }
    }

    /// Writes a regular file.
    pub(super) fn regular(
        &mut self,
        dir: &OwnedFd,
        name: &CStr,
        path: &[u8],
    ) -> Result<(), SnapshotError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())
            .map_err(|e| read_error("open", path, e.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| read_error("read", path, e.into()))?;
        if let Some(target) = self.first_name(&stat, path) {
            let mut entry = self.entry(path, Kind::Hardlink { target }, &stat, None::<&OwnedFd>)?;
            if self.owners.are_single()
                && let Some(owner) = crate::rootfs::recorded_of(&file)
            {
                (entry.uid, entry.gid) = owner;
            }
            return self.append(&entry, io::empty());
        }
        let size = stat.st_size as u64;
        let entry = self.entry(path, Kind::File { size }, &stat, Some(&file))?;
        let file = File::from(file);
        self.append_file(&entry, &file, size)?;
        if let Some(times) = self.new_times(&stat) {
            rustix::fs::futimens(&file, &times)
                .map_err(|e| read_error("set the times of", path, e.into()))?;
        }
        Ok(())
    }

    /// Adds a file that had `size` bytes when it was opened.
    pub(super) fn append_file(
        &mut self,
        entry: &Entry,
        mut file: &File,
        size: u64,
    ) -> Result<(), SnapshotError> {
        let mut content = std::mem::take(&mut self.buffer);
        let mut read = || match usize::try_from(size) {
            // All of it and no more: what is read to its end at once need not be asked again.
            Ok(size) if size < SMALL => {
                content.resize(size + 1, 0);
                file.read(&mut content).map(|count| (count, count == size))
            }
            _ => Ok((0, false)),
        };
        let (count, is_all) = read().unwrap_or_default();
        let head = &content[..count];
        let done =
            if is_all { self.append(entry, head) } else { self.append(entry, head.chain(file)) };
        self.buffer = content;
        self.counts.bytes += size;
        done
    }

    pub(super) fn append(
        &mut self,
        entry: &Entry,
        content: impl io::Read,
    ) -> Result<(), SnapshotError> {
        self.tar.append(entry, content)?;
        self.counts.entries += 1;
        Ok(())
    }

    fn entry(
        &self,
        path: &[u8],
        kind: Kind,
        stat: &Stat,
        fd: Option<impl AsFd>,
    ) -> Result<Entry, SnapshotError> {
        let mut entry = Entry::new(path, kind);
        entry.mode = stat.st_mode & 0o7777;
        (entry.uid, entry.gid) = (stat.st_uid, stat.st_gid);
        entry.mtime = self.times.apply(stat.st_mtime);
        if let Some(fd) = fd {
            if self.owners.are_single()
                && let Some(owner) = crate::rootfs::recorded_of(&fd)
            {
                (entry.uid, entry.gid) = owner;
            }
            entry.xattrs = xattrs(&fd, path)?;
        }
        Ok(entry)
    }

    /// The times that the file must have on disk, if they are not those it has.
    fn new_times(&self, stat: &Stat) -> Option<Timestamps> {
        let Times::Clamp(_) = self.times else { return None };
        let seconds = self.times.apply(stat.st_mtime);
        let right = seconds == stat.st_mtime && stat.st_mtime_nsec == 0;
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        (!right).then_some(Timestamps { last_access: time, last_modification: time })
    }
}

/// The extended attributes that an entry has.
pub(super) fn xattrs(fd: impl AsFd, path: &[u8]) -> Result<Xattrs, SnapshotError> {
    let mut xattrs = crate::fs::portable_xattrs(fd)
        .map_err(|e| read_error("read the attributes of", path, e))?;
    if let Some(value) = xattrs.get_mut(CAPABILITY_XATTR) {
        *value = capability_v2(value);
    }
    Ok(xattrs)
}

pub(super) fn read_error(action: &'static str, path: &[u8], source: io::Error) -> SnapshotError {
    SnapshotError::Read { action, path: OsStr::from_bytes(path).into(), source }
}

/// The path of `name` in the directory `dir`.
pub(super) fn join(dir: &[u8], name: &CStr) -> Vec<u8> {
    if dir.is_empty() { name.to_bytes().to_vec() } else { [dir, b"/", name.to_bytes()].concat() }
}
