//! Cache mounts: found in the store, waited for, and filled when they are new.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Gid, Uid};

use super::copy::source_layers;
use super::mounts::{inside, local, make_dir, owner};
use super::stage::Context;
use super::steps;
use super::tree::Tree;
use super::{BuildError, Env};
use crate::cache::Key;
use crate::dockerfile::Sharing;
use crate::plan::{Mount, MountKind, Seed};
use crate::report::Event;
use crate::rootfs::{CopyRequest, Filter, Include, Ledger, Origin, Owners, Source};
use crate::sandbox::{Identity, View};
use crate::snapshot::Times;
use crate::store::{Cache, CacheAccess};

/// How long a cache that another has is left alone before it is asked for again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The caches of one step, by id and name of the seed.
#[derive(Default)]
pub(super) struct Caches(BTreeMap<(String, String), Cache>);

impl Caches {
    /// Takes all that `mounts` name into use: each once, and in one order in every build,
    /// so that no two wait for each other.
    pub(super) fn open(mounts: &[Mount], context: &Context<'_>) -> Result<Self, BuildError> {
        let in_place = context.env.isolation.view == View::Namespaces;
        let mut wanted: BTreeMap<(String, String), (&Seed, CacheAccess)> = BTreeMap::new();
        for mount in mounts {
            let MountKind::Cache { id, seed, sharing, read_only } = &mount.kind else { continue };
            let access = match sharing {
                // What cannot be mounted is moved to the step, so others would miss it.
                Sharing::Shared if !in_place => CacheAccess::Locked,
                Sharing::Shared => CacheAccess::Shared,
                Sharing::Private => CacheAccess::Private,
                Sharing::Locked => CacheAccess::Locked,
            };
            if !in_place && *read_only {
                return Err(BuildError::Unsupported(format!(
                    "the cache mount {id} cannot be read-only in a chroot, which mounts nothing"
                )));
            }
            let key = (id.clone(), seed_name(seed, context)?);
            if let Some((_, before)) = wanted.get_mut(&key) {
                if !in_place {
                    return Err(BuildError::Unsupported(format!(
                        "the cache mount {id} cannot be at two places in a chroot, which mounts nothing"
                    )));
                }
                *before = (*before).max(access);
            } else {
                wanted.insert(key, (seed, access));
            }
        }
        let mut caches = Self::default();
        for ((id, name), (seed, access)) in wanted {
            let cache = open(&id, &name, seed, access, context)?;
            caches.0.insert((id, name), cache);
        }
        Ok(caches)
    }

    /// Where the cache of `id` and `seed` is.
    pub(super) fn path(
        &self,
        id: &str,
        seed: &Seed,
        context: &Context<'_>,
    ) -> Result<PathBuf, BuildError> {
        let cache = self.0.get(&(id.to_owned(), seed_name(seed, context)?));
        // Files of a context may have changed since.
        let missing = || crate::context::ContextError::Changed;
        Ok(cache.ok_or_else(missing)?.path().to_owned())
    }
}

/// The cache of `id` and the seed's `name`, made if there is none.
fn open(
    id: &str,
    name: &str,
    seed: &Seed,
    access: CacheAccess,
    context: &Context<'_>,
) -> Result<Cache, BuildError> {
    let env = context.env;
    let mut waiting = false;
    let cache = loop {
        env.check_cancelled()?;
        if let Some(cache) = env.store.cache(id, name, access)? {
            break cache;
        }
        if !waiting {
            waiting = true;
            let message =
                format!("waiting for the cache mount {id}, which another step or build uses");
            env.sink.event(Event::Note { message });
        }
        std::thread::sleep(PATIENCE);
    };
    if cache.is_there()? {
        return Ok(cache);
    }
    let made = env.store.work().fresh("cache");
    let fail = |source| BuildError::Io { action: "prepare", path: made.clone(), source };
    match seed {
        Seed::Empty(attributes) => {
            make_dir(&made, attributes.mode)?;
            let (uid, gid) = owner(*attributes, env);
            let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(CWD, &made, user, group, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| fail(e.into()))?;
        }
        Seed::Files { from, source } => {
            if let Some(files) = local(from, context)? {
                let copied = files.copy(source, env)?;
                fs::rename(&copied.path, &made).map_err(fail)?;
            } else {
                let layers = source_layers(from, context)?;
                Tree::new(Times::Keep).read(layers, env, |root, owners| {
                    copy_tree(&inside(root, source)?, owners, &made, env)
                })?;
            }
        }
    }
    env.store.put_cache(&cache, &made)?;
    Ok(cache)
}

/// What tells caches with different seeds apart.
pub(super) fn seed_name(seed: &Seed, context: &Context<'_>) -> Result<String, BuildError> {
    Ok(match seed {
        Seed::Empty(attributes) => format!("{attributes:?}"),
        Seed::Files { from, source } => {
            let mut name = Key::new([]);
            name.field("source", source);
            if let Some(files) = local(from, context)? {
                name.field("content", files.digest(source, context)?.as_str());
            } else {
                let layers = source_layers(from, context)?;
                name.list("from", layers.iter().map(|layer| layer.diff_id.0.as_str()));
            }
            name.finish().to_string()
        }
    })
}

/// Copies the directory `from` of a stage's tree to the new directory `to`.
fn copy_tree(from: &Path, from_owners: Owners<'_>, to: &Path, env: &Env) -> Result<(), BuildError> {
    let fail = |source| BuildError::Io { action: "read", path: from.to_owned(), source };
    let stat = rustix::fs::stat(from).map_err(|e| fail(e.into()))?;
    make_dir(to, stat.st_mode & 0o7777)?;
    if env.isolation.identity != Identity::Single {
        let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::chown(to, Some(user), Some(group)).map_err(|e| fail(e.into()))?;
    }
    let ledger = Ledger::new(to).map_err(fail)?;
    let root = steps::open(from)?;
    let origin = Origin {
        root: &root,
        owners: from_owners,
        owner: None,
        mtime: None,
        xattrs: true,
        hard_links: true,
    };
    let include: Filter<'_> = Box::new(|_, _| Include::Yes);
    let request = CopyRequest {
        sources: vec![Source::Path { origin, path: PathBuf::from("."), include, unpack: false }],
        destination: Path::new("/"),
        destination_is_directory: true,
        owner: None,
        chmod: None,
        owners: env.owners(&ledger),
    };
    crate::rootfs::copy(&steps::open(to)?, request)?;
    Ok(())
}
