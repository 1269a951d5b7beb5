//! Every `unsafe` block and raw system call of the crate.
#![expect(unsafe_code, reason = "this module is the one place for it")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The calling process, with the new one's id.
    Parent(Pid),
}

/// Forks a process that has one thread; refuses with `EDEADLK` in any other,
/// where the child could wait for ever on a lock that a lost thread holds.
pub fn fork() -> io::Result<Fork> {
    // A directory for each thread, and so a link to their parent.
    if std::fs::metadata("/proc/self/task").is_ok_and(|tasks| tasks.nlink() > 3) {
        return Err(rustix::io::Errno::DEADLK.into());
    }
    // SAFETY: the process has this one thread (checked above where /proc is
    // there; the callers run before any thread is started), so the child is a
    // complete copy and may do anything that the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).ok_or(rustix::io::Errno::INVAL)?)),
    }
}

/// Ends the process at once, without running anything that a fork copied.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any value and does not return.
    unsafe { libc::_exit(code) }
}

/// Moves the calling thread into new namespaces.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: the flags name namespaces only; the descriptor table, whose
    // unsharing other code could notice, stays shared.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Marks every descriptor from 3 upwards to be closed at `exec`.
pub fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC closes nothing now; it only
    // sets a flag on descriptors.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Makes a mount and all mounts below it read-only.
pub fn make_mount_read_only(mount: impl AsFd) -> io::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    set_mount_attributes(mount, MOUNT_ATTR_RDONLY)
}

/// Lets no device node of a mount, or of a mount below it, be opened.
pub fn make_mount_without_devices(mount: impl AsFd) -> io::Result<()> {
    const MOUNT_ATTR_NODEV: u64 = 4;
    set_mount_attributes(mount, MOUNT_ATTR_NODEV)
}

/// Lets a mount hold neither programs, nor set-id files, nor devices.
pub fn make_mount_plain(mount: impl AsFd) -> io::Result<()> {
    const NOSUID_NODEV_NOEXEC: u64 = 2 | 4 | 8;
    set_mount_attributes(mount, NOSUID_NODEV_NOEXEC)
}

/// `mount_setattr` with `AT_RECURSIVE` (Linux 5.12).
fn set_mount_attributes(mount: impl AsFd, attr_set: u64) -> io::Result<()> {
    let attributes = MountAttr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a NUL-terminated constant, and the kernel reads
    // exactly the size of the structure that is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            std::ptr::from_ref(&attributes),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings up the loopback interface of the network namespace.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: all-zero bytes are a valid `ifreq`; it has only integers and arrays of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which `request` is and outlives the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            std::ptr::from_ref(&request),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the session keyring, and with it any key of the caller's, for a new empty one.
pub fn leave_session_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for a new anonymous keyring; no memory is
    // touched. Kernels without keyrings refuse, and then there is none to leave.
    let _ = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>())
    };
}

/// Sets the set of supplementary groups of the (only) thread.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    let groups: Vec<_> = groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
    Ok(rustix::thread::set_thread_groups(&groups)?)
}
