//! What a step made, remembered by what went into it.
//!
//! A key is the digest of named, length-framed fields: no two different inputs
//! give the same bytes to hash. What goes before the step enters as the `diff_id`s
//! of the layers under it, so an equal tree hits whatever way it was made. Times,
//! checkout owners, proxies and secrets never enter.

use serde::{Deserialize, Serialize};

use crate::image::{Descriptor, DiffId, Digest, Hasher};
use crate::store::{Store, StoreError};

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

/// What is remembered of the step `key`, if its layer is still in the store.
pub fn look_up(store: &Store, key: &Digest) -> Option<Record> {
    // A record that cannot be read is as good as none.
    let record: Record = serde_json::from_slice(&store.step(key)?).ok()?;
    let there = record.layer.as_ref().is_none_or(|layer| store.has_blob(&layer.blob));
    there.then_some(record)
}

/// Remembers what the step `key` made.
pub fn remember(store: &Store, key: &Digest, record: &Record) -> Result<(), StoreError> {
    let bytes =
        serde_json::to_vec(record).map_err(|e| StoreError::io("write", store.root())(e.into()))?;
    store.put_step(key, &bytes)
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
