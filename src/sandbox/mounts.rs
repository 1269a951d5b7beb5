//! What a step sees besides its root: files and directories of the outside,
//! directories in memory, and files that exist in memory alone.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountFlags, UnmountFlags};

use super::init::{bind_path, mount, target};
use super::protocol::Failure;
use super::{Content, Mount};
use crate::sys;

/// Where files in memory are made, in the step's own `/dev`, before they are shown at
/// their places; it is gone when the step starts.
const FILES: &str = "dev/.files";

/// Mounts all; `root` has the step's `/dev` already.
pub(super) fn mount_all(root: &OwnedFd, mounts: &[Mount]) -> Result<(), Failure> {
    let has_files = mounts.iter().any(|mount| matches!(mount.content, Content::File { .. }));
    if has_files {
        open_files(root).map_err(Failure::of("make a place for files in memory"))?;
    }
    for (number, mount) in mounts.iter().enumerate() {
        let action = || match &mount.content {
            Content::Outside(path) => format!("bind {} to {}", path.display(), mount.target),
            _ => format!("mount {}", mount.target),
        };
        mount_one(root, mount, number).map_err(|e| Failure::of(action())(e))?;
    }
    if has_files {
        close_files(root).map_err(Failure::of("close the place for files in memory"))?;
    }
    Ok(())
}

fn mount_one(root: &OwnedFd, wanted: &Mount, number: usize) -> io::Result<()> {
    make_mount_point(root, wanted)?;
    match &wanted.content {
        Content::Outside(path) | Content::Own(path) => {
            bind_path(path, target(root, &wanted.target)?)?;
        }
        Content::File { bytes, mode, uid, gid } => {
            let files = target(root, FILES)?;
            let name = number.to_string();
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&files, &name, flags, Mode::from_raw_mode(0o600))?;
            let mut file = std::fs::File::from(file);
            file.write_all(bytes)?;
            rustix::fs::fchown(&file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(*mode))?;
            bind_path(crate::fs::proc_path(&file), target(root, &wanted.target)?)?;
        }
        Content::Tmpfs { size } => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount(root, &wanted.target, "tmpfs", flags, &format!("mode=1777,size={size}"))?;
        }
    }
    if wanted.read_only {
        sys::make_mount_read_only(target(root, &wanted.target)?)?;
    }
    Ok(())
}

/// Makes the place of a mount where no one could prepare it: in a mount before it,
/// the step's own `/dev` among them.
pub(super) fn make_mount_point(root: &OwnedFd, wanted: &Mount) -> io::Result<()> {
    match target(root, &wanted.target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(drop),
    }
    let mode = Mode::from_raw_mode(0o755);
    let (path, is_dir) = (Path::new(&wanted.target), wanted.is_dir());
    let dir = if is_dir { path } else { path.parent().unwrap_or(Path::new("/")) };
    let dir = crate::fs::create_dir_all_in_root(root, dir, mode)?.fd;
    if let (false, Some(name)) = (is_dir, path.file_name()) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
    }
    Ok(())
}

fn open_files(root: &OwnedFd) -> io::Result<()> {
    rustix::fs::mkdirat(root, FILES, Mode::from_raw_mode(0o700))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(root, FILES, "tmpfs", flags, "mode=700")
}

/// What is shown elsewhere stays.
fn close_files(root: &OwnedFd) -> io::Result<()> {
    rustix::mount::unmount(crate::fs::proc_path(&target(root, FILES)?), UnmountFlags::DETACH)?;
    Ok(rustix::fs::unlinkat(root, FILES, AtFlags::REMOVEDIR)?)
}
