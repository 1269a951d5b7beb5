//! Why a build failed, and of which kind that is.

use std::io;
use std::path::PathBuf;

use crate::cache::CacheError;
use crate::context::ContextError;
use crate::registry::{self, RegistryError};
use crate::rootfs::{CopyError, DuplicateError, UnpackError, UserError};
use crate::sandbox::SandboxError;
use crate::snapshot::SnapshotError;
use crate::store::StoreError;

use super::{ExportError, FetchError};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong; the text shows the places.
    #[error("{0}")]
    Dockerfile(String),
    /// Something that the Dockerfile names at this place could not be had.
    #[error("{place}")]
    At {
        /// `FILE:LINE`.
        place: String,
        /// What was perhaps meant.
        help: Option<String>,
        /// Why.
        #[source]
        source: Box<BuildError>,
    },
    /// A step failed.
    #[error("{place}: {instruction} in [{stage}]")]
    Step {
        /// The stage's name or number.
        stage: String,
        /// The instruction, on one line.
        instruction: String,
        /// `FILE:LINE` of it.
        place: String,
        /// Why.
        #[source]
        source: Box<BuildError>,
    },
    /// The program of a RUN ended with another status than 0.
    #[error("the command ended with exit code {0}")]
    Exit(i32),
    /// The program of a RUN was killed.
    #[error("the command was killed by signal {0}")]
    Signal(i32),
    /// A base image is not what it should be.
    #[error("image {name}: {problem}")]
    Image {
        /// The image or blob.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A base image could not be had.
    #[error("image {name}")]
    Pull {
        /// The image.
        name: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// The image could not be pushed.
    #[error("push {name}")]
    Push {
        /// The image.
        name: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// A base layer could not be unpacked.
    #[error("unpack layer {layer}")]
    Unpack {
        /// The layer's `diff_id`.
        layer: String,
        /// Why not.
        #[source]
        source: UnpackError,
    },
    /// The stage's tree could not be put together.
    #[error("{action} {path}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Of the build context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Of COPY.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Of the stage's tree.
    #[error(transparent)]
    Duplicate(#[from] DuplicateError),
    /// Of USER or `--chown`.
    #[error(transparent)]
    User(#[from] UserError),
    /// Of `--chmod`.
    #[error(transparent)]
    Chmod(#[from] crate::rootfs::ChmodError),
    /// Of the sandbox.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// Of the layer.
    #[error("write the layer")]
    Snapshot(#[from] SnapshotError),
    /// Of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of the output.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Of the cache for other builds.
    #[error("write the cache")]
    Cache(#[from] CacheError),
    /// What was to be fetched from elsewhere cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The context is an archive that cannot be unpacked.
    #[error("the build context")]
    Archive {
        /// Why not.
        #[source]
        source: UnpackError,
    },
    /// An input that is not there.
    #[error("{0}")]
    Missing(String),
    /// Something that is not supported yet.
    #[error("{0}")]
    Unsupported(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// A fault of yado's own.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<SandboxError> for BuildError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Cancelled => Self::Interrupted,
            other => Self::Sandbox(other),
        }
    }
}

/// What kind of error it is; the command line has an exit code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A step's program ended with this code (128 and more for a signal).
    Step(i32),
    /// The Dockerfile, a flag's value or the context is wrong.
    Input,
    /// An input is not there: a file, an image.
    Missing,
    /// A registry cannot be reached or misbehaves.
    Registry,
    /// A registry wants other credentials.
    Auth,
    /// The sandbox cannot be made here.
    Sandbox,
    /// The output cannot be written.
    Output,
    /// The store or the disk.
    Storage,
    /// Ctrl-C.
    Interrupted,
    /// A fault of yado's own.
    Internal,
}

impl BuildError {
    /// This error with the place that it comes from, and what was perhaps meant there.
    pub(super) fn at(self, place: String, help: Option<String>) -> Self {
        match self {
            Self::Interrupted => self,
            source => Self::At { place, help, source: Box::new(source) },
        }
    }

    /// Whether a layer of an image that is known by name is not any more where it was.
    pub fn is_gone(&self) -> bool {
        let Self::Step { source, .. } = self else { return false };
        matches!(&**source, Self::Pull { source, .. } if source.kind() == registry::Kind::NotFound)
    }

    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Step { source, .. } | Self::At { source, .. } => source.kind(),
            Self::Exit(code) => ErrorKind::Step(*code),
            Self::Signal(signal) => ErrorKind::Step(128 + signal),
            Self::Sandbox(SandboxError::Program(_)) => ErrorKind::Step(127),
            Self::Missing(_) => ErrorKind::Missing,
            Self::Fetch(error) => error.kind(),
            Self::Context(error) if error.is_missing() => ErrorKind::Missing,
            Self::Pull { source, .. } | Self::Push { source, .. } => match source.kind() {
                registry::Kind::Auth => ErrorKind::Auth,
                registry::Kind::NotFound => ErrorKind::Missing,
                registry::Kind::Store => ErrorKind::Storage,
                _ => ErrorKind::Registry,
            },
            Self::Copy(CopyError::Duplicate(error)) | Self::Duplicate(error) => {
                duplicate_kind(error)
            }
            // The disk's fault, not the layer's.
            Self::Unpack { source: UnpackError::Io { source, .. }, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                ErrorKind::Storage
            }
            Self::Dockerfile(_)
            | Self::User(_)
            | Self::Chmod(_)
            | Self::Unsupported(_)
            | Self::Context(_)
            | Self::Image { .. }
            | Self::Unpack { .. }
            | Self::Archive { .. }
            | Self::Copy(_) => ErrorKind::Input,
            Self::Sandbox(_) => ErrorKind::Sandbox,
            Self::Io { .. }
            | Self::Snapshot(_)
            | Self::Store(_)
            | Self::Cache(CacheError::Store(_)) => ErrorKind::Storage,
            Self::Export(_) | Self::Cache(_) => ErrorKind::Output,
            Self::Interrupted => ErrorKind::Interrupted,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

fn duplicate_kind(error: &DuplicateError) -> ErrorKind {
    match error {
        DuplicateError::Io { .. } => ErrorKind::Storage,
        DuplicateError::Kind { .. } | DuplicateError::Owner { .. } => ErrorKind::Input,
    }
}
