//! To a registry: blobs in parallel, then the manifest under its tags.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::{BuildError, BuildResult, Env};
use crate::image::{Descriptor, Digest, Reference, Repository};

/// Pushes an image under all of `names`.
pub fn push(result: &BuildResult, names: &[Reference], env: &Env) -> Result<(), BuildError> {
    env.check_cancelled()?;
    let mut repositories: BTreeMap<&Repository, Vec<&Reference>> = BTreeMap::new();
    for name in names {
        repositories.entry(name.repository()).or_default().push(name);
    }
    env.runtime.block_on(async {
        let pushes =
            repositories.iter().map(|(repository, names)| push_to(result, repository, names, env));
        tokio::select! {
            done = try_join_all(pushes) => done.map(|_| ()),
            () = until_cancelled(env) => Err(BuildError::Interrupted),
        }
    })
}

async fn push_to(
    result: &BuildResult,
    repository: &Repository,
    names: &[&Reference],
    env: &Env,
) -> Result<(), BuildError> {
    let shown = names.first().map_or_else(|| repository.to_string(), ToString::to_string);
    let fail = |source| BuildError::Push { name: shown.clone(), source: Box::new(source) };
    // A base on the same registry has its layers there already.
    let base = |blob: &Descriptor| {
        let has = |(base, layers): &&(Reference, Vec<Digest>)| {
            let base = base.repository();
            base.host() == repository.host() && base != repository && layers.contains(&blob.digest)
        };
        result.bases.iter().find(has).map(|(base, _)| base.repository())
    };
    let mut blobs: Vec<&Descriptor> = Vec::new();
    for blob in result.image.layers.iter().map(|layer| &layer.blob).chain([&result.config]) {
        if !blobs.iter().any(|other| other.digest == blob.digest) {
            blobs.push(blob);
        }
    }
    let pushes =
        blobs.iter().map(|blob| env.client.push_blob(repository, blob, &env.store, base(blob)));
    try_join_all(pushes).await.map_err(fail)?;
    let bytes = env.store.read_document(&result.manifest.digest)?;
    for name in names {
        env.client.push_manifest(name, &result.manifest.media_type, &bytes).await.map_err(fail)?;
    }
    Ok(())
}

/// Ends when the build is cancelled.
pub(super) async fn until_cancelled(env: &Env) {
    while !env.cancellation.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
