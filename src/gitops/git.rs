//! Which kind of failure an error of git is.

use super::{Classified, Kind};
use crate::git::{GitError, HostKeyError, SshError};

impl Classified for GitError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoReference { .. }
            | Self::NoCommit { .. }
            | Self::NoSubdir { .. }
            | Self::Checksum { .. }
            | Self::NoFile { .. }
            | Self::Empty { .. } => Kind::NothingMatched,
            Self::Ambiguous { .. } => Kind::Ambiguous,
            Self::Refspec { .. } | Self::BadPath { .. } | Self::Commit { .. } => Kind::Usage,
            Self::Status { status: 401 | 403, .. } => Kind::Auth,
            Self::Status { status: 404 | 410, .. } | Self::Local { .. } => Kind::Missing,
            // There is no such commit.
            Self::Refused { message, .. } if message.contains("not our ref") => {
                Kind::NothingMatched
            }
            Self::Refused { .. } | Self::Unsupported { .. } => Kind::Refused,
            Self::Ssh { source, .. } if source.is_auth() => Kind::Auth,
            Self::Ssh { source, .. } if source.is_input() => Kind::Input,
            Self::Ssh { source, .. } if source.is_missing() => Kind::Missing,
            Self::Net { .. }
            | Self::Status { .. }
            | Self::NotGit { .. }
            | Self::Protocol { .. }
            | Self::Pack { .. }
            | Self::Lfs { .. }
            | Self::Ssh { .. } => Kind::Unreachable,
            Self::Path { .. }
            | Self::Module { .. }
            | Self::InTheWay { .. }
            | Self::SigningKey { .. } => Kind::Input,
            Self::Submodule { source, .. } | Self::Unknown { source, .. } => source.kind(),
            Self::NotEmpty { .. } | Self::Io { .. } => Kind::Output,
            Self::Stopped => Kind::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotEmpty { .. } => vec!["--delete-existing empties it".to_owned()],
            Self::Ssh { source, .. } => ssh_hint(source).map(str::to_owned).into_iter().collect(),
            Self::Submodule { source, .. } => source.hints(),
            _ => Vec::new(),
        }
    }
}

fn ssh_hint(error: &SshError) -> Option<&'static str> {
    match error {
        SshError::NoKey => {
            Some("--ssh-key FILE or --ssh-dir DIR gives keys; an agent is found by SSH_AUTH_SOCK")
        }
        SshError::Key { problem, .. } if problem.contains("no passphrase was given") => {
            Some("--ssh-passphrase-file opens it")
        }
        SshError::Host(HostKeyError::Unknown { .. }) => Some(
            "--known-hosts FILE or --host-key-fingerprint SHA256:… makes it known; \
             --ssh-trust-on-first-use takes any key",
        ),
        _ => None,
    }
}
