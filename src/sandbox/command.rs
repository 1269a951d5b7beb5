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
    /// Files and directories of the outside that it sees.
    pub binds: Vec<Bind>,
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

/// A file or directory of the outside, shown at a place inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The outside path.
    pub source: PathBuf,
    /// The inside path; it must be there, see [`super::Stubs`].
    pub target: String,
    /// Whether the process may not write to it.
    pub read_only: bool,
}
