//! Whether a step can do without the files of its base image.
//!
//! COPY and WORKDIR depend on what is at their destination: a link is followed, a
//! directory keeps its owner and mode. Where nothing is there, they do not depend on the
//! base, and a base that is not on disk need not be fetched or unpacked for them. Nothing
//! is taken to be there if the destination is in a directory of the root that
//!
//! - is none of those that systems have (`/usr`, `/etc` and so on), and
//! - is not named in the base's configuration, whose history is complete and tells that no
//!   process has run: what one leaves behind, no history tells.
//!
//! A base that was copied as a whole root, in which there is such a directory with an owner
//! of its own, or a link in its place, is the one case where that is wrong;
//! `--eager-base` is for it. A base that is on disk is always looked at, and what was made
//! without it does not count then.

use std::fs;
use std::path::{Component, Path};

use super::stage::{Context, StageResult};
use crate::cache::Key;
use crate::image::{Digest, History, RuntimeConfig};
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

/// The key of a step that is done without them, from that of what goes into it.
pub(super) fn key(inputs: &Digest) -> Digest {
    let mut key = Key::new([]);
    key.field("without the base's files", inputs.as_str());
    key.finish()
}

/// How many of the lowest layers the step need not see: none or all of the base's.
pub(super) fn layers(step: &Step, state: &StageResult, context: &Context<'_>) -> usize {
    let base = state.base_layers;
    let on_disk = |layer: &super::base::Layer| context.env.store.tree(&layer.diff_id).is_some();
    if base == 0 || state.layers[..base].iter().all(on_disk) {
        return 0;
    }
    let is_new = match &step.kind {
        // Of a user alone, the base says which group he has.
        StepKind::Workdir { path } => {
            let is_known = step.user.is_empty() || step.user.contains(':');
            is_known && is_number(&step.user) && is_unknown(Path::new(path), state, context)
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

/// Whether the configuration of a base tells of `name`, or does not tell all.
fn mentions(runtime: &RuntimeConfig, history: &[History], name: &str) -> bool {
    let told = |row: &History| row.empty_layer || row.created_by.as_deref().is_some_and(is_told);
    if !history.iter().all(told) {
        return true;
    }
    let runtime = serde_json::to_string(runtime).unwrap_or_default();
    let history = history.iter().filter_map(|row| row.created_by.as_deref());
    history.chain([runtime.as_str()]).any(|text| has_word(text, name))
}

/// Whether a row of the history that made a layer says what is in it: files were added, in the
/// words of any builder, or it is the root that Debian's own images begin with.
fn is_told(created_by: &str) -> bool {
    let instruction = created_by.strip_prefix("/bin/sh -c #(nop) ").unwrap_or(created_by);
    ["ADD ", "COPY ", "WORKDIR ", "# debian.sh "]
        .iter()
        .any(|begin| instruction.trim_start().starts_with(begin))
}

/// Whether `name` stands in a text as a whole name.
fn has_word(text: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(is_name) && !after.starts_with(is_name)
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
            working_dir: "/jobs/dir".into(),
            env: vec!["PATH=/bin:/tool/bin".into()],
            ..RuntimeConfig::default()
        };
        for (name, told) in [
            ("app", true),
            ("app-data", true),
            ("data", false),
            ("rootfs", false),
            ("jobs", true),
            ("job", false),
            ("tool", true),
            ("hello.txt", false),
        ] {
            assert_eq!(mentions(&runtime, &history, name), told, "{name}");
        }
    }

    #[test]
    fn no_history_tells_what_a_process_left() {
        for (created_by, told) in [
            ("ADD debian.tar /", true),
            ("COPY /app /app # buildkit", true),
            ("/bin/sh -c #(nop) ADD file:0123 in / ", true),
            ("# debian.sh --arch 'amd64' out/ 'bookworm' '@1700000000'", true),
            ("RUN mkdir data", false),
            ("RUN /bin/sh -c ./install # buildkit", false),
            ("/bin/sh -c ./install", false),
            ("bazel build ...", false),
            ("", false),
        ] {
            let row = |empty_layer| History {
                created_by: Some(created_by.into()),
                empty_layer,
                ..History::default()
            };
            let runtime = RuntimeConfig::default();
            assert_eq!(mentions(&runtime, &[row(false)], "hello.txt"), !told, "{created_by}");
            assert!(!mentions(&runtime, &[row(true)], "hello.txt"), "{created_by}");
        }
    }
}
