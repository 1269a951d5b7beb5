//! `yado exec`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::CliError;
use super::session::{Progress, RegistryFlags, Session};
use super::{Global, environment};
use crate::build::{self, BuildError, ExecRequest};
use crate::image::{Platform, Reference};
use crate::plan::{ImageRequest, ImageSource};
use crate::sandbox::{Content, Exit, Mount, Network};

/// The flags of `yado exec`.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The image: of the store, else of its registry
    image: Reference,
    /// The command; without one, what the image runs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<String>,
    /// Set a variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The working directory [default: the image's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The user, as NAME or UID[:GROUP] [default: the image's]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Show a file or directory inside, read-only with :ro
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]", value_parser = volume)]
    volume: Vec<Mount>,
    /// The network
    #[arg(long, value_name = "NETWORK", default_value = "default", value_parser = super::build::network)]
    network: Network,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "HOST:IP", value_parser = super::build::host)]
    add_host: Vec<(String, String)>,
    /// Ask the registry even if the store has the image
    #[arg(long)]
    pull: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

fn volume(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts.as_slice() {
        [source, target] | [source, target, "rw"] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => return Err("expected SOURCE:TARGET or SOURCE:TARGET:ro".to_owned()),
    };
    if !target.starts_with('/') {
        return Err(format!("the target {target:?} must be an absolute path"));
    }
    let source = PathBuf::from(source);
    let source = std::path::absolute(&source).map_err(|e| e.to_string())?;
    if !source.exists() {
        return Err(format!("{} is not there", source.display()));
    }
    Ok(Mount { target: (*target).to_owned(), content: Content::Outside(source), read_only })
}

/// Runs a command in an image; its exit code is passed on.
pub(super) fn run(global: &Global, flags: Flags) -> Result<ExitCode, CliError> {
    // Only what goes wrong is shown: the streams are the command's.
    let session = Session::open(global, Progress::Quiet, &flags.registry)?;
    let env = flags
        .env
        .iter()
        .filter_map(|variable| match variable.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((variable.clone(), environment::variable(variable)?)),
        })
        .collect();
    let request = ExecRequest {
        image: ImageRequest {
            source: ImageSource::Registry(flags.image),
            platform: Platform::host(),
        },
        pull: flags.pull,
        args: flags.command,
        env,
        workdir: flags.workdir,
        user: flags.user,
        network: flags.network,
        mounts: flags.volume,
        add_hosts: flags.add_host,
    };
    let name = request.image.source.to_string();
    let code = match build::exec(&request, &session.env).map_err(|e| explain(e, &name))? {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// An image that its registry does not have may be meant to be in the store.
fn explain(error: BuildError, name: &str) -> CliError {
    let mut hints = Vec::new();
    if let BuildError::Pull { .. } = error {
        hints.push(format!(
            "{name} is not in the store either; `yado store du` lists the names that are"
        ));
    }
    CliError::Build { source: Box::new(error), output: Vec::new(), hints }
}
