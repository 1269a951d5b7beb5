//! Unpacked layers and remembered steps.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::image::{DiffId, Digest};

impl Store {
    /// Where the tree of the layer `diff_id` is, or would be.
    pub fn tree_path(&self, diff_id: &DiffId) -> PathBuf {
        self.root().join("yado/layers").join(&self.inner.ids).join(diff_id.0.hex())
    }

    /// The tree of a layer, if it is unpacked.
    pub fn tree(&self, diff_id: &DiffId) -> Option<PathBuf> {
        let path = self.tree_path(diff_id);
        path.is_dir().then_some(path)
    }

    /// Moves a complete tree, made in the work directory, to its place. When
    /// another process was faster its tree is kept; they are equal.
    pub fn put_tree(&self, diff_id: &DiffId, tree: &Path) -> Result<PathBuf, StoreError> {
        let target = self.tree_path(diff_id);
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

    /// What was remembered of the step with this key.
    pub fn step(&self, key: &Digest) -> Option<Vec<u8>> {
        fs::read(self.root().join("yado/steps").join(key.hex())).ok()
    }

    /// Remembers what a step made.
    pub fn put_step(&self, key: &Digest, record: &[u8]) -> Result<(), StoreError> {
        self.work().write_file(&self.root().join("yado/steps").join(key.hex()), record)
    }
}

/// Removes a tree of the store by its parent's descriptor.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let name = CString::new(name.as_encoded_bytes())
        .map_err(|e| StoreError::io("remove", path)(e.into()))?;
    crate::fs::open_dir(parent)
        .and_then(|parent| crate::fs::remove_tree(parent, &name))
        .map_err(StoreError::io("remove", path))
}
