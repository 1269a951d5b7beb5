//! Process 1 of a step: its mounts, its root, its reaper.
//!
//! In order: bind the root over itself, mount `/proc`, `/sys` and `/dev` in it,
//! hide what of them belongs to the host, bind the outside's files, `pivot_root`,
//! let go of the old root, start the step, reap until it ends, report, end. The
//! kernel then kills whatever is left in the pid namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Signal, WaitOptions};
use rustix::thread::CapabilitySet;

use super::protocol::{Control, Ended, Failure, Message, Spec};
use super::{Network, mounts, step};
use crate::fs::{open_in_root, proc_path};
use crate::sys::{self, Fork};

/// Device nodes of the host that a step sees.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What of `/proc` and `/sys` a step must not see: the host's memory, keys and hardware.
const HIDDEN: [&str; 11] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/sched_debug",
    "proc/scsi",
    "sys/firmware",
    "sys/devices/virtual/powercap",
];

/// What of `/proc` a step must not write: a step of root's could change the host by it.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Does its work; on success the step has ended and was reported.
pub(super) fn live(spec: &Spec, control: &mut Control) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Failure::of("die with the builder")(e.into()))?;
    rustix::process::setsid().map_err(|e| Failure::of("begin a session")(e.into()))?;
    rustix::process::umask(Mode::from_raw_mode(0));
    prepare_root(spec)?;
    rustix::system::sethostname(spec.command.hostname.as_bytes())
        .map_err(|e| Failure::of("set the host name")(e.into()))?;
    if spec.command.network == Network::None {
        sys::loopback_up().map_err(Failure::of("bring up the loopback interface"))?;
    }
    let step = match sys::fork().map_err(Failure::of("start the step"))? {
        Fork::Child => {
            let capabilities =
                if spec.command.insecure { CapabilitySet::all() } else { step::CAPABILITIES };
            let failure = step::exec(&spec.command, capabilities);
            let _ = control.say(&Message::Failed(failure));
            sys::exit_now(127)
        }
        Fork::Parent(pid) => pid,
    };
    let ended = reap_until(step).map_err(|e| Failure::of("wait for the step")(e.into()))?;
    control.say(&Message::Exited(ended)).map_err(Failure::of("report the end of the step"))
}

/// Reaps every child until `step` has ended.
pub(super) fn reap_until(step: rustix::process::Pid) -> Result<Ended, Errno> {
    loop {
        let status = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == step => status,
            Ok(_) | Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        if let Some(code) = status.exit_status() {
            return Ok(Ended::Code(code));
        }
        if let Some(signal) = status.terminating_signal() {
            return Ok(Ended::Signal(signal));
        }
    }
}

fn prepare_root(spec: &Spec) -> Result<(), Failure> {
    let root_error = |e: Errno| Failure::of(format!("mount {}", spec.root.display()))(e.into());
    rustix::mount::mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(root_error)?;
    rustix::mount::mount_bind_recursive(&spec.root, &spec.root).map_err(root_error)?;
    let root = crate::fs::open_dir(&spec.root).map_err(Failure::of("open the root"))?;
    // A base image may hold nodes of the host's disks.
    sys::make_mount_without_devices(&root).map_err(Failure::of("refuse devices in the root"))?;
    mount_proc(&root)?;
    mount_sys(&root, spec.command.network)?;
    mount_dev(&root)?;
    if !spec.command.insecure {
        for path in HIDDEN {
            hide(&root, path).map_err(Failure::of(format!("hide /{path}")))?;
        }
        for path in READ_ONLY {
            read_only(&root, path).map_err(Failure::of(format!("protect /{path}")))?;
        }
    }
    mounts::mount_all(&root, &spec.command.mounts)?;
    pivot(&root).map_err(Failure::of("pivot_root"))
}

/// A descriptor of a mount point inside the root.
pub(super) fn target(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    open_in_root(root, Path::new(path), OFlags::PATH, Mode::empty())
}

pub(super) fn mount(
    root: &OwnedFd,
    path: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> io::Result<()> {
    let target = target(root, path)?;
    let data = std::ffi::CString::new(data)?;
    Ok(rustix::mount::mount(kind, proc_path(&target), kind, flags, Some(data.as_c_str()))?)
}

pub(super) fn bind_path(source: impl AsRef<Path>, target: impl AsFd) -> io::Result<()> {
    Ok(rustix::mount::mount_bind_recursive(source.as_ref(), proc_path(&target))?)
}

/// A new `/proc` shows this pid namespace only. Where the host's is masked (in a
/// container) the kernel refuses one, and the masked one is shown instead.
fn mount_proc(root: &OwnedFd) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount(root, "proc", "proc", flags, "") {
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            target(root, "proc").and_then(|target| bind_path("/proc", target))
        }
        other => other,
    }
    .map_err(Failure::of("mount /proc"))
}

/// The host's `/sys`, read-only with all that is mounted in it. It would show
/// the host's network interfaces, so a step without network gets a new one, where
/// the kernel allows it.
fn mount_sys(root: &OwnedFd, network: Network) -> Result<(), Failure> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if network == Network::None && mount(root, "sys", "sysfs", flags, "").is_ok() {
        return Ok(());
    }
    let bind = || {
        bind_path("/sys", target(root, "sys")?)?;
        // Opened anew, to name the mount and not the directory below it.
        sys::make_mount_read_only(target(root, "sys")?)
    };
    bind().map_err(Failure::of("mount /sys read-only"))
}

fn mount_dev(root: &OwnedFd) -> Result<(), Failure> {
    let make = || {
        let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount(root, "dev", "tmpfs", MountFlags::NOSUID, "mode=755,size=65536k")?;
        let dev = target(root, "dev")?;
        for name in DEVICES {
            let source = Path::new("/dev").join(name);
            if !source.exists() {
                continue;
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(0o666))?;
            bind_path(&source, &file)?;
        }
        for (name, to) in DEVICE_LINKS {
            rustix::fs::symlinkat(to, &dev, name)?;
        }
        for dir in ["pts", "shm", "mqueue"] {
            rustix::fs::mkdirat(&dev, dir, Mode::from_raw_mode(0o755))?;
        }
        // Group 5 is tty by convention; a user with one id does not have it.
        mount(root, "dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=620,gid=5")
            .or_else(|_| {
                mount(root, "dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=620")
            })?;
        mount(root, "dev/shm", "tmpfs", quiet | MountFlags::NODEV, "mode=1777,size=65536k")?;
        mount(root, "dev/mqueue", "mqueue", quiet | MountFlags::NODEV, "")
    };
    make().map_err(Failure::of("mount /dev"))
}

/// Covers a path with nothing, if it is there.
fn hide(root: &OwnedFd, path: &str) -> io::Result<()> {
    let Some(covered) = existing(root, path)? else { return Ok(()) };
    let stat = rustix::fs::fstat(&covered)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        let flags =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        return Ok(rustix::mount::mount(
            "tmpfs",
            proc_path(&covered),
            "tmpfs",
            flags,
            Some(c"size=0k"),
        )?);
    }
    bind_path("/dev/null", &covered)
}

fn read_only(root: &OwnedFd, path: &str) -> io::Result<()> {
    let Some(covered) = existing(root, path)? else { return Ok(()) };
    bind_path(proc_path(&covered), &covered)?;
    sys::make_mount_read_only(target(root, path)?)
}

fn existing(root: &OwnedFd, path: &str) -> io::Result<Option<OwnedFd>> {
    match target(root, path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes `root` the root and lets go of the old one.
fn pivot(root: &OwnedFd) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    match rustix::process::pivot_root(c".", c".") {
        Ok(()) => rustix::mount::unmount(c".", UnmountFlags::DETACH)?,
        // Some seccomp profiles allow all but pivot_root.
        Err(Errno::PERM) => {
            rustix::mount::mount_move(c".", c"/")?;
            rustix::process::chroot(c".")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::process::chdir(c"/")?)
}
