//! Changes of a tree that is not an overlay, by an index taken before.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::SnapshotError;
use super::archive::{Archive, Counts, Times, join, read_error};
use crate::fs::Xattrs;
use crate::layer::TarWriter;
use crate::rootfs::Owners;

/// What a tree looked like, without its contents.
#[derive(Debug)]
pub struct Index {
    root: Node,
}

#[derive(Debug)]
struct Node {
    mark: Mark,
    children: BTreeMap<CString, Node>,
}

/// What tells a changed file from an unchanged one.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// The kernel sets the change time whenever content or attributes change;
    /// no program can set it back.
    File { inode: u64, changed: (i64, i64), size: u64 },
    /// A directory's change time moves with mount points made and removed in
    /// it, so what can be changed of it is compared instead.
    Dir { mode: u32, owner: (u32, u32), modified: (i64, i64), xattrs: Xattrs },
}

impl Mark {
    fn of_file(stat: &Stat) -> Self {
        Self::File {
            inode: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
            size: stat.st_size as u64,
        }
    }

    fn of_dir(dir: &OwnedFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(dir)?;
        Ok(Self::Dir {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            xattrs: crate::fs::portable_xattrs(dir)?,
        })
    }
}

impl Index {
    /// Walks the tree at `root`.
    pub fn take(root: &Path) -> io::Result<Self> {
        fn directory(dir: &OwnedFd) -> io::Result<Node> {
            let mut children = BTreeMap::new();
            for entry in crate::fs::list(dir)? {
                let node = if entry.is_dir {
                    directory(&crate::fs::open_subdir(dir, &entry.name)?)?
                } else {
                    let stat = rustix::fs::statat(dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
                    Node { mark: Mark::of_file(&stat), children: BTreeMap::new() }
                };
                children.insert(entry.name, node);
            }
            Ok(Node { mark: Mark::of_dir(dir)?, children })
        }
        Ok(Self { root: directory(&crate::fs::open_dir(root)?)? })
    }
}

impl Index {
    /// Whether what stands at `path` below `root` is still the file that it was.
    pub fn is_same(&self, root: &OwnedFd, path: &[u8]) -> bool {
        let mut node = &self.root;
        for name in path.split(|&byte| byte == b'/') {
            let below = CString::new(name).ok().and_then(|name| node.children.get(&name));
            let Some(below) = below else { return false };
            node = below;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        crate::fs::open_in_root(root, Path::new(OsStr::from_bytes(path)), flags, Mode::empty())
            .and_then(|file| Ok(rustix::fs::fstat(&file)?))
            .is_ok_and(|stat| node.mark == Mark::of_file(&stat))
    }

    /// Takes the file at `path` for unchanged if it is still the same file: one
    /// that was out of the step's reach, but moved away and back by the sandbox.
    pub fn forgive(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        let root_fd = crate::fs::open_dir(root)?;
        let file = crate::fs::open_in_root(&root_fd, path, OFlags::PATH, Mode::empty())?;
        let now = Mark::of_file(&rustix::fs::fstat(&file)?);
        let real = std::fs::read_link(crate::fs::proc_path(&file))?;
        let inside = real.strip_prefix(root).map_err(io::Error::other)?;
        let mut node = &mut self.root;
        for name in inside {
            let name = CString::new(name.as_bytes())?;
            let Some(below) = node.children.get_mut(&name) else { return Ok(()) };
            node = below;
        }
        if let (Mark::File { inode, size, .. }, Mark::File { inode: inode_now, size: size_now, .. }) =
            (&node.mark, &now)
            && (inode, size) == (inode_now, size_now)
        {
            node.mark = now;
        }
        Ok(())
    }
}

/// What became of a directory.
#[derive(Debug, Default)]
struct Changes {
    /// Whether the directory itself is another.
    own: bool,
    children: BTreeMap<CString, Change>,
}

#[derive(Debug)]
enum Change {
    Removed,
    File,
    Dir(Changes),
}

/// Writes what changed in the tree at `root` since `before` was taken.
pub fn write_changes<W: Write>(
    root: &Path,
    before: &Index,
    times: Times,
    owners: Owners<'_>,
    tar: &mut TarWriter<W>,
) -> Result<Counts, SnapshotError> {
    let root = crate::fs::open_dir(root).map_err(|e| read_error("open", b"", e))?;
    let mut changes = find(&root, Some(&before.root), b"")?;
    // As in an overlay, whose root's times are its own.
    changes.own = match (&before.root.mark, Mark::of_dir(&root)) {
        (Mark::Dir { mode, owner, .. }, Ok(Mark::Dir { mode: new_mode, owner: new_owner, .. })) => {
            (*mode, *owner) != (new_mode, new_owner)
        }
        _ => true,
    };
    let mut archive = Archive::new(tar, times, owners);
    if changes.own {
        archive.directory(&root, b"")?;
    }
    write(&mut archive, &root, &changes, b"")?;
    Ok(archive.counts)
}

fn find(dir: &OwnedFd, before: Option<&Node>, path: &[u8]) -> Result<Changes, SnapshotError> {
    let mark = Mark::of_dir(dir).map_err(|e| read_error("read", path, e))?;
    let mut changes =
        Changes { own: before.is_none_or(|before| before.mark != mark), children: BTreeMap::new() };
    let mut gone: BTreeMap<&CString, &Node> =
        before.map_or_else(BTreeMap::new, |before| before.children.iter().collect());
    for entry in crate::fs::list(dir).map_err(|e| read_error("list", path, e))? {
        let known = gone.remove(&entry.name);
        let below = join(path, &entry.name);
        if entry.is_dir {
            let known = known.filter(|node| matches!(node.mark, Mark::Dir { .. }));
            let subdir = crate::fs::open_subdir(dir, &entry.name)
                .map_err(|e| read_error("open", &below, e))?;
            let found = find(&subdir, known, &below)?;
            if found.own || !found.children.is_empty() {
                changes.children.insert(entry.name, Change::Dir(found));
            }
            continue;
        }
        let stat = rustix::fs::statat(dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| read_error("read", &below, e.into()))?;
        let socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        if !socket && known.is_none_or(|node| node.mark != Mark::of_file(&stat)) {
            changes.children.insert(entry.name, Change::File);
        }
    }
    changes.children.extend(gone.into_keys().map(|name| (name.clone(), Change::Removed)));
    Ok(changes)
}

fn write<W: Write>(
    archive: &mut Archive<'_, W>,
    dir: &OwnedFd,
    changes: &Changes,
    path: &[u8],
) -> Result<(), SnapshotError> {
    for (name, change) in &changes.children {
        let below = join(path, name);
        match change {
            Change::Removed => archive.whiteout(&below)?,
            Change::File => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| read_error("read", &below, e.into()))?;
                archive.file(dir, name, &stat, &below)?;
            }
            Change::Dir(changes) => {
                let subdir =
                    crate::fs::open_subdir(dir, name).map_err(|e| read_error("open", &below, e))?;
                archive.directory(&subdir, &below)?;
                write(archive, &subdir, changes, &below)?;
            }
        }
    }
    Ok(())
}
