//! `.git/index`: what git compares the work tree with (gitformat-index, versions 2 and 3). Pure.

use std::io;

use super::id::{ObjectFormat, ObjectId};
use super::object::Mode;
use super::pack::with_checksum;

/// An entry.
pub(super) struct Staged {
    pub(super) path: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) id: ObjectId,
    /// What the file system says of the file. Without it git looks at the content once, which is
    /// right for files that are copied elsewhere.
    pub(super) stat: Option<Stat>,
    /// Whether it is left out of the work tree.
    pub(super) skipped: bool,
}

/// What git remembers of a file to know it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// Seconds and nanoseconds.
    pub(super) changed: (u32, u32),
    pub(super) modified: (u32, u32),
    pub(super) device: u32,
    pub(super) inode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) size: u32,
}

impl From<&rustix::fs::Stat> for Stat {
    /// Cut to 32 bits, as git does.
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            changed: (stat.st_ctime as u32, stat.st_ctime_nsec as u32),
            modified: (stat.st_mtime as u32, stat.st_mtime_nsec as u32),
            device: stat.st_dev as u32,
            inode: stat.st_ino as u32,
            owner: stat.st_uid,
            group: stat.st_gid,
            size: stat.st_size as u32,
        }
    }
}

/// The file's bytes.
pub(super) fn index(mut staged: Vec<Staged>, format: ObjectFormat) -> io::Result<Vec<u8>> {
    const LONGEST: usize = 0xfff;
    /// More flags follow.
    const EXTENDED: u16 = 1 << 14;
    /// Of those: the file is not in the work tree, and that is no change.
    const SKIP: u16 = 1 << 14;
    staged.sort_by(|a, b| a.path.cmp(&b.path));
    let extended = staged.iter().any(|entry| entry.skipped);
    let mut bytes = b"DIRC\0\0\0".to_vec();
    bytes.push(if extended { 3 } else { 2 });
    bytes.extend_from_slice(&(staged.len() as u32).to_be_bytes());
    for entry in &staged {
        let start = bytes.len();
        let mode: u32 = match entry.mode {
            Mode::Directory => 0o040_000,
            Mode::File { executable: false } => 0o100_644,
            Mode::File { executable: true } => 0o100_755,
            Mode::Symlink => 0o120_000,
            Mode::Submodule => 0o160_000,
        };
        let Stat { changed, modified, device, inode, owner, group, size } =
            entry.stat.unwrap_or_default();
        for number in
            [changed.0, changed.1, modified.0, modified.1, device, inode, mode, owner, group, size]
        {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(entry.id.as_bytes());
        let length = entry.path.len().min(LONGEST) as u16;
        let flags = if entry.skipped { length | EXTENDED } else { length };
        bytes.extend_from_slice(&flags.to_be_bytes());
        if entry.skipped {
            bytes.extend_from_slice(&SKIP.to_be_bytes());
        }
        bytes.extend_from_slice(&entry.path);
        let length = bytes.len() - start;
        bytes.resize(start + (length / 8 + 1) * 8, 0);
    }
    with_checksum(bytes, format)
}
