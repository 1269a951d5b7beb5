//! Changes from the upper directory of an overlay.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};

use super::SnapshotError;
use super::archive::{Archive, Counts, Times, join, read_error};
use crate::layer::TarWriter;
use crate::rootfs::Owners;

/// Writes what stands in `upper`, the upper directory of an overlay that is no
/// longer mounted; `below` are the trees under it, the lowest first.
///
/// The root itself is written only when its mode or owner is another than that
/// of the topmost tree below.
pub fn write_upper<W: Write>(
    upper: &Path,
    below: &[PathBuf],
    times: Times,
    owners: Owners<'_>,
    tar: &mut TarWriter<W>,
) -> Result<Counts, SnapshotError> {
    let root = open(upper)?;
    let mut walk = Walk { archive: Archive::new(tar, times, owners), below };
    if walk.root_changed(&root)? {
        walk.archive.directory(&root, b"")?;
    }
    walk.directory(&root, b"")?;
    Ok(walk.archive.counts)
}

/// Opens a tree.
fn open(path: &Path) -> Result<OwnedFd, SnapshotError> {
    crate::fs::open_dir(path).map_err(|source| SnapshotError::Read {
        action: "open",
        path: path.strip_prefix("/").unwrap_or(path).to_owned(),
        source,
    })
}

struct Walk<'a, W: Write> {
    archive: Archive<'a, W>,
    /// The lowest first; most changes need none of them.
    below: &'a [PathBuf],
}

impl<W: Write> Walk<'_, W> {
    fn root_changed(&self, root: &OwnedFd) -> Result<bool, SnapshotError> {
        let stat =
            |fd: &OwnedFd| rustix::fs::fstat(fd).map_err(|e| read_error("read", b"", e.into()));
        let key = |stat: rustix::fs::Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        let before = match self.below.last() {
            Some(top) => key(stat(&open(top)?)?),
            None => (FileType::Directory.as_raw_mode() | 0o755, 0, 0),
        };
        Ok(key(stat(root)?) != before)
    }

    fn directory(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<(), SnapshotError> {
        let entries = crate::fs::list(dir).map_err(|e| read_error("list", path, e))?;
        if !path.is_empty() && is_opaque(dir, path)? {
            // What the directory hides of a lower one of the same name.
            let mut hidden = self.names_below(path)?;
            for entry in &entries {
                hidden.remove(&entry.name);
            }
            for name in hidden {
                self.archive.whiteout(&join(path, &name))?;
            }
        }
        for entry in entries {
            let path = join(path, &entry.name);
            if entry.is_dir {
                let below = crate::fs::open_subdir(dir, &entry.name)
                    .map_err(|e| read_error("open", &path, e))?;
                self.archive.directory(&below, &path)?;
                self.directory(&below, &path)?;
                continue;
            }
            if entry.is_file {
                self.archive.regular(dir, &entry.name, &path)?;
                continue;
            }
            let stat = rustix::fs::statat(dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| read_error("read", &path, e.into()))?;
            if is_whiteout(&stat) {
                self.archive.whiteout(&path)?;
            } else {
                self.archive.file(dir, &entry.name, &stat, &path)?;
            }
        }
        Ok(())
    }

    /// What the directory `path` holds in the trees below, as an overlay of them would show it.
    fn names_below(&self, path: &[u8]) -> Result<BTreeSet<CString>, SnapshotError> {
        let mut layers: Vec<OwnedFd> = Vec::new();
        // Sought from the top down, as the overlay does.
        for layer in self.below.iter().rev() {
            layers.push(open(layer)?);
        }
        for component in path.split(|b| *b == b'/') {
            let name = CString::new(component).map_err(|e| read_error("open", path, e.into()))?;
            let mut next = Vec::new();
            for layer in layers {
                let stat = match rustix::fs::statat(&layer, &name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(rustix::io::Errno::NOENT) => continue,
                    Err(error) => return Err(read_error("read", path, error.into())),
                };
                if !FileType::from_raw_mode(stat.st_mode).is_dir() {
                    break;
                }
                let dir = crate::fs::open_subdir(&layer, &name)
                    .map_err(|e| read_error("open", path, e))?;
                let opaque = is_opaque(&dir, path)?;
                next.push(dir);
                if opaque {
                    break;
                }
            }
            layers = next;
        }
        let mut names = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        for layer in layers {
            for entry in crate::fs::list(&layer).map_err(|e| read_error("list", path, e))? {
                let stat = rustix::fs::statat(&layer, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| read_error("read", path, e.into()))?;
                if is_whiteout(&stat) {
                    hidden.insert(entry.name);
                } else if !hidden.contains(&entry.name) {
                    names.insert(entry.name);
                }
            }
        }
        Ok(names)
    }
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// An error is one of the build's: without the mark, what it hides would be in the image again.
fn is_opaque(dir: &OwnedFd, path: &[u8]) -> Result<bool, SnapshotError> {
    crate::rootfs::is_opaque(dir).map_err(|e| read_error("read", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_mark_that_cannot_be_read_is_an_error() {
        let temp = TempDir::new("upper-opaque");
        let open = |flags| rustix::fs::open(temp.path(), flags, rustix::fs::Mode::empty());
        let dir = open(rustix::fs::OFlags::DIRECTORY).expect("open");
        assert!(matches!(is_opaque(&dir, b"dir"), Ok(false)));
        // Such a descriptor gives no attributes.
        let dir = open(rustix::fs::OFlags::PATH).expect("open");
        let error = is_opaque(&dir, b"some/dir").expect_err("no attributes");
        assert!(
            matches!(error, SnapshotError::Read { .. }) && error.to_string().contains("some/dir")
        );
    }
}
