//! Where the files of COPY and ADD come from.
//!
//! A context is a directory, opened once; every path of a Dockerfile is resolved
//! by the kernel inside it, so that neither `..` nor a link leads out. Which
//! files take part is decided by `.dockerignore`, and for a tree of a stage by
//! nothing. What they hold is hashed once and then known by their stat data ([`Index`]).

mod digest;
mod directory;
mod index;
mod location;
mod select;

use std::io;
use std::path::PathBuf;

pub use digest::Contents;
pub use directory::Context;
pub use index::Index;
pub use location::ContextLocation;
pub use select::{Place, find, select};

/// What is wrong with a build context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory cannot be opened.
    #[error("build context {path}", path = path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// One of those that have a name.
    #[error("context {name}")]
    Named {
        /// The name.
        name: String,
        /// Why it cannot be used.
        #[source]
        source: Box<ContextError>,
    },
    /// The ignore file cannot be read or understood.
    #[error("{path}: {problem}", path = path.display())]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// The file, below the context.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file was written while it was read.
    #[error("files of the build context changed while the step used them; build again")]
    Changed,
    /// A pattern that means nothing.
    #[error("{0}")]
    Pattern(String),
    /// A source that is not there.
    #[error("{0}")]
    Missing(String),
}

impl ContextError {
    /// Whether something is not there.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Open { .. } => true,
            Self::Named { source, .. } => source.is_missing(),
            _ => false,
        }
    }
}
