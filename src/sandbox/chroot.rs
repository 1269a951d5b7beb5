//! The chroot view: root in a pod that refuses namespaces.
//!
//! There are no mounts here. Devices are made for the step and removed again; the
//! outside's files are copied, the builder's own moved, to where they are shown, and
//! what stood in their place is put back afterwards. What the step leaves running is adopted by this process, as
//! its sub-reaper, and killed.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timestamps, Uid, makedev};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::CapabilitySet;

use super::protocol::{Control, Ended, Failure, Message, Spec};
use super::stubs::times_of;
use super::{Content, Mount, Network, step};
use crate::fs::open_in_root;
use crate::sys::{self, Fork};

/// Without those by which root leaves a chroot, or reaches the host's disks.
const CAPABILITIES: CapabilitySet =
    step::CAPABILITIES.difference(CapabilitySet::SYS_CHROOT.union(CapabilitySet::MKNOD));

/// The device nodes a step sees: name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Does its work; on success the step has ended and was reported.
pub(super) fn live(spec: &Spec, control: &mut Control) -> Result<(), Failure> {
    if spec.command.network == Network::None {
        return Err(Failure {
            message: "a step without network needs namespaces, which are refused here".to_owned(),
            program: false,
        });
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| Failure::of("adopt orphans")(e.into()))?;
    let root = crate::fs::open_dir(&spec.root).map_err(Failure::of("open the root"))?;
    let mut guests = Guests {
        root,
        root_path: spec.root.clone(),
        kept: None,
        placed: Vec::new(),
        touched: Vec::new(),
    };
    let ended = guests.place_all(spec).and_then(|()| run(spec, control));
    guests.take_out();
    let ended = ended?;
    control.say(&Message::Exited(ended)).map_err(Failure::of("report the end of the step"))
}

fn run(spec: &Spec, control: &mut Control) -> Result<Ended, Failure> {
    let step = match sys::fork().map_err(Failure::of("start the step"))? {
        Fork::Child => {
            let failure = match rustix::process::chroot(&spec.root)
                .and_then(|()| rustix::process::chdir(c"/"))
            {
                Ok(()) => step::exec(&spec.command, CAPABILITIES),
                Err(error) => Failure::of("chroot")(error.into()),
            };
            let _ = control.say(&Message::Failed(failure));
            sys::exit_now(127)
        }
        Fork::Parent(pid) => pid,
    };
    let waited = control.wait_while_wanted(step);
    if !matches!(waited, Ok(true)) {
        let _ = rustix::process::kill_process(step, Signal::KILL);
    }
    let ended =
        super::init::reap_until(step).map_err(|e| Failure::of("wait for the step")(e.into()));
    kill_descendants();
    waited.map_err(Failure::of("wait for the step"))?;
    ended
}

/// Kills every child until there is none; a child's children become ours in turn.
fn kill_descendants() {
    loop {
        for pid in children() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The children of this process, by their parent's id in `/proc`.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name is in parentheses and may hold anything; after it: state, parent.
            let parent: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            (parent == own).then(|| Pid::from_raw(pid)).flatten()
        })
        .collect()
}

/// One thing that was put into the root.
struct Guest {
    /// The directory that it is in.
    place: OwnedFd,
    name: CString,
    /// Under which name the tree's own file is kept.
    kept: Option<CString>,
    /// Where it was moved from, and goes back to; and the thing itself, wherever it is.
    home: Option<(PathBuf, OwnedFd)>,
}

/// What was put into the root for the time of the step.
struct Guests {
    root: OwnedFd,
    root_path: PathBuf,
    /// Where the tree's own files are for that time: beside it, so that no step sees them.
    kept: Option<OwnedFd>,
    placed: Vec<Guest>,
    /// Directories and the times they had.
    touched: Vec<(OwnedFd, Timestamps)>,
}

impl Guests {
    fn place_all(&mut self, spec: &Spec) -> Result<(), Failure> {
        self.place_devices().map_err(Failure::of("make /dev"))?;
        for mount in &spec.command.mounts {
            self.place(mount).map_err(Failure::of(format!("show a mount at {}", mount.target)))?;
        }
        // What the times are after the step is then the step's doing alone.
        for (dir, times) in self.touched.iter().rev() {
            rustix::fs::futimens(dir, times)
                .map_err(|e| Failure::of("set the times of a directory")(e.into()))?;
        }
        Ok(())
    }

    fn place_devices(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dev = open_in_root(&self.root, Path::new("dev"), flags, Mode::empty())?;
        self.remember_times(&dev)?;
        for (name, major, minor) in DEVICES {
            let name = CString::new(name)?;
            let mode = Mode::from_raw_mode(0o666);
            match rustix::fs::mknodat(
                &dev,
                &name,
                FileType::CharacterDevice,
                mode,
                makedev(major, minor),
            ) {
                Ok(()) => {
                    // The umask may have taken bits away.
                    rustix::fs::chmodat(&dev, &name, mode, AtFlags::empty())?;
                    let place = crate::fs::reopen_dir(&dev)?;
                    self.placed.push(Guest { place, name, kept: None, home: None });
                }
                // There already, or not allowed: the step sees what there is.
                Err(Errno::EXIST | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn place(&mut self, mount: &Mount) -> io::Result<()> {
        super::mounts::make_mount_point(&self.root, mount)?;
        let target =
            open_in_root(&self.root, Path::new(&mount.target), OFlags::PATH, Mode::empty())?;
        let path = fs::read_link(crate::fs::proc_path(&target))?;
        let inside = path.strip_prefix(&self.root_path).map_err(io::Error::other)?;
        let (parent, name) =
            (inside.parent().unwrap_or(Path::new("")), inside.file_name().ok_or(Errno::INVAL)?);
        let parent =
            open_in_root(&self.root, parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        self.remember_times(&parent)?;
        let name = CString::new(name.as_bytes())?;
        let kept = CString::new(self.placed.len().to_string())?;
        rustix::fs::renameat(&parent, &name, self.kept()?, &kept)?;
        let home = match &mount.content {
            Content::Own(path) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Some((path.clone(), rustix::fs::open(path, flags, Mode::empty())?))
            }
            _ => None,
        };
        let place = crate::fs::reopen_dir(&parent)?;
        self.placed.push(Guest { place, name: name.clone(), kept: Some(kept), home });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600));
        match &mount.content {
            Content::Own(path) => rustix::fs::renameat(CWD, path, &parent, &name)?,
            Content::Outside(path) => {
                let meta = fs::metadata(path)?;
                if !meta.is_file() {
                    return Err(io::Error::other(
                        "directories of the outside can be shown only with namespaces, which are refused here",
                    ));
                }
                let copy = create()?;
                rustix::fs::fchmod(&copy, Mode::from_raw_mode(meta.mode() & 0o777))?;
                io::copy(&mut fs::File::open(path)?, &mut fs::File::from(copy))?;
            }
            Content::File { bytes, mode, uid, gid } => {
                let file = create()?;
                rustix::fs::fchown(&file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(*mode))?;
                io::Write::write_all(&mut fs::File::from(file), bytes)?;
            }
            Content::Tmpfs { .. } => {
                rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?;
                rustix::fs::chmodat(&parent, &name, Mode::from_raw_mode(0o1777), AtFlags::empty())?;
            }
        }
        Ok(())
    }

    fn kept(&mut self) -> io::Result<&OwnedFd> {
        if self.kept.is_none() {
            let path = self.kept_path();
            fs::create_dir(&path)?;
            self.kept = Some(crate::fs::open_dir(&path)?);
        }
        self.kept.as_ref().ok_or_else(|| Errno::NOENT.into())
    }

    fn kept_path(&self) -> PathBuf {
        self.root_path.with_extension("kept")
    }

    /// Moves a guest home from wherever the step may have moved it; whatever else stands in
    /// its place is not it.
    fn take_home(&self, guest: &OwnedFd, home: &Path) -> io::Result<()> {
        let path = crate::fs::path_below(&self.root, guest)?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let parent = path.parent().unwrap_or(Path::new(""));
        let parent = open_in_root(&self.root, parent, flags, Mode::empty())?;
        let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let wanted = rustix::fs::fstat(guest)?;
        if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino) {
            return Err(Errno::NOENT.into());
        }
        Ok(rustix::fs::renameat(&parent, name, CWD, home)?)
    }

    fn remove_kept(&self) -> io::Result<()> {
        crate::fs::remove_path(&self.kept_path())
    }

    fn remember_times(&mut self, dir: &OwnedFd) -> io::Result<()> {
        let times = times_of(dir)?;
        self.touched.push((crate::fs::reopen_dir(dir)?, times));
        Ok(())
    }

    fn take_out(&mut self) {
        for (dir, times) in &mut self.touched {
            if let Ok(now) = times_of(&*dir) {
                *times = now;
            }
        }
        for Guest { place, name, kept, home } in std::mem::take(&mut self.placed).into_iter().rev()
        {
            // What the step itself removed is gone, which is right.
            if let Some((home, guest)) = home {
                let _ = self.take_home(&guest, &home);
            }
            let _ = crate::fs::remove_tree(&place, &name);
            if let (Some(name_kept), Some(dir)) = (kept, &self.kept) {
                let _ = rustix::fs::renameat(dir, &name_kept, &place, &name);
            }
        }
        if self.kept.take().is_some() {
            // What could not be put back was in a directory that the step removed.
            let _ = self.remove_kept();
        }
        for (dir, times) in self.touched.drain(..) {
            let _ = rustix::fs::futimens(&dir, &times);
        }
    }
}
