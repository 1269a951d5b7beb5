//! Secrets and agents that a build may use, and that reach neither layers nor keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// `--secret`: contents by id.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Vec<u8>>);

impl Secrets {
    /// Secrets of `contents`, by id.
    pub fn new(contents: BTreeMap<String, Vec<u8>>) -> Self {
        Self(contents)
    }

    /// The content of the secret `id`.
    pub fn get(&self, id: &str) -> Option<&[u8]> {
        self.0.get(id).map(Vec::as_slice)
    }
}

/// The ids only.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `--ssh`: sockets of agents by id, `default` for the one without.
pub type Agents = BTreeMap<String, PathBuf>;
