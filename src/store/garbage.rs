//! How much the store holds, and getting rid of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{Store, StoreError, tree};
use crate::image::{Descriptor, Document, ImageConfig};

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
    /// Cache mounts: each with its id and its size in bytes.
    pub caches: Vec<(String, u64)>,
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub trees: usize,
    /// Remembered steps.
    pub steps: usize,
    /// Cache mounts.
    pub caches: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why unpacked layers are left: one error for each. Their files belong to ids
    /// that this process does not have; one that has them removes them.
    pub left: Vec<StoreError>,
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
        usage.steps = list(&self.root().join("yado/steps"))?.len();
        for path in self.cache_paths()?.0 {
            let id = fs::read_to_string(path.with_extension("id")).unwrap_or_default();
            usage.caches.push((id, disk_size(&path)));
        }
        usage.caches.sort();
        Ok(usage)
    }

    /// Removes the remembered steps, the cache mounts and everything that no named image needs;
    /// with `all`, the named images as well. Takes the store for itself: fails
    /// with [`StoreError::Busy`] when another process uses it.
    pub fn prune(self, all: bool) -> Result<Pruned, StoreError> {
        let lock = &self.inner.lock;
        rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Busy(self.root().to_owned()))?;
        if all {
            self.forget_names()?;
        }
        let mut blobs = BTreeSet::new();
        let mut trees = BTreeSet::new();
        for named in self.named()? {
            self.mark(&named.manifest, &mut blobs, &mut trees);
        }
        let mut pruned = Pruned { bytes: self.forget_contexts()?, ..Pruned::default() };
        for path in list(&self.root().join("yado/steps"))? {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            pruned.steps += 1;
        }
        for path in self.blob_paths()? {
            if !blobs.contains(&path) {
                pruned.bytes += disk_size(&path);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                pruned.blobs += 1;
            }
        }
        // Those of named images are kept, whether the blob is here or not.
        for path in list(&self.root().join("yado/origins"))? {
            let of = |blob: &PathBuf| blob.file_name() == path.file_name();
            if !blobs.iter().any(of) {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        let (tree_paths, closed) = self.tree_paths()?;
        pruned.left = closed;
        for path in tree_paths {
            let of_this_boot = path.parent().is_some_and(tree::is_of_this_boot);
            if of_this_boot && trees.contains(path.file_name().unwrap_or_default()) {
                continue;
            }
            if self.prune_directory(&path, &mut pruned) {
                pruned.trees += 1;
            }
        }
        let (cache_paths, closed) = self.cache_paths()?;
        pruned.left.extend(closed);
        for path in cache_paths {
            if self.prune_directory(&path, &mut pruned) {
                pruned.caches += 1;
                let _ = fs::remove_file(path.with_extension("id"));
                let _ = fs::remove_file(path.with_extension("lock"));
            }
        }
        // After the trees; a kill in between, here or in a build, leaves some without one.
        for path in self.layer_paths()?.0 {
            if tree::is_owners(&path) && !path.with_extension("").is_dir() {
                pruned.bytes += disk_size(&path);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        for dir in list(&self.root().join("yado/layers"))? {
            if !tree::is_of_this_boot(&dir) {
                // Unless something is left in it.
                let _ = fs::remove_dir(&dir);
            }
        }
        Ok(pruned)
    }

    /// Removes a directory with all that is in it, if its files' ids allow it.
    fn prune_directory(&self, path: &Path, pruned: &mut Pruned) -> bool {
        let bytes = disk_size(path);
        // Out of its place first: half a tree, which a kill or files of other ids
        // leave, waits in the work directory for who can remove it.
        let doomed = self.work().fresh("doomed");
        let moved = fs::rename(path, &doomed).map_err(StoreError::io("remove", path));
        match moved.and_then(|()| tree::remove(&doomed)) {
            Ok(()) => {
                pruned.bytes += bytes;
                true
            }
            Err(error) => {
                pruned.left.push(error);
                false
            }
        }
    }

    /// The directories of cache mounts.
    fn cache_paths(&self) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
        let (mut paths, closed) = open_children(&self.root().join("yado/caches"))?;
        paths.retain(|path| path.extension().is_none());
        Ok((paths, closed))
    }

    /// Notes what an image needs; what cannot be read needs nothing.
    fn mark(
        &self,
        descriptor: &Descriptor,
        blobs: &mut BTreeSet<PathBuf>,
        trees: &mut BTreeSet<std::ffi::OsString>,
    ) {
        if !blobs.insert(self.blob_path(&descriptor.digest)) {
            return;
        }
        let Ok(bytes) = self.read_document(&descriptor.digest) else { return };
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Index(index)) => {
                for manifest in &index.manifests {
                    self.mark(manifest, blobs, trees);
                }
            }
            Ok(Document::Manifest(manifest)) => {
                blobs.insert(self.blob_path(&manifest.config.digest));
                blobs.extend(manifest.layers.iter().map(|layer| self.blob_path(&layer.digest)));
                let config = self
                    .read_document(&manifest.config.digest)
                    .ok()
                    .and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok());
                let diff_ids = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
                trees.extend(diff_ids.into_iter().map(|id| id.0.hex().into()));
            }
            Err(_) => {}
        }
    }

    fn blob_paths(&self) -> Result<Vec<PathBuf>, StoreError> {
        children(&self.root().join("blobs"))
    }

    /// The unpacked layers, and what keeps others from being seen.
    fn tree_paths(&self) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
        let (mut paths, closed) = self.layer_paths()?;
        paths.retain(|path| !tree::is_owners(path));
        Ok((paths, closed))
    }

    /// The unpacked layers and their owners; another user's, such as root's, may be closed.
    fn layer_paths(&self) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
        open_children(&self.root().join("yado/layers"))
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
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

fn children(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut all = Vec::new();
    for below in list(dir)? {
        all.extend(list(&below)?);
    }
    Ok(all)
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
