//! A context that is a directory.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::ContextError;
use crate::dockerfile::Ignore;
use crate::rootfs::Include;

/// A directory of files, and which of them take part.
#[derive(Debug)]
pub struct Context {
    path: PathBuf,
    root: OwnedFd,
    ignore: Ignore,
}

impl Context {
    /// Opens the directory `path`. The ignore file is `<Dockerfile>.dockerignore`
    /// beside the Dockerfile if it is there, else `.dockerignore` of the context.
    pub fn open(path: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let root = crate::fs::open_dir(path)
            .map_err(|source| ContextError::Open { path: path.to_owned(), source })?;
        let beside = dockerfile.map(|dockerfile| {
            let mut name = dockerfile.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let mut ignore = Ignore::default();
        for candidate in beside.into_iter().chain([path.join(".dockerignore")]) {
            let fail = |problem| ContextError::Ignore { path: candidate.clone(), problem };
            match fs::read(&candidate) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    ignore = Ignore::parse(&text).map_err(|e| fail(e.to_string()))?;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fail(error.to_string())),
            }
        }
        Ok(Self { path: path.to_owned(), root, ignore })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of its files are left out.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The directory.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether a file takes part, by its path below the context.
    pub fn include(&self, path: &Path, is_dir: bool) -> Include {
        let path = path.to_string_lossy();
        if path.is_empty() || !self.ignore.matches(&path) {
            Include::Yes
        } else if is_dir && self.ignore.may_hold_exceptions(&path) {
            Include::Below
        } else {
            Include::No
        }
    }
}
