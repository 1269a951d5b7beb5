//! Base images: found in the store, a registry or a layout. Their layers stay where they
//! are until someone wants them.

use super::{BuildError, Env, layout};
use crate::image::{
    Descriptor, DiffId, Document, ImageConfig, Index, Manifest, Platform, Reference,
};
use crate::plan::{Asked, ImageRequest, ImageSource};
use crate::registry::RegistryError;
use crate::store::Origin;

/// An image: its configuration and layers, the lowest first.
#[derive(Clone, Debug)]
pub struct Image {
    /// The configuration.
    pub config: ImageConfig,
    /// The layers.
    pub layers: Vec<Layer>,
}

/// A layer: what it holds, and the blob that it is stored as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the archive.
    pub diff_id: DiffId,
    /// The blob.
    pub blob: Descriptor,
}

impl Image {
    /// Joins manifest and configuration; fails with what does not fit.
    pub(super) fn new(manifest: &Manifest, config: ImageConfig) -> Result<Self, String> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(format!(
                "the manifest has {} layers, the configuration {}",
                manifest.layers.len(),
                diff_ids.len()
            ));
        }
        let layers = diff_ids
            .iter()
            .zip(&manifest.layers)
            .map(|(diff_id, blob)| {
                let mut blob = blob.clone();
                blob.media_type = as_oci(&blob.media_type)?.to_owned();
                Ok(Layer { diff_id: diff_id.clone(), blob })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { config, layers })
    }
}

/// The OCI name of a layer's media type; the bytes are the same.
fn as_oci(media_type: &str) -> Result<&str, String> {
    use crate::image::media_type as types;
    match media_type {
        types::DOCKER_LAYER_GZIP => Ok(types::OCI_LAYER_GZIP),
        types::DOCKER_LAYER => Ok(types::OCI_LAYER),
        // Written by BuildKit without OCI media types.
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(types::OCI_LAYER_ZSTD),
        types::OCI_LAYER | types::OCI_LAYER_GZIP | types::OCI_LAYER_ZSTD => Ok(media_type),
        other => Err(format!("unsupported layer type {other:?}")),
    }
}

/// Finds an image: in the store, unless `pull` is asked for or it is not there; else
/// in its registry, from where manifest and configuration are taken into the store.
pub(super) fn resolve(wanted: &ImageRequest, pull: bool, env: &Env) -> Result<Image, BuildError> {
    env.check_cancelled()?;
    let platform = &wanted.platform;
    let reference = match &wanted.source {
        ImageSource::Registry(reference) => reference,
        ImageSource::Layout { path, tag, digest } => {
            let (tag, digest) = (tag.as_deref(), digest.as_ref());
            return layout::resolve(&wanted.source, path, tag, digest, platform, env);
        }
    };
    if !pull && let Some(descriptor) = env.store.resolve(reference, platform)? {
        // What a name leads to may have been lost to a power cut; then it is pulled again.
        if let Ok(image) = super::read_image(&env.store, &descriptor, platform) {
            return Ok(image);
        }
    }
    let fail = |source| BuildError::Pull { name: reference.to_string(), source: Box::new(source) };
    let mut descriptor = env.runtime.block_on(async {
        tokio::select! {
            fetched = fetch(reference, platform, env) => fetched.map_err(fail)?,
            () = super::push::until_cancelled(env) => Err(BuildError::Interrupted),
        }
    })?;
    let image = super::read_image(&env.store, &descriptor, platform)?;
    note_origin(&image, &Origin::Repository(reference.repository().clone()), env)?;
    // An image without an index says only in its configuration what it runs on. It is
    // taken as docker takes it (a check warns), but not kept as what it is not.
    let actual = image.config.platform();
    if !actual.satisfies(platform) {
        descriptor.platform = Some(actual);
    }
    env.store.name(reference, &descriptor)?;
    Ok(image)
}

/// Notes where the layers of an image can be had.
pub(super) fn note_origin(image: &Image, origin: &Origin, env: &Env) -> Result<(), BuildError> {
    for layer in &image.layers {
        env.store.add_origin(&layer.blob.digest, origin)?;
    }
    Ok(())
}

/// Finds the configuration of a base image for checks alone: in the store, and
/// in its registry only if a check depends on it.
pub fn find_base(
    wanted: &ImageRequest,
    asked: Asked,
    env: &Env,
) -> Result<Option<ImageConfig>, BuildError> {
    let reference = match &wanted.source {
        ImageSource::Registry(reference) if asked != Asked::Again => reference,
        // A layout is read from the disk.
        _ => return resolve(wanted, false, env).map(|image| Some(image.config)),
    };
    let platform = &wanted.platform;
    let Some(descriptor) = env.store.resolve(reference, platform)? else { return Ok(None) };
    Ok(super::read_image(&env.store, &descriptor, platform).ok().map(|image| image.config))
}

/// Takes the documents of an image into the store; gives the manifest for the platform.
async fn fetch(
    reference: &Reference,
    platform: &Platform,
    env: &Env,
) -> Result<Result<Descriptor, BuildError>, RegistryError> {
    let mut fetched = env.client.manifest(reference).await?;
    if let Document::Index(index) = &fetched.document {
        let Some(manifest) = choose(index, platform) else {
            let problem = no_platform(index, platform);
            return Ok(Err(BuildError::Image { name: reference.to_string(), problem }));
        };
        fetched = env.client.manifest(&reference.with_digest(manifest.digest.clone())).await?;
    }
    let Document::Manifest(manifest) = &fetched.document else {
        let problem = "an index within an index".to_owned();
        return Ok(Err(BuildError::Image { name: reference.to_string(), problem }));
    };
    env.client.pull_blob(reference.repository(), &manifest.config, &env.store, None).await?;
    let mut descriptor = fetched.descriptor.clone();
    descriptor.platform = Some(platform.clone());
    Ok(env.store.put_blob(&fetched.bytes).map(|_| descriptor).map_err(BuildError::from))
}

/// The manifest of an index for a platform.
pub(super) fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    index
        .manifests
        .iter()
        .find(|manifest| manifest.platform.as_ref().is_some_and(|p| p.satisfies(platform)))
}

/// Says which platforms there are instead.
pub(super) fn no_platform(index: &Index, platform: &Platform) -> String {
    let offered: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|manifest| manifest.platform.as_ref())
        .filter(|platform| platform.os != "unknown")
        .map(ToString::to_string)
        .collect();
    format!("there is none for {platform}, only for {}", offered.join(", "))
}
