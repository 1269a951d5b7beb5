//! Descriptors, manifests and indexes (OCI image specification 1.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Digest, Platform};

/// The media types that yado reads and writes.
pub mod media_type {
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, a plain tar archive.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer compressed with gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer compressed with zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer compressed with gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, a plain tar archive.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
}

/// A reference by digest to a blob, with its size in bytes and media type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Notes on this use of the blob.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What a manifest in an index is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Keys that yado does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor without annotations and platform.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
            extra: Map::new(),
        }
    }
}

/// An image manifest: a configuration and its layers, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Notes on the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Keys that yado does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An image index: manifests, each for a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Notes on the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Keys that yado does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a manifest request can answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Images for several platforms.
    Index(Index),
}

/// Why bytes are not a manifest or index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or not of the shape that its media type asks for.
    #[error("malformed {0}")]
    Json(String, #[source] serde_json::Error),
    /// A media type that yado does not read.
    #[error(
        "unsupported manifest type {0:?}, expected an OCI or Docker version 2 manifest or index"
    )]
    MediaType(String),
    /// A document that could be read as a manifest and as an index (CVE-2021-41190).
    #[error("ambiguous document: it has both \"layers\" and \"manifests\"")]
    Ambiguous,
    /// The document's own media type is not the one it was served as.
    #[error("a document that calls itself {own} was served as {served}")]
    Mismatch {
        /// The `mediaType` inside.
        own: String,
        /// The type it was announced with.
        served: String,
    },
}

impl Document {
    /// Reads a manifest or index that was announced as `media_type`; an empty
    /// or generic type is read from the document itself.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, DocumentError> {
        use self::media_type as types;
        let served = media_type.split(';').next().unwrap_or_default().trim();
        let value: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|e| DocumentError::Json("manifest".into(), e))?;
        if value.contains_key("layers") && value.contains_key("manifests") {
            return Err(DocumentError::Ambiguous);
        }
        let own = value.get("mediaType").and_then(Value::as_str).unwrap_or_default().to_owned();
        let generic =
            matches!(served, "" | "application/json" | "application/octet-stream" | "text/plain");
        let effective = match (generic, own.as_str()) {
            (false, "") => served.to_owned(),
            (false, own) if own != served => {
                return Err(DocumentError::Mismatch { own: own.into(), served: served.into() });
            }
            (true, "") if value.contains_key("manifests") => types::OCI_INDEX.to_owned(),
            (true, "") => types::OCI_MANIFEST.to_owned(),
            (_, own) => own.to_owned(),
        };
        let malformed = |e| DocumentError::Json(effective.clone(), e);
        match effective.as_str() {
            types::OCI_MANIFEST | types::DOCKER_MANIFEST => {
                serde_json::from_slice(bytes).map(Self::Manifest).map_err(malformed)
            }
            types::OCI_INDEX | types::DOCKER_INDEX => {
                serde_json::from_slice(bytes).map(Self::Index).map_err(malformed)
            }
            _ => Err(DocumentError::MediaType(effective)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_confusing_documents() {
        let both = br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#;
        assert!(matches!(Document::parse(both, ""), Err(DocumentError::Ambiguous)));
        let other = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        assert!(matches!(
            Document::parse(other, media_type::OCI_MANIFEST),
            Err(DocumentError::Mismatch { .. })
        ));
        assert!(matches!(
            Document::parse(
                br#"{"schemaVersion":1}"#,
                "application/vnd.docker.distribution.manifest.v1+json"
            ),
            Err(DocumentError::MediaType(_))
        ));
    }

    #[test]
    fn keeps_unknown_keys() -> Result<(), DocumentError> {
        let text = br#"{"schemaVersion":2,"manifests":[],"vendor.key":{"a":1}}"#;
        let Document::Index(index) = Document::parse(text, "application/json; charset=utf-8")?
        else {
            return Err(DocumentError::Ambiguous);
        };
        assert!(index.extra.contains_key("vendor.key"));
        Ok(())
    }
}
