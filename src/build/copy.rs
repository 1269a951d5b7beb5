//! COPY and ADD: what their key is made of, and how their files get into a tree.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::base::{Image, Layer};
use super::contexts::Opened;
use super::stage::{Context, StageResult};
use super::steps::{open, passwd_error};
use super::tree::{Bottom, Tree, write_layer};
use super::{BuildError, work_file};
use crate::cache::Key;
use crate::context::{self, ContextError, Place, find, select};
use crate::dockerfile::{Ignore, has_wildcard};
use crate::image::Digest;
use crate::layer::WriteError;
use crate::plan::{Copy, CopySource, FileSource};
use crate::report::{Event, Phase};
use crate::rootfs::{
    Chmod, CopyError, CopyRequest, Filter, Include, Origin, Owners, Source, Users,
};
use crate::sandbox::Identity;
use crate::snapshot::{FreshCopy, SnapshotError, Times};

/// In a source of `--parents`: what is before it is not made in the destination.
const PIVOT: &str = "/./";
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

/// The files that a COPY takes its sources from.
struct Files<'a> {
    root: Root<'a>,
    /// What it is, for people.
    place: String,
    exclude: Option<Ignore>,
    parents: bool,
}

enum Root<'a> {
    Context(Opened<'a>),
    Tree(OwnedFd, Owners<'a>),
    /// This build has no context.
    Nothing(OwnedFd),
}

/// A file or directory that a source stands for.
struct Chosen {
    base: PathBuf,
    /// With `--parents`: the directories, as written, that lead from there to what the
    /// source names.
    way: PathBuf,
    /// Where both lead, with no links in it.
    real: PathBuf,
    /// With `--parents`: leaves out what the source does not name below this directory.
    others: Option<Ignore>,
}

impl Chosen {
    /// Where its files are.
    fn path(&self) -> PathBuf {
        // Joined to nothing it would get a slash, which a file cannot have.
        if self.has_way() { self.base.join(&self.way) } else { self.base.clone() }
    }

    fn has_way(&self) -> bool {
        !self.way.as_os_str().is_empty()
    }
}

impl<'a> Files<'a> {
    fn of_context(copy: &Copy, context: &Context<'a>) -> Result<Self, BuildError> {
        let (root, place) = match (&copy.from, &context.request.context) {
            (FileSource::Named(name), _) => {
                let from = Opened::Named(context.contexts.get(name)?);
                (Root::Context(from), format!("the context {name}"))
            }
            (_, Some(from)) => (Root::Context(Opened::Main(from)), "the build context".to_owned()),
            (_, None) => (Root::Nothing(open(context.env.store.work().path())?), String::new()),
        };
        Self::new(root, copy, place)
    }

    fn of_tree(copy: &Copy, path: &Path, owners: Owners<'a>) -> Result<Self, BuildError> {
        let place = "the stage or image that --from names".to_owned();
        Self::new(Root::Tree(open(path)?, owners), copy, place)
    }

    fn new(root: Root<'a>, copy: &Copy, place: String) -> Result<Self, BuildError> {
        let patterns = copy.exclude.iter().map(String::as_str);
        let exclude = Ignore::from_patterns(patterns).map_err(pattern_error)?;
        let exclude = Some(exclude).filter(|_| !copy.exclude.is_empty());
        Ok(Self { root, place, exclude, parents: copy.parents })
    }

    fn root(&self) -> &OwnedFd {
        match &self.root {
            Root::Context(context) => context.root(),
            Root::Tree(root, _) | Root::Nothing(root) => root,
        }
    }

    /// The context, if they are one's.
    fn context(&self) -> Option<&context::Context> {
        match &self.root {
            Root::Context(context) => Some(context),
            Root::Tree(..) | Root::Nothing(_) => None,
        }
    }

    /// The digest of what is at `path`; of contexts only.
    fn digest(
        &self,
        path: &Path,
        include: &dyn Fn(&Path, bool) -> Include,
        context: &Context<'_>,
    ) -> Result<Digest, BuildError> {
        let from = self.context();
        let from = from.ok_or_else(|| BuildError::Internal("a context is missing".to_owned()))?;
        context.contexts.digest(from, path, include)
    }

    /// How the files are treated: how a checkout was made says nothing, its content
    /// is the same with other owners, times and hard links; in a stage they count.
    fn origin(&self, epoch: Option<i64>) -> Origin<'_> {
        let (local, owners) = match &self.root {
            Root::Tree(_, owners) => (false, *owners),
            Root::Context(_) | Root::Nothing(_) => (true, Owners::Real),
        };
        Origin {
            root: self.root(),
            owners,
            owner: local.then_some((0, 0)),
            // Those of a stage are clamped already.
            mtime: epoch.filter(|_| local),
            xattrs: !local,
            hard_links: !local,
        }
    }

    /// What a source stands for; a pattern may stand for nothing.
    fn choose(&self, source: &str) -> Result<Vec<Chosen>, BuildError> {
        if let Root::Nothing(_) = self.root {
            return Err(ContextError::Missing(format!(
                "{source} is not there: this build has no context; give a directory instead of -"
            ))
            .into());
        }
        let shown = |path: &Path, is_dir: bool| self.shown(path, is_dir);
        let reason = |path: &Path| self.context().and_then(|context| context.reason(path));
        let place =
            Place { root: self.root(), name: &self.place, include: &shown, reason: &reason };
        let (base, below) = match source.split_once(PIVOT) {
            _ if !self.parents => (source, None),
            Some((base, below)) => (base, Some(below)),
            None => ("", Some(source)),
        };
        let mut others = None;
        let mut way = PathBuf::new();
        if let Some(below) = below.map(clamp) {
            let mut pattern = below.clone();
            if !has_wildcard(&below) {
                // A name, in which a backslash is one.
                pattern = below.replace('\\', "\\\\");
                if !has_wildcard(base) {
                    find(place, &format!("{base}/{below}"))?;
                }
            }
            let named = Ignore::from_patterns([pattern.as_str()]).map_err(pattern_error)?;
            if named != Ignore::default() {
                let all_but = ["**".to_owned(), format!("!{pattern}")];
                let all_but = all_but.iter().map(String::as_str);
                others = Some(Ignore::from_patterns(all_but).map_err(pattern_error)?);
            }
            way = way_to(&below);
        }
        let mut chosen = Vec::new();
        for base in select(place, base)? {
            let (way, others) = (way.clone(), others.clone());
            let mut one = Chosen { base, way, real: PathBuf::new(), others };
            let path = one.path();
            one.real = self.real_path(&path);
            // Nothing is found below what is not there or hidden.
            let found = |path: &Path| self.shown(path, true) != Include::No;
            if !one.has_way() || self.is_dir(&path) && found(&path) && found(&one.real) {
                chosen.push(one);
            }
        }
        Ok(chosen)
    }

    /// Adds what a copy takes over of what was chosen.
    fn add_to_key(
        &self,
        chosen: &Chosen,
        key: &mut Key,
        context: &Context<'_>,
    ) -> Result<(), BuildError> {
        let (path, include) = (chosen.path(), self.include(chosen));
        // The directories on the way alone: how they are called, and their modes.
        let leads = chosen.way.ancestors().filter(|lead| *lead != Path::new(""));
        if let Root::Tree(root, _) = &self.root {
            for lead in leads {
                let path = chosen.base.join(lead);
                let fd = crate::fs::open_in_root(root, &path, OFlags::PATH, Mode::empty());
                let mode = fd.and_then(|fd| Ok(rustix::fs::fstat(&fd)?.st_mode));
                let mode = mode.map_err(|source| CopyError::Source { path, source })?;
                key.field("lead", &lead.to_string_lossy()).field("mode", &mode.to_string());
            }
            let digest = crate::rootfs::digest(self.origin(None), &path, &include)?;
            key.field("tree", digest.as_str());
            return Ok(());
        }
        for lead in leads {
            let path = chosen.base.join(lead);
            let digest = self.digest(&path, &|_, _| Include::No, context)?;
            key.field("parent", digest.as_str());
        }
        key.field("content", self.digest(&path, &include, context)?.as_str());
        Ok(())
    }

    fn is_dir(&self, path: &Path) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        crate::fs::open_in_root(self.root(), path, flags, Mode::empty()).is_ok()
    }

    /// Where a source is; one that is not there is found out when it is read.
    fn real_path(&self, path: &Path) -> PathBuf {
        crate::fs::open_in_root(self.root(), path, OFlags::PATH, Mode::empty())
            .and_then(|fd| crate::fs::path_below(self.root(), fd))
            .unwrap_or_else(|_| path.to_owned())
    }

    fn shown(&self, path: &Path, is_dir: bool) -> Include {
        self.context().map_or(Include::Yes, |context| context.include(path, is_dir))
    }

    /// Which files below a source take part.
    fn include(&self, chosen: &Chosen) -> Filter<'_> {
        let (real, way) = (chosen.real.clone(), chosen.way.clone());
        let others = chosen.others.clone();
        Box::new(move |path, is_dir| {
            // The patterns are about the names as written.
            let relative = way.join(path.strip_prefix(&real).unwrap_or(path));
            let relative = relative.to_string_lossy();
            let left = |ignore: &Option<Ignore>| {
                let Some(ignore) = ignore else { return Include::Yes };
                if relative.is_empty() || !ignore.matches(&relative) {
                    Include::Yes
                } else if is_dir && ignore.may_hold_exceptions(&relative) {
                    Include::Below
                } else {
                    Include::No
                }
            };
            let parts = [self.shown(path, is_dir), left(&self.exclude), left(&others)];
            if parts.contains(&Include::No) {
                Include::No
            } else if parts.contains(&Include::Below) {
                Include::Below
            } else {
                Include::Yes
            }
        })
    }
}

/// A pattern of `--parents` without `.`, `..` and slashes too many: above the root is the root.
fn clamp(pattern: &str) -> String {
    let mut parts = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The directories of a source of `--parents` that are named and not found.
fn way_to(source: &str) -> PathBuf {
    let (dirs, _) = source.rsplit_once('/').unwrap_or_default();
    // In a pattern a backslash is no part of a name.
    let is_name = |name: &&str| !has_wildcard(source) || !name.contains(['*', '?', '[', '\\']);
    dirs.split('/').take_while(is_name).collect()
}

fn pattern_error(error: impl std::fmt::Display) -> BuildError {
    ContextError::Pattern(error.to_string()).into()
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
