//! A directory into which the entries of an archive are put, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::owner::{self, Owners};
use super::unpack::{AUFS_PREFIX, BUFFER, Form, OPAQUE_XATTR, UnpackError};
use crate::fs;
use crate::layer::{
    CAPABILITY_XATTR, Entry, Kind, OPAQUE_NAME, WHITEOUT_PREFIX, capability_v2, display, split,
};

/// What a directory gets when nothing is put into it any more.
struct DirEnd {
    mode: u32,
    mtime: i64,
}

/// The directory that the last entry was put into.
struct Parent {
    /// As in the archive, while it is sure to lead here.
    name: Option<Vec<u8>>,
    fd: OwnedFd,
    path: PathBuf,
    /// Whether what root makes in it is root's, whatever the file system's rules are.
    gives_root: bool,
}

impl Parent {
    fn new(name: Option<&[u8]>, fd: OwnedFd, path: PathBuf) -> Self {
        let gives_root = rustix::fs::fstat(&fd).is_ok_and(|stat| {
            let inherits = Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID);
            (stat.st_uid, stat.st_gid) == (0, 0) && !inherits
        });
        Self { name: name.map(<[u8]>::to_vec), fd, path, gives_root }
    }
}

pub(super) struct Tree<'a> {
    root: &'a OwnedFd,
    /// In place of the entries'.
    pub(super) owner: Option<(u32, u32)>,
    owners: Owners<'a>,
    form: Form,
    /// Device nodes that were left out.
    pub(super) devices: u64,
    /// By the place below the root, links resolved.
    dirs: BTreeMap<PathBuf, DirEnd>,
    /// Paths as in the archive.
    whiteouts: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
    parent: Option<Parent>,
    buffer: Vec<u8>,
    /// Whether what this process makes belongs to root.
    is_root: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a OwnedFd, owners: Owners<'a>, form: Form) -> Self {
        Self {
            root,
            owner: None,
            owners,
            form,
            devices: 0,
            dirs: BTreeMap::new(),
            whiteouts: BTreeSet::new(),
            opaque: BTreeSet::new(),
            parent: None,
            buffer: vec![0; BUFFER],
            is_root: rustix::process::geteuid().is_root() && rustix::process::getegid().is_root(),
        }
    }

    pub(super) fn add(
        &mut self,
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let (dir, name) = entry.split();
        if entry.path.is_empty() {
            return self.add_root(entry);
        }
        if self.form == Form::Layer && self.take_mark(entry, dir, name)? {
            return Ok(());
        }
        if self.form == Form::Plain && matches!(entry.kind, Kind::Char { .. } | Kind::Block { .. })
        {
            self.devices += 1;
            return Ok(());
        }
        self.enter(&entry.path, dir)?;
        self.add_file_of_any_kind(entry, name, content)
    }

    /// Takes an entry that is a mark and not a file; whether it was one.
    fn take_mark(&mut self, entry: &Entry, dir: &[u8], name: &[u8]) -> Result<bool, UnpackError> {
        let is_aufs = |part: &[u8]| part.starts_with(AUFS_PREFIX) && part != OPAQUE_NAME;
        if entry.path.split(|&b| b == b'/').any(is_aufs) {
            return Ok(true);
        }
        if dir.split(|&b| b == b'/').any(|part| part.starts_with(WHITEOUT_PREFIX)) {
            return Err(refused(&entry.path, "it is below a whiteout"));
        }
        if let Some(removed) = name.strip_prefix(WHITEOUT_PREFIX) {
            return self.add_whiteout(entry, dir, name, removed).map(|()| true);
        }
        if matches!(entry.kind, Kind::Char { major: 0, minor: 0 }) {
            // overlayfs's own whiteout, from a tar of an upper directory.
            self.whiteouts.insert(entry.path.clone());
            return Ok(true);
        }
        Ok(false)
    }

    fn add_file_of_any_kind(
        &mut self,
        entry: &Entry,
        name: &[u8],
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let c_name = c_name(&entry.path, name)?;
        match &entry.kind {
            Kind::Dir => self.add_dir(entry, &c_name),
            Kind::File { size } => self.add_file(entry, &c_name, *size, content),
            Kind::Hardlink { target } => self.add_hardlink(entry, &c_name, target),
            Kind::Symlink { target } => {
                let target = CString::new(target.as_slice())
                    .map_err(|_| refused(&entry.path, "its target contains a NUL byte"))?;
                self.place(entry, &c_name, "make the link", |dir, name| {
                    rustix::fs::symlinkat(&target, dir, name)
                })?;
                self.finish_special(entry, &c_name)
            }
            Kind::Fifo => self.add_fifo(entry, &c_name),
            // Nobody needs one on disk: a step has a /dev of its own, the layer's blob still
            // has the node, and on disk it would lead to the host's hardware.
            Kind::Char { .. } | Kind::Block { .. } => self.remove(entry, &c_name),
        }
    }

    fn add_root(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Dir {
            return Err(refused(b"/", "the root of a layer must be a directory"));
        }
        self.own(entry, self.root, c".")?;
        self.set_xattrs(entry, self.root, c".")?;
        let end = DirEnd { mode: entry.mode, mtime: entry.mtime };
        self.dirs.insert(PathBuf::new(), end);
        Ok(())
    }

    fn add_whiteout(
        &mut self,
        entry: &Entry,
        dir: &[u8],
        name: &[u8],
        removed: &[u8],
    ) -> Result<(), UnpackError> {
        if entry.kind == Kind::Dir {
            return Err(refused(&entry.path, "a whiteout cannot be a directory"));
        }
        if name == OPAQUE_NAME {
            self.opaque.insert(dir.to_vec());
            return Ok(());
        }
        if matches!(removed, b"" | b"." | b"..") {
            return Err(refused(&entry.path, "a whiteout must name a file of its directory"));
        }
        let path = if dir.is_empty() { removed.to_vec() } else { [dir, b"/", removed].concat() };
        self.whiteouts.insert(path);
        Ok(())
    }

    /// Opens the directory that the next entry goes into, and makes it if it is not there.
    fn enter(&mut self, entry: &[u8], dir: &[u8]) -> Result<(), UnpackError> {
        if self.parent.as_ref().is_some_and(|parent| parent.name.as_deref() == Some(dir)) {
            return Ok(());
        }
        let path = Path::new(OsStr::from_bytes(dir));
        // Nearly always it is there, and no link leads to it.
        if let Ok(fd) = fs::open_dir_beneath(self.root, path) {
            self.parent = Some(Parent::new(Some(dir), fd, path.to_owned()));
            return Ok(());
        }
        let made = fs::create_dir_all_in_root(self.root, path, Mode::RWXU).map_err(|error| {
            match Errno::from_io_error(&error) {
                Some(Errno::NOTDIR) => refused(entry, "its parent is not a directory"),
                _ => failed(entry, "open its directory")(error),
            }
        })?;
        for path in made.created {
            self.dirs.insert(path, DirEnd { mode: 0o755, mtime: 0 });
        }
        self.parent = Some(Parent::new(Some(dir), made.fd, made.path));
        Ok(())
    }

    fn parent(&self, entry: &Entry) -> Result<&Parent, UnpackError> {
        self.parent.as_ref().ok_or_else(|| refused(&entry.path, "it has no parent"))
    }

    /// Makes something that is not a directory, in the place of what has its name.
    fn place<T>(
        &mut self,
        entry: &Entry,
        name: &CStr,
        attempt: &'static str,
        make: impl Fn(&OwnedFd, &CStr) -> rustix::io::Result<T>,
    ) -> Result<T, UnpackError> {
        match make(&self.parent(entry)?.fd, name) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(|e| failed(&entry.path, attempt)(e.into())),
        }
        self.remove(entry, name)?;
        make(&self.parent(entry)?.fd, name).map_err(|e| failed(&entry.path, attempt)(e.into()))
    }

    fn remove(&mut self, entry: &Entry, name: &CStr) -> Result<(), UnpackError> {
        let parent = self.parent(entry)?;
        fs::remove_tree(&parent.fd, name).map_err(failed(&entry.path, "replace what is there"))?;
        // What was a directory there does not get its mode and time any more.
        let gone = parent.path.join(OsStr::from_bytes(name.to_bytes()));
        let below = self.dirs.range(gone.clone()..).map(|(path, _)| path);
        let below: Vec<PathBuf> = below.take_while(|p| p.starts_with(&gone)).cloned().collect();
        for path in below {
            self.dirs.remove(&path);
        }
        // What was removed may have been a link on the way to this directory.
        if let Some(parent) = &mut self.parent {
            parent.name = None;
        }
        Ok(())
    }

    fn add_dir(&mut self, entry: &Entry, name: &CStr) -> Result<(), UnpackError> {
        let attempt = "make the directory";
        let parent = self.parent(entry)?;
        let mut is_new = true;
        if let Err(error) = rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU) {
            if error != Errno::EXIST {
                return Err(failed(&entry.path, attempt)(error.into()));
            }
            let stat = rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| failed(&entry.path, attempt)(e.into()))?;
            is_new = !FileType::from_raw_mode(stat.st_mode).is_dir();
            if is_new {
                self.remove(entry, name)?;
                rustix::fs::mkdirat(&self.parent(entry)?.fd, name, Mode::RWXU)
                    .map_err(|e| failed(&entry.path, attempt)(e.into()))?;
            }
        }
        let parent = self.parent(entry)?;
        if !is_new || !self.is_own_already(entry, parent) {
            self.own(entry, &parent.fd, name)?;
        }
        self.set_xattrs(entry, &parent.fd, name)?;
        let path = parent.path.join(OsStr::from_bytes(name.to_bytes()));
        self.dirs.insert(path, DirEnd { mode: entry.mode, mtime: entry.mtime });
        Ok(())
    }

    fn add_file(
        &mut self,
        entry: &Entry,
        name: &CStr,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.place(entry, name, "make the file", |dir, name| {
            rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let mut file = File::from(fd);
        let mut left = size;
        let mut ends_in_hole = false;
        while left > 0 {
            let want = left.min(self.buffer.len() as u64) as usize;
            let count = content
                .read(&mut self.buffer[..want])
                .map_err(|source| UnpackError::Read { what: display(&entry.path), source })?;
            if count == 0 {
                return Err(refused(&entry.path, "its content ends too early"));
            }
            let bytes = &self.buffer[..count];
            // Zeros become a hole, so that a sparse file does not fill the disk.
            ends_in_hole = bytes.iter().all(|&byte| byte == 0);
            let written =
                if ends_in_hole { file.seek_relative(count as i64) } else { file.write_all(bytes) };
            written.map_err(failed(&entry.path, "write the file"))?;
            left -= count as u64;
        }
        if ends_in_hole {
            file.set_len(size).map_err(failed(&entry.path, "write the file"))?;
        }
        let parent = self.parent(entry)?;
        if !self.is_own_already(entry, parent) {
            self.own(entry, &parent.fd, name)?;
        }
        self.set_xattrs(entry, &parent.fd, name)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(|e| failed(&entry.path, "set its mode")(e.into()))?;
        rustix::fs::futimens(&file, &times(entry.mtime))
            .map_err(|e| failed(&entry.path, "set its time")(e.into()))
    }

    fn add_hardlink(
        &mut self,
        entry: &Entry,
        name: &CStr,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        let absent = || {
            refused(&entry.path, &format!("it links to {}, which is not there", display(target)))
        };
        let (dir, base) = split(target);
        if base.is_empty() || *target == entry.path {
            return Err(refused(&entry.path, "it is a link to itself or to the root"));
        }
        let base = c_name(&entry.path, base)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let path = Path::new(OsStr::from_bytes(dir));
        let from = fs::open_in_root(self.root, path, flags, Mode::empty()).map_err(|error| {
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) => absent(),
                _ => failed(&entry.path, "open its target's directory")(error),
            }
        })?;
        let stat = match rustix::fs::statat(&from, &base, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(absent()),
            Err(error) => return Err(failed(&entry.path, "find its target")(error.into())),
        };
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(refused(&entry.path, "it is a hard link to a directory"));
        }
        // Owner, mode and time are the target's; an archive repeats them here.
        self.place(entry, name, "make the hard link", |dir, name| {
            rustix::fs::linkat(&from, &base, dir, name, AtFlags::empty())
        })?;
        // A record goes with the file, a note with its name.
        if let Owners::Single(ledger) = self.owners
            && FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        {
            let parent = &self.parent(entry)?.fd;
            ledger
                .get_in(&from, &base)
                .and_then(|owner| ledger.note(parent, name, owner.unwrap_or_default()))
                .map_err(failed(&entry.path, "set its owner"))?;
        }
        Ok(())
    }

    fn add_fifo(&mut self, entry: &Entry, name: &CStr) -> Result<(), UnpackError> {
        let mode = Mode::RUSR | Mode::WUSR;
        self.place(entry, name, "make the FIFO", |dir, name| {
            rustix::fs::mknodat(dir, name, FileType::Fifo, mode, 0)
        })?;
        self.finish_special(entry, name)
    }

    /// Owner, mode and time of what cannot be opened for writing.
    fn finish_special(&self, entry: &Entry, name: &CStr) -> Result<(), UnpackError> {
        let parent = &self.parent(entry)?.fd;
        self.own(entry, parent, name)?;
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::empty())
                .and_then(|node| {
                    rustix::fs::chmod(fs::proc_path(&node), Mode::from_raw_mode(entry.mode))
                })
                .map_err(|e| failed(&entry.path, "set its mode")(e.into()))?;
        }
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| failed(&entry.path, "set its time")(e.into()))
    }

    /// Whether a file or directory that was just made in `parent` has its owner.
    fn is_own_already(&self, entry: &Entry, parent: &Parent) -> bool {
        let owner = self.owner.unwrap_or((entry.uid, entry.gid));
        // With a single id, what is new has no record.
        owner == (0, 0) && (parent.gives_root && self.is_root || self.owners.are_single())
    }

    fn own(&self, entry: &Entry, dir: &OwnedFd, name: &CStr) -> Result<(), UnpackError> {
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        owner::give(dir, name, uid, gid, self.owners).map_err(|error| {
            if !self.owners.are_single() && error.raw_os_error() == Some(libc::EINVAL) {
                UnpackError::Owner { path: display(&entry.path), uid, gid }
            } else {
                failed(&entry.path, "set its owner")(error)
            }
        })
    }

    /// Sets the attributes that a layer may bring along.
    fn set_xattrs(&self, entry: &Entry, dir: &OwnedFd, name: &CStr) -> Result<(), UnpackError> {
        for (key, value) in &entry.xattrs {
            let kind = match key.as_slice() {
                CAPABILITY_XATTR => Xattr::Capability,
                key if key.starts_with(b"user.overlay.") || key.starts_with(b"user.yado.") => {
                    continue;
                }
                key if key.starts_with(b"trusted.overlay.") => continue,
                key if key.starts_with(b"user.") => Xattr::User,
                key if key.starts_with(b"trusted.") => Xattr::Trusted,
                // Labels of this machine's policy (security.*), and ACLs with this machine's ids.
                _ => continue,
            };
            let key = c_name(&entry.path, key)?;
            let value = match kind {
                Xattr::Capability => capability_v2(value),
                _ => value.clone(),
            };
            let path = owner::path_of(dir, name);
            match (rustix::fs::lsetxattr(&path, &key, &value, XattrFlags::empty()), kind) {
                (Ok(()), _)
                // Only the machine's root may set these.
                | (Err(Errno::PERM | Errno::OPNOTSUPP), Xattr::Trusted) => {}
                // With one id there is no one to be privileged against.
                (Err(Errno::PERM), Xattr::Capability) if self.owners.are_single() => {}
                (Err(error), _) => {
                    let attempt = "set its extended attributes";
                    return Err(failed(&entry.path, attempt)(error.into()));
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), UnpackError> {
        for dir in std::mem::take(&mut self.opaque) {
            self.enter(&dir, &dir)?;
            if let Some(parent) = &self.parent {
                set_opaque(&parent.fd).map_err(failed(&dir, "make the directory opaque"))?;
            }
        }
        // The deepest first, so that a whiteout is never another's parent.
        for path in std::mem::take(&mut self.whiteouts).iter().rev() {
            self.make_whiteout(path)?;
        }
        // Here too: a directory's mode may close the way to those below it.
        for (path, end) in self.dirs.iter().rev() {
            let name = path.as_os_str().as_bytes();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let dir = fs::open_in_root(self.root, path, flags, Mode::empty())
                .map_err(failed(name, "open the directory"))?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(end.mode))
                .map_err(|e| failed(name, "set its mode")(e.into()))?;
            rustix::fs::futimens(&dir, &times(end.mtime))
                .map_err(|e| failed(name, "set its time")(e.into()))?;
        }
        Ok(())
    }

    fn make_whiteout(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        let attempt = "make the whiteout";
        let (dir, name) = split(path);
        self.enter(path, dir)?;
        let name = c_name(path, name)?;
        let Some(parent) = &self.parent else { return Ok(()) };
        match rustix::fs::statat(&parent.fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
                rustix::fs::mknodat(&parent.fd, &name, kind, mode, 0)
                    .map_err(|e| failed(path, attempt)(e.into()))
            }
            // The layer has a directory of that name itself: nothing of the one below shows.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                fs::open_subdir(&parent.fd, &name)
                    .and_then(set_opaque)
                    .map_err(failed(path, attempt))
            }
            // Any other file hides the one below anyway.
            Ok(_) => Ok(()),
            Err(error) => Err(failed(path, attempt)(error.into())),
        }
    }
}

/// The kinds of extended attributes that are taken from a layer.
#[derive(Clone, Copy)]
enum Xattr {
    Capability,
    User,
    Trusted,
}

fn set_opaque(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(dir, OPAQUE_XATTR, b"y", XattrFlags::empty())?)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn c_name(path: &[u8], name: &[u8]) -> Result<CString, UnpackError> {
    CString::new(name).map_err(|_| refused(path, "a name contains a NUL byte"))
}

fn refused(path: &[u8], reason: &str) -> UnpackError {
    UnpackError::Refused { path: display(path), reason: reason.to_owned() }
}

fn failed(path: &[u8], attempt: &'static str) -> impl FnOnce(io::Error) -> UnpackError {
    let path = display(path);
    move |source| UnpackError::Io { path, attempt, source }
}
