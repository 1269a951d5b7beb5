//! Secrets and agents that a build may use, and that reach neither layers nor keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::git::SshOptions;

/// `--secret`: contents by id; and who the build is for git servers that are reached over ssh.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    contents: BTreeMap<String, Vec<u8>>,
    ssh: SshOptions,
}

impl Secrets {
    /// Secrets of `contents`, by id.
    pub fn new(contents: BTreeMap<String, Vec<u8>>) -> Self {
        Self { contents, ssh: SshOptions::default() }
    }

    /// Says who the build is over ssh.
    #[must_use]
    pub fn with_ssh(self, ssh: SshOptions) -> Self {
        Self { ssh, ..self }
    }

    /// Who the build is over ssh.
    pub fn ssh(&self) -> &SshOptions {
        &self.ssh
    }

    /// The content of the secret `id`.
    pub fn get(&self, id: &str) -> Option<&[u8]> {
        self.contents.get(id).map(Vec::as_slice)
    }
}

/// The ids only.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.contents.keys()).finish()
    }
}

/// `--ssh`: sockets of agents by id, `default` for the one without.
pub type Agents = BTreeMap<String, PathBuf>;
