//! Whether a step can do without the files of its base image.
//!
//! COPY and WORKDIR depend on what is at their destination: a link is followed, a
//! directory keeps its owner and mode. Where nothing is there, they do not depend on the
//! base, and a base that is not on disk need not be fetched or unpacked for them. Nothing
//! is taken to be there if the destination is in a directory of the root that
//!
//! - is none of those that systems have (`/usr`, `/etc` and so on),
//! - is in no instruction, variable or path of the base's configuration, and
//! - the base's history is complete.
//!
//! A base that hides such a directory, copied with a whole root for example, and has a link
//! or a directory with an owner of its own in its place, is the one case where that
//! is wrong; `--eager-base` is for it. A base that is on disk is always looked at.

use std::fs;
use std::path::{Component, Path};

use super::stage::{Context, StageResult};
use crate::image::{History, RuntimeConfig};
use crate::plan::{Copy, CopySource, FileSource, Step, StepKind};

/// What systems have in their root (Filesystem Hierarchy Standard 3.0, section 3, and what
/// distributions add).
const SYSTEM: [&str; 26] = [
    "afs",
    "bin",
    "boot",
    "dev",
    "efi",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "nix",
    "opt",
    "ostree",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
];

/// How many of the lowest layers the step need not see: none or all of the base's.
pub(super) fn layers(step: &Step, state: &StageResult, context: &Context<'_>) -> usize {
    let base = state.base_layers;
    let on_disk = |layer: &super::base::Layer| context.env.store.tree(&layer.diff_id).is_some();
    if base == 0 || state.layers[..base].iter().all(on_disk) {
        return 0;
    }
    let is_new = match &step.kind {
        StepKind::Workdir { path } => {
            is_number(&step.user) && is_unknown(Path::new(path), state, context)
        }
        StepKind::Copy(copy) => is_new(copy, state, context),
        StepKind::Run(_) | StepKind::Config => false,
    };
    if is_new { base } else { 0 }
}

fn is_new(copy: &Copy, state: &StageResult, context: &Context<'_>) -> bool {
    if !copy.chown.as_deref().is_none_or(is_number) {
        return false;
    }
    let destination = Path::new(&copy.destination);
    if destination != Path::new("/") {
        return is_unknown(destination, state, context);
    }
    // What lands in the root has the name of its source, if that is a file.
    !copy.parents
        && copy.sources.iter().all(|source| match source {
            CopySource::Path(path) if !copy.unpack => {
                let name = Path::new(&path.value).file_name();
                name.is_some_and(|name| is_unknown(&destination.join(name), state, context))
                    && is_file(&copy.from, &path.value, context)
            }
            CopySource::Inline(file) => is_unknown(&destination.join(&file.name), state, context),
            CopySource::Download(file) if !file.unpack => {
                is_unknown(&destination.join(&file.name), state, context)
            }
            _ => false,
        })
}

/// `USER` or `--chown` without a name, which would have to be looked up.
fn is_number(owner: &str) -> bool {
    owner.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}

fn is_file(from: &FileSource, path: &str, context: &Context<'_>) -> bool {
    let (FileSource::Context, Some(files)) = (from, &context.request.context) else {
        return false;
    };
    let path = files.path().join(path.trim_start_matches('/'));
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether the base has nothing at `path`, and no layer above it leads into the base.
fn is_unknown(path: &Path, state: &StageResult, context: &Context<'_>) -> bool {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let names: Vec<&str> = names.collect();
    let Some(first) = names.first() else { return false };
    let history = &state.config.history[..state.base_history];
    if SYSTEM.contains(first) || mentions(&state.config.config, history, first) {
        return false;
    }
    state.layers[state.base_layers..].iter().all(|layer| {
        let Some(mut path) = context.env.store.tree(&layer.diff_id) else { return false };
        names.iter().all(|name| {
            path.push(name);
            !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink())
        })
    })
}

/// Whether the configuration of a base tells of `name` in its root, or does not tell all.
fn mentions(runtime: &RuntimeConfig, history: &[History], name: &str) -> bool {
    let untold = history
        .iter()
        .any(|row| !row.empty_layer && row.created_by.as_ref().is_none_or(String::is_empty));
    if untold {
        return true;
    }
    let runtime = serde_json::to_string(runtime).unwrap_or_default();
    let history = history.iter().filter_map(|row| row.created_by.as_deref());
    history.chain([runtime.as_str()]).any(|text| has_path(text, name))
}

/// Whether `/NAME` stands in a text, as a path or the beginning of one.
fn has_path(text: &str, name: &str) -> bool {
    let path = format!("/{name}");
    text.match_indices(&path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        !next.is_some_and(|next| next.is_alphanumeric() || matches!(next, '-' | '_' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_tells_of_what_it_has() {
        let row = |text: &str| History { created_by: Some(text.into()), ..History::default() };
        let history = [row("ADD rootfs.tar /"), row("COPY app /srv/app-data # buildkit")];
        let runtime = RuntimeConfig {
            working_dir: "/work/dir".into(),
            env: vec!["PATH=/bin:/tool/bin".into()],
            ..RuntimeConfig::default()
        };
        for (name, told) in [
            ("app", false),
            ("app-data", true),
            ("rootfs", false),
            ("work", true),
            ("wor", false),
            ("tool", true),
            ("hello.txt", false),
        ] {
            assert_eq!(mentions(&runtime, &history, name), told, "{name}");
        }
        assert!(mentions(&runtime, &[History::default()], "hello.txt"));
    }
}
