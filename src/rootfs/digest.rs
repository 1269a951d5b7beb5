//! What a copy from a tree would take over, as a digest.
//!
//! Names, kinds, modes, owners, times, extended attributes, link targets, device numbers,
//! contents, and which names are those of one file: if all of it is equal, so are the
//! copies. What is in here is what [`copy()`](super::copy()) looks at, and nothing else.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::copy::{CopyError, Filter, Origin};
use super::duplicate::Include;
use super::owner;
use crate::image::{Digest, Hasher};

/// How much of a file is read at a time.
const BLOCK: usize = 128 * 1024;

/// The digest of the file `path` of `origin`, or of what is in the directory, as far as
/// `include` has it take part. The name of a file counts, that of a directory does not: its
/// copy has another.
pub fn digest(origin: Origin<'_>, path: &Path, include: &Filter<'_>) -> Result<Digest, CopyError> {
    let mut walk =
        Walk { origin, include, hasher: Hasher::new(), links: HashMap::new(), buffer: Vec::new() };
    let done = walk.source(path);
    done.map_err(|source| CopyError::Source { path: path.to_owned(), source })?;
    Ok(walk.hasher.finish())
}

struct Walk<'a> {
    origin: Origin<'a>,
    include: &'a Filter<'a>,
    hasher: Hasher,
    /// The files with several names, numbered as they were met.
    links: HashMap<(u64, u64), u64>,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn source(&mut self, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = crate::fs::open_in_root(self.origin.root, path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            // What is below a link is asked for under its own path.
            let path = crate::fs::path_below(self.origin.root, &file)?;
            self.field(b"directory");
            return self.contents(&file, &path);
        }
        self.field(path.file_name().unwrap_or_default().as_bytes());
        self.opened(&file, &stat)?;
        self.content(file, &stat)
    }

    fn contents(&mut self, dir: &OwnedFd, path: &Path) -> io::Result<()> {
        // In order of their names, whatever the file system's is.
        let mut entries = crate::fs::list(dir)?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let path = path.join(OsStr::from_bytes(entry.name.to_bytes()));
            self.entry(dir, &entry.name, &path)?;
        }
        // No name is empty.
        self.field(b"");
        Ok(())
    }

    fn entry(&mut self, dir: &OwnedFd, name: &CStr, path: &Path) -> io::Result<()> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // A directory that is there only for what is below it counts even if there is
        // nothing: that such a one comes and goes makes no other copy, only another digest.
        if (self.include)(path, kind.is_dir()) == Include::No {
            return Ok(());
        }
        self.field(name.to_bytes());
        match kind {
            FileType::Directory => {
                let below = crate::fs::open_subdir(dir, name)?;
                self.opened(&below, &stat)?;
                self.contents(&below, path)
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
                self.opened(&file, &stat)?;
                if stat.st_nlink > 1 {
                    let next = self.links.len() as u64;
                    let number = *self.links.entry((stat.st_dev, stat.st_ino)).or_insert(next);
                    self.number(number);
                    if number != next {
                        return Ok(());
                    }
                }
                self.content(file, &stat)
            }
            _ => {
                let noted = self.origin.owners.noted(dir, name)?;
                self.attributes(&stat, noted);
                self.number(stat.st_rdev);
                if kind.is_symlink() {
                    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                    self.field(target.to_bytes());
                }
                Ok(())
            }
        }
    }

    /// The attributes of an open file or directory.
    fn opened(&mut self, file: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let single = self.origin.owners.are_single();
        let recorded = if single { owner::recorded_of(file) } else { None };
        self.attributes(stat, recorded);
        let xattrs = crate::fs::portable_xattrs(file)?;
        self.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            self.field(&name);
            self.field(&value);
        }
        Ok(())
    }

    fn attributes(&mut self, stat: &Stat, owner: Option<(u32, u32)>) {
        let (uid, gid) = owner.unwrap_or((stat.st_uid, stat.st_gid));
        let time = (stat.st_mtime.cast_unsigned(), stat.st_mtime_nsec);
        for value in [stat.st_mode.into(), uid.into(), gid.into(), time.0, time.1] {
            self.number(value);
        }
    }

    fn content(&mut self, file: OwnedFd, stat: &Stat) -> io::Result<()> {
        self.number(stat.st_size.cast_unsigned());
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(());
        }
        self.buffer.resize(BLOCK, 0);
        let mut file = File::from(file);
        loop {
            match file.read(&mut self.buffer)? {
                0 => return Ok(()),
                count => self.hasher.update(&self.buffer[..count]),
            }
        }
    }

    fn number(&mut self, value: u64) {
        self.hasher.update(&value.to_le_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::rootfs::Owners;
    use crate::testing::TempDir;

    fn of(tree: &Path, path: &str) -> Digest {
        let root = crate::fs::open_dir(tree).expect("open");
        let origin = Origin {
            root: &root,
            owners: Owners::Real,
            owner: None,
            mtime: None,
            xattrs: true,
            hard_links: true,
        };
        let include: Filter<'_> =
            Box::new(|path, _| if path.ends_with("left") { Include::No } else { Include::Yes });
        digest(origin, Path::new(path), &include).expect("a digest")
    }

    type Change = dyn Fn(&Path) -> io::Result<()>;

    /// A tree with a file of each kind that anybody may make, all of one time.
    fn make(temp: &TempDir, change: &Change) -> io::Result<()> {
        let dir = temp.path().join("d");
        fs::create_dir_all(dir.join("sub"))?;
        fs::write(dir.join("sub/file"), "text")?;
        fs::write(dir.join("left"), "out")?;
        fs::hard_link(dir.join("sub/file"), dir.join("second"))?;
        symlink("sub", dir.join("link"))?;
        change(&dir)?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        for path in ["sub/file", "second", "sub"] {
            fs::File::open(dir.join(path))?.set_modified(time)?;
        }
        let (time, link) = (rustix::fs::Timespec { tv_sec: 1000, tv_nsec: 0 }, dir.join("link"));
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    #[test]
    fn equal_trees_have_one_digest_and_others_another() -> io::Result<()> {
        let first = TempDir::new("digest");
        make(&first, &|_| Ok(()))?;
        let expected = of(first.path(), "d");
        let same: [&Change; 4] = [
            &|_| Ok(()),
            &|dir| {
                fs::remove_file(dir.join("link")).and_then(|()| symlink("sub", dir.join("link")))
            },
            &|dir| fs::write(dir.join("left"), "other"),
            // Its own attributes are not copied.
            &|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)),
        ];
        for (number, change) in same.iter().enumerate() {
            let temp = TempDir::new("digest-same");
            make(&temp, change)?;
            assert_eq!(of(temp.path(), "d"), expected, "{number}");
        }
        let others: [&Change; 7] = [
            &|dir| fs::write(dir.join("sub/file"), "tent"),
            &|dir| fs::write(dir.join("more"), ""),
            &|dir| {
                fs::rename(dir.join("sub/file"), dir.join("file"))
                    .and_then(|()| fs::write(dir.join("sub/file"), "text"))
            },
            &|dir| fs::set_permissions(dir.join("second"), fs::Permissions::from_mode(0o600)),
            &|dir| fs::set_permissions(dir.join("sub"), fs::Permissions::from_mode(0o700)),
            // The same content, but a file of its own.
            &|dir| {
                fs::remove_file(dir.join("second"))
                    .and_then(|()| fs::write(dir.join("second"), "text"))
            },
            &|dir| {
                fs::remove_file(dir.join("link")).and_then(|()| symlink("bus", dir.join("link")))
            },
        ];
        for (number, change) in others.iter().enumerate() {
            let temp = TempDir::new("digest-other");
            make(&temp, change)?;
            assert_ne!(of(temp.path(), "d"), expected, "{number}");
        }
        Ok(())
    }

    #[test]
    fn a_file_is_copied_under_its_name() -> io::Result<()> {
        let temp = TempDir::new("digest-file");
        make(&temp, &|_| Ok(()))?;
        let file = of(temp.path(), "d/sub/file");
        // Links on the way lead to the same.
        assert_eq!(of(temp.path(), "d/link/file"), file);
        assert_ne!(of(temp.path(), "d/second"), file);
        let dir = of(temp.path(), "d/sub");
        assert_eq!(of(temp.path(), "d/link"), dir);
        fs::File::open(temp.path().join("d/sub/file"))?.set_modified(SystemTime::UNIX_EPOCH)?;
        assert_ne!(of(temp.path(), "d/sub/file"), file);
        assert_ne!(of(temp.path(), "d/sub"), dir);
        Ok(())
    }
}
