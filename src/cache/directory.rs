//! A cache as a directory: an OCI image layout, with one manifest for each tag.
//!
//! Who writes it holds a lock on it. Blobs that are there are kept, the others are written
//! under another name and renamed, and `index.json` comes last: a reader sees the old
//! cache or the new one. Then the blobs that no manifest of the index refers to are
//! removed, so that the directory is as large as what it is good for. Only files that have a
//! digest for a name are ever removed, and none as long as a manifest cannot be read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use serde_json::Map;

use super::document::{self, DocumentError, Records};
use crate::image::{
    self, DEFAULT_TAG, Descriptor, Digest, Document, Index, Manifest, REF_NAME, blob_path,
    media_type,
};
use crate::store::{BlobError, Store, StoreError};

/// What is being written; there is one writer at a time.
const PARTIAL: &str = ".yado.partial";
/// Who writes.
const LOCK: &str = "index.json.lock";

/// A directory to look in: `--cache-from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The directory.
    pub dir: PathBuf,
    /// The name of the manifest, `latest` if none is given.
    pub tag: Option<String>,
    /// The digest of the manifest, instead of its name.
    pub digest: Option<Digest>,
}

/// A directory to write: `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The directory.
    pub dir: PathBuf,
    /// The name of the manifest, `latest` if none is given.
    pub tag: Option<String>,
    /// Which steps.
    pub mode: Mode,
    /// Whether the build is good even if this cannot be written.
    pub ignore_error: bool,
}

/// Which steps a cache has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those whose layers are in the image.
    #[default]
    Min,
    /// All of the build.
    Max,
}

/// What is wrong with a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file or directory of it.
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
    /// It has no manifest of this name.
    #[error("{path} has no cache named {tag:?}", path = dir.display())]
    Tag {
        /// The directory.
        dir: PathBuf,
        /// The name.
        tag: String,
    },
    /// A document of it is not what it should be.
    #[error("{path} is damaged", path = path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: image::DocumentError,
    },
    /// A blob of it is not that of its name.
    #[error("{path} is damaged", path = path.display())]
    Blob {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BlobError,
    },
    /// It is no cache of ours.
    #[error("{path} cannot be used", path = dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// It is a store.
    #[error("{0} is a store of yado's, which already is a cache; name another directory")]
    IsStore(PathBuf),
    /// The store has not what is to be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn fail(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    move |source| CacheError::Io { action, path: path.to_owned(), source }
}

fn malformed(path: &Path, kind: &str) -> impl FnOnce(serde_json::Error) -> CacheError {
    let source = |error| image::DocumentError::Json(kind.to_owned(), error);
    move |error| CacheError::Document { path: path.to_owned(), source: source(error) }
}

/// The records of a directory; `None` if there is no directory.
pub(super) fn read(source: &Source) -> Result<Option<Records>, CacheError> {
    let dir = &source.dir;
    let Some(index) = read_index(dir)? else { return Ok(None) };
    let descriptor = if let Some(digest) = &source.digest {
        // An older manifest may be in no index; what there is of it is verified.
        let path = blob_path(dir, digest);
        let size = fs::metadata(&path).map_err(fail("read", &path))?.len();
        Descriptor::new(media_type::OCI_MANIFEST, digest.clone(), size)
    } else {
        let found = index.by_tag(source.tag.as_deref()).cloned();
        let tag = source.tag.as_deref().unwrap_or(DEFAULT_TAG);
        found.ok_or_else(|| CacheError::Tag { dir: dir.clone(), tag: tag.to_owned() })?
    };
    let manifest = match read_document(dir, &descriptor)? {
        Document::Manifest(manifest) => manifest,
        // Such as BuildKit's caches are.
        Document::Index(_) => {
            let source = DocumentError::Foreign(media_type::OCI_INDEX.to_owned());
            return Err(CacheError::Foreign { dir: dir.clone(), source });
        }
    };
    let foreign = |source| CacheError::Foreign { dir: dir.clone(), source };
    document::check(&manifest).map_err(foreign)?;
    let config = read_blob(dir, &manifest.config)?;
    let foreign = |source| CacheError::Foreign { dir: dir.clone(), source };
    document::read(&manifest, &config).map(Some).map_err(foreign)
}

/// The index of a layout; `None` if there is none.
fn read_index(dir: &Path) -> Result<Option<Index>, CacheError> {
    let path = dir.join("index.json");
    let read = || {
        let mut bytes = Vec::new();
        let file = crate::fs::open_regular(&path)?;
        file.take(Store::DOCUMENT_LIMIT).read_to_end(&mut bytes).map(|_| bytes)
    };
    match read() {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(malformed(&path, "image index"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail("read", &path)(error)),
    }
}

/// Reads a document of a layout and verifies it.
fn read_blob(dir: &Path, descriptor: &Descriptor) -> Result<Vec<u8>, CacheError> {
    let path = blob_path(dir, &descriptor.digest);
    let wrong = |source| CacheError::Blob { path: path.clone(), source };
    let (digest, limit) = (&descriptor.digest, Store::DOCUMENT_LIMIT);
    if descriptor.size > limit {
        let size = descriptor.size;
        return Err(wrong(BlobError::TooLarge { digest: digest.clone(), size, limit }));
    }
    let mut bytes = Vec::new();
    let file = crate::fs::open_regular(&path).map_err(fail("open", &path))?;
    file.take(limit).read_to_end(&mut bytes).map_err(fail("read", &path))?;
    let mut hasher = digest.hasher();
    hasher.update(&bytes);
    let actual = hasher.finish();
    if actual == *digest {
        Ok(bytes)
    } else {
        Err(wrong(BlobError::Digest { expected: digest.clone(), actual }))
    }
}

fn read_document(dir: &Path, descriptor: &Descriptor) -> Result<Document, CacheError> {
    let bytes = read_blob(dir, descriptor)?;
    let path = || blob_path(dir, &descriptor.digest);
    Document::parse(&bytes, &descriptor.media_type)
        .map_err(|source| CacheError::Document { path: path(), source })
}

/// Writes `records` and their layers, which are in `store`, to a directory. A layer in
/// `made` is written anew: what is there under its name was not asked for, and may be
/// the reason why it had to be made.
pub(super) fn write(
    destination: &Destination,
    records: &Records,
    made: &BTreeSet<Digest>,
    store: &Store,
) -> Result<(), CacheError> {
    let dir = &destination.dir;
    // All blobs there that no name leads to would be removed.
    if dir.join("yado/lock").exists() {
        return Err(CacheError::IsStore(dir.clone()));
    }
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(fail("create", &blobs))?;
    let lock_path = dir.join(LOCK);
    // Not what a link leads to: others may have written here.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::open(
        &lock_path,
        flags | OFlags::NONBLOCK,
        rustix::fs::Mode::from_raw_mode(0o666),
    );
    let lock = lock.map_err(|error| fail("open", &lock_path)(error.into()))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| fail("lock", &lock_path)(error.into()))?;
    let index = read_index(dir)?;
    for layer in records.values().filter_map(|record| record.layer.as_ref()) {
        let path = blob_path(dir, &layer.blob.digest);
        let whole = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == layer.blob.size);
        if !whole || made.contains(&layer.blob.digest) {
            let mut blob = store.verified_blob(&layer.blob.digest)?;
            write_file(dir, &path, |file| {
                io::copy(&mut blob, file).map_err(fail("write", &path))?;
                Ok(blob.finish()?)
            })?;
        }
    }
    let (manifest, config) = document::write(records).map_err(malformed(dir, "manifest"))?;
    let digest = Digest::of(&manifest);
    for (digest, bytes) in [(&Digest::of(&config), &config), (&digest, &manifest)] {
        write_bytes(dir, &blob_path(dir, digest), bytes)?;
    }
    let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
    let tag = destination.tag.as_deref().unwrap_or(DEFAULT_TAG);
    entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    let mut index = index.unwrap_or_else(|| Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        manifests: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        extra: Map::new(),
    });
    index.manifests.retain(|other| other.ref_name() != Some(tag));
    index.manifests.push(entry);
    write_bytes(dir, &dir.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let path = dir.join("index.json");
    let bytes = serde_json::to_vec(&index).map_err(malformed(&path, "image index"))?;
    write_bytes(dir, &path, &bytes)?;
    remove_unneeded(dir, &index)
}

/// Writes a file so that it is there wholly or not at all.
fn write_file(
    dir: &Path,
    target: &Path,
    write: impl FnOnce(&mut File) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let partial = dir.join(PARTIAL);
    // What has this name is a dead process's, or a link that another user has put there.
    let _ = fs::remove_file(&partial);
    let mut file = File::create_new(&partial).map_err(fail("create", &partial))?;
    let done =
        write(&mut file).and_then(|()| fs::rename(&partial, target).map_err(fail("write", target)));
    if done.is_err() {
        let _ = fs::remove_file(&partial);
    }
    done
}

fn write_bytes(dir: &Path, target: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    write_file(dir, target, |file| file.write_all(bytes).map_err(fail("write", target)))
}

/// Removes the blobs that nothing in the index leads to.
fn remove_unneeded(dir: &Path, index: &Index) -> Result<(), CacheError> {
    let mut needed = BTreeSet::new();
    if !index.manifests.iter().all(|entry| mark(dir, entry, &mut needed)) {
        return Ok(());
    }
    let blobs = dir.join("blobs/sha256");
    for entry in fs::read_dir(&blobs).map_err(fail("read", &blobs))? {
        let entry = entry.map_err(fail("read", &blobs))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| format!("sha256:{name}").parse().ok());
        if is_file && digest.is_some_and(|digest: Digest| !needed.contains(&digest)) {
            let path = entry.path();
            fs::remove_file(&path).map_err(fail("remove", &path))?;
        }
    }
    Ok(())
}

/// Notes what an entry of an index leads to; false if that cannot be known.
fn mark(dir: &Path, entry: &Descriptor, needed: &mut BTreeSet<Digest>) -> bool {
    if !needed.insert(entry.digest.clone()) {
        return true;
    }
    match read_document(dir, entry) {
        Ok(Document::Manifest(Manifest { config, layers, .. })) => {
            needed.insert(config.digest);
            needed.extend(layers.into_iter().map(|layer| layer.digest));
            true
        }
        Ok(Document::Index(index)) => index.manifests.iter().all(|entry| mark(dir, entry, needed)),
        Err(_) => false,
    }
}
