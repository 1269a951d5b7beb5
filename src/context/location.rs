//! Where the files of a context are.

use std::path::PathBuf;

/// Where the files of a context are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextLocation {
    /// In a directory of this machine.
    Directory(PathBuf),
}
