//! RUN, and `yado exec`: a process in a stage's tree.

use std::path::Path;

use super::mounts::Prepared;
use super::stage::{Context, StageResult};
use super::steps::{STEP_FILES, passwd_error};
use super::tree::{Bottom, Changed, Tree};
use super::{BuildError, BuildRequest, Entitlement, Env, Timestamps, base, default_env, work_file};
use crate::dockerfile;
use crate::plan::{ImageRequest, Run, Step};
use crate::report::{Event, Stream};
use crate::rootfs::{Ledger, Users};
use crate::sandbox::{self, Command, Content, Credentials, Exit, Io, Mount, Network, Stubs, View};
use crate::snapshot::Times;

/// The host name of steps: the same everywhere, since some programs write it down.
const HOSTNAME: &str = "yado";
/// The build argument for another one.
const HOSTNAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// Runs the process of a RUN in the stage's tree; gives what it changed.
pub(super) fn run_step(
    step: &Step,
    run: &Run,
    state: &StageResult,
    tree: &mut Tree,
    prepared: &Prepared,
    context: &Context<'_>,
) -> Result<((), Changed), BuildError> {
    let (env, request) = (context.env, context.request);
    let mut variables = step.env.clone();
    variables.extend(run.proxies.iter().cloned());
    if let Timestamps::Epoch(_) = request.timestamps
        && !variables.iter().any(|(name, _)| name == "SOURCE_DATE_EPOCH")
    {
        variables.push(("SOURCE_DATE_EPOCH".to_owned(), state.epoch.to_string()));
    }
    let network = match run.network {
        dockerfile::Network::Default => request.network,
        dockerfile::Network::None => Network::None,
        dockerfile::Network::Host if request.network == Network::None => {
            return Err(BuildError::Unsupported(
                "RUN --network=host is refused, since the build has --network none".to_owned(),
            ));
        }
        dockerfile::Network::Host => Network::Host,
    };
    let insecure = run.security == dockerfile::Security::Insecure;
    if insecure && !request.entitlements.contains(&Entitlement::SecurityInsecure) {
        return Err(BuildError::Unsupported(
            "RUN --security=insecure is refused; allow it with --allow security.insecure"
                .to_owned(),
        ));
    }
    if insecure && env.isolation.view == View::Chroot {
        return Err(BuildError::Unsupported(
            "RUN --security=insecure needs namespaces, which are refused here".to_owned(),
        ));
    }
    let hostname = hostname(request);
    let mut mounts = step_files(env, hostname, &request.add_hosts)?;
    for (name, text) in &run.scripts {
        let script = Content::Own(work_file(env, "script", text.as_bytes(), 0o755)?);
        let target = format!("/dev/pipes/{name}");
        mounts.push(Mount { target, content: script, read_only: true });
    }
    let output = |stream: Stream, line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        env.sink.event(Event::StepOutput { step: context.step, stream, line });
    };
    for (name, value) in &prepared.env {
        // The place of the agent's socket is only a default.
        let given = variables.iter().any(|(other, _)| other == name);
        if !(given && name == "SSH_AUTH_SOCK") {
            variables.push((name.clone(), value.clone()));
        }
    }
    mounts.extend(prepared.mounts.iter().cloned());
    let process = Process {
        args: &run.args,
        env: variables,
        workdir: &step.workdir,
        user: &step.user,
        hostname,
        network,
        mounts,
        insecure,
    };
    let bottom = process.mounts.clone();
    tree.change(&state.layers, Bottom::MountPoints(&bottom), env, |root, _| {
        match start(process, root, Io::Lines(&output), env)? {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(BuildError::Exit(code)),
            Exit::Signal(signal) => Err(BuildError::Signal(signal)),
        }
    })
}

/// The host name that steps see.
pub(super) fn hostname(request: &BuildRequest) -> &str {
    let arguments = request.options.build_args.iter().rev();
    let mut hostnames = arguments.filter(|(name, _)| name == HOSTNAME_ARGUMENT);
    hostnames.next().map_or(HOSTNAME, |(_, hostname)| hostname.as_str())
}

/// What `yado exec` runs.
#[derive(Debug)]
pub struct ExecRequest {
    /// The image.
    pub image: ImageRequest,
    /// Whether the registry is asked although the store has the image.
    pub pull: bool,
    /// The program and its arguments; empty runs what the image would.
    pub args: Vec<String>,
    /// More variables.
    pub env: Vec<(String, String)>,
    /// Another working directory than the image's.
    pub workdir: Option<String>,
    /// Another user than the image's.
    pub user: Option<String>,
    /// The network.
    pub network: Network,
    /// Files and directories of the outside.
    pub mounts: Vec<Mount>,
    /// `HOST IP` lines for `/etc/hosts`.
    pub add_hosts: Vec<(String, String)>,
}

/// Runs a process in an image, with the caller's standard streams; what it
/// changes is thrown away.
pub fn exec(request: &ExecRequest, env: &Env) -> Result<Exit, BuildError> {
    let image = base::resolve(&request.image, request.pull, env)?;
    let runtime = &image.config.config;
    let args = if request.args.is_empty() {
        let entrypoint = runtime.entrypoint.clone().unwrap_or_default();
        entrypoint.into_iter().chain(runtime.cmd.clone().unwrap_or_default()).collect()
    } else {
        request.args.clone()
    };
    if args.is_empty() {
        return Err(BuildError::Unsupported(
            "the image has neither ENTRYPOINT nor CMD; give a command after --".to_owned(),
        ));
    }
    let mut variables = default_env(runtime);
    for (name, value) in &request.env {
        variables.retain(|(other, _)| other != name);
        variables.push((name.clone(), value.clone()));
    }
    let workdir = if runtime.working_dir.is_empty() { "/" } else { &runtime.working_dir };
    let mut mounts = step_files(env, HOSTNAME, &request.add_hosts)?;
    mounts.extend(request.mounts.iter().cloned());
    let process = Process {
        args: &args,
        env: variables,
        workdir: request.workdir.as_deref().unwrap_or(workdir),
        user: request.user.as_deref().unwrap_or(&runtime.user),
        hostname: HOSTNAME,
        network: request.network,
        mounts,
        insecure: false,
    };
    let mut tree = Tree::new(Times::Keep);
    let bottom = process.mounts.clone();
    let (exit, _) = tree.change(&image.layers, Bottom::MountPoints(&bottom), env, |root, _| {
        start(process, root, Io::Inherit, env)
    })?;
    Ok(exit)
}

/// A process, as the Dockerfile or the caller names things.
struct Process<'a> {
    args: &'a [String],
    env: Vec<(String, String)>,
    workdir: &'a str,
    user: &'a str,
    hostname: &'a str,
    network: Network,
    mounts: Vec<Mount>,
    insecure: bool,
}

fn start(process: Process<'_>, path: &Path, io: Io<'_>, env: &Env) -> Result<Exit, BuildError> {
    let fail = |action| move |source| BuildError::Io { action, path: path.to_owned(), source };
    let root = crate::fs::open_dir(path).map_err(fail("open"))?;
    let user = Users::read(&root).map_err(passwd_error)?.user(process.user)?;
    let possible = !matches!(env.isolation.view, View::None(_));
    if possible && !env.isolation.ids.holds(user.uid, user.gid) {
        return Err(BuildError::Unsupported(format!(
            "user {}:{} is not among the ids that the builder has; give its user subordinate ids in /etc/subuid and /etc/subgid",
            user.uid, user.gid
        )));
    }
    crate::rootfs::make_dirs(
        &root,
        Path::new(process.workdir),
        (0, 0),
        env.owners(&Ledger::default()),
    )?;
    let mut variables = process.env;
    if !variables.iter().any(|(name, _)| name == "HOME") {
        variables.push(("HOME".to_owned(), user.home.clone()));
    }
    let command = Command {
        args: process.args.to_vec(),
        env: variables,
        workdir: process.workdir.to_owned(),
        credentials: Credentials { uid: user.uid, gid: user.gid, groups: user.groups },
        hostname: process.hostname.to_owned(),
        network: process.network,
        mounts: process.mounts,
        insecure: process.insecure,
    };
    let places = ["/proc", "/sys", "/dev"].into_iter().map(|place| (place, true));
    // With namespaces the step has a /dev of its own, where these are made.
    let own_dev = env.isolation.view == View::Namespaces;
    let covered = |mount: &Mount| {
        own_dev && mount.target.starts_with("/dev/")
            || command.mounts.iter().any(|other| {
                mount.target.strip_prefix(&other.target).is_some_and(|rest| rest.starts_with('/'))
            })
    };
    let shown = command.mounts.iter().filter(|mount| !covered(mount));
    let targets = places.chain(shown.map(|mount| (mount.target.as_str(), mount.is_dir())));
    let mut stubs = Stubs::prepare(&root, targets).map_err(fail("make mount points in"))?;
    let exit = sandbox::run(&command, path, &env.isolation, io, &env.launcher, &env.cancellation);
    stubs.remove();
    Ok(exit?)
}

/// hosts and resolv.conf, fresh for one process, which may write to them.
fn step_files(
    env: &Env,
    hostname: &str,
    add_hosts: &[(String, String)],
) -> Result<Vec<Mount>, BuildError> {
    let mut hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{hostname}\n"
    );
    for (name, address) in add_hosts {
        hosts.extend([address, "\t", name, "\n"]);
    }
    let contents = [hosts.as_bytes(), &env.resolv_conf];
    let files = STEP_FILES.iter().zip(contents);
    files
        .map(|(target, content)| {
            let content = if env.isolation.view == View::Namespaces {
                Content::File { bytes: content.to_vec(), mode: 0o644, uid: 0, gid: 0 }
            } else {
                Content::Own(work_file(env, "step-file", content, 0o644)?)
            };
            Ok(Mount { target: (*target).to_owned(), content, read_only: false })
        })
        .collect()
}
