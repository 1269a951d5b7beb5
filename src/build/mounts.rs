//! The mounts of a RUN: what they show is made ready, and taken away after the step.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::agent::AgentSocket;
use super::caches::{self, Caches};
use super::contexts::Opened;
use super::copy::source_layers;
use super::stage::Context;
use super::steps::open;
use super::tree::{Bottom, Tree};
use super::{BuildError, Env};
use crate::cache::Key;
use crate::context;
use crate::image::Digest;
use crate::plan::{Attributes, FileSource, Mount, MountKind};
use crate::report::Event;
use crate::rootfs::{CopyRequest, Filter, Ledger, Origin, Owners, Source};
use crate::sandbox::{self, Content};
use crate::snapshot::Times;

/// What a step gets for its mounts.
#[derive(Default)]
pub(super) struct Prepared {
    /// Parents before what stands in them.
    pub(super) mounts: Vec<sandbox::Mount>,
    /// Variables with secrets, and the place of the first agent's socket.
    pub(super) env: Vec<(String, String)>,
    agents: Vec<AgentSocket>,
    copies: Vec<Copied>,
}

/// Adds to a key all of the mounts that decides what the step makes: not what caches and
/// secrets hold.
pub(super) fn add_to_key(
    key: &mut Key,
    mounts: &[Mount],
    context: &Context<'_>,
) -> Result<(), BuildError> {
    if !mounts.is_empty() && context.env.isolation.view == sandbox::View::Chroot {
        // There nothing is read-only, so a step may come out otherwise.
        key.field("view", "chroot");
    }
    for mount in mounts {
        key.field("mount", mount.target.as_deref().unwrap_or_default());
        match &mount.kind {
            MountKind::Bind { from, source, read_only } => {
                key.field("bind", source).field("read-only", if *read_only { "yes" } else { "" });
                if let Some(files) = local(from, context)? {
                    key.field("content", files.digest(source, context)?.as_str());
                } else {
                    let layers = source_layers(from, context)?;
                    key.list("from", layers.iter().map(|layer| layer.diff_id.0.as_str()));
                }
            }
            MountKind::Cache { id, read_only, seed, .. } => {
                key.field("cache", id)
                    .field("seed", &caches::seed_name(seed, context)?)
                    .field("read-only", if *read_only { "yes" } else { "" });
            }
            MountKind::Tmpfs { size } => {
                key.field("tmpfs", &size.to_string());
            }
            MountKind::Secret { id, env, attributes, .. } => {
                key.field("secret", id)
                    .field("env", env.as_deref().unwrap_or_default())
                    .field("attributes", &format!("{attributes:?}"));
            }
            MountKind::Ssh { id, attributes, .. } => {
                key.field("ssh", id).field("attributes", &format!("{attributes:?}"));
            }
        }
    }
    Ok(())
}

/// Makes the mounts ready and hands them to `action`.
pub(super) fn prepare<T>(
    mounts: &[Mount],
    context: &Context<'_>,
    action: impl FnOnce(&Prepared) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let mut action = Some(action);
    let mut result = None;
    let caches = Caches::open(mounts, context)?;
    add_next(mounts, Prepared::default(), &caches, context, &mut |mut prepared| {
        prepared.mounts.sort_by_key(|mount| mount.target.matches('/').count());
        let Some(action) = action.take() else { return Ok(()) };
        result = Some(action(&prepared)?);
        Ok(())
    })?;
    result.ok_or_else(|| BuildError::Internal("the mounts were not made ready".to_owned()))
}

/// Adds the first mount and goes on with the rest, as trees of stages are there only
/// while someone looks at them.
fn add_next(
    mounts: &[Mount],
    mut prepared: Prepared,
    caches: &Caches,
    context: &Context<'_>,
    action: &mut dyn FnMut(Prepared) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let Some((mount, rest)) = mounts.split_first() else { return action(prepared) };
    let env = context.env;
    let target = mount.target.clone().unwrap_or_default();
    match &mount.kind {
        MountKind::Bind { from, source, read_only } => {
            if let Some(files) = local(from, context)? {
                let copied = files.copy(source, env)?;
                let shown = Content::Own(copied.path.clone());
                prepared.mounts.push(sandbox::Mount {
                    target,
                    content: shown,
                    read_only: *read_only,
                });
                prepared.copies.push(copied);
            } else {
                let layers = source_layers(from, context)?;
                let mut tree = Tree::new(Times::Keep);
                tree.step = Some(context.step);
                let go_on = |root: &Path| {
                    let shown = Content::Own(inside(root, source)?);
                    let mut prepared = std::mem::take(&mut prepared);
                    prepared.mounts.push(sandbox::Mount {
                        target,
                        content: shown,
                        read_only: *read_only,
                    });
                    add_next(rest, prepared, caches, context, action)
                };
                return if *read_only {
                    tree.read(layers, env, |root, _| go_on(root))
                } else {
                    tree.change(layers, Bottom::Empty, env, |root, _| go_on(root)).map(|_| ())
                };
            }
        }
        MountKind::Cache { id, seed, read_only, .. } => {
            let shown = Content::Own(caches.path(id, seed, context)?);
            prepared.mounts.push(sandbox::Mount { target, content: shown, read_only: *read_only });
        }
        MountKind::Tmpfs { size } => {
            if env.isolation.view == sandbox::View::Chroot {
                let message =
                    format!("in a chroot {target} is a directory on the disk, without a limit");
                env.sink.event(Event::Warning { message });
            }
            let shown = Content::Tmpfs { size: *size };
            prepared.mounts.push(sandbox::Mount { target, content: shown, read_only: false });
        }
        MountKind::Secret { id, env: variable, required, attributes } => {
            match context.request.secrets.get(id) {
                Some(bytes) => {
                    if let Some(variable) = variable {
                        let value = String::from_utf8(bytes.to_vec()).ok();
                        let value = value.filter(|value| !value.contains('\0'));
                        let value = value.ok_or_else(|| {
                            BuildError::Unsupported(format!(
                                "the secret {id} is not text, so it cannot be the variable {variable}; mount it as a file with target="
                            ))
                        })?;
                        prepared.env.push((variable.clone(), value));
                    }
                    if mount.target.is_some() {
                        if env.isolation.view == sandbox::View::Chroot {
                            let message = format!(
                                "in a chroot the secret {id} is on the disk while the step runs"
                            );
                            env.sink.event(Event::Warning { message });
                        }
                        let (uid, gid) = owner(*attributes, env);
                        let bytes = bytes.to_vec();
                        let shown = Content::File { bytes, mode: attributes.mode, uid, gid };
                        prepared.mounts.push(sandbox::Mount {
                            target,
                            content: shown,
                            read_only: true,
                        });
                    }
                }
                None if *required => {
                    return Err(BuildError::Unsupported(format!(
                        "the secret {id} is required and was not given; pass --secret id={id},src=FILE or --secret id={id},env=VARIABLE"
                    )));
                }
                None => {}
            }
        }
        MountKind::Ssh { id, required, attributes } => match context.request.agents.get(id) {
            Some(socket) => {
                let (uid, gid) = owner(*attributes, env);
                let socket = AgentSocket::forward(socket, (attributes.mode, uid, gid), env)?;
                if prepared.agents.is_empty() {
                    prepared.env.push(("SSH_AUTH_SOCK".to_owned(), target.clone()));
                }
                let shown = Content::Own(socket.path().to_owned());
                prepared.mounts.push(sandbox::Mount { target, content: shown, read_only: false });
                prepared.agents.push(socket);
            }
            None if *required => {
                let flag = if id == "default" { "" } else { "=SOCKET" };
                return Err(BuildError::Unsupported(format!(
                    "the agent {id} is required and was not given; pass --ssh {id}{flag}"
                )));
            }
            None => {}
        },
    }
    add_next(rest, prepared, caches, context, action)
}

/// Whose a mount is: root's, if the builder does not have the ids that are asked for.
pub(super) fn owner(attributes: Attributes, env: &Env) -> (u32, u32) {
    let Attributes { uid, gid, .. } = attributes;
    if env.isolation.ids.holds(uid, gid) {
        return (uid, gid);
    }
    let message = format!("a mount is root's, as the builder does not have the ids {uid}:{gid}");
    env.sink.event(Event::Warning { message });
    (0, 0)
}

/// Files of a build context, as opposed to those of layers.
pub(super) struct Local<'a> {
    from: Opened<'a>,
    /// What it is, for people.
    place: String,
}

pub(super) fn local<'a>(
    from: &FileSource,
    context: &Context<'a>,
) -> Result<Option<Local<'a>>, BuildError> {
    match from {
        FileSource::Named(name) => {
            let from = Opened::Named(context.contexts.get(name)?);
            Ok(Some(Local { from, place: format!("the context {name}") }))
        }
        FileSource::Context => match &context.request.context {
            Some(from) => {
                let place = "the build context".to_owned();
                Ok(Some(Local { from: Opened::Main(from), place }))
            }
            None => Err(context::ContextError::Missing(
                "this build has no context to mount; give a directory instead of -".to_owned(),
            )
            .into()),
        },
        FileSource::Stage(_) | FileSource::Image(_) => Ok(None),
    }
}

impl Local<'_> {
    /// The path of `source`, which must be there and take part.
    fn find(&self, source: &str) -> Result<PathBuf, BuildError> {
        let include = |path: &Path, is_dir| self.from.include(path, is_dir);
        let place = context::Place {
            root: self.from.root(),
            name: &self.place,
            include: &include,
            reason: &|path| self.from.reason(path),
        };
        Ok(context::find(place, source)?)
    }

    /// The digest of what `source` holds.
    pub(super) fn digest(&self, source: &str, context: &Context<'_>) -> Result<Digest, BuildError> {
        let include = |path: &Path, is_dir| self.from.include(path, is_dir);
        context.contexts.digest(&self.from, &self.find(source)?, &include)
    }

    /// A copy of `source` that belongs to root, as a checkout's owners say nothing.
    pub(super) fn copy(&self, source: &str, env: &Env) -> Result<Copied, BuildError> {
        let path = self.find(source)?;
        let copied = Copied { path: env.store.work().fresh("mount") };
        let is_dir = crate::fs::open_in_root(
            self.from.root(),
            &path,
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .is_ok();
        let parent = copied.path.parent().unwrap_or(&copied.path);
        let destination = copied.path.file_name().map(PathBuf::from).unwrap_or_default();
        if is_dir {
            make_dir(&copied.path, 0o755)?;
        }
        let ledger = Ledger::new(parent).map_err(|source| BuildError::Io {
            action: "open",
            path: parent.to_owned(),
            source,
        })?;
        let origin = Origin {
            root: self.from.root(),
            owners: Owners::Real,
            owner: Some((0, 0)),
            mtime: None,
            xattrs: false,
            hard_links: true,
        };
        let include: Filter<'_> = Box::new(|path, is_dir| self.from.include(path, is_dir));
        let request = CopyRequest {
            sources: vec![Source::Path { origin, path, include, unpack: false }],
            destination: &destination,
            destination_is_directory: false,
            owner: Some((0, 0)),
            chmod: None,
            owners: env.owners(&ledger),
        };
        crate::rootfs::copy(&open(parent)?, request)?;
        Ok(copied)
    }
}

/// A copy in the work directory, removed with this.
pub(super) struct Copied {
    pub(super) path: PathBuf,
}

impl Drop for Copied {
    fn drop(&mut self) {
        // Else it goes with the work directory.
        let _ = crate::fs::remove_path(&self.path);
    }
}

/// Where `source` is in the tree at `root`, no link in its path.
pub(super) fn inside(root: &Path, source: &str) -> Result<PathBuf, BuildError> {
    let dir = open(root)?;
    let found = crate::fs::open_in_root(&dir, Path::new(source), OFlags::PATH, Mode::empty())
        .and_then(|fd| crate::fs::path_below(&dir, fd));
    found.map(|path| root.join(path)).map_err(|error| {
        context::ContextError::Missing(format!(
            "{source} is not in the stage or image that from= names: {error}"
        ))
        .into()
    })
}

/// Makes a directory with this mode, whatever the umask.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), BuildError> {
    let permissions = Mode::from_raw_mode(mode);
    let done = fs::create_dir(path).and_then(|()| Ok(rustix::fs::chmod(path, permissions)?));
    done.map_err(|source| BuildError::Io { action: "create", path: path.to_owned(), source })
}
