//! What this machine or pod allows, found out by trying.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::mount::MountFlags;
use rustix::process::WaitOptions;
use rustix::thread::UnshareFlags;

use crate::sys::{self, Fork};

/// Something tried, and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What was tried.
    pub name: &'static str,
    /// Nothing, or the system's error.
    pub result: Result<(), String>,
}

/// Tries what a sandbox needs, each in a process of its own that leaves nothing
/// behind. `scratch` is a directory of the store's file system that may be
/// written to. Must be called while the process has one thread, after `enter`.
pub fn probe(scratch: &Path) -> Vec<Probe> {
    let probe = |name, action: &dyn Fn() -> io::Result<()>| Probe {
        name,
        result: attempt(action).map_err(|e| e.to_string()),
    };
    let namespaces = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    vec![
        probe("user and mount namespace", &|| sys::unshare(namespaces)),
        probe("pid, ipc and uts namespace", &|| {
            sys::unshare(
                namespaces | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS,
            )
        }),
        probe("network namespace (RUN --network=none)", &|| {
            sys::unshare(namespaces | UnshareFlags::NEWNET)?;
            sys::loopback_up()
        }),
        probe("chroot", &|| Ok(rustix::process::chroot(c"/")?)),
        probe("device nodes", &|| {
            let kind = rustix::fs::FileType::CharacterDevice;
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let node = scratch.join("node");
            rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, rustix::fs::makedev(1, 3))?;
            std::fs::remove_file(node)
        }),
        probe("overlay in the store", &|| overlay(scratch)),
    ]
}

/// Mounts an overlay in a mount namespace of this process's own.
fn overlay(scratch: &Path) -> io::Result<()> {
    sys::unshare(UnshareFlags::NEWNS)?;
    let dir = |name: &str| -> io::Result<std::path::PathBuf> {
        let path = scratch.join(name);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    };
    let (lower, upper) = (dir("lower")?, dir("upper")?);
    let (work, merged) = (dir("work")?, dir("merged")?);
    let show = |path: &Path| path.display().to_string();
    let options = format!(
        "userxattr,lowerdir={},upperdir={},workdir={}",
        show(&lower),
        show(&upper),
        show(&work)
    );
    let options = std::ffi::CString::new(options)?;
    let mounted = rustix::mount::mount(
        "overlay",
        &merged,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    );
    mounted.map_err(Into::into)
}

/// Tries something in a child, which it cannot outlive.
pub(super) fn attempt(action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let pid = match sys::fork()? {
        Fork::Child => {
            let failed = |e: io::Error| e.raw_os_error().unwrap_or(libc::EPERM);
            sys::exit_now(action().map_or_else(failed, |()| 0))
        }
        Fork::Parent(pid) => pid,
    };
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::Error::other("the attempt was killed")),
    }
}
