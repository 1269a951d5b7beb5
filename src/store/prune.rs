//! Getting rid of what the store holds.
//!
//! What a named image needs stays until its name goes. Everything else has a time at which
//! it was last used: the files of remembered steps and the ids of cache mounts are
//! touched at each use, by [`Store::step`] and [`Store::cache`]. A blob or tree goes with the last
//! remembered step that names it in its record; what no step names is as old as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::FlockOperation;
use serde_json::Value;

use super::choose::{self, Item, Limits, Part};
use super::usage::{cache_usage, changed, disk_size, list};
use super::{Store, StoreError, tree};
use crate::image::{Descriptor, Digest, Document, ImageConfig};

/// What to remove: of all that no named image needs, what every field allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The named images have no names any more.
    pub images: bool,
    /// Cache mounts only: those with these ids, or all if none is given.
    pub caches: Option<BTreeSet<String>>,
    /// Only what was not used since.
    pub used_before: Option<SystemTime>,
    /// The least recently used, until what is selected from is no larger than this.
    pub keep: Option<u64>,
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub trees: usize,
    /// Remembered steps.
    pub steps: usize,
    /// Cache mounts.
    pub caches: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes on disk of what was selected from and is still there.
    pub kept: u64,
    /// Why unpacked layers are left: one error for each. Their files belong to ids
    /// that this process does not have; one that has them removes them.
    pub left: Vec<StoreError>,
}

/// What may be removed, and what is chosen of it.
#[derive(Default)]
struct Plan {
    items: Vec<Item>,
    /// Where the items are.
    places: Vec<Place>,
    parts: Vec<Part>,
    /// Where the parts are: a blob and what is known of it, or the trees of a layer for
    /// each mapping of ids.
    part_paths: Vec<Vec<PathBuf>>,
    /// The trees of other boots.
    old: Vec<PathBuf>,
    closed: Vec<StoreError>,
}

enum Place {
    Step(PathBuf),
    Cache(PathBuf),
    /// It has parts only.
    Nowhere,
}

impl Store {
    /// Removes what is selected. Takes the store for itself: fails with
    /// [`StoreError::Busy`] when another process uses it.
    pub fn prune(self, selection: &Selection) -> Result<Pruned, StoreError> {
        let lock = &self.inner.lock;
        rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Busy(self.root().to_owned()))?;
        if selection.images {
            self.forget_names()?;
        }
        let mut pruned =
            self.sweep(selection, &mut |path, bytes, pruned| self.remove(path, bytes, pruned))?;
        for dir in list(&self.trees())? {
            if !tree::is_of_this_boot(&dir) {
                // Unless something is left in it.
                let _ = fs::remove_dir(&dir);
            }
        }
        // Their number is bounded anyhow, and they are small.
        if selection == &(Selection { images: selection.images, ..Selection::default() }) {
            pruned.bytes += self.forget_contexts()?;
        }
        Ok(pruned)
    }

    /// What [`Store::prune`] would remove now.
    pub fn prunable(&self, selection: &Selection) -> Result<Pruned, StoreError> {
        self.sweep(selection, &mut |_, bytes, pruned| {
            pruned.bytes += bytes;
            Ok(true)
        })
    }

    /// Chooses, and gives each file and directory to `remove`, with its size.
    fn sweep(
        &self,
        selection: &Selection,
        remove: &mut dyn FnMut(&Path, u64, &mut Pruned) -> Result<bool, StoreError>,
    ) -> Result<Pruned, StoreError> {
        let mut plan = self.plan(selection)?;
        let limits = Limits { used_before: selection.used_before, keep: selection.keep };
        let chosen = choose::choose(&plan.items, &plan.parts, limits);
        let mut pruned = Pruned { kept: chosen.left, ..Pruned::default() };
        pruned.left.append(&mut plan.closed);
        for path in &plan.old {
            pruned.trees += usize::from(remove(path, disk_size(path), &mut pruned)?);
        }
        for number in chosen.items {
            let bytes = plan.items[number].bytes;
            match &plan.places[number] {
                Place::Step(path) => {
                    pruned.steps += usize::from(remove(path, bytes, &mut pruned)?);
                }
                Place::Cache(path) => {
                    if remove(path, bytes, &mut pruned)? {
                        pruned.caches += 1;
                        for beside in ["id", "lock"].map(|name| path.with_extension(name)) {
                            if beside.exists() {
                                remove(&beside, 0, &mut pruned)?;
                            }
                        }
                    }
                }
                Place::Nowhere => {}
            }
        }
        for part in chosen.parts {
            for path in &plan.part_paths[part] {
                let removed = remove(path, disk_size(path), &mut pruned)?;
                if path.starts_with(self.blobs()) {
                    pruned.blobs += usize::from(removed);
                } else if path.starts_with(self.trees()) {
                    pruned.trees += usize::from(removed);
                }
            }
        }
        if selection.caches.is_some() {
            return Ok(pruned);
        }
        // After the trees; a kill in between, here or in a build, leaves some without one.
        for path in self.layer_paths()?.0 {
            if tree::is_owners(&path) && !path.with_extension("").is_dir() {
                remove(&path, disk_size(&path), &mut pruned)?;
            }
        }
        Ok(pruned)
    }

    /// Removes a file, or a directory with all that is in it, if its files' ids allow it.
    fn remove(&self, path: &Path, bytes: u64, pruned: &mut Pruned) -> Result<bool, StoreError> {
        if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            fs::remove_file(path).map_err(StoreError::io("remove", path))?;
            pruned.bytes += bytes;
            return Ok(true);
        }
        // Out of its place first: half a tree, which a kill or files of other ids
        // leave, waits in the work directory for who can remove it.
        let doomed = self.work().fresh("doomed");
        let moved = fs::rename(path, &doomed).map_err(StoreError::io("remove", path));
        Ok(match moved.and_then(|()| tree::remove(&doomed)) {
            Ok(()) => {
                pruned.bytes += bytes;
                true
            }
            Err(error) => {
                pruned.left.push(error);
                false
            }
        })
    }

    /// Lists what the selection may take, with what belongs together.
    fn plan(&self, selection: &Selection) -> Result<Plan, StoreError> {
        let mut plan = Plan::default();
        let (cache_paths, closed) = self.cache_paths()?;
        plan.closed.extend(closed);
        for path in cache_paths {
            let usage = cache_usage(&path);
            let wanted = selection
                .caches
                .as_ref()
                .is_none_or(|ids| ids.is_empty() || ids.contains(&usage.id));
            if wanted {
                let item =
                    Item { used: usage.used, made: usage.used, bytes: usage.bytes, needs: vec![] };
                plan.add(item, Place::Cache(path));
            }
        }
        if selection.caches.is_some() {
            return Ok(plan);
        }
        let mut blobs = BTreeSet::new();
        let mut trees = BTreeSet::new();
        if !selection.images {
            for named in self.named()? {
                self.mark(&named.manifest, &mut blobs, &mut trees);
            }
        }
        let mut blob_parts: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for path in self.blob_paths()? {
            let part = Part { bytes: disk_size(&path), kept: blobs.contains(&path) };
            blob_parts.insert(path.clone(), plan.add_part(part, path));
        }
        // Those of named images are kept, whether the blob is here or not.
        let kept: BTreeSet<&OsStr> = blobs.iter().filter_map(|blob| blob.file_name()).collect();
        let by_name: BTreeMap<&OsStr, usize> =
            blob_parts.iter().filter_map(|(blob, part)| Some((blob.file_name()?, *part))).collect();
        for path in list(&self.root().join("yado/origins"))? {
            let name = path.file_name().unwrap_or_default();
            match by_name.get(name) {
                _ if kept.contains(name) => {}
                Some(part) => plan.part_paths[*part].push(path),
                None => {
                    plan.add_part(Part { bytes: 0, kept: false }, path);
                }
            }
        }
        let mut tree_parts: BTreeMap<OsString, usize> = BTreeMap::new();
        let (tree_paths, closed) = self.tree_paths()?;
        plan.closed.extend(closed);
        for path in tree_paths {
            if !path.parent().is_some_and(tree::is_of_this_boot) {
                plan.old.push(path);
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_owned();
            let bytes = disk_size(&path);
            if let Some(part) = tree_parts.get(&name) {
                plan.parts[*part].bytes += bytes;
                plan.part_paths[*part].push(path);
            } else {
                let part = Part { bytes, kept: trees.contains(&name) };
                tree_parts.insert(name, plan.add_part(part, path));
            }
        }
        let mut needed = BTreeSet::new();
        for path in list(&self.steps())? {
            let mut digests = Vec::new();
            if let Some(record) =
                fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
            {
                collect(&record, &mut digests);
            }
            let parts = digests.iter().flat_map(|digest| {
                let tree = tree_parts.get(&OsString::from(digest.hex()));
                [blob_parts.get(&self.blob_path(digest)), tree]
            });
            let needs: BTreeSet<usize> = parts.flatten().copied().collect();
            needed.extend(needs.iter().copied());
            let metadata = fs::metadata(&path).map_err(StoreError::io("read", &path))?;
            let used = metadata.modified().map_err(StoreError::io("read", &path))?;
            let made = metadata.created().unwrap_or(used);
            plan.add(
                Item { used, made, bytes: 0, needs: needs.into_iter().collect() },
                Place::Step(path),
            );
        }
        for part in 0..plan.parts.len() {
            if !plan.parts[part].kept && !needed.contains(&part) {
                let used = plan.part_paths[part].iter().map(|path| changed(path)).max();
                let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
                plan.add(Item { used, made: used, bytes: 0, needs: vec![part] }, Place::Nowhere);
            }
        }
        Ok(plan)
    }

    /// Notes what an image needs; what cannot be read needs nothing.
    fn mark(
        &self,
        descriptor: &Descriptor,
        blobs: &mut BTreeSet<PathBuf>,
        trees: &mut BTreeSet<OsString>,
    ) {
        if !blobs.insert(self.blob_path(&descriptor.digest)) {
            return;
        }
        let Ok(bytes) = self.read_document(&descriptor.digest) else { return };
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Index(index)) => {
                for manifest in &index.manifests {
                    self.mark(manifest, blobs, trees);
                }
            }
            Ok(Document::Manifest(manifest)) => {
                blobs.insert(self.blob_path(&manifest.config.digest));
                blobs.extend(manifest.layers.iter().map(|layer| self.blob_path(&layer.digest)));
                let config = self
                    .read_document(&manifest.config.digest)
                    .ok()
                    .and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok());
                let diff_ids = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
                trees.extend(diff_ids.into_iter().map(|id| OsString::from(id.0.hex())));
            }
            Err(_) => {}
        }
    }
}

impl Plan {
    fn add(&mut self, item: Item, place: Place) {
        self.items.push(item);
        self.places.push(place);
    }

    fn add_part(&mut self, part: Part, path: PathBuf) -> usize {
        self.parts.push(part);
        self.part_paths.push(vec![path]);
        self.parts.len() - 1
    }
}

/// The digests that stand anywhere in a record.
fn collect(value: &Value, digests: &mut Vec<Digest>) {
    match value {
        Value::String(text) => digests.extend(text.parse::<Digest>().ok()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, digests)),
        Value::Object(values) => values.values().for_each(|value| collect(value, digests)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
