//! Blobs: written once, under their digest, verified.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Store, StoreError};
use crate::image::{Descriptor, Digest, Hasher};

/// Why a blob cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store does not have it.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// Its bytes are not those of its digest.
    #[error("blob {expected} has the digest {actual}")]
    Digest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Its length is not that of its descriptor.
    #[error("blob {digest} has {actual} bytes, its descriptor says {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// What its descriptor says.
        expected: u64,
        /// What it has.
        actual: u64,
    },
    /// The store's copy was damaged; there is none any more.
    #[error(
        "blob {expected} of the store was damaged (its digest is {actual}) and is removed; build again to have it made or pulled again"
    )]
    Damaged {
        /// What it should have been.
        expected: Digest,
        /// What it was.
        actual: Digest,
    },
    /// It is larger than any document of its kind may be.
    #[error("blob {digest} has {size} bytes, more than the {limit} that are read as a document")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
}

impl Store {
    /// The most bytes of a manifest or configuration.
    pub const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;

    /// Whether the blob is there, at the size its descriptor says.
    pub fn has_blob(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.blob_path(&descriptor.digest)).is_ok_and(|m| m.len() == descriptor.size)
    }

    /// Opens a blob to take it out of the store: what is read is hashed on the way.
    pub fn verified_blob(&self, digest: &Digest) -> Result<VerifiedBlob, StoreError> {
        let file = self.open_blob(digest)?;
        Ok(VerifiedBlob {
            store: self.clone(),
            file,
            hasher: digest.hasher(),
            digest: digest.clone(),
        })
    }

    /// Opens a blob for reading; its content was verified when it was written.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BlobError::Missing(digest.clone()).into())
            }
            other => other.map_err(StoreError::io("open", &path)),
        }
    }

    /// Reads a manifest or configuration and verifies it again.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut file = self.open_blob(digest)?;
        let path = self.blob_path(digest);
        let size = file.metadata().map_err(StoreError::io("read", &path))?.len();
        if size > Self::DOCUMENT_LIMIT {
            return Err(BlobError::TooLarge {
                digest: digest.clone(),
                size,
                limit: Self::DOCUMENT_LIMIT,
            }
            .into());
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        let mut hasher = digest.hasher();
        hasher.update(&bytes);
        let actual = hasher.finish();
        if actual != *digest {
            return Err(BlobError::Digest { expected: digest.clone(), actual }.into());
        }
        Ok(bytes)
    }

    /// Stores a small blob that is in memory.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut writer = self.blob_writer(None)?;
        writer.write_all(bytes).map_err(|e| writer.error(e))?;
        Ok(writer.finish()?.0)
    }

    /// Takes a copy of the file `path` into the store, if it is the blob `descriptor`.
    pub fn copy_blob(&self, path: &Path, descriptor: &Descriptor) -> Result<(), StoreError> {
        if self.has_blob(descriptor) {
            return Ok(());
        }
        let mut from = crate::fs::open_regular(path).map_err(StoreError::io("open", path))?;
        let size = from.metadata().map_err(StoreError::io("read", path))?.len();
        if size != descriptor.size {
            let (digest, expected) = (descriptor.digest.clone(), descriptor.size);
            return Err(BlobError::Size { digest, expected, actual: size }.into());
        }
        let mut writer = self.blob_writer(Some(descriptor))?;
        // By the kernel, and without a copy where the file system can share blocks. What
        // is verified is what the store has.
        writer.written =
            io::copy(&mut from, &mut writer.file).map_err(StoreError::io("copy", path))?;
        writer.file.rewind().map_err(|e| writer.error(e))?;
        let hashed = io::copy(&mut writer.file, &mut writer.hasher);
        hashed.map_err(|e| writer.error(e))?;
        writer.finish().map(drop)
    }

    /// Begins a blob; with `expected`, it must turn out to be that one.
    pub fn blob_writer(&self, expected: Option<&Descriptor>) -> Result<BlobWriter, StoreError> {
        let path = self.work().fresh("blob");
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        let hasher = expected.map_or_else(Hasher::new, |descriptor| descriptor.digest.hasher());
        let expected = expected.map(|descriptor| (descriptor.digest.clone(), descriptor.size));
        Ok(BlobWriter {
            store: self.clone(),
            path,
            file,
            hasher,
            written: 0,
            expected,
            progress: Arc::default(),
            done: false,
        })
    }
}

/// A blob being read, which is as it should be only when [`VerifiedBlob::finish`] says so.
#[derive(Debug)]
pub struct VerifiedBlob {
    store: Store,
    file: File,
    hasher: Hasher,
    digest: Digest,
}

impl VerifiedBlob {
    /// Reads what is left and compares digests. A damaged blob is removed: where it
    /// stays, it is taken for the real one by its size, and each build fails again.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let path = self.store.blob_path(&self.digest);
        io::copy(&mut self, &mut io::sink()).map_err(StoreError::io("read", &path))?;
        let actual = self.hasher.finish();
        if actual == self.digest {
            return Ok(());
        }
        fs::remove_file(&path).map_err(StoreError::io("remove the damaged blob", &path))?;
        Err(BlobError::Damaged { expected: self.digest, actual }.into())
    }
}

impl Read for VerifiedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// A blob being written; it is in the store only after [`BlobWriter::finish`].
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    written: u64,
    expected: Option<(Digest, u64)>,
    progress: Arc<Progress>,
    done: bool,
}

/// How far a writer is, for those who follow it.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    written: u64,
    /// Whether it is over, and all is as it should be.
    end: Option<bool>,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Reads a blob while it is written. It ends when the writer has verified the blob, and
/// fails when the writer gives up or begins again.
#[derive(Debug)]
pub struct Follower {
    file: File,
    at: u64,
    progress: Arc<Progress>,
}

impl Follower {
    /// The file, of which there is what [`Follower::wait`] has waited for.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Waits until so many bytes are written.
    pub fn wait(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.progress.lock();
        loop {
            match state.end {
                Some(false) => return Err(gave_up()),
                _ if state.written >= bytes => return Ok(()),
                Some(true) => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn gave_up() -> io::Error {
    io::Error::other("the blob did not arrive")
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.progress.lock();
        loop {
            let there = state.written.saturating_sub(self.at);
            if there > 0 && state.end != Some(false) {
                drop(state);
                let want = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
                let count = self.file.read(&mut buffer[..want])?;
                self.at += count as u64;
                return Ok(count);
            }
            match state.end {
                Some(true) => return Ok(0),
                Some(false) => return Err(gave_up()),
                None => {}
            }
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl BlobWriter {
    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes were written.
    pub fn position(&self) -> u64 {
        self.written
    }

    /// A reader of the blob from its beginning, which sees what is written when it is.
    pub fn follow(&self) -> Result<Follower, StoreError> {
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        Ok(Follower { file, at: 0, progress: Arc::clone(&self.progress) })
    }

    /// Forgets what was written, to begin again; who follows is told.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.progress.set(|state| state.end = Some(false));
        self.progress = Arc::default();
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(StoreError::io("truncate", &self.path))?;
        self.hasher =
            self.expected.as_ref().map_or_else(Hasher::new, |(digest, _)| digest.hasher());
        self.written = 0;
        Ok(())
    }

    /// Verifies the blob and moves it to its place; gives its digest and size in bytes.
    pub fn finish(mut self) -> Result<(Digest, u64), StoreError> {
        let digest = self.verify()?;
        let target = self.store.blob_path(&digest);
        if let Some(parent) = target.parent().filter(|_| digest.algorithm() != "sha256") {
            fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        fs::rename(&self.path, &target).map_err(StoreError::io("create", &target))?;
        self.done = true;
        self.progress.set(|state| state.end = Some(true));
        Ok((digest, self.written))
    }

    /// Whether what was written is what was expected; gives the digest.
    pub fn verify(&self) -> Result<Digest, BlobError> {
        let digest = self.hasher.clone().finish();
        if let Some((expected, size)) = &self.expected {
            if self.written != *size {
                return Err(BlobError::Size {
                    digest: expected.clone(),
                    expected: *size,
                    actual: self.written,
                });
            }
            if digest != *expected {
                return Err(BlobError::Digest { expected: expected.clone(), actual: digest });
            }
        }
        Ok(digest)
    }

    fn error(&self, source: io::Error) -> StoreError {
        StoreError::io("write", &self.path)(source)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        self.progress.set(|state| state.written = self.written);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.done {
            self.progress.set(|state| state.end = Some(false));
            let _ = fs::remove_file(&self.path);
        }
    }
}
