//! COPY and ADD: what their key is made of, and how their files get into a tree.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::base::{Image, Layer};
use super::sources::Files;
use super::stage::{Context, StageResult};
use super::steps::{open, passwd_error};
use super::tree::{Bottom, Tree, write_layer};
use super::{BuildError, work_file};
use crate::cache::Key;
use crate::context::ContextError;
use crate::layer::WriteError;
use crate::plan::{Copy, CopySource, FileSource};
use crate::report::{Event, Phase};
use crate::rootfs::{Chmod, CopyRequest, Filter, Include, Origin, Owners, Source, Users};
use crate::sandbox::Identity;
use crate::snapshot::{FreshCopy, SnapshotError, Times};

/// The mode of a file of a web server.
const DOWNLOADED: u32 = 0o600;

/// Adds all that decides what the step makes. The files of a stage or image stand for
/// themselves if the `tree` is given that they are in, else their layers stand for them.
pub(super) fn add_to_key(
    copy: &Copy,
    key: &mut Key,
    tree: Option<(&Path, Owners<'_>)>,
    context: &Context<'_>,
) -> Result<(), BuildError> {
    let yes = |on: bool| if on { "yes" } else { "" };
    key.field(if copy.add { "add" } else { "copy" }, &copy.destination)
        .field("directory", yes(copy.destination_is_directory))
        .field("chown", copy.chown.as_deref().unwrap_or_default())
        .field("chmod", copy.chmod.as_deref().unwrap_or_default())
        .field("parents", yes(copy.parents))
        .field("link", yes(copy.link))
        .field("unpack", yes(copy.unpack))
        .list("exclude", copy.exclude.iter().map(String::as_str));
    let files = match (&copy.from, tree) {
        (FileSource::Context | FileSource::Named(_), _) => Some(Files::of_context(copy, context)?),
        (_, Some((path, owners))) => Some(Files::of_tree(copy, path, owners)?),
        // Equal layers hold equal files: nothing need be unpacked to know it.
        _ => {
            let layers = source_layers(&copy.from, context)?;
            key.list("from", layers.iter().map(|layer| layer.diff_id.0.as_str()));
            None
        }
    };
    for source in &copy.sources {
        match (source, &files) {
            (CopySource::Path(path), None) => {
                key.field("path", &path.value);
            }
            (CopySource::Path(path), Some(files)) => {
                let chosen = files.choose(&path.value)?;
                key.field("files", &chosen.len().to_string());
                for chosen in &chosen {
                    files.add_to_key(chosen, key, context)?;
                }
            }
            (CopySource::Inline(file), _) => {
                key.field("inline", &file.name).field("text", &file.content);
            }
            (CopySource::Download(file), _) => {
                key.field("download", &file.name).field("unpack", yes(file.unpack));
                if let Some(checksum) = &file.checksum {
                    key.field("content", checksum.as_str());
                } else {
                    let fetched = context.contexts.remotes.download(&file.url, None)?;
                    key.field("content", fetched.digest.as_str())
                        .field("modified", &fetched.modified().to_string());
                }
            }
            (CopySource::Git { url, keep_git_dir }, _) => {
                let resolved = context.contexts.remotes.commit(url)?;
                key.field("commit", &resolved.commit.to_string())
                    .field("below", url.subdir.as_deref().unwrap_or_default())
                    .field("submodules", yes(url.submodules.unwrap_or(true)))
                    .field("times", yes(url.commit_times));
                // What `.git` says of where the files are from.
                if *keep_git_dir {
                    key.field("repository", &url.remote.to_string())
                        .field("name", resolved.name.as_deref().unwrap_or_default());
                }
            }
        }
    }
    Ok(())
}

/// Copies, and writes what was copied as a layer.
pub(super) fn run(
    copy: &Copy,
    state: &StageResult,
    tree: &mut Tree,
    context: &Context<'_>,
) -> Result<Option<Layer>, BuildError> {
    let (env, compression) = (context.env, context.request.compression);
    let mut alone = Tree::new(context.request.timestamps.times(state.epoch));
    alone.step = Some(context.step);
    let (tree, below): (_, &[Layer]) =
        if copy.link { (&mut alone, &[]) } else { (tree, &state.layers) };
    let seen = below.get(tree.unseen..).unwrap_or_default();
    let ((), changed) = match &copy.from {
        FileSource::Context | FileSource::Named(_) => {
            let files = Files::of_context(copy, context)?;
            if let ControlFlow::Break(layer) = without_files(copy, &files, seen, state, context)? {
                return Ok(layer);
            }
            tree.change(below, Bottom::Empty, env, |path, owners| {
                apply(path, copy, &files, owners, state, context)
            })?
        }
        from => {
            let layers = source_layers(from, context)?;
            let mut from = Tree::new(Times::Keep);
            from.step = Some(context.step);
            let done = from.read(layers, env, |source, source_owners| {
                let files = Files::of_tree(copy, source, source_owners)?;
                if let ControlFlow::Break(layer) =
                    without_files(copy, &files, seen, state, context)?
                {
                    return Ok(Err(layer));
                }
                let changed = tree.change(below, Bottom::Empty, env, |path, owners| {
                    apply(path, copy, &files, owners, state, context)
                });
                changed.map(Ok)
            })?;
            match done {
                Ok(changed) => changed,
                Err(layer) => return Ok(layer),
            }
        }
    };
    tree.commit(&changed, below, compression, env)
}

/// Writes the layer straight from the sources, where there is nothing below it and no
/// step looks at its files: what it made then, if it was as simple as that.
fn without_files(
    copy: &Copy,
    files: &Files<'_>,
    below: &[Layer],
    state: &StageResult,
    context: &Context<'_>,
) -> Result<ControlFlow<Option<Layer>>, BuildError> {
    let env = context.env;
    let [CopySource::Path(source)] = copy.sources.as_slice() else {
        return Ok(ControlFlow::Continue(()));
    };
    if !below.is_empty() || context.files_wanted || copy.parents || copy.unpack {
        return Ok(ControlFlow::Continue(()));
    }
    let chosen = files.choose(&source.value)?;
    let [chosen] = chosen.as_slice() else { return Ok(ControlFlow::Continue(())) };
    // There is no /etc/passwd, as anywhere in the work directory.
    let owner = owner(copy, &open(env.store.work().path())?)?;
    let single = env.isolation.identity == Identity::Single;
    if owner.is_some_and(|(uid, gid)| !single && !env.isolation.ids.holds(uid, gid)) {
        return Ok(ControlFlow::Continue(()));
    }
    let chmod = copy.chmod.as_deref().map(str::parse::<Chmod>).transpose()?;
    let fresh = FreshCopy {
        origin: files.origin(epoch(state, context)),
        source: &chosen.base,
        include: &files.include(chosen),
        destination: Path::new(&copy.destination),
        destination_is_directory: copy.destination_is_directory,
        owner,
        chmod: chmod.as_ref(),
    };
    if !fresh.is_simple() {
        return Ok(ControlFlow::Continue(()));
    }
    let times = context.request.timestamps.times(state.epoch);
    context.enter(Phase::Snapshot);
    let layer = write_layer(context.request.compression, Some(context.step), env, |tar| {
        fresh.write(times, tar).map_err(|error| match (error, files.context()) {
            (SnapshotError::Write(WriteError::Changed { .. }), Some(_)) => {
                ContextError::Changed.into()
            }
            (error, _) => error.into(),
        })
    })?;
    Ok(ControlFlow::Break(layer))
}

/// The owner that `--chown` names in the tree at `root`.
fn owner(copy: &Copy, root: &OwnedFd) -> Result<Option<(u32, u32)>, BuildError> {
    Ok(match &copy.chown {
        Some(text) => Some(Users::read(root).map_err(passwd_error)?.owner(text)?),
        None => None,
    })
}

/// The time of files of a context, whose own is accidental.
fn epoch(state: &StageResult, context: &Context<'_>) -> Option<i64> {
    match context.request.timestamps {
        super::Timestamps::Epoch(_) => Some(state.epoch),
        super::Timestamps::Keep(_) => None,
    }
}

/// The layers of the stage or image that a step takes files from.
pub(super) fn source_layers<'a>(
    from: &FileSource,
    context: &'a Context<'_>,
) -> Result<&'a [Layer], BuildError> {
    let layers = match from {
        FileSource::Context | FileSource::Named(_) => None,
        FileSource::Stage(id) => context.stages.get(id).map(|stage| stage.layers.as_slice()),
        FileSource::Image(request) => {
            context.bases.get(request).map(|image: &Image| image.layers.as_slice())
        }
    };
    layers.ok_or_else(|| BuildError::Internal("a source of files is missing".to_owned()))
}

/// Copies into the tree at `path`.
fn apply(
    path: &Path,
    copy: &Copy,
    files: &Files<'_>,
    owners: Owners<'_>,
    state: &StageResult,
    context: &Context<'_>,
) -> Result<(), BuildError> {
    let root = open(path)?;
    let owner = owner(copy, &root)?;
    let chmod = copy.chmod.as_deref().map(str::parse::<Chmod>).transpose()?;
    let epoch = epoch(state, context);
    // The directories of repositories, which must outlive the sources.
    let mut checkouts = Vec::new();
    for source in &copy.sources {
        if let CopySource::Git { url, keep_git_dir } = source {
            let checkout = context.contexts.remotes.checkout(url, *keep_git_dir)?;
            let time = if url.commit_times { Some(checkout.committed) } else { epoch };
            checkouts.push((open(&checkout.path)?, time));
        }
    }
    let mut next_checkout = checkouts.iter();
    let mut sources = Vec::new();
    for source in &copy.sources {
        match source {
            CopySource::Path(path) => {
                for chosen in files.choose(&path.value)? {
                    let include = files.include(&chosen);
                    let (origin, unpack) = (files.origin(epoch), copy.unpack);
                    sources.push(if chosen.has_way() {
                        Source::Parents { origin, base: chosen.base, way: chosen.way, include }
                    } else {
                        Source::Path { origin, path: chosen.base, include, unpack }
                    });
                }
            }
            CopySource::Inline(file) => {
                let path = work_file(context.env, "heredoc", file.content.as_bytes(), 0o644)?;
                sources.push(Source::File {
                    name: file.name.clone().into(),
                    content: open_file(&path)?,
                    mode: 0o644,
                    mtime: epoch,
                    unpack: false,
                });
            }
            CopySource::Download(file) => {
                let remotes = &context.contexts.remotes;
                let fetched = remotes.download(&file.url, file.checksum.as_ref())?;
                sources.push(Source::File {
                    name: file.name.clone().into(),
                    content: context.env.store.open_blob(&fetched.digest)?.into(),
                    mode: DOWNLOADED,
                    mtime: Some(fetched.modified()),
                    unpack: file.unpack,
                });
            }
            CopySource::Git { .. } => {
                let Some((root, mtime)) = next_checkout.next() else { continue };
                let origin = Origin {
                    root,
                    owners: Owners::Real,
                    owner: Some((0, 0)),
                    mtime: *mtime,
                    xattrs: false,
                    hard_links: false,
                };
                let include: Filter<'_> = Box::new(|_, _| Include::Yes);
                sources.push(Source::Path { origin, path: PathBuf::new(), include, unpack: false });
            }
        }
    }
    let destination = Path::new(&copy.destination);
    let request = CopyRequest {
        sources,
        destination,
        destination_is_directory: copy.destination_is_directory,
        owner,
        chmod: chmod.as_ref(),
        owners,
    };
    let copied = crate::rootfs::copy(&root, request)?;
    if copied.devices > 0 {
        context.env.sink.event(Event::Note {
            message: format!(
                "{} device nodes of the archive are left out; a container gets its /dev when it is run",
                copied.devices
            ),
        });
    }
    if let Some(file) = copied.replaced.first() {
        context.env.sink.event(Event::Warning {
            message: format!(
                "several sources were copied to the one file /{}, and the last is left; end the destination with a '/' to have them all",
                file.display()
            ),
        });
    }
    Ok(())
}

fn open_file(path: &Path) -> Result<OwnedFd, BuildError> {
    let file = std::fs::File::open(path).map_err(|source| BuildError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    Ok(file.into())
}
