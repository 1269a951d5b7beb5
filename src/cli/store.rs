//! `yado store`.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::collections::BTreeSet;
use std::error::Error as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::exit::CliError;
use super::session::open_store;
use super::{Global, quantity};
use crate::report::{message_line, size};
use crate::store::{Named, Pruned, Selection, Store, Usage};

/// The flags of `yado store`.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what the store holds, and when cache mounts were last used
    Du {
        /// How
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Remove the build cache, cache mounts included, and what no named image needs
    Prune(PruneFlags),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs; sizes in bytes, times in seconds since 1970
    Json,
}

/// What goes: with several of them, what all allow.
#[derive(Debug, clap::Args)]
struct PruneFlags {
    /// Remove the named images too
    #[arg(short, long)]
    all: bool,
    /// Remove cache mounts only
    #[arg(long)]
    caches: bool,
    /// Remove cache mounts with this id only; `yado store du` lists them
    #[arg(long, value_name = "ID")]
    cache: Vec<String>,
    /// Remove only what was not used for this long, such as 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    older_than: Option<Duration>,
    /// Remove the least recently used only, until the store (with --caches: the cache mounts) is no
    /// larger than this, such as 500MB or 10GiB
    #[arg(long, value_name = "SIZE", value_parser = quantity::size)]
    keep_storage: Option<u64>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(global: &Global, flags: &Flags) -> Result<ExitCode, CliError> {
    let (store, _) = open_store(global)?;
    match &flags.command {
        Command::Du { format } => {
            let (usage, named) = (store.usage()?, store.named()?);
            match format {
                Format::Text => print!("{}", usage_text(&store, &usage, &named)),
                Format::Json => println!("{:#}", usage_json(&store, &usage, &named)),
            }
        }
        Command::Prune(flags) => prune(store, flags)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn usage_text(store: &Store, usage: &Usage, named: &[Named]) -> String {
    let row =
        |count: usize, what: &str, bytes: u64| format!("{count:>6} {what:<16} {:>10}", size(bytes));
    let plural = if usage.images == 1 { "" } else { "s" };
    let mut lines = vec![
        store.root().display().to_string(),
        format!("{:>6} named image{plural}", usage.images),
    ];
    lines.extend(
        named.iter().map(|named| {
            format!("         {} {}", message_line(&named.name), named.manifest.digest)
        }),
    );
    let cache_bytes = usage.caches.iter().map(|cache| cache.bytes).sum();
    lines.extend([
        row(usage.blobs, "blobs", usage.blob_bytes),
        row(usage.trees, "unpacked layers", usage.tree_bytes),
        format!("{:>6} remembered steps", usage.steps),
        row(usage.caches.len(), "cache mounts", cache_bytes),
    ]);
    let now = SystemTime::now();
    lines.extend(usage.caches.iter().map(|cache| {
        let (id, used) = (message_line(&cache.id), ago(cache.used, now));
        format!("         {id} {}, used {used}", size(cache.bytes))
    }));
    lines.push(format!("       {:<16} {:>10}\n", "altogether", size(usage.bytes())));
    lines.join("\n")
}

fn usage_json(store: &Store, usage: &Usage, named: &[Named]) -> serde_json::Value {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    };
    let named =
        named.iter().map(|named| json!({"name": named.name, "digest": named.manifest.digest}));
    let caches = usage.caches.iter().map(
        |cache| json!({"id": cache.id, "bytes": cache.bytes, "last-used": seconds(cache.used)}),
    );
    json!({
        "root": store.root().to_string_lossy(),
        "images": named.collect::<Vec<_>>(),
        "blobs": {"count": usage.blobs, "bytes": usage.blob_bytes},
        "unpacked-layers": {"count": usage.trees, "bytes": usage.tree_bytes},
        "remembered-steps": {"count": usage.steps},
        "cache-mounts": caches.collect::<Vec<_>>(),
        "bytes": usage.bytes(),
    })
}

/// How long ago that was, in its largest unit.
fn ago(time: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(time).map_or(0, |since| since.as_secs());
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

fn prune(store: Store, flags: &PruneFlags) -> Result<(), CliError> {
    let caches_only = flags.caches || !flags.cache.is_empty();
    if caches_only && flags.all {
        return Err(CliError::Usage(
            "--all removes named images, and --caches and --cache nothing but cache mounts".into(),
        ));
    }
    if !flags.cache.is_empty() {
        let there: BTreeSet<String> =
            store.usage()?.caches.into_iter().map(|cache| cache.id).collect();
        if let Some(id) = flags.cache.iter().find(|id| !there.contains(*id)) {
            return Err(CliError::Missing(format!(
                "there is no cache mount {id:?}; `yado store du` lists them"
            )));
        }
    }
    let used_before = flags
        .older_than
        .map(|age| SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
    let selection = Selection {
        images: flags.all,
        caches: caches_only.then(|| flags.cache.iter().cloned().collect()),
        used_before,
        keep: flags.keep_storage,
    };
    let pruned =
        if flags.dry_run { store.prunable(&selection)? } else { store.prune(&selection)? };
    println!("{} {}", if flags.dry_run { "would remove" } else { "removed" }, counts(&pruned));
    if let Some(first) = pruned.left.first() {
        let count = pruned.left.len();
        let cause = first.source().map(|e| format!(": {e}")).unwrap_or_default();
        println!(
            "left {count} unpacked layers, which have files of ids that this user does not have here \
             ({first}{cause}); yado removes them when it is run with these ids"
        );
    }
    if let Some(keep) = flags.keep_storage.filter(|keep| pruned.kept > *keep) {
        let why = if flags.older_than.is_some() {
            "the rest was used since, or named images need it"
        } else {
            "named images need it (--all removes them)"
        };
        println!("{} are left, more than {}: {why}", size(pruned.kept), size(keep));
    }
    Ok(())
}

/// What was removed.
pub(super) fn counts(pruned: &Pruned) -> String {
    format!(
        "{} blobs, {} unpacked layers, {} remembered steps and {} cache mounts: {}",
        pruned.blobs,
        pruned.trees,
        pruned.steps,
        pruned.caches,
        size(pruned.bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (seconds, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (7200, "2 hours ago"),
            (86_400, "1 day ago"),
            (999_999, "11 days ago"),
        ] {
            assert_eq!(ago(now - Duration::from_secs(seconds), now), text);
        }
        assert_eq!(ago(now + Duration::from_secs(5), now), "just now");
    }
}
