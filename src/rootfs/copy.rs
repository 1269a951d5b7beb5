//! COPY and ADD of files: where each source lands, and as whose.
//!
//! The rules are those of the Dockerfile reference, section COPY: a directory
//! gives its contents, a file keeps its name in a destination that ends in a
//! slash or is a directory, links are followed where they are named and kept
//! where they are found, a directory that is there keeps its attributes.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Chmod;
use super::duplicate::{DuplicateError, Duplicator, Form, Include, io_error};
use super::owner::Owners;

/// What is copied, and how.
#[expect(missing_debug_implementations, reason = "a function has none")]
pub struct CopyRequest<'a> {
    /// The sources, in order.
    pub sources: &'a [Source],
    /// The directory that the sources' paths begin at.
    pub source_root: &'a OwnedFd,
    /// Which of the sources' files take part, by their path below that directory
    /// with no link in it.
    pub include: &'a dyn Fn(&Path, bool) -> Include,
    /// The path inside the tree.
    pub destination: &'a Path,
    /// Whether it ended in a slash, or there are several sources.
    pub destination_is_directory: bool,
    /// The owner of everything new; `None` keeps the sources', and what is made
    /// on the way to the destination is root's.
    pub owner: Option<(u32, u32)>,
    /// The change of permission bits.
    pub chmod: Option<&'a Chmod>,
    /// The time of everything new, in seconds since 1970; `None` keeps the sources'.
    pub mtime: Option<i64>,
    /// Whether extended attributes are copied.
    pub xattrs: bool,
    /// Whether several names of a file stay names of one file.
    pub hard_links: bool,
    /// Which owners the sources can have; they are asked for where `owner` is `None`.
    pub source_owners: Owners<'a>,
    /// Which owners files can have.
    pub owners: Owners<'a>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path below the source root.
    Path(PathBuf),
    /// Content of the Dockerfile itself, with the name it gets in a directory.
    Inline {
        /// The file name.
        name: String,
        /// The content.
        content: Vec<u8>,
    },
    /// A path below the source root; if it is an archive it is unpacked into the destination (ADD).
    Archive(PathBuf),
}

/// Why files could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source cannot be opened.
    #[error("read {path}", path = path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file stands where the destination directory should be.
    #[error("the destination {destination} is not a directory", destination = destination.display())]
    Destination {
        /// The path inside the tree.
        destination: PathBuf,
    },
    /// A source is neither a file nor a directory.
    #[error("{path} is {kind}, which cannot be copied", path = path.display())]
    Kind {
        /// The source.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Copying failed underway.
    #[error(transparent)]
    Duplicate(#[from] DuplicateError),
    /// An archive could not be unpacked.
    #[error("unpack {path}", path = path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: super::UnpackError,
    },
}

/// Copies the sources into the tree at `root`; gives the number of device nodes
/// of archives that were left out.
pub fn copy(root: &OwnedFd, request: &CopyRequest<'_>) -> Result<u64, CopyError> {
    request.sources.iter().map(|source| copy_one(root, request, source)).sum()
}

fn copy_one(root: &OwnedFd, request: &CopyRequest<'_>, source: &Source) -> Result<u64, CopyError> {
    let path = match source {
        Source::Inline { name, content } => {
            return with_target(root, request, OsStr::new(name), |duplicator, parent, name, at| {
                inline(duplicator, parent, name, content, at)
            })
            .map(|()| 0);
        }
        Source::Path(path) | Source::Archive(path) => path,
    };
    let fail = |source: io::Error| CopyError::Source { path: path.clone(), source };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let opened =
        crate::fs::open_in_root(request.source_root, path, flags, Mode::empty()).map_err(fail)?;
    let stat = rustix::fs::fstat(&opened).map_err(|e| fail(e.into()))?;
    match (FileType::from_raw_mode(stat.st_mode), source) {
        (FileType::Directory, _) => {
            let target = destination_dir(root, request, request.destination)?;
            let path = crate::fs::path_below(request.source_root, &opened).map_err(fail)?;
            let mut duplicator = duplicator(request, &target);
            duplicator.contents(&opened, &path, &target, Path::new(""))?;
            Ok(0)
        }
        (FileType::RegularFile, _) => {
            if let Source::Archive(_) = source
                && let Some(archive) = archive(&opened).map_err(fail)?
            {
                let target = destination_dir(root, request, request.destination)?;
                return super::extract(archive, &target, request.owners)
                    .map_err(|source| CopyError::Archive { path: path.clone(), source });
            }
            let name = path.file_name().unwrap_or_default();
            with_target(root, request, name, |duplicator, parent, name, at| {
                duplicator.make_room(parent, name, at)?;
                duplicator.file(opened, &stat, parent, name, at)
            })?;
            Ok(0)
        }
        (kind, _) => {
            Err(CopyError::Kind { path: path.clone(), kind: super::duplicate::describe(kind) })
        }
    }
}

/// The content of a tar archive, compressed or not; `None` for any other file.
fn archive(file: &OwnedFd) -> io::Result<Option<impl Read + use<>>> {
    let mut head = Vec::new();
    let reader = File::from(file.try_clone()?);
    let Ok((_, content)) = crate::layer::open(reader) else { return Ok(None) };
    let mut content = content;
    // What looks compressed and is not ends in an error here: a file like any other.
    let read = content.by_ref().take(512).read_to_end(&mut head);
    if read.is_ok() && crate::layer::is_header(&head) {
        return Ok(Some(io::Cursor::new(head).chain(content)));
    }
    drop(content);
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
    Ok(None)
}

/// Finds out under which name in which directory a file lands, and copies it there.
fn with_target(
    root: &OwnedFd,
    request: &CopyRequest<'_>,
    name: &OsStr,
    action: impl FnOnce(
        &mut Duplicator<'_>,
        &OwnedFd,
        &std::ffi::CStr,
        &Path,
    ) -> Result<(), DuplicateError>,
) -> Result<(), CopyError> {
    let destination = request.destination;
    let into_directory = request.destination_is_directory || is_dir(root, destination);
    let (dir, name) = match destination.file_name().filter(|_| !into_directory) {
        Some(file) => (destination.parent().unwrap_or(Path::new("/")), file.as_bytes().to_vec()),
        None => (destination, name.as_bytes().to_vec()),
    };
    let target = destination_dir(root, request, dir)?;
    let at = dir.strip_prefix("/").unwrap_or(dir).join(OsStr::from_bytes(&name));
    let name = CString::new(name).map_err(|e| io_error("create", &at, e.into()))?;
    Ok(action(&mut duplicator(request, &target), &target, &name, &at)?)
}

fn is_dir(root: &OwnedFd, path: &Path) -> bool {
    crate::fs::open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).is_ok()
}

fn duplicator<'a>(request: &'a CopyRequest<'_>, base: &'a OwnedFd) -> Duplicator<'a> {
    Duplicator {
        form: Form::Copy,
        owner: request.owner,
        chmod: request.chmod,
        mtime: request.mtime,
        xattrs: request.xattrs,
        hard_links: request.hard_links,
        from_owners: request.source_owners,
        owners: request.owners,
        include: request.include,
        base,
        links: HashMap::new(),
    }
}

fn inline(
    duplicator: &mut Duplicator<'_>,
    parent: &OwnedFd,
    name: &std::ffi::CStr,
    content: &[u8],
    at: &Path,
) -> Result<(), DuplicateError> {
    // Through an unnamed file, so that content of the Dockerfile is treated as any other.
    let make = || -> io::Result<OwnedFd> {
        let file = rustix::fs::memfd_create(c"heredoc", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(file);
        io::Write::write_all(&mut file, content)?;
        io::Seek::rewind(&mut file)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
        Ok(file.into())
    };
    let file = make().map_err(|e| io_error("write", at, e))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| io_error("write", at, e.into()))?;
    duplicator.make_room(parent, name, at)?;
    duplicator.file(file, &stat, parent, name, at)
}

/// Opens the directory `path` of the tree, making it, for the request's owner, if it is missing.
fn destination_dir(
    root: &OwnedFd,
    request: &CopyRequest<'_>,
    path: &Path,
) -> Result<OwnedFd, CopyError> {
    let created = make_dirs(root, path, request.owner.unwrap_or_default(), request.owners)
        .map_err(|error| match error {
            DuplicateError::Io { source, .. }
                if source.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) =>
            {
                CopyError::Destination { destination: path.to_owned() }
            }
            other => other.into(),
        })?;
    Ok(created)
}

/// Opens the directory `path` inside `root`; what had to be made belongs to `owner`.
pub fn make_dirs(
    root: &OwnedFd,
    path: &Path,
    owner: (u32, u32),
    owners: Owners<'_>,
) -> Result<OwnedFd, DuplicateError> {
    let bits = Mode::from_raw_mode(0o755);
    let made = crate::fs::create_dir_all_in_root(root, path, bits)
        .map_err(|e| io_error("create", path.strip_prefix("/").unwrap_or(path), e))?;
    for dir in &made.created {
        let fail = |e| io_error("set the owner of", dir, e);
        let fd =
            crate::fs::open_in_root(root, dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
                .map_err(fail)?;
        // Not the umask's business.
        rustix::fs::fchmod(&fd, bits).map_err(|e| fail(e.into()))?;
        super::owner::give(&fd, c".", owner.0, owner.1, owners).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::EINVAL) => {
                    DuplicateError::Owner { path: dir.clone(), uid: owner.0, gid: owner.1 }
                }
                _ => fail(error),
            }
        })?;
    }
    Ok(made.fd)
}
