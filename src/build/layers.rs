//! Layers of images and stages: their blobs in the store, their trees on disk.
//!
//! A layer is fetched when its bytes are wanted and not before, from one of the places
//! that the store knows of it. Wanted as files it is unpacked while it arrives, each layer
//! into a directory of its own, several at once; two stages that want the same one do
//! it once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::base::Layer;
use super::schedule::Once;
use super::tree::{io_error, set_mode};
use super::{BuildError, Env, layout, push};
use crate::image::DiffId;
use crate::report::{Transfer, TransferKind, transfer};
use crate::rootfs::{Ledger, UnpackOptions};
use crate::store::{BlobError, BlobWriter, Origin, StoreError};

/// How many layers are fetched or unpacked at a time; fetching is waiting.
const AT_ONCE: usize = 6;

/// What is known of the trees of layers while the process runs: the store keeps them as long.
#[derive(Debug, Default)]
pub struct Trees {
    /// Those that are being made.
    busy: Once<DiffId>,
    /// Those that are there, and whether the root hides all that is below it.
    opaque: Mutex<BTreeMap<DiffId, bool>>,
}

impl Trees {
    fn known(&self) -> MutexGuard<'_, BTreeMap<DiffId, bool>> {
        self.opaque.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the root of a layer's tree, which is there, hides all that is below it: the kernel
/// does not look at the mark on a layer's root itself.
pub(super) fn is_opaque(layer: &Layer, env: &Env) -> Result<bool, BuildError> {
    if let Some(known) = env.trees.known().get(&layer.diff_id) {
        return Ok(*known);
    }
    let path = env.store.tree_path(&layer.diff_id);
    let root = crate::fs::open_dir(&path).map_err(io_error("open", &path))?;
    let opaque = crate::rootfs::is_opaque(&root).map_err(io_error("read", &path))?;
    env.trees.known().insert(layer.diff_id.clone(), opaque);
    Ok(opaque)
}

/// The trees of layers, for `step`; those that are not there are made.
pub(super) fn trees(
    layers: &[Layer],
    step: Option<u32>,
    env: &Env,
) -> Result<Vec<PathBuf>, BuildError> {
    let is_missing = |layer: &&Layer| {
        !env.trees.known().contains_key(&layer.diff_id) && env.store.tree(&layer.diff_id).is_none()
    };
    each(layers.iter().filter(is_missing).collect(), env, |layer| unpack(layer, step, env))?;
    Ok(layers.iter().map(|layer| env.store.tree_path(&layer.diff_id)).collect())
}

/// Takes the blobs of layers into the store.
pub(super) fn fetch(layers: &[Layer], env: &Env) -> Result<(), BuildError> {
    let is_missing = |layer: &&Layer| !env.store.has_blob(&layer.blob);
    each(layers.iter().filter(is_missing).collect(), env, |layer| {
        let _alone = env.trees.busy.hold(&layer.diff_id, env)?;
        if env.store.has_blob(&layer.blob) {
            return Ok(());
        }
        from_origins(layer, env, |origin| match origin {
            Origin::Layout(path) => layout::copy_blob(path, &layer.blob, env),
            Origin::Repository(_) | Origin::Pushed(_) => {
                pull(layer, origin, begin(layer, env)?, None, env)
            }
        })
    })
}

/// Does something with each of `layers`, several at once; gives the first error.
fn each(
    layers: Vec<&Layer>,
    env: &Env,
    action: impl Fn(&Layer) -> Result<(), BuildError> + Sync,
) -> Result<(), BuildError> {
    let threads = layers.len().min(AT_ONCE);
    let queue = Mutex::new(layers.into_iter());
    let failure = Mutex::new(None);
    let work = || {
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.next());
            let Some(layer) = next else { return };
            if failure.lock().is_ok_and(|failure| failure.is_some()) {
                return;
            }
            let done = env.check_cancelled().and_then(|()| action(layer));
            if let (Err(error), Ok(mut failure)) = (done, failure.lock()) {
                failure.get_or_insert(error);
                return;
            }
        }
    };
    match threads {
        0 => {}
        1 => work(),
        _ => std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        }),
    }
    failure.into_inner().ok().flatten().map_or(Ok(()), Err)
}

/// Tries the places of a blob until one gives it.
fn from_origins(
    layer: &Layer,
    env: &Env,
    mut attempt: impl FnMut(&Origin) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let digest = &layer.blob.digest;
    let mut last = StoreError::from(BlobError::Missing(digest.clone())).into();
    for origin in env.store.origins(digest)? {
        env.check_cancelled()?;
        match attempt(&origin) {
            Ok(()) => return Ok(()),
            Err(BuildError::Interrupted) => return Err(BuildError::Interrupted),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn begin(layer: &Layer, env: &Env) -> Result<BlobWriter, BuildError> {
    Ok(env.store.blob_writer(Some(&layer.blob))?)
}

/// Fetches a blob from a registry.
fn pull(
    layer: &Layer,
    origin: &Origin,
    writer: BlobWriter,
    step: Option<u32>,
    env: &Env,
) -> Result<(), BuildError> {
    let Some(repository) = origin.repository() else { return Ok(()) };
    let fail = |source| BuildError::Pull {
        name: format!("{repository} (layer {})", layer.blob.digest.short()),
        source: Box::new(source),
    };
    env.runtime.block_on(async {
        tokio::select! {
            done = env.client.pull_into(repository, &layer.blob, writer, step) => done.map_err(fail),
            () = push::until_cancelled(env) => Err(BuildError::Interrupted),
        }
    })
}

fn unpack(layer: &Layer, step: Option<u32>, env: &Env) -> Result<(), BuildError> {
    let _alone = env.trees.busy.hold(&layer.diff_id, env)?;
    if env.store.tree(&layer.diff_id).is_some() {
        return Ok(());
    }
    if !env.store.has_blob(&layer.blob) {
        from_origins(layer, env, |origin| match origin {
            Origin::Layout(path) => layout::copy_blob(path, &layer.blob, env),
            Origin::Repository(_) | Origin::Pushed(_) => pull_and_unpack(layer, origin, step, env),
        })?;
        if env.store.tree(&layer.diff_id).is_some() {
            return Ok(());
        }
    }
    let unpacked = unpack_from(env.store.open_blob(&layer.blob.digest)?, layer, step, env);
    if unpacked.is_err() {
        // Perhaps the blob is not any more what was pulled; then that is the error.
        env.store.verified_blob(&layer.blob.digest)?.finish()?;
    }
    unpacked
}

/// Unpacks a layer while it is fetched. If only the unpacking fails, the layer is there
/// afterwards and its tree is not.
fn pull_and_unpack(
    layer: &Layer,
    origin: &Origin,
    step: Option<u32>,
    env: &Env,
) -> Result<(), BuildError> {
    let writer = begin(layer, env)?;
    let follower = writer.follow()?;
    std::thread::scope(|scope| {
        // Its error is found again, with the blob at hand.
        scope.spawn(|| unpack_from(follower, layer, step, env));
        pull(layer, origin, writer, step, env)
    })
}

fn unpack_from(
    blob: impl Read + Send + 'static,
    layer: &Layer,
    step: Option<u32>,
    env: &Env,
) -> Result<(), BuildError> {
    let fail = |source| BuildError::Unpack { layer: layer.diff_id.0.short().to_owned(), source };
    let name = layer.blob.digest.short();
    let transfer = transfer(&env.sink, TransferKind::Unpack, name, Some(layer.blob.size), step);
    let counted = CountingReader { inner: BufReader::with_capacity(128 * 1024, blob), transfer };
    let (_, archive) = crate::layer::open(counted)
        .map_err(io_error("read", &env.store.blob_path(&layer.blob.digest)))?;
    let dir = env.store.work().fresh("layer");
    // A layer need not have an entry for its root.
    fs::create_dir(&dir).and_then(|()| set_mode(&dir, 0o755)).map_err(io_error("create", &dir))?;
    let target = crate::fs::open_dir(&dir).map_err(io_error("open", &dir))?;
    let ledger = Ledger::new(&dir).map_err(io_error("open", &dir))?;
    let options = UnpackOptions { owners: env.owners(&ledger) };
    let unpacked = crate::rootfs::unpack(archive, Some(&layer.diff_id), &target, &options);
    if unpacked.is_err() {
        // Another attempt may follow, for which there must be room.
        let _ = crate::fs::remove_path(&dir);
    }
    unpacked.map_err(fail)?;
    env.store.put_tree(&layer.diff_id, &dir, &ledger.records())?;
    Ok(())
}

/// Reports what is read.
struct CountingReader<R> {
    inner: R,
    transfer: Transfer,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.transfer.advance(count as u64);
        Ok(count)
    }
}
