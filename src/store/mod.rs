//! The store: blobs, named images, unpacked layers and remembered steps on disk.
//!
//! ```text
//! ROOT/
//! ├── oci-layout, index.json        an OCI image layout that any tool can read; of an image
//! │                                 that was only pushed, a base's layers may be elsewhere
//! ├── blobs/sha256/HEX              content by digest
//! └── yado/
//!     ├── lock                      shared by every user, exclusive for prune
//!     ├── index.lock                exclusive while index.json is rewritten
//!     ├── layers/IDS-BOOT/HEX/      a layer's tree by diff_id; IDS is the id mapping
//!     ├── layers/IDS-BOOT/HEX.owners   owners that its files cannot carry, if there are any
//!     ├── caches/IDS/NAME/          what RUN --mount=type=cache keeps
//!     ├── contexts/HEX              what is known of a context's files without reading them
//!     ├── steps/HEX                 what a step made, by its cache key
//!     ├── origins/HEX               where a blob can be had
//!     └── work/NAME/                files of one running process, locked by it
//! ```
//!
//! Everything is made in `work/` and renamed to its place when it is complete,
//! so that a process killed at any instant leaves nothing half-written in a
//! place that is read. What a dead process left in `work/` is removed when the
//! store is next opened.
//!
//! There is no `fsync`. After a power cut a blob may be short or wrong, which its
//! digest shows when it leaves or is unpacked; it is then removed. A tree has
//! nothing that would show it, so trees are of one boot of the machine: those of
//! another are removed, and unpacked again from their blobs when they are wanted.
//! That costs less than writing each build through to the disk.

mod access;
mod blob;
mod cache;
mod choose;
mod contexts;
mod names;
mod origins;
mod prune;
mod tree;
mod usage;
mod work;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::image::Digest;

pub use blob::{BlobError, BlobWriter, Follower, VerifiedBlob};
pub use cache::{Cache, CacheAccess};
pub use names::Named;
pub use origins::Origin;
pub use prune::{Pruned, Selection};
pub use usage::{CacheUsage, Usage};
pub use work::WorkDir;

/// A content-addressed store on disk; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// The directory of trees: they differ with the mapping of owners, and do
    /// not outlive a boot.
    trees: PathBuf,
    /// The directory of cache mounts: they differ with the mapping of owners.
    caches: PathBuf,
    /// When the store was opened: the time at which all that this process uses was used.
    opened: SystemTime,
    /// Held shared as long as the store is open.
    lock: fs::File,
    work: WorkDir,
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory of the store could not be used.
    #[error("{action} {path}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{0} is not empty and not a yado store; choose another directory with --root")]
    Foreign(PathBuf),
    /// The directory holds an image layout of another program's, or of an export.
    #[error(
        "{0} is an image layout that yado's store did not make; choose another directory with --root"
    )]
    ForeignLayout(PathBuf),
    /// Another user has the directory.
    #[error(
        "{path} belongs to {owner}, who could change what is built; choose a directory of your own with --root"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// A document of the store cannot be read.
    #[error("{path} is damaged: {source}; remove the file, images named in it must be built or pulled again", path = path.display())]
    Damaged {
        /// The document.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A blob is missing or not what its digest says.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Prune found the store in use.
    #[error("another yado is using the store {0}; try again when it has finished")]
    Busy(PathBuf),
}

impl StoreError {
    /// Whether a blob is not in the store.
    pub fn is_missing_blob(&self) -> bool {
        matches!(self, Self::Blob(BlobError::Missing(_)))
    }

    /// For `map_err` on a file operation: `action` is a verb, such as "create".
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl Store {
    /// Opens the store at `root`, making it if there is none. `ids` names the
    /// mapping of owners under which this process sees files.
    pub fn open(root: &Path, ids: &str) -> Result<Self, StoreError> {
        let layout = root.join("oci-layout");
        let in_use = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        // What has files and no `yado/` is not ours to prune, whatever it is: `yado/` is
        // made first, also by another process that is making the same store just now.
        if in_use && !root.join("yado").is_dir() {
            let foreign =
                if layout.exists() { StoreError::ForeignLayout } else { StoreError::Foreign };
            return Err(foreign(root.to_owned()));
        }
        // Nobody else's: unpacked layers have set-id programs and device nodes.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        let trees = Path::new("yado/layers").join(tree::dir_name(ids));
        let others = ["yado/work", "yado/steps", "yado/caches", "yado/origins", "blobs/sha256"]
            .map(Path::new);
        for dir in others.into_iter().chain([trees.as_path()]) {
            let path = root.join(dir);
            private.create(&path).map_err(StoreError::io("create", &path))?;
        }
        for dir in ["yado", "blobs"] {
            access::make_private(&root.join(dir))?;
        }
        let lock_path = root.join("yado/lock");
        tree::remove_of_other_boots(&root.join(&trees), ids, &lock_path);
        let lock = work::lock_shared(&lock_path)?;
        let work = WorkDir::create(&root.join("yado/work"))?;
        if !layout.is_file() {
            work.write_file(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                trees: root.join(trees),
                caches: root.join("yado/caches").join(ids),
                opened: SystemTime::now(),
                lock,
                work,
            }),
        })
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A directory for this process's own files; it goes when the store is closed.
    pub fn work(&self) -> &WorkDir {
        &self.inner.work
    }

    /// Notes that a file of the store was used; false if it is not there. All uses of one
    /// process have one time: of a build's steps none is older than the others.
    fn touch(&self, path: &Path) -> bool {
        let touched = fs::File::open(path).and_then(|file| file.set_modified(self.inner.opened));
        // A time that cannot be set makes the file look older, no more.
        touched.map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |()| true)
    }

    /// Where the blob `digest` is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        crate::image::blob_path(&self.inner.root, digest)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::image::{Descriptor, DiffId, Platform, media_type};
    use crate::testing::TempDir;

    #[test]
    fn a_blob_is_there_whole_and_verified_or_not_at_all() -> Result<(), StoreError> {
        let temp = TempDir::new("store-blob");
        let store = Store::open(temp.path(), "ids")?;
        let digest = store.put_blob(b"hello")?;
        assert_eq!(store.read_document(&digest)?, b"hello");

        let wrong = Descriptor::new("x", Digest::of(b"other"), 5);
        let mut writer = store.blob_writer(Some(&wrong))?;
        writer.write_all(b"hellx").map_err(StoreError::io("write", temp.path()))?;
        assert!(matches!(writer.finish(), Err(StoreError::Blob(BlobError::Digest { .. }))));
        assert!(!store.blob_path(&wrong.digest).exists());

        fs::write(store.blob_path(&digest), "changed")
            .map_err(StoreError::io("write", temp.path()))?;
        assert!(matches!(
            store.read_document(&digest),
            Err(StoreError::Blob(BlobError::Digest { .. }))
        ));
        Ok(())
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_a_living_one_kept() -> Result<(), StoreError> {
        let temp = TempDir::new("store-dead");
        let store = Store::open(temp.path(), "ids")?;
        let dead = temp.path().join("yado").join("work/1-dead");
        fs::create_dir_all(dead.join("half")).map_err(StoreError::io("create", &dead))?;
        fs::write(dead.with_extension("lock"), "").map_err(StoreError::io("create", &dead))?;
        let other = Store::open(temp.path(), "ids")?;
        assert!(!dead.exists() && !dead.with_extension("lock").exists());
        assert!(store.work().path().exists() && other.work().path().exists());
        Ok(())
    }

    #[test]
    fn prune_keeps_what_names_need_and_waits_for_no_one() -> Result<(), StoreError> {
        let temp = TempDir::new("store-prune");
        let store = Store::open(temp.path(), "ids")?;
        let layer = store.put_blob(b"layer")?;
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config = store.put_blob(config.as_bytes())?;
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{config}","size":1}},"layers":[{{"mediaType":"{}","digest":"{layer}","size":5}}]}}"#,
            media_type::OCI_CONFIG,
            media_type::OCI_LAYER
        );
        let digest = store.put_blob(manifest.as_bytes())?;
        let descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
        let reference = "localhost/app".parse().expect("a reference");
        store.name(&reference, &descriptor)?;
        assert_eq!(
            store.resolve(&reference, &Platform::host())?.map(|d| d.digest),
            Some(descriptor.digest)
        );
        store.put_blob(b"garbage")?;
        store.put_step(&layer, b"{}")?;
        for id in [&layer, &config] {
            let tree = store.work().fresh("tree");
            fs::create_dir(&tree).map_err(StoreError::io("create", &tree))?;
            store.put_tree(&DiffId(id.clone()), &tree, b"1:1 l\0")?;
            assert_eq!(store.tree_owners(&DiffId(id.clone()))?, b"1:1 l\0");
        }

        let other = Store::open(temp.path(), "ids")?;
        assert!(matches!(other.clone().prune(&Selection::default()), Err(StoreError::Busy(_))));
        drop(store);
        let pruned = other.prune(&Selection::default())?;
        assert_eq!((pruned.blobs, pruned.trees, pruned.steps), (1, 1, 1));
        let usage = Store::open(temp.path(), "ids")?.usage()?;
        assert_eq!((usage.images, usage.blobs, usage.trees), (1, 3, 1));
        // As a kill between the two leaves it.
        let layers = temp.path().join("yado/layers").join(tree::dir_name("ids"));
        fs::write(layers.join("0.owners"), "1:1 l\0").map_err(StoreError::io("write", &layers))?;
        let pruned = Store::open(temp.path(), "ids")?
            .prune(&Selection { images: true, ..Selection::default() })?;
        assert_eq!((pruned.blobs, pruned.trees), (3, 1));
        let left = fs::read_dir(&layers).map_err(StoreError::io("read", &layers))?;
        assert_eq!(left.count(), 0);
        Ok(())
    }

    #[test]
    fn trees_do_not_outlive_a_boot() -> Result<(), StoreError> {
        let temp = TempDir::new("store-boot");
        let layers = temp.path().join("yado/layers");
        let id = DiffId(Digest::of(b"layer"));
        for ids in ["mine", "another"] {
            let store = Store::open(temp.path(), ids)?;
            let tree = store.work().fresh("tree");
            fs::create_dir(&tree).map_err(StoreError::io("create", &tree))?;
            store.put_tree(&id, &tree, b"")?;
            assert!(Store::open(temp.path(), ids)?.tree(&id).is_some());
            let old = layers.join(format!("{ids}-before"));
            fs::rename(layers.join(tree::dir_name(ids)), &old)
                .map_err(StoreError::io("move", &old))?;
            // Another machine may be at work with them.
            let _second = Store::open(temp.path(), ids)?;
            assert!(old.exists());
        }
        let store = Store::open(temp.path(), "mine")?;
        assert!(store.tree(&id).is_none());
        // Others are removed by who has their ids, or by prune.
        assert!(!layers.join("mine-before").exists() && layers.join("another-before").exists());
        assert_eq!(store.prune(&Selection::default())?.trees, 1);
        assert!(!layers.join("another-before").exists());
        Ok(())
    }

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let temp = TempDir::new("store-foreign");
        fs::write(temp.path().join("thesis.txt"), "x").expect("write");
        assert!(matches!(Store::open(temp.path(), "ids"), Err(StoreError::Foreign(_))));
    }
}
