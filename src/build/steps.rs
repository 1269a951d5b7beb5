//! The kinds of steps that touch files: RUN is in `run.rs`; COPY, ADD and WORKDIR here.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::base::{Image, Layer};
use super::stage::{Context, StageResult};
use super::tree::{Bottom, Tree};
use super::{BuildError, mounts, run};
use crate::cache::Key;
use crate::context::{ContextError, content_digest, select};
use crate::dockerfile::Ignore;
use crate::image::Digest;
use crate::plan::{Copy, FileSource, Step, StepKind};
use crate::report::Event;
use crate::rootfs::{Chmod, CopyRequest, Include, Owners, Source, Users};
use crate::snapshot::Times;

/// Files that each step gets from yado, and that never reach a layer.
pub(super) const STEP_FILES: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];

/// The key of a step: all that decides what it makes.
pub(super) fn key(
    step: &Step,
    state: &StageResult,
    context: &Context<'_>,
) -> Result<Digest, BuildError> {
    let request = context.request;
    let mut key = Key::new(state.layers.iter().map(|layer| &layer.diff_id));
    key.field("platform", &request.options.platform.to_string())
        .field("compression", &format!("{:?}", request.compression))
        .field("times", &format!("{:?}", request.timestamps.times(state.epoch)))
        .field("user", &step.user);
    match &step.kind {
        StepKind::Run(run) => {
            let env: Vec<String> =
                step.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            key.list("run", run.args.iter().map(String::as_str))
                .list("scripts", run.scripts.iter().flat_map(|(name, text)| [name.as_str(), text]))
                .list("env", env.iter().map(String::as_str))
                .field("workdir", &step.workdir)
                .field("network", &format!("{:?} {:?}", run.network, request.network))
                .list("hosts", request.add_hosts.iter().flat_map(|(name, ip)| [&**name, &**ip]))
                .field("security", &format!("{:?}", run.security));
            mounts::add_to_key(&mut key, &run.mounts, context)?;
        }
        StepKind::Copy(copy) => {
            key.field(if copy.add { "add" } else { "copy" }, &copy.destination)
                .field("directory", if copy.destination_is_directory { "yes" } else { "" })
                .field("chown", copy.chown.as_deref().unwrap_or_default())
                .field("chmod", copy.chmod.as_deref().unwrap_or_default())
                .list("exclude", copy.exclude.iter().map(String::as_str))
                .list(
                    "inline",
                    copy.inline.iter().flat_map(|file| [file.name.as_str(), &file.content]),
                );
            match &copy.from {
                FileSource::Context | FileSource::Named(_) => {
                    let files = Selection::of_context(copy, context)?;
                    let include = files.include();
                    let digest = content_digest(files.root(), &files.paths, &include)?;
                    key.field("content", digest.as_str());
                }
                // Equal layers hold equal files: nothing need be unpacked to know it.
                FileSource::Stage(_) | FileSource::Image(_) => {
                    key.list("sources", copy.sources.iter().map(|source| source.value.as_str()));
                    key.list(
                        "from",
                        source_layers(&copy.from, context)?.iter().map(|l| l.diff_id.0.as_str()),
                    );
                }
            }
        }
        StepKind::Workdir { path } => {
            key.field("directory", path);
        }
        StepKind::Config => {}
    }
    Ok(key.finish())
}

/// Runs a step and writes what it made.
pub(super) fn run(
    step: &Step,
    id: u32,
    state: &StageResult,
    tree: &mut Tree,
    context: &Context<'_>,
) -> Result<Option<Layer>, BuildError> {
    let env = context.env;
    let ((), changed) = match &step.kind {
        StepKind::Run(run) => mounts::prepare(&run.mounts, context, |prepared| {
            run::run_step(step, run, id, state, tree, prepared, context)
        })?,
        StepKind::Copy(copy) => match &copy.from {
            FileSource::Context | FileSource::Named(_) => {
                let files = Selection::of_context(copy, context)?;
                tree.change(&state.layers, Bottom::Empty, env, |path, owners| {
                    apply(path, copy, &files, owners, state, context)
                })?
            }
            from => {
                let layers = source_layers(from, context)?;
                Tree::new(Times::Keep).read(layers, env, |source, source_owners| {
                    let files = Selection::of_tree(copy, source, source_owners)?;
                    tree.change(&state.layers, Bottom::Empty, env, |path, owners| {
                        apply(path, copy, &files, owners, state, context)
                    })
                })?
            }
        },
        StepKind::Workdir { path } => {
            tree.change(&state.layers, Bottom::Empty, env, |root, owners| {
                let root = open(root)?;
                let owner = match Users::read(&root).map_err(passwd_error)?.user(&step.user) {
                    Ok(user) => (user.uid, user.gid),
                    // As BuildKit does it; a RUN by this user fails.
                    Err(error) => {
                        let message = format!("{error}, so what WORKDIR makes is root's");
                        env.sink.event(Event::Warning { message });
                        (0, 0)
                    }
                };
                crate::rootfs::make_dirs(&root, Path::new(path), owner, owners)?;
                Ok(())
            })?
        }
        StepKind::Config => return Ok(None),
    };
    tree.commit(&changed, &state.layers, context.request.compression, env)
}

pub(super) fn passwd_error(source: std::io::Error) -> BuildError {
    BuildError::Io { action: "read", path: "/etc/passwd".into(), source }
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

/// The files that a COPY names.
struct Selection<'a> {
    root: Root<'a>,
    paths: Vec<PathBuf>,
    /// The same with no links in them.
    real_paths: Vec<PathBuf>,
    exclude: Option<Ignore>,
}

enum Root<'a> {
    Context(&'a crate::context::Context),
    Named(Arc<crate::context::Context>),
    Tree(OwnedFd, Owners<'a>),
    /// Nothing but here-documents.
    Nothing(OwnedFd),
}

impl<'a> Selection<'a> {
    fn of_context(copy: &Copy, context: &Context<'a>) -> Result<Self, BuildError> {
        if let FileSource::Named(name) = &copy.from {
            let from = context.contexts.get(name)?;
            return Self::new(Root::Named(from), copy, &format!("the context {name}"));
        }
        let Some(from) = &context.request.context else {
            if let Some(source) = copy.sources.first() {
                return Err(ContextError::Missing(format!(
                    "{} is not there: this build has no context; give a directory instead of -",
                    source.value
                ))
                .into());
            }
            let root = open(context.env.store.work().path())?;
            return Self::new(Root::Nothing(root), copy, "");
        };
        Self::new(Root::Context(from), copy, "the build context")
    }

    fn of_tree(copy: &Copy, path: &Path, owners: Owners<'a>) -> Result<Self, BuildError> {
        let root = open(path)?;
        Self::new(Root::Tree(root, owners), copy, "the stage or image that --from names")
    }

    fn new(root: Root<'a>, copy: &Copy, place: &str) -> Result<Self, BuildError> {
        let exclude = if copy.exclude.is_empty() {
            None
        } else {
            let patterns = copy.exclude.iter().map(String::as_str);
            Some(
                Ignore::from_patterns(patterns)
                    .map_err(|e| ContextError::Pattern(e.to_string()))?,
            )
        };
        let mut selection = Self { root, paths: Vec::new(), real_paths: Vec::new(), exclude };
        for source in &copy.sources {
            let mut found = {
                // What --exclude leaves out of a directory is left out below; here
                // only what the ignore file hides is.
                let hidden = |path: &Path, is_dir: bool| selection.hidden(path, is_dir);
                select(selection.root(), &source.value, &hidden, place)?
            };
            found.retain(|path| !selection.excludes_file(path));
            for path in found {
                selection.real_paths.push(selection.real_path(&path));
                selection.paths.push(path);
            }
        }
        Ok(selection)
    }

    /// Whether a source is a file that `--exclude` names: `--exclude=*.txt hom*`.
    fn excludes_file(&self, path: &Path) -> bool {
        let (Some(exclude), Some(name)) = (&self.exclude, path.file_name()) else { return false };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        exclude.matches(&name.to_string_lossy())
            && crate::fs::open_in_root(self.root(), path, flags, Mode::empty()).is_err()
    }

    /// Where a source is; one that is not there is found out when it is read.
    fn real_path(&self, path: &Path) -> PathBuf {
        crate::fs::open_in_root(self.root(), path, OFlags::PATH, Mode::empty())
            .and_then(|fd| crate::fs::path_below(self.root(), fd))
            .unwrap_or_else(|_| path.to_owned())
    }

    fn root(&self) -> &OwnedFd {
        match &self.root {
            Root::Context(context) => context.root(),
            Root::Named(context) => context.root(),
            Root::Tree(root, _) | Root::Nothing(root) => root,
        }
    }

    /// Whose the files can be; those of a context count for no one's.
    fn owners(&self) -> Owners<'a> {
        match &self.root {
            Root::Tree(_, owners) => *owners,
            Root::Context(_) | Root::Named(_) | Root::Nothing(_) => Owners::Real,
        }
    }

    fn hidden(&self, path: &Path, is_dir: bool) -> Include {
        match &self.root {
            Root::Context(context) => context.include(path, is_dir),
            Root::Named(context) => context.include(path, is_dir),
            Root::Tree(..) | Root::Nothing(_) => Include::Yes,
        }
    }

    /// Which files take part: `--exclude` counts from each source.
    fn include(&self) -> impl Fn(&Path, bool) -> Include {
        move |path, is_dir| {
            let shown = self.hidden(path, is_dir);
            let Some(exclude) = &self.exclude else { return shown };
            let relative = self.real_paths.iter().find_map(|source| path.strip_prefix(source).ok());
            let relative = relative.unwrap_or(path).to_string_lossy();
            if relative.is_empty() || !exclude.matches(&relative) {
                shown
            } else if is_dir && exclude.may_hold_exceptions(&relative) && shown != Include::No {
                Include::Below
            } else {
                Include::No
            }
        }
    }
}

pub(super) fn open(path: &Path) -> Result<OwnedFd, BuildError> {
    crate::fs::open_dir(path).map_err(|source| BuildError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

fn apply(
    path: &Path,
    copy: &Copy,
    files: &Selection<'_>,
    owners: Owners<'_>,
    state: &StageResult,
    context: &Context<'_>,
) -> Result<(), BuildError> {
    let root = open(path)?;
    let owner = match &copy.chown {
        Some(text) => Some(Users::read(&root).map_err(passwd_error)?.owner(text)?),
        // Whose the files of a checkout are says nothing; in a stage it does.
        None if matches!(copy.from, FileSource::Context | FileSource::Named(_)) => Some((0, 0)),
        None => None,
    };
    let chmod = copy.chmod.as_deref().map(str::parse::<Chmod>).transpose()?;
    let local = matches!(files.root, Root::Context(_) | Root::Named(_));
    let mut sources: Vec<Source> = files
        .paths
        .iter()
        .cloned()
        .map(|path| if copy.add { Source::Archive(path) } else { Source::Path(path) })
        .collect();
    sources.extend(copy.inline.iter().map(|file| Source::Inline {
        name: file.name.clone(),
        content: file.content.clone().into_bytes(),
    }));
    // The times of a checkout are accidental; those of a stage are clamped already.
    let mtime = match context.request.timestamps {
        super::Timestamps::Epoch(_) if local || !copy.inline.is_empty() => Some(state.epoch),
        _ => None,
    };
    let include = files.include();
    let request = CopyRequest {
        sources: &sources,
        source_root: files.root(),
        include: &include,
        destination: Path::new(&copy.destination),
        destination_is_directory: copy.destination_is_directory || sources.len() > 1,
        owner,
        chmod: chmod.as_ref(),
        mtime,
        // How a checkout was made: its content is the same with copies.
        hard_links: !local,
        xattrs: !local,
        source_owners: files.owners(),
        owners,
    };
    let devices = crate::rootfs::copy(&root, &request)?;
    if devices > 0 {
        context.env.sink.event(Event::Note {
            message: format!(
                "{devices} device nodes of the archive are left out; a container gets its /dev when it is run"
            ),
        });
    }
    Ok(())
}
