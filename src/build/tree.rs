//! The files of a stage on disk: stacked by overlay, or copied.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use super::base::Layer;
use super::{BuildError, Env, layers};
use crate::image::Descriptor;
use crate::layer::{Compression, LayerWriter, TarWriter};
use crate::report::{Event, Phase, Sink, Transfer, TransferKind, transfer};
use crate::rootfs::{Ledger, Overlay, Owners, Upper};
use crate::sandbox::Mount;
use crate::snapshot::{Counts, Index, Times};
use crate::store::BlobWriter;

/// Whether trees are stacked by the kernel or copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlays {
    /// Stacked.
    Possible,
    /// Copied; why.
    Impossible(String),
}

impl Overlays {
    /// Tries an overlay in `scratch`, a directory of the store's file system.
    pub fn detect(scratch: &Path) -> Self {
        let attempt = || -> io::Result<()> {
            let dir = |name: &str| {
                let path = scratch.join(name);
                fs::create_dir_all(&path).map(|()| path)
            };
            let (lower, upper, work) = (dir("lower")?, dir("upper")?, dir("work")?);
            let dirs = Upper { upper: &upper, work: &work };
            Overlay::mount(&[lower], Some(dirs), &dir("merged")?).map(drop)
        };
        match attempt() {
            Ok(()) => Self::Possible,
            Err(error) => Self::Impossible(format!(
                "overlay cannot be mounted in the store ({error}), so trees are copied; \
                 it wants a private mount namespace and a store on ext4, xfs, btrfs or tmpfs (--root)"
            )),
        }
    }
}

/// A stage's files.
#[derive(Debug)]
pub(super) struct Tree {
    /// What becomes of the times of files that steps make.
    times: Times,
    /// The step for which layers are put on disk and written.
    pub(super) step: Option<u32>,
    /// How many of the lowest layers are left out.
    pub(super) unseen: usize,
    /// With overlay: where it is mounted.
    mount_point: Option<PathBuf>,
    /// Without overlay: the copy.
    copied: Option<Copied>,
}

#[derive(Debug)]
struct Copied {
    path: PathBuf,
    /// How many layers are in it.
    applied: usize,
    ledger: Ledger,
}

/// What a step made of the tree.
#[derive(Debug)]
pub(super) enum Changed {
    /// It is all in this directory, owners but for what this ledger notes.
    Upper(PathBuf, Ledger),
    /// It is found by comparing with this.
    Indexed(Index),
}

impl Tree {
    pub(super) fn new(times: Times) -> Self {
        Self { times, step: None, unseen: 0, mount_point: None, copied: None }
    }

    /// Shows the files of `layers` to `action`, which may change them; `bottom` is what
    /// is there besides.
    pub(super) fn change<T>(
        &mut self,
        layers: &[Layer],
        bottom: Bottom<'_>,
        env: &Env,
        action: impl FnOnce(&Path, Owners<'_>) -> Result<T, BuildError>,
    ) -> Result<(T, Changed), BuildError> {
        self.enter(Phase::Prepare, env);
        let layers = layers.get(self.unseen..).unwrap_or_default();
        if env.overlays != Overlays::Possible {
            let path = self.copy_of(layers, env)?.path.clone();
            let mut index = Index::take(&path).map_err(io_error("read", &path))?;
            let noted = Ledger::new(&path).map_err(io_error("open", &path))?;
            self.enter(Phase::Run, env);
            let done = action(&path, env.owners(&noted))?;
            let root = crate::fs::open_dir(&path).map_err(io_error("open", &path))?;
            let copied = self.copied()?;
            copied.ledger.follow(&noted, |file| index.is_same(&root, file));
            for mount in bottom.mounts() {
                match index.forgive(&path, Path::new(&mount.target)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(io_error("read", &path)(error));
                    }
                    _ => {}
                }
            }
            return Ok((done, Changed::Indexed(index)));
        }
        if let ([], Bottom::Empty) = (layers, bottom) {
            // Nothing to stack: what is made is all that there is.
            let upper = env.store.work().fresh("upper");
            fs::create_dir(&upper).map_err(io_error("create", &upper))?;
            self.prepare_root(layers, None, &upper, env).map_err(io_error("prepare", &upper))?;
            let noted = Ledger::new(&upper).map_err(io_error("open", &upper))?;
            self.enter(Phase::Run, env);
            let done = action(&upper, env.owners(&noted))?;
            return Ok((done, Changed::Upper(upper, noted)));
        }
        let mut lowers = vec![bottom.make(env)?];
        lowers.extend(stack(layers, self.step, env)?);
        let (upper, work) = (env.store.work().fresh("upper"), env.store.work().fresh("work"));
        for path in [&upper, &work] {
            fs::create_dir(path).map_err(io_error("create", path))?;
        }
        let merged = self.mount_point(env)?;
        // What a step before wrote is below this one.
        env.launcher.settle()?;
        self.prepare_root(layers, lowers.last(), &upper, env)
            .map_err(io_error("prepare", &upper))?;
        let overlay = Overlay::mount(&lowers, Some(Upper { upper: &upper, work: &work }), &merged)
            .map_err(io_error("mount an overlay at", &merged))?;
        let noted = Ledger::new(overlay.path()).map_err(io_error("open", overlay.path()))?;
        self.enter(Phase::Run, env);
        let result = action(overlay.path(), env.owners(&noted));
        drop(overlay);
        Ok((result?, Changed::Upper(upper, noted)))
    }

    /// A directory to mount the stage's files at, for one step after the other.
    fn mount_point(&mut self, env: &Env) -> Result<PathBuf, BuildError> {
        if let Some(path) = &self.mount_point {
            return Ok(path.clone());
        }
        let path = env.store.work().fresh("merged");
        fs::create_dir(&path).map_err(io_error("create", &path))?;
        Ok(self.mount_point.insert(path).clone())
    }

    /// Shows the files of `layers` to `action`, which only reads.
    pub(super) fn read<T>(
        &mut self,
        layers: &[Layer],
        env: &Env,
        action: impl FnOnce(&Path, Owners<'_>) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        self.enter(Phase::Prepare, env);
        if env.overlays != Overlays::Possible {
            let copied = self.copy_of(layers, env)?;
            return action(&copied.path, env.owners(&copied.ledger));
        }
        // Without an upper directory the kernel wants two lower ones.
        let mut lowers = vec![Bottom::Empty.make(env)?];
        lowers.extend(stack(layers, self.step, env)?);
        if let [only] = lowers.as_slice() {
            return action(only, env.owners(&Ledger::default()));
        }
        let merged = env.store.work().fresh("read");
        fs::create_dir(&merged).map_err(io_error("create", &merged))?;
        env.launcher.settle()?;
        let overlay = Overlay::mount(&lowers, None, &merged)
            .map_err(io_error("mount an overlay at", &merged))?;
        let ledger = ledger_of(overlay.path(), &distinct(layers), &lowers[1..], env)?;
        action(overlay.path(), env.owners(&ledger))
    }

    /// Writes what a step made as a layer: archive, digests and compression in
    /// one pass. `None` when it changed nothing.
    pub(super) fn commit(
        &mut self,
        changed: &Changed,
        layers: &[Layer],
        compression: Compression,
        env: &Env,
    ) -> Result<Option<Layer>, BuildError> {
        self.enter(Phase::Snapshot, env);
        let layers = layers.get(self.unseen..).unwrap_or_default();
        let (step, times) = (self.step, self.times);
        let layer = write_layer(compression, step, env, |tar| {
            Ok(match changed {
                Changed::Upper(upper, ledger) => {
                    let below = stack(layers, step, env)?;
                    let owners = env.owners(ledger);
                    crate::snapshot::write_upper(upper, &below, times, owners, tar)?
                }
                Changed::Indexed(index) => {
                    let copied = self.copied()?;
                    let owners = env.owners(&copied.ledger);
                    crate::snapshot::write_changes(&copied.path, index, times, owners, tar)?
                }
            })
        })?;
        let Some(layer) = layer else { return Ok(None) };
        match (changed, &mut self.copied) {
            (Changed::Upper(upper, ledger), _) => {
                env.store.put_tree(&layer.diff_id, upper, &ledger.records())?;
            }
            (Changed::Indexed(_), Some(copied)) => copied.applied += 1,
            (Changed::Indexed(_), None) => {}
        }
        Ok(Some(layer))
    }

    /// The root of the upper directory is the root that is seen: it gets what the
    /// topmost layer's has, and a time that is the same every time.
    fn prepare_root(
        &self,
        layers: &[Layer],
        top: Option<&PathBuf>,
        upper: &Path,
        env: &Env,
    ) -> io::Result<()> {
        let upper = crate::fs::open_dir(upper)?;
        let mut mode = Mode::from_raw_mode(0o755);
        if let (false, Some(top)) = (layers.is_empty(), top) {
            let top = crate::fs::open_dir(top)?;
            let stat = rustix::fs::fstat(&top)?;
            mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            let ledger = Ledger::default();
            let owners = env.owners(&ledger);
            // With several ids the owner on disk counts; a record is then a step's own doing.
            let recorded =
                if owners.are_single() { crate::rootfs::recorded_of(&top) } else { None };
            let (uid, gid) = recorded.unwrap_or((stat.st_uid, stat.st_gid));
            crate::rootfs::give(&upper, c".", uid, gid, owners)?;
        }
        rustix::fs::fchmod(&upper, mode)?;
        if let Times::Clamp(epoch) = self.times {
            let time = Timespec { tv_sec: epoch, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::futimens(&upper, &times)?;
        }
        Ok(())
    }

    /// Says what the step does from now on.
    fn enter(&self, phase: Phase, env: &Env) {
        if let Some(step) = self.step {
            env.sink.event(Event::StepPhase { step, phase, waits_for: None });
        }
    }

    fn copied(&mut self) -> Result<&mut Copied, BuildError> {
        let missing = || BuildError::Internal("a copied tree is missing".to_owned());
        self.copied.as_mut().ok_or_else(missing)
    }

    /// The copied tree with all of `layers` in it.
    fn copy_of(&mut self, layers: &[Layer], env: &Env) -> Result<&Copied, BuildError> {
        if self.copied.is_none() {
            let path = env.store.work().fresh("tree");
            fs::create_dir(&path)
                .and_then(|()| set_mode(&path, 0o755))
                .map_err(io_error("create", &path))?;
            let ledger = Ledger::new(&path).map_err(io_error("open", &path))?;
            self.copied = Some(Copied { path, applied: 0, ledger });
        }
        let step = self.step;
        let copied = self.copied()?;
        let missing = &layers[copied.applied..];
        let trees = layers::trees(missing, step, env)?;
        for (layer, tree) in missing.iter().zip(&trees) {
            let ledger =
                ledger_of(tree, std::slice::from_ref(layer), std::slice::from_ref(tree), env)?;
            let owners = env.owners(&copied.ledger);
            crate::rootfs::merge(tree, env.owners(&ledger), &copied.path, owners)?;
            copied.applied += 1;
        }
        Ok(copied)
    }
}

/// An archive that becomes a layer.
pub(super) type Archive<'a> = TarWriter<Counting<'a, LayerWriter<BlobWriter>>>;

/// Writes what `fill` puts into an archive as a layer of `step`; `None` when that is nothing.
pub(super) fn write_layer(
    compression: Compression,
    step: Option<u32>,
    env: &Env,
    fill: impl FnOnce(&mut Archive<'_>) -> Result<Counts, BuildError>,
) -> Result<Option<Layer>, BuildError> {
    let blob = env.store.blob_writer(None)?;
    let inner = LayerWriter::new(blob, compression, &env.pool);
    let mut tar = TarWriter::new(Counting { inner, sink: &env.sink, step, transfer: None });
    if fill(&mut tar)? == Counts::default() {
        return Ok(None);
    }
    let out = tar.finish().map_err(crate::snapshot::SnapshotError::from)?;
    let done = out.inner.finish();
    let (diff_id, blob) = done.map_err(io_error("write a layer to", env.store.root()))?;
    let (digest, size) = blob.finish()?;
    Ok(Some(Layer { diff_id, blob: Descriptor::new(compression.media_type(), digest, size) }))
}

/// Of equal layers the topmost: it does again all that those below it did, and
/// the kernel takes no directory twice.
fn distinct(layers: &[Layer]) -> Vec<Layer> {
    let mut seen = BTreeSet::new();
    let topmost = layers.iter().rev().filter(|layer| seen.insert(&layer.diff_id));
    let mut kept: Vec<Layer> = topmost.cloned().collect();
    kept.reverse();
    kept
}

/// The trees to stack: from the topmost one whose root hides all below it.
fn stack(layers: &[Layer], step: Option<u32>, env: &Env) -> Result<Vec<PathBuf>, BuildError> {
    let layers = distinct(layers);
    let mut trees = layers::trees(&layers, step, env)?;
    for at in (1..trees.len()).rev() {
        if layers::is_opaque(&layers[at], env)? {
            trees.drain(..at);
            break;
        }
    }
    Ok(trees)
}

/// What is noted of the files that the stack `trees`, which may be only of the
/// topmost of `layers`, shows at `root`.
fn ledger_of(
    root: &Path,
    layers: &[Layer],
    trees: &[PathBuf],
    env: &Env,
) -> Result<Ledger, BuildError> {
    let mut ledger = Ledger::new(root).map_err(io_error("open", root))?;
    for (layer, tree) in layers.iter().rev().zip(trees.iter().rev()).rev() {
        let records = env.store.tree_owners(&layer.diff_id)?;
        ledger.add_layer(tree, &records).map_err(io_error("read the owners of", tree))?;
    }
    Ok(ledger)
}

/// What lies below all layers of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bottom<'a> {
    /// Nothing.
    Empty,
    /// The usual mount points and those of these mounts: so they are there for a step
    /// without a trace in its layer.
    MountPoints(&'a [Mount]),
}

impl<'a> Bottom<'a> {
    fn mounts(self) -> &'a [Mount] {
        match self {
            Self::Empty => &[],
            Self::MountPoints(mounts) => mounts,
        }
    }

    /// The directory; those that every step has are made once.
    fn make(self, env: &Env) -> Result<PathBuf, BuildError> {
        let work = env.store.work();
        let is_usual = |mount: &Mount| {
            super::steps::STEP_FILES.contains(&mount.target.as_str())
                || mount.target.starts_with("/dev/")
        };
        let path = match self {
            Self::Empty => work.path().join("empty"),
            Self::MountPoints(mounts) if mounts.iter().all(is_usual) => {
                work.path().join("mount-points")
            }
            Self::MountPoints(_) => work.fresh("mount-points"),
        };
        if path.is_dir() {
            return Ok(path);
        }
        let make = || -> io::Result<()> {
            // Under another name until it is complete: stages may ask at once.
            let fresh = work.fresh("bottom");
            fs::create_dir(&fresh).and_then(|()| set_mode(&fresh, 0o755))?;
            if let Self::MountPoints(mounts) = self {
                let root = crate::fs::open_dir(&fresh)?;
                for name in ["/proc", "/sys", "/dev"] {
                    mount_point(&root, Path::new(name), true)?;
                }
                for mount in mounts.iter().filter(|mount| !mount.target.starts_with("/dev/")) {
                    mount_point(&root, Path::new(&mount.target), mount.is_dir())?;
                }
            }
            match fs::rename(&fresh, &path) {
                Err(error) if !path.is_dir() => Err(error),
                _ => Ok(()),
            }
        };
        make().map_err(io_error("create", &path))?;
        Ok(path)
    }
}

fn mount_point(root: &OwnedFd, path: &Path, is_dir: bool) -> io::Result<()> {
    let parent = if is_dir { path } else { path.parent().unwrap_or(path) };
    let bits = Mode::from_raw_mode(0o755);
    let made = match crate::fs::create_dir_all_in_root(root, parent, bits) {
        // Within a file that another mount shows: it is said when that is mounted.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        other => other?,
    };
    for dir in &made.created {
        rustix::fs::chmodat(root, dir, bits, AtFlags::empty())?;
    }
    if let (false, Some(name)) = (is_dir, path.file_name()) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let bits = Mode::from_raw_mode(0o644);
        let file = rustix::fs::openat(&made.fd, name, flags, bits)?;
        rustix::fs::fchmod(file, bits)?;
    }
    Ok(())
}

/// Whatever the builder's umask is.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::Io { action, path: path.to_owned(), source }
}

/// Reports what passes through, from the first byte on: a step that changed
/// nothing has no layer to tell of.
pub(super) struct Counting<'a, W> {
    inner: W,
    sink: &'a Arc<dyn Sink>,
    step: Option<u32>,
    transfer: Option<Transfer>,
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.transfer
            .get_or_insert_with(|| {
                transfer(self.sink, TransferKind::Compress, "layer", None, self.step)
            })
            .advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
