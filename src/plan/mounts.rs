//! The mounts of a RUN: their words expanded, their defaults filled in.

use crate::dockerfile::{self, Word};

use super::settings::resolve;
use super::stage::Context;
use super::variables::build_arg;
use super::{Attributes, FileSource, Mount, MountKind, Seed};

/// Where an agent's socket stands that has no target, with its number among them.
const AGENTS: &str = "/run/buildkit/ssh_agent";
/// Where secrets without a target stand.
const SECRETS: &str = "/run/secrets";

impl Context<'_, '_> {
    pub(super) fn mounts(&mut self, mounts: &[dockerfile::Mount]) -> Option<Vec<Mount>> {
        let mut planned: Vec<Mount> = Vec::new();
        for mount in mounts {
            let agents =
                planned.iter().filter(|mount| matches!(mount.kind, MountKind::Ssh { .. })).count();
            planned.push(self.mount(mount, agents)?);
        }
        Some(planned)
    }

    /// `agents` is the number of agents' sockets before.
    fn mount(&mut self, mount: &dockerfile::Mount, agents: usize) -> Option<Mount> {
        use dockerfile::MountKind as Kind;
        let id = self.mount_word(mount.id.as_ref())?;
        let source = self.mount_word(mount.source.as_ref())?;
        let written = self.mount_word(mount.target.as_ref())?;
        let workdir = self.scope.workdir();
        let mut target = (!written.is_empty()).then(|| resolve(&workdir, &written));
        if target.as_deref() == Some("/") {
            self.fail(mount.span, "--mount: the target cannot be the root directory");
            return None;
        }
        let default_mode = match mount.kind {
            Kind::Secret => 0o400,
            Kind::Ssh => 0o600,
            Kind::Bind | Kind::Cache | Kind::Tmpfs => 0o755,
        };
        let attributes = Attributes {
            mode: self.mount_number(mount.mode.as_ref(), 8, "mode", default_mode)?,
            uid: self.mount_number(mount.uid.as_ref(), 10, "uid", 0)?,
            gid: self.mount_number(mount.gid.as_ref(), 10, "gid", 0)?,
        };
        let directory = resolve("/", &source);
        let kind = match mount.kind {
            Kind::Bind => MountKind::Bind {
                from: match &mount.from {
                    None => FileSource::Context,
                    Some(from) => self.mount_source(from)?,
                },
                source: directory,
                read_only: mount.read_only.unwrap_or(true),
            },
            Kind::Cache => {
                let seed = match &mount.from {
                    None => Seed::Empty(attributes),
                    Some(from) => Seed::Files { from: self.mount_source(from)?, source: directory },
                };
                let id = if id.is_empty() { written } else { id };
                let id = if id.starts_with('/') { resolve("/", &id) } else { id };
                let space = build_arg(self.planner.options, "BUILDKIT_CACHE_MOUNT_NS");
                MountKind::Cache {
                    id: space.map_or_else(|| id.clone(), |space| format!("{space}/{id}")),
                    seed,
                    read_only: mount.read_only.unwrap_or(false),
                    sharing: mount.sharing.unwrap_or_default(),
                }
            }
            Kind::Tmpfs => MountKind::Tmpfs { size: self.mount_size(mount.size.as_ref())? },
            Kind::Secret => {
                let base = target.as_deref().and_then(|path| path.rsplit('/').next());
                let env = self.mount_word(mount.env.as_ref())?;
                let names = [source.as_str(), &id, base.unwrap_or_default(), &env];
                let id = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
                let id = id.to_owned();
                let env = Some(env).filter(|env| !env.is_empty());
                if env.is_none() && target.is_none() {
                    let name = id.rsplit('/').next().unwrap_or_default();
                    target = Some(format!("{SECRETS}/{name}"));
                }
                MountKind::Secret { id, env, required: mount.required, attributes }
            }
            Kind::Ssh => {
                target.get_or_insert_with(|| format!("{AGENTS}.{agents}"));
                let id = if id.is_empty() { "default".to_owned() } else { id };
                MountKind::Ssh { id, required: mount.required, attributes }
            }
        };
        Some(Mount { target, kind })
    }

    /// An option, expanded; empty when it is absent.
    fn mount_word(&mut self, word: Option<&Word>) -> Option<String> {
        self.expand_flag(word).map(|word| word.value)
    }

    fn mount_source(&mut self, from: &Word) -> Option<FileSource> {
        self.planner.file_source(self.draft, &from.value, self.platform, from.span)
    }

    fn mount_number(
        &mut self,
        word: Option<&Word>,
        radix: u32,
        option: &str,
        default: u32,
    ) -> Option<u32> {
        let text = self.mount_word(word)?;
        if text.is_empty() {
            return Some(default);
        }
        let span = word.map(|word| word.span).unwrap_or_default();
        let kind = if radix == 8 { "an octal number up to 7777" } else { "a number" };
        match u32::from_str_radix(&text, radix) {
            Ok(number) if radix != 8 || number <= 0o7777 => Some(number),
            _ => {
                self.fail(span, format!("--mount: {option} is {kind}, not {text:?}"));
                None
            }
        }
    }

    fn mount_size(&mut self, word: Option<&Word>) -> Option<u64> {
        let text = self.mount_word(word)?;
        if text.is_empty() {
            return Some(0);
        }
        let size = bytes(&text);
        if size.is_none() {
            let span = word.map(|word| word.span).unwrap_or_default();
            self.fail(
                span,
                format!("--mount: size is a number of bytes such as 64m, not {text:?}"),
            );
        }
        size
    }
}

/// A size as docker writes it: a number, perhaps with a fraction, and a unit of
/// powers of 1024: `b`, `k`, `m`, `g`, `t`, `p`, also as `kb` and `KiB`.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start_matches(' ').to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let size = number * 1024f64.powi(power);
    // 2^64, which is more than can be.
    (size < 18_446_744_073_709_551_616.0).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("32", Some(32)),
            ("32b", Some(32)),
            ("32k", Some(32 * 1024)),
            ("1.5K", Some(1536)),
            ("64m", Some(64 << 20)),
            ("2GB", Some(2 << 30)),
            ("1 MiB", Some(1 << 20)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1.2.3", None),
            ("-1", None),
            ("99999999p", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
