//! Confined file operations: on directory descriptors, never on path strings.
//!
//! Two rules hold for all of them. A name that came from outside (a layer, a
//! build context, a step's tree) is resolved by the kernel inside its root
//! (`openat2` with `RESOLVE_IN_ROOT` or `RESOLVE_BENEATH`), so no link leads
//! out. And removal never crosses a mount point and never follows a link, so
//! that a mount left in a tree costs an error message, not the files behind it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a directory by the caller's own path.
pub fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens `path` as a process would that has `root` as its root directory:
/// absolute links and `..` stay inside.
pub fn open_in_root(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, mode, resolve)
}

/// Where the open file `fd` is below `root`, with no link in the path.
pub fn path_below(root: impl AsFd, fd: impl AsFd) -> io::Result<PathBuf> {
    let place = |fd: BorrowedFd<'_>| {
        std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)))
    };
    let (root, path) = (place(root.as_fd())?, place(fd.as_fd())?);
    // Only who moves the directory meanwhile sees this.
    let moved = |_| io::Error::other(format!("it is not in {} any more", root.display()));
    path.strip_prefix(&root).map(Path::to_owned).map_err(moved)
}

/// Opens the directory `name` of `parent` itself, not what a link or mount of that name leads to.
pub fn open_subdir(parent: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(parent.as_fd(), name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Opens the directory `path` of `root`, if no link is on the way.
pub fn open_dir_beneath(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), resolve)
}

fn openat2(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        // The kernel asks to try again when a rename raced with the resolution.
        match rustix::fs::openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A directory found or made by [`create_dir_all_in_root`].
#[derive(Debug)]
pub struct CreatedDir {
    /// The directory, opened for reading.
    pub fd: OwnedFd,
    /// Where it is below the root, all links resolved.
    pub path: PathBuf,
    /// The directories that had to be made, the outermost first, as paths like `path`.
    pub created: Vec<PathBuf>,
}

/// Opens the directory `path` inside `root`, making what is missing with `mode`.
///
/// Links are followed inside the root; a dangling link's target is made, as
/// `mkdir -p` inside a chroot would. Fails with `ENOTDIR` when a component is a
/// file and with `ELOOP` after 40 links.
pub fn create_dir_all_in_root(root: impl AsFd, path: &Path, mode: Mode) -> io::Result<CreatedDir> {
    let root = root.as_fd();
    let mut pending: Vec<CString> = Vec::new();
    push_components(&mut pending, path)?;
    let mut stack: Vec<(OwnedFd, PathBuf)> = vec![(reopen_dir(root)?, PathBuf::new())];
    let mut created = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        let (parent, at) = stack.last().ok_or(Errno::INVAL)?;
        match name.to_bytes() {
            b".." => {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            b"/" => {
                stack.truncate(1);
                continue;
            }
            _ => {}
        }
        let below = at.join(OsStr::from_bytes(name.to_bytes()));
        match open_component(parent, &name) {
            Ok(fd) => stack.push((fd, below)),
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(parent, &name, mode) {
                    Ok(()) => created.push(below.clone()),
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                stack.push((open_component(parent, &name)?, below));
            }
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let target = match rustix::fs::readlinkat(parent, &name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::INVAL) => return Err(Errno::NOTDIR.into()),
                    Err(error) => return Err(error.into()),
                };
                links += 1;
                if links > 40 {
                    return Err(Errno::LOOP.into());
                }
                push_components(&mut pending, Path::new(OsStr::from_bytes(target.to_bytes())))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (fd, path) = stack.pop().ok_or(Errno::INVAL)?;
    Ok(CreatedDir { fd, path, created })
}

fn open_component(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Pushes the components of `path` so that the first is popped first.
fn push_components(pending: &mut Vec<CString>, path: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for component in path.components() {
        names.push(match component {
            Component::RootDir | Component::Prefix(_) => c"/".to_owned(),
            Component::ParentDir => c"..".to_owned(),
            Component::CurDir => continue,
            Component::Normal(name) => CString::new(name.as_bytes())?,
        });
    }
    pending.extend(names.into_iter().rev());
    Ok(())
}

/// Opens a file that others may have put there: what is not one, such as a pipe that nobody
/// writes to, is an error at once.
pub fn open_regular(path: &Path) -> io::Result<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// A second descriptor of the directory `dir`, with a read position of its own.
pub fn reopen_dir(dir: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, c".", flags, Mode::empty())?)
}

/// Removes the file or tree at `path`, whose parent is trusted, as [`remove_tree`] does.
pub fn remove_path(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    remove_tree(open_dir(parent)?, &CString::new(name.as_bytes())?)
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, as bytes.
    pub name: CString,
    /// Whether it is a directory (and not a link to one).
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// The entries of `dir`, sorted by the bytes of their names.
pub fn list(dir: impl AsFd) -> io::Result<Vec<Entry>> {
    let reader = rustix::fs::Dir::read_from(dir.as_fd())?;
    let mut entries = Vec::new();
    for entry in reader {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let name = entry.file_name();
        let stat = || rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW);
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(stat()?.st_mode),
            // overlayfs lists a whiteout that has nothing to hide, and then denies it.
            FileType::CharacterDevice => match stat() {
                Err(Errno::NOENT) => continue,
                other => FileType::from_raw_mode(other?.st_mode),
            },
            kind => kind,
        };
        let (is_dir, is_file) = (kind.is_dir(), kind.is_file());
        entries.push(Entry { name: name.to_owned(), is_dir, is_file });
    }
    entries.sort_unstable();
    Ok(entries)
}

/// How deep removal goes before it moves a directory up, to bound open descriptors.
const REMOVAL_DEPTH: usize = 48;

/// Removes `name` of `parent` with all that is below it; it is no error when it is not there.
///
/// Fails with `EXDEV` or `EBUSY` at a mount point, which stays as it is with
/// everything behind it.
pub fn remove_tree(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open_for_removal(parent, name)?;
    let mut moved = 0_u32;
    loop {
        let before = moved;
        empty_dir(&top, &top, 0, &mut moved)?;
        if moved == before {
            break;
        }
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn empty_dir(top: &OwnedFd, dir: &OwnedFd, depth: usize, moved: &mut u32) -> io::Result<()> {
    for entry in list(dir)? {
        if !entry.is_dir {
            match rustix::fs::unlinkat(dir, &entry.name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        if depth >= REMOVAL_DEPTH {
            *moved += 1;
            let up = CString::new(format!(".yado-removal-{moved}"))?;
            rustix::fs::renameat(dir, &entry.name, top, &up)?;
            continue;
        }
        let below = open_for_removal(dir.as_fd(), &entry.name)?;
        empty_dir(top, &below, depth + 1, moved)?;
        drop(below);
        rustix::fs::unlinkat(dir, &entry.name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

fn open_for_removal(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let writable = |fd: &OwnedFd| {
        // An ordinary user's own directory may lack the bits that emptying it needs.
        let mode = Mode::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
        if mode.contains(Mode::RWXU) { Ok(()) } else { rustix::fs::fchmod(fd, mode | Mode::RWXU) }
    };
    match open_subdir(parent, name) {
        Ok(fd) => {
            writable(&fd)?;
            Ok(fd)
        }
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            rustix::fs::chmod(proc_path(&fd), Mode::RWXU)?;
            open_subdir(parent, name)
        }
        Err(error) => Err(error),
    }
}

/// The path under which the kernel knows a descriptor; for calls that take no descriptor.
pub fn proc_path(fd: &impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Extended attributes: names and raw values.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The extended attributes of a file or directory that belong to it wherever it
/// goes: `user.*` and file capabilities. Not the marks of the overlay file
/// system and of yado itself, nor those of this machine's security modules; POSIX
/// access lists are left behind, as Docker does. None where there are none to be had.
pub fn portable_xattrs(fd: impl AsFd) -> io::Result<Xattrs> {
    let none_to_be_had = |e| matches!(e, Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::BADF);
    let mut names = Vec::new();
    loop {
        let size = match rustix::fs::flistxattr_query(&fd) {
            Ok(0) => return Ok(Xattrs::new()),
            Ok(size) => size,
            Err(error) if none_to_be_had(error) => return Ok(Xattrs::new()),
            Err(error) => return Err(error.into()),
        };
        names.resize(size, 0);
        match rustix::fs::flistxattr(&fd, &mut names[..]) {
            Ok(size) => {
                names.truncate(size);
                break;
            }
            // It has grown meanwhile.
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut all = Xattrs::new();
    for name in names.split(|b| *b == 0) {
        let own = name.starts_with(b"user.overlay.") || name.starts_with(b"user.yado.");
        if own || !(name.starts_with(b"user.") || name == b"security.capability") {
            continue;
        }
        // The kernel's limit on a value.
        let mut value = vec![0; 64 * 1024];
        let size = rustix::fs::fgetxattr(&fd, name, &mut value[..])?;
        value.truncate(size);
        all.insert(name.to_vec(), value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_regular_file_is_opened() -> io::Result<()> {
        let temp = TempDir::new("regular");
        fs::write(temp.path().join("file"), "x")?;
        let pipe = temp.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0)?;
        assert!(open_regular(&temp.path().join("file")).is_ok());
        for other in [pipe, temp.path().to_owned()] {
            assert!(open_regular(&other).is_err(), "{}", other.display());
        }
        Ok(())
    }

    #[test]
    fn makes_directories_through_links_but_inside() -> io::Result<()> {
        let temp = TempDir::new("fs-mkdir");
        let outside = temp.path().join("outside");
        let root = temp.path().join("root");
        fs::create_dir_all(&outside)?;
        fs::create_dir_all(root.join("a"))?;
        symlink("/a/target", root.join("dangling"))?;
        symlink("../../../../outside", root.join("escape"))?;
        symlink("loop", root.join("loop"))?;
        fs::write(root.join("file"), "")?;
        let fd = open_dir(&root)?;

        let made = create_dir_all_in_root(&fd, Path::new("/dangling/x"), Mode::RWXU)?;
        assert_eq!(made.path, Path::new("a/target/x"));
        assert_eq!(made.created, [Path::new("a/target"), Path::new("a/target/x")]);
        let made = create_dir_all_in_root(&fd, Path::new("escape/y"), Mode::RWXU)?;
        assert_eq!(made.path, Path::new("outside/y"));
        assert_eq!(fs::read_dir(&outside)?.count(), 0);
        let made = create_dir_all_in_root(&fd, Path::new("../../a"), Mode::RWXU)?;
        assert_eq!((made.path.as_path(), made.created.len()), (Path::new("a"), 0));
        for (path, errno) in [("loop/x", Errno::LOOP), ("file/x", Errno::NOTDIR)] {
            let error = create_dir_all_in_root(&fd, Path::new(path), Mode::RWXU).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{path}");
        }
        Ok(())
    }

    #[test]
    fn removal_follows_no_link_and_needs_no_depth() -> io::Result<()> {
        let temp = TempDir::new("fs-remove");
        let outside = temp.path().join("outside");
        fs::create_dir(&outside)?;
        fs::write(outside.join("kept"), "x")?;
        let tree = temp.path().join("tree");
        fs::create_dir(&tree)?;
        symlink(&outside, tree.join("link"))?;
        let mut fd = open_dir(&tree)?;
        for _ in 0..400 {
            rustix::fs::mkdirat(&fd, c"d", Mode::RWXU)?;
            fd = open_subdir(&fd, c"d")?;
        }
        drop(fd);
        fs::create_dir(tree.join("closed"))?;
        fs::write(tree.join("closed/f"), "")?;
        rustix::fs::chmod(tree.join("closed"), Mode::empty())?;

        let parent = open_dir(temp.path())?;
        remove_tree(&parent, c"tree")?;
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        remove_tree(&parent, c"tree")?;
        Ok(())
    }
}
