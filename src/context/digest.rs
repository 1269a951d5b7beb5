//! The digest of what a source holds: the walk is one thread's, reading and hashing all
//! threads'. The result depends on neither their number nor what was known before.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::ContextError;
use super::index::{Index, Stamp, Sum};
use crate::fs::{open_in_root, path_below};
use crate::image::{Digest, Hasher};
use crate::rootfs::Include;

type Filter<'a> = &'a dyn Fn(&Path, bool) -> Include;

/// How many entries are looked at before their part is hashed: what is in memory at once.
const BATCH: usize = 4096;
/// How many directories these are in at most, as each is open until then.
const OPEN: usize = 64;
/// How many entries a thread takes at a time; fewer are not worth another thread.
const SHARE: usize = 32;
/// How much of a file is read at once.
const BUFFER: usize = 128 * 1024;

/// The files of a context, whose digests are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The directory.
    pub root: &'a OwnedFd,
    /// What is known of them.
    pub index: &'a Index,
    /// How many threads read.
    pub threads: usize,
}

impl Contents<'_> {
    /// A digest of all that a copy of the file or directory `source` takes over: names,
    /// kinds, modes, link targets and contents. Not times and owners, which are the
    /// checkout's. What `include` leaves out has no part in it.
    pub fn digest(&self, source: &Path, include: Filter<'_>) -> Result<Digest, ContextError> {
        let fail = |source_error| ContextError::Read { path: source.into(), source: source_error };
        let opened = open_in_root(self.root, source, OFlags::PATH, Mode::empty()).map_err(fail)?;
        // What is below a link is asked for under its own path.
        let path = path_below(self.root, &opened).map_err(fail)?;
        let stat = rustix::fs::fstat(&opened).map_err(|e| fail(e.into()))?;
        // The name of the source decides where it lands; the path to it does not.
        let name = source.file_name().unwrap_or_default().as_bytes();
        let mut walk = Walk {
            contents: self,
            include,
            now: SystemTime::now(),
            hasher: Hasher::new(),
            batch: Vec::new(),
            open: 0,
            empty: Vec::new(),
        };
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let dir = crate::fs::reopen_dir(&opened).map_err(fail)?;
            walk.add(Item::Enter { name: name.to_vec(), mode: stat.st_mode });
            walk.directory(dir, &path)?;
        } else {
            let parent = path.parent().unwrap_or(Path::new(""));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let dir = open_in_root(self.root, parent, flags, Mode::empty()).map_err(fail)?;
            let real = path.file_name().unwrap_or_default().as_bytes();
            let real = CString::new(real).map_err(|e| fail(e.into()))?;
            let (dir, shown) = (Arc::new(dir), name.to_vec());
            let path = path.as_os_str().as_bytes().to_vec();
            let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
            walk.add(Item::Entry { dir, name: real, is_file, shown, path });
        }
        walk.finish()
    }

    /// Looks at an entry, and reads it if its content is not known.
    fn look_at(&self, item: &Item, buffer: &mut Vec<u8>) -> Result<Found, ContextError> {
        let Item::Entry { dir, name, path, is_file, .. } = item else { return Ok(Found::Nothing) };
        let mut hash = || -> io::Result<Found> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            // Before it is read: who changes it from now on gives it another stamp.
            let stat = rustix::fs::fstat(&file)?;
            let sum = sum(&mut File::from(file), &stat, buffer)?;
            Ok(Found::file(&stat, sum, true))
        };
        let mut look = || -> io::Result<Found> {
            if *is_file && !self.index.knows(path) {
                return hash();
            }
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                    Ok(Found::Link(target.into_bytes()))
                }
                FileType::RegularFile => match self.index.get(path, &Stamp::of(&stat)) {
                    Some(sum) => Ok(Found::file(&stat, sum, false)),
                    None => hash(),
                },
                _ => Ok(Found::Other { mode: stat.st_mode, device: stat.st_rdev }),
            }
        };
        let path = || OsStr::from_bytes(path).into();
        look().map_err(|source| ContextError::Read { path: path(), source })
    }

    /// Looks at all entries, on several threads where there are many.
    fn look_at_all(&self, items: &[Item]) -> Vec<OnceLock<Result<Found, ContextError>>> {
        let found: Vec<_> = items.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut buffer = Vec::new();
            loop {
                let first = next.fetch_add(SHARE, Ordering::Relaxed);
                let Some(share) = items.get(first..) else { return };
                for (item, found) in share.iter().zip(&found[first..]).take(SHARE) {
                    // Empty before: no other thread has this share.
                    let _ = found.set(self.look_at(item, &mut buffer));
                }
            }
        };
        let others = self.threads.min(items.len().div_ceil(SHARE)).saturating_sub(1);
        std::thread::scope(|scope| {
            for _ in 0..others {
                scope.spawn(work);
            }
            work();
        });
        found
    }
}

/// What has a part in the digest, in its order.
#[derive(Debug)]
enum Item {
    /// A directory begins.
    Enter { name: Vec<u8>, mode: u32 },
    /// It ends.
    Leave,
    /// Anything else; `shown` is the name that counts, and `path` where it is below the context.
    Entry { dir: Arc<OwnedFd>, name: CString, is_file: bool, shown: Vec<u8>, path: Vec<u8> },
}

/// What was found of an item.
#[derive(Debug)]
enum Found {
    /// It is no entry.
    Nothing,
    /// `is_new` if it was read.
    File {
        mode: u32,
        size: u64,
        sum: Sum,
        stamp: Stamp,
        is_new: bool,
    },
    Link(Vec<u8>),
    Other {
        mode: u32,
        device: u64,
    },
}

impl Found {
    fn file(stat: &Stat, sum: Sum, is_new: bool) -> Self {
        let size = stat.st_size as u64;
        Self::File { mode: stat.st_mode, size, sum, stamp: Stamp::of(stat), is_new }
    }
}

/// The sum of a file's content; `stat` is what it was when it was opened.
fn sum(file: &mut File, stat: &Stat, buffer: &mut Vec<u8>) -> io::Result<Sum> {
    buffer.resize(BUFFER, 0);
    let mut hasher = Sha256::new();
    let mut total = 0;
    loop {
        let count = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        hasher.update(&buffer[..count]);
        total += count as u64;
        // A short read that ends where the file does: the next would find nothing.
        if count == 0 || count < buffer.len() && total == stat.st_size as u64 {
            return Ok(hasher.finalize().into());
        }
    }
}

struct Walk<'a> {
    contents: &'a Contents<'a>,
    include: Filter<'a>,
    /// Before anything was read.
    now: SystemTime,
    hasher: Hasher,
    batch: Vec<Item>,
    /// How many directories the batch holds open.
    open: usize,
    /// The innermost directories that are there only for what is below them, as long as
    /// nothing is found there.
    empty: Vec<Item>,
}

impl Walk<'_> {
    fn directory(&mut self, dir: OwnedFd, path: &Path) -> Result<(), ContextError> {
        let fail = |source| ContextError::Read { path: path.to_owned(), source };
        let entries = crate::fs::list(&dir).map_err(fail)?;
        let dir = Arc::new(dir);
        self.open += 1;
        for entry in entries {
            let name = OsStr::from_bytes(entry.name.to_bytes());
            let path = path.join(name);
            let part = (self.include)(&path, entry.is_dir);
            if part == Include::No {
                continue;
            }
            if !entry.is_dir {
                let (shown, path) = (name.as_bytes().to_vec(), path.into_os_string());
                let path = std::os::unix::ffi::OsStringExt::into_vec(path);
                let (dir, is_file) = (Arc::clone(&dir), entry.is_file);
                self.add(Item::Entry { dir, name: entry.name, is_file, shown, path });
                self.flush_if_full()?;
                continue;
            }
            let fail = |source| ContextError::Read { path: path.clone(), source };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(&dir, &entry.name, flags, Mode::empty())
                .map_err(|e| fail(e.into()))?;
            let mode = rustix::fs::fstat(&below).map_err(|e| fail(e.into()))?.st_mode;
            let enter = Item::Enter { name: name.as_bytes().to_vec(), mode };
            if part == Include::Below {
                self.empty.push(enter);
                let waiting = self.empty.len();
                self.directory(below, &path)?;
                // Nothing is there, so it is not either.
                if self.empty.len() == waiting {
                    self.empty.pop();
                    continue;
                }
            } else {
                self.add(enter);
                self.directory(below, &path)?;
            }
            self.add(Item::Leave);
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// Adds an item, and before it the directories that are now there for it.
    fn add(&mut self, item: Item) {
        self.batch.append(&mut self.empty);
        self.batch.push(item);
    }

    fn flush_if_full(&mut self) -> Result<(), ContextError> {
        if self.batch.len() >= BATCH || self.open >= OPEN { self.flush() } else { Ok(()) }
    }

    /// Hashes what the batch holds.
    fn flush(&mut self) -> Result<(), ContextError> {
        self.open = 0;
        let items = std::mem::take(&mut self.batch);
        let found = self.contents.look_at_all(&items);
        let mut read = Vec::new();
        let hasher = &mut self.hasher;
        for (item, found) in items.into_iter().zip(found) {
            match item {
                Item::Enter { name, mode } => {
                    field(hasher, &name);
                    hasher.update(&mode.to_le_bytes());
                }
                Item::Leave => field(hasher, b"/"),
                Item::Entry { shown, path, .. } => {
                    field(hasher, &shown);
                    match found.into_inner().unwrap_or(Ok(Found::Nothing))? {
                        Found::Nothing => {}
                        Found::File { mode, size, sum, stamp, is_new } => {
                            hasher.update(&mode.to_le_bytes());
                            hasher.update(&size.to_le_bytes());
                            hasher.update(&sum);
                            if is_new {
                                read.push((path, stamp, sum));
                            }
                        }
                        Found::Link(target) => {
                            field(hasher, b"link");
                            field(hasher, &target);
                        }
                        Found::Other { mode, device } => {
                            hasher.update(&mode.to_le_bytes());
                            hasher.update(&device.to_le_bytes());
                        }
                    }
                }
            }
        }
        self.contents.index.put(read, self.now);
        Ok(())
    }

    fn finish(mut self) -> Result<Digest, ContextError> {
        self.flush()?;
        Ok(self.hasher.finish())
    }
}

/// Adds a field whose end is part of what is hashed.
fn field(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::TempDir;

    fn all(_: &Path, _: bool) -> Include {
        Include::Yes
    }

    #[test]
    fn a_directory_counts_only_for_what_takes_part() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("below");
        let path = temp.path();
        fs::create_dir_all(path.join("a/deep"))?;
        fs::write(path.join("a/deep/f"), "1")?;
        let root = crate::fs::open_dir(path)?;
        let only = |path: &Path, is_dir: bool| {
            if path.ends_with("f") {
                Include::Yes
            } else if is_dir {
                Include::Below
            } else {
                Include::No
            }
        };
        let index = Index::default();
        let contents = Contents { root: &root, index: &index, threads: 1 };
        let digest = || contents.digest(Path::new(""), &only);
        let before = digest()?;
        fs::create_dir_all(path.join("b/empty"))?;
        fs::write(path.join("b/other"), "")?;
        assert_eq!(digest()?, before);
        fs::write(path.join("b/f"), "")?;
        assert_ne!(digest()?, before);
        Ok(())
    }

    #[test]
    fn content_decides_and_times_do_not() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("content");
        let path = temp.path();
        fs::create_dir(path.join("d"))?;
        fs::write(path.join("d/f"), "1")?;
        let root = crate::fs::open_dir(path)?;
        let index = Index::default();
        let contents = Contents { root: &root, index: &index, threads: 1 };
        let digest = || contents.digest(Path::new("d"), &all);
        let first = digest()?;
        fs::File::open(path.join("d/f"))?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
        assert_eq!(digest()?, first);
        fs::write(path.join("d/f"), "2")?;
        let second = digest()?;
        assert_ne!(second, first);
        fs::rename(path.join("d/f"), path.join("d/g"))?;
        assert_ne!(digest()?, second);
        Ok(())
    }

    /// More than one batch and directory, with all that there can be.
    #[test]
    fn threads_and_knowledge_change_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("digest-threads");
        for dir in 0..70 {
            let path = temp.path().join(format!("d{dir}"));
            fs::create_dir(&path)?;
            for file in 0..70 {
                fs::write(path.join(file.to_string()), format!("{dir} {file}"))?;
            }
            symlink("1", path.join("link"))?;
        }
        fs::write(temp.path().join("large"), vec![7; 2 * BUFFER])?;
        fs::write(temp.path().join("empty"), "")?;
        rustix::fs::mknodat(
            crate::fs::open_dir(temp.path())?,
            "pipe",
            FileType::Fifo,
            Mode::RUSR,
            0,
        )?;
        let root = crate::fs::open_dir(temp.path())?;
        // Ignores what is below two of the directories, but for one file.
        let include = |path: &Path, is_dir: bool| match path.to_str().unwrap_or_default() {
            "d3" | "d4" if is_dir => Include::Below,
            "d3/9" => Include::Yes,
            path if path.starts_with("d3/") || path.starts_with("d4/") => Include::No,
            _ => Include::Yes,
        };
        let index = Index::default();
        let digest = |threads, index: &Index| {
            Contents { root: &root, index, threads }.digest(Path::new(""), &include)
        };
        let first = digest(1, &index)?;
        for threads in [2, 7] {
            assert_eq!(digest(threads, &Index::default())?, first);
            assert_eq!(digest(threads, &index)?, first);
        }
        fs::write(temp.path().join("d4/1"), "other")?;
        assert_eq!(digest(2, &index)?, first);
        for changed in ["d3/9", "d69/69", "large"] {
            let before = digest(2, &index)?;
            fs::write(temp.path().join(changed), "x")?;
            assert_ne!(digest(2, &index)?, before, "{changed}");
            assert_eq!(digest(2, &index)?, digest(1, &Index::default())?);
        }
        fs::remove_file(temp.path().join("d3/9"))?;
        let before = digest(2, &index)?;
        fs::remove_dir_all(temp.path().join("d3"))?;
        assert_eq!(digest(2, &index)?, before);
        Ok(())
    }

    #[test]
    fn a_file_is_the_same_by_itself_and_through_a_link() -> Result<(), Box<dyn std::error::Error>> {
        let temp = TempDir::new("digest-file");
        fs::create_dir(temp.path().join("d"))?;
        fs::create_dir(temp.path().join("e"))?;
        fs::write(temp.path().join("d/f"), "1")?;
        symlink("../d/f", temp.path().join("e/f"))?;
        let root = crate::fs::open_dir(temp.path())?;
        let index = Index::default();
        let contents = Contents { root: &root, index: &index, threads: 1 };
        let digest = |path| contents.digest(Path::new(path), &all);
        assert_eq!(digest("d/f")?, digest("e/f")?);
        let before = digest("e/f")?;
        // At once, and of the same size.
        fs::write(temp.path().join("d/f"), "2")?;
        assert_ne!(digest("e/f")?, before);
        assert!(matches!(digest("d/none"), Err(ContextError::Read { .. })));
        Ok(())
    }
}
