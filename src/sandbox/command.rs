//! What is run: plain data, sent to the child as JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A process to run in a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, sought in the `PATH` of `env` inside the root, and its arguments.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute inside the root; it must be there.
    pub workdir: String,
    /// As whom it runs.
    pub credentials: Credentials,
    /// The host name it sees.
    pub hostname: String,
    /// Which network it has.
    pub network: Network,
    /// What is mounted for it, parents before what stands in them.
    pub mounts: Vec<Mount>,
    /// Whether it keeps every capability of its user namespace, and sees all of `/proc` and `/sys`.
    pub insecure: bool,
}

/// A user and his groups, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// The network of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The builder's own.
    Host,
    /// Nothing but a loopback interface.
    None,
}

/// What is shown to a process at a place inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The inside path; it must be there, see [`super::Stubs`], or in a mount before.
    pub target: String,
    /// What is shown.
    pub content: Content,
    /// Whether the process may not write to it.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A file or directory of the outside.
    Outside(PathBuf),
    /// A file or directory of the builder's own; where nothing can be mounted it may
    /// be moved to its place, and back afterwards.
    Own(PathBuf),
    /// A file in memory.
    File {
        /// What it holds.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// How much it holds, in bytes; 0 is no limit.
        size: u64,
    },
}

impl Mount {
    /// Whether a directory is shown.
    pub fn is_dir(&self) -> bool {
        match &self.content {
            Content::Outside(path) | Content::Own(path) => path.is_dir(),
            Content::File { .. } => false,
            Content::Tmpfs { .. } => true,
        }
    }
}
