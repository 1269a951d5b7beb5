//! The image model: digests, references, platforms and the OCI documents.
//!
//! Pure data, no I/O. The documents keep every key that they do not know, so
//! that a base image's configuration loses nothing on its way through a build.
//! Bytes that came from elsewhere are never serialised again: whoever needs the
//! digest of a fetched document hashes what was fetched.

mod config;
mod digest;
mod layout;
mod manifest;
mod platform;
mod reference;

pub use config::{Healthcheck, History, ImageConfig, RootFs, RuntimeConfig};
pub use digest::{DiffId, Digest, DigestError, Hasher};
pub use layout::{DEFAULT_TAG, IMAGE_NAME, REF_NAME, blob_path};
pub use manifest::{Descriptor, Document, DocumentError, Index, Manifest, media_type};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Repository};
