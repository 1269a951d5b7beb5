//! What a step changed, written as a layer's archive.
//!
//! With overlay that is the upper directory, and nothing else is looked at
//! ([`write_upper`]). Without it, an [`Index`] taken before the step finds the
//! changes by inode, change time and size, and no content is read but what goes
//! into the layer ([`write_changes`]).
//!
//! What a copy makes where nothing is need not be made on disk at all ([`FreshCopy`]).
//!
//! All write the same archive for the same changes: entries sorted by name,
//! each directory before what is in it, removals as explicit whiteouts (which
//! the OCI image specification prefers to opaque directories), times in whole
//! seconds as Docker has them. Each changed file is opened once and read once.

mod archive;
mod fresh;
mod index;
mod upper;

use std::path::PathBuf;

pub use archive::{Counts, Times};
pub use fresh::FreshCopy;
pub use index::{Index, write_changes};
pub use upper::write_upper;

/// Why changes could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The tree could not be read.
    #[error("{action} /{path}", path = path.display())]
    Read {
        /// What was attempted.
        action: &'static str,
        /// On what, below the root.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The archive could not be written.
    #[error(transparent)]
    Write(#[from] crate::layer::WriteError),
}
