//! The command line: flags and environment in, one library call, report out.
//!
//! The only place that prints, exits or reads the environment. Names and habits
//! are those of `docker buildx build` wherever it has a counterpart.

mod build;
mod cache;
mod call;
mod cluster;
mod contexts;
mod environment;
mod exec;
mod exit;
mod git_clone;
mod git_patch;
mod image_tag;
mod info;
mod output;
mod place;
mod quantity;
mod rollout;
mod secrets;
mod session;
mod step;
mod store;
mod sync;
mod trigger;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::sandbox::IsolationChoice;

/// Builds container images without a daemon and without root, and does the steps around a build.
#[derive(Debug, Parser)]
#[command(name = "yado", version, max_term_width = 100, propagate_version = true, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
struct Global {
    /// Where images, layers and the build cache are kept [env: YADO_ROOT] [default: ~/.local/share/yado]
    #[arg(long, global = true, help_heading = "Of every command", value_name = "DIR")]
    root: Option<PathBuf>,
    /// How steps are isolated
    #[arg(
        long,
        global = true,
        help_heading = "Of every command",
        value_enum,
        default_value_t,
        value_name = "KIND"
    )]
    isolation: Isolation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Isolation {
    /// The best that this machine or pod allows
    #[default]
    Auto,
    /// Namespaces and `pivot_root`, or fail
    Namespaces,
    /// A plain chroot (as root only), or fail
    Chroot,
}

impl From<Isolation> for IsolationChoice {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Auto => Self::Auto,
            Isolation::Namespaces => Self::Namespaces,
            Isolation::Chroot => Self::Chroot,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a Dockerfile
    Build(Box<build::Flags>),
    /// Run a command in an image, with the sandbox of a RUN step
    Exec(Box<exec::Flags>),
    /// Clone a git repository into a directory
    GitClone(Box<git_clone::Flags>),
    /// Make the tag of an image, from the time, a commit or a version
    ImageTag(Box<image_tag::Flags>),
    /// Change an image or another value in files of a git repository
    GitPatch(Box<git_patch::Flags>),
    /// Have Argo CD make a commit live, and wait until it is
    Sync(Box<sync::Flags>),
    /// Change the image of a workload, restart it, go back, and wait until its pods run
    Rollout(Box<rollout::Flags>),
    /// Start a Tekton `PipelineRun`, once for each synced commit, and wait for its end
    Trigger(Box<trigger::Flags>),
    /// Look at the store, or empty it
    Store(store::Flags),
    /// Show what this machine or pod allows, and which isolation follows
    Info,
}

/// The steps around a build, whose flags can come from the environment too.
const STEPS: [&str; 6] = ["git-clone", "image-tag", "git-patch", "sync", "rollout", "trigger"];

/// The command line, in which each flag of a step has its variable: `YADO_GIT_PATCH_BRANCH`.
fn command() -> clap::Command {
    STEPS.into_iter().fold(Arguments::command(), |command, name| {
        if command.find_subcommand(name).is_none() {
            return command;
        }
        command.mut_subcommand(name, |step| with_variables(step, &variable(name)))
    })
}

fn variable(name: &str) -> String {
    format!("YADO_{}", name.replace('-', "_").to_uppercase())
}

fn with_variables(command: clap::Command, prefix: &str) -> clap::Command {
    // What `--config` says comes first and gives way.
    let command = command.args_override_self(true);
    let below: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match arg.get_long() {
        Some(long) if arg.get_env().is_none() => {
            let variable = format!("{prefix}_{}", long.replace('-', "_").to_uppercase());
            arg.env(variable).hide_env(true)
        }
        _ => arg,
    });
    below
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |c| with_variables(c, prefix)))
}

/// Runs the program.
pub fn run() -> ExitCode {
    let command = command();
    let typed = match step::expand(&command, std::env::args_os().collect(), &STEPS) {
        Ok(typed) => typed,
        Err(error) => return exit::report(&error),
    };
    let matches = command.try_get_matches_from(typed);
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let Arguments { global, command } = arguments;
    let done = match command {
        Command::Build(flags) => build::run(&global, &flags),
        Command::Exec(flags) => exec::run(&global, *flags),
        Command::GitClone(flags) => git_clone::run(&flags).map(|()| ExitCode::SUCCESS),
        Command::ImageTag(flags) => image_tag::run(*flags),
        Command::GitPatch(flags) => git_patch::run(&flags),
        Command::Sync(flags) => sync::run(&flags),
        Command::Rollout(flags) => rollout::run(*flags),
        Command::Trigger(flags) => trigger::run(&flags),
        Command::Store(flags) => store::run(&global, &flags),
        Command::Info => info::run(&global),
    };
    match done {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
