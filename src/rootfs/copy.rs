//! COPY and ADD of files: where each source lands, and as whose.
//!
//! The rules are those of the Dockerfile reference, section COPY: a directory
//! gives its contents, a file keeps its name in a destination that ends in a
//! slash or is a directory, links are followed where they are named and kept
//! where they are found, a directory that is there keeps its attributes.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Chmod;
use super::duplicate::{DuplicateError, Duplicator, Entered, Form, Include, io_error};
use super::owner::Owners;

/// How many links lead to a destination at most.
const LINKS: usize = 40;
/// The mode of directories that have to be made.
const DIRECTORY: u32 = 0o755;

/// What is copied, and how.
#[derive(Debug)]
pub struct CopyRequest<'a> {
    /// The sources, in order.
    pub sources: Vec<Source<'a>>,
    /// The path inside the tree.
    pub destination: &'a Path,
    /// Whether it ended in a slash.
    pub destination_is_directory: bool,
    /// The owner of everything new; `None` keeps what each source says, and what
    /// is made on the way to the destination is root's.
    pub owner: Option<(u32, u32)>,
    /// The change of permission bits.
    pub chmod: Option<&'a Chmod>,
    /// Which owners files can have.
    pub owners: Owners<'a>,
}

/// Where files are, and how much of them is taken over.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The directory that paths begin at.
    pub root: &'a OwnedFd,
    /// Which owners the files can have; they are asked for where no owner is set.
    pub owners: Owners<'a>,
    /// The owner of the copies; `None` keeps the files'.
    pub owner: Option<(u32, u32)>,
    /// The time of the copies, in seconds since 1970; `None` keeps the files'.
    pub mtime: Option<i64>,
    /// Whether extended attributes are copied.
    pub xattrs: bool,
    /// Whether several names of a file stay names of one file.
    pub hard_links: bool,
}

/// Which files below a directory take part, by their path below the origin's root
/// with no link in it.
pub type Filter<'a> = Box<dyn Fn(&Path, bool) -> Include + 'a>;

/// One source.
pub enum Source<'a> {
    /// A file, or what is in a directory.
    Path {
        /// Where it is.
        origin: Origin<'a>,
        /// The path below the origin's root.
        path: PathBuf,
        /// Which files take part, if it is a directory.
        include: Filter<'a>,
        /// Whether an archive is unpacked into the destination.
        unpack: bool,
    },
    /// What is in a directory, below the directories that lead to it.
    Parents {
        /// Where it is.
        origin: Origin<'a>,
        /// The path below the origin's root that nothing is made of.
        base: PathBuf,
        /// The way from there. What is found behind a link gets the link's name: each of
        /// these is a directory of the destination, if anything below takes part.
        way: PathBuf,
        /// Which files take part.
        include: Filter<'a>,
    },
    /// One file, under a name of its own.
    File {
        /// The name that it gets in a directory.
        name: OsString,
        /// The content, read from its beginning.
        content: OwnedFd,
        /// The permission bits.
        mode: u32,
        /// The time, in seconds since 1970; `None` is that of `content`.
        mtime: Option<i64>,
        /// Whether an archive is unpacked into the destination.
        unpack: bool,
    },
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, .. } => write!(f, "Path({})", path.display()),
            Self::Parents { base, way, .. } => {
                write!(f, "Parents({}/./{})", base.display(), way.display())
            }
            Self::File { name, .. } => write!(f, "File({})", name.display()),
        }
    }
}

/// What a copy did that its user may want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many device nodes of archives were left out.
    pub devices: u64,
    /// Files that a later source of the same request has replaced.
    pub replaced: Vec<PathBuf>,
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

/// Copies the sources into the tree at `root`.
pub fn copy(root: &OwnedFd, request: CopyRequest<'_>) -> Result<Copied, CopyError> {
    let CopyRequest { sources, destination, destination_is_directory, owner, chmod, owners } =
        request;
    let mut target = Target {
        root,
        destination,
        is_directory: destination_is_directory,
        owner,
        chmod,
        owners,
        files: BTreeSet::new(),
        copied: Copied::default(),
    };
    for source in sources {
        target.take(source)?;
    }
    Ok(target.copied)
}

/// Where the sources go.
struct Target<'a> {
    root: &'a OwnedFd,
    destination: &'a Path,
    is_directory: bool,
    owner: Option<(u32, u32)>,
    chmod: Option<&'a Chmod>,
    owners: Owners<'a>,
    /// The files that were made under the destination's own name.
    files: BTreeSet<PathBuf>,
    copied: Copied,
}

impl Target<'_> {
    fn take(&mut self, source: Source<'_>) -> Result<(), CopyError> {
        match source {
            Source::Path { origin, path, include, unpack } => {
                self.take_path(origin, &path, &include, unpack)
            }
            Source::Parents { origin, base, way, include } => {
                self.take_parents(origin, &base, &way, &include)
            }
            Source::File { name, content, mode, mtime, unpack } => {
                let path = PathBuf::from(&name);
                let fail = |source: io::Error| CopyError::Source { path: path.clone(), source };
                if unpack && self.unpack(&content, &path)? {
                    return Ok(());
                }
                let mut stat = rustix::fs::fstat(&content).map_err(|e| fail(e.into()))?;
                stat.st_mode = FileType::RegularFile.as_raw_mode() | mode;
                let origin = Origin {
                    root: self.root,
                    owners: Owners::Real,
                    owner: Some((0, 0)),
                    mtime,
                    xattrs: false,
                    hard_links: false,
                };
                let everything: Filter<'_> = Box::new(|_, _| Include::Yes);
                self.put(origin, &everything, &name, |duplicator, parent, name, at| {
                    duplicator.file(content, &stat, parent, name, at)
                })
            }
        }
    }

    fn take_path(
        &mut self,
        origin: Origin<'_>,
        path: &Path,
        include: &Filter<'_>,
        unpack: bool,
    ) -> Result<(), CopyError> {
        let fail = |source: io::Error| CopyError::Source { path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened =
            crate::fs::open_in_root(origin.root, path, flags, Mode::empty()).map_err(fail)?;
        let stat = rustix::fs::fstat(&opened).map_err(|e| fail(e.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let target = self.directory(self.destination, self.chmod)?;
                let path = crate::fs::path_below(origin.root, &opened).map_err(fail)?;
                let mut duplicator = self.duplicator(origin, include, &target);
                Ok(duplicator.contents(&opened, &path, &target, Path::new(""))?)
            }
            FileType::RegularFile => {
                if unpack && self.unpack(&opened, path)? {
                    return Ok(());
                }
                let name = path.file_name().unwrap_or_default();
                self.put(origin, include, name, |duplicator, parent, name, at| {
                    duplicator.file(opened, &stat, parent, name, at)
                })
            }
            kind => Err(CopyError::Kind {
                path: path.to_owned(),
                kind: super::duplicate::describe(kind),
            }),
        }
    }

    fn take_parents(
        &mut self,
        origin: Origin<'_>,
        base: &Path,
        way: &Path,
        include: &Filter<'_>,
    ) -> Result<(), CopyError> {
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let fd = crate::fs::open_in_root(origin.root, path, flags, Mode::empty())?;
            Ok((rustix::fs::fstat(&fd)?, fd))
        };
        let target = self.directory(self.destination, self.chmod)?;
        let mut duplicator = self.duplicator(origin, include, &target);
        let whole = base.join(way);
        let fail = |source: io::Error| CopyError::Source { path: whole.clone(), source };
        let (_, last) = open(&whole).map_err(fail)?;
        let source = crate::fs::path_below(origin.root, &last).map_err(fail)?;
        if !duplicator.any_in(&last, &source)? {
            return Ok(());
        }
        let mut entered: Vec<(Stat, OwnedFd, Entered, PathBuf)> = Vec::new();
        let mut at = PathBuf::new();
        for name in way {
            at.push(name);
            let (stat, from) = open(&base.join(&at)).map_err(fail)?;
            let to = entered.last().map_or(&target, |(.., to, _)| &to.fd);
            let name = CString::new(name.as_bytes()).map_err(|e| fail(e.into()))?;
            let new = duplicator.enter(to, &name, &at)?;
            entered.push((stat, from, new, at.clone()));
        }
        let to = entered.last().map_or(&target, |(.., to, _)| &to.fd);
        duplicator.contents(&last, &source, to, &at)?;
        for (stat, from, to, at) in entered.iter().rev() {
            duplicator.leave(from, stat, to, Include::Below, at)?;
        }
        Ok(())
    }

    /// Unpacks a file into the destination if it is an archive; says whether it is one.
    fn unpack(&mut self, file: &OwnedFd, path: &Path) -> Result<bool, CopyError> {
        let fail = |source: io::Error| CopyError::Source { path: path.to_owned(), source };
        let Some(archive) = archive(file).map_err(fail)? else { return Ok(false) };
        // The modes are those of the archive, whatever `--chmod` says.
        let target = self.directory(self.destination, None)?;
        let devices = super::extract(archive, &target, self.owner, self.owners)
            .map_err(|source| CopyError::Archive { path: path.to_owned(), source })?;
        self.copied.devices += devices;
        Ok(true)
    }

    /// Finds out under which name in which directory a file lands, and copies it there.
    fn put(
        &mut self,
        origin: Origin<'_>,
        include: &Filter<'_>,
        name: &OsStr,
        action: impl FnOnce(
            &mut Duplicator<'_>,
            &OwnedFd,
            &std::ffi::CStr,
            &Path,
        ) -> Result<(), DuplicateError>,
    ) -> Result<(), CopyError> {
        let mut destination = self.destination.to_owned();
        for _ in 0..LINKS {
            let into = self.is_directory || is_dir(self.root, &destination);
            let (dir, name) = match destination.file_name().filter(|_| !into) {
                Some(file) => (destination.parent().unwrap_or(Path::new("/")), file.to_owned()),
                None => (destination.as_path(), name.to_owned()),
            };
            let target = self.directory(dir, self.chmod)?;
            let place = crate::fs::path_below(self.root, &target)
                .map_err(|e| io_error("find", dir.strip_prefix("/").unwrap_or(dir), e))?;
            let at = place.join(&name);
            let c_name =
                CString::new(name.as_bytes()).map_err(|e| io_error("create", &at, e.into()))?;
            // A link that is the destination itself is followed, one in it is replaced.
            if !into && let Ok(link) = rustix::fs::readlinkat(&target, &c_name, Vec::new()) {
                let link = Path::new(OsStr::from_bytes(link.to_bytes()));
                destination = Path::new("/").join(place).join(link);
                continue;
            }
            if !into && !self.files.insert(at.clone()) {
                self.copied.replaced.push(at.clone());
            }
            let mut duplicator = self.duplicator(origin, include, &target);
            return Ok(action(&mut duplicator, &target, &c_name, &at)?);
        }
        let path = self.destination.strip_prefix("/").unwrap_or(self.destination);
        Err(io_error("follow", path, Errno::LOOP.into()).into())
    }

    fn duplicator<'d>(
        &'d self,
        origin: Origin<'d>,
        include: &'d Filter<'_>,
        base: &'d OwnedFd,
    ) -> Duplicator<'d> {
        Duplicator {
            form: Form::Copy,
            owner: self.owner.or(origin.owner),
            chmod: self.chmod,
            mtime: origin.mtime,
            xattrs: origin.xattrs,
            hard_links: origin.hard_links,
            from_owners: origin.owners,
            owners: self.owners,
            include,
            base,
            links: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    /// Opens the directory `path` of the tree, making it, for `--chown`'s owner and
    /// with an octal `--chmod`'s mode, if it is missing.
    fn directory(&self, path: &Path, chmod: Option<&Chmod>) -> Result<OwnedFd, CopyError> {
        let mode = match chmod {
            Some(Chmod::Octal(mode)) => mode & 0o777,
            _ => DIRECTORY,
        };
        let owner = self.owner.unwrap_or_default();
        make_dirs_with(self.root, path, owner, mode, self.owners).map_err(|error| match error {
            DuplicateError::Io { source, .. }
                if source.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) =>
            {
                CopyError::Destination { destination: path.to_owned() }
            }
            other => other.into(),
        })
    }
}

/// The content of a tar archive, compressed or not; `None` for any other file.
pub fn archive(file: &OwnedFd) -> io::Result<Option<impl Read + use<>>> {
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

fn is_dir(root: &OwnedFd, path: &Path) -> bool {
    crate::fs::open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).is_ok()
}

/// Opens the directory `path` inside `root`; what had to be made belongs to `owner`.
pub fn make_dirs(
    root: &OwnedFd,
    path: &Path,
    owner: (u32, u32),
    owners: Owners<'_>,
) -> Result<OwnedFd, DuplicateError> {
    make_dirs_with(root, path, owner, DIRECTORY, owners)
}

fn make_dirs_with(
    root: &OwnedFd,
    path: &Path,
    owner: (u32, u32),
    permissions: u32,
    owners: Owners<'_>,
) -> Result<OwnedFd, DuplicateError> {
    let bits = Mode::from_raw_mode(permissions);
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
