//! The names of an OCI image layout (image specification, "OCI Image Layout Specification").

use std::path::{Path, PathBuf};

use super::{Descriptor, Digest, Index};

/// The annotation of an index that names an image: its tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The one with the whole reference, as containerd and Docker write it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// The tag that is meant where none is given.
pub const DEFAULT_TAG: &str = "latest";

/// Where the layout in the directory `layout` has a blob.
pub fn blob_path(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs").join(digest.algorithm()).join(digest.hex())
}

impl Descriptor {
    /// The tag that an index gives it.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

impl Index {
    /// The entry with a tag; without one that of [`DEFAULT_TAG`], or the only one there is.
    pub fn by_tag(&self, tag: Option<&str>) -> Option<&Descriptor> {
        let wanted = Some(tag.unwrap_or(DEFAULT_TAG));
        let named = self.manifests.iter().find(|entry| entry.ref_name() == wanted);
        named.or(match (tag, self.manifests.as_slice()) {
            (None, [only]) => Some(only),
            _ => None,
        })
    }
}
