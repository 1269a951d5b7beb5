//! Stacking trees with the kernel's overlay file system.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// How many bytes of options the kernel takes, the last one of them 0.
const OPTIONS: usize = 4096;

/// A mounted overlay; it is unmounted when the value is dropped.
#[derive(Debug)]
pub struct Overlay {
    target: PathBuf,
}

/// The directories that take the changes of a mount.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Where changes go.
    pub upper: &'a Path,
    /// An empty directory of the same file system, for the kernel.
    pub work: &'a Path,
}

impl Overlay {
    /// Mounts `lowers`, the lowest first, at `target`; read-only without `upper`.
    ///
    /// `userxattr` is what works in a user namespace; it is used by root as
    /// well, so that trees on disk have one form.
    pub fn mount(lowers: &[PathBuf], upper: Option<Upper<'_>>, target: &Path) -> io::Result<Self> {
        // Descriptors instead of paths: short, so that hundreds of layers fit
        // into the page that the kernel takes, and free of its separators.
        let open = |path: &Path| {
            rustix::fs::open(
                path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(|e| {
                io::Error::new(io::Error::from(e).kind(), format!("{}: {e}", path.display()))
            })
        };
        let lowers = lowers.iter().rev().map(|path| open(path)).collect::<io::Result<Vec<_>>>()?;
        let names: Vec<String> =
            lowers.iter().map(|fd| crate::fs::proc_path(fd).display().to_string()).collect();
        let mut options = format!("userxattr,lowerdir={}", names.join(":"));
        let upper = upper
            .map(|dirs| Ok::<_, io::Error>((open(dirs.upper)?, open(dirs.work)?)))
            .transpose()?;
        if let Some((upper, work)) = &upper {
            let path = |fd| crate::fs::proc_path(fd).display().to_string();
            options = format!("{options},upperdir={},workdir={}", path(upper), path(work));
        }
        let mount = |options: String| {
            // The kernel's own words for it are "invalid argument".
            if options.len() >= OPTIONS {
                let count = lowers.len();
                return Err(io::Error::other(format!(
                    "{count} layers are more than the kernel stacks; give the image fewer, for example by building it FROM scratch with COPY --from"
                )));
            }
            let options = CString::new(options)?;
            let flags = if upper.is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
            Ok::<_, io::Error>(rustix::mount::mount(
                "overlay",
                target,
                "overlay",
                flags,
                Some(options.as_c_str()),
            ))
        };
        // A step's tree is thrown away after a crash, so nothing need be
        // written through to the disk (Linux 5.10).
        let mut mounted = Err(Errno::INVAL);
        if upper.is_some() {
            mounted = mount(format!("{options},volatile"))?;
        }
        if mounted == Err(Errno::INVAL) {
            mounted = mount(options)?;
        }
        mounted?;
        Ok(Self { target: target.to_owned() })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.target
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Detached if something still looks at it; it goes with the namespace at the latest.
        let _ = rustix::mount::unmount(&self.target, UnmountFlags::DETACH);
    }
}
