//! What a step sees besides its root: files and directories of the outside,
//! directories in memory, and files that exist in memory alone.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::mount::MountFlags;

use super::init::{bind_path, mount, target};
use super::protocol::Failure;
use super::{Content, Mount};
use crate::sys;

/// What the name of a file in memory begins with: it is made in the step's own `/dev`, shown
/// at its place and removed from there.
const FILE: &str = ".file";

/// Mounts all; `root` has the step's `/dev` already.
pub(super) fn mount_all(root: &OwnedFd, mounts: &[Mount]) -> Result<(), Failure> {
    for (number, mount) in mounts.iter().enumerate() {
        let action = || match &mount.content {
            Content::Outside(path) => format!("bind {} to {}", path.display(), mount.target),
            _ => format!("mount {}", mount.target),
        };
        mount_one(root, mount, number).map_err(|e| Failure::of(action())(e))?;
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
            let dev = target(root, "dev")?;
            let name = format!("{FILE}-{number}");
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&dev, &name, flags, Mode::from_raw_mode(0o600))?;
            let mut file = std::fs::File::from(file);
            file.write_all(bytes)?;
            rustix::fs::fchown(&file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(*mode))?;
            bind_path(crate::fs::proc_path(&file), target(root, &wanted.target)?)?;
            sys::make_mount_plain(target(root, &wanted.target)?)?;
            rustix::fs::unlinkat(&dev, &name, AtFlags::empty())?;
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
