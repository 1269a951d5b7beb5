//! Images of OCI layouts: directories that other tools write.
//!
//! What is used of them is copied into the store and verified on the way; a
//! layout is never changed.

use std::fs;
use std::io;
use std::path::Path;

use super::base::{Image, choose, no_platform};
use super::{BuildError, Env};
use crate::image::{
    DEFAULT_TAG, Descriptor, Digest, Document, Index, Platform, blob_path, media_type,
};
use crate::plan::ImageSource;
use crate::report::Event;
use crate::store::Origin;

/// An image of the layout at `path`: its documents are then in the store.
pub(super) fn resolve(
    source: &ImageSource,
    path: &Path,
    tag: Option<&str>,
    digest: Option<&Digest>,
    platform: &Platform,
    env: &Env,
) -> Result<Image, BuildError> {
    let wrong = |problem: String| BuildError::Image { name: source.to_string(), problem };
    let index = path.join("index.json");
    let bytes = fs::read(&index).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BuildError::Missing(format!(
            "{} is no OCI layout: it has no index.json",
            path.display()
        )),
        _ => BuildError::Io { action: "read", path: index.clone(), source: error },
    })?;
    let Document::Index(index) = Document::parse(&bytes, media_type::OCI_INDEX)
        .map_err(|e| wrong(format!("its index.json: {e}")))?
    else {
        return Err(wrong("its index.json is no index".to_owned()));
    };
    let mut descriptor = match digest {
        Some(digest) => by_digest(&index, path, digest).map_err(wrong)?,
        None => by_tag(&index, tag).map_err(wrong)?.clone(),
    };
    loop {
        copy_blob(path, &descriptor, env)?;
        let bytes = env.store.read_document(&descriptor.digest)?;
        let document =
            Document::parse(&bytes, &descriptor.media_type).map_err(|e| wrong(e.to_string()))?;
        match document {
            Document::Index(index) => {
                let chosen = choose(&index, platform);
                descriptor = chosen.ok_or_else(|| wrong(no_platform(&index, platform)))?.clone();
            }
            Document::Manifest(manifest) => {
                copy_blob(path, &manifest.config, env)?;
                break;
            }
        }
    }
    let image = super::read_image(&env.store, &descriptor, platform)?;
    super::base::note_origin(&image, &Origin::Layout(path.to_owned()), env)?;
    let actual = image.config.platform();
    if !actual.satisfies(platform) {
        let message = format!("image {source} is for {actual}, not for {platform}");
        env.sink.event(Event::Warning { message });
    }
    Ok(image)
}

/// The entry of an index with a name; without a name, `latest` or the only one.
fn by_tag<'a>(index: &'a Index, tag: Option<&str>) -> Result<&'a Descriptor, String> {
    index.by_tag(tag).ok_or_else(|| {
        let wanted = tag.unwrap_or(DEFAULT_TAG);
        let names: Vec<&str> = index.manifests.iter().filter_map(Descriptor::ref_name).collect();
        match names.as_slice() {
            [] => format!("none of its images is named {wanted:?}; give the digest of one"),
            names => format!("none is named {wanted:?}, only {}", names.join(", ")),
        }
    })
}

/// The entry of an index with a digest, or the blob of that digest, which another
/// index may lead to.
fn by_digest(index: &Index, path: &Path, digest: &Digest) -> Result<Descriptor, String> {
    if let Some(found) = index.manifests.iter().find(|entry| entry.digest == *digest) {
        return Ok(found.clone());
    }
    let size = fs::metadata(blob_path(path, digest))
        .map_err(|_| format!("it has no blob {digest}"))?
        .len();
    // What it is, a document says of itself.
    Ok(Descriptor::new("", digest.clone(), size))
}

/// Copies a blob of a layout into the store, if it is not there.
pub(super) fn copy_blob(
    layout: &Path,
    descriptor: &Descriptor,
    env: &Env,
) -> Result<(), BuildError> {
    Ok(env.store.copy_blob(&blob_path(layout, &descriptor.digest), descriptor)?)
}
