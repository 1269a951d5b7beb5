//! To a registry, behind the build.
//!
//! When the build begins, the image that a name has now is asked for: what it consists of
//! is there and need not be asked for again, and if the new image turns out to be the same,
//! nothing is sent. A layer goes up as soon as it is made, while later steps run; the
//! configuration and the manifest, which make an image of the blobs, only when all of the
//! build has succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::base::Layer;
use super::{BuildError, BuildResult, Env, layers};
use crate::image::{Descriptor, Digest, Document, Reference, Repository};
use crate::registry::{Client, RegistryError};
use crate::store::{BlobError, Origin, Store, StoreError};

/// Pushes that go on while the build does.
#[derive(Debug)]
pub struct Uploads {
    destinations: Vec<Destination>,
}

/// A repository that the image goes to.
#[derive(Debug)]
struct Destination {
    shared: Arc<Shared>,
    /// The references in the repository.
    names: Vec<Reference>,
    /// Blobs on their way.
    tasks: Mutex<BTreeMap<Digest, JoinHandle<Result<(), RegistryError>>>>,
}

/// What the tasks of a destination share.
#[derive(Debug)]
struct Shared {
    /// The first of the names.
    name: Reference,
    before: OnceCell<Before>,
    /// Whether what the registry should have is asked for all the same.
    doubts: AtomicBool,
    client: Client,
    store: Store,
}

/// The image that a name had before.
#[derive(Debug, Default)]
struct Before {
    manifest: Option<Digest>,
    blobs: BTreeSet<Digest>,
}

impl Uploads {
    /// Begins pushes to all of `names`.
    pub fn begin(names: &[Reference], env: &Env) -> Self {
        let mut repositories: BTreeMap<&Repository, Vec<Reference>> = BTreeMap::new();
        for name in names {
            repositories.entry(name.repository()).or_default().push(name.clone());
        }
        let destinations = repositories
            .into_values()
            .map(|names| {
                let shared = Arc::new(Shared {
                    name: names[0].clone(),
                    before: OnceCell::new(),
                    doubts: AtomicBool::new(false),
                    client: env.client.clone(),
                    store: env.store.clone(),
                });
                let asking = Arc::clone(&shared);
                env.runtime.spawn(async move {
                    asking.before().await;
                });
                Destination { shared, names, tasks: Mutex::default() }
            })
            .collect();
        Self { destinations }
    }

    /// Sends a layer, made by `step` or a base image's, unless it is on its way.
    pub(super) fn layer(&self, layer: &Layer, step: Option<u32>, env: &Env) {
        for destination in &self.destinations {
            destination.send(&layer.blob, step, env);
        }
    }

    /// Sends what is missing, and names the image.
    pub fn finish(self, result: &BuildResult, env: &Env) -> Result<(), BuildError> {
        env.check_cancelled()?;
        for destination in &self.destinations {
            destination.start(result, env);
        }
        self.destinations.iter().try_for_each(|destination| destination.finish(result, env))
    }
}

impl Destination {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<Digest, JoinHandle<Result<(), RegistryError>>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, blob: &Descriptor, step: Option<u32>, env: &Env) {
        self.tasks().entry(blob.digest.clone()).or_insert_with(|| {
            let (shared, blob) = (Arc::clone(&self.shared), blob.clone());
            env.runtime.spawn(async move { shared.send(&blob, step).await })
        });
    }

    fn finish(&self, result: &BuildResult, env: &Env) -> Result<(), BuildError> {
        self.send_all(result, env)?;
        let put = self.put(result, env);
        // The registry may have lost blobs of the image that the name had, or the name lies.
        let is_refused = |error: &RegistryError| {
            matches!(error, RegistryError::Refused { status: 400 | 404, .. })
        };
        match put {
            Err(BuildError::Push { source, .. }) if is_refused(&source) => {
                self.shared.doubts.store(true, Ordering::Relaxed);
                self.send_all(result, env)?;
                self.put(result, env)
            }
            other => other,
        }
    }

    /// Sends what is not on its way yet.
    fn start(&self, result: &BuildResult, env: &Env) {
        for layer in &result.image.layers {
            self.send(&layer.blob, None, env);
        }
        self.send(&result.config, None, env);
    }

    /// Sends all that is not there.
    fn send_all(&self, result: &BuildResult, env: &Env) -> Result<(), BuildError> {
        self.start(result, env);
        let missing = self.join(env)?;
        // Of base images whose files nobody wanted, for a registry that they are not on.
        let wanted = |layer: &&Layer| missing.contains(&layer.blob.digest);
        for layer in result.image.layers.iter().filter(wanted) {
            let is_layout = |origin: &Origin| matches!(origin, Origin::Layout(_));
            if env.store.origins(&layer.blob.digest)?.iter().any(is_layout) {
                layers::fetch(std::slice::from_ref(layer), env)?;
            }
            let (shared, blob) = (Arc::clone(&self.shared), layer.blob.clone());
            let task = env.runtime.spawn(async move { shared.pass_on(&blob).await });
            self.tasks().insert(layer.blob.digest.clone(), task);
        }
        match self.join(env)?.first() {
            Some(digest) => Err(StoreError::from(BlobError::Missing(digest.clone())).into()),
            None => Ok(()),
        }
    }

    /// Waits until all is sent; gives what is neither there nor here.
    fn join(&self, env: &Env) -> Result<Vec<Digest>, BuildError> {
        let name = self.shared.name.to_string();
        let fail = |source| BuildError::Push { name: name.clone(), source: Box::new(source) };
        let tasks = std::mem::take(&mut *self.tasks());
        let mut missing = Vec::new();
        for (digest, task) in tasks {
            let done = env.runtime.block_on(async {
                tokio::select! {
                    done = task => Some(done),
                    () = until_cancelled(env) => None,
                }
            });
            match done {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(RegistryError::Store(error)))) if error.is_missing_blob() => {
                    missing.push(digest);
                }
                Some(Ok(Err(error))) => return Err(fail(error)),
                Some(Err(_)) => {
                    return Err(BuildError::Internal(format!("the push of {digest} ended")));
                }
                None => return Err(BuildError::Interrupted),
            }
        }
        Ok(missing)
    }

    /// Names the image.
    fn put(&self, result: &BuildResult, env: &Env) -> Result<(), BuildError> {
        let name = self.shared.name.to_string();
        let fail = |source| BuildError::Push { name: name.clone(), source: Box::new(source) };
        let bytes = env.store.read_document(&result.manifest.digest)?;
        env.runtime.block_on(async {
            tokio::select! {
                done = self.put_names(result, &bytes) => done.map_err(fail),
                () = until_cancelled(env) => Err(BuildError::Interrupted),
            }
        })?;
        for blob in result.image.layers.iter().map(|layer| &layer.blob).chain([&result.config]) {
            let repository = self.shared.name.repository().clone();
            env.store.add_origin(&blob.digest, &Origin::Pushed(repository))?;
        }
        Ok(())
    }

    async fn put_names(&self, result: &BuildResult, bytes: &[u8]) -> Result<(), RegistryError> {
        let manifest = &result.manifest;
        let before = self.shared.before().await;
        for name in &self.names {
            // Steps take their time, in which the name may have got another image.
            let is_it = result.cached == result.steps
                && before.manifest.as_ref() == Some(&manifest.digest)
                && *name == self.shared.name;
            if is_it {
                continue;
            }
            self.shared.client.push_manifest(name, &manifest.media_type, bytes).await?;
        }
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        for task in self.tasks().values() {
            task.abort();
        }
    }
}

impl Shared {
    /// The image that has the name now. Where it cannot be had, whatever the reason, each
    /// blob is asked for by itself.
    async fn before(&self) -> &Before {
        self.before
            .get_or_init(|| async {
                let Ok(fetched) = self.client.pushed_manifest(&self.name).await else {
                    return Before::default();
                };
                let manifest = Some(fetched.descriptor.digest);
                let blobs = match fetched.document {
                    Document::Manifest(manifest) => {
                        let layers = manifest.layers.into_iter().map(|layer| layer.digest);
                        layers.chain([manifest.config.digest]).collect()
                    }
                    Document::Index(_) => BTreeSet::new(),
                };
                Before { manifest, blobs }
            })
            .await
    }

    /// Fetches a blob from where it is and sends it on while it arrives.
    async fn pass_on(&self, blob: &Descriptor) -> Result<(), RegistryError> {
        let repository = self.name.repository();
        let mut failed = None;
        for origin in self.store.origins(&blob.digest)? {
            if self.store.has_blob(blob) {
                break;
            }
            let Some(from) = origin.repository() else { continue };
            let writer = self.store.blob_writer(Some(blob))?;
            let follower = writer.follow()?;
            let (pulled, pushed) = tokio::join!(
                self.client.pull_into(from, blob, writer, None),
                self.client.push_arriving(repository, blob, follower, None),
            );
            match (pulled, pushed) {
                (Ok(()), Ok(())) => return Ok(()),
                // It is here now.
                (Ok(()), Err(_)) => break,
                (Err(error), _) => failed = Some(error),
            }
        }
        if let (Some(error), false) = (failed, self.store.has_blob(blob)) {
            return Err(error);
        }
        self.client.push_blob(repository, blob, &self.store, None, None).await.map(|_| ())
    }

    async fn send(&self, blob: &Descriptor, step: Option<u32>) -> Result<(), RegistryError> {
        let doubts = self.doubts.load(Ordering::Relaxed);
        if !doubts && self.before().await.blobs.contains(&blob.digest) {
            return Ok(());
        }
        let repository = self.name.repository();
        let origins = self.store.origins(&blob.digest)?;
        let mut places = origins.iter().filter_map(Origin::repository);
        let from = places.clone().find(|other| *other == repository);
        let from = from.or_else(|| places.find(|other| other.host() == repository.host()));
        self.client.push_blob(repository, blob, &self.store, from, step).await?;
        Ok(())
    }
}

/// Ends when the build is cancelled.
pub(super) async fn until_cancelled(env: &Env) {
    while !env.cancellation.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
