//! Unpacked layers and remembered steps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Store, StoreError, work};
use crate::image::{DiffId, Digest};

/// What the names of files with trees' owners end in; a tree's has no dot.
const OWNERS: &str = "owners";

impl Store {
    /// Where the tree of the layer `diff_id` is, or would be.
    pub fn tree_path(&self, diff_id: &DiffId) -> PathBuf {
        self.inner.trees.join(diff_id.0.hex())
    }

    /// The tree of a layer, if it is unpacked.
    pub fn tree(&self, diff_id: &DiffId) -> Option<PathBuf> {
        let path = self.tree_path(diff_id);
        path.is_dir().then_some(path)
    }

    /// What was kept with a layer's tree of owners that its files cannot carry.
    pub fn tree_owners(&self, diff_id: &DiffId) -> Result<Vec<u8>, StoreError> {
        let path = owners_path(&self.tree_path(diff_id));
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(StoreError::io("read", &path)),
        }
    }

    /// Moves a complete tree, made in the work directory, to its place, and with
    /// it `owners`, if there are any. When another process was faster its tree
    /// is kept; they are equal.
    pub fn put_tree(
        &self,
        diff_id: &DiffId,
        tree: &Path,
        owners: &[u8],
    ) -> Result<PathBuf, StoreError> {
        let target = self.tree_path(diff_id);
        // First, so that a tree is never there without them.
        if !owners.is_empty() {
            self.work().write_file(&owners_path(&target), owners)?;
        }
        match fs::rename(tree, &target) {
            Ok(()) => Ok(target),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                remove(tree)?;
                Ok(target)
            }
            Err(error) => Err(StoreError::io("move the layer to", &target)(error)),
        }
    }

    /// What was remembered of the step with this key, which is used by that.
    pub fn step(&self, key: &Digest) -> Option<Vec<u8>> {
        let path = self.step_path(key);
        let record = fs::read(&path).ok()?;
        self.touch(&path);
        Some(record)
    }

    /// Remembers what a step made. The record is JSON; the digests in it are those of the
    /// blobs and trees that it is worth nothing without.
    pub fn put_step(&self, key: &Digest, record: &[u8]) -> Result<(), StoreError> {
        let path = self.step_path(key);
        self.work().write_file(&path, record)?;
        self.touch(&path);
        Ok(())
    }

    fn step_path(&self, key: &Digest) -> PathBuf {
        self.root().join("yado/steps").join(key.hex())
    }
}

/// The name of the directory of trees of this boot, by the mapping of owners.
pub(super) fn dir_name(ids: &str) -> String {
    format!("{ids}-{}", boot())
}

/// Whether a directory of trees, of whichever ids, is of this boot.
pub(super) fn is_of_this_boot(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&format!("-{}", boot())))
}

/// Removes the trees of the same ids and other boots than those in `current`,
/// unless the store is in use: on a shared file system another machine, with a
/// boot of its own, may be at work with them.
pub(super) fn remove_of_other_boots(current: &Path, ids: &str, lock: &Path) {
    let Some(Ok(entries)) = current.parent().map(fs::read_dir) else { return };
    let old: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let same_ids = name.strip_prefix(ids).is_some_and(|rest| rest.starts_with('-'));
            same_ids && path != current
        })
        .collect();
    if old.is_empty() {
        return;
    }
    let Some(_lock) = work::try_lock_exclusive(lock) else { return };
    for path in old {
        // What cannot be removed now is tried again by the next yado.
        let _ = remove(&path);
    }
}

/// What the kernel calls this boot; where it does not say, all are one.
fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.chars().filter(char::is_ascii_hexdigit).collect()
}

/// Where the owners of a tree are kept: beside it.
pub(super) fn owners_path(tree: &Path) -> PathBuf {
    tree.with_extension(OWNERS)
}

/// Whether a path beside trees is one of theirs, and not a tree.
pub(super) fn is_owners(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == OWNERS)
}

/// Removes a tree of the store by its parent's descriptor.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    crate::fs::remove_path(path).map_err(StoreError::io("remove", path))
}
