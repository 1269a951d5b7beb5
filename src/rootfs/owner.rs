//! Who owns a file of a tree, where the process may not have that user.
//!
//! With subordinate ids (or as root) a file on disk belongs to the user that it
//! belongs to in the image. With a single id every file on disk is the
//! process's own, and the owner in the image is recorded beside it, in the
//! extended attribute `user.yado.owner` (`UID:GID`, decimal). Only regular
//! files and directories can carry it; of links, pipes and devices it is noted
//! in a [`Ledger`].

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::Ledger;
use crate::fs::proc_path;

/// The name of the extended attribute that records an owner.
pub(super) const OWNER_XATTR: &str = "user.yado.owner";

/// Which owners files on disk can have.
#[derive(Clone, Copy, Debug)]
pub enum Owners<'a> {
    /// Any: files belong to whom they belong in the image.
    Real,
    /// One: owners other than root are recorded beside the file, and in this
    /// ledger of the tree for what cannot carry a record.
    Single(&'a Ledger),
}

impl Owners<'_> {
    /// Whether every file on disk has the same owner.
    pub fn are_single(self) -> bool {
        matches!(self, Self::Single(_))
    }

    /// Whether a new regular file, of which nothing is recorded, belongs to `uid` and `gid`.
    pub(super) fn has_new(self, made: &Stat, uid: u32, gid: u32) -> bool {
        match self {
            Self::Real => (made.st_uid, made.st_gid) == (uid, gid),
            Self::Single(_) => (uid, gid) == (0, 0),
        }
    }

    /// The owner noted of `name` in `dir`, which is neither a regular file nor
    /// a directory; `None` when the one on disk counts.
    pub fn noted(self, dir: impl AsFd, name: &CStr) -> io::Result<Option<(u32, u32)>> {
        match self {
            Self::Real => Ok(None),
            Self::Single(ledger) => ledger.get_in(dir, name),
        }
    }
}

/// Gives `name` of `dir` to a user and group; a link itself, not what it leads to.
///
/// With [`Owners::Real`] this takes set-id bits away from a file, so its mode
/// is set afterwards, and fails with `EINVAL` for an id that is not mapped.
pub fn give(dir: impl AsFd, name: &CStr, uid: u32, gid: u32, owners: Owners<'_>) -> io::Result<()> {
    match owners {
        Owners::Real => {
            // The highest number means "leave it": it can own nothing.
            if uid == u32::MAX || gid == u32::MAX {
                return Err(Errno::INVAL.into());
            }
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            Ok(rustix::fs::chownat(dir, name, Some(user), Some(group), flags)?)
        }
        Owners::Single(ledger) => record(dir, name, uid, gid, ledger),
    }
}

fn record(dir: impl AsFd, name: &CStr, uid: u32, gid: u32, ledger: &Ledger) -> io::Result<()> {
    let path = path_of(&dir, name);
    let done = if (uid, gid) == (0, 0) {
        rustix::fs::lremovexattr(&path, OWNER_XATTR)
    } else {
        let value = format!("{uid}:{gid}");
        rustix::fs::lsetxattr(&path, OWNER_XATTR, value.as_bytes(), XattrFlags::empty())
    };
    match done {
        Err(Errno::NODATA) => Ok(()),
        // Only regular files and directories have attributes of this kind (xattr(7)).
        Err(Errno::PERM | Errno::OPNOTSUPP) if !is_file_or_dir(&path)? => {
            ledger.note(dir, name, (uid, gid))
        }
        // A file system without such attributes has no record to remove either.
        Err(Errno::OPNOTSUPP) if (uid, gid) == (0, 0) => Ok(()),
        other => Ok(other?),
    }
}

fn is_file_or_dir(path: &PathBuf) -> io::Result<bool> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    Ok(kind.is_file() || kind.is_dir())
}

/// The owner recorded of an open file or directory, if there is one.
///
/// A record that is not `UID:GID` was not made by yado and counts as none.
pub fn recorded_of(file: impl AsFd) -> Option<(u32, u32)> {
    let mut value = [0; 32];
    let length = rustix::fs::fgetxattr(file, OWNER_XATTR, &mut value[..]).ok()?;
    parse(&value[..length])
}

pub(super) fn parse(value: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|&id: &u32| digits && id != u32::MAX)
    };
    Some((number(uid)?, number(gid)?))
}

/// A path to `name` in `dir` for the calls that take no descriptor: it goes through the
/// descriptor, so it leads nowhere else, and those calls do not follow its last component.
pub(super) fn path_of(dir: impl AsFd, name: &CStr) -> PathBuf {
    proc_path(&dir).join(OsStr::from_bytes(name.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use rustix::fs::{Mode, OFlags};
    use std::fs;

    #[test]
    fn a_single_id_records_the_others() -> io::Result<()> {
        let temp = TempDir::new("owner");
        fs::write(temp.path().join("file"), "")?;
        fs::create_dir(temp.path().join("dir"))?;
        std::os::unix::fs::symlink("file", temp.path().join("link"))?;
        let dir = crate::fs::open_dir(temp.path())?;
        let ledger = Ledger::new(temp.path())?;
        let owners = Owners::Single(&ledger);
        let recorded = |name| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            io::Result::Ok(recorded_of(rustix::fs::openat(&dir, name, flags, Mode::empty())?))
        };
        for name in [c"file", c"dir", c"."] {
            assert_eq!(recorded(name)?, None);
            give(&dir, name, 1000, 4_000_000_000, owners)?;
            assert_eq!(recorded(name)?, Some((1000, 4_000_000_000)));
            give(&dir, name, 0, 0, owners)?;
            assert_eq!(recorded(name)?, None);
        }
        assert_eq!(ledger.records(), b"");
        give(&dir, c"link", 1000, 50, owners)?;
        assert_eq!((recorded(c"file")?, ledger.get(b"link")), (None, Some((1000, 50))));
        assert_eq!(owners.noted(&dir, c"link")?, Some((1000, 50)));
        give(&dir, c"link", 0, 0, owners)?;
        assert_eq!(ledger.get(b"link"), None);
        assert!(give(&dir, c"absent", 1, 1, owners).is_err());
        Ok(())
    }

    #[test]
    fn only_two_numbers_are_a_record() {
        for (text, expected) in [
            ("0:0", Some((0, 0))),
            ("1000:100", Some((1000, 100))),
            ("4294967295:0", None),
            ("+1:1", None),
            ("1", None),
            ("1:", None),
            ("a:b", None),
            ("1:2:3", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
