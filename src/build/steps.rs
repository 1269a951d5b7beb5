//! The kinds of steps: RUN is in `run.rs`, COPY and ADD in `copy.rs`; WORKDIR here.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::base::Layer;
use super::stage::{Context, StageResult};
use super::tree::{Bottom, Tree};
use super::{BuildError, Overlays, copy, mounts, run};
use crate::cache::Key;
use crate::image::Digest;
use crate::plan::{FileSource, Step, StepKind};
use crate::report::{Event, Phase};
use crate::rootfs::Users;
use crate::snapshot::Times;

/// Files that each step gets from yado, and that never reach a layer.
pub(super) const STEP_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// The key of a step: all that decides what it makes.
pub(super) fn key(
    step: &Step,
    state: &StageResult,
    context: &Context<'_>,
) -> Result<Digest, BuildError> {
    let request = context.request;
    let mut key = begin_key(step, state, context);
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
                .field("host", run::hostname(request))
                .field("security", &format!("{:?}", run.security));
            mounts::add_to_key(&mut key, &run.mounts, context)?;
        }
        StepKind::Copy(copy) => copy::add_to_key(copy, &mut key, None, context)?,
        StepKind::Workdir { path } => {
            key.field("directory", path);
        }
        StepKind::Config => {}
    }
    Ok(key.finish())
}

/// Another key of a step that takes files from a stage or an image: by the files themselves,
/// not by the layers that they are in. It costs reading the files, so it is for a step
/// that has to be run otherwise; `None` where it would cost more than that.
pub(super) fn content_key(
    step: &Step,
    state: &StageResult,
    context: &Context<'_>,
) -> Result<Option<Digest>, BuildError> {
    let StepKind::Copy(copy) = &step.kind else { return Ok(None) };
    let from_layers = matches!(copy.from, FileSource::Stage(_) | FileSource::Image(_));
    // Without overlay a tree is copied to be read, and then copied again for the step.
    if !from_layers || context.env.overlays != Overlays::Possible {
        return Ok(None);
    }
    context.enter(Phase::Key);
    let layers = copy::source_layers(&copy.from, context)?;
    Tree::new(Times::Keep).read(layers, context.env, |path, owners| {
        let mut key = begin_key(step, state, context);
        copy::add_to_key(copy, &mut key, Some((path, owners)), context)?;
        Ok(Some(key.finish()))
    })
}

/// What is part of every key.
fn begin_key(step: &Step, state: &StageResult, context: &Context<'_>) -> Key {
    let request = context.request;
    // What a step with --link makes has nothing to do with what is below it.
    let alone = matches!(&step.kind, StepKind::Copy(copy) if copy.link);
    let below: &[Layer] = if alone { &[] } else { &state.layers };
    let mut key = Key::new(below.iter().map(|layer| &layer.diff_id));
    key.field("platform", &request.options.platform.to_string())
        .field("compression", &format!("{:?}", request.compression))
        .field("times", &format!("{:?}", request.timestamps.times(state.epoch)))
        .field("user", &step.user);
    key
}

/// Runs a step and writes what it made.
pub(super) fn run(
    step: &Step,
    state: &StageResult,
    tree: &mut Tree,
    context: &Context<'_>,
) -> Result<Option<Layer>, BuildError> {
    let env = context.env;
    let ((), changed) = match &step.kind {
        StepKind::Run(run) => mounts::prepare(&run.mounts, context, |prepared| {
            run::run_step(step, run, state, tree, prepared, context)
        })?,
        StepKind::Copy(copy) => return copy::run(copy, state, tree, context),
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

pub(super) fn open(path: &Path) -> Result<OwnedFd, BuildError> {
    crate::fs::open_dir(path).map_err(|source| BuildError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })
}
