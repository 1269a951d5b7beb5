//! How much the store holds.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Store, StoreError, tree};

/// What the store holds; sizes in bytes on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Named images.
    pub images: usize,
    /// Blobs.
    pub blobs: usize,
    /// Their size.
    pub blob_bytes: u64,
    /// Unpacked layers.
    pub trees: usize,
    /// Their size.
    pub tree_bytes: u64,
    /// Remembered steps.
    pub steps: usize,
    /// Cache mounts, by id.
    pub caches: Vec<CacheUsage>,
}

/// A cache mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheUsage {
    /// Its id; several may have one.
    pub id: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

impl Usage {
    /// The size of it all.
    pub fn bytes(&self) -> u64 {
        let caches: u64 = self.caches.iter().map(|cache| cache.bytes).sum();
        self.blob_bytes + self.tree_bytes + caches
    }
}

impl Store {
    /// Counts what the store holds.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut usage = Usage { images: self.named()?.len(), ..Usage::default() };
        for path in self.blob_paths()? {
            usage.blobs += 1;
            usage.blob_bytes += disk_size(&path);
        }
        for path in self.tree_paths()?.0 {
            usage.trees += 1;
            usage.tree_bytes += disk_size(&path) + disk_size(&tree::owners_path(&path));
        }
        usage.steps = list(&self.steps())?.len();
        usage.caches = self.cache_paths()?.0.iter().map(|path| cache_usage(path)).collect();
        usage.caches.sort();
        Ok(usage)
    }

    /// The directories of cache mounts, and which others are closed to this user.
    pub(super) fn cache_paths(&self) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
        let (mut paths, closed) = open_children(&self.root().join("yado/caches"))?;
        paths.retain(|path| path.extension().is_none());
        Ok((paths, closed))
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root().join("blobs")
    }

    pub(super) fn trees(&self) -> PathBuf {
        self.root().join("yado/layers")
    }

    pub(super) fn steps(&self) -> PathBuf {
        self.root().join("yado/steps")
    }

    pub(super) fn blob_paths(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = Vec::new();
        for algorithm in list(&self.blobs())? {
            paths.extend(list(&algorithm)?);
        }
        Ok(paths)
    }

    /// The unpacked layers, and what keeps others from being seen.
    pub(super) fn tree_paths(&self) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
        let (mut paths, closed) = self.layer_paths()?;
        paths.retain(|path| !tree::is_owners(path));
        Ok((paths, closed))
    }

    /// The unpacked layers and their owners; another user's, such as root's, may be closed.
    pub(super) fn layer_paths(&self) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
        open_children(&self.trees())
    }
}

pub(super) fn cache_usage(path: &Path) -> CacheUsage {
    let id = path.with_extension("id");
    let used = fs::metadata(&id).and_then(|metadata| metadata.modified());
    CacheUsage {
        id: fs::read_to_string(&id).unwrap_or_default(),
        bytes: disk_size(path),
        used: used.unwrap_or_else(|_| changed(path)),
    }
}

pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(dir).map_err(StoreError::io("read", dir))?;
    entries.map(|entry| entry.map(|e| e.path()).map_err(StoreError::io("read", dir))).collect()
}

/// What is in the directories of `dir`, and which of them are closed to this user.
fn open_children(dir: &Path) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
    let (mut paths, mut closed) = (Vec::new(), Vec::new());
    for below in list(dir)? {
        match list(&below) {
            Ok(found) => paths.extend(found),
            Err(StoreError::Io { action, path, source })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                closed.push(StoreError::Io { action, path, source });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((paths, closed))
}

/// Bytes on disk of a file or tree; what cannot be read counts nothing.
pub(super) fn disk_size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let Ok(entries) = fs::read_dir(path) else { return own };
    own + entries.flatten().map(|entry| disk_size(&entry.path())).sum::<u64>()
}

/// When a file or directory came to its place. Its time of modification may be an image's.
pub(super) fn changed(path: &Path) -> SystemTime {
    let seconds = fs::symlink_metadata(path).map_or(0, |metadata| metadata.ctime());
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}
