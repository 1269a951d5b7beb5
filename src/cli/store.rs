//! `yado store`.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error as _;
use std::process::ExitCode;

use super::Global;
use super::exit::CliError;
use super::session::open_store;
use crate::report::size;

/// The flags of `yado store`.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show how much the store holds
    Du,
    /// Remove the build cache, cache mounts included, and what no named image needs
    Prune {
        /// Remove the named images too
        #[arg(short, long)]
        all: bool,
    },
}

pub(super) fn run(global: &Global, flags: &Flags) -> Result<ExitCode, CliError> {
    let (store, _) = open_store(global)?;
    match flags.command {
        Command::Du => {
            let usage = store.usage()?;
            let root = store.root().display();
            println!("{root}");
            println!("{:>6} named image{}", usage.images, if usage.images == 1 { "" } else { "s" });
            for named in store.named()? {
                println!("         {} {}", named.name, named.manifest.digest);
            }
            println!("{:>6} blobs            {:>10}", usage.blobs, size(usage.blob_bytes));
            println!("{:>6} unpacked layers  {:>10}", usage.trees, size(usage.tree_bytes));
            println!("{:>6} remembered steps", usage.steps);
            let bytes = usage.caches.iter().map(|(_, bytes)| bytes).sum();
            println!("{:>6} cache mounts     {:>10}", usage.caches.len(), size(bytes));
            for (id, bytes) in &usage.caches {
                println!("         {id} {}", size(*bytes));
            }
        }
        Command::Prune { all } => {
            let pruned = store.prune(all)?;
            println!(
                "removed {} blobs, {} unpacked layers, {} remembered steps and {} cache mounts: {}",
                pruned.blobs,
                pruned.trees,
                pruned.steps,
                pruned.caches,
                size(pruned.bytes)
            );
            if let Some(first) = pruned.left.first() {
                let count = pruned.left.len();
                let cause = first.source().map(|e| format!(": {e}")).unwrap_or_default();
                println!(
                    "left {count} unpacked layers, which have files of ids that this user does not have here \
                     ({first}{cause}); yado removes them when it is run with these ids"
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
