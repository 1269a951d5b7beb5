//! What a step made, remembered by what went into it.
//!
//! A key is the digest of named, length-framed fields: no two different inputs
//! give the same bytes to hash. What goes before the step enters as the `diff_id`s
//! of the layers under it, so an equal tree hits whatever way it was made. Times,
//! checkout owners, proxies and secrets never enter.
//!
//! What is remembered is in the store, and in directories that builds write
//! (`--cache-to`) and others look in (`--cache-from`).

mod directory;
mod document;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image::{Descriptor, DiffId, Digest, Hasher, blob_path};
use crate::report::{Event, Sink, chain};
use crate::store::{BlobError, Store, StoreError};

pub use directory::{CacheError, Destination, Mode, Source};
pub use document::{CONFIG, DocumentError, Records};

/// Part of every key; changes whenever a release makes other layers of the same inputs.
const VERSION: &str = "yado step 5";

/// A key being made.
#[derive(Debug)]
pub struct Key(Hasher);

impl Key {
    /// A key for a step on top of `layers`.
    pub fn new<'a>(layers: impl IntoIterator<Item = &'a DiffId>) -> Self {
        let mut key = Self(Hasher::new());
        key.field("version", VERSION);
        for layer in layers {
            key.field("layer", layer.0.as_str());
        }
        key
    }

    /// Adds a field.
    pub fn field(&mut self, name: &str, value: &str) -> &mut Self {
        for part in [name, value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
        self
    }

    /// Adds a list of fields, with its length.
    pub fn list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let values: Vec<&str> = values.into_iter().collect();
        self.field(name, &values.len().to_string());
        for value in values {
            self.field(name, value);
        }
        self
    }

    /// The key.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// What a step made: a layer, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The layer; `None` when the step changed no file.
    pub layer: Option<RecordedLayer>,
}

/// A layer as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLayer {
    /// The digest of the archive.
    pub diff_id: DiffId,
    /// The stored blob.
    pub blob: Descriptor,
}

/// What is remembered; used by several threads at once.
pub struct Cache {
    store: Store,
    /// What other builds have written, in the order in which they are asked.
    directories: Vec<(PathBuf, Records)>,
    sink: Arc<dyn Sink>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dirs: Vec<_> = self.directories.iter().map(|(dir, _)| dir).collect();
        f.debug_struct("Cache")
            .field("store", &self.store)
            .field("directories", &dirs)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// The store and what can be read of `sources`. The first build has nothing to read
    /// there, and a damaged one is no reason not to build.
    pub fn open(store: &Store, sources: &[Source], sink: &Arc<dyn Sink>) -> Self {
        let mut directories = Vec::new();
        for source in sources {
            let shown = source.dir.display();
            match directory::read(source) {
                Ok(Some(records)) => {
                    let message = format!("the cache {shown} has {} steps", records.len());
                    sink.event(Event::Note { message });
                    directories.push((source.dir.clone(), records));
                }
                Ok(None) => {
                    let message = format!("there is no cache in {shown} yet");
                    sink.event(Event::Note { message });
                }
                Err(error) => {
                    let message = format!("the cache {shown} is not used: {}", chain(&error));
                    sink.event(Event::Warning { message });
                }
            }
        }
        Self { store: store.clone(), directories, sink: Arc::clone(sink) }
    }

    /// What is remembered of the step `key`, its layer being in the store.
    pub fn look_up(&self, key: &Digest) -> Option<Record> {
        let is_there = |record: &Record| {
            record.layer.as_ref().is_none_or(|layer| self.store.has_blob(&layer.blob))
        };
        // A record that cannot be read is as good as none.
        let known = self.store.step(key).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(record) = known.filter(is_there) {
            return Some(record);
        }
        self.directories.iter().find_map(|(dir, records)| {
            let record = records.get(key)?;
            let taken = record.layer.as_ref().map_or(Ok(()), |layer| self.take(dir, layer));
            match taken.and_then(|()| Ok(self.remember(key, record)?)) {
                Ok(()) => Some(record.clone()),
                Err(error) => {
                    let dir = dir.display();
                    let message =
                        format!("a step of the cache {dir} cannot be used: {}", chain(&error));
                    self.sink.event(Event::Warning { message });
                    None
                }
            }
        })
    }

    /// Takes a layer into the store. That it is the archive of its `diff_id` is found out
    /// now: what is remembered of others is not doubted later.
    fn take(&self, dir: &Path, layer: &RecordedLayer) -> Result<(), CacheError> {
        let path = blob_path(dir, &layer.blob.digest);
        self.store.copy_blob(&path, &layer.blob)?;
        let blob = self.store.open_blob(&layer.blob.digest)?;
        let mut hasher = Hasher::new();
        crate::layer::open(blob)
            .and_then(|(_, mut archive)| io::copy(&mut archive, &mut hasher))
            .map_err(|source| CacheError::Io { action: "read", path: path.clone(), source })?;
        let (expected, actual) = (layer.diff_id.0.clone(), hasher.finish());
        if actual == expected {
            Ok(())
        } else {
            Err(CacheError::Blob { path, source: BlobError::Digest { expected, actual } })
        }
    }

    /// Remembers what the step `key` made.
    pub fn remember(&self, key: &Digest, record: &Record) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record)
            .map_err(|e| StoreError::io("write", self.store.root())(e.into()))?;
        self.store.put_step(key, &bytes)
    }
}

/// The steps that a stage or a build had: what another build may want to know.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    records: Records,
    /// The layers that were made, not remembered.
    made: BTreeSet<Digest>,
}

impl Steps {
    /// Adds a step, which was `made` or remembered.
    pub fn add(&mut self, key: &Digest, record: &Record, made: bool) {
        let layer = record.layer.as_ref().filter(|_| made);
        self.made.extend(layer.map(|layer| layer.blob.digest.clone()));
        self.records.insert(key.clone(), record.clone());
    }

    /// Adds the steps of another stage.
    pub fn extend(&mut self, others: &Self) {
        self.records.extend(others.records.clone());
        self.made.extend(others.made.iter().cloned());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes them with their layers, which are in `store`, for [`Cache::open`] to read.
    pub fn write(&self, destination: &Destination, store: &Store) -> Result<(), CacheError> {
        directory::write(destination, &self.records, &self.made, store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = |change: &dyn Fn(&mut Key)| {
            let mut key = Key::new([]);
            change(&mut key);
            key.finish()
        };
        let keys = [
            key(&|_| ()),
            key(&|k| {
                k.field("a", "bc").field("d", "");
            }),
            key(&|k| {
                k.field("ab", "c").field("d", "");
            }),
            key(&|k| {
                k.list("a", ["b", "c"]);
            }),
            key(&|k| {
                k.list("a", ["b"]).field("a", "c");
            }),
            key(&|k| {
                k.list("a", ["bc"]);
            }),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
