//! Work directories: one process's unfinished files.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::StoreError;

/// A directory of one process, locked by it and removed with it.
///
/// When the process is killed, the lock goes with it, and the next process that
/// opens the store removes the directory.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    parent: OwnedFd,
    name: CString,
    next: AtomicU64,
    /// The lock file beside the directory.
    _lock: File,
}

impl WorkDir {
    pub(super) fn create(parent_path: &Path) -> Result<Self, StoreError> {
        let parent =
            crate::fs::open_dir(parent_path).map_err(StoreError::io("open", parent_path))?;
        remove_dead(parent_path, &parent);
        loop {
            let name = format!("{}-{:016x}", std::process::id(), random());
            let path = parent_path.join(&name);
            let lock_path = lock_path(&path);
            let lock = match File::create_new(&lock_path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(StoreError::io("create", &lock_path)(error)),
            };
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                .map_err(|e| StoreError::io("lock", &lock_path)(e.into()))?;
            // Whoever cleans up may have taken the new file for a dead process's.
            if !lock_path.exists() {
                continue;
            }
            fs::create_dir(&path).map_err(StoreError::io("create", &path))?;
            let name = CString::new(name).expect("a number has no NUL");
            return Ok(Self { path, parent, name, next: AtomicU64::new(0), _lock: lock });
        }
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the directory that no one else uses; nothing is made there.
    pub fn fresh(&self, label: &str) -> PathBuf {
        self.path.join(format!("{label}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Writes `bytes` to `target` so that it is there wholly or not at all.
    pub fn write_file(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.fresh("file");
        File::create_new(&path)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&path, target))
            .map_err(StoreError::io("write", target))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Left-overs are removed by the next process; there is no one to tell.
        if crate::fs::remove_tree(&self.parent, &self.name).is_ok() {
            let _ = fs::remove_file(lock_path(&self.path));
        }
    }
}

fn lock_path(work: &Path) -> PathBuf {
    work.with_extension("lock")
}

/// Removes the work directories of processes that are gone.
fn remove_dead(parent_path: &Path, parent: &OwnedFd) {
    let Ok(entries) = fs::read_dir(parent_path) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(lock) = File::open(&path) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let Some(stem) = path.file_stem().and_then(|stem| CString::new(stem.as_bytes()).ok())
        else {
            continue;
        };
        // Under other ids some files may not be removable; they wait for who can.
        if crate::fs::remove_tree(parent, &stem).is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Locks `path` shared, waiting for a prune to end.
pub(super) fn lock_shared(path: &Path) -> Result<File, StoreError> {
    let file = open_lock(path)?;
    rustix::fs::flock(&file, FlockOperation::LockShared)
        .map_err(|e| StoreError::io("lock", path)(e.into()))?;
    Ok(file)
}

/// Locks `path` exclusively, waiting for the others.
pub(super) fn lock_exclusive(path: &Path) -> Result<File, StoreError> {
    let file = open_lock(path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .map_err(|e| StoreError::io("lock", path)(e.into()))?;
    Ok(file)
}

/// Locks `path` exclusively, if nobody else has a lock on it.
pub(super) fn try_lock_exclusive(path: &Path) -> Option<File> {
    let file = open_lock(path).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StoreError::io("open", path))
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Uniqueness comes from creating the file exclusively; this only makes a clash rare.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}
