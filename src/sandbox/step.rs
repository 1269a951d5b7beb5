//! The last moment before the step's own program: user, capabilities, exec.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FileType, Mode};
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::protocol::Failure;
use super::{Command, Credentials};
use crate::sys;

/// The capabilities that Docker gives a container; a build step expects them.
pub(super) const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Becomes the step; returns only when it cannot.
pub(super) fn exec(command: &Command, capabilities: CapabilitySet) -> Failure {
    match prepare(command, capabilities) {
        Err(failure) => failure,
        Ok(program) => {
            let error = process::Command::new(&program)
                .arg0(command.args.first().map_or("", String::as_str))
                .args(command.args.iter().skip(1))
                .env_clear()
                .envs(command.env.iter().map(|(name, value)| (name, value)))
                .exec();
            let hint = match error.raw_os_error() {
                Some(libc::ENOENT) => " (its interpreter is missing)",
                Some(libc::ENOEXEC) => {
                    " (not a program of this architecture, or a script without #!)"
                }
                _ => "",
            };
            Failure { message: format!("exec {}: {error}{hint}", program.display()), program: true }
        }
    }
}

fn prepare(command: &Command, capabilities: CapabilitySet) -> Result<PathBuf, Failure> {
    // A session of its own: the terminal's Ctrl-C is for the builder.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let credentials = &command.credentials;
    let id_error = |what: &str, id: u32| {
        let message = format!("become {what} {id}");
        move |e: std::io::Error| {
            let hint = match e.raw_os_error() {
                Some(libc::EINVAL) => {
                    "; the builder has no such id: give its user subordinate ids in /etc/subuid and /etc/subgid"
                }
                _ => "",
            };
            Failure { message: format!("{message}: {e}{hint}"), program: false }
        }
    };
    own_output(credentials);
    drop_from_bounding_set(capabilities)?;
    let single = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    if !single {
        sys::set_groups(&credentials.groups)
            .map_err(Failure::of("set the supplementary groups"))?;
    }
    let gid = Gid::from_raw(credentials.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(|e| id_error("group", credentials.gid)(e.into()))?;
    let uid = Uid::from_raw(credentials.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(|e| id_error("user", credentials.uid)(e.into()))?;
    let held =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let kept = if credentials.uid == 0 { capabilities & held } else { CapabilitySet::empty() };
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
        .map_err(|e| Failure::of("drop capabilities")(e.into()))?;
    rustix::process::chdir(command.workdir.as_str()).map_err(|e| Failure {
        message: format!("enter the working directory {}: {e}", command.workdir),
        program: true,
    })?;
    find_program(command)
}

/// Gives the user the pipes that he writes to: opening `/dev/stdout` again asks for a right to them.
fn own_output(credentials: &Credentials) {
    let (uid, gid) = (Uid::from_raw(credentials.uid), Gid::from_raw(credentials.gid));
    for stream in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let pipe = rustix::fs::fstat(stream)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if pipe {
            // With one id they are his already.
            let _ = rustix::fs::fchown(stream, Some(uid), Some(gid));
        }
    }
}

fn drop_from_bounding_set(kept: CapabilitySet) -> Result<(), Failure> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => rustix::thread::remove_capability_from_bounding_set(capability)
                .map_err(|e| Failure::of("drop capabilities")(e.into()))?,
            Ok(false) => {}
            // Past the kernel's last capability.
            Err(_) => break,
        }
    }
    Ok(())
}

/// Finds the program as a shell would, in the step's own `PATH`.
fn find_program(command: &Command) -> Result<PathBuf, Failure> {
    let Some(name) = command.args.first().filter(|name| !name.is_empty()) else {
        return Err(Failure { message: "no program was given".to_owned(), program: true });
    };
    let executable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = PathBuf::from(name);
        let problem = match fs::metadata(&path) {
            Ok(_) if executable(&path) => return Ok(path),
            Ok(meta) if meta.is_dir() => "it is a directory".to_owned(),
            Ok(_) => "it is not executable".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(Failure { message: format!("cannot run {name}: {problem}"), program: true });
    }
    let path = command
        .env
        .iter()
        .rev()
        .find(|(key, _)| key == "PATH")
        .map_or("", |(_, value)| value.as_str());
    path.split(':')
        .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name))
        .find(|candidate| executable(candidate))
        .ok_or_else(|| Failure {
            message: format!("cannot run {name}: there is no such program in PATH ({path})"),
            program: true,
        })
}
