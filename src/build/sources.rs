//! What the sources of COPY and ADD name: files of a context, a stage or an image.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::BuildError;
use super::contexts::Opened;
use super::stage::Context;
use super::steps::open;
use crate::cache::Key;
use crate::context::{self, ContextError, Place, find, select};
use crate::dockerfile::{Ignore, has_wildcard};
use crate::image::Digest;
use crate::plan::{Copy, FileSource};
use crate::rootfs::{CopyError, Filter, Include, Origin, Owners};

/// In a source of `--parents`: what is before it is not made in the destination.
const PIVOT: &str = "/./";

/// The files that a COPY takes its sources from.
pub(super) struct Files<'a> {
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
pub(super) struct Chosen {
    pub(super) base: PathBuf,
    /// With `--parents`: the directories, as written, that lead from there to what the
    /// source names.
    pub(super) way: PathBuf,
    /// Where both lead, with no links in it.
    real: PathBuf,
    /// With `--parents`: leaves out what the source does not name below this directory.
    others: Option<Ignore>,
}

impl Chosen {
    /// Where its files are.
    pub(super) fn path(&self) -> PathBuf {
        // Joined to nothing it would get a slash, which a file cannot have.
        if self.has_way() { self.base.join(&self.way) } else { self.base.clone() }
    }

    pub(super) fn has_way(&self) -> bool {
        !self.way.as_os_str().is_empty()
    }
}

impl<'a> Files<'a> {
    pub(super) fn of_context(copy: &Copy, context: &Context<'a>) -> Result<Self, BuildError> {
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

    pub(super) fn of_tree(
        copy: &Copy,
        path: &Path,
        owners: Owners<'a>,
    ) -> Result<Self, BuildError> {
        let place = "the stage or image that --from names".to_owned();
        Self::new(Root::Tree(open(path)?, owners), copy, place)
    }

    fn new(root: Root<'a>, copy: &Copy, place: String) -> Result<Self, BuildError> {
        let patterns = copy.exclude.iter().map(String::as_str);
        let exclude = Ignore::from_patterns(patterns).map_err(pattern_error)?;
        let exclude = Some(exclude).filter(|_| !copy.exclude.is_empty());
        Ok(Self { root, place, exclude, parents: copy.parents })
    }

    pub(super) fn root(&self) -> &OwnedFd {
        match &self.root {
            Root::Context(context) => context.root(),
            Root::Tree(root, _) | Root::Nothing(root) => root,
        }
    }

    /// The context, if they are one's.
    pub(super) fn context(&self) -> Option<&context::Context> {
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
    pub(super) fn origin(&self, epoch: Option<i64>) -> Origin<'_> {
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
    pub(super) fn choose(&self, source: &str) -> Result<Vec<Chosen>, BuildError> {
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
    pub(super) fn add_to_key(
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
    pub(super) fn include(&self, chosen: &Chosen) -> Filter<'_> {
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
