//! The directories of cache mounts: `yado/caches/IDS/NAME`, found by id and seed, with
//! `NAME.id` that says it and `NAME.lock` that says who uses it.
//!
//! They outlive builds and boots. What is in them is their users' affair: a package
//! manager's or compiler's cache, which it checks itself.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::{Store, StoreError, work};
use crate::image::Digest;

/// With whom a cache is shared while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheAccess {
    /// Others who share it.
    Shared,
    /// Nobody: another is taken if someone has it.
    Private,
    /// Nobody: it is waited for.
    Locked,
}

/// A cache in use; it is free again when this is dropped.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    _lock: File,
}

impl Cache {
    /// The directory; a new cache has none until [`Store::put_cache`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory is there. What else stands in its place, which only a step
    /// of a chroot can have left, is removed.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Ok(true),
            Ok(_) => super::tree::remove(&self.path).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("read", &self.path)(error)),
        }
    }
}

impl Store {
    /// Takes the cache of `id` and `seed` into use; `None` while others have it.
    pub fn cache(
        &self,
        id: &str,
        seed: &str,
        access: CacheAccess,
    ) -> Result<Option<Cache>, StoreError> {
        let dir = &self.inner.caches;
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(dir).map_err(StoreError::io("create", dir))?;
        let digest = Digest::of(format!("{seed}\0{id}").as_bytes());
        let name = &digest.hex()[..32];
        let operation = match access {
            CacheAccess::Shared => FlockOperation::NonBlockingLockShared,
            CacheAccess::Private | CacheAccess::Locked => FlockOperation::NonBlockingLockExclusive,
        };
        for number in 0.. {
            let path = match number {
                0 => dir.join(name),
                _ => dir.join(format!("{name}-{number}")),
            };
            let lock_path = path.with_extension("lock");
            let lock = work::open_lock(&lock_path)?;
            match rustix::fs::flock(&lock, operation) {
                Ok(()) => {
                    // Its time says when the cache was last used.
                    let id_path = path.with_extension("id");
                    if !self.touch(&id_path) {
                        self.work().write_file(&id_path, id.as_bytes())?;
                    }
                    return Ok(Some(Cache { path, _lock: lock }));
                }
                Err(Errno::WOULDBLOCK) if access == CacheAccess::Private => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(StoreError::io("lock", &lock_path)(error.into())),
            }
        }
        Ok(None)
    }

    /// Moves `made`, a complete directory of the work directory, to the place of a new
    /// cache; when another process was faster its directory is kept.
    pub fn put_cache(&self, cache: &Cache, made: &Path) -> Result<(), StoreError> {
        // An empty directory that is there is another process's, which may be writing to it.
        let done = rustix::fs::renameat_with(CWD, made, CWD, &cache.path, RenameFlags::NOREPLACE);
        match done {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(StoreError::io("move a cache to", &cache.path)(error.into())),
        }
    }
}
