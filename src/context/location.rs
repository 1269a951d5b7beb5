//! Where the files of a context are.

use std::path::PathBuf;

use crate::git::GitUrl;

/// Where the files of a context are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextLocation {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In a git repository.
    Git(GitUrl),
    /// On a web server: a file, by its URL.
    Web(String),
}
