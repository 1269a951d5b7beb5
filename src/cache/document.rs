//! Remembered steps as an OCI manifest, which any tool can carry to another machine.
//!
//! The manifest's layers are those that the steps made, as an image has them; its
//! configuration, of a media type of our own, says which step made which:
//!
//! ```text
//! {"records": [{"key": "sha256:…", "layer": {"diffId": "sha256:…", "digest": "sha256:…"}},
//!              {"key": "sha256:…"}]}
//! ```
//!
//! A record without a layer is a step that changed no file. The same records give the
//! same bytes. Nothing is read or written here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{Record, RecordedLayer};
use crate::image::{Descriptor, DiffId, Digest, Manifest, media_type};

/// The media type of the configuration. What it is read as is part of it: another form
/// gets another number.
pub const CONFIG: &str = "application/vnd.yado.cache.config.v1+json";

/// Records by the keys of their steps.
pub type Records = BTreeMap<Digest, Record>;

#[derive(Serialize, Deserialize)]
struct Config {
    records: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<Made>,
}

/// A layer; the rest of its descriptor stands in the manifest.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    diff_id: DiffId,
    digest: Digest,
}

/// Why a manifest is no cache of ours.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is an image, or another builder's cache.
    #[error("its configuration is of the type {0:?}, not a cache of yado's")]
    Foreign(String),
    /// The configuration cannot be read.
    #[error("its configuration is malformed")]
    Malformed(#[from] serde_json::Error),
    /// A record names a layer that the manifest does not have.
    #[error("a step's layer {0} is not in its manifest")]
    Layer(Digest),
    /// A layer is none that an image could have.
    #[error("a layer is of the type {0:?}")]
    MediaType(String),
}

/// Manifest and configuration, as bytes.
pub(super) fn write(records: &Records) -> Result<(Vec<u8>, Vec<u8>), serde_json::Error> {
    let mut layers: Vec<Descriptor> = Vec::new();
    let mut entries = Vec::new();
    for (key, record) in records {
        let layer = record.layer.as_ref().map(|layer| {
            let blob = &layer.blob;
            // Two steps may have made one layer.
            if layers.iter().all(|other| other.digest != blob.digest) {
                layers.push(Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size));
            }
            Made { diff_id: layer.diff_id.clone(), digest: blob.digest.clone() }
        });
        entries.push(Entry { key: key.clone(), layer });
    }
    let config = serde_json::to_vec(&Config { records: entries })?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: Descriptor::new(CONFIG, Digest::of(&config), config.len() as u64),
        layers,
        annotations: BTreeMap::new(),
        extra: Map::new(),
    };
    Ok((serde_json::to_vec(&manifest)?, config))
}

/// Whether the manifest's configuration is worth reading.
pub(super) fn check(manifest: &Manifest) -> Result<(), DocumentError> {
    if manifest.config.media_type != CONFIG {
        return Err(DocumentError::Foreign(manifest.config.media_type.clone()));
    }
    // They become layers of images as they are.
    let known = [media_type::OCI_LAYER, media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER_ZSTD];
    let foreign = manifest.layers.iter().find(|layer| !known.contains(&layer.media_type.as_str()));
    foreign.map_or(Ok(()), |layer| Err(DocumentError::MediaType(layer.media_type.clone())))
}

/// The records of a manifest and its configuration.
pub(super) fn read(manifest: &Manifest, config: &[u8]) -> Result<Records, DocumentError> {
    check(manifest)?;
    let blobs: BTreeMap<&Digest, &Descriptor> =
        manifest.layers.iter().map(|layer| (&layer.digest, layer)).collect();
    let config: Config = serde_json::from_slice(config)?;
    let record = |made: Made| match blobs.get(&made.digest) {
        Some(blob) => {
            let blob = Descriptor::new(&blob.media_type, made.digest, blob.size);
            Ok(RecordedLayer { diff_id: made.diff_id, blob })
        }
        None => Err(DocumentError::Layer(made.digest)),
    };
    let entries = config.records.into_iter();
    entries
        .map(|entry| Ok((entry.key, Record { layer: entry.layer.map(record).transpose()? })))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str) -> RecordedLayer {
        RecordedLayer {
            diff_id: DiffId(Digest::of(name.as_bytes())),
            blob: Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&[name.len() as u8]), 7),
        }
    }

    fn records() -> Records {
        [("one", Some(layer("a"))), ("two", None), ("three", Some(layer("a")))]
            .map(|(key, layer)| (Digest::of(key.as_bytes()), Record { layer }))
            .into()
    }

    #[test]
    fn what_is_written_is_read() -> Result<(), DocumentError> {
        let (manifest, config) = write(&records())?;
        let parsed: Manifest = serde_json::from_slice(&manifest)?;
        assert_eq!(parsed.layers.len(), 1);
        assert_eq!(parsed.config.digest, Digest::of(&config));
        assert_eq!(read(&parsed, &config)?, records());
        assert_eq!(write(&records())?, (manifest, config));
        Ok(())
    }

    #[test]
    fn what_is_no_cache_is_refused() -> Result<(), DocumentError> {
        let (manifest, config) = write(&records())?;
        let manifest: Manifest = serde_json::from_slice(&manifest)?;
        let mut image = manifest.clone();
        image.config.media_type = media_type::OCI_CONFIG.into();
        assert!(matches!(read(&image, &config), Err(DocumentError::Foreign(_))));
        let mut odd = manifest.clone();
        odd.layers[0].media_type = "text/plain".into();
        assert!(matches!(read(&odd, &config), Err(DocumentError::MediaType(_))));
        let mut short = manifest.clone();
        short.layers.clear();
        assert!(matches!(read(&short, &config), Err(DocumentError::Layer(_))));
        let key = br#"{"records":[{"key":"../../etc/passwd"}]}"#;
        for bad in [&b"{"[..], b"{}", key] {
            assert!(matches!(read(&manifest, bad), Err(DocumentError::Malformed(_))));
        }
        Ok(())
    }
}
